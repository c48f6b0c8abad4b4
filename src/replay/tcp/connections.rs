//! The connections of a replay: one per flow, opened with its first byte and closed with its last.
//!
//! Invariant: while one receiver is waited for, what all of them send back is read and thrown away, so that no two
//! wait for each other; a connection whose flow has ended is only let go when its receiver has closed it too, or had
//! 2 s for that, because closing it with unread answers would reset it and could destroy what is under way.

use super::report::Unsent;
use crate::event::Nanos;
use crate::feed::FlowIndex;
use crate::replay::ReplayError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Room for a connection's bytes in the kernel. Left to itself it would take megabytes ahead of a slow receiver, and the
/// pacing error would show nothing of that.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// How long a receiver has to close its side.
const CLOSE_NS: u64 = 2_000_000_000;

/// Longest wait at a time, ms, so that the stop flag is seen.
const WAIT_MS: u8 = 20;

/// How often answers are read while nobody is waited for.
const TEND_NS: u64 = 10_000_000;

/// Reads of one connection in one round, so that one that never stops sending does not keep the replay.
const READS_MAX: usize = 4;

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes that the kernel took.
    pub(super) bytes: usize,
    /// Why the rest was not taken.
    pub(super) unsent: Option<Unsent>,
}

/// Counts of all connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionCounts {
    pub(super) opened: u64,
    pub(super) high_water: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) unanswered: u64,
    pub(super) answered_bytes: u64,
    pub(super) waits: u64,
    pub(super) blocked_ns: u64,
}

struct Peer {
    stream: TcpStream,
    /// Nothing more comes from it.
    silent: bool,
    /// It has reset the connection, so perhaps not read all that was sent.
    reset: bool,
}

/// A flow's way out.
enum Link {
    Open { peer: Peer, sent_bytes: u64 },
    Shut { why: Unsent, sent_bytes: u64 },
}

struct Closing {
    peer: Peer,
    until_ns: Nanos,
}

/// All connections.
pub(super) struct Connections<'a, C> {
    address: SocketAddr,
    connections_max: usize,
    links: HashMap<FlowIndex, Link>,
    open: usize,
    closing: Vec<Closing>,
    tended_ns: Nanos,
    scratch: Vec<u8>,
    clock: &'a C,
    stop: &'a AtomicBool,
    pub(super) counts: ConnectionCounts,
}

impl<'a, C: Fn() -> Nanos> Connections<'a, C> {
    pub(super) fn new(
        address: SocketAddr,
        connections_max: usize,
        clock: &'a C,
        stop: &'a AtomicBool,
    ) -> Connections<'a, C> {
        Connections {
            address,
            connections_max,
            links: HashMap::new(),
            open: 0,
            closing: Vec::new(),
            tended_ns: 0,
            scratch: vec![0; 1 << 16],
            clock,
            stop,
            counts: ConnectionCounts::default(),
        }
    }

    fn is_stopped(&self) -> bool {
        // Relaxed: the flag carries nothing but itself.
        self.stop.load(Ordering::Relaxed)
    }

    /// Why a flow's bytes are not sent, if they are not.
    pub(super) fn unsent(&self, flow: FlowIndex) -> Option<Unsent> {
        match self.links.get(&flow) {
            Some(Link::Shut { why, .. }) => Some(*why),
            _ => None,
        }
    }

    /// Sends bytes of a flow, over a new connection if they are its first.
    ///
    /// # Errors
    /// Nobody accepts the connection.
    pub(super) fn send(&mut self, flow: FlowIndex, bytes: &[u8]) -> Result<Written, ReplayError> {
        if !self.links.contains_key(&flow) {
            let link = self.connect()?;
            self.links.insert(flow, link);
        }
        let mut written = 0;
        while written < bytes.len() {
            if self.is_stopped() {
                self.lose(flow, Unsent::Stopped);
            }
            let Some(Link::Open { peer, sent_bytes }) = self.links.get_mut(&flow) else { break };
            match peer.stream.write(&bytes[written..]) {
                Ok(0) => self.lose(flow, Unsent::PeerClosed),
                Ok(taken) => {
                    *sent_bytes += taken as u64;
                    written += taken;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Some(flow)),
                Err(_) => self.lose(flow, Unsent::PeerClosed),
            }
        }
        Ok(Written { bytes: written, unsent: self.unsent(flow) })
    }

    /// A flow has ended: its connection ends behind what was sent. Returns the bytes that were, and why not all.
    pub(super) fn close(&mut self, flow: FlowIndex) -> (u64, Option<Unsent>) {
        match self.links.remove(&flow) {
            None => (0, None),
            Some(Link::Shut { why, sent_bytes }) => (sent_bytes, Some(why)),
            Some(Link::Open { peer, sent_bytes }) => {
                self.open -= 1;
                if !peer.reset && peer.stream.shutdown(Shutdown::Write).is_ok() {
                    self.closing.push(Closing { peer, until_ns: (self.clock)() + CLOSE_NS });
                } else {
                    self.counts.lost += 1;
                }
                (sent_bytes, None)
            }
        }
    }

    /// Reads what receivers sent back, and lets those go that have closed; some hundred times a second at most.
    pub(super) fn tend(&mut self, now: Nanos) {
        if now.saturating_sub(self.tended_ns) >= TEND_NS && self.open + self.closing.len() > 0 {
            self.look(None, PollTimeout::ZERO);
        }
    }

    /// Waits until all receivers have closed the connections whose flows have ended, or had the time for it.
    pub(super) fn linger(&mut self) {
        while !self.closing.is_empty() && !self.is_stopped() {
            self.look(None, PollTimeout::from(WAIT_MS));
        }
    }

    fn connect(&mut self) -> Result<Link, ReplayError> {
        if self.is_stopped() {
            return Ok(Link::Shut { why: Unsent::Stopped, sent_bytes: 0 });
        }
        // Connections that are about to close give their place up soon.
        while self.open + self.closing.len() >= self.connections_max
            && !self.closing.is_empty()
            && !self.is_stopped()
        {
            self.wait(None);
        }
        if self.open + self.closing.len() >= self.connections_max {
            self.counts.refused += 1;
            return Ok(Link::Shut { why: Unsent::ConnectionLimit, sent_bytes: 0 });
        }
        let failed = |source| ReplayError::Connect { address: self.address, source };
        let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).map_err(failed)?;
        let settings = socket2::SockRef::from(&stream);
        // Each segment goes out when it is due, not when another one joins it.
        settings
            .set_tcp_nodelay(true)
            .and_then(|()| settings.set_nonblocking(true))
            .and_then(|()| settings.set_send_buffer_size(SEND_BUFFER_BYTES))
            .map_err(failed)?;
        self.open += 1;
        self.counts.opened += 1;
        self.counts.high_water = self.counts.high_water.max(self.open as u64);
        Ok(Link::Open { peer: Peer { stream, silent: false, reset: false }, sent_bytes: 0 })
    }

    fn lose(&mut self, flow: FlowIndex, why: Unsent) {
        if let Some(link) = self.links.get_mut(&flow)
            && let Link::Open { sent_bytes, .. } = link
        {
            *link = Link::Shut { why, sent_bytes: *sent_bytes };
            self.open -= 1;
            self.counts.lost += u64::from(why == Unsent::PeerClosed);
        }
    }

    /// Waits for room in a flow's connection, or for a connection that closes.
    fn wait(&mut self, writer: Option<FlowIndex>) {
        let since_ns = (self.clock)();
        self.counts.waits += 1;
        self.look(writer, PollTimeout::from(WAIT_MS));
        self.counts.blocked_ns += (self.clock)() - since_ns;
    }

    /// One look at all connections.
    fn look(&mut self, writer: Option<FlowIndex>, timeout: PollTimeout) {
        let mut fds = Vec::with_capacity(self.open + self.closing.len());
        for (flow, link) in &self.links {
            let Link::Open { peer, .. } = link else { continue };
            let mut events = if peer.silent { PollFlags::empty() } else { PollFlags::POLLIN };
            events.set(PollFlags::POLLOUT, writer == Some(*flow));
            if !events.is_empty() {
                fds.push(PollFd::new(peer.stream.as_fd(), events));
            }
        }
        fds.extend(
            self.closing.iter().map(|closing| PollFd::new(closing.peer.stream.as_fd(), PollFlags::POLLIN)),
        );
        // An interrupted poll is one that found nothing: the caller looks again.
        let found = poll(&mut fds, timeout).unwrap_or(0);
        let now = (self.clock)();
        self.tended_ns = now;
        if found > 0 {
            let Connections { links, closing, scratch, counts, .. } = self;
            for link in links.values_mut() {
                if let Link::Open { peer, .. } = link {
                    peer.read(scratch, &mut counts.answered_bytes);
                }
            }
            closing.iter_mut().for_each(|closing| closing.peer.read(scratch, &mut counts.answered_bytes));
        }
        let counts = &mut self.counts;
        self.closing.retain(|closing| {
            let stays = !closing.peer.silent && closing.until_ns > now;
            counts.unanswered += u64::from(!stays && !closing.peer.silent);
            counts.lost += u64::from(closing.peer.reset);
            stays
        });
    }
}

impl Peer {
    /// Reads and throws away what came.
    fn read(&mut self, scratch: &mut [u8], answered_bytes: &mut u64) {
        for _ in 0..READS_MAX {
            if self.silent {
                return;
            }
            match self.stream.read(scratch) {
                Ok(0) => self.silent = true,
                Ok(bytes) => *answered_bytes += bytes as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => (self.silent, self.reset) = (true, true),
            }
        }
    }
}

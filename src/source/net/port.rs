//! Hot path: the port of a shard: one io_uring for all of its listeners, connections and datagram sockets.
//!
//! Invariant: every byte that the kernel hands over is shown to the handler in order, or counted as lost with its
//! connection; a connection that waits holds up no other one.

use super::connection::{Phase, Slot};
use super::inlets::{Inlet, open_inlet};
use super::settings::NetSettings;
use super::{NetError, NetReport};
use crate::event::{CloseReason, ConnectionIndex, Nanos};
use crate::feed::Next;
use crate::ledger::ConnectionBook;
use crate::os::uring::{Chunk, Completion, GroupIndex, Operation, Token, Uring};
use crate::source::{StreamHandler, StreamSource};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Bytes that are shown in one turn, so that lanes and processors of the same thread get theirs: some 4,000 events.
const TURN_BYTES: usize = 512 << 10;

/// Time that a peer has to take the last words of a connection.
pub(super) const LAST_WORDS_NS: Nanos = 1_000_000_000;

/// The byte streams and datagrams of one shard.
pub struct NetPort {
    pub(super) ring: Uring,
    pub(super) inlets: Vec<Inlet>,
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<u32>,
    ready: VecDeque<u32>,
    pub(super) starved: VecDeque<u32>,
    pub(super) closing: Vec<u32>,
    completions: Vec<Completion>,
    pub(super) streams: GroupIndex,
    pub(super) datagrams: GroupIndex,
    pub(super) buffers: u32,
    /// Inlets that ask servers.
    pub(super) requesters: Vec<u16>,
    pub(super) book: ConnectionBook,
    pub(super) now: Nanos,
    pub(super) next_tick: Nanos,
    pub(super) stopping: bool,
    /// Whether the listeners' queues were emptied after the stop.
    pub(super) swept: bool,
    pub(super) stopping_since: Option<Nanos>,
    broken: Option<io::Error>,
}

impl NetPort {
    /// Opens all sockets and makes the ring; nothing is accepted before [`StreamSource::start`].
    ///
    /// # Errors
    /// An address can't be had, or the kernel offers no io_uring.
    pub fn open(settings: NetSettings) -> Result<(NetPort, NetReport), NetError> {
        let connections: usize = settings.inlets.iter().map(super::InletSpec::connections_max).sum();
        let (ring, groups, report) = super::settings::make_ring(&settings, connections)?;
        let buffers = settings.network.buffers as u32;
        let mut lines = Vec::with_capacity(settings.inlets.len());
        let inlets = settings
            .inlets
            .into_iter()
            .map(|spec| open_inlet(spec.kind, &mut lines))
            .collect::<Result<Vec<_>, _>>()?;
        let port = NetPort {
            ring,
            requesters: NetPort::requesters_of(&inlets),
            inlets,
            slots: (0..connections).map(|_| Slot::new()).collect(),
            free: (0..connections as u32).rev().collect(),
            ready: VecDeque::with_capacity(connections),
            starved: VecDeque::with_capacity(connections),
            closing: Vec::with_capacity(connections),
            completions: Vec::with_capacity(super::settings::COMPLETIONS as usize),
            streams: groups.0,
            datagrams: groups.1,
            buffers,
            book: ConnectionBook::default(),
            now: 0,
            next_tick: 0,
            stopping: false,
            swept: false,
            stopping_since: None,
            broken: None,
        };
        Ok((port, NetReport { inlets: lines, ..report }))
    }

    /// Why the ring can't go on, if it can't.
    pub fn error(&self) -> Option<&io::Error> {
        self.broken.as_ref()
    }

    /// The place of a connection in the table of files, behind those of the inlets.
    #[inline]
    pub(super) fn file_of(&self, index: u32) -> u32 {
        self.inlets.len() as u32 + index
    }

    #[inline]
    pub(super) fn token(&self, operation: Operation, index: u32) -> Token {
        Token { operation, index, generation: self.slots[index as usize].generation }
    }

    #[inline]
    fn complete(&mut self, completion: Completion, now: Nanos, handler: &mut dyn StreamHandler) {
        let index = completion.token.index;
        match completion.token.operation {
            Operation::Receive => self.received(completion, now),
            Operation::ReceiveDatagrams => self.datagram(completion, now, handler),
            Operation::Send => self.sent(index, completion.result, handler),
            Operation::Accept => {
                if let Some(file) = completion.file {
                    self.admit(index as usize, file, now, handler);
                }
                if !completion.more
                    && let Inlet::Listener { accepting, .. } = &mut self.inlets[index as usize]
                {
                    *accepting = false;
                }
            }
            Operation::Connect => self.connected(index, completion.result, now, handler),
            Operation::SendDatagram => self.request_sent(index, completion.result, handler),
            Operation::Cancel => {}
        }
    }

    #[inline]
    fn received(&mut self, completion: Completion, now: Nanos) {
        let index = completion.token.index;
        let slot = &mut self.slots[index as usize];
        if !completion.more {
            slot.receiving = false;
            slot.withdrawing = false;
        }
        if let Some(chunk) = completion.chunk {
            slot.asked_ns = now;
            self.book.bytes_received += chunk.len() as u64;
            self.keep_or_lose(index, chunk);
        }
        let slot = &mut self.slots[index as usize];
        match completion.result {
            0 => slot.end = Some(CloseReason::PeerClosed),
            1.. => {}
            error => match -error {
                libc::ENOBUFS => {
                    self.book.starved += 1;
                    if !std::mem::replace(&mut slot.starved, true) {
                        self.starved.push_back(index);
                    }
                }
                libc::ECANCELED => {}
                libc::ECONNRESET | libc::EPIPE => slot.end = Some(CloseReason::PeerReset),
                _ => slot.end = Some(CloseReason::IoError),
            },
        }
        let slot = &self.slots[index as usize];
        if slot.end.is_some() {
            self.list(index);
        } else if !slot.receiving && slot.waiting_since.is_none() {
            self.arm(index);
        }
    }

    #[inline]
    fn keep_or_lose(&mut self, index: u32, chunk: Chunk) {
        let slot = &mut self.slots[index as usize];
        if chunk.is_empty() || slot.phase != Phase::Open {
            let reason = slot.reason.unwrap_or(CloseReason::Stopped);
            self.book.bytes_lost[reason as usize] += chunk.len() as u64;
            self.ring.release(chunk);
        } else {
            slot.pending.push_back(chunk);
            self.list(index);
        }
    }

    /// Enters a connection for serving, once.
    #[inline]
    pub(super) fn list(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if !slot.listed && slot.phase == Phase::Open {
            slot.listed = true;
            self.ready.push_back(index);
        }
    }

    /// Asks for the bytes of a connection, unless they are asked for or nobody wants them.
    #[inline]
    pub(super) fn arm(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        let wanted = matches!(slot.phase, Phase::Open | Phase::Closing) && slot.end.is_none();
        if wanted && !slot.over && !slot.receiving && !slot.starved {
            let (file, token) = (self.file_of(index), self.token(Operation::Receive, index));
            let slot = &mut self.slots[index as usize];
            slot.receiving = true;
            slot.asked_ns = self.now;
            self.ring.receive(file, self.streams, token);
        }
    }

    /// Asks again for those that found no buffer, first come first served, as soon as there are some.
    #[inline]
    fn arm_starved(&mut self) {
        while !self.starved.is_empty() && self.ring.offered(self.streams) > 0 {
            let Some(index) = self.starved.pop_front() else { return };
            let slot = &mut self.slots[index as usize];
            slot.starved = false;
            if slot.waiting_since.is_none() {
                self.arm(index);
            }
        }
    }

    /// Asks the kernel to end a receive.
    pub(super) fn withdraw(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.receiving && !slot.withdrawing {
            slot.withdrawing = true;
            self.cancel(Operation::Receive, index);
        }
    }

    /// Asks the kernel to end a request of a connection.
    pub(super) fn cancel(&mut self, operation: Operation, index: u32) {
        let (target, token) = (self.token(operation, index), self.token(Operation::Cancel, index));
        self.ring.cancel(target, token);
    }

    /// Shows what came, a piece of each connection in turn, until all is shown that can be, or enough for a turn.
    #[inline]
    fn serve(&mut self, now: Nanos, handler: &mut dyn StreamHandler) -> usize {
        let (mut shown, mut served) = (0, 0);
        let mut in_vain = 0;
        while shown < TURN_BYTES && in_vain < self.ready.len() {
            let Some(index) = self.ready.pop_front() else { break };
            self.slots[index as usize].listed = false;
            let taken = self.serve_one(index, now, handler);
            shown += taken;
            if taken > 0 {
                served += 1;
                in_vain = 0;
                handler.flush();
            } else if self.slots[index as usize].listed {
                in_vain += 1;
            }
        }
        served
    }

    /// Shows the next piece of one connection. Returns the bytes that were taken.
    #[inline]
    fn serve_one(&mut self, index: u32, now: Nanos, handler: &mut dyn StreamHandler) -> usize {
        let connection = ConnectionIndex(index);
        let slot = &mut self.slots[index as usize];
        if slot.phase != Phase::Open {
            return 0;
        }
        let spilled = &slot.spilled[slot.spilled_at..];
        let took = match slot.pending.front() {
            _ if !spilled.is_empty() => handler.bytes(connection, spilled, now),
            Some(chunk) => handler.bytes(connection, self.ring.bytes(chunk), now),
            None => {
                self.end_if_over(index, now, handler);
                return 0;
            }
        };
        if spilled.is_empty() {
            if let Some(chunk) = slot.pending.front_mut() {
                chunk.advance(took.bytes);
            }
            if slot.pending.front().is_some_and(Chunk::is_empty)
                && let Some(done) = slot.pending.pop_front()
            {
                self.ring.release(done);
            }
        } else {
            slot.spilled_at += took.bytes;
        }
        self.go_on(index, took.next, now, handler);
        took.bytes
    }

    #[inline]
    fn go_on(&mut self, index: u32, next: Next, now: Nanos, handler: &mut dyn StreamHandler) {
        match next {
            Next::Close(reason) => return self.begin_close(index, reason, now),
            Next::Wait => self.hold(index, now),
            Next::Continue => self.resume(index, now),
        }
        let slot = &self.slots[index as usize];
        if !slot.is_served() {
            self.list(index);
        } else if slot.end.is_some() {
            self.end_if_over(index, now, handler);
        } else {
            self.arm(index);
        }
    }

    /// The ring is of no use any more: everything ends.
    #[cold]
    #[inline(never)]
    fn break_down(&mut self, error: io::Error, now: Nanos, handler: &mut dyn StreamHandler) {
        self.broken = Some(error);
        for index in 0..self.slots.len() as u32 {
            if self.slots[index as usize].phase != Phase::Free {
                self.begin_close(index, CloseReason::IoError, now);
                self.slots[index as usize].receiving = false;
                self.slots[index as usize].sending = 0;
            }
        }
        self.bury(Nanos::MAX, handler);
    }
}

impl StreamSource for NetPort {
    fn poll(&mut self, now: Nanos, handler: &mut dyn StreamHandler) -> usize {
        if self.broken.is_some() {
            return 0;
        }
        self.now = now;
        if let Err(error) = self.ring.turn(&mut self.completions) {
            self.break_down(error, now, handler);
            return 0;
        }
        let mut completions = std::mem::take(&mut self.completions);
        let mut work = completions.len();
        if self.stopping && work == 0 {
            self.inlets.iter_mut().for_each(Inlet::hush);
        }
        for completion in completions.drain(..) {
            self.complete(completion, now, handler);
        }
        self.completions = completions;
        if self.stopping && !self.swept {
            self.sweep(now, handler);
        }
        if !self.starved.is_empty() {
            self.relieve_starved(now);
            self.arm_starved();
        }
        if work > 0 {
            // Datagrams were shown as they came.
            handler.flush();
        }
        self.arm_inlets();
        work += self.send_requests(now, handler);
        work += self.serve(now, handler);
        if now >= self.next_tick {
            self.tick(now, handler);
        }
        // Behind all that may end a connection: it is told why before anything else is done about its end.
        work += self.speak(handler);
        if !self.closing.is_empty() {
            self.bury(now, handler);
        }
        work
    }

    fn start(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        let started = self.ring.enable().and_then(|()| self.register_inlets());
        match started {
            Ok(()) => {
                self.open_given(now, handler);
                self.arm_inlets();
            }
            Err(error) => self.break_down(error, now, handler),
        }
    }

    fn stop(&mut self) {
        self.stop_taking();
    }

    fn close(&mut self) {
        self.ring.end();
    }

    fn exhausted(&self) -> bool {
        let quiet = |inlet: &Inlet| !matches!(inlet, Inlet::Datagrams { quiet: false, .. });
        let is_over = || self.free.len() == self.slots.len();
        self.broken.is_some() || self.swept && is_over() && self.inlets.iter().all(quiet)
    }

    fn book(&self) -> ConnectionBook {
        let open = self.slots.iter().filter(|slot| matches!(slot.phase, Phase::Open | Phase::Closing));
        let dropped = self.inlets.iter().map(|inlet| match inlet {
            Inlet::Datagrams { socket, .. } => crate::os::dropped_datagrams(socket.file.as_fd()),
            _ => 0,
        });
        ConnectionBook {
            open: open.count() as u64,
            bytes_held: self.slots.iter().map(Slot::pending_bytes).sum(),
            datagrams_dropped: dropped.sum(),
            ..self.book.clone()
        }
    }

    fn addresses(&self) -> Vec<Option<SocketAddr>> {
        let address = |inlet: &Inlet| match inlet {
            Inlet::Listener { socket, .. } | Inlet::Datagrams { socket, .. } => socket.address,
            Inlet::Connector { .. } | Inlet::Given { .. } => None,
        };
        self.inlets.iter().map(address).collect()
    }

    fn system_calls(&self) -> u64 {
        self.ring.enters()
    }
}

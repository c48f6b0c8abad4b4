//! The server's thread and its socket.
//!
//! Invariant: every datagram that arrives is counted once; nothing that arrives ends the server.

use super::answers::Answers;
use super::line_ends::SentLines;
use super::report::{Refusal, RerequestReport};
use crate::event::Nanos;
use crate::os::monotonic_now;
use crate::replay::ReplayError;
use crate::replay::synthetic::Random;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rtrb::Consumer;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Room for packets on their way from the sender: some milliseconds of the fastest replay.
const RING_BYTES: usize = 8 << 20;

/// Longest wait at a time: the sender's packets are taken over at least so often.
const WAIT: Duration = Duration::from_micros(500);

/// Requests answered in a row before the stop flag is looked at.
const TURN_REQUESTS: usize = 64;

/// Longer than any datagram.
const DATAGRAM_BYTES: usize = 1 << 16;

/// What is served, and how badly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RerequestOptions {
    /// Where requests are answered; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Share of replies that is lost on purpose, 0 to 1.
    pub loss: f64,
    /// What decides which: the same seed and the same requests lose the same replies.
    pub seed: u64,
    /// How long requests are answered after the last frame, and after the last answer behind it.
    pub linger: Duration,
    /// Memory for messages that were sent; the oldest are dropped for newer ones.
    pub memory_bytes: usize,
}

/// What both threads see.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// When the last request was answered.
    answered_ns: AtomicU64,
}

/// A server that runs.
pub struct RerequestServer {
    address: SocketAddr,
    linger_ns: Nanos,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<RerequestReport, ReplayError>>>,
}

impl RerequestServer {
    /// Starts a server, and gives what its sender has to be given.
    ///
    /// # Errors
    /// The address can't be had.
    pub fn start(options: RerequestOptions) -> Result<(RerequestServer, SentLines), ReplayError> {
        let failed = |source| ReplayError::Listen { address: options.address, source };
        let socket = UdpSocket::bind(options.address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let (producer, ring) = rtrb::RingBuffer::new(RING_BYTES);
        let shared = Arc::new(Shared::default());
        let desk = Desk {
            socket,
            ring,
            length: None,
            packet: Vec::with_capacity(DATAGRAM_BYTES),
            reply: Vec::with_capacity(DATAGRAM_BYTES),
            answers: Answers::new(options.memory_bytes),
            random: Random::new(options.seed, 2),
            lost_below: lost_below(options.loss),
            shared: Arc::clone(&shared),
            report: RerequestReport::new(address),
        };
        let thread = std::thread::Builder::new()
            .name(String::from("rerequest"))
            .spawn(move || desk.run())
            .map_err(failed)?;
        let linger_ns = u64::try_from(options.linger.as_nanos()).unwrap_or(u64::MAX);
        Ok((RerequestServer { address, linger_ns, shared, thread: Some(thread) }, SentLines::new(producer)))
    }

    /// Where requests are answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether nobody asked for so long that nobody will: since the sending ended, or since the last answer.
    pub fn is_over(&self, sent_ns: Nanos, now: Nanos) -> bool {
        let last_ns = self.shared.answered_ns.load(Ordering::Relaxed).max(sent_ns);
        now.saturating_sub(last_ns) >= self.linger_ns
            || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it and tells what it did.
    ///
    /// # Errors
    /// Its socket failed for good.
    pub fn end(mut self) -> Result<RerequestReport, ReplayError> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let gone = || ReplayError::Listen { address: self.address, source: ErrorKind::BrokenPipe.into() };
        let thread = self.thread.take().ok_or_else(gone)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for RerequestServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // An error on the way here is told instead of whatever the server did.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Draws below this are losses. A share of 1 is all of them but one in 2^64.
fn lost_below(share: f64) -> u64 {
    (share * 2.0_f64.powi(64)) as u64
}

/// The server as its own thread has it.
struct Desk {
    socket: UdpSocket,
    ring: Consumer<u8>,
    /// Length of the packet that stands next in the ring, once that is known.
    length: Option<usize>,
    packet: Vec<u8>,
    reply: Vec<u8>,
    answers: Answers,
    random: Random,
    lost_below: u64,
    shared: Arc<Shared>,
    report: RerequestReport,
}

impl Desk {
    fn run(mut self) -> Result<RerequestReport, ReplayError> {
        let mut request = vec![0; DATAGRAM_BYTES];
        // Relaxed: the flag carries nothing but itself.
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.learn();
            let mut requests = 0;
            while requests < TURN_REQUESTS && self.serve(&mut request)? {
                requests += 1;
            }
            if requests < TURN_REQUESTS {
                let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                // What ends the wait does not matter: both sides are looked at anyway.
                let _ = ppoll(&mut watched, Some(TimeSpec::from_duration(WAIT)), None);
            }
        }
        self.learn();
        self.report.kept = self.answers.kept();
        Ok(self.report)
    }

    /// Takes over what was sent up to now; what comes meanwhile is left, so that a fast sender keeps no request waiting.
    fn learn(&mut self) {
        let end = self.ring.slots();
        let mut taken = 0;
        while taken < end {
            let mut prefix = [0; 2];
            if self.length.is_none() && self.ring.pop_entire_slice(&mut prefix).is_ok() {
                self.length = Some(usize::from(u16::from_be_bytes(prefix)));
            }
            let Some(length) = self.length else { return };
            self.packet.resize(length, 0);
            if self.ring.pop_entire_slice(&mut self.packet).is_err() {
                return;
            }
            self.length = None;
            taken += prefix.len() + length;
            self.answers.learn(&self.packet);
        }
    }

    /// Hears one request and answers it; false if there is none.
    fn serve(&mut self, request: &mut [u8]) -> Result<bool, ReplayError> {
        let (bytes, from) = match self.socket.recv_from(request) {
            Ok(heard) => heard,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock => Ok(false),
                    // The kernel tells once of an earlier reply that nobody took.
                    ErrorKind::Interrupted | ErrorKind::ConnectionRefused => Ok(true),
                    _ => Err(ReplayError::Listen { address: self.report.address, source: error }),
                };
            }
        };
        self.report.requests += 1;
        // Whoever received a packet finds it here, also if it left just now.
        self.learn();
        match self.answers.answer(&request[..bytes], &mut self.reply) {
            Ok(messages) => {
                // Relaxed: the time carries nothing but itself.
                self.shared.answered_ns.store(monotonic_now(), Ordering::Relaxed);
                self.reply_to(from, messages);
            }
            Err(refusal) => self.report.refused[refusal as usize] += 1,
        }
        Ok(true)
    }

    fn reply_to(&mut self, from: SocketAddr, messages: u16) {
        if self.lost_below > 0 && self.random.next() <= self.lost_below {
            self.report.lost += 1;
        } else if self.socket.send_to(&self.reply, from).is_ok() {
            self.report.replies += 1;
            self.report.messages += u64::from(messages);
        } else {
            self.report.refused[Refusal::Unsendable as usize] += 1;
        }
    }
}

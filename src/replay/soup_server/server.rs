//! The server: its listener, its clients, and the one loop that serves them.
//!
//! Invariant: whatever is released goes to every client that asked for it, or that client is closed with a reason.

use super::client::Client;
use super::release::Release;
use super::report::SoupReport;
use crate::event::{CloseReason, Nanos};
use crate::replay::store::MessageStore;
use crate::replay::{ReplayError, SendProgress};
use crate::source::FrameSource;
use crate::source::capture::CaptureSource;
use crate::wire::soupbin::LoginRequest;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Clients at a time; further ones are closed as they come.
pub const CLIENTS_MAX: usize = 64;

/// Clients that are told of one by one in the report.
const CLIENT_REPORTS_MAX: usize = 1_000;

/// Frames released in one turn.
const TURN_FRAMES: usize = 64;

/// Longest wait at a time, so that deadlines and the stop flag are seen.
const WAIT_NS_MAX: u64 = 20_000_000;

/// How long the replay is held for a client that takes nothing, once memory is full and no pace is to be kept.
const HOLD_NS: u64 = 5_000_000_000;

/// How long a server whose clients were all lost before the end waits for one to come back.
const RETURN_NS: u64 = 30_000_000_000;

/// How often progress is told.
const PROGRESS_NS: u64 = 100_000_000;

/// What is served to whom.
#[derive(Clone, Debug)]
pub struct SoupOptions {
    /// Where clients connect; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// The session's name, by [`crate::wire::soupbin::session_bytes`].
    pub session: [u8; 10],
    /// The only user that is let in; any one if there is none.
    pub username: Option<[u8; 6]>,
    /// The password that is asked for; any one will do if there is none.
    pub password: Option<[u8; 10]>,
    /// Clients that must be logged in before the first message is released; at least one.
    pub wait_clients: usize,
    /// Memory for released messages.
    pub memory_bytes: usize,
    /// Whether due times are kept whatever clients do: then one that falls behind by all the memory is closed at once.
    pub paced: bool,
}

impl SoupOptions {
    /// Whether this user may come in. Names and passwords are the same in either case of their letters.
    pub(super) fn admits(&self, request: &LoginRequest) -> bool {
        self.username.is_none_or(|name| name.eq_ignore_ascii_case(&request.username))
            && self.password.is_none_or(|word| word.eq_ignore_ascii_case(&request.password))
    }
}

/// A server that listens.
pub struct SoupServer<C> {
    options: SoupOptions,
    listener: TcpListener,
    address: SocketAddr,
    clients: Vec<Client>,
    store: MessageStore,
    release: Release,
    report: SoupReport,
    /// When the first message was released, or could have been.
    started_ns: Option<Nanos>,
    /// When the last client was lost after everything was released.
    alone_ns: Option<Nanos>,
    clock: C,
}

impl<C: Fn() -> Nanos> SoupServer<C> {
    /// Listens. `clock` reads CLOCK_MONOTONIC in ns.
    ///
    /// # Errors
    /// The address can't be had.
    pub fn bind(options: SoupOptions, source: CaptureSource, clock: C) -> Result<SoupServer<C>, ReplayError> {
        let failed = |source| ReplayError::Listen { address: options.address, source };
        let listener = TcpListener::bind(options.address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(SoupServer {
            listener,
            address,
            clients: Vec::with_capacity(CLIENTS_MAX),
            store: MessageStore::new(options.memory_bytes),
            release: Release::new(source),
            report: SoupReport::default(),
            started_ns: None,
            alone_ns: None,
            clock,
            options,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The capture back, once the serving has ended.
    pub fn into_source(self) -> CaptureSource {
        self.release.into_source()
    }

    /// Serves until everything was released and taken, or until `stop` is set; `progress` is told some ten times a
    /// second. If every client was lost before it had everything, one may come back within 30 s.
    ///
    /// # Errors
    /// The listener fails for good. Damage in the capture ends the session without one; the source's report tells.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        mut progress: impl FnMut(&SendProgress),
    ) -> Result<SoupReport, ReplayError> {
        let began_ns = (self.clock)();
        let mut told_ns = began_ns;
        loop {
            // Relaxed: the flag carries nothing but itself.
            if stop.load(Ordering::Relaxed) {
                self.report.stopped = true;
                self.release.stop();
                break;
            }
            let now = (self.clock)();
            self.admit(now)?;
            self.serve(now);
            let released = self.release_due(now);
            if self.is_done(now) {
                break;
            }
            if now.saturating_sub(told_ns) >= PROGRESS_NS {
                told_ns = now;
                progress(&self.so_far(now));
            }
            self.wait(now, released)?;
        }
        let now = (self.clock)();
        while !self.clients.is_empty() {
            self.close(0, CloseReason::Stopped);
        }
        progress(&self.so_far(now));
        Ok(self.finish(now))
    }

    fn so_far(&self, now: Nanos) -> SendProgress {
        SendProgress {
            frames: self.release.frames,
            frames_total: self.release.source().frames_total(),
            bytes: self.release.bytes,
            elapsed_ns: self.started_ns.map_or(0, |started| now.saturating_sub(started)),
        }
    }

    fn finish(&mut self, now: Nanos) -> SoupReport {
        let mut report = std::mem::take(&mut self.report);
        report.frames = self.release.intake().frames.clone();
        report.messages = self.release.intake().messages.clone();
        report.released = self.store.next() - 1;
        report.dropped = self.store.first_kept() - 1;
        report.not_itch = self.release.not_itch;
        report.elapsed_ns = self.started_ns.map_or(0, |started| now.saturating_sub(started));
        report
    }

    /// Takes the clients that come.
    fn admit(&mut self, now: Nanos) -> Result<(), ReplayError> {
        loop {
            let (socket, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Gone before it was taken.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) =>
                {
                    continue;
                }
                Err(source) => return Err(ReplayError::Listen { address: self.address, source }),
            };
            self.report.connections += 1;
            let ready = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
            self.clients.push(Client::new(socket, address.to_string(), now));
            let index = self.clients.len() - 1;
            if ready.is_err() {
                self.close(index, CloseReason::IoError);
            } else if index >= CLIENTS_MAX {
                self.close(index, CloseReason::ListenerFull);
            }
        }
    }

    /// Ends a client's connection and keeps its report.
    fn close(&mut self, index: usize, reason: CloseReason) {
        let mut report = self.clients.swap_remove(index).report;
        report.closed = Some(reason);
        self.report.closed[reason as usize] += 1;
        self.report.messages_sent += report.messages;
        self.report.bytes_sent += report.bytes;
        self.report.served_whole += u64::from(report.took_everything);
        if self.report.clients.len() < CLIENT_REPORTS_MAX {
            self.report.clients.push(report);
        }
    }

    /// Hears and serves every client.
    fn serve(&mut self, now: Nanos) {
        let over = self.release.source().exhausted();
        let mut index = 0;
        while let Some(client) = self.clients.get_mut(index) {
            let served = client
                .hear(now, &self.options, &self.store)
                .and_then(|()| client.tick(now))
                .and_then(|()| client.speak(now, &self.store, over));
            match served {
                Ok(()) => index += 1,
                Err(reason) => self.close(index, reason),
            }
        }
    }

    /// Releases what is due; whether anything was.
    fn release_due(&mut self, now: Nanos) -> bool {
        if self.started_ns.is_none() {
            let there = self.clients.iter().filter(|client| client.is_serving()).count();
            if there < self.options.wait_clients.max(1) {
                return false;
            }
            self.started_ns = Some(now);
        }
        let mut frames = 0;
        while frames < TURN_FRAMES && self.make_room(now) && self.release.frame(now, &mut self.store) {
            frames += 1;
        }
        frames > 0
    }

    /// Drops the oldest messages if there is no room for more: those who still want them are waited for or closed.
    fn make_room(&mut self, now: Nanos) -> bool {
        while self.store.is_full() {
            let end = self.store.oldest_end();
            let mut index = 0;
            let mut waits = false;
            while let Some(client) = self.clients.get(index) {
                let lags = client.wants().is_some_and(|sequence| sequence < end);
                let is_stuck = now.saturating_sub(client.progressed_ns) >= HOLD_NS;
                if lags && (self.options.paced || is_stuck) {
                    self.close(index, CloseReason::SlowReader);
                } else {
                    waits |= lags;
                    index += 1;
                }
            }
            if waits {
                self.report.waits += 1;
                return false;
            }
            self.store.drop_oldest();
        }
        true
    }

    /// Whether nobody is left who could want something.
    fn is_done(&mut self, now: Nanos) -> bool {
        if !self.release.source().exhausted() || !self.clients.is_empty() {
            self.alone_ns = None;
            return false;
        }
        let alone_ns = *self.alone_ns.get_or_insert(now);
        self.report.served_whole > 0 || now.saturating_sub(alone_ns) >= RETURN_NS
    }

    /// Waits until a client says or takes something, or until a frame is due.
    fn wait(&self, now: Nanos, released: bool) -> Result<(), ReplayError> {
        let source = self.release.source();
        let over = source.exhausted();
        let left_ns = match source.next_due_ns() {
            _ if released => 0,
            Some(due) if self.started_ns.is_some() => due.saturating_sub(now).min(WAIT_NS_MAX),
            // At maximum speed the loader thread is behind, or memory is full: both change soon.
            None if self.started_ns.is_some() && !over => 1_000_000,
            _ => WAIT_NS_MAX,
        };
        let mut watched = Vec::with_capacity(self.clients.len() + 1);
        watched.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        for client in &self.clients {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, client.has_output(&self.store, over));
            watched.push(PollFd::new(client.socket.as_fd(), flags));
        }
        match ppoll(&mut watched, Some(TimeSpec::from_duration(Duration::from_nanos(left_ns))), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(ReplayError::Listen { address: self.address, source: errno.into() }),
        }
    }
}

//! How connections come and go. Invariant: each one that came is counted as opened, and closed for exactly one reason.

use super::connection::{Phase, Slot};
use super::inlets::Inlet;
use super::port::{LAST_WORDS_NS, NetPort};
use crate::config::Listener;
use crate::event::{CloseReason, ConnectionIndex, InletIndex, Nanos, Protocol};
use crate::feed::Next;
use crate::os::uring::{Operation, Token};
use crate::source::StreamHandler;
use crate::wire::native_v2;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// A peer that says nothing for so long while the appliance stops has said what it wanted: some round trips, and the time
/// that a kernel needs to open a closed window again.
const STOP_QUIET_NS: Nanos = 100_000_000;

/// Time that a stopping appliance reads on from peers that do not pause.
const STOP_READING_NS: Nanos = 2_000_000_000;

/// Time after which it reads no more at all, not even what peers that are faster than it keep in their sockets.
const STOP_DEAF_NS: Nanos = 4_000_000_000;

/// Time between two looks at deadlines.
const TICK_NS: Nanos = 10_000_000;

impl Inlet {
    /// Nothing has come for a turn.
    pub(super) fn hush(&mut self) {
        if let Inlet::Datagrams { quiet, .. } = self {
            *quiet = true;
        }
    }
}

impl NetPort {
    /// Enters the inlets' sockets into the table of files.
    pub(super) fn register_inlets(&mut self) -> io::Result<()> {
        for (index, inlet) in self.inlets.iter().enumerate() {
            if let Inlet::Listener { socket, .. } | Inlet::Datagrams { socket, .. } = inlet {
                self.ring.register_file(index as u32, socket.file.as_fd())?;
            }
        }
        Ok(())
    }

    /// Begins the connections that were there from the start.
    pub(super) fn open_given(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        for index in 0..self.inlets.len() {
            if let Inlet::Given { stream } = &mut self.inlets[index]
                && let Some(given) = stream.take()
            {
                self.open_connection(index, given.stream.into(), None, now, handler);
            }
        }
    }

    /// A listener has a connection: lets it in, or closes it for the limit that it breaks.
    #[cold]
    pub(super) fn admit(&mut self, inlet: usize, file: OwnedFd, now: Nanos, handler: &mut dyn StreamHandler) {
        let peer = SockRef::from(&file).peer_addr().ok().and_then(|address| address.as_socket());
        let peer = peer.map(|address| address.ip());
        let Inlet::Listener { settings, visitors, .. } = &mut self.inlets[inlet] else { return };
        if let Err(reason) = visitors.admit(settings, peer) {
            turn_away(&file, settings, reason);
            self.book.opened += 1;
            self.book.closed[reason as usize] += 1;
            return;
        }
        self.open_connection(inlet, file, peer, now, handler);
    }

    /// Lets those in, once, that the kernel had accepted before the stop.
    #[cold]
    pub(super) fn sweep(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        self.swept = true;
        for inlet in 0..self.inlets.len() {
            for _ in 0..super::sockets::BACKLOG {
                let Some(file) = waiting_at(&self.inlets[inlet]) else { break };
                self.admit(inlet, file, now, handler);
            }
        }
    }

    /// Gives a connection a place. There is one: each inlet has as many as it may have connections.
    fn open_connection(
        &mut self,
        inlet: usize,
        file: OwnedFd,
        peer: Option<IpAddr>,
        now: Nanos,
        handler: &mut dyn StreamHandler,
    ) {
        self.book.opened += 1;
        let Some(index) = self.take_place(inlet, file, peer, Phase::Open) else {
            // The kernel has no memory to enter it.
            self.book.closed[CloseReason::IoError as usize] += 1;
            if let Inlet::Listener { visitors, .. } = &mut self.inlets[inlet] {
                visitors.left(peer);
            }
            return;
        };
        handler.opened(ConnectionIndex(index), InletIndex(inlet as u16), now);
        self.arm(index);
    }

    fn take_place(&mut self, inlet: usize, file: OwnedFd, peer: Option<IpAddr>, phase: Phase) -> Option<u32> {
        let index = self.free.pop()?;
        let place = self.file_of(index);
        if self.ring.register_file(place, file.as_fd()).is_err() {
            self.free.push(index);
            return None;
        }
        let slot = &mut self.slots[index as usize];
        slot.phase = phase;
        slot.inlet = inlet as u16;
        slot.peer = peer;
        slot.socket = Some(file);
        Some(index)
    }

    /// Asks servers for the connections that are due.
    fn connect_due(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        for inlet in 0..self.inlets.len() {
            let Inlet::Connector { route } = &mut self.inlets[inlet] else { continue };
            if !route.is_due(now) || !handler.wants_connection(InletIndex(inlet as u16), now) {
                continue;
            }
            let Some(server) = route.due(now) else { continue };
            let place = open_socket(server)
                .ok()
                .and_then(|file| self.take_place(inlet, file, Some(server.ip()), Phase::Connecting));
            match place {
                Some(index) => {
                    self.slots[index as usize].asked_ns = now;
                    let (file, token) = (self.file_of(index), self.token(Operation::Connect, index));
                    self.ring.connect(file, server, token);
                }
                None => self.lost_server(inlet, CloseReason::IoError, false, now),
            }
        }
    }

    /// The answer of a server that was asked for a connection.
    #[cold]
    pub(super) fn connected(&mut self, index: u32, result: i32, now: Nanos, handler: &mut dyn StreamHandler) {
        let slot = &mut self.slots[index as usize];
        let inlet = slot.inlet;
        if result < 0 || self.stopping {
            self.vacate(index);
            self.lost_server(usize::from(inlet), CloseReason::IoError, false, now);
            return;
        }
        slot.phase = Phase::Open;
        // The end of the request to connect may have been asked for too late.
        slot.withdrawing = false;
        self.book.opened += 1;
        handler.opened(ConnectionIndex(index), InletIndex(inlet), now);
        self.arm(index);
    }

    fn lost_server(&mut self, inlet: usize, reason: CloseReason, was_accepted: bool, now: Nanos) {
        if let Inlet::Connector { route } = &mut self.inlets[inlet] {
            if was_accepted {
                route.accepted();
            }
            route.ended(reason, was_accepted, now);
        }
    }

    /// All that came is taken, and no more will: ends the connection, unless there are answers to come.
    #[cold]
    pub(super) fn end_if_over(&mut self, index: u32, now: Nanos, handler: &mut dyn StreamHandler) {
        let Some(end) = self.slots[index as usize].end else { return };
        match (handler.ended(ConnectionIndex(index), now), end) {
            (
                Next::Close(CloseReason::PeerClosed | CloseReason::PeerClosedInFrame),
                CloseReason::PeerClosed,
            ) if self.slots[index as usize].shut => {
                handler.closing(ConnectionIndex(index), CloseReason::Stopped);
                self.begin_close(index, CloseReason::Stopped, now);
            }
            (Next::Close(reason), CloseReason::PeerClosed) => self.begin_close(index, reason, now),
            // Nobody is there to be answered.
            (_, CloseReason::PeerReset | CloseReason::IoError) => self.begin_close(index, end, now),
            _ => self.list(index),
        }
    }

    /// A connection is to end: what it holds is lost for `reason`, its requests are withdrawn.
    #[cold]
    pub(super) fn begin_close(&mut self, index: u32, reason: CloseReason, now: Nanos) {
        if self.slots[index as usize].phase != Phase::Open {
            return;
        }
        self.end_wait(index, now);
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Closing;
        slot.reason = Some(reason);
        slot.closing_since = now;
        self.book.bytes_lost[reason as usize] += slot.pending_bytes();
        slot.spilled = Vec::new();
        slot.spilled_at = 0;
        while let Some(chunk) = slot.pending.pop_front() {
            self.ring.release(chunk);
        }
        self.closing.push(index);
        // In case its receive was withdrawn while it waited: what a peer still sends is read and thrown away, so that
        // it gets our last words instead of a reset.
        self.arm(index);
    }

    /// Brings those to their end that are closing and have nothing more to say.
    pub(super) fn bury(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        let mut at = 0;
        while let Some(&index) = self.closing.get(at) {
            if self.is_over(index, now) {
                self.closing.swap_remove(at);
                self.close(index, now, handler);
            } else {
                at += 1;
            }
        }
    }

    /// Whether a closing connection can go; else it is brought nearer to that.
    fn is_over(&mut self, index: u32, now: Nanos) -> bool {
        let slot = &mut self.slots[index as usize];
        let late = now.saturating_sub(slot.closing_since) > LAST_WORDS_NS;
        let speaking = slot.sending > 0 || slot.more_to_say;
        if speaking && !late && slot.end.is_none_or(|end| end == CloseReason::PeerClosed) {
            return false;
        }
        if slot.sending > 0 {
            self.cancel(Operation::Send, index);
            return false;
        }
        if slot.spoke && !late && slot.end.is_none() {
            // It was told why: it shall read that before the connection goes.
            if !std::mem::replace(&mut slot.finished, true) {
                finish_sending(slot);
            }
            return false;
        }
        self.slots[index as usize].over = true;
        if self.slots[index as usize].receiving {
            self.withdraw(index);
            return false;
        }
        true
    }

    fn close(&mut self, index: u32, now: Nanos, handler: &mut dyn StreamHandler) {
        let slot = &self.slots[index as usize];
        let (inlet, peer) = (usize::from(slot.inlet), slot.peer);
        let reason = slot.reason.unwrap_or(CloseReason::Stopped);
        let (lost, was_accepted) = handler.closed(ConnectionIndex(index), reason);
        self.book.bytes_lost[reason as usize] += lost;
        self.book.closed[reason as usize] += 1;
        match &mut self.inlets[inlet] {
            Inlet::Listener { visitors, .. } => visitors.left(peer),
            Inlet::Connector { .. } => self.lost_server(inlet, reason, was_accepted, now),
            Inlet::Datagrams { .. } | Inlet::Given { .. } => {}
        }
        self.vacate(index);
    }

    fn vacate(&mut self, index: u32) {
        let place = self.file_of(index);
        self.ring.unregister_file(place);
        self.slots[index as usize].clear();
        self.free.push(index);
    }

    /// No new connections; those that are there end when their peers pause, see [`shut_quiet`](NetPort::shut_quiet).
    #[cold]
    pub(super) fn stop_taking(&mut self) {
        self.stopping = true;
        for (index, inlet) in self.inlets.iter_mut().enumerate() {
            let index = index as u32;
            let token = |operation| Token { operation, index, generation: 0 };
            match inlet {
                Inlet::Listener { .. } => {
                    self.ring.cancel(token(Operation::Accept), token(Operation::Cancel));
                }
                Inlet::Connector { route } => route.stop(),
                Inlet::Datagrams { .. } | Inlet::Given { .. } => {}
            }
        }
        for index in 0..self.slots.len() as u32 {
            if self.slots[index as usize].phase == Phase::Connecting {
                self.cancel(Operation::Connect, index);
            }
        }
    }

    /// Looks at the deadlines of all connections.
    #[cold]
    pub(super) fn tick(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        self.next_tick = now + TICK_NS;
        for index in 0..self.slots.len() as u32 {
            let slot = &self.slots[index as usize];
            if slot.phase == Phase::Connecting {
                self.lose_patience(index, now);
                continue;
            }
            if slot.phase != Phase::Open {
                continue;
            }
            let deaf = slot.sending > 0 && now.saturating_sub(slot.sending_since) > LAST_WORDS_NS;
            // A peer is judged by what it does while we listen.
            let listening = slot.receiving && slot.waiting_since.is_none() && slot.is_served();
            match slot.end {
                // It says nothing more and takes nothing: whatever there is to be answered finds nobody.
                Some(end) if deaf && slot.is_served() => self.begin_close(index, end, now),
                Some(_) => {}
                None if !listening => handler.paused(ConnectionIndex(index), now),
                None => {
                    if let Next::Close(reason) = handler.tick(ConnectionIndex(index), now) {
                        self.begin_close(index, reason, now);
                    }
                }
            }
        }
        if self.stopping {
            self.shut_quiet(now);
        } else {
            self.connect_due(now, handler);
        }
    }

    /// Gives up a connection that a server takes too long to accept.
    fn lose_patience(&mut self, index: u32, now: Nanos) {
        let slot = &self.slots[index as usize];
        let Inlet::Connector { route } = &self.inlets[usize::from(slot.inlet)] else { return };
        let passed = now.saturating_sub(slot.asked_ns);
        if !slot.withdrawing && route.patience_ns().is_some_and(|patience| passed > patience) {
            self.slots[index as usize].withdrawing = true;
            self.cancel(Operation::Connect, index);
        }
    }

    /// Ends the reading of connections whose peers have said all for now, and after a while of the others, too. What is
    /// in the socket by then is still read; behind it comes the end.
    #[cold]
    pub(super) fn shut_quiet(&mut self, now: Nanos) {
        let since = *self.stopping_since.get_or_insert(now);
        let late = now.saturating_sub(since) > STOP_READING_NS;
        for slot in self.slots.iter_mut().filter(|slot| slot.phase == Phase::Open && !slot.shut) {
            let silent = now.saturating_sub(slot.asked_ns) > STOP_QUIET_NS;
            let quiet = silent && slot.is_served() && slot.receiving && !slot.withdrawing;
            if quiet || late {
                slot.shut = true;
                with_socket(slot, |socket| socket.shutdown(Shutdown::Read));
            }
        }
        if late {
            self.inlets.iter_mut().for_each(Inlet::hush);
        }
        if now.saturating_sub(since) > STOP_DEAF_NS {
            self.read_no_more();
        }
    }

    /// What was received is still taken; what is in the sockets is their peers' loss, who learn of it.
    #[cold]
    fn read_no_more(&mut self) {
        for index in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[index as usize];
            if slot.phase == Phase::Open && slot.end.is_none() {
                slot.end = Some(CloseReason::PeerClosed);
                self.withdraw(index);
                self.list(index);
            }
        }
    }
}

impl Drop for NetPort {
    fn drop(&mut self) {
        for inlet in &self.inlets {
            if let Inlet::Listener { socket, .. } = inlet
                && let Some(path) = &socket.path
            {
                // Whoever removed it before us has done the same.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// A connection that nobody has taken from a listener yet.
fn waiting_at(inlet: &Inlet) -> Option<OwnedFd> {
    let Inlet::Listener { socket, .. } = inlet else { return None };
    let socket = SockRef::from(&socket.file);
    socket.set_nonblocking(true).ok()?;
    socket.accept().ok().map(|(accepted, _)| accepted.into())
}

fn with_socket(slot: &Slot, act: impl FnOnce(&SockRef<'_>) -> io::Result<()>) {
    if let Some(file) = &slot.socket {
        // A peer that is gone already makes it fail, and no difference.
        let _ = act(&SockRef::from(file));
    }
}

fn finish_sending(slot: &Slot) {
    with_socket(slot, |socket| socket.shutdown(Shutdown::Write));
}

fn open_socket(server: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Tells a native peer why it can't come in, if its socket takes that at once.
fn turn_away(file: &OwnedFd, listener: &Listener, reason: CloseReason) {
    if listener.protocol != Protocol::Native {
        return;
    }
    let mut frame = [0; 128];
    let word = native_v2::Control::Error { code: reason as u8, text: reason.name().as_bytes() };
    let bytes = native_v2::write_control(&word, 0, &mut frame);
    // A peer that does not take it is closed all the same.
    let _ = SockRef::from(file).send_with_flags(&frame[..bytes], libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
}

//! The readers to compare with: epoll that spins, epoll that waits, and reads that block, as sources of the same shard.
//!
//! Each does what a careful author would: a buffer for each connection that stays in the cache, large reads, no second
//! wait for connections that are known to have more, pieces in turn, and the same bytes in a turn as Sluice's own port.

use crate::waits::{Epoll, PollList};
use sluice::event::{CloseReason, ConnectionIndex, InletIndex, Nanos};
use sluice::feed::Next;
use sluice::ledger::ConnectionBook;
use sluice::source::{StreamHandler, StreamSource};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Bytes that are shown in one turn: as many as Sluice's port shows.
const TURN_BYTES: usize = 512 << 10;

/// Time between two looks at deadlines, as Sluice's port has it.
const TICK_NS: Nanos = 10_000_000;

/// How long a wait lasts at most, ms: a shard has a turn to give and housekeeping to do.
const WAIT_MS: u8 = 1;

/// How a reader learns that there is something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// `epoll_wait` with a timeout of 0.
    EpollSpin,
    /// `epoll_wait` that sleeps.
    EpollWait,
    /// A read that blocks; with several connections, `poll` and then reads.
    Block,
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What was read and not taken.
    start: usize,
    end: usize,
    /// Whether it is on the list of those to be served.
    listed: bool,
    /// No byte will come any more.
    over: bool,
}

/// A reader of a given number of connections.
pub(crate) struct Reader {
    waiting: Waiting,
    listener: TcpListener,
    epoll: Epoll,
    polled: PollList,
    places: usize,
    read_bytes: usize,
    connections: Vec<Option<Connection>>,
    ready: VecDeque<u32>,
    book: ConnectionBook,
    calls: u64,
    next_tick: Nanos,
    stopping: bool,
}

impl Reader {
    /// Listens on loopback for `places` connections, each of which is read up to `read_bytes` at a time.
    pub(crate) fn listen(waiting: Waiting, places: usize, read_bytes: usize) -> io::Result<Reader> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Reader {
            waiting,
            listener,
            epoll: Epoll::create()?,
            polled: PollList::default(),
            places,
            read_bytes,
            connections: Vec::with_capacity(places),
            ready: VecDeque::with_capacity(places),
            book: ConnectionBook::default(),
            calls: 0,
            next_tick: 0,
            stopping: false,
        })
    }

    /// Whether reads themselves wait, which only a single connection allows.
    fn reads_block(&self) -> bool {
        self.waiting == Waiting::Block && self.places == 1
    }

    /// Takes the connections that are still missing; afterwards the listener costs nothing any more.
    #[cold]
    fn accept(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        while self.connections.len() < self.places {
            self.calls += 1;
            let Ok((stream, _)) = self.listener.accept() else { return };
            let index = self.connections.len() as u32;
            let prepared = if self.reads_block() {
                stream.set_read_timeout(Some(Duration::from_millis(WAIT_MS.into())))
            } else {
                stream.set_nonblocking(true).and_then(|()| self.epoll.add(&stream, index))
            };
            prepared.expect("a fresh connection can be watched");
            self.polled.add(&stream);
            let buffer = vec![0; self.read_bytes].into_boxed_slice();
            self.connections.push(Some(Connection {
                stream,
                buffer,
                start: 0,
                end: 0,
                listed: false,
                over: false,
            }));
            self.book.opened += 1;
            handler.opened(ConnectionIndex(index), InletIndex(0), now);
        }
    }

    fn list(&mut self, index: u32) {
        if let Some(connection) = &mut self.connections[index as usize]
            && !connection.listed
        {
            connection.listed = true;
            self.ready.push_back(index);
        }
    }

    /// Enters those that have something to read. It sleeps only if nothing else is left to do.
    fn look(&mut self) {
        let open = self.connections.iter().flatten().count();
        if open == 0 || self.ready.len() == open {
            return;
        }
        let idle = self.ready.is_empty();
        match self.waiting {
            Waiting::Block if self.reads_block() => self.list(0),
            Waiting::Block => self.poll_all(idle),
            Waiting::EpollSpin | Waiting::EpollWait => {
                let sleeps = idle && self.waiting == Waiting::EpollWait;
                self.calls += 1;
                let found = self.epoll.wait(if sleeps { WAIT_MS } else { 0 });
                (0..found).for_each(|event| self.list(self.epoll.index(event)));
            }
        }
    }

    fn poll_all(&mut self, idle: bool) {
        self.calls += 1;
        for index in 0..self.polled.wait(if idle { WAIT_MS } else { 0 }) {
            if self.polled.can_read(index) {
                self.list(index);
            }
        }
    }

    /// Shows what came, a piece of each connection in turn, until all is shown that can be, or enough for a turn.
    fn serve(&mut self, now: Nanos, handler: &mut dyn StreamHandler) -> usize {
        let (mut shown, mut served, mut in_vain) = (0, 0, 0);
        while shown < TURN_BYTES && in_vain < self.ready.len() {
            let Some(index) = self.ready.pop_front() else { break };
            let (taken, again) = self.serve_one(index, now, handler);
            if taken > 0 {
                handler.flush();
                shown += taken;
                served += 1;
                in_vain = 0;
            }
            if again {
                in_vain += usize::from(taken == 0);
                self.list(index);
            }
        }
        served
    }

    /// Reads and shows a piece of one connection. Returns the bytes taken, and whether there may be more at once.
    fn serve_one(&mut self, index: u32, now: Nanos, handler: &mut dyn StreamHandler) -> (usize, bool) {
        let Some(connection) = &mut self.connections[index as usize] else { return (0, false) };
        connection.listed = false;
        let mut filled = false;
        if connection.start == connection.end && !connection.over {
            self.calls += 1;
            match connection.stream.read(&mut connection.buffer) {
                Ok(0) => connection.over = true,
                Ok(bytes) => {
                    (connection.start, connection.end) = (0, bytes);
                    filled = bytes == connection.buffer.len();
                    self.book.bytes_received += bytes as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (0, false),
                Err(_) => return (0, self.close(index, CloseReason::IoError, handler)),
            }
        }
        if connection.start == connection.end {
            return (0, self.end(index, now, handler));
        }
        let piece = &connection.buffer[connection.start..connection.end];
        let took = handler.bytes(ConnectionIndex(index), piece, now);
        connection.start += took.bytes;
        let left = connection.start < connection.end;
        match took.next {
            Next::Close(reason) => (took.bytes, self.close(index, reason, handler)),
            Next::Wait | Next::Continue => (took.bytes, left || filled),
        }
    }

    fn end(&mut self, index: u32, now: Nanos, handler: &mut dyn StreamHandler) -> bool {
        match handler.ended(ConnectionIndex(index), now) {
            Next::Close(reason) => self.close(index, reason, handler),
            Next::Wait | Next::Continue => true,
        }
    }

    /// Returns that there is nothing more to serve.
    #[cold]
    fn close(&mut self, index: u32, reason: CloseReason, handler: &mut dyn StreamHandler) -> bool {
        if let Some(connection) = self.connections[index as usize].take() {
            self.polled.remove(index);
            let (lost, _) = handler.closed(ConnectionIndex(index), reason);
            self.book.bytes_lost[reason as usize] += lost + (connection.end - connection.start) as u64;
            self.book.closed[reason as usize] += 1;
        }
        false
    }

    fn speak(&mut self, handler: &mut dyn StreamHandler) {
        while let Some(index) = handler.next_reply() {
            let mut words = [0; 512];
            let bytes = handler.reply(index, &mut words);
            if let Some(connection) = &mut self.connections[index.0 as usize] {
                self.calls += 1;
                // Version 1 has no replies; whoever sends version 2 to this bench may lose some.
                let sent = connection.stream.write(&words[..bytes]).unwrap_or_default();
                self.book.bytes_sent += sent as u64;
            }
        }
    }

    fn tick(&mut self, now: Nanos, handler: &mut dyn StreamHandler) {
        self.next_tick = now + TICK_NS;
        for index in 0..self.connections.len() as u32 {
            if self.connections[index as usize].is_some()
                && let Next::Close(reason) = handler.tick(ConnectionIndex(index), now)
            {
                self.close(index, reason, handler);
            }
        }
    }
}

impl StreamSource for Reader {
    fn poll(&mut self, now: Nanos, handler: &mut dyn StreamHandler) -> usize {
        if self.connections.len() < self.places && !self.stopping {
            self.accept(now, handler);
        }
        self.look();
        let served = self.serve(now, handler);
        self.speak(handler);
        if now >= self.next_tick {
            self.tick(now, handler);
        }
        served
    }

    fn start(&mut self, _now: Nanos, _handler: &mut dyn StreamHandler) {}

    fn close(&mut self) {}

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn exhausted(&self) -> bool {
        self.stopping && self.connections.iter().all(Option::is_none)
    }

    fn book(&self) -> ConnectionBook {
        let open = self.connections.iter().flatten();
        ConnectionBook {
            open: open.clone().count() as u64,
            bytes_held: open.map(|connection| (connection.end - connection.start) as u64).sum(),
            ..self.book.clone()
        }
    }

    fn addresses(&self) -> Vec<Option<SocketAddr>> {
        vec![self.listener.local_addr().ok()]
    }

    fn system_calls(&self) -> u64 {
        self.calls
    }
}

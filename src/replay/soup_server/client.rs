//! One client of the server: its login, what it has been sent, and when it is given up.
//!
//! Invariant: words of the session stand between packets only, never inside one that is half sent.

use super::report::ClientReport;
use super::server::SoupOptions;
use crate::event::{CloseReason, Nanos};
use crate::replay::store::{Cursor, MessageStore};
use crate::wire::soupbin::{self, ClientPacket, END_OF_SESSION, LoginRequest, SERVER_HEARTBEAT};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A server says something at least this often.
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// A client that says nothing for this long is dead, and so is one that takes nothing for this long.
const SILENCE_NS: u64 = 15_000_000_000;

/// How long a client may take to close its side once it was told that this one is closed.
const FAREWELL_NS: u64 = 5_000_000_000;

/// Bytes written to one client in a turn, so that the others have theirs.
const TURN_BYTES: usize = 256 * 1024;

/// Bytes read at a time, and how often in a turn.
const READ_BYTES: usize = 4_096;
const TURN_READS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has not said yet who it is.
    Greeting,
    /// It is sent messages.
    Serving,
    /// It was told its last word; for this reason it is closed in the end.
    Leaving(CloseReason, Nanos),
}

/// A connection.
pub(super) struct Client {
    pub(super) socket: TcpStream,
    pub(super) report: ClientReport,
    state: State,
    input: Vec<u8>,
    /// Words that are to be said before the next message.
    words: Vec<u8>,
    cursor: Cursor,
    opened_ns: Nanos,
    heard_ns: Nanos,
    spoke_ns: Nanos,
    /// When it took something last, or had nothing to take.
    pub(super) progressed_ns: Nanos,
    shut: bool,
}

impl Client {
    pub(super) fn new(socket: TcpStream, address: String, now: Nanos) -> Client {
        Client {
            socket,
            report: ClientReport { address, ..ClientReport::default() },
            state: State::Greeting,
            input: Vec::new(),
            words: Vec::new(),
            cursor: Cursor { sequence: 0, sent: 0 },
            opened_ns: now,
            heard_ns: now,
            spoke_ns: now,
            progressed_ns: now,
            shut: false,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.state == State::Serving
    }

    /// Number of the message that it is sent next, if it is sent any.
    pub(super) fn wants(&self) -> Option<u64> {
        self.is_serving().then_some(self.cursor.sequence)
    }

    /// Whether there is something to send.
    pub(super) fn has_output(&self, store: &MessageStore, over: bool) -> bool {
        let leaving = matches!(self.state, State::Leaving(..)) && !self.shut;
        let behind = self.is_serving() && (over || self.cursor.sequence < store.next());
        !self.words.is_empty() || leaving || behind
    }

    /// Takes what it says.
    pub(super) fn hear(
        &mut self,
        now: Nanos,
        options: &SoupOptions,
        store: &MessageStore,
    ) -> Result<(), CloseReason> {
        let mut bytes = [0; READ_BYTES];
        for _ in 0..TURN_READS {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(self.gone()),
                Ok(count) => {
                    self.heard_ns = now;
                    self.input.extend_from_slice(&bytes[..count]);
                    self.follow(now, options, store)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// Why it is closed, now that it has closed its side.
    fn gone(&mut self) -> CloseReason {
        // One that left what it was sent unread has reset the connection, though its end may be seen first.
        let reset = matches!(self.socket.take_error(), Err(_) | Ok(Some(_)));
        match self.state {
            _ if reset => CloseReason::PeerReset,
            State::Leaving(reason, _) => {
                self.report.took_everything = self.shut && reason == CloseReason::EndOfSession;
                reason
            }
            State::Greeting | State::Serving if self.input.is_empty() => CloseReason::PeerClosed,
            State::Greeting | State::Serving => CloseReason::PeerClosedInFrame,
        }
    }

    /// Follows the packets that are whole.
    fn follow(&mut self, now: Nanos, options: &SoupOptions, store: &MessageStore) -> Result<(), CloseReason> {
        let mut done = 0;
        while let Some((packet, bytes)) = soupbin::client_packet(&self.input[done..])? {
            done += bytes;
            match (packet, self.state) {
                // What it says behind its last word from here does not matter any more.
                (_, State::Leaving(..)) => {}
                (ClientPacket::Login(request), State::Greeting) => self.log_in(&request, now, options, store),
                (ClientPacket::Login(_) | ClientPacket::Unsequenced(_), State::Greeting | State::Serving) => {
                    return Err(CloseReason::SessionViolation);
                }
                (ClientPacket::Logout, State::Greeting | State::Serving) => {
                    return Err(CloseReason::PeerClosed);
                }
                (ClientPacket::Debug(_) | ClientPacket::Heartbeat, State::Greeting | State::Serving) => {}
            }
        }
        self.input.drain(..done);
        Ok(())
    }

    fn log_in(&mut self, request: &LoginRequest, now: Nanos, options: &SoupOptions, store: &MessageStore) {
        let asked = request.session.trim_ascii();
        let sequence = if request.sequence == 0 { store.next() } else { request.sequence };
        let refused = if !options.admits(request) {
            Some(b'A')
        } else if (!asked.is_empty() && asked != options.session.trim_ascii())
            || sequence < store.first_kept()
        {
            Some(b'S')
        } else {
            None
        };
        if let Some(code) = refused {
            self.words.extend_from_slice(&soupbin::reject(code));
            self.state = State::Leaving(CloseReason::LoginRefused, now);
            return;
        }
        self.words.extend_from_slice(&soupbin::accept(&options.session, sequence));
        self.cursor = Cursor { sequence, sent: 0 };
        self.state = State::Serving;
        self.progressed_ns = now;
        self.report.logged_in = true;
        (self.report.first_sequence, self.report.last_sequence) = (sequence, sequence - 1);
    }

    /// Sends what there is, as far as the socket takes it; `over` when nothing will be released any more.
    pub(super) fn speak(&mut self, now: Nanos, store: &MessageStore, over: bool) -> Result<(), CloseReason> {
        let mut left = TURN_BYTES;
        while left > 0 {
            let words = !self.words.is_empty();
            let output = match self.state {
                _ if words => &self.words[..],
                State::Serving => store.piece(self.cursor),
                State::Greeting | State::Leaving(..) => &[],
            };
            if output.is_empty() {
                match self.state {
                    State::Serving if over => {
                        self.words.extend_from_slice(&END_OF_SESSION);
                        self.state = State::Leaving(CloseReason::EndOfSession, now);
                        continue;
                    }
                    State::Leaving(..) if !self.shut => {
                        self.shut = true;
                        // A peer that is gone already is found by the next read.
                        let _ = self.socket.shutdown(Shutdown::Write);
                    }
                    _ => self.progressed_ns = now,
                }
                break;
            }
            let sent = match self.socket.write(&output[..output.len().min(left)]) {
                Ok(0) => break,
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(&error)),
            };
            left -= sent;
            (self.spoke_ns, self.progressed_ns) = (now, now);
            self.report.bytes += sent as u64;
            if words {
                self.words.drain(..sent);
            } else {
                let before = self.cursor.sequence;
                self.cursor = store.advance(self.cursor, sent);
                self.report.messages += self.cursor.sequence - before;
                self.report.last_sequence = self.cursor.sequence - 1;
            }
        }
        Ok(())
    }

    /// Looks at its deadlines.
    pub(super) fn tick(&mut self, now: Nanos) -> Result<(), CloseReason> {
        let since = |then: Nanos| now.saturating_sub(then);
        match self.state {
            State::Leaving(reason, told_ns) if since(told_ns.max(self.spoke_ns)) >= FAREWELL_NS => {
                Err(reason)
            }
            State::Leaving(..) => Ok(()),
            State::Greeting if since(self.opened_ns) >= SILENCE_NS => Err(CloseReason::HandshakeTimeout),
            State::Greeting => Ok(()),
            State::Serving if since(self.heard_ns) >= SILENCE_NS => Err(CloseReason::PeerSilent),
            State::Serving if since(self.progressed_ns) >= SILENCE_NS => Err(CloseReason::SlowReader),
            State::Serving => {
                if since(self.spoke_ns) >= HEARTBEAT_NS && self.words.is_empty() && self.cursor.sent == 0 {
                    self.words.extend_from_slice(&SERVER_HEARTBEAT);
                }
                Ok(())
            }
        }
    }
}

fn failed(error: &std::io::Error) -> CloseReason {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => CloseReason::PeerReset,
        _ => CloseReason::IoError,
    }
}

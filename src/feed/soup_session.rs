//! Hot path: a client's SoupBinTCP session: who logs in, which message comes next, when something is due to be said, and
//! when the server is to be given up.
//!
//! Invariant: messages are counted from the number that the server gave with its acceptance; so a connection that is
//! made again asks for exactly the next one.

use crate::event::{CloseReason, MessageReject, Nanos};
use crate::wire::moldudp64::session_number;
use crate::wire::soupbin::{self, CLIENT_HEARTBEAT, Control, LOGIN_BYTES, LOGOUT, LoginRequest};

/// A client says something at least this often.
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// A server that says nothing for this long is given up, and so is one that does not answer a login for this long.
const SILENCE_NS: u64 = 15_000_000_000;

/// A session's name that means the server's current session.
pub const CURRENT_SESSION: [u8; 10] = [b' '; 10];

/// Who logs in, padded with spaces on the right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SoupLogin {
    /// Name of the user.
    pub username: [u8; 6],
    /// The user's password.
    pub password: [u8; 10],
}

/// The password stays out of logs.
impl std::fmt::Debug for SoupLogin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let username = self.username.escape_ascii();
        formatter.debug_struct("SoupLogin").field("username", &username).finish_non_exhaustive()
    }
}

/// A login that SoupBinTCP has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SoupLoginError {
    /// The user's name.
    #[error("a SoupBinTCP user name has at most 6 letters and digits: shorten it")]
    Username,
    /// The password.
    #[error("a SoupBinTCP password has at most 10 letters and digits: shorten it")]
    Password,
}

impl SoupLogin {
    /// A login of these.
    ///
    /// # Errors
    /// One is longer than its field (6 and 10 bytes), or not of printable ASCII without spaces.
    pub fn new(username: &str, password: &str) -> Result<SoupLogin, SoupLoginError> {
        Ok(SoupLogin {
            username: soupbin::padded(username).ok_or(SoupLoginError::Username)?,
            password: soupbin::padded(password).ok_or(SoupLoginError::Password)?,
        })
    }
}

/// What a server's word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoupEvent {
    /// Nothing that anybody has to act on.
    Nothing,
    /// The login is accepted.
    LoginAccepted {
        /// The session that messages belong to.
        session: [u8; 10],
        /// Number of its message that comes next.
        sequence: u64,
    },
    /// The server is still there, and the next message has still the number [`SoupSession::sequence`].
    Heartbeat,
    /// The session has ended: the connection is to be closed as [`CloseReason::EndOfSession`].
    EndOfSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no connection.
    Apart,
    /// The login is sent or about to be.
    LoggingIn,
    /// The login is accepted.
    In,
    /// The server has ended the session.
    Over,
}

/// A client's session, over as many connections as it takes.
#[derive(Clone, Debug)]
pub struct SoupSession {
    login: SoupLogin,
    /// The session that is asked for, or was entered.
    session: [u8; 10],
    /// Number of the next message; while none was accepted, the number that is asked for.
    sequence: u64,
    state: State,
    connected_ns: Nanos,
    received_ns: Nanos,
    /// When the last packet was made ready to be sent.
    spoke_ns: Nanos,
    login_due: bool,
    heartbeat_due: bool,
    logout_due: bool,
}

impl SoupSession {
    /// A session that asks for `session` (a name by [`soupbin::session_bytes`], or [`CURRENT_SESSION`]), from the message
    /// `next_sequence` on: 1 is the first one, 0 the next one that the server generates.
    pub fn new(login: SoupLogin, session: [u8; 10], next_sequence: u64) -> SoupSession {
        SoupSession {
            login,
            session,
            sequence: next_sequence,
            state: State::Apart,
            connected_ns: 0,
            received_ns: 0,
            spoke_ns: 0,
            login_due: false,
            heartbeat_due: false,
            logout_due: false,
        }
    }

    /// A connection has come about: the login is the first that is said on it.
    pub fn connected(&mut self, now: Nanos) {
        self.reconnect();
        self.state = State::LoggingIn;
        (self.connected_ns, self.received_ns, self.spoke_ns) = (now, now, now);
        self.login_due = true;
    }

    /// The connection is lost. What the next one asks for is told: the session that this one was in, from the first message
    /// on that was not taken.
    pub fn reconnect(&mut self) -> LoginRequest {
        self.state = State::Apart;
        (self.login_due, self.heartbeat_due, self.logout_due) = (false, false, false);
        self.request()
    }

    fn request(&self) -> LoginRequest {
        let SoupLogin { username, password } = self.login;
        LoginRequest { username, password, session: self.session, sequence: self.sequence }
    }

    /// Bytes came, whatever they say.
    #[inline]
    pub fn received(&mut self, now: Nanos) {
        self.received_ns = now;
    }

    /// Follows a word of the server's.
    ///
    /// # Errors
    /// The login is refused, or the word has no place where it stands.
    pub fn control(&mut self, control: &Control<'_>, now: Nanos) -> Result<SoupEvent, CloseReason> {
        self.received(now);
        match (*control, self.state) {
            (_, State::Apart | State::Over) => Err(CloseReason::SessionViolation),
            (Control::Debug(_), _) | (Control::Heartbeat, State::LoggingIn) => Ok(SoupEvent::Nothing),
            (Control::Heartbeat, State::In) => Ok(SoupEvent::Heartbeat),
            (Control::EndOfSession, _) => {
                self.state = State::Over;
                Ok(SoupEvent::EndOfSession)
            }
            (Control::Rejected(_), State::LoggingIn) => Err(CloseReason::LoginRefused),
            (Control::Accepted { session, sequence }, State::LoggingIn) if self.is_asked_for(&session) => {
                self.state = State::In;
                (self.session, self.sequence) = (session, sequence);
                Ok(SoupEvent::LoginAccepted { session, sequence })
            }
            // Another session than the one asked for, or an answer that nobody waits for.
            (Control::Accepted { .. } | Control::Rejected(_), _) => Err(CloseReason::SessionViolation),
        }
    }

    /// Servers are seen to pad names on either side.
    fn is_asked_for(&self, session: &[u8; 10]) -> bool {
        self.session == CURRENT_SESSION || self.session.trim_ascii() == session.trim_ascii()
    }

    /// Number of the message that is about to be taken.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number of the message that came.
    ///
    /// # Errors
    /// [`CloseReason::SessionViolation`]: there may be none before the login is accepted, nor behind the session's end.
    #[inline]
    pub fn sequenced(&self) -> Result<u64, CloseReason> {
        match self.state {
            State::In => Ok(self.sequence),
            State::Apart | State::LoggingIn | State::Over => Err(CloseReason::SessionViolation),
        }
    }

    /// The message is taken: accepted or counted as a copy.
    #[inline]
    pub fn took(&mut self) {
        self.sequence = self.sequence.saturating_add(1);
    }

    /// Something was refused by the decoder; it took a number if it was a sequenced message.
    #[inline]
    pub fn refused(&mut self, reason: MessageReject) {
        if soupbin::took_number(reason) {
            self.took();
        }
    }

    /// The session as [`crate::wire::Run::session`] has it: as a MoldUDP64 session is written.
    #[inline]
    pub fn session_number(&self) -> u128 {
        session_number(&self.session)
    }

    /// Whether the login is accepted and the session goes on.
    #[inline]
    pub fn is_logged_in(&self) -> bool {
        self.state == State::In
    }

    /// Looks at the deadlines: makes a heartbeat due after a second without a word of ours.
    ///
    /// # Errors
    /// The server did not answer the login in 15 s, or was silent for 15 s.
    pub fn tick(&mut self, now: Nanos) -> Result<(), CloseReason> {
        match self.state {
            State::Apart | State::Over => return Ok(()),
            State::LoggingIn if now.saturating_sub(self.connected_ns) >= SILENCE_NS => {
                return Err(CloseReason::HandshakeTimeout);
            }
            State::In if now.saturating_sub(self.received_ns) >= SILENCE_NS => {
                return Err(CloseReason::PeerSilent);
            }
            State::LoggingIn | State::In => {}
        }
        if now.saturating_sub(self.spoke_ns) >= HEARTBEAT_NS {
            self.spoke_ns = now;
            self.heartbeat_due = true;
        }
        Ok(())
    }

    /// The server is to be told that this client goes.
    pub fn logout(&mut self) {
        self.logout_due = matches!(self.state, State::LoggingIn | State::In);
    }

    /// Whether there is something to say.
    #[inline]
    pub fn has_reply(&self) -> bool {
        self.login_due || self.heartbeat_due || self.logout_due
    }

    /// Writes what is to be said, as whole packets and as far as there is room, and returns how many bytes that are.
    pub fn reply(&mut self, into: &mut [u8]) -> usize {
        let mut written = 0;
        if self.login_due {
            let packet: [u8; LOGIN_BYTES] = soupbin::login(&self.request());
            if !put(&packet, into, &mut written) {
                return written;
            }
            // A login says also that one is there.
            (self.login_due, self.heartbeat_due) = (false, false);
        }
        self.heartbeat_due = self.heartbeat_due && !put(&CLIENT_HEARTBEAT, into, &mut written);
        self.logout_due = self.logout_due && !put(&LOGOUT, into, &mut written);
        written
    }
}

fn put(packet: &[u8], into: &mut [u8], written: &mut usize) -> bool {
    let room = into.get_mut(*written..*written + packet.len());
    room.is_some_and(|place| {
        place.copy_from_slice(packet);
        *written += packet.len();
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::soupbin::{ClientPacket, client_packet, session_bytes};

    const SECOND: u64 = 1_000_000_000;

    fn login() -> SoupLogin {
        SoupLogin::new("reader", "secret").expect("fits")
    }

    fn accepted(sequence: u64) -> Control<'static> {
        Control::Accepted { session: *b"SLUICE0001", sequence }
    }

    /// What the session says, packet by packet.
    fn said(session: &mut SoupSession) -> Vec<u8> {
        let mut into = [0; 100];
        let bytes = session.reply(&mut into);
        assert!(!session.has_reply());
        into[..bytes].to_vec()
    }

    fn logged_in(now: Nanos) -> SoupSession {
        let mut session = SoupSession::new(login(), CURRENT_SESSION, 1);
        session.connected(now);
        said(&mut session);
        session.control(&accepted(1), now).expect("is accepted");
        session
    }

    fn asked(packet: &[u8]) -> LoginRequest {
        match client_packet(packet) {
            Ok(Some((ClientPacket::Login(request), bytes))) if bytes == packet.len() => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_logs_in_and_counts_messages() {
        let mut session = SoupSession::new(login(), CURRENT_SESSION, 1);
        assert!(!session.has_reply());
        session.connected(5);
        let request = asked(&said(&mut session));
        assert_eq!((request.session, request.sequence), (CURRENT_SESSION, 1));
        assert_eq!((&request.username, &request.password), (b"reader", b"secret    "));
        assert_eq!(session.sequenced(), Err(CloseReason::SessionViolation));
        let event = SoupEvent::LoginAccepted { session: *b"SLUICE0001", sequence: 4 };
        assert_eq!(session.control(&accepted(4), 6), Ok(event));
        assert_eq!((session.sequenced(), session.is_logged_in()), (Ok(4), true));
        session.took();
        session.refused(MessageReject::TooShort);
        session.refused(MessageReject::BadField);
        session.refused(MessageReject::TooLarge);
        assert_eq!(session.sequence(), 7);
        assert_eq!(session.session_number(), session_number(b"SLUICE0001"));
        assert_eq!(session.control(&Control::Heartbeat, 7), Ok(SoupEvent::Heartbeat));
        assert_eq!(session.control(&Control::EndOfSession, 7), Ok(SoupEvent::EndOfSession));
        assert_eq!(session.sequenced(), Err(CloseReason::SessionViolation));
        assert_eq!(session.control(&Control::Heartbeat, 8), Err(CloseReason::SessionViolation));
    }

    #[test]
    fn a_lost_connection_is_taken_up_where_it_ended() {
        let mut session = logged_in(0);
        (0..41).for_each(|_| session.took());
        let request = session.reconnect();
        assert_eq!((request.session, request.sequence), (*b"SLUICE0001", 42));
        assert_eq!(session.tick(100 * SECOND), Ok(()));
        assert!(!session.has_reply());
        session.connected(100 * SECOND);
        assert_eq!(asked(&said(&mut session)), request);
        // The server has lost messages meanwhile: what comes next has the number that it says.
        assert!(session.control(&accepted(50), 100 * SECOND).is_ok());
        assert_eq!(session.sequenced(), Ok(50));
    }

    #[test]
    fn words_out_of_place_end_the_connection() {
        let mut session = logged_in(0);
        assert_eq!(session.control(&accepted(1), 0), Err(CloseReason::SessionViolation));
        assert_eq!(session.control(&Control::Rejected(b'A'), 0), Err(CloseReason::SessionViolation));
        session.connected(0);
        assert_eq!(session.control(&Control::Rejected(b'S'), 0), Err(CloseReason::LoginRefused));
        // Another session than the one that was asked for.
        let other = Control::Accepted { session: *b"SLUICE0002", sequence: 1 };
        assert_eq!(session.control(&other, 0), Err(CloseReason::SessionViolation));
        let mut padded = SoupSession::new(login(), session_bytes("X").expect("a name"), 0);
        assert_eq!(padded.control(&Control::Heartbeat, 0), Err(CloseReason::SessionViolation));
        padded.connected(0);
        let left = Control::Accepted { session: *b"X         ", sequence: 9 };
        assert!(padded.control(&left, 0).is_ok());
    }

    #[test]
    fn heartbeats_are_said_after_a_second_and_silence_is_not_borne() {
        let mut session = logged_in(0);
        assert_eq!(session.tick(SECOND - 1), Ok(()));
        assert!(!session.has_reply());
        assert_eq!(session.tick(SECOND), Ok(()));
        assert!(session.has_reply());
        assert_eq!(said(&mut session), CLIENT_HEARTBEAT);
        assert_eq!(session.tick(2 * SECOND - 1), Ok(()));
        assert!(!session.has_reply());
        assert_eq!(session.tick(15 * SECOND - 1), Ok(()));
        assert_eq!(session.tick(15 * SECOND), Err(CloseReason::PeerSilent));
        session.received(10 * SECOND);
        assert_eq!(session.tick(25 * SECOND - 1), Ok(()));
        assert_eq!(session.tick(25 * SECOND), Err(CloseReason::PeerSilent));
    }

    #[test]
    fn a_login_wants_an_answer() {
        let mut session = SoupSession::new(login(), CURRENT_SESSION, 0);
        session.connected(0);
        // Whatever else it says, a server that does not answer is given up.
        session.control(&Control::Debug(b"busy"), 14 * SECOND).expect("a remark");
        assert_eq!(session.tick(15 * SECOND - 1), Ok(()));
        assert_eq!(session.tick(15 * SECOND), Err(CloseReason::HandshakeTimeout));
    }

    #[test]
    fn packets_are_written_whole_or_later() {
        let mut session = SoupSession::new(login(), CURRENT_SESSION, 1);
        session.connected(0);
        assert_eq!(session.reply(&mut [0; 48]), 0);
        assert!(session.has_reply());
        assert_eq!(said(&mut session).len(), 49);
        session.control(&accepted(1), 0).expect("is accepted");
        session.tick(SECOND).expect("in time");
        session.logout();
        assert_eq!(session.reply(&mut [0; 5]), 3);
        assert_eq!(said(&mut session), LOGOUT);
    }

    #[test]
    fn logins_that_do_not_fit_are_named_and_passwords_not_shown() {
        assert_eq!(SoupLogin::new("toolong", ""), Err(SoupLoginError::Username));
        assert_eq!(SoupLogin::new("", "elevenbytes"), Err(SoupLoginError::Password));
        assert!(!format!("{:?}", login()).contains("secret"));
    }
}

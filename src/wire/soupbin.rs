//! Hot path: SoupBinTCP 3.00 packets carrying ITCH 5.0: what a server sends is decoded as a stream, what a client sends
//! packet by packet, and both are written.
//!
//! Invariant: a sequenced packet has one fate, which tells that it was one: it is offered, or refused as `TooShort` or
//! `TooLarge`. Nothing else is refused for these reasons, so that who counts sequence numbers never slips.

use super::{Control as AnyControl, Flow, Progress, Stop, StreamVisitor, itch50};
use crate::event::{CloseReason, MessageReject};

/// Bytes of the length in front of a packet.
const PREFIX_BYTES: usize = 2;

/// Bytes in front of a packet's payload: its length and its type.
pub const HEADER_BYTES: usize = 3;

/// Bytes of the largest packet.
pub const PACKET_BYTES_MAX: usize = PREFIX_BYTES + u16::MAX as usize;

/// Bytes of a login request.
pub const LOGIN_BYTES: usize = PREFIX_BYTES + 47;

/// Bytes of a server's word that it accepts a login.
pub const ACCEPTED_BYTES: usize = PREFIX_BYTES + 31;

/// A client's heartbeat, due when it sent nothing for a second.
pub const CLIENT_HEARTBEAT: [u8; HEADER_BYTES] = [0, 1, b'R'];

/// A client's wish to end the connection.
pub const LOGOUT: [u8; HEADER_BYTES] = [0, 1, b'O'];

/// A server's heartbeat, due when it sent nothing for a second.
pub const SERVER_HEARTBEAT: [u8; HEADER_BYTES] = [0, 1, b'H'];

/// A server's word that the session has ended.
pub const END_OF_SESSION: [u8; HEADER_BYTES] = [0, 1, b'Z'];

/// What a server says beside sequenced messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// `+`: a remark for people.
    Debug(&'a [u8]),
    /// `A`: the login is accepted; the next sequenced message has this number.
    Accepted {
        /// Ten bytes, padded with spaces on the left.
        session: [u8; 10],
        /// Number of the next sequenced message, from 1.
        sequence: u64,
    },
    /// `J`: the login is refused: `A` not authorized, `S` session not available.
    Rejected(u8),
    /// `H`: still there.
    Heartbeat,
    /// `Z`: the session has ended.
    EndOfSession,
}

/// What a client asks when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// Padded with spaces on the right.
    pub username: [u8; 6],
    /// Padded with spaces on the right.
    pub password: [u8; 10],
    /// Padded with spaces on the left; all spaces for the server's current session.
    pub session: [u8; 10],
    /// Number of the first message that it wants; 0 for the next one that the server generates.
    pub sequence: u64,
}

/// A packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPacket<'a> {
    /// `+`: a remark for people.
    Debug(&'a [u8]),
    /// `L`
    Login(LoginRequest),
    /// `U`: a message of the client's, which ITCH has no use for.
    Unsequenced(&'a [u8]),
    /// `R`: still there.
    Heartbeat,
    /// `O`: it wants to end.
    Logout,
}

/// Whether what was refused for `reason` was a sequenced packet, and so took a number: others are refused as `bad_field`.
#[inline]
pub fn took_number(reason: MessageReject) -> bool {
    matches!(reason, MessageReject::TooShort | MessageReject::TooLarge)
}

/// Decodes the packets in a piece of a server's stream. A sequenced message is offered with sequence 0: the stream
/// does not carry it; who follows the session counts.
///
/// Packets that no server sends are refused as `BadField`, and so are heartbeats and ends of session with something in
/// them. A length of 0 and a login's answer that is not as specified break the stream.
#[inline]
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Progress {
    let mut consumed = 0;
    loop {
        let unit = match next_unit(&bytes[consumed..]) {
            Ok(unit) => unit,
            Err(stop) => return Progress { consumed, stop },
        };
        if unit.bytes > unit_bytes_max {
            let sequenced = unit.kind == b'S';
            visitor.refuse(if sequenced { MessageReject::TooLarge } else { MessageReject::BadField });
            return Progress { consumed, stop: Stop::Discard { unit_bytes: unit.bytes as u64 } };
        }
        let Some(payload) = unit.payload else {
            return Progress { consumed, stop: Stop::Incomplete { unit_bytes: unit.bytes } };
        };
        let said = if unit.kind == b'S' {
            if sequenced(payload, visitor) == Flow::Wait {
                return Progress { consumed, stop: Stop::Wait };
            }
            Ok(())
        } else {
            match control(unit.kind, payload) {
                Ok(Some(control)) => visitor.control(AnyControl::Soup(control)),
                Ok(None) => {
                    visitor.refuse(MessageReject::BadField);
                    Ok(())
                }
                Err(reason) => return Progress { consumed, stop: Stop::Broken(reason) },
            }
        };
        consumed += unit.bytes;
        if let Err(reason) = said {
            return Progress { consumed, stop: Stop::Broken(reason) };
        }
    }
}

/// A packet as its header announces it.
struct Unit<'a> {
    kind: u8,
    /// All its bytes, the length included.
    bytes: usize,
    /// What follows its type, once all of it is there.
    payload: Option<&'a [u8]>,
}

#[inline]
fn next_unit(rest: &[u8]) -> Result<Unit<'_>, Stop> {
    let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Stop::Incomplete { unit_bytes: HEADER_BYTES });
    };
    let packet_bytes = usize::from(u16::from_be_bytes(*prefix));
    if packet_bytes == 0 {
        return Err(Stop::Broken(CloseReason::BadFrame));
    }
    let Some((kind, behind)) = behind.split_first() else {
        return Err(Stop::Incomplete { unit_bytes: HEADER_BYTES });
    };
    Ok(Unit { kind: *kind, bytes: PREFIX_BYTES + packet_bytes, payload: behind.get(..packet_bytes - 1) })
}

#[inline]
fn sequenced<V: StreamVisitor>(body: &[u8], visitor: &mut V) -> Flow {
    let message = if body.is_empty() { Err(MessageReject::TooShort) } else { itch50::whole_message(0, body) };
    match message {
        Ok(message) => visitor.offer(&message),
        Err(reason) => {
            visitor.refuse(reason);
            Flow::Taken
        }
    }
}

/// What a server says; nothing for packets that no server sends.
fn control(kind: u8, payload: &[u8]) -> Result<Option<Control<'_>>, CloseReason> {
    Ok(match (kind, payload) {
        (b'+', remark) => Some(Control::Debug(remark)),
        (b'A', answer) => Some(accepted(answer).ok_or(CloseReason::BadFrame)?),
        (b'J', [code]) => Some(Control::Rejected(*code)),
        (b'J', _) => return Err(CloseReason::BadFrame),
        (b'H', []) => Some(Control::Heartbeat),
        (b'Z', []) => Some(Control::EndOfSession),
        _ => None,
    })
}

fn accepted(payload: &[u8]) -> Option<Control<'static>> {
    let (session, digits) = payload.split_first_chunk::<10>()?;
    let printable = session.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    // Numbers begin at 1: a 0 here would shift every message that follows.
    let sequence = number(digits.try_into().ok()?).filter(|number| printable && *number > 0)?;
    Some(Control::Accepted { session: *session, sequence })
}

/// Reads a number as SoupBinTCP writes it: digits, with spaces on their left.
fn number(digits: &[u8; 20]) -> Option<u64> {
    let spaces = digits.iter().take_while(|byte| **byte == b' ').count();
    if spaces == digits.len() {
        return None;
    }
    digits[spaces..].iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Writes a number as SoupBinTCP has it.
fn digits(mut number: u64) -> [u8; 20] {
    let mut digits = [b' '; 20];
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    digits
}

/// Takes the first packet of a client off `bytes`: the packet and its length; nothing while it is not whole.
///
/// # Errors
/// It can't be framed, or is none that a client may send.
pub fn client_packet(bytes: &[u8]) -> Result<Option<(ClientPacket<'_>, usize)>, CloseReason> {
    let unit = match next_unit(bytes) {
        Ok(unit) => unit,
        Err(Stop::Broken(reason)) => return Err(reason),
        Err(_) => return Ok(None),
    };
    // Nobody needs to wait for the bytes of what can't be a packet: these types have one length each.
    let framed = match unit.kind {
        b'L' => unit.bytes == LOGIN_BYTES,
        b'R' | b'O' => unit.bytes == HEADER_BYTES,
        kind => matches!(kind, b'+' | b'U'),
    };
    if !framed {
        return Err(CloseReason::BadFrame);
    }
    let Some(payload) = unit.payload else { return Ok(None) };
    let packet = match (unit.kind, payload) {
        (b'L', request) => ClientPacket::Login(login_request(request).ok_or(CloseReason::BadFrame)?),
        (b'+', remark) => ClientPacket::Debug(remark),
        (b'U', message) => ClientPacket::Unsequenced(message),
        (b'R', []) => ClientPacket::Heartbeat,
        (b'O', []) => ClientPacket::Logout,
        _ => return Err(CloseReason::BadFrame),
    };
    Ok(Some((packet, unit.bytes)))
}

fn login_request(payload: &[u8]) -> Option<LoginRequest> {
    let (username, rest) = payload.split_first_chunk::<6>()?;
    let (password, rest) = rest.split_first_chunk::<10>()?;
    let (session, rest) = rest.split_first_chunk::<10>()?;
    let wanted: &[u8; 20] = rest.try_into().ok()?;
    // Clients that want no number in particular are seen to leave it blank.
    let sequence = if *wanted == [b' '; 20] { 0 } else { number(wanted)? };
    Some(LoginRequest { username: *username, password: *password, session: *session, sequence })
}

/// The packet by which a client logs in.
pub fn login(request: &LoginRequest) -> [u8; LOGIN_BYTES] {
    let mut packet = [0; LOGIN_BYTES];
    packet[..HEADER_BYTES].copy_from_slice(&[0, (LOGIN_BYTES - PREFIX_BYTES) as u8, b'L']);
    packet[3..9].copy_from_slice(&request.username);
    packet[9..19].copy_from_slice(&request.password);
    packet[19..29].copy_from_slice(&request.session);
    packet[29..].copy_from_slice(&digits(request.sequence));
    packet
}

/// The packet by which a server accepts a login.
pub fn accept(session: &[u8; 10], sequence: u64) -> [u8; ACCEPTED_BYTES] {
    let mut packet = [0; ACCEPTED_BYTES];
    packet[..HEADER_BYTES].copy_from_slice(&[0, (ACCEPTED_BYTES - PREFIX_BYTES) as u8, b'A']);
    packet[3..13].copy_from_slice(session);
    packet[13..].copy_from_slice(&digits(sequence));
    packet
}

/// The packet by which a server refuses a login: `A` not authorized, `S` session not available.
pub fn reject(code: u8) -> [u8; HEADER_BYTES + 1] {
    [0, 2, b'J', code]
}

/// Appends a sequenced packet; false, and nothing appended, for a message that no packet has room for.
pub fn append_sequenced(body: &[u8], into: &mut Vec<u8>) -> bool {
    let Ok(packet_bytes) = u16::try_from(body.len() + 1) else { return false };
    into.extend_from_slice(&packet_bytes.to_be_bytes());
    into.push(b'S');
    into.extend_from_slice(body);
    true
}

/// A session's ten bytes: `name` with spaces on its left; nothing for names that are longer, empty, or not of printable
/// ASCII.
pub fn session_bytes(name: &str) -> Option<[u8; 10]> {
    let fits = (1..=10).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let mut bytes = [b' '; 10];
    bytes[10usize.checked_sub(name.len()).filter(|_| fits)?..].copy_from_slice(name.as_bytes());
    Some(bytes)
}

/// `text` with spaces on its right, as user names and passwords are written; nothing for texts that are longer or not of
/// printable ASCII.
pub fn padded<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [b' '; BYTES];
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    bytes.get_mut(..text.len()).filter(|_| fits)?.copy_from_slice(text.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::wire::{Message, Run, Visitor, decode_stream as decode_any};
    use proptest::prelude::*;

    /// What a visitor was told, in order, in words.
    #[derive(Debug, Default, PartialEq)]
    struct Told {
        words: Vec<String>,
        /// Message offered by this number is asked to wait.
        wait_at: Option<usize>,
        offered: usize,
    }

    impl Visitor for Told {
        fn run(&mut self, run: &Run) {
            panic!("a stream's decoder announces no run, but did {run:?}");
        }

        fn message(&mut self, _: &Message<'_>) {
            panic!("a stream's messages are offered");
        }

        fn refuse(&mut self, reason: MessageReject) {
            self.words.push(reason.name().to_owned());
        }
    }

    impl StreamVisitor for Told {
        fn offer(&mut self, message: &Message<'_>) -> Flow {
            if self.wait_at == Some(self.offered) {
                return Flow::Wait;
            }
            self.offered += 1;
            assert_eq!(message.sequence, 0);
            let letter = char::from(message.kind as u8);
            self.words.push(format!("{letter} {} {:02x?}", message.source_ns, message.body));
            Flow::Taken
        }

        fn control(&mut self, control: AnyControl<'_>) -> Result<(), CloseReason> {
            self.words.push(format!("{control:?}"));
            match control {
                AnyControl::Soup(Control::EndOfSession) => Err(CloseReason::EndOfSession),
                _ => Ok(()),
            }
        }
    }

    fn decode(bytes: &[u8]) -> (Told, Progress) {
        let mut told = Told::default();
        let progress = decode_any(Protocol::SoupbintcpItch50, bytes, PACKET_BYTES_MAX, &mut told);
        (told, progress)
    }

    fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u16 + 1).to_be_bytes()[..], &[kind], payload].concat()
    }

    /// A system event at 0x010203040506 ns.
    const EVENT: &[u8] = b"S\0\x01\0\x02\x01\x02\x03\x04\x05\x06O";

    /// A stream with one packet of each kind.
    fn session() -> Vec<u8> {
        let mut stream = packet(b'+', b"welcome");
        stream.extend(accept(b"SLUICE0001", 7));
        assert!(append_sequenced(EVENT, &mut stream));
        stream.extend(SERVER_HEARTBEAT);
        stream.extend(packet(b'S', &EVENT[..11]));
        stream.extend(packet(b'?', b"what"));
        stream.extend(packet(b'S', b"~"));
        stream.extend(END_OF_SESSION);
        stream
    }

    #[test]
    fn a_session_is_read_packet_by_packet() {
        let (told, progress) = decode(&session());
        let accepted = "Soup(Accepted { session: [83, 76, 85, 73, 67, 69, 48, 48, 48, 49], sequence: 7 })";
        let event = format!("S {} {EVENT:02x?}", 0x0102_0304_0506u64);
        let debug = format!("Soup(Debug({:?}))", b"welcome");
        let expected = [
            &debug,
            accepted,
            &event,
            "Soup(Heartbeat)",
            "too_short",
            "bad_field",
            "~ 0 [7e]",
            "Soup(EndOfSession)",
        ];
        assert_eq!(told.words, expected);
        let stop = Stop::Broken(CloseReason::EndOfSession);
        assert_eq!(progress, Progress { consumed: session().len(), stop });
    }

    #[test]
    fn what_can_not_be_framed_breaks_the_stream() {
        let good = packet(b'S', EVENT);
        for broken in [
            vec![0, 0],
            packet(b'A', b"SLUICE0001"),
            packet(b'A', b"SLUICE0001                    "),
            packet(b'A', b"SLUICE0001                  1 "),
            packet(b'A', b"SLUICE0001                  x1"),
            packet(b'A', b"SLUICE0001                   0"),
            packet(b'A', b"SLUICE0001                    1"),
            packet(b'A', b"SLUICE000\n                   1"),
            packet(b'A', b"SLUICE000199999999999999999999"),
            packet(b'J', b""),
            packet(b'J', b"AS"),
        ] {
            let (told, progress) = decode(&[&good[..], &broken].concat());
            assert_eq!(told.words.len(), 1, "{broken:?}");
            let stop = Stop::Broken(CloseReason::BadFrame);
            assert_eq!(progress, Progress { consumed: good.len(), stop }, "{broken:?}");
        }
    }

    #[test]
    fn odd_packets_are_refused_and_the_stream_goes_on() {
        let odd =
            [packet(b'S', b""), packet(b'H', b"x"), packet(b'Z', b"x"), packet(0, b""), packet(b'L', b"x")];
        let (told, progress) = decode(&odd.concat());
        assert_eq!(told.words, ["too_short", "bad_field", "bad_field", "bad_field", "bad_field"]);
        let expected = Progress { consumed: odd.concat().len(), stop: Stop::Incomplete { unit_bytes: 3 } };
        assert_eq!(progress, expected);
    }

    #[test]
    fn large_packets_are_discarded_and_only_sequenced_ones_count_as_messages() {
        for (kind, word) in [(b'S', "too_large"), (b'+', "bad_field")] {
            let large = packet(kind, &[b'~'; 100]);
            for seen in [3, 50, large.len()] {
                let mut told = Told::default();
                let progress = decode_stream(&large[..seen], 102, &mut told);
                assert_eq!(progress, Progress { consumed: 0, stop: Stop::Discard { unit_bytes: 103 } });
                assert_eq!(told.words, [word]);
            }
            assert_eq!(decode_stream(&large, 103, &mut Told::default()).consumed, 103);
        }
    }

    #[test]
    fn a_visitor_that_has_no_room_sees_the_message_again() {
        let stream = [packet(b'S', EVENT), packet(b'S', b"~")].concat();
        let mut told = Told { wait_at: Some(1), ..Told::default() };
        let progress = decode_stream(&stream, PACKET_BYTES_MAX, &mut told);
        assert_eq!(progress, Progress { consumed: 15, stop: Stop::Wait });
        told.wait_at = None;
        decode_stream(&stream[15..], PACKET_BYTES_MAX, &mut told);
        assert_eq!(told.words, decode(&stream).0.words);
    }

    #[test]
    fn a_client_s_packets_are_read_as_they_are_written() {
        let request = LoginRequest {
            username: padded("reader").expect("fits"),
            password: padded("secret").expect("fits"),
            session: session_bytes("AB1").expect("fits"),
            sequence: u64::MAX,
        };
        let written = login(&request);
        assert_eq!(&written[2..], b"Lreadersecret           AB118446744073709551615");
        assert_eq!(client_packet(&written), Ok(Some((ClientPacket::Login(request), 49))));
        let blank = [&written[..29], &[b' '; 20]].concat();
        let any = ClientPacket::Login(LoginRequest { sequence: 0, ..request });
        assert_eq!(client_packet(&blank), Ok(Some((any, 49))));
        assert_eq!(client_packet(&CLIENT_HEARTBEAT), Ok(Some((ClientPacket::Heartbeat, 3))));
        assert_eq!(client_packet(&LOGOUT), Ok(Some((ClientPacket::Logout, 3))));
        let unsequenced = packet(b'U', b"order");
        assert_eq!(client_packet(&unsequenced), Ok(Some((ClientPacket::Unsequenced(b"order"), 8))));
        for whole in [&written[..], &CLIENT_HEARTBEAT, &unsequenced] {
            for cut in 0..whole.len() {
                assert_eq!(client_packet(&whole[..cut]), Ok(None));
            }
        }
        for wrong in [&b"\0\0"[..], b"\0\x02R", b"\0\x01S", b"\0\x02L", b"\xff\xffL", b"GET / HTTP/1.1"] {
            assert_eq!(client_packet(wrong), Err(CloseReason::BadFrame), "{wrong:?}");
        }
        let mut damaged = written;
        damaged[40] = b'-';
        assert_eq!(client_packet(&damaged), Err(CloseReason::BadFrame));
    }

    #[test]
    fn names_are_padded_on_their_side() {
        assert_eq!(session_bytes("SLUICE0001"), Some(*b"SLUICE0001"));
        assert_eq!(session_bytes("X"), Some(*b"         X"));
        assert_eq!(padded::<6>(""), Some(*b"      "));
        for wrong in ["", "eleven byte", "a b", "ü"] {
            assert_eq!(session_bytes(wrong), None, "{wrong}");
        }
        assert_eq!((padded::<6>("sevenbt"), padded::<6>("a b"), padded::<6>("ü")), (None, None, None));
        assert!(!append_sequenced(&[0; 65_535], &mut Vec::new()));
    }

    /// Shows a stream in pieces as a connection does, and returns what the visitor was told and how it ended.
    fn in_pieces(stream: &[u8], cuts: &[usize], unit_bytes_max: usize) -> (Vec<String>, Option<CloseReason>) {
        let mut told = Told::default();
        let (mut start, mut end) = (0, 0);
        for cut in cuts.iter().copied().chain([stream.len()]) {
            end = cut.clamp(end, stream.len());
            while start < end {
                let progress = decode_stream(&stream[start..end], unit_bytes_max, &mut told);
                start += progress.consumed;
                assert!(start <= end);
                match progress.stop {
                    Stop::Incomplete { unit_bytes } => {
                        assert!(unit_bytes > end - start, "it asks for what it has");
                        break;
                    }
                    Stop::Discard { unit_bytes } => start += unit_bytes as usize,
                    Stop::Wait => panic!("nobody asked to wait"),
                    Stop::Broken(reason) => return (told.words, Some(reason)),
                }
            }
        }
        (told.words, None)
    }

    #[test]
    fn every_cut_gives_the_same() {
        let stream = session();
        for limit in [PACKET_BYTES_MAX, 20] {
            let whole = in_pieces(&stream, &[], limit);
            for cut in 0..=stream.len() {
                assert_eq!(in_pieces(&stream, &[cut], limit), whole, "cut at {cut}");
            }
            let everywhere: Vec<usize> = (0..stream.len()).collect();
            assert_eq!(in_pieces(&stream, &everywhere, limit), whole);
        }
    }

    proptest! {
        #[test]
        fn damage_and_noise_end_somewhere(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
                                          noise in prop::collection::vec(any::<u8>(), 0..80),
                                          cuts in prop::collection::vec(0usize..200, 0..6)) {
            let mut stream = session();
            for (place, byte) in damage {
                let place = place.index(stream.len());
                stream[place] = byte;
            }
            stream.extend(noise);
            let mut cuts = cuts;
            cuts.sort_unstable();
            prop_assert_eq!(in_pieces(&stream, &cuts, PACKET_BYTES_MAX), in_pieces(&stream, &[], PACKET_BYTES_MAX));
            prop_assert!(client_packet(&stream).is_ok_and(|found| found.is_none_or(|(_, bytes)| bytes <= stream.len()))
                || client_packet(&stream).is_err());
        }

        #[test]
        fn numbers_are_read_back(value in any::<u64>()) {
            prop_assert_eq!(number(&digits(value)), Some(value));
        }
    }
}

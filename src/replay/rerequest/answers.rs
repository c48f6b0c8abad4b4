//! From a request to its reply, without sockets: what was sent, by session and number.
//!
//! Invariant: a reply holds messages in the order of their numbers, without a hole, beginning with the one asked for; any
//! bytes may be asked, and none makes it take more memory.

use super::report::{KeptReport, Refusal};
use crate::replay::store::{Absence, MessageStore, Placed};

/// Session, number, count.
const HEADER_BYTES: usize = 20;

/// A count that announces the end of a session.
const END_OF_SESSION: u16 = 0xffff;

/// The customary largest packet. A message that is longer goes alone.
const PACKET_BYTES_MAX: usize = 1_400;

/// Sessions that are kept.
const SESSIONS_MAX: usize = 16;

/// Chunks of 1 MiB that there is memory for in any case, so that no session loses its newest messages to another.
const CHUNKS_MIN: usize = 2 * SESSIONS_MAX;

/// Session, number and count of a packet or request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) session: [u8; 10],
    pub(super) sequence: u64,
    pub(super) count: u16,
}

impl Header {
    /// The header that a packet begins with, and what is behind it.
    pub(super) fn parse(packet: &[u8]) -> Option<(Header, &[u8])> {
        let (session, rest) = packet.split_first_chunk::<10>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (sequence, count) = (u64::from_be_bytes(*sequence), u16::from_be_bytes(*count));
        Some((Header { session: *session, sequence, count }, rest))
    }

    /// How many messages it announces: none at the end of a session.
    pub(super) fn messages(&self) -> u16 {
        if self.count == END_OF_SESSION { 0 } else { self.count }
    }

    /// Number of the message behind those of the packet.
    pub(super) fn next(&self) -> u64 {
        self.sequence.saturating_add(u64::from(self.messages()))
    }

    /// Whether it says that the session is over.
    pub(super) fn ends_session(&self) -> bool {
        self.count == END_OF_SESSION
    }

    pub(super) fn append_to(&self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&self.session);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.count.to_be_bytes());
    }
}

/// What was sent.
pub(super) struct Answers {
    sessions: Vec<([u8; 10], MessageStore)>,
    chunks_max: usize,
    kept: KeptReport,
    last_refused: Option<[u8; 10]>,
}

impl Answers {
    /// Nothing, in so much memory (but some 36 MiB in any case, as far as they are used).
    pub(super) fn new(memory_bytes: usize) -> Answers {
        Answers {
            sessions: Vec::with_capacity(SESSIONS_MAX),
            chunks_max: MessageStore::chunks_within(memory_bytes).max(CHUNKS_MIN),
            kept: KeptReport::default(),
            last_refused: None,
        }
    }

    /// What can be asked for.
    pub(super) fn kept(&self) -> KeptReport {
        KeptReport { sessions: self.sessions.len() as u64, ..self.kept }
    }

    /// Keeps the messages of a packet that was sent.
    pub(super) fn learn(&mut self, packet: &[u8]) {
        let Some((header, mut rest)) = Header::parse(packet) else { return };
        let Some(index) = self.session(&header) else { return };
        self.make_room();
        let store = &mut self.sessions[index].1;
        for number in header.sequence..header.next() {
            let whole = rest.split_first_chunk::<2>().and_then(|(length, behind)| {
                behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
            });
            let Some((body, behind)) = whole else { return };
            match store.place(number, body) {
                Placed::New => self.kept.messages += 1,
                Placed::Known => {}
                Placed::NotKept => self.kept.too_late += 1,
            }
            rest = behind;
        }
    }

    /// Where a session stands; a new one begins with this packet, if there is a place.
    fn session(&mut self, header: &Header) -> Option<usize> {
        let known = self.sessions.iter().position(|(session, _)| *session == header.session);
        if known.is_some() {
            return known;
        }
        if self.sessions.len() == SESSIONS_MAX {
            // Counted once for its packets in a row: to know each one again, it would need a place.
            self.kept.sessions_refused += u64::from(self.last_refused != Some(header.session));
            self.last_refused = Some(header.session);
            return None;
        }
        self.sessions.push((header.session, MessageStore::starting_at(header.sequence)));
        Some(self.sessions.len() - 1)
    }

    /// Drops what is oldest in the session that has most, so that a packet's messages find room.
    fn make_room(&mut self) {
        while self.sessions.iter().map(|(_, store)| store.chunks()).sum::<usize>() >= self.chunks_max {
            let largest = self.sessions.iter_mut().max_by_key(|(_, store)| store.chunks());
            let Some((_, store)) = largest else { return };
            let dropped = store.drop_oldest();
            self.kept.messages -= dropped;
            self.kept.dropped += dropped;
        }
    }

    /// Writes the reply to a request; how many messages it holds. As the specification has it, it is one packet: who
    /// asked for more than fit asks again.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn answer(&self, request: &[u8], reply: &mut Vec<u8>) -> Result<u16, Refusal> {
        let Some((asked, [])) = Header::parse(request) else { return Err(Refusal::Malformed) };
        let known = self.sessions.iter().find(|(session, _)| *session == asked.session);
        let (_, store) = known.ok_or(Refusal::UnknownSession)?;
        if asked.count == 0 {
            return Err(Refusal::NothingAsked);
        }
        let first = store.body(asked.sequence).map_err(|absence| match absence {
            Absence::NotYet => Refusal::NotSent,
            Absence::Dropped => Refusal::Dropped,
            Absence::Missing => Refusal::NotInCapture,
        })?;
        let mut bytes = HEADER_BYTES + 2 + first.len();
        let further = (1..asked.count).map_while(|n| store.body(asked.sequence + u64::from(n)).ok());
        let fitting = further.take_while(|body| {
            bytes += 2 + body.len();
            bytes <= PACKET_BYTES_MAX
        });
        let count = 1 + fitting.count() as u16;
        reply.clear();
        Header { count, ..asked }.append_to(reply);
        for number in asked.sequence..asked.sequence + u64::from(count) {
            let body = store.body(number).unwrap_or_default();
            reply.extend_from_slice(&(body.len() as u16).to_be_bytes());
            reply.extend_from_slice(body);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SESSION: [u8; 10] = *b"SESSION001";

    fn packet(session: [u8; 10], sequence: u64, bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = Vec::new();
        Header { session, sequence, count: bodies.len() as u16 }.append_to(&mut packet);
        for body in bodies {
            packet.extend((body.len() as u16).to_be_bytes());
            packet.extend(body);
        }
        packet
    }

    fn request(session: [u8; 10], sequence: u64, count: u16) -> Vec<u8> {
        let mut request = Vec::new();
        Header { session, sequence, count }.append_to(&mut request);
        request
    }

    fn body(number: u64, bytes: usize) -> Vec<u8> {
        vec![number as u8; bytes]
    }

    /// Messages 1,000 to 1,099, of 36 bytes each, four to a packet.
    fn hundred() -> Answers {
        let mut answers = Answers::new(0);
        for first in (1_000..1_100).step_by(4) {
            let bodies: Vec<_> = (first..first + 4).map(|number| body(number, 36)).collect();
            answers.learn(&packet(SESSION, first, &bodies));
        }
        answers
    }

    fn ask(answers: &Answers, sequence: u64, count: u16) -> Result<Vec<u8>, Refusal> {
        let mut reply = vec![7; 3];
        let messages = answers.answer(&request(SESSION, sequence, count), &mut reply)?;
        assert_eq!(Header::parse(&reply).map(|(header, _)| header.count), Some(messages));
        Ok(reply)
    }

    #[test]
    fn a_request_gets_one_packet_of_what_it_asks_for() {
        let answers = hundred();
        let bodies = |range: std::ops::Range<u64>| range.map(|number| body(number, 36)).collect::<Vec<_>>();
        assert_eq!(ask(&answers, 1_001, 5), Ok(packet(SESSION, 1_001, &bodies(1_001..1_006))));
        assert_eq!(ask(&answers, 1_099, 5), Ok(packet(SESSION, 1_099, &bodies(1_099..1_100))));
        // 36 blocks of 38 bytes fit behind a header; a huge count is no more than a wish.
        for count in [37, 100, u16::MAX] {
            let reply = ask(&answers, 1_010, count).expect("they were sent");
            assert_eq!(reply, packet(SESSION, 1_010, &bodies(1_010..1_046)));
            assert!(reply.len() <= PACKET_BYTES_MAX);
        }
    }

    #[test]
    fn what_can_not_be_answered_is_refused_by_name() {
        let answers = hundred();
        assert_eq!(ask(&answers, 1_000, 0), Err(Refusal::NothingAsked));
        assert_eq!(ask(&answers, 1_100, 1), Err(Refusal::NotSent));
        assert_eq!(ask(&answers, u64::MAX, u16::MAX), Err(Refusal::NotSent));
        assert_eq!(ask(&answers, 0, 1), Err(Refusal::NotInCapture));
        let mut reply = Vec::new();
        let other = request(*b"SESSION002", 1_000, 1);
        assert_eq!(answers.answer(&other, &mut reply), Err(Refusal::UnknownSession));
        let whole = request(SESSION, 1_000, 1);
        for wrong in [&[][..], &whole[..19], &[&whole[..], &[0]].concat()] {
            assert_eq!(answers.answer(wrong, &mut reply), Err(Refusal::Malformed));
        }
        assert!(reply.is_empty());
    }

    #[test]
    fn holes_end_a_reply_and_late_packets_fill_them() {
        let mut answers = hundred();
        answers.learn(&packet(SESSION, 1_103, &[body(3, 5)]));
        assert_eq!(ask(&answers, 1_100, 1), Err(Refusal::NotInCapture));
        let count = |answers: &Answers| ask(answers, 1_098, 9).map(|reply| reply[19]);
        assert_eq!(count(&answers), Ok(2));
        answers.learn(&packet(SESSION, 1_099, &[body(9, 1), body(0, 3), body(1, 3), body(2, 0)]));
        assert_eq!(count(&answers), Ok(6));
        assert_eq!((answers.kept().messages, answers.kept().too_late), (104, 0));
    }

    #[test]
    fn a_long_message_goes_alone() {
        let mut answers = Answers::new(0);
        answers.learn(&packet(SESSION, 1, &[body(1, 60_000), body(2, 1_378), body(3, 1_377)]));
        for (sequence, bytes) in [(1, 60_022), (2, 1_400), (3, 1_399)] {
            assert_eq!(ask(&answers, sequence, 3).map(|reply| reply.len()), Ok(bytes));
        }
    }

    #[test]
    fn memory_is_bounded_and_what_was_dropped_is_named() {
        let mut answers = Answers::new(0);
        let mut number = 1;
        for _ in 0..800 {
            let bodies: Vec<_> = (0..60).map(|n| body(number + n, 1_000)).collect();
            answers.learn(&packet(SESSION, number, &bodies));
            number += 60;
        }
        let kept = answers.kept();
        assert_eq!(kept.messages + kept.dropped, 48_000);
        assert!(kept.messages < 34_000 && kept.messages > 30_000, "{kept:?}");
        assert_eq!(ask(&answers, 1, 1), Err(Refusal::Dropped));
        assert!(ask(&answers, number - 1, 1).is_ok());
    }

    #[test]
    fn sessions_are_kept_apart_and_their_number_is_bounded() {
        let mut answers = Answers::new(0);
        for n in 0..20_u8 {
            answers.learn(&packet([b'A' + n; 10], 7, &[vec![n]]));
        }
        let mut reply = Vec::new();
        assert_eq!(answers.answer(&request([b'C'; 10], 7, 1), &mut reply), Ok(1));
        assert_eq!(reply, packet([b'C'; 10], 7, &[vec![2]]));
        let kept = answers.kept();
        assert_eq!((kept.sessions, kept.sessions_refused), (16, 4));
    }

    proptest! {
        #[test]
        fn any_packets_and_any_requests_are_survived(
            packets in prop::collection::vec((0_u64..50, any::<u16>(), prop::collection::vec(any::<u8>(), 0..80)), 0..20),
            edge in any::<bool>(),
            sequence in 0_u64..60,
            count: u16,
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut answers = Answers::new(0);
            let base = if edge { u64::MAX - 40 } else { 0 };
            for (number, count, rest) in &packets {
                let header = request(SESSION, base.saturating_add(*number), *count);
                answers.learn(&[header, rest.clone()].concat());
                answers.learn(rest);
            }
            let mut reply = Vec::new();
            let request = request(SESSION, base.saturating_add(sequence), count);
            if let Ok(messages) = answers.answer(&request, &mut reply) {
                prop_assert!(messages >= 1 && messages <= count);
                prop_assert_eq!(&reply[..18], &request[..18]);
            }
            prop_assert!(answers.answer(&bytes, &mut reply).is_err());
        }
    }
}

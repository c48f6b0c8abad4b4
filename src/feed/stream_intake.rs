//! Hot path: the intake's side for byte streams and datagrams of sockets: bytes in, messages out, on the same tables.
//!
//! Invariant: a unit that lies whole in the bytes at hand is decoded in its place; only what is cut is copied.

use super::session::{Session, SessionVisit};
use super::visit::{PacketVerdict, Visit};
use super::{Accepted, Intake, Next, Outlet, Took};
use crate::event::{ClockKind, CloseReason, ConnectionIndex, FrameReject, InletIndex, Nanos};
use crate::wire::{self, Progress, Stop, UNNUMBERED_RUN, Visitor};

/// When bytes came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// By the shard's clock.
    pub(super) now: Nanos,
    /// On the wire, where that is known.
    pub(super) wire_ns: Nanos,
    /// The clock of `wire_ns`.
    pub(super) clock: ClockKind,
}

impl Intake {
    /// Takes bytes of a connection, in their order, and hands their new messages to `outlet`.
    #[inline]
    pub fn take_bytes(
        &mut self,
        connection: ConnectionIndex,
        bytes: &[u8],
        now: Nanos,
        outlet: &mut impl Outlet,
    ) -> Took {
        self.take_arrived(connection, bytes, Arrived { now, wire_ns: 0, clock: ClockKind::None }, outlet)
    }

    /// As [`take_bytes`](Intake::take_bytes), of bytes whose time on the wire may be known.
    #[inline]
    pub(super) fn take_arrived(
        &mut self,
        connection: ConnectionIndex,
        bytes: &[u8],
        arrived: Arrived,
        outlet: &mut impl Outlet,
    ) -> Took {
        let now = arrived.now;
        let slot = &mut self.connections.slots[connection.0 as usize];
        slot.heard_ns = now;
        match &mut slot.session {
            Session::Soup(session) => session.received(now),
            Session::Replay(replay) => replay.soup.received(now),
            _ => {}
        }
        let mut used = 0;
        loop {
            used += self.connections.discard(connection, bytes.len() - used);
            if self.connections.holds(connection) {
                let (taken, whole) = self.connections.fill_up(connection, &bytes[used..]);
                used += taken;
                if !whole {
                    return Took { bytes: used, next: Next::Continue };
                }
                let held = self.connections.take_held();
                let unit = &held[self.connections.held(connection)];
                let progress = self.decode_piece(connection, unit, arrived, outlet);
                self.connections.put_held(held);
                let settled = self.connections.settle_held(connection, progress);
                if settled == Some(Next::Wait) {
                    // Its last bytes stay with whoever showed them, who then shows them again when there is room.
                    let back = self.connections.let_go(connection, taken);
                    return Took { bytes: used - back, next: Next::Wait };
                }
                if let Some(next) = settled {
                    return Took { bytes: used, next };
                }
            } else {
                let rest = &bytes[used..];
                if rest.is_empty() {
                    return Took { bytes: used, next: Next::Continue };
                }
                let progress = self.decode_piece(connection, rest, arrived, outlet);
                used += progress.consumed;
                if let Some((next, held)) = self.connections.settle(connection, progress, &bytes[used..], now)
                {
                    return Took { bytes: used + held, next };
                }
            }
        }
    }

    /// Decodes bytes that begin with a unit, as the connection's protocol and session demand.
    #[inline]
    fn decode_piece(
        &mut self,
        connection: ConnectionIndex,
        bytes: &[u8],
        arrived: Arrived,
        outlet: &mut impl Outlet,
    ) -> Progress {
        let slot = &mut self.connections.slots[connection.0 as usize];
        let (endpoint, protocol) = (slot.endpoint, slot.protocol);
        let unit_bytes_max = slot.unit_bytes_max as usize;
        // Set beforehand, so that pieces, whose number is chance, are not counted as packets.
        let counted = self.table.find_stream(endpoint, 0, 0).ok();
        let is_numbered =
            matches!(slot.session, Session::Soup(_) | Session::Replay(_) | Session::Overheard(Some(_)));
        let mut accepted = Accepted::from(protocol, 0, arrived.wire_ns, arrived.clock);
        if let Session::Replay(_) = slot.session {
            // Its messages are the feed's, on a line of their own.
            let line = self.table.endpoint(endpoint);
            (accepted.protocol, accepted.line) = (line.protocol.unwrap_or(protocol), line.line);
        }
        let visit = Visit::begin(&mut self.table, &mut self.messages, outlet, endpoint, accepted, self.now);
        let mut piece = SessionVisit {
            visit: visit.counted_for(counted),
            session: &mut slot.session,
            say: &mut slot.say,
            producers: &mut self.connections.producers,
            connection,
            now: arrived.now,
            first: !slot.greeted,
            superseded: None,
            broken: None,
        };
        match counted {
            // What is refused before the first message belongs to the stream, too.
            Some(stream) if is_numbered => {
                piece.visit.accepted.stream = stream;
                piece.visit.verdict = PacketVerdict::PerMessage;
            }
            _ => piece.visit.run(&UNNUMBERED_RUN),
        }
        let progress = wire::decode_stream(protocol, bytes, unit_bytes_max, &mut piece);
        // Its last message may have closed a gap, and nothing else would deliver what is held back behind it.
        piece.visit.finish();
        let ended = match progress.stop {
            Stop::Broken(reason) => Some(reason),
            _ => None,
        };
        let (superseded, broken) = (piece.superseded, piece.broken.or(ended));
        self.after_piece(connection, superseded, broken);
        match broken {
            Some(reason) => Progress { stop: Stop::Broken(reason), ..progress },
            None => progress,
        }
    }

    #[inline]
    fn after_piece(
        &mut self,
        connection: ConnectionIndex,
        superseded: Option<ConnectionIndex>,
        broken: Option<CloseReason>,
    ) {
        if let Some(older) = superseded {
            let slot = &mut self.connections.slots[older.0 as usize];
            slot.session = Session::Superseded;
            // What it has not been told yet is said on the newer connection.
            (slot.say.welcome, slot.say.ack) = (false, false);
            self.connections.closing(older, CloseReason::Superseded);
        }
        if let Some(reason) = broken {
            self.connections.closing(connection, reason);
        }
        self.connections.list_if_it_speaks(connection);
    }

    /// Takes a datagram that came to an inlet through a socket.
    #[inline]
    pub fn take_datagram(&mut self, inlet: InletIndex, packet: &[u8], outlet: &mut impl Outlet) {
        let inlet = &self.connections.inlets[usize::from(inlet.0)];
        let (endpoint, protocol) = (inlet.endpoint, inlet.settings.protocol);
        let accepted = Accepted::from(protocol, 0, 0, ClockKind::None);
        let fate = self.decode_packet(endpoint, packet, accepted, outlet);
        self.count_datagram(fate);
    }

    /// A datagram of which the socket could not hand over all.
    #[cold]
    pub fn refuse_datagram(&mut self, reason: FrameReject) {
        self.count_datagram(Err(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{MessageReject, Priority, Protocol};
    use crate::feed::{ConnectionSettings, FeedPolicy, InletSettings, IntakeSettings, Producers};
    use crate::limits::PRODUCER_WINDOW;
    use crate::wire::Message;
    use crate::wire::native_v2::{
        Control, EventFrame, Frame, Topic, encode_control, encode_event, frame_bytes, parse,
    };
    use proptest::prelude::*;

    const ONE: ConnectionIndex = ConnectionIndex(0);
    const TWO: ConnectionIndex = ConnectionIndex(1);
    const MS: Nanos = 1_000_000;

    /// Keeps what it accepts; has room for so many messages.
    struct Room {
        left: usize,
        taken: Vec<(u32, u64, Vec<u8>)>,
    }

    impl Room {
        fn of(left: usize) -> Room {
            Room { left, taken: Vec::new() }
        }
    }

    impl Outlet for Room {
        fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
            assert!(self.left > 0, "nobody asked for room");
            self.left -= 1;
            self.taken.push((accepted.session, message.sequence, message.body.to_vec()));
            Ok(())
        }

        fn has_room(&mut self, _: Protocol, _: &Message<'_>) -> bool {
            self.left > 0
        }
    }

    fn intake(unit_bytes_max: usize) -> Intake {
        let inlet = InletSettings {
            name: "in".to_owned(),
            protocol: Protocol::Native,
            unit_bytes_max,
            idle_ns: 500 * MS,
            handshake_ns: 100 * MS,
            unfinished_ns: 200 * MS,
            policy: FeedPolicy::default(),
            soup: None,
            recovers: None,
        };
        let settings = IntakeSettings { streams_max: 4, endpoints_max: 4, ..IntakeSettings::default() };
        let connections = ConnectionSettings { inlets: vec![inlet], connections_max: 2 };
        let mut intake = Intake::allocate(&settings);
        intake.connect(connections, Producers::allocate(1, &[], None));
        intake.connections.opened(ONE, InletIndex(0), 0);
        intake.connections.opened(TWO, InletIndex(0), 0);
        intake
    }

    fn v1(payload: &[u8]) -> Vec<u8> {
        [&(6 + payload.len() as u32).to_be_bytes()[..], b"\x02\x00\x03abc", payload].concat()
    }

    fn v2(producer: u64, sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let topic = Topic::Name(b"abc");
        let priority = Priority::Medium;
        let event = EventFrame { producer, sequence, time_ns: 7, kind: 1, priority, topic, payload };
        encode_event(&event, &mut frame);
        frame
    }

    fn word(control: Control<'_>, producer: u64) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_control(&control, producer, &mut frame);
        frame
    }

    fn hello(producer: u64) -> Vec<u8> {
        word(Control::Hello { producer, acknowledged: 0, durable: false }, producer)
    }

    /// Shows all bytes, as a port does: what is not taken again, as long as there is no room after making some.
    fn feed(intake: &mut Intake, connection: ConnectionIndex, bytes: &[u8], room: &mut Room) -> Next {
        let mut at = 0;
        loop {
            let took = intake.take_bytes(connection, &bytes[at..], 0, room);
            at += took.bytes;
            match took.next {
                Next::Wait => room.left += 1,
                Next::Close(_) => return took.next,
                Next::Continue => {
                    assert_eq!(at, bytes.len());
                    return Next::Continue;
                }
            }
        }
    }

    /// What is said to the peer, word by word.
    fn replies(intake: &mut Intake, connection: ConnectionIndex) -> Vec<String> {
        let mut said = Vec::new();
        let mut into = [0; 512];
        while let Some(speaker) = intake.connections.next_reply() {
            let bytes = intake.connections.reply(speaker, &mut into);
            let mut at = 0;
            while at < bytes {
                let length = frame_bytes(&into[at..bytes]).expect("a whole header") as usize;
                let frame = parse(&into[at..at + length]).expect("a good frame");
                let Frame::Control(control) = frame else { panic!("an event from the server") };
                if speaker == connection {
                    said.push(format!("{control:?}"));
                }
                at += length;
            }
        }
        said
    }

    proptest! {
        /// However a stream is cut, and however often there is no room, each frame is met once, in order.
        #[test]
        fn cuts_and_waits_change_nothing(
            sizes in prop::collection::vec(0usize..200, 1..30),
            cuts in prop::collection::vec(1usize..90, 1..60),
            room in 0usize..5,
        ) {
            let mut intake = intake(160);
            let frames: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| match at % 2 {
                0 => v1(&vec![at as u8; *size]),
                _ => v2(1, at as u64, &vec![at as u8; *size]),
            }).collect();
            let bytes = frames.concat();
            let mut room = Room::of(room);
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                prop_assert_eq!(feed(&mut intake, ONE, piece, &mut room), Next::Continue);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            let small = frames.iter().filter(|frame| frame.len() <= 160).count();
            prop_assert_eq!(room.taken.len(), small);
            prop_assert_eq!(intake.connections.bytes_taken, bytes.len() as u64);
            let book = &intake.messages;
            prop_assert_eq!(book.rejected[MessageReject::TooLarge as usize] as usize, frames.len() - small);
            prop_assert_eq!(intake.connections.closed(ONE), (0, false));
        }
    }

    #[test]
    fn a_session_accepts_each_number_once_and_acknowledges_what_is_processed() {
        let mut intake = intake(4_096);
        let mut room = Room::of(100);
        assert_eq!(feed(&mut intake, ONE, &hello(9), &mut room), Next::Continue);
        assert_eq!(replies(&mut intake, ONE), ["Welcome { received: 0, durable: 0 }"]);
        let events = [v2(9, 1, b"a"), v2(9, 2, b"b"), v2(9, 2, b"b"), v2(9, 3, b"c")].concat();
        assert_eq!(feed(&mut intake, ONE, &events, &mut room), Next::Continue);
        let numbers: Vec<(u32, u64)> =
            room.taken.iter().map(|(session, number, _)| (*session, *number)).collect();
        assert_eq!(numbers, [(1, 1), (1, 2), (1, 3)]);
        assert_eq!((intake.messages.accepted, intake.messages.duplicate), (3, 1));
        assert_eq!(replies(&mut intake, ONE), ["Ack { received: 0, durable: 0 }"], "for the copy");
        intake.connections.processed(1, 2);
        assert_eq!(replies(&mut intake, ONE), [""; 0], "1 is under way");
        assert_eq!(intake.connections.ended(ONE), Next::Continue);
        intake.connections.processed(1, 1);
        intake.connections.processed(1, 3);
        assert_eq!(replies(&mut intake, ONE), ["Ack { received: 3, durable: 0 }"]);
        assert_eq!(intake.connections.ended(ONE), Next::Close(CloseReason::PeerClosed));
        intake.connections.closed(ONE);
        // It comes again, and sends more than it has to.
        intake.connections.opened(ONE, InletIndex(0), 0);
        let again = [hello(9), v2(9, 3, b"c"), v2(9, 4, b"d")].concat();
        assert_eq!(feed(&mut intake, ONE, &again, &mut room), Next::Continue);
        assert_eq!(replies(&mut intake, ONE)[0], "Welcome { received: 3, durable: 0 }");
        assert_eq!((intake.messages.accepted, intake.messages.duplicate), (4, 2));
    }

    #[test]
    fn what_breaks_a_session_is_named_to_its_peer() {
        let durable = word(Control::Hello { producer: 9, acknowledged: 0, durable: true }, 9);
        let mut damaged = v2(9, 1, b"a");
        damaged[50] ^= 1;
        let cases: [(Vec<u8>, CloseReason); 8] = [
            (durable, CloseReason::NotOffered),
            (hello(0), CloseReason::SessionViolation),
            ([hello(9), hello(9)].concat(), CloseReason::SessionViolation),
            ([hello(9), v2(9, 2, b"a")].concat(), CloseReason::SessionViolation),
            ([hello(9), v2(8, 1, b"a")].concat(), CloseReason::SessionViolation),
            ([hello(9), v1(b"a")].concat(), CloseReason::SessionViolation),
            ([hello(9), damaged].concat(), CloseReason::BadFrame),
            ([hello(9), v2(9, 1, &[0; 5_000])].concat(), CloseReason::FrameTooLarge),
        ];
        for (bytes, reason) in cases {
            let mut intake = intake(4_096);
            assert_eq!(feed(&mut intake, ONE, &bytes, &mut Room::of(9)), Next::Close(reason), "{bytes:x?}");
            let said = replies(&mut intake, ONE);
            let last = said.last().expect("an error");
            assert!(last.starts_with(&format!("Error {{ code: {}", reason as u8)), "{said:?}");
            assert_eq!(intake.messages.accepted, 0);
        }
    }

    #[test]
    fn a_producer_has_one_connection_and_there_are_so_many_producers() {
        let mut intake = intake(4_096);
        let mut room = Room::of(9);
        feed(&mut intake, ONE, &hello(9), &mut room);
        assert_eq!(feed(&mut intake, TWO, &hello(8), &mut room), Next::Close(CloseReason::ProducersFull));
        intake.connections.closed(TWO);
        intake.connections.opened(TWO, InletIndex(0), 0);
        assert_eq!(feed(&mut intake, TWO, &hello(9), &mut room), Next::Continue);
        let said = replies(&mut intake, ONE);
        assert!(said.iter().any(|word| word.starts_with("Error")), "{said:?}");
        assert_eq!(intake.connections.tick(ONE, 1), Next::Close(CloseReason::Superseded));
        assert_eq!(
            feed(&mut intake, ONE, &v2(9, 1, b"a"), &mut room),
            Next::Close(CloseReason::SessionViolation)
        );
        intake.connections.closed(ONE);
        assert_eq!(feed(&mut intake, TWO, &v2(9, 1, b"a"), &mut room), Next::Continue);
        intake.connections.processed(1, 1);
        assert_eq!(
            replies(&mut intake, TWO).last().map(String::as_str),
            Some("Ack { received: 1, durable: 0 }")
        );
    }

    #[test]
    fn a_producer_waits_when_its_window_is_full() {
        let mut intake = intake(4_096);
        let mut room = Room::of(10_000);
        feed(&mut intake, ONE, &hello(9), &mut room);
        let events: Vec<u8> = (1..=PRODUCER_WINDOW + 1).flat_map(|sequence| v2(9, sequence, b"")).collect();
        let took = intake.take_bytes(ONE, &events, 0, &mut room);
        assert_eq!((took.next, room.taken.len() as u64), (Next::Wait, PRODUCER_WINDOW));
        intake.connections.processed(1, 1);
        let took = intake.take_bytes(ONE, &events[took.bytes..], 0, &mut room);
        assert_eq!((took.next, room.taken.len() as u64), (Next::Continue, PRODUCER_WINDOW + 1));
    }

    #[test]
    fn deadlines_are_named() {
        let mut room = Room::of(9);
        let mut intake = intake(4_096);
        assert_eq!(intake.connections.tick(ONE, 100 * MS), Next::Continue);
        assert_eq!(intake.connections.tick(ONE, 101 * MS), Next::Close(CloseReason::HandshakeTimeout));
        intake.take_bytes(TWO, &v1(b"x"), 50 * MS, &mut room);
        assert_eq!(intake.connections.tick(TWO, 550 * MS), Next::Continue);
        assert_eq!(intake.connections.tick(TWO, 551 * MS), Next::Close(CloseReason::Idle));
        // A frame that drips in does not get more time by dripping.
        let frame = v1(b"slowly");
        intake.take_bytes(TWO, &frame[..3], 600 * MS, &mut room);
        intake.take_bytes(TWO, &frame[3..6], 790 * MS, &mut room);
        assert_eq!(intake.connections.tick(TWO, 801 * MS), Next::Close(CloseReason::UnfinishedFrame));
        assert_eq!((intake.connections.bytes_held(), intake.connections.closed(TWO)), (6, (6, false)));
    }

    #[test]
    fn a_message_found_in_a_damaged_one_waits_for_room_and_is_taken() {
        let mut intake = intake(4_096);
        intake.connections.slots[ONE.0 as usize].protocol = Protocol::Fix;
        let mut message = b"8=FIX.4.2\x019=12\x0135=0\x0149=XYZ\x01".to_vec();
        let sum = message.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        message.extend(format!("10={sum:03}\x01").bytes());
        let (head, tail) = (&b"8=FIX.4.2\x019=50\x01"[..], [b'x'; 50]);
        let whole = head.len() + 50 + 7;
        let stream = [head, &message, &tail].concat();
        let mut none = Room::of(0);
        assert_eq!(intake.take_bytes(ONE, head, 0, &mut none).next, Next::Continue);
        let rest = &stream[head.len()..whole];
        let took = intake.take_bytes(ONE, rest, 0, &mut none);
        assert!(took.next == Next::Wait && took.bytes < rest.len(), "what waits is shown again: {took:?}");
        let mut some = Room::of(1);
        let took = intake.take_bytes(ONE, &rest[took.bytes..], 0, &mut some);
        assert_eq!((took.next, some.taken.len()), (Next::Continue, 1));
        assert_eq!(some.taken[0].2, message);
    }

    #[test]
    fn a_frame_that_ends_a_session_is_named_to_its_peer() {
        let mut intake = intake(4_096);
        let bomb = [&[b'S', b'L', b'C', b'2', 0, 0, 2, 3][..], &u32::MAX.to_le_bytes()].concat();
        let stream = [hello(9), bomb].concat();
        assert_eq!(
            feed(&mut intake, ONE, &stream, &mut Room::of(1)),
            Next::Close(CloseReason::FrameTooLarge)
        );
        let said = replies(&mut intake, ONE);
        assert!(said.last().is_some_and(|word| word.starts_with("Error")), "{said:?}");
    }

    #[test]
    fn time_in_which_we_do_not_listen_is_not_held_against_a_peer() {
        let mut intake = intake(4_096);
        (0..20).for_each(|turn| intake.connections.paused(ONE, turn * 100 * MS));
        assert_eq!(intake.connections.tick(ONE, 1_990 * MS), Next::Continue);
        assert_eq!(intake.connections.tick(ONE, 2_001 * MS), Next::Close(CloseReason::HandshakeTimeout));
    }

    #[test]
    fn a_length_bomb_costs_nothing() {
        let mut intake = intake(4_096);
        let bomb = [&u32::MAX.to_be_bytes()[..], b"\x02"].concat();
        assert_eq!(feed(&mut intake, ONE, &bomb, &mut Room::of(1)), Next::Close(CloseReason::FrameTooLarge));
        let large = [&(10u32 << 20).to_be_bytes()[..], &[0; 100]].concat();
        assert_eq!(feed(&mut intake, TWO, &large, &mut Room::of(1)), Next::Continue);
        assert_eq!(intake.connections.bytes_held(), 0);
        let mut rest = vec![0; (10 << 20) - 100];
        rest.extend(v1(b"behind it"));
        let mut room = Room::of(1);
        assert_eq!(feed(&mut intake, TWO, &rest, &mut room), Next::Continue);
        assert_eq!(room.taken.len(), 1);
        assert_eq!(intake.messages.rejected[MessageReject::TooLarge as usize], 1);
    }
    #[test]
    fn a_frame_that_waits_for_room_is_shown_again_wherever_it_was_cut() {
        let mut intake = intake(1_024);
        let frame = v1(b"payload");
        for cut in 1..frame.len() {
            let (before, behind) = frame.split_at(cut);
            let mut room = Room::of(0);
            assert_eq!(intake.take_bytes(ONE, before, 0, &mut room).bytes, cut);
            let took = intake.take_bytes(ONE, behind, 0, &mut room);
            // Else nobody would ever ask for it again, unless the peer sent more.
            assert!(took.bytes < behind.len() && took.next == Next::Wait, "cut at {cut}: {took:?}");
            let rest = &behind[took.bytes..];
            room.left = 1;
            let all = Took { bytes: rest.len(), next: Next::Continue };
            assert_eq!(intake.take_bytes(ONE, rest, 0, &mut room), all);
            assert_eq!((room.taken.len(), intake.connections.bytes_held()), (1, 0));
        }
        assert_eq!(intake.connections.ended(ONE), Next::Close(CloseReason::PeerClosed));
    }
}

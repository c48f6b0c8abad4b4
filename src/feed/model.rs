//! Random scripts of packets against what the feed logic promises, whatever comes, however late, damaged or often.
//!
//! Invariant: a script is made of its seed alone, so that a failure repeats.

use super::{Accepted, Delivery, EndpointIndex, Event, FeedLine, FeedPolicy, GapEnd, Intake, IntakeSettings};
use super::{Notice, Outlet, StreamStatus};
use crate::event::{ClockKind, Destination, Marks, MessageReject, Protocol};
use crate::limits::RECOVERY_LINE;
use crate::wire::Message;
use std::collections::{BTreeMap, BTreeSet};

/// A seeded generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..choices.len() as u64) as usize]
    }
}

/// A message that was handed on.
#[derive(Clone, Copy, Debug)]
struct Delivered {
    epoch: u32,
    sequence: u64,
    place: u64,
}

/// Keeps what it is given, and now and then has no room.
struct Sink {
    in_order: bool,
    delivered: Vec<Delivered>,
    numbers: BTreeSet<(u32, u64)>,
    newest: BTreeMap<u32, u64>,
    refused: BTreeSet<(u32, u64)>,
    notices: Vec<Notice>,
    held: BTreeMap<u32, (Delivered, Marks)>,
    held_max: usize,
    stale: bool,
    epoch: u32,
    believing: bool,
}

impl Sink {
    fn deliver(&mut self, message: Delivered, marks: Marks) {
        let Delivered { epoch, sequence, .. } = message;
        let newest = self.newest.entry(epoch).or_insert(0);
        if !self.believing && epoch == self.epoch {
            assert_eq!(marks.has(Marks::STALE), self.stale, "stale as was told: {message:?} {marks:?}");
            let is_behind = self.numbers.range((epoch, sequence + 1)..(epoch, u64::MAX)).next().is_some();
            assert_eq!(marks.has(Marks::OUT_OF_ORDER), is_behind, "{message:?} {marks:?}");
            let is_first = self.numbers.range((epoch, 0)..(epoch, sequence)).next().is_none();
            let follows = sequence > 0
                && (self.numbers.contains(&(epoch, sequence - 1))
                    || self.refused.contains(&(epoch, sequence - 1)));
            // Of what has left the window nothing is known: a late number may be at its very end.
            if !is_first && !is_behind {
                assert_eq!(marks.has(Marks::AFTER_GAP), !follows, "{message:?} {marks:?}");
            }
        }
        *newest = sequence.max(*newest);
        self.delivered.push(message);
    }
}

fn delivered(message: &Message<'_>, accepted: &Accepted) -> Delivered {
    let id = message.body.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Delivered { epoch: accepted.epoch, sequence: message.sequence, place: id }
}

impl Outlet for Sink {
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        let message = delivered(message, accepted);
        self.deliver(message, accepted.marks);
        self.numbers.insert((message.epoch, message.sequence));
        Ok(())
    }

    fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        assert!(self.in_order && accepted.marks.has(Marks::HELD));
        if self.held.len() >= self.held_max {
            self.refused.insert((accepted.epoch, message.sequence));
            return Err(MessageReject::PoolExhausted);
        }
        let place = (0..).find(|place| !self.held.contains_key(place)).expect("a place");
        self.held.insert(place, (delivered(message, accepted), accepted.marks));
        Ok(place)
    }

    fn release(&mut self, held: u32, marks: Marks) {
        let (message, before) = self.held.remove(&held).expect("it is held");
        assert!(marks.has(Marks::HELD));
        self.deliver(message, marks.and(before));
        self.numbers.insert((message.epoch, message.sequence));
    }

    fn notice(&mut self, notice: &Notice) {
        match notice.event {
            Event::Stale { .. } => self.stale = true,
            Event::Fresh { .. } => self.stale = false,
            Event::Epoch { .. } => self.epoch = notice.epoch,
            _ => {}
        }
        self.notices.push(*notice);
    }
}

/// What one packet says.
#[derive(Clone, Copy, Debug)]
struct Packet {
    at_ns: u64,
    line: u8,
    session: u64,
    first: u64,
    /// 0 for a heartbeat, 0xffff for the end of the session.
    count: u64,
    send_ns: u64,
}

impl Packet {
    fn mold(&self) -> Vec<u8> {
        let mut packet = format!("{:010}", self.session).into_bytes();
        packet.extend(self.first.to_be_bytes());
        packet.extend((self.count as u16).to_be_bytes());
        for number in 0..self.count % 0xffff {
            packet.extend([0, 9, b'z']);
            packet.extend(self.first.wrapping_add(number).to_be_bytes());
        }
        packet
    }

    /// Packet-numbered, of a session that nothing names.
    fn cme(&self) -> Vec<u8> {
        let mut packet = (self.first as u32).to_le_bytes().to_vec();
        packet.extend(self.send_ns.to_le_bytes());
        for place in 0..self.count % 0xffff {
            for field in [22u16, 4, 999, 1, 9] {
                packet.extend(field.to_le_bytes());
            }
            packet.extend([0; 4]);
            packet.extend(place.to_be_bytes());
        }
        packet
    }

    fn bytes(&self, protocol: Protocol) -> Vec<u8> {
        if protocol == Protocol::CmeMdp3 { self.cme() } else { self.mold() }
    }
}

#[derive(Debug)]
struct Script {
    protocol: Protocol,
    policy: FeedPolicy,
    lines: u8,
    has_recovery: bool,
    held_max: usize,
    /// Whether numbers are damaged, or jump, so that they are doubted.
    doubtful: bool,
    epochs: u64,
    packets: Vec<Packet>,
}

const STEP_NS: u64 = 1_000;

impl Script {
    fn make(seed: u64) -> Script {
        let mut random = Random(seed);
        let protocol = random.one_of(&[Protocol::Moldudp64Itch50, Protocol::CmeMdp3]);
        let delivery = random.one_of(&[Delivery::AsArrived, Delivery::InOrder]);
        let has_recovery = random.percent(30);
        let policy = FeedPolicy {
            delivery,
            window: random.one_of(&[64, 256, 4_096]),
            reorder_ns: random.one_of(&[3, 20, 100, 1_000_000]) * STEP_NS,
            reorder_packets: random.one_of(&[2, 16, 100, 1_000_000]),
            give_up_ns: has_recovery.then(|| random.one_of(&[5, 50, 500]) * STEP_NS),
            backfill: has_recovery && random.percent(30),
            ..FeedPolicy::default()
        };
        let epochs = if protocol == Protocol::CmeMdp3 { 1 } else { random.within(1..4) };
        let mut script = Script {
            protocol,
            policy,
            lines: random.within(1..4) as u8,
            has_recovery,
            held_max: random.one_of(&[0, 3, 20, 5_000, 5_000]),
            doubtful: random.percent(30),
            epochs,
            packets: Vec::new(),
        };
        script.send(&mut random);
        script.packets.sort_by_key(|packet| packet.at_ns);
        script
    }

    fn send(&mut self, random: &mut Random) {
        let (loss, twice) = (random.one_of(&[0, 2, 10, 40]), random.one_of(&[0, 5]));
        let jitter = random.one_of(&[1, 3, 30, 200]) * STEP_NS;
        let lag: Vec<u64> = (0..=RECOVERY_LINE).map(|_| random.within(0..60) * STEP_NS).collect();
        let mut at_ns = 1_000 * STEP_NS;
        for session in 1..=self.epochs {
            let mut next = random.one_of(&[0, 1, 1, 77, 1 << 20]);
            for _ in 0..random.within(5..150) {
                let count = if random.percent(10) { 0 } else { random.within(1..8) };
                let numbers = if self.protocol == Protocol::CmeMdp3 { 1 } else { count };
                at_ns += random.one_of(&[1, 1, 1, 10, 300]) * STEP_NS;
                if self.protocol == Protocol::CmeMdp3 && count == 0 {
                    continue;
                }
                let packet = Packet { at_ns, line: 0, session, first: next, count, send_ns: at_ns };
                let lost_by_all = random.percent(loss / 4);
                let mut lines: Vec<u8> = (0..self.lines).collect();
                if self.has_recovery && random.percent(60) {
                    lines.push(RECOVERY_LINE);
                }
                for line in lines {
                    let is_late = if line == RECOVERY_LINE { 200 * STEP_NS } else { 0 };
                    for _ in 0..1 + u64::from(random.percent(twice)) {
                        let delay = lag[usize::from(line)] + random.within(0..jitter) + is_late;
                        let mut copy = Packet { at_ns: at_ns + delay, line, ..packet };
                        if self.doubtful && random.percent(3) {
                            let step = random.one_of(&[1, 50, 300, 5_000, 1 << 30]);
                            copy.first = random.one_of(&[next + step, next.saturating_sub(step)]);
                        }
                        let is_lost = lost_by_all && line != RECOVERY_LINE;
                        if !is_lost && !random.percent(loss) {
                            self.packets.push(copy);
                        }
                    }
                }
                next += numbers;
                if self.doubtful && random.percent(2) {
                    next += random.one_of(&[3, 70, 5_000]);
                }
            }
            if self.protocol != Protocol::CmeMdp3 && random.percent(50) {
                let count = 0xffff;
                for line in 0..self.lines {
                    self.packets.push(Packet { at_ns, line, session, first: next, count, send_ns: at_ns });
                }
            }
            at_ns += 400 * STEP_NS;
        }
    }
}

struct Rig {
    intake: Intake,
    sink: Sink,
    ends: Vec<EndpointIndex>,
}

impl Rig {
    fn new(script: &Script) -> Rig {
        Rig::with_streams(script, 1)
    }

    fn with_streams(script: &Script, streams_max: usize) -> Rig {
        let destination = |line: u8| Destination::v4([233, 0, 0, line], 26_477);
        let line = |line: u8| FeedLine {
            feed: 0,
            feed_name: "feed".to_owned(),
            line_name: line.to_string(),
            line,
            destination: destination(line),
            source: None,
            protocol: script.protocol,
        };
        let settings = IntakeSettings {
            lines: (0..script.lines).map(line).collect(),
            policies: vec![script.policy.clone()],
            admit_unknown: false,
            streams_max,
            endpoints_max: 8,
            ..IntakeSettings::default()
        };
        let mut intake = Intake::allocate(&settings);
        let find = |line| intake.table.find_endpoint(&destination(line)).expect("configured");
        let mut ends: Vec<EndpointIndex> = (0..script.lines).map(find).collect();
        if script.has_recovery {
            ends.push(intake.table.add_recovery(0));
        }
        let sink = Sink {
            in_order: script.policy.is_in_order(),
            delivered: Vec::new(),
            numbers: BTreeSet::new(),
            newest: BTreeMap::new(),
            refused: BTreeSet::new(),
            notices: Vec::new(),
            held: BTreeMap::new(),
            held_max: script.held_max,
            stale: false,
            epoch: 0,
            believing: script.doubtful,
        };
        Rig { intake, sink, ends }
    }

    fn take(&mut self, packet: &Packet, protocol: Protocol) {
        self.intake.tick(packet.at_ns, &mut self.sink);
        self.check_state();
        let end = if packet.line == RECOVERY_LINE { self.ends.len() - 1 } else { usize::from(packet.line) };
        let endpoint = self.ends[end];
        let line = self.intake.table.endpoint(endpoint).line;
        let accepted = Accepted::from(protocol, line, packet.at_ns, ClockKind::Capture);
        let bytes = packet.bytes(protocol);
        self.intake.decode_packet(endpoint, &bytes, accepted, &mut self.sink).expect("understood");
        self.check_state();
    }

    fn check_state(&mut self) {
        if self.intake.stream_count() == 0 {
            return;
        }
        let open = self.intake.open_gaps();
        let table = &mut self.intake.table;
        let list = table.stream_mut(0).gaps;
        let gaps: Vec<_> = table.gaps.slab.iter(&list).copied().collect();
        assert_eq!(gaps.len(), open);
        assert!(gaps.iter().all(|gap| gap.from < gap.to));
        assert!(gaps.windows(2).all(|two| two[0].to <= two[1].from), "{gaps:?}");
        let state = table.stream_mut(0);
        assert_eq!(state.sequencer.holding, state.hold.is_some());
        assert!(!state.sequencer.holding || !gaps.is_empty(), "nothing would ever release it");
        assert!(self.sink.held.is_empty() || state.sequencer.holding);
        let status = state.status();
        if status == StreamStatus::Synchronized {
            assert!(gaps.is_empty());
        }
        if let (Some(ring), Some(first)) = (&state.hold, gaps.first()) {
            assert_eq!(ring.cursor, first.from, "what is in front of the first gap is through");
        }
        for gap in &gaps {
            let oldest = state.sequencer.oldest();
            for number in gap.from.max(oldest)..gap.to {
                assert!(!state.sequencer.has(number), "{number} has come and is in {gap:?}");
            }
        }
    }
}

/// Runs a script, and checks all that holds of every one.
fn run(seed: u64) {
    let script = Script::make(seed);
    let mut rig = Rig::new(&script);
    for packet in &script.packets {
        rig.take(packet, script.protocol);
    }
    rig.intake.finish_gaps(&mut rig.sink);
    rig.check_state();
    assert_eq!((rig.intake.open_gaps(), rig.sink.held.len()), (0, 0));
    let messages = rig.intake.messages.clone();
    let rejected: u64 = messages.rejected.iter().sum();
    let fates = messages.accepted + messages.duplicate + messages.stale + messages.heartbeat + rejected;
    assert_eq!(messages.decoded, fates);
    assert_eq!(messages.accepted, rig.sink.delivered.len() as u64, "what was accepted was delivered");
    let Some(snapshot) = rig.intake.settle().pop() else { return };
    let book = &snapshot.book;
    assert!(book.balanced(), "{book:?}");
    let mut lost: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    let (mut records, mut numbers) = (0, 0);
    let mut told = BTreeSet::new();
    for notice in &rig.sink.notices {
        let Event::Gap(gap) = notice.event else { continue };
        if gap.numbers() < 1 << 21 {
            for number in gap.first..=gap.last {
                assert!(told.insert((notice.epoch, number)), "{number} of {gap:?} is in two records");
            }
        }
        let is_lost = matches!(gap.end, GapEnd::Lost(_));
        assert_eq!(gap.brought_by == 0, is_lost, "{gap:?}");
        if is_lost {
            records += 1;
            numbers += gap.numbers();
            if gap.numbers() < 1 << 21 {
                lost.entry(notice.epoch).or_default().extend(gap.first..=gap.last);
            }
        }
    }
    assert_eq!((book.gaps, book.missing), (records, numbers), "{book:?}");
    let mut seen: BTreeSet<(u32, u64, u64)> = BTreeSet::new();
    let mut last: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for message in &rig.sink.delivered {
        let Delivered { epoch, sequence, place } = *message;
        let is_new = seen.insert((epoch, sequence, place));
        assert!(is_new || (script.doubtful && !script.policy.is_in_order()), "{message:?} twice");
        if script.policy.is_in_order() && !script.doubtful {
            let newest = last.insert(epoch, (sequence, place));
            assert!(newest.is_none_or(|newest| newest < (sequence, place)), "{message:?} after {newest:?}");
        }
    }
    if !script.doubtful {
        check_partition(&rig.sink, &lost);
    }
    let is_plain = script.protocol == Protocol::Moldudp64Itch50 && script.epochs == 1 && !script.doubtful;
    if is_plain && !script.policy.is_in_order() && !script.has_recovery {
        let numbers: Vec<u64> = rig.sink.delivered.iter().map(|message| message.sequence).collect();
        assert_eq!(numbers, as_arrived(&script), "what came within the window, as it came");
    }
}

/// What a plain session delivers as it arrives: what has not come, of the numbers of the window.
fn as_arrived(script: &Script) -> Vec<u64> {
    let (mut next, mut come, mut order) = (0, BTreeSet::new(), Vec::new());
    for packet in &script.packets {
        for number in packet.first..packet.first + packet.count % 0xffff {
            if number + script.policy.window >= next && come.insert(number) {
                order.push(number);
            }
            next = next.max(number + 1);
        }
        next = next.max(packet.first);
    }
    order
}

/// Each number of an epoch was delivered, or is in a record of a loss, or found no room.
fn check_partition(sink: &Sink, lost: &BTreeMap<u32, BTreeSet<u64>>) {
    let mut all: BTreeMap<u32, BTreeSet<u64>> = lost.clone();
    for message in &sink.delivered {
        let is_lost = lost.get(&message.epoch).is_some_and(|lost| lost.contains(&message.sequence));
        assert!(!is_lost, "{message:?} was given up before");
        all.entry(message.epoch).or_default().insert(message.sequence);
    }
    for (epoch, number) in &sink.refused {
        all.entry(*epoch).or_default().insert(*number);
    }
    for numbers in all.values() {
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { continue };
        assert_eq!(last - first + 1, numbers.len() as u64, "nothing is neither");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_the_promises_hold() {
        let asked = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        // All up to a number of them, or one that failed.
        let seeds = match asked("SLUICE_MODEL_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..asked("SLUICE_MODEL_SEEDS").unwrap_or(500),
        };
        let mut failed = Vec::new();
        for seed in seeds {
            if std::panic::catch_unwind(|| run(seed)).is_err() {
                failed.push(seed);
                if failed.len() > 20 {
                    break;
                }
            }
        }
        assert!(failed.is_empty(), "seeds {failed:?}");
    }

    /// A packet of a Cboe unit with one message.
    fn cboe(unit: u8, number: u32) -> Vec<u8> {
        let mut packet = vec![22, 0, 1, unit];
        packet.extend(number.to_le_bytes());
        packet.extend([14, 0x29, 0, 0, 0, 0]);
        packet.extend(u64::from(number).to_be_bytes());
        packet
    }

    /// More streams with wide windows than there are wide ones: the others hold back as much as they remember.
    #[test]
    fn streams_without_a_wide_window_lose_nothing_of_what_they_hold() {
        let policy = FeedPolicy {
            delivery: Delivery::InOrder,
            window: 65_536,
            reorder_ns: u64::MAX / 4,
            reorder_packets: u64::MAX,
            ..FeedPolicy::default()
        };
        let script = Script {
            protocol: Protocol::CboePitch,
            policy,
            lines: 2,
            has_recovery: false,
            held_max: 16_000,
            doubtful: true,
            epochs: 1,
            packets: Vec::new(),
        };
        let mut rig = Rig::with_streams(&script, 100);
        let accepted = Accepted::from(Protocol::CboePitch, 0, 1, ClockKind::Capture);
        for unit in 1..=70 {
            let packet = cboe(unit, 1);
            rig.intake.decode_packet(rig.ends[0], &packet, accepted, &mut rig.sink).expect("understood");
        }
        // Number 2 is lost, and the last unit goes on beyond what it remembers.
        for number in 3..10_000 {
            let packet = cboe(70, number);
            rig.intake.decode_packet(rig.ends[0], &packet, accepted, &mut rig.sink).expect("understood");
        }
        rig.intake.finish_gaps(&mut rig.sink);
        assert_eq!(rig.sink.held.len(), 0);
        let numbers: Vec<u64> = rig.sink.delivered[70..].iter().map(|message| message.sequence).collect();
        assert_eq!(numbers, (3..10_000).collect::<Vec<u64>>());
    }

    /// A source that begins again takes its clock with it: deadlines of its second round are those of its own times.
    #[test]
    fn deadlines_hold_in_every_round_of_a_capture() {
        let script = Script {
            protocol: Protocol::Moldudp64Itch50,
            policy: FeedPolicy {
                delivery: Delivery::InOrder,
                reorder_packets: u64::MAX,
                ..FeedPolicy::default()
            },
            lines: 1,
            has_recovery: false,
            held_max: 16_000,
            doubtful: true,
            epochs: 1,
            packets: Vec::new(),
        };
        let mut rig = Rig::new(&script);
        for round in 1..=2 {
            for (number, at_ns) in [(1, 1), (3, 2), (4, 1_000_000_000)] {
                let packet =
                    Packet { at_ns, line: 0, session: 1, first: number, count: 1, send_ns: 0 }.mold();
                let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 0])
                    .ipv4([192, 0, 2, 1], [233, 0, 0, 0], 16)
                    .udp(40_000, 26_477);
                let mut frame = Vec::new();
                builder.write(&mut frame, &packet).expect("memory can be written");
                let (link, clock) = (crate::event::LinkType::Ethernet, ClockKind::Capture);
                rig.intake.take(&frame, link, 1_700_000_000_000_000_000 + at_ns, clock, &mut rig.sink);
            }
            assert_eq!((rig.intake.open_gaps(), rig.sink.delivered.len()), (0, 3 * round));
            rig.intake.begin_again(&mut rig.sink);
        }
    }
}

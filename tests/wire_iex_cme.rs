//! IEX-TP and CME MDP 3.0 against real captures (with counts from independent decoders) and against damage.
//!
//! Invariant: what is checked here holds for any bytes, or is an oracle's figure.

use flate2::read::MultiGzDecoder;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use proptest::prelude::*;
use proptest::sample::Index;
use sluice::event::{FrameReject, MessageReject, Price, Protocol, Side};
use sluice::wire::{
    Action, Entry, Instrument, Message, Numbering, Run, RunKind, Visitor, decode, describe, entries,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where line A of the CME capture goes; line B goes to 15340.
const CME_PORT_A: u16 = 14_340;

/// A trade and a quote (TOPS 1.6, real).
const IEX_SEGMENT: &str = "01000380010000000000cd4354000200092c0d0000000000177b000000000000\
    ad81607eaffecf14260054e0dcf31f7eaffecf14474f4f442020202029000000a4db0200000000001313020000000000\
    2a005140dcf31f7eaffecf14474f4f4420202020f7000000a4db020000000000000000000000000000000000";

/// Volume, a level, a statistic and an empty book message (schema 6, real).
const CME_PACKET: &str = "6016000045c4016d7753861428000b0025000100060051b30a6c77538614020000\
    1000010b000000088b05001a0000000000000038000b0020000100060051b30a6c77538614040000\
    200001802c05d0000000005a000000088b05001b00000001000000010131000000000030000b002300010006\
    0051b30a6c77538614080000180001802c05d000000000088b05001c000000ff003700000000001800\
    0b0020000100060051b30a6c77538614800000200000";

/// A trade with its orders (schema 6, real).
const CME_TRADE: &str = "5f160000e9feff6c7753861460000b002a000100060051b30a6c77538614010000\
    200001802c05d0000000000a000000088b050019000000020000000100000000000000\
    100000000000000290f6ce7aa30000000a0000000000000000000000000000000a00000000000000";

fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// The UDP payloads of a capture with their destination ports; `None` (said once per call) without captures.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn packets(name: &str) -> Option<Vec<(u16, Vec<u8>)>> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    let Ok(file) = File::open(folder.join(name)) else {
        eprintln!("skipped: no captures (set SLUICE_CAPTURES)");
        return None;
    };
    let source: Box<dyn Read + Send> =
        if name.ends_with(".gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = create_reader(1 << 20, source).expect("a capture");
    let mut found = Vec::new();
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::Legacy(record) => found.extend(udp(record.data)),
                    PcapBlockOwned::NG(Block::EnhancedPacket(record)) => {
                        let captured = usize::try_from(record.caplen).expect("a small record");
                        found.extend(udp(&record.data[..captured]));
                    }
                    _ => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return Some(found),
            Err(PcapError::Incomplete(_)) => reader.refill().expect("a readable capture"),
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
}

/// Destination port and payload of a frame, cut by the lengths of IP and UDP, not by the frame's.
fn udp(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let sliced = etherparse::SlicedPacket::from_ethernet(frame).ok()?;
    match sliced.transport? {
        etherparse::TransportSlice::Udp(udp) => Some((udp.destination_port(), udp.payload().to_vec())),
        _ => None,
    }
}

/// One callback; bodies as their place in the packet.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Run(Run),
    Message { sequence: u64, kind: u16, source_ns: u64, at: usize, bytes: usize },
    Refused(MessageReject),
}

/// Notes every callback, and checks that bodies lie in the packet.
struct Notes<'a> {
    packet: &'a [u8],
    told: Vec<Told>,
}

impl Visitor for Notes<'_> {
    fn run(&mut self, run: &Run) {
        self.told.push(Told::Run(*run));
    }

    fn message(&mut self, message: &Message<'_>) {
        let (packet, body) = (self.packet.as_ptr_range(), message.body.as_ptr_range());
        assert!(packet.start <= body.start && body.end <= packet.end, "a body outside its packet");
        self.told.push(Told::Message {
            sequence: message.sequence,
            kind: message.kind,
            source_ns: message.source_ns,
            at: body.start.addr() - packet.start.addr(),
            bytes: message.body.len(),
        });
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.told.push(Told::Refused(reason));
    }
}

fn told(protocol: Protocol, packet: &[u8]) -> (Result<(), FrameReject>, Vec<Told>) {
    let mut notes = Notes { packet, told: Vec::new() };
    let outcome = decode(protocol, packet, &mut notes);
    (outcome, notes.told)
}

/// What a whole capture says.
#[derive(Default)]
struct Totals {
    runs: Vec<Run>,
    by_kind: BTreeMap<u16, u64>,
    /// Sequences of the messages.
    sequences: Vec<u64>,
    entries: Vec<(u16, Entry)>,
    undescribed: u64,
    untimed: u64,
    refused: u64,
}

/// Decodes packets of a stream.
fn totals<'a>(protocol: Protocol, packets: impl Iterator<Item = &'a [u8]>) -> Totals {
    let mut totals = Totals::default();
    for packet in packets {
        let (outcome, callbacks) = told(protocol, packet);
        assert_eq!(outcome, Ok(()));
        for callback in callbacks {
            match callback {
                Told::Run(run) => totals.runs.push(run),
                Told::Refused(_) => totals.refused += 1,
                Told::Message { sequence, kind, source_ns, at, bytes } => {
                    let body = &packet[at..at + bytes];
                    *totals.by_kind.entry(kind).or_default() += 1;
                    totals.sequences.push(sequence);
                    totals.untimed += u64::from(source_ns == 0);
                    totals.undescribed += u64::from(describe(protocol, kind, body).is_none());
                    entries(protocol, kind, body, &mut |entry| totals.entries.push((kind, entry)));
                }
            }
        }
    }
    totals
}

#[test]
fn iex_tops_capture_agrees_with_its_oracle() {
    let Some(packets) = packets("iex-tops16.pcap.gz") else { return };
    assert_eq!(packets.len(), 13_022);
    let totals = totals(Protocol::IexTp, packets.iter().map(|(_, packet)| packet.as_slice()));
    let heartbeats = totals.runs.iter().filter(|run| run.kind == RunKind::Heartbeat).count();
    assert_eq!((totals.runs.len(), heartbeats, totals.refused), (13_022, 237, 0));
    let by_kind: Vec<(char, u64)> = totals
        .by_kind
        .iter()
        .map(|(kind, count)| (char::from(u8::try_from(*kind).expect("a letter")), *count))
        .collect();
    let expected = [
        ('A', 642),
        ('B', 3),
        ('D', 10),
        ('H', 7_803),
        ('O', 7_801),
        ('P', 7_802),
        ('Q', 27_217),
        ('S', 6),
        ('T', 6_390),
    ];
    assert_eq!(by_kind, expected);
    assert!(totals.sequences.iter().copied().eq(1..=57_674));
    let mut next = 1;
    for run in &totals.runs {
        assert_eq!((run.sequence, run.unit, run.session), (next, 1, 1_137_508_352));
        assert_eq!(run.numbering, Numbering::Messages);
        next += u64::from(run.count);
    }
    assert_eq!((totals.undescribed, totals.untimed), (0, 0));
    let count = |action| totals.entries.iter().filter(|(_, entry)| entry.action == action).count();
    assert_eq!(
        (count(Action::Quote), count(Action::Trade), count(Action::Break), totals.entries.len()),
        (2 * 27_217, 6_390, 3, 2 * 27_217 + 6_390 + 3)
    );
    let sane = |entry: &Entry| {
        entry.price.is_none_or(|p| p.decimals == 4 && p.mantissa > 0 && p.mantissa < 100_000_000)
    };
    assert!(totals.entries.iter().all(|(_, entry)| sane(entry)));
    assert!(totals.entries.iter().all(|(_, entry)| (entry.size == 0) == entry.price.is_none()));
}

#[test]
fn cme_capture_agrees_with_its_oracle() {
    let Some(packets) = packets("cme-mdp3-ab.pcapng") else { return };
    let line = |a: bool| {
        let of_line = packets.iter().filter(move |(port, _)| (*port == CME_PORT_A) == a);
        let mut of_line: Vec<&[u8]> = of_line.map(|(_, packet)| packet.as_slice()).collect();
        // The records of the capture are out of time order; the sequence is in the first four bytes.
        of_line.sort_by_key(|packet| packet.first_chunk().map(|number| u32::from_le_bytes(*number)));
        of_line
    };
    let (line_a, line_b) = (line(true), line(false));
    assert_eq!(line_a, line_b);
    let totals = totals(Protocol::CmeMdp3, line_a.into_iter().chain(line_b));
    let sequences = || totals.runs.iter().map(|run| run.sequence);
    assert!(sequences().eq((5_615..=10_614).chain(5_615..=10_614)));
    let data = |run: &Run| run.kind == RunKind::Data && run.numbering == Numbering::Packets && run.count == 1;
    assert!(totals.runs.iter().all(data));
    assert_eq!((totals.refused, totals.undescribed, totals.untimed), (0, 0, 18), "heartbeats have no time");
    let by_template = [(12, 18), (32, 19_138), (35, 614), (37, 388), (42, 388)];
    assert!(totals.by_kind.iter().map(|(kind, count)| (*kind, *count)).eq(by_template));
    cme_entries_are_sane(&totals);
}

/// The entries of the capture: counts by an independent decoder, prices of grain futures and their spreads.
fn cme_entries_are_sane(totals: &Totals) {
    let count = |wanted: &dyn Fn(u16, &Entry) -> bool| {
        totals.entries.iter().filter(|(kind, entry)| wanted(*kind, entry)).count()
    };
    let outright = |entry: &Entry| matches!(entry.instrument, Instrument::Number(_));
    let levels = |side: Side, action: Action, real: bool| {
        count(&|kind, e| kind == 32 && e.side == side && e.action == action && outright(e) == real)
    };
    let actions = [Action::Add, Action::Change, Action::Delete];
    assert_eq!(actions.map(|action| levels(Side::Buy, action, true)), [2 * 786, 2 * 1_459, 2 * 205]);
    assert_eq!(actions.map(|action| levels(Side::Sell, action, true)), [2 * 917, 2 * 1_845, 2 * 255]);
    assert_eq!(actions.map(|action| levels(Side::Buy, action, false)), [2 * 1_684, 2 * 2_220, 2 * 988]);
    assert_eq!(actions.map(|action| levels(Side::Sell, action, false)), [2 * 1_699, 2 * 1_455, 2 * 1_061]);
    let sides = [Side::Buy, Side::Sell, Side::None];
    let trades = |side| count(&|kind, e| kind == 42 && e.action == Action::Trade && e.side == side);
    assert_eq!(sides.map(trades), [2 * 69, 2 * 133, 2 * 153]);
    assert_eq!(totals.entries.len(), 29_148 + 710);
    // A tick is a quarter of a cent; spreads may be negative.
    let on_tick = |price: Price| price.decimals == 7 && price.mantissa % 2_500_000 == 0;
    let in_range = |price: Price| (-9_000_000_000..=179_250_000_000).contains(&price.mantissa);
    let sane =
        |e: &Entry| e.price.is_some_and(|p| on_tick(p) && in_range(p)) && (1..=17_154).contains(&e.size);
    assert!(totals.entries.iter().all(|(_, entry)| sane(entry)));
    let traded = |e: &Entry| e.price.is_some_and(|p| (-450_000_000..=4_447_500_000).contains(&p.mantissa));
    assert!(totals.entries.iter().all(|(kind, entry)| *kind == 32 || (traded(entry) && entry.size <= 200)));
}

/// Packets to be damaged: always the golden ones, and a sample of each capture where there are captures.
static PACKETS: LazyLock<Vec<(Protocol, Vec<u8>)>> = LazyLock::new(|| {
    let mut all = vec![
        (Protocol::IexTp, unhex(IEX_SEGMENT)),
        (Protocol::CmeMdp3, unhex(CME_PACKET)),
        (Protocol::CmeMdp3, unhex(CME_TRADE)),
    ];
    let captures = [(Protocol::IexTp, "iex-tops16.pcap.gz"), (Protocol::CmeMdp3, "cme-mdp3-ab.pcapng")];
    for (protocol, name) in captures {
        let sample = packets(name).into_iter().flatten().step_by(101).map(|(_, packet)| (protocol, packet));
        all.extend(sample);
    }
    all
});

/// A real packet with some bytes overwritten, cut or prolonged.
fn damaged() -> impl Strategy<Value = (Protocol, Vec<u8>)> {
    let value = prop_oneof![any::<u8>(), Just(0), Just(0xff)];
    let overwritten = prop::collection::vec((any::<Index>(), value), 0..12);
    let ending = prop_oneof![
        Just((None, Vec::new())),
        any::<Index>().prop_map(|at| (Some(at), Vec::new())),
        prop::collection::vec(any::<u8>(), 1..40).prop_map(|more| (None, more)),
    ];
    (any::<Index>(), overwritten, ending).prop_map(|(which, overwritten, (cut, more))| {
        let (protocol, mut packet) = which.get(&PACKETS).clone();
        for (at, value) in overwritten {
            *at.get_mut(&mut packet) = value;
        }
        if let Some(at) = cut {
            packet.truncate(at.index(packet.len()));
        }
        packet.extend_from_slice(&more);
        (protocol, packet)
    })
}

/// What must hold for any bytes.
fn holds(protocol: Protocol, packet: &[u8]) {
    let (outcome, callbacks) = told(protocol, packet);
    assert_eq!((outcome, callbacks.clone()), told(protocol, packet), "a decoder is a function");
    if outcome.is_err() {
        assert_eq!(callbacks, []);
        return;
    }
    let Some((Told::Run(run), rest)) = callbacks.split_first() else { panic!("no run: {callbacks:?}") };
    assert!(rest.len() <= packet.len() / 2 + 1, "more callbacks than bytes can hold");
    let mut end = 0;
    for (index, callback) in rest.iter().enumerate() {
        match callback {
            Told::Run(reset) => {
                // Only CME's channel reset says one thing more, behind all messages.
                let behind = (reset.kind, reset.count, index + 1);
                assert_eq!((protocol, behind), (Protocol::CmeMdp3, (RunKind::Reset, 0, rest.len())));
            }
            Told::Refused(MessageReject::TooShort) => {}
            Told::Refused(_) => assert_eq!(index + 1, rest.len(), "nothing can be framed behind this"),
            Told::Message { sequence, kind, at, bytes, .. } => {
                assert!(*at >= end, "bodies overlap");
                end = at + bytes;
                let numbered = run.numbering == Numbering::Messages;
                let first =
                    if numbered { run.sequence + u64::try_from(index).expect("small") } else { run.sequence };
                assert_eq!(*sequence, first);
                let body = &packet[*at..end];
                let mut found = 0;
                entries(protocol, *kind, body, &mut |_| found += 1);
                assert!(found <= 255, "more entries than a group can count");
                describe(protocol, *kind, body);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets_give_bounded_answers_and_no_panic((protocol, packet) in damaged()) {
        holds(protocol, &packet);
    }

    #[test]
    fn any_message_body_is_read_without_panic(kind in 0..70_u16, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut header = body.clone();
        // A header of the right template, so that the body behind it is looked at.
        if let [_, high, low_kind, high_kind, low_schema, high_schema, ..] = header.as_mut_slice() {
            (*high, *low_schema, *high_schema) = (0, 1, 0);
            [*low_kind, *high_kind] = kind.to_le_bytes();
        }
        for body in [&body, &header] {
            entries(Protocol::CmeMdp3, kind, body, &mut |_| {});
            describe(Protocol::CmeMdp3, kind, body);
            entries(Protocol::IexTp, kind, body, &mut |_| {});
            describe(Protocol::IexTp, kind, body);
        }
    }
}

#[test]
fn every_prefix_of_real_packets_is_answered() {
    for (protocol, packet) in PACKETS.iter() {
        (0..=packet.len()).for_each(|length| holds(*protocol, &packet[..length]));
    }
}

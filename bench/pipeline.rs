//! Question: what does a message cost when it is only decoded, and what from the capture to the processors?
//!
//! `cargo bench --bench pipeline [-- --short]`. Frames are in memory before the clock starts. "Decode" is one thread;
//! the whole pipeline is `sluice replay --to inline` with the threads that the program itself chooses, and its time
//! includes starting and joining them. Compare the ratios of one table, not the times of two runs.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "common/captures.rs"]
mod captures;
mod common;

use captures::Frames;
use common::{Contender, Effort, compare, contender, effort};
use sluice::appliance::{InlineOutcome, replay_inline};
use sluice::config::Settings;
use sluice::event::{ClockKind, LinkType, MessageReject, Protocol};
use sluice::feed::{Accepted, Intake, IntakeSettings, Outlet};
use sluice::os::StopFlag;
use sluice::replay::synthetic::{iex_session, itch_session, write_pcap};
use sluice::source::capture::CaptureOptions;
use sluice::wire::{self, Message, Run, Visitor};
use std::cell::RefCell;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Aims, messages and events per second.
const DECODED_PER_S: f64 = 40e6;
const EVENTS_PER_S: f64 = 10e6;

/// A capture of one protocol.
struct Feed {
    name: &'static str,
    protocol: Protocol,
    path: PathBuf,
}

/// CME, IEX and ITCH: real ones where they are at hand. The only free ITCH capture has two packets, so that a session
/// is made up in any case.
fn feeds(folder: &Path, messages: usize) -> Vec<Feed> {
    let mut feeds = Vec::new();
    match captures::real("cme-mdp3-ab.pcapng") {
        Some(path) => feeds.push(Feed { name: "CME, two lines", protocol: Protocol::CmeMdp3, path }),
        None => println!("CME: skipped: no captures (set SLUICE_CAPTURES)"),
    }
    let iex = captures::real("iex-tops16.pcap.gz").map_or_else(
        || {
            let path = folder.join("iex.pcap");
            write_pcap(&path, &iex_session(1, messages).packets).expect("the folder is writable");
            Feed { name: "IEX, made up, two lines", protocol: Protocol::IexTp, path }
        },
        |path| Feed { name: "IEX", protocol: Protocol::IexTp, path },
    );
    let path = folder.join("itch.pcap");
    write_pcap(&path, &itch_session(1, messages).packets).expect("the folder is writable");
    let itch = Feed { name: "ITCH, made up, two lines", protocol: Protocol::Moldudp64Itch50, path };
    feeds.extend([iex, itch]);
    feeds
}

/// Counts messages, and whatever else must not be optimised away.
#[derive(Default)]
struct Tally {
    messages: u64,
    check: u64,
    /// Whether the messages' fields are decoded too, and as what.
    fields: Option<Protocol>,
}

impl Tally {
    #[inline]
    fn count(&mut self, message: &Message<'_>) {
        self.messages += 1;
        self.check = self.check.wrapping_add(message.sequence ^ u64::from(message.kind));
        if let Some(protocol) = self.fields {
            wire::entries(protocol, message.kind, message.body, &mut |entry| {
                let price = entry.price.map_or(0, |price| black_box(price).mantissa as u64);
                self.check = self.check.wrapping_add(entry.size ^ entry.reference ^ price);
            });
        }
    }
}

impl Visitor for Tally {
    #[inline]
    fn run(&mut self, run: &Run) {
        self.check = self.check.wrapping_add(run.sequence);
    }

    #[inline]
    fn message(&mut self, message: &Message<'_>) {
        self.count(message);
    }

    #[inline]
    fn refuse(&mut self, _reason: MessageReject) {}
}

impl Outlet for Tally {
    #[inline]
    fn accept(&mut self, message: &Message<'_>, _accepted: &Accepted) -> Result<(), MessageReject> {
        self.count(message);
        Ok(())
    }
}

/// How long a contender's round lasts at least.
fn round_time(effort: Effort) -> Duration {
    Duration::from_millis(if effort.short { 5 } else { 100 })
}

/// Repeats `pass`, which tells how many messages it saw, for the round's time; a sample of each.
fn passes(samples: &mut Vec<f64>, time: Duration, mut pass: impl FnMut() -> u64) {
    let begin = Instant::now();
    while samples.is_empty() || begin.elapsed() < time {
        let start = Instant::now();
        let messages = pass();
        samples.push(start.elapsed().as_nanos() as f64 / messages as f64);
    }
}

/// Headers and the protocol's decoder, with or without the messages' fields.
fn decode<'a>(
    name: &'static str,
    frames: &'a Frames,
    protocol: Protocol,
    fields: bool,
    time: Duration,
) -> Contender<'a> {
    contender(name, move |samples| {
        passes(samples, time, || {
            let mut tally = Tally { fields: fields.then_some(protocol), ..Tally::default() };
            for (frame, _, link) in frames.iter() {
                let datagram = wire::link::parse(frame, link).expect("captures of UDP alone");
                wire::decode(protocol, datagram.payload, &mut tally).expect("known packets");
            }
            black_box(tally.check);
            tally.messages
        });
    })
}

/// The same with streams, sequences and lines: what a shard does, but for the events.
fn intake<'a>(frames: &'a Frames, protocol: Protocol, time: Duration) -> Contender<'a> {
    let settings = IntakeSettings { protocol: Some(protocol), ..IntakeSettings::default() };
    let mut intake = Intake::allocate(&settings);
    contender("and sequences, lines, books", move |samples| {
        passes(samples, time, || {
            let before = intake.messages.decoded;
            let mut tally = Tally::default();
            intake.begin_again(&mut tally);
            for (frame, time_ns, link) in frames.iter() {
                intake.take(frame, link, time_ns, ClockKind::Capture, &mut tally);
            }
            black_box(tally.check);
            assert_ne!(tally.messages, 0, "a new epoch brings new messages");
            intake.messages.decoded - before
        });
    })
}

/// The capture through a whole appliance, as often as makes `messages`; notes events per second beside.
fn pipeline<'a>(
    name: &'static str,
    feed: &'a Feed,
    loops: u64,
    events_per_s: &'a RefCell<Vec<f64>>,
) -> Contender<'a> {
    let settings = Settings::for_replay(Some(feed.protocol));
    contender(name, move |samples| {
        let options = CaptureOptions { loops, ..CaptureOptions::new(vec![feed.path.clone()]) };
        let InlineOutcome { outcome, elapsed_s, .. } =
            replay_inline(&settings, &options, &StopFlag::new(), &mut |_, _| {}, &mut |_| {})
                .expect("replays");
        assert_eq!(outcome.ledger.imbalances(), [], "{}", feed.name);
        samples.push(elapsed_s * 1e9 / outcome.ledger.messages.decoded as f64);
        events_per_s.borrow_mut().push(outcome.ledger.events.delivered as f64 / elapsed_s);
    })
}

/// How many messages, copies too, a capture has.
fn messages(frames: &Frames, protocol: Protocol) -> u64 {
    let mut tally = Tally::default();
    for (frame, _, link) in frames.iter() {
        let datagram = wire::link::parse(frame, link).expect("captures of UDP alone");
        wire::decode(protocol, datagram.payload, &mut tally).expect("known packets");
    }
    tally.messages
}

fn compare_feeds(effort: Effort) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for feed in feeds(folder.path(), if effort.short { 5_000 } else { 100_000 }) {
        let frames = Frames::of_capture(&feed.path);
        let per_loop = messages(&frames, feed.protocol);
        // At 10 million messages per second, a second's worth.
        let loops = (if effort.short { 100_000 } else { 10_000_000 } / per_loop).max(1);
        let events_per_s = RefCell::default();
        let time = round_time(effort);
        let outcomes = compare(
            &format!(
                "{}: {} frames, {per_loop} messages, {loops} times in the pipeline",
                feed.name,
                frames.len()
            ),
            effort,
            &mut [
                decode("headers and messages", &frames, feed.protocol, false, time),
                decode("and their fields", &frames, feed.protocol, true, time),
                intake(&frames, feed.protocol, time),
                pipeline("the whole pipeline", &feed, loops, &events_per_s),
            ],
        );
        let decoded = 1e9 / outcomes[0];
        println!(
            "{:<34} {:>7.1} million messages/s (aim: {:.0})",
            "headers and messages",
            decoded / 1e6,
            DECODED_PER_S / 1e6
        );
        // The first was to warm up.
        let events = common::middle(events_per_s.take().split_off(1));
        println!(
            "{:<34} {:>7.1} million events/s (aim: {:.0})",
            "the whole pipeline",
            events / 1e6,
            EVENTS_PER_S / 1e6
        );
    }
}

/// Bytes in front of a MoldUDP64 packet's sequence: Ethernet, IPv4, UDP, session.
const SEQUENCE_AT: usize = 14 + 20 + 8 + 10;
/// Messages of each packet, about the mean of real feeds.
const MESSAGES_PER_PACKET: usize = 4;

/// Packets of many streams in memory, in an order that no prefetcher guesses; each goes on where its stream's last
/// one ended.
struct Crowd {
    packets: Vec<Vec<u8>>,
    per_stream: u64,
}

impl Crowd {
    fn new(streams: usize, packets: usize) -> Crowd {
        let per_stream = packets / streams;
        // A full-period walk over the streams: the step is prime and larger than any number of streams.
        let packets = (0..per_stream * streams).map(|index| {
            mold_frame(index * 1_000_003 % streams, (index / streams * MESSAGES_PER_PACKET) as u64 + 1)
        });
        Crowd { packets: packets.collect(), per_stream: per_stream as u64 }
    }

    /// The next packets of all streams, in place of these.
    fn go_on(&mut self) {
        let more = self.per_stream * MESSAGES_PER_PACKET as u64;
        for packet in &mut self.packets {
            let field = packet[SEQUENCE_AT..].first_chunk_mut::<8>().expect("a sequence in each packet");
            *field = (u64::from_be_bytes(*field) + more).to_be_bytes();
        }
    }
}

/// A packet of order deletions for a stream of its own: a group and a session of its own, for packets of one session on
/// two groups would be taken for two lines of one stream.
fn mold_frame(stream: usize, sequence: u64) -> Vec<u8> {
    let mut packet = format!("S{stream:09}").into_bytes();
    packet.extend(sequence.to_be_bytes());
    packet.extend((MESSAGES_PER_PACKET as u16).to_be_bytes());
    for _ in 0..MESSAGES_PER_PACKET {
        packet.extend([0, 19, b'D']);
        packet.extend([0; 18]);
    }
    let mut frame = Vec::new();
    let group = [239, 9, (stream >> 8) as u8, stream as u8];
    etherparse::PacketBuilder::ethernet2([2; 6], [3; 6])
        .ipv4([10, 0, 0, 1], group, 9)
        .udp(9, 26_477)
        .write(&mut frame, &packet)
        .expect("memory takes bytes");
    frame
}

fn streams<'a>(name: &'static str, streams: usize, packets: usize) -> Contender<'a> {
    let mut crowd = Crowd::new(streams, packets);
    let protocol = Some(Protocol::Moldudp64Itch50);
    let mut intake = Intake::allocate(&IntakeSettings { protocol, ..IntakeSettings::default() });
    contender(name, move |samples| {
        let before = intake.messages.accepted;
        let mut tally = Tally::default();
        for block in crowd.packets.chunks(1_024) {
            let start = Instant::now();
            for packet in block {
                intake.take(packet, LinkType::Ethernet, 1, ClockKind::Capture, &mut tally);
            }
            samples.push(start.elapsed().as_nanos() as f64 / (block.len() * MESSAGES_PER_PACKET) as f64);
        }
        crowd.go_on();
        let expected = (crowd.packets.len() * MESSAGES_PER_PACKET) as u64;
        assert_eq!(intake.messages.accepted - before, expected, "every message is new");
        assert_eq!(intake.stream_count(), streams);
    })
}

fn compare_streams(effort: Effort) {
    // Enough that the packets of all three rows come from memory and not from a cache.
    let packets = if effort.short { 20_000 } else { 200_000 };
    compare(
        &format!("{packets} packets of {MESSAGES_PER_PACKET} messages over so many streams"),
        effort,
        &mut [
            streams("1 stream", 1, packets),
            streams("100 streams", 100, packets),
            streams("10,000 streams", 10_000, packets),
        ],
    );
}

fn main() {
    let effort = effort();
    // A round is some 1.5 s here.
    let effort = Effort { rounds: effort.rounds.min(7), ..effort };
    compare_feeds(effort);
    compare_streams(effort);
}

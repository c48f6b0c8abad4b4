//! Question: what do the sequence check and the arbitration of lines add to decoding a message, and at 20 % loss?
//!
//! `scripts/bench feed`, or `cargo bench --bench feed [-- --short]`. One thread; frames are in memory before the clock
//! starts; times are the thread's CPU time, for a pass is long enough to be interrupted. "Decode" is headers and the protocol's decoder, with a visitor that counts; all other rows are an intake with
//! an outlet that counts as that visitor does, so that their difference to it is what streams, sequences, lines, lateness
//! and books cost. Items are messages as decoded: on two lines, each copy is one. Every pass begins a new epoch, outside
//! of the clock.
//!
//! The last tables are the times of single packets by the processor's counter: interruptions and the reading of the
//! counter are part of them.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "../common/captures.rs"]
mod captures;
#[path = "../common/mod.rs"]
mod common;
mod lines;
mod outlets;

use captures::Frames;
use common::{Contender, Effort, compare, contender, effort};
use lines::{Feed, feeds, span_ns};
use nix::time::{ClockId, clock_gettime};
use outlets::{Taker, Tally};
use sluice::event::{ClockKind, LinkType, Nanos, Protocol};
use sluice::feed::{Delivery, FeedPolicy, Intake, IntakeSettings};
use sluice::os::Clock;
use sluice::wire;
use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Aim for what a message may cost beyond decoding, ns.
const ADDED_NS: f64 = 15.0;

/// The work of one pass, frame by frame.
trait Job {
    /// Before the clock starts.
    fn begin(&mut self) {}
    fn take(&mut self, frame: &[u8], link: LinkType, time_ns: Nanos);
    /// Messages decoded so far, in all passes.
    fn messages(&self) -> u64;
}

/// Headers and the protocol's decoder.
struct Decode {
    protocol: Protocol,
    tally: Tally,
}

impl Decode {
    fn new(protocol: Protocol) -> Decode {
        Decode { protocol, tally: Tally::default() }
    }
}

impl Job for Decode {
    #[inline]
    fn take(&mut self, frame: &[u8], link: LinkType, _time_ns: Nanos) {
        let datagram = wire::link::parse(frame, link).expect("captures of UDP alone");
        wire::decode(self.protocol, datagram.payload, &mut self.tally).expect("known packets");
    }

    fn messages(&self) -> u64 {
        black_box(self.tally.check);
        self.tally.messages
    }
}

/// The same with streams, sequences and lines.
struct Feeding {
    intake: Intake,
    taker: Taker,
    // What is added to the capture's times, so that they go on from pass to pass as they do on a line.
    later_ns: Nanos,
    span_ns: Nanos,
}

impl Feeding {
    fn new(protocol: Protocol, delivery: Delivery, frames: &Frames) -> Feeding {
        let settings = IntakeSettings {
            protocol: Some(protocol),
            policies: vec![FeedPolicy { delivery, ..FeedPolicy::default() }],
            streams_max: 1_024,
            endpoints_max: 1_024,
            ..IntakeSettings::default()
        };
        Feeding {
            intake: Intake::allocate(&settings),
            taker: Taker::allocate(),
            later_ns: 0,
            span_ns: span_ns(frames),
        }
    }
}

impl Job for Feeding {
    fn begin(&mut self) {
        self.intake.begin_again(&mut self.taker);
        self.later_ns += self.span_ns;
    }

    #[inline]
    fn take(&mut self, frame: &[u8], link: LinkType, time_ns: Nanos) {
        self.intake.take(frame, link, time_ns + self.later_ns, ClockKind::Capture, &mut self.taker);
    }

    fn messages(&self) -> u64 {
        black_box(self.taker.tally.check);
        self.intake.messages.decoded
    }
}

/// What the thread has had of its CPU, so that a pass is not longer for others' turns there.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a thread has a clock").into()
}

/// What rounds came to: the median of each, the first one to warm up included.
type Medians = RefCell<Vec<f64>>;

/// Passes over `frames` for at least `time`, a sample of each.
fn row<'a>(
    name: &'static str,
    frames: &'a Frames,
    mut job: impl Job + 'a,
    time: Duration,
    medians: &'a Medians,
) -> Contender<'a> {
    contender(name, move |samples| {
        let begin = Instant::now();
        while samples.is_empty() || begin.elapsed() < time {
            job.begin();
            let before = job.messages();
            let start = cpu_time();
            for (frame, time_ns, link) in frames.iter() {
                job.take(frame, link, time_ns);
            }
            let elapsed_ns = (cpu_time() - start).as_nanos() as f64;
            samples.push(elapsed_ns / (job.messages() - before) as f64);
        }
        medians.borrow_mut().push(common::middle(samples.clone()));
    })
}

/// One table: decoding, and both ways of delivery. Returns what the latter add to a message: the median over rounds of
/// the differences within one, since a shared machine's speed is not the same in all.
fn compare_way(feed: &Feed, way: &str, frames: &Frames, effort: Effort) -> [f64; 2] {
    let time = Duration::from_millis(if effort.short { 2 } else { 40 });
    let protocol = feed.protocol;
    let feeding = |delivery| Feeding::new(protocol, delivery, frames);
    let [alone, as_arrived, in_order]: [Medians; 3] = Default::default();
    compare(
        &format!("{}, {way}: {} packets", feed.name, frames.len()),
        effort,
        &mut [
            row("decode", frames, Decode::new(protocol), time, &alone),
            row("as arrived", frames, feeding(Delivery::AsArrived), time, &as_arrived),
            row("in order", frames, feeding(Delivery::InOrder), time, &in_order),
        ],
    );
    let alone = alone.take();
    let added = [as_arrived.take(), in_order.take()].map(|whole| {
        common::middle(whole.iter().zip(&alone).skip(1).map(|(whole, alone)| whole - alone).collect())
    });
    println!("added at p50: as arrived {:.1} ns, in order {:.1} ns", added[0], added[1]);
    added
}

/// The times of packets, ns, in passes taken in turn; and of nothing but the reading of the clock.
fn packet_times(frames: &Frames, jobs: &mut [(&'static str, Box<dyn Packets + '_>)], passes: usize) {
    let clock = Clock::new();
    let mut times: Vec<Vec<Nanos>> = jobs.iter().map(|_| Vec::new()).collect();
    let mut reading: Vec<Nanos> = Vec::new();
    for pass in 0..=passes {
        for ((_, job), times) in jobs.iter_mut().zip(&mut times) {
            // The first one is to warm up, and to have the memory.
            if pass == 1 {
                times.clear();
            }
            job.pass(frames, &clock, times);
        }
        reading.extend((0..1_000).map(|_| read_twice(&clock)));
    }
    println!("{:<34} {:>9} {:>9} {:>9} {:>11}", "time of a packet, ns", "p50", "p99", "p99.9", "max");
    let named = jobs.iter().map(|(name, _)| *name).zip(&mut times);
    for (name, times) in named.chain([("reading the clock, in each of them", &mut reading)]) {
        times.sort_unstable();
        let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile).round() as usize];
        println!("{name:<34} {:>9} {:>9} {:>9} {:>11}", at(0.5), at(0.99), at(0.999), at(1.0));
    }
}

fn read_twice(clock: &Clock) -> Nanos {
    let start = clock.now();
    black_box(clock).now() - start
}

/// A job whose packets are timed one by one.
trait Packets {
    fn pass(&mut self, frames: &Frames, clock: &Clock, times: &mut Vec<Nanos>);
}

impl<J: Job> Packets for J {
    fn pass(&mut self, frames: &Frames, clock: &Clock, times: &mut Vec<Nanos>) {
        times.reserve(frames.len());
        self.begin();
        for (frame, time_ns, link) in frames.iter() {
            let start = clock.now();
            self.take(frame, link, time_ns);
            times.push(clock.now() - start);
        }
        black_box(self.messages());
    }
}

fn compare_packets(feed: &Feed, effort: Effort) {
    println!("\n{}, two lines, single packets", feed.name);
    let protocol = feed.protocol;
    let feeding = |delivery| Box::new(Feeding::new(protocol, delivery, &feed.lossy));
    packet_times(
        &feed.lossy,
        &mut [
            ("20 % lost, decode", Box::new(Decode::new(protocol))),
            ("20 % lost, as arrived", feeding(Delivery::AsArrived)),
            ("20 % lost, in order", feeding(Delivery::InOrder)),
        ],
        if effort.short { 1 } else { 10 },
    );
    packet_times(
        &feed.two,
        &mut [("no loss, as arrived", Box::new(Feeding::new(protocol, Delivery::AsArrived, &feed.two)))],
        if effort.short { 1 } else { 10 },
    );
}

/// What a pass at loss comes to: so that it is seen what the figures are of.
fn tell_loss(feed: &Feed) {
    let mut job = Feeding::new(feed.protocol, Delivery::InOrder, &feed.lossy);
    for (frame, time_ns, link) in feed.lossy.iter() {
        job.take(frame, link, time_ns);
    }
    job.intake.finish_gaps(&mut job.taker);
    let (delivered, held) = (job.taker.tally.messages, job.taker.held);
    let books = job.intake.settle();
    let gaps: u64 = books.iter().map(|stream| stream.book.gaps_opened).sum();
    let lost: u64 = books.iter().map(|stream| stream.book.missing).sum();
    println!(
        "of a pass in order: {delivered} messages, {held} of them held back; {gaps} gaps, {lost} numbers lost"
    );
}

fn main() {
    let effort = effort();
    let mut added = Vec::new();
    let mut added_at_loss = Vec::new();
    for feed in feeds(if effort.short { 5_000 } else { 100_000 }) {
        added.extend(compare_way(&feed, "one line", &feed.one, effort));
        added.extend(compare_way(&feed, "two lines, A's packet and B's", &feed.two, effort));
        added_at_loss.extend(compare_way(&feed, "two lines, 20 % lost on each", &feed.lossy, effort));
        tell_loss(&feed);
        compare_packets(&feed, effort);
    }
    let worst = |added: &[f64]| added.iter().copied().fold(0.0, f64::max);
    let (worst, worst_at_loss) = (worst(&added), worst(&added_at_loss));
    let met = if worst <= ADDED_NS { "met" } else { "not met" };
    println!(
        "\nadded to a message without loss, at most: {worst:.1} ns at p50 (aim: {ADDED_NS:.0} ns, {met})"
    );
    println!("added to a message at 20 % loss on each line, at most: {worst_at_loss:.1} ns at p50");
}

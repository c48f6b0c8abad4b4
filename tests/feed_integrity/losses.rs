//! Independent losses on two and three lines: what is not delivered is exactly what was lost on all of them.

use crate::random::Random;
use crate::rig::{Arrival, Feeds, Outcome, policies};
use crate::venues::mold;
use sluice::event::Protocol;

/// Seeds per loss rate and kind of segmentation.
const SEEDS: u64 = 2_000;

/// Feeds of one intake, which would spend more time on its tables than on the packets of one.
const FEEDS: u64 = 100;

/// Packets leave their sender this much apart.
const PACKET_GAP_NS: u64 = 1_000;

/// A made-up stream: how many messages it has, which of them each line lost, and its packets.
struct Stream {
    messages: u64,
    /// For each number from 1 on, on how many lines it was lost.
    lost: Vec<u8>,
    lines: u8,
    arrivals: Vec<Arrival>,
}

impl Stream {
    fn make(seed: u64, lines: u8, loss_percent: u64, own_segments: bool) -> Stream {
        let mut random = Random::new(seed);
        // One stream in two hundred is longer than the window of numbers that are remembered, and so wraps its ring.
        let messages =
            if seed.is_multiple_of(200) { random.within(9_000..10_000) } else { random.within(150..500) };
        let mut stream = Stream { messages, lost: vec![0; messages as usize], lines, arrivals: Vec::new() };
        let common = segments(&mut random, messages);
        for line in 0..lines {
            let own = if own_segments { segments(&mut random, messages) } else { common.clone() };
            stream.send(line, &own, loss_percent, &mut random);
        }
        stream
    }

    /// Sends `segments` on a line, late by some packets and out of order by some more, less some of them. A heartbeat
    /// names the first number before and the next one behind them, so that losses at the ends are losses too.
    fn send(&mut self, line: u8, segments: &[(u64, u64)], loss_percent: u64, random: &mut Random) {
        let lag = random.within(0..40 * PACKET_GAP_NS);
        let jitter = random.within(1..20 * PACKET_GAP_NS);
        let mut arrive = |time_ns, first, count| {
            self.arrivals.push(Arrival { time_ns, line, payload: mold(0, first, count) });
        };
        arrive(1, 1, 0);
        for &(first, count) in segments {
            if random.percent(loss_percent) {
                (first..first + count).for_each(|number| self.lost[number as usize - 1] += 1);
                continue;
            }
            // A message's place in time does not depend on the packets of its line.
            let sent = 10 * PACKET_GAP_NS + (first + count) * PACKET_GAP_NS / 6;
            arrive(sent + lag + random.within(0..jitter), first, count);
        }
        arrive(u64::MAX / 2, self.messages + 1, 0);
    }

    fn check(&self, outcome: &Outcome, keeps_order: bool) {
        let is_lost = |number: u64| self.lost[number as usize - 1] == self.lines;
        let expected: Vec<u64> = (1..=self.messages).filter(|number| !is_lost(*number)).collect();
        let mut delivered: Vec<u64> = outcome.delivered.iter().map(|message| message.sequence).collect();
        for message in &outcome.delivered {
            let body = [&b"z"[..], &message.sequence.to_be_bytes()].concat();
            assert_eq!((message.epoch, &message.body), (0, &body));
        }
        if !keeps_order {
            delivered.sort_unstable();
        }
        assert_eq!(delivered, expected, "each once, and only what no line brought is not there");
        let runs = (1..=self.messages).filter(|n| is_lost(*n) && (*n == 1 || !is_lost(n - 1))).count();
        let copies: u64 = self.lost.iter().map(|lost| u64::from(self.lines - lost)).sum();
        let (book, seen) = (&outcome.book, expected.len() as u64);
        assert_eq!((book.expected, book.seen, book.missing), (self.messages, seen, self.messages - seen));
        assert_eq!((book.gaps, book.epochs, book.stale), (runs as u64, 1, 0));
        assert_eq!((book.messages, book.duplicates), (copies, copies - seen));
        assert_eq!(book.lines.iter().map(|line| line.wins).sum::<u64>(), seen);
        assert_eq!(book.lines.iter().map(|line| line.duplicates).sum::<u64>(), copies - seen);
        let only = self.lost.iter().filter(|lost| **lost + 1 == self.lines).count();
        assert_eq!(book.lines.iter().map(|line| line.only).sum::<u64>(), only as u64);
    }
}

/// The messages 1 to `messages` cut into packets: first number and count of each.
fn segments(random: &mut Random, messages: u64) -> Vec<(u64, u64)> {
    let mut segments = Vec::new();
    let mut next = 1;
    while next <= messages {
        let count = random.within(1..12).min(messages + 1 - next);
        segments.push((next, count));
        next += count;
    }
    segments
}

/// All seeds of a rate; every fourth hundred has three lines.
fn lose(loss_percent: u64, own_segments: bool) {
    for policy in policies() {
        let mut lost_somewhere = 0;
        for batch in 0..SEEDS / FEEDS {
            let lines = if batch % 4 == 3 { 3 } else { 2 };
            let mut feeds = Feeds::new(policy, Protocol::Moldudp64Itch50, FEEDS as u32, lines);
            let seeds = batch * FEEDS..(batch + 1) * FEEDS;
            let make = |seed| Stream::make(seed, lines, loss_percent, own_segments);
            let mut streams: Vec<Stream> = seeds.clone().map(make).collect();
            streams.iter_mut().for_each(|stream| feeds.take(&mut stream.arrivals));
            for ((stream, outcome), seed) in streams.iter().zip(feeds.finish()).zip(seeds) {
                lost_somewhere += u32::from(outcome.book.missing > 0);
                let checked = std::panic::AssertUnwindSafe(|| stream.check(&outcome, policy.keeps_order()));
                assert!(std::panic::catch_unwind(checked).is_ok(), "seed {seed}, {policy:?}");
            }
        }
        assert!(lost_somewhere > 0, "the losses meet now and then");
    }
}

#[test]
fn one_percent_lost_on_each_line() {
    lose(1, false);
}

#[test]
fn five_percent_lost_on_each_line() {
    lose(5, false);
}

#[test]
fn twenty_percent_lost_on_each_line() {
    lose(20, false);
}

#[test]
fn one_percent_lost_on_lines_of_other_segments() {
    lose(1, true);
}

#[test]
fn five_percent_lost_on_lines_of_other_segments() {
    lose(5, true);
}

#[test]
fn twenty_percent_lost_on_lines_of_other_segments() {
    lose(20, true);
}

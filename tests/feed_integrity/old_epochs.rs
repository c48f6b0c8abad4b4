//! Lines that lag over a reset: what they still bring of an ended epoch is never delivered and restarts nothing.

use crate::random::Random;
use crate::rig::{Arrival, Feeds, Outcome, policies};
use crate::venues::{cboe, cme, id_of, mold_ids, nyse};
use sluice::event::Protocol;
use std::collections::BTreeSet;

const SEEDS: u64 = 600;
const FEEDS: u64 = 100;

const BEGIN_NS: u64 = 1_700_000_000_000_000_000;

/// How a stream restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    /// MoldUDP64: another session, from number 1.
    Session,
    /// NYSE: a packet with flag 12 and number 1.
    Flag12,
    /// CME: a channel reset in the last packet of a numbering, then packet 1.
    ChannelReset,
    /// CME: packet 1 with nothing before it, as each week and in each loop of a snapshot channel.
    Packet1,
    /// Cboe: a unit clear with number 1.
    UnitClear,
    /// Cboe: a unit clear whose number counts on.
    UnitClearCountingOn,
}

impl Restart {
    fn protocol(self) -> Protocol {
        match self {
            Restart::Session => Protocol::Moldudp64Itch50,
            Restart::Flag12 => Protocol::NysePillar,
            Restart::ChannelReset | Restart::Packet1 => Protocol::CmeMdp3,
            Restart::UnitClear | Restart::UnitClearCountingOn => Protocol::CboePitch,
        }
    }

    /// Epochs that a line may be behind another one. Without send times only the epoch before the present one can be
    /// known to have ended.
    fn lag_max(self) -> u32 {
        match self {
            Restart::Flag12 | Restart::ChannelReset | Restart::Packet1 => u32::MAX,
            Restart::Session | Restart::UnitClear | Restart::UnitClearCountingOn => 1,
        }
    }
}

/// A packet as all lines send it.
struct Sent {
    epoch: u32,
    /// Whether the stream can't be followed without it.
    restarts: bool,
    payload: Vec<u8>,
}

/// A stream of some epochs, and of each message its epoch.
struct Stream {
    restart: Restart,
    packets: Vec<Sent>,
    epoch_of: Vec<u32>,
    epochs: u32,
}

impl Stream {
    fn make(restart: Restart, random: &mut Random) -> Stream {
        let epochs = random.within(2..5) as u32;
        let mut stream = Stream { restart, packets: Vec::new(), epoch_of: Vec::new(), epochs };
        let mut next = 1;
        for epoch in 0..epochs {
            next = if restart == Restart::UnitClearCountingOn { next } else { 1 };
            let packets = random.within(3..25);
            for index in 0..packets {
                let is_end = index + 1 == packets && epoch + 1 < epochs;
                let count = if index == 0 && restart == Restart::Flag12 { 1 } else { random.within(1..5) };
                stream.send(epoch, index == 0, is_end, next, count);
                next += if restart.protocol() == Protocol::CmeMdp3 { 1 } else { count };
            }
        }
        stream
    }

    fn send(&mut self, epoch: u32, is_begin: bool, is_end: bool, next: u64, count: u64) {
        let sent_ns = BEGIN_NS + 5_000 * self.packets.len() as u64;
        let first_id = self.epoch_of.len() as u64;
        let ids: Vec<u64> = (first_id..first_id + count).collect();
        self.epoch_of.extend(ids.iter().map(|_| epoch));
        let clears = is_begin && epoch > 0;
        let payload = match self.restart {
            Restart::Session => mold_ids(u64::from(epoch) + 1, next, &ids),
            Restart::Flag12 if is_begin => nyse(sent_ns, 12, next, 1, &ids),
            Restart::Flag12 => nyse(sent_ns, 11, next, 102, &ids),
            Restart::ChannelReset => cme(sent_ns, next, &ids, is_end),
            Restart::Packet1 => cme(sent_ns, next, &ids, false),
            Restart::UnitClear | Restart::UnitClearCountingOn => cboe(next, &ids, clears),
        };
        let restarts = is_begin || (is_end && self.restart == Restart::ChannelReset);
        self.packets.push(Sent { epoch, restarts, payload });
    }

    /// The packets of `lines` lines, each in its order, interleaved at will: now one line is ahead, now another. Each
    /// loses `loss_percent` of those that restart nothing.
    fn interleave(&self, lines: u8, loss_percent: u64, random: &mut Random) -> Vec<Arrival> {
        let mut places = vec![0; usize::from(lines)];
        let mut arrivals = Vec::new();
        let mut favourite = 0;
        while places.iter().any(|place| *place < self.packets.len()) {
            if random.percent(5) {
                favourite = random.within(0..u64::from(lines)) as usize;
            }
            let line =
                if random.percent(70) { favourite } else { random.within(0..u64::from(lines)) as usize };
            let Some(packet) = self.packets.get(places[line]) else { continue };
            let last = places.iter().filter_map(|place| self.packets.get(*place)).map(|packet| packet.epoch);
            if packet.epoch - last.min().unwrap_or(packet.epoch) > self.restart.lag_max() {
                continue;
            }
            // Nothing in a unit clear says which one it is: no line is two of them behind another.
            let began = |place: usize| place.checked_sub(1).map_or(0, |sent| self.packets[sent].epoch);
            let is_bare = matches!(self.restart, Restart::UnitClear | Restart::UnitClearCountingOn);
            if is_bare && places.iter().any(|place| began(*place) + 1 < packet.epoch) {
                continue;
            }
            places[line] += 1;
            if packet.restarts || !random.percent(loss_percent) {
                let time_ns = BEGIN_NS + 1_000 * arrivals.len() as u64;
                arrivals.push(Arrival { time_ns, line: line as u8, payload: packet.payload.clone() });
            }
        }
        arrivals
    }

    fn check(&self, outcome: &Outcome, lossless: bool) {
        let mut ids = BTreeSet::new();
        for message in &outcome.delivered {
            let id = id_of(&message.body);
            assert!(ids.insert(id), "message {id} was delivered twice");
            assert_eq!(message.epoch, self.epoch_of[id as usize], "message {id}");
        }
        let book = &outcome.book;
        assert_eq!(book.epochs, u64::from(self.epochs), "resets + 1");
        assert_eq!(book.messages, book.accepted + book.duplicates + book.stale);
        if lossless {
            assert_eq!(ids.len(), self.epoch_of.len(), "the line that is ahead brings everything");
            assert_eq!((book.missing, book.gaps, book.seen), (0, 0, book.expected));
        }
    }
}

fn lag(restart: Restart) {
    for policy in policies() {
        let mut stale = 0;
        for batch in 0..SEEDS / FEEDS {
            let lines = 2 + (batch % 2) as u8;
            let loss_percent = [0, 0, 5, 20][batch as usize % 4];
            let mut feeds = Feeds::new(policy, restart.protocol(), FEEDS as u32, lines);
            let mut streams = Vec::new();
            for seed in batch * FEEDS..(batch + 1) * FEEDS {
                let mut random = Random::new(seed);
                let stream = Stream::make(restart, &mut random);
                feeds.take(&mut stream.interleave(lines, loss_percent, &mut random));
                streams.push((seed, stream));
            }
            for ((seed, stream), outcome) in streams.iter().zip(feeds.finish()) {
                stale += outcome.book.stale;
                let checked = std::panic::AssertUnwindSafe(|| stream.check(&outcome, loss_percent == 0));
                assert!(std::panic::catch_unwind(checked).is_ok(), "seed {seed}, {policy:?}");
            }
        }
        assert!(stale > 0, "late copies of ended epochs are stale");
    }
}

#[test]
fn over_a_new_session() {
    lag(Restart::Session);
}

#[test]
fn over_a_sequence_reset() {
    lag(Restart::Flag12);
}

#[test]
fn over_a_channel_reset() {
    lag(Restart::ChannelReset);
}

#[test]
fn over_a_numbering_that_begins_again() {
    lag(Restart::Packet1);
}

#[test]
fn over_a_unit_clear() {
    lag(Restart::UnitClear);
}

#[test]
fn over_a_unit_clear_that_counts_on() {
    lag(Restart::UnitClearCountingOn);
}

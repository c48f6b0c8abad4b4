//! Hot path: where dead letters leave an agent: a ring of bytes that a thread off the hot path empties.
//!
//! Invariant: each letter is written whole, or counted by reason as suppressed or as without room; nothing waits, and
//! nothing is allocated. A letter over the rate costs a comparison and a counter.

use super::reader::LetterReader;
use super::reason::Reason;
use crate::config::DeadLetters;
use crate::event::{EventHeader, HEADER_BYTES, Nanos, ShardId};
use crate::limits::LETTER_RING_BYTES;
use rtrb::{Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const NS_PER_S: u64 = 1_000_000_000;

/// What stands in the ring before an event's header and as much of its payload as is kept.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Envelope {
    /// When it was given up, on the agent's clock.
    pub(super) at_ns: u64,
    /// Bytes of payload that follow the header.
    pub(super) kept_bytes: u32,
    /// Bytes that the payload has.
    pub(super) payload_bytes: u32,
    /// [`Reason::code`].
    pub(super) reason: u8,
    /// How often it was tried.
    pub(super) attempts: u8,
    /// The shard that accepted it.
    pub(super) shard: u8,
    reserved: [u8; 5],
}

/// Bytes of an [`Envelope`].
pub(super) const ENVELOPE_BYTES: usize = size_of::<Envelope>();

const _: () = assert!(ENVELOPE_BYTES == 24);
const _: () = assert!(Reason::COUNT <= 256);
const _: () = assert!(LETTER_RING_BYTES > ENVELOPE_BYTES + HEADER_BYTES + crate::limits::PAYLOAD_BYTES_MAX);

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It is on its way.
    Written,
    /// There were more than may be; it was counted.
    Suppressed,
    /// The ring was full, or nobody takes letters here; it was counted.
    NoRoom,
}

/// How many letters of one reason were written to a port, and how many were only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Written.
    pub written: u64,
    /// Over the rate.
    pub suppressed: u64,
    /// The ring was full.
    pub no_room: u64,
}

/// Counters that the port writes and anybody reads, indexed by [`Reason::code`].
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Tallies {
    written: [AtomicU64; Reason::COUNT],
    suppressed: [AtomicU64; Reason::COUNT],
    no_room: [AtomicU64; Reason::COUNT],
}

impl Default for Tallies {
    fn default() -> Tallies {
        let zeros = || [const { AtomicU64::new(0) }; Reason::COUNT];
        Tallies { written: zeros(), suppressed: zeros(), no_room: zeros() }
    }
}

impl Tallies {
    /// The counts of one reason.
    pub(super) fn of(&self, reason: Reason) -> PortCounts {
        let code = usize::from(reason.code());
        // Relaxed: counts, which order nothing.
        PortCounts {
            written: self.written[code].load(Ordering::Relaxed),
            suppressed: self.suppressed[code].load(Ordering::Relaxed),
            no_room: self.no_room[code].load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn raise(counters: &[AtomicU64; Reason::COUNT], reason: Reason) {
        let counter = &counters[usize::from(reason.code())];
        // The port is the only writer, so that no locked instruction is needed.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// So many letters a second, and so many at once: a bucket of tokens, kept as the time at which it would be full again.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Between two letters of a storm.
    interval_ns: u64,
    /// How far ahead of `now` the bucket's time may be.
    ahead_max_ns: u64,
    full_at_ns: Nanos,
}

impl Rate {
    fn new(per_second: u32, burst: u32) -> Rate {
        let interval_ns = NS_PER_S / u64::from(per_second.max(1));
        Rate { interval_ns, ahead_max_ns: interval_ns * u64::from(burst.max(1)), full_at_ns: 0 }
    }

    /// Takes a token, if there is one. A clock that goes back, as that of a looped capture may, gives no tokens.
    #[inline]
    fn admits(&mut self, now: Nanos) -> bool {
        // No clock that went on leaves it further ahead than that.
        let full_at_ns = self.full_at_ns.clamp(now, now.saturating_add(self.ahead_max_ns));
        let after = full_at_ns.saturating_add(self.interval_ns);
        let admitted = after - now <= self.ahead_max_ns;
        self.full_at_ns = if admitted { after } else { full_at_ns };
        admitted
    }
}

/// An agent's end.
pub struct LetterPort {
    ring: Option<Producer<u8>>,
    tallies: Arc<Tallies>,
    rate: Rate,
    payload_bytes_max: usize,
}

/// A way for the letters of one agent.
pub fn letter_way(settings: &DeadLetters) -> (LetterPort, LetterReader) {
    let (mut producer, consumer) = RingBuffer::new(LETTER_RING_BYTES);
    // Touches each page now, so that no first letter pays for it later.
    drop(producer.write_chunk(LETTER_RING_BYTES));
    let tallies = Arc::new(Tallies::default());
    let port = LetterPort {
        ring: Some(producer),
        tallies: Arc::clone(&tallies),
        rate: Rate::new(settings.per_second, settings.burst),
        payload_bytes_max: settings.payload_bytes_max,
    };
    (port, LetterReader::new(consumer, tallies))
}

impl LetterPort {
    /// A port whose letters nobody takes: all are counted as without room.
    pub fn closed() -> LetterPort {
        let rate = Rate::new(1, 1);
        LetterPort { ring: None, tallies: Arc::default(), rate, payload_bytes_max: 0 }
    }

    /// Writes the letter of an event that `shard` accepted and that was tried `attempts` times. `now` is the agent's clock.
    #[inline]
    pub fn write(
        &mut self,
        reason: Reason,
        header: &EventHeader,
        payload: &[u8],
        shard: ShardId,
        attempts: u8,
        now: Nanos,
    ) -> Posted {
        let Some(ring) = &mut self.ring else {
            Tallies::raise(&self.tallies.no_room, reason);
            return Posted::NoRoom;
        };
        if !self.rate.admits(now) {
            Tallies::raise(&self.tallies.suppressed, reason);
            return Posted::Suppressed;
        }
        let kept = &payload[..payload.len().min(self.payload_bytes_max)];
        let envelope = Envelope {
            at_ns: now,
            kept_bytes: kept.len() as u32,
            payload_bytes: payload.len() as u32,
            reason: reason.code(),
            attempts,
            shard: shard.0,
            reserved: [0; 5],
        };
        if !push(ring, [envelope.as_bytes(), header.as_bytes(), kept]) {
            Tallies::raise(&self.tallies.no_room, reason);
            return Posted::NoRoom;
        }
        Tallies::raise(&self.tallies.written, reason);
        Posted::Written
    }

    /// How many letters of a reason were written, and how many only counted.
    pub fn counts(&self, reason: Reason) -> PortCounts {
        self.tallies.of(reason)
    }
}

/// Pushes parts one behind the other, all or none of them.
#[inline]
fn push(ring: &mut Producer<u8>, parts: [&[u8]; 3]) -> bool {
    let bytes = parts.iter().map(|part| part.len()).sum();
    let Ok(mut chunk) = ring.write_chunk(bytes) else { return false };
    let (mut first, mut second) = chunk.as_mut_slices();
    for part in parts {
        let (here, there) = part.split_at(part.len().min(first.len()));
        let (to, rest) = std::mem::take(&mut first).split_at_mut(here.len());
        to.copy_from_slice(here);
        first = rest;
        let (to, rest) = std::mem::take(&mut second).split_at_mut(there.len());
        to.copy_from_slice(there);
        second = rest;
    }
    chunk.commit_all();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DeadReason, ShedReason};
    use crate::os::allocations_of_this_thread;

    const EVICTED: Reason = Reason::Dead(DeadReason::Evicted);
    const FULL: Reason = Reason::Shed(ShedReason::RealtimeQueueFull);
    const SHARD: ShardId = ShardId(3);

    fn fast() -> DeadLetters {
        DeadLetters { per_second: 1_000_000, burst: 1_000_000, ..DeadLetters::default() }
    }

    #[test]
    fn letters_come_out_as_they_went_in_and_long_ones_say_so() {
        let (mut port, mut reader) = letter_way(&DeadLetters { payload_bytes_max: 5, ..fast() });
        let header = EventHeader { sequence: 9, wire_ns: 1, stream: 2, session: 7, ..EventHeader::default() };
        assert_eq!(port.write(EVICTED, &header, b"1234", SHARD, 2, 55), Posted::Written);
        assert_eq!(port.write(FULL, &header, b"123456", SHARD, 0, 56), Posted::Written);
        let first = reader.take(100).expect("is there");
        assert_eq!((first.reason, first.at_ns, first.taken_unix_ns, first.attempts), (EVICTED, 55, 100, 2));
        assert_eq!((first.shard, first.sequence, first.stream, first.session), (SHARD, 9, 2, 7));
        assert_eq!((first.payload.as_slice(), first.truncated_from()), (&b"1234"[..], None));
        let second = reader.take(100).expect("is there");
        assert_eq!((second.payload.as_slice(), second.truncated_from()), (&b"12345"[..], Some(6)));
        assert!(reader.take(100).is_none());
    }

    #[test]
    fn a_storm_is_suppressed_by_rate_and_starts_again_with_time() {
        let (mut port, _reader) =
            letter_way(&DeadLetters { per_second: 10, burst: 5, ..DeadLetters::default() });
        let mut written = |now: Nanos, count: usize| {
            let write = |_| port.write(EVICTED, &EventHeader::default(), b"", SHARD, 0, now);
            (0..count).map(write).filter(|posted| *posted == Posted::Written).count()
        };
        let second = NS_PER_S;
        assert_eq!(written(100 * second, 100), 5, "the burst");
        assert_eq!(written(100 * second + second / 10, 100), 1, "one for a tenth of a second");
        assert_eq!(written(101 * second, 100), 5, "no more than the burst is saved up");
        assert_eq!(written(50 * second, 100), 0, "a clock that goes back gives nothing");
        assert_eq!(written(50 * second + second / 5, 100), 2, "and goes on from there");
        let counts = port.counts(EVICTED);
        assert_eq!((counts.written, counts.suppressed, counts.no_room), (13, 487, 0));
    }

    #[test]
    fn a_full_ring_is_counted_and_nothing_is_cut() {
        let (mut port, mut reader) = letter_way(&DeadLetters { payload_bytes_max: 65_536, ..fast() });
        let payload = [7; 65_536];
        let mut written = 0;
        while port.write(FULL, &EventHeader::default(), &payload, SHARD, 1, 1) == Posted::Written {
            written += 1;
        }
        assert_eq!(port.counts(FULL), PortCounts { written, suppressed: 0, no_room: 1 });
        assert_eq!(port.counts(EVICTED), PortCounts::default());
        for _ in 0..written {
            assert_eq!(reader.take(1).expect("is there").payload, payload);
        }
        assert!(reader.take(1).is_none());
        assert_eq!(
            LetterPort::closed().write(FULL, &EventHeader::default(), b"", SHARD, 1, 1),
            Posted::NoRoom
        );
    }

    #[test]
    fn writing_allocates_nothing() {
        let (mut port, mut reader) =
            letter_way(&DeadLetters { per_second: 1_000, burst: 500, ..DeadLetters::default() });
        let mut write = |now: Nanos| port.write(EVICTED, &EventHeader::default(), &[1; 600], SHARD, 0, now);
        let before = allocations_of_this_thread();
        let written = (0..10_000).filter(|now| write(*now) == Posted::Written).count();
        assert_eq!((allocations_of_this_thread(), written), (before, 500));
        assert!(reader.take(1).is_some());
        let counts = port.counts(EVICTED);
        assert_eq!((counts.written, counts.suppressed), (500, 9_500));
    }

    /// What a letter costs, for whoever asks: `cargo test --release -- --ignored --nocapture what_a_letter_costs`.
    #[test]
    #[ignore = "it measures, and shows nothing that could fail"]
    fn what_a_letter_costs() {
        use std::io::Write as _;
        use std::time::Instant;
        const LETTERS: u32 = 10_000_000;
        let (mut port, _reader) = letter_way(&DeadLetters::default());
        let header = EventHeader::default();
        let started = Instant::now();
        for now in 0..u64::from(LETTERS) {
            std::hint::black_box(port.write(EVICTED, &header, &[1; 40], SHARD, 0, std::hint::black_box(now)));
        }
        let storm = started.elapsed() / LETTERS;
        let (mut port, mut reader) = letter_way(&fast());
        let (mut busy, mut written) = (std::time::Duration::ZERO, 0_u32);
        for round in 0..100 {
            let started = Instant::now();
            for now in 0..10_000 {
                std::hint::black_box(port.write(
                    EVICTED,
                    &header,
                    &[1; 40],
                    SHARD,
                    0,
                    round * NS_PER_S + now,
                ));
                written += 1;
            }
            busy += started.elapsed();
            while reader.take(1).is_some() {}
        }
        let line = format!("a suppressed letter: {storm:?}; a written one: {:?}\n", busy / written);
        std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
    }
}

//! Hot path: producers of acknowledged sessions: what of theirs was accepted, what is processed, and nothing twice.
//!
//! Invariant: `processed` names the last number up to which every event of the producer came home from its processor;
//! it is remembered in the store before it is acknowledged, together with the count and digest of exactly those events.

use crate::event::ConnectionIndex;
use crate::limits::PRODUCER_WINDOW;
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// What is remembered of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Its id.
    pub id: u64,
    /// The last sequence number up to which all of its events are processed.
    pub processed: u64,
    /// How many events that were.
    pub count: u64,
    /// [`digest`] over them, in their order.
    pub digest: u64,
}

/// Remembers producers beyond the life of the process.
pub trait ProducerStore: Send {
    /// Remembers `record` at `place`, so that a crash of the process at any moment leaves the old or the new one.
    fn remember(&mut self, place: usize, record: &ProducerRecord);
}

/// The digest of a sequence of events, continued by one: its number and the CRC32C in its frame. Recomputed by whoever
/// wants to prove that just these events were processed once each, in this order.
#[inline]
pub fn digest(before: u64, sequence: u64, crc: u32) -> u64 {
    // The multiplier is 2^64 divided by the golden ratio, which spreads neighbouring numbers.
    (before ^ sequence ^ (u64::from(crc) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// What a sequence number is to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next one.
    Next,
    /// One that was accepted before.
    Again,
    /// Numbers before it are missing.
    TooEarly,
    /// As many as may be are on their way to processors: it has to wait.
    Wait,
}

const WINDOW: usize = PRODUCER_WINDOW as usize;

struct Producer {
    record: ProducerRecord,
    /// The last number that became an event.
    accepted: u64,
    /// The connection that it sends on.
    connection: Option<ConnectionIndex>,
    /// The checksums of events that are under way or home, and who of them is home.
    crcs: [u32; WINDOW],
    home: [bool; WINDOW],
}

#[inline]
fn place_of(sequence: u64) -> usize {
    (sequence % PRODUCER_WINDOW) as usize
}

/// The producers of one shard.
pub struct Producers {
    producers: Vec<Producer>,
    producers_max: usize,
    index: HashTable<u32>,
    // Seeded: ids are chosen by strangers.
    hasher: RandomState,
    store: Option<Box<dyn ProducerStore>>,
}

impl Producers {
    /// Allocates room for `producers_max` and enters those that are remembered.
    pub fn allocate(
        producers_max: usize,
        remembered: &[ProducerRecord],
        store: Option<Box<dyn ProducerStore>>,
    ) -> Producers {
        let mut table = Producers {
            producers: Vec::with_capacity(producers_max.max(remembered.len())),
            producers_max: producers_max.max(remembered.len()),
            index: HashTable::with_capacity(producers_max.max(remembered.len())),
            hasher: RandomState::new(),
            store,
        };
        remembered.iter().for_each(|record| {
            table.enter(*record);
        });
        table
    }

    fn enter(&mut self, record: ProducerRecord) -> u32 {
        let place = self.producers.len() as u32;
        self.producers.push(Producer {
            record,
            accepted: record.processed,
            connection: None,
            crcs: [0; WINDOW],
            home: [false; WINDOW],
        });
        let (producers, hasher) = (&self.producers, &self.hasher);
        self.index.insert_unique(hasher.hash_one(record.id), place, |place| {
            hasher.hash_one(producers[*place as usize].record.id)
        });
        place
    }

    /// A producer says hello on a connection: its place, and the connection that it was on until now. `None` when there
    /// are as many producers as there may be.
    #[cold]
    pub fn hello(&mut self, id: u64, connection: ConnectionIndex) -> Option<(u32, Option<ConnectionIndex>)> {
        let producers = &self.producers;
        let known = self.index.find(self.hasher.hash_one(id), |p| producers[*p as usize].record.id == id);
        let place = match known {
            Some(place) => *place,
            None if self.producers.len() == self.producers_max => return None,
            None => self.enter(ProducerRecord { id, ..ProducerRecord::default() }),
        };
        let before = self.producers[place as usize].connection.replace(connection);
        Some((place, before.filter(|before| *before != connection)))
    }

    /// The connection is gone.
    #[cold]
    pub fn left(&mut self, place: u32, connection: ConnectionIndex) {
        let producer = &mut self.producers[place as usize];
        if producer.connection == Some(connection) {
            producer.connection = None;
        }
    }

    /// A producer's id.
    #[inline]
    pub fn id(&self, place: u32) -> u64 {
        self.producers[place as usize].record.id
    }

    /// What `sequence` is to the producer.
    #[inline]
    pub fn turn(&self, place: u32, sequence: u64) -> Turn {
        let producer = &self.producers[place as usize];
        if sequence <= producer.accepted {
            Turn::Again
        } else if sequence != producer.accepted + 1 {
            Turn::TooEarly
        } else if sequence - producer.record.processed > PRODUCER_WINDOW {
            Turn::Wait
        } else {
            Turn::Next
        }
    }

    /// The next event of the producer was accepted; `crc` is its frame's checksum.
    #[inline]
    pub fn accepted(&mut self, place: u32, crc: u32) {
        let producer = &mut self.producers[place as usize];
        producer.accepted += 1;
        let at = place_of(producer.accepted);
        producer.crcs[at] = crc;
        producer.home[at] = false;
    }

    /// An event of the producer came home from its processor. Returns the connection to acknowledge it on, if that made
    /// `processed` go on.
    #[inline]
    pub fn processed(&mut self, place: u32, sequence: u64) -> Option<ConnectionIndex> {
        let producer = &mut self.producers[place as usize];
        producer.home[place_of(sequence)] = true;
        let mut record = producer.record;
        while record.processed < producer.accepted && producer.home[place_of(record.processed + 1)] {
            record.processed += 1;
            record.count += 1;
            let at = place_of(record.processed);
            producer.home[at] = false;
            record.digest = digest(record.digest, record.processed, producer.crcs[at]);
        }
        if record.processed == producer.record.processed {
            return None;
        }
        producer.record = record;
        producer.connection
    }

    /// Remembers a producer as it is now. Before its acknowledgement goes out.
    #[inline]
    pub fn remember(&mut self, place: u32) {
        if let Some(store) = &mut self.store {
            store.remember(place as usize, &self.producers[place as usize].record);
        }
    }

    /// What is known of a producer.
    #[inline]
    pub fn record(&self, place: u32) -> &ProducerRecord {
        &self.producers[place as usize].record
    }

    /// Whether all that was accepted of the producer is processed.
    #[inline]
    pub fn is_settled(&self, place: u32) -> bool {
        let producer = &self.producers[place as usize];
        producer.accepted == producer.record.processed
    }

    /// Whether that is so of every producer.
    pub fn are_settled(&self) -> bool {
        (0..self.producers.len() as u32).all(|place| self.is_settled(place))
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// All producers, in the order of their places.
    pub fn records(&self) -> impl Iterator<Item = &ProducerRecord> {
        self.producers.iter().map(|producer| &producer.record)
    }

    /// Remembers all of them, at the end.
    #[cold]
    pub fn remember_all(&mut self) {
        (0..self.producers.len() as u32).for_each(|place| self.remember(place));
    }
}

impl std::fmt::Debug for Producers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producers").field("producers", &self.producers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: ConnectionIndex = ConnectionIndex(1);

    fn accept(producers: &mut Producers, place: u32, sequences: std::ops::RangeInclusive<u64>) {
        for sequence in sequences {
            assert_eq!(producers.turn(place, sequence), Turn::Next);
            producers.accepted(place, sequence as u32);
        }
    }

    #[test]
    fn a_number_is_accepted_once_and_in_its_turn() {
        let mut producers = Producers::allocate(2, &[], None);
        let (place, before) = producers.hello(77, ONE).expect("room");
        assert_eq!(before, None);
        assert_eq!(producers.turn(place, 2), Turn::TooEarly);
        accept(&mut producers, place, 1..=3);
        assert_eq!((producers.turn(place, 1), producers.turn(place, 3)), (Turn::Again, Turn::Again));
        assert_eq!(producers.processed(place, 2), None, "1 is still under way");
        assert_eq!(producers.processed(place, 1), Some(ONE));
        assert_eq!((producers.record(place).processed, producers.is_settled(place)), (2, false));
        assert_eq!(producers.processed(place, 3), Some(ONE));
        assert!(producers.is_settled(place) && producers.are_settled());
        let digest = (1..=3).fold(0, |before, sequence| digest(before, sequence, sequence as u32));
        assert_eq!(*producers.record(place), ProducerRecord { id: 77, processed: 3, count: 3, digest });
    }

    #[test]
    fn what_is_remembered_is_not_accepted_again() {
        let record = ProducerRecord { id: 5, processed: 40, count: 40, digest: 9 };
        let mut producers = Producers::allocate(1, &[record], None);
        let (place, _) = producers.hello(5, ONE).expect("known");
        assert_eq!((producers.turn(place, 40), producers.turn(place, 41)), (Turn::Again, Turn::Next));
        assert!(producers.hello(6, ONE).is_none(), "one producer at most");
    }

    #[test]
    fn a_newer_connection_supersedes() {
        let mut producers = Producers::allocate(1, &[], None);
        let (place, _) = producers.hello(5, ONE).expect("room");
        assert_eq!(producers.hello(5, ConnectionIndex(2)).expect("known"), (place, Some(ONE)));
        producers.left(place, ONE);
        accept(&mut producers, place, 1..=1);
        assert_eq!(producers.processed(place, 1), Some(ConnectionIndex(2)));
    }

    #[test]
    fn the_window_makes_a_producer_wait() {
        let mut producers = Producers::allocate(1, &[], None);
        let (place, _) = producers.hello(5, ONE).expect("room");
        accept(&mut producers, place, 1..=PRODUCER_WINDOW);
        assert_eq!(producers.turn(place, PRODUCER_WINDOW + 1), Turn::Wait);
        producers.processed(place, 1);
        assert_eq!(producers.turn(place, PRODUCER_WINDOW + 1), Turn::Next);
    }

    proptest! {
        /// In whatever order events come home, `processed` is the longest run from the start, each counted once.
        #[test]
        fn processed_is_the_run_from_the_start(order in Just((1..=200u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut producers = Producers::allocate(1, &[], None);
            let (place, _) = producers.hello(5, ONE).expect("room");
            accept(&mut producers, place, 1..=200);
            let mut home = std::collections::BTreeSet::new();
            for sequence in order {
                home.insert(sequence);
                producers.processed(place, sequence);
                let run = (1..=200).take_while(|n| home.contains(n)).count() as u64;
                prop_assert_eq!((producers.record(place).processed, producers.record(place).count), (run, run));
            }
        }
    }
}

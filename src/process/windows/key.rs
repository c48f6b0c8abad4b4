//! Hot path: what windows are kept of: topics and instruments, and the table that tells them apart.
//!
//! Invariant: two keys are one only if all of what they are compared by is equal: topics up to 255 bytes as they are, longer
//! ones, which only version 1 frames can carry, by 255 bytes, length and hash.

use crate::event::{Protocol, ShardId};
use crate::limits::WINDOW_TOPIC_BYTES;
use crate::wire::Instrument;
use crate::wire::native_v2::TOPIC_BYTES_MAX;
use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// A key as it stands in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyView<'a> {
    /// A topic's name.
    Topic(&'a [u8]),
    /// A topic's number.
    TopicId(u32),
    /// An instrument, of a feed and protocol: two venues' symbols are two.
    Symbol { shard: Option<ShardId>, feed: u32, protocol: Protocol, instrument: Instrument },
}

/// The beginning of a topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicHead {
    head: [u8; WINDOW_TOPIC_BYTES],
    /// Bytes of the whole name.
    pub bytes: u32,
    /// Of the whole name, the same in each run: it tells names with the same beginning apart.
    pub hash: u64,
}

impl TopicHead {
    fn of(name: &[u8]) -> TopicHead {
        let mut head = [0; WINDOW_TOPIC_BYTES];
        let shown = name.len().min(WINDOW_TOPIC_BYTES);
        head[..shown].copy_from_slice(&name[..shown]);
        TopicHead { head, bytes: u32::try_from(name.len()).unwrap_or(u32::MAX), hash: hash_of_name(name) }
    }

    /// The name, or its first [`WINDOW_TOPIC_BYTES`] bytes.
    pub fn name(&self) -> &[u8] {
        &self.head[..WINDOW_TOPIC_BYTES.min(self.bytes as usize)]
    }

    /// Whether the name is longer than what is kept of it.
    pub fn is_cut(&self) -> bool {
        self.bytes as usize > WINDOW_TOPIC_BYTES
    }
}

/// What a closed window is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowKey {
    /// A topic.
    Topic(TopicHead),
    /// A topic by its number.
    TopicId(u32),
    /// An instrument.
    Symbol {
        /// The shard, where the next is one of its own listeners or connectors; feeds may come in by several.
        shard: Option<ShardId>,
        /// Index of the feed or inlet, as [`crate::process::Subject::feed`].
        feed: u32,
        /// The feed's protocol.
        protocol: Protocol,
        /// What is traded, as the venue names it.
        instrument: Instrument,
    },
}

#[inline]
fn hash_of_name(name: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(name)
}

/// A key as the table keeps it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "most keys are topics, and all have their place set aside")]
enum Kept {
    Topic { name: [u8; TOPIC_BYTES_MAX], bytes: u32, hash: u64 },
    TopicId(u32),
    Symbol { shard: Option<ShardId>, feed: u32, protocol: Protocol, instrument: Instrument },
}

impl Kept {
    fn of(key: KeyView<'_>) -> Kept {
        match key {
            KeyView::Topic(whole) => {
                let mut name = [0; TOPIC_BYTES_MAX];
                let kept = whole.len().min(TOPIC_BYTES_MAX);
                name[..kept].copy_from_slice(&whole[..kept]);
                let bytes = u32::try_from(whole.len()).unwrap_or(u32::MAX);
                Kept::Topic { name, bytes, hash: hash_of_name(whole) }
            }
            KeyView::TopicId(id) => Kept::TopicId(id),
            KeyView::Symbol { shard, feed, protocol, instrument } => {
                Kept::Symbol { shard, feed, protocol, instrument }
            }
        }
    }

    #[inline]
    fn is(&self, key: KeyView<'_>) -> bool {
        match (self, key) {
            (Kept::Topic { name, bytes, hash }, KeyView::Topic(other)) => {
                let kept = other.len().min(TOPIC_BYTES_MAX);
                *bytes as usize == other.len()
                    && name[..kept] == other[..kept]
                    && (kept == other.len() || *hash == hash_of_name(other))
            }
            (Kept::TopicId(id), KeyView::TopicId(other)) => *id == other,
            (
                Kept::Symbol { shard, feed, protocol, instrument },
                KeyView::Symbol {
                    shard: its_shard,
                    feed: its_feed,
                    protocol: its_protocol,
                    instrument: other,
                },
            ) => {
                *instrument == other && *feed == its_feed && *protocol == its_protocol && *shard == its_shard
            }
            _ => false,
        }
    }

    fn view(&self) -> WindowKey {
        match *self {
            Kept::Topic { name, bytes, hash } => {
                let whole = &name[..TOPIC_BYTES_MAX.min(bytes as usize)];
                WindowKey::Topic(TopicHead { bytes, hash, ..TopicHead::of(whole) })
            }
            Kept::TopicId(id) => WindowKey::TopicId(id),
            Kept::Symbol { shard, feed, protocol, instrument } => {
                WindowKey::Symbol { shard, feed, protocol, instrument }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Kept,
    hash: u64,
    /// The newest pane that holds something.
    last_pane: u64,
}

/// The keys that have panes.
pub(super) struct KeyTable {
    index: HashTable<u32>,
    hasher: RandomState,
    slots: Box<[Slot]>,
    free: Vec<u32>,
    /// The slots in use, in an order that hangs on the events alone.
    active: Vec<u32>,
}

impl KeyTable {
    /// Room for this many keys.
    pub(super) fn allocate(keys_max: usize) -> KeyTable {
        let empty = Slot { key: Kept::TopicId(0), hash: 0, last_pane: 0 };
        KeyTable {
            // Twice the keys, so that the table tidies up removed ones in place and never grows.
            index: HashTable::with_capacity(2 * keys_max),
            hasher: RandomState::default(),
            slots: std::iter::repeat_n(empty, keys_max).collect(),
            free: (0..keys_max as u32).rev().collect(),
            active: Vec::with_capacity(keys_max),
        }
    }

    /// The slots in use.
    pub(super) fn active(&self) -> &[u32] {
        &self.active
    }

    /// The slot of a key, a new one if there was none; `None` when there is no room.
    #[inline]
    pub(super) fn slot(&mut self, key: KeyView<'_>) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        if let Some(slot) = self.index.find(hash, |slot| slots[*slot as usize].key.is(key)) {
            return Some(*slot);
        }
        self.open(key, hash)
    }

    #[cold]
    #[inline(never)]
    fn open(&mut self, key: KeyView<'_>, hash: u64) -> Option<u32> {
        let slot = self.free.pop()?;
        self.slots[slot as usize] = Slot { key: Kept::of(key), hash, last_pane: 0 };
        let slots = &self.slots;
        self.index.insert_unique(hash, slot, |slot| slots[*slot as usize].hash);
        self.active.push(slot);
        Some(slot)
    }

    /// Notes that a key's pane holds something.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32, pane: u64) {
        let slot = &mut self.slots[slot as usize];
        slot.last_pane = slot.last_pane.max(pane);
    }

    /// A key's newest pane.
    #[inline]
    pub(super) fn last_pane(&self, slot: u32) -> u64 {
        self.slots[slot as usize].last_pane
    }

    /// The key in a slot.
    pub(super) fn key(&self, slot: u32) -> WindowKey {
        self.slots[slot as usize].key.view()
    }

    /// Frees the keys whose newest pane `is_over`.
    pub(super) fn free_where(&mut self, is_over: impl Fn(u64) -> bool) {
        let mut at = 0;
        while let Some(slot) = self.active.get(at).copied() {
            let Slot { hash, last_pane, .. } = self.slots[slot as usize];
            if !is_over(last_pane) {
                at += 1;
                continue;
            }
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
            self.active.swap_remove(at);
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::allocations_of_this_thread;

    fn symbol(number: u64) -> KeyView<'static> {
        let instrument = Instrument::Number(number);
        KeyView::Symbol { shard: None, feed: 0, protocol: Protocol::CmeMdp3, instrument }
    }

    #[test]
    fn keys_are_told_apart_exactly() {
        let long = [b'x'; 300];
        let mut other = long;
        other[299] = b'y';
        let of = |shard, feed, protocol, instrument| KeyView::Symbol { shard, feed, protocol, instrument };
        let number = |feed, protocol| of(None, feed, protocol, Instrument::Number(7));
        let keys = [
            KeyView::Topic(b"a"),
            KeyView::Topic(b"ab"),
            KeyView::Topic(&long[..255]),
            KeyView::Topic(&long[..254]),
            KeyView::Topic(&long),
            KeyView::Topic(&other),
            KeyView::TopicId(7),
            KeyView::TopicId(8),
            number(0, Protocol::CmeMdp3),
            number(1, Protocol::CmeMdp3),
            number(0, Protocol::Moldudp64Itch50),
            of(Some(ShardId(0)), 0, Protocol::CmeMdp3, Instrument::Number(7)),
            of(None, 0, Protocol::CmeMdp3, Instrument::Implied(7)),
        ];
        let mut table = KeyTable::allocate(keys.len());
        let slots: Vec<_> = keys.iter().map(|key| table.slot(*key).expect("has room")).collect();
        let again: Vec<_> = keys.iter().map(|key| table.slot(*key).expect("is there")).collect();
        assert_eq!(slots, again);
        assert_eq!(table.active().len(), keys.len());
        assert_eq!(table.slot(KeyView::Topic(b"one more")), None);
        let WindowKey::Topic(head) = table.key(slots[5]) else { panic!("a topic") };
        assert_eq!((head.name(), head.bytes, head.is_cut()), (&long[..WINDOW_TOPIC_BYTES], 300, true));
        assert_eq!(head.hash, hash_of_name(&other));
    }

    #[test]
    fn keys_come_and_go_without_allocation() {
        let mut table = KeyTable::allocate(64);
        let before = allocations_of_this_thread();
        for number in 0..100_000u64 {
            let slot = table.slot(symbol(number)).expect("has room");
            table.touch(slot, number);
            table.free_where(|pane| pane + 63 <= number);
        }
        assert_eq!(allocations_of_this_thread() - before, 0);
        assert_eq!(table.active().len(), 63);
    }
}

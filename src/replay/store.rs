//! The messages of a session by their numbers, as the SoupBinTCP packets that carry them, in bounded memory.
//!
//! Invariant: only the oldest messages are dropped; where every message was appended, what is kept is consecutive and
//! ends with the newest one.

use crate::wire::soupbin;
use std::collections::VecDeque;

/// Bytes of packets in a chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// Packets in a chunk at most: as many as a frame of 64 KiB has room for, so that a frame needs one new chunk at most.
const CHUNK_PACKETS: usize = 1 << 15;

/// Memory of a chunk with its index.
const CHUNK_FOOTPRINT: usize = CHUNK_BYTES + CHUNK_PACKETS * size_of::<u32>();

/// Where a packet begins that is not there.
const ABSENT: u32 = u32::MAX;

/// Missing numbers that are kept places for, in case their messages come late; behind a longer hole a chunk begins.
const HOLE_MAX: u64 = 1_024;

struct Chunk {
    /// Number of its first message.
    first: u64,
    bytes: Vec<u8>,
    /// Where each packet begins.
    starts: Vec<u32>,
}

/// What became of a message that was given with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is kept.
    New,
    /// One of this number is kept already.
    Known,
    /// It comes too late: there is no place for its number any more, or it is longer than a packet.
    NotKept,
}

/// Why there is no message of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The number is that of the next message, or beyond.
    NotYet,
    /// It was dropped for memory.
    Dropped,
    /// It was never given.
    Missing,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    fn has_room(&self, bytes: usize, packets: usize) -> bool {
        self.bytes.len() + bytes <= CHUNK_BYTES && self.starts.len() + packets <= CHUNK_PACKETS
    }
}

/// How far a client has come: bytes of the packet of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Number of the message.
    pub(super) sequence: u64,
    /// Bytes of its packet that are sent.
    pub(super) sent: usize,
}

/// The messages that can be sent.
pub(super) struct MessageStore {
    chunks: VecDeque<Chunk>,
    chunks_max: usize,
    next: u64,
    /// Number behind the newest message that was dropped; 0 while none was.
    dropped_end: u64,
}

impl MessageStore {
    /// An empty store that takes so much memory at most (but three chunks of 1 MiB in any case).
    pub(super) fn new(memory_bytes: usize) -> MessageStore {
        let chunks_max = MessageStore::chunks_within(memory_bytes);
        MessageStore { chunks: VecDeque::new(), chunks_max, next: 1, dropped_end: 0 }
    }

    /// An empty store whose first message has this number, and whose owner bounds its memory.
    pub(super) fn starting_at(first: u64) -> MessageStore {
        MessageStore { chunks: VecDeque::new(), chunks_max: usize::MAX, next: first, dropped_end: 0 }
    }

    /// Chunks that so much memory has room for: three at least.
    pub(super) fn chunks_within(memory_bytes: usize) -> usize {
        (memory_bytes / CHUNK_FOOTPRINT).max(3)
    }

    /// Chunks in use.
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Number of the message that is released next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Number of the oldest message that is kept; the next one's where there is none.
    pub(super) fn first_kept(&self) -> u64 {
        self.chunks.front().map_or(self.next, |chunk| chunk.first)
    }

    /// Whether there may be no room for the messages of another frame: they may begin another chunk.
    pub(super) fn is_full(&self) -> bool {
        self.chunks.len() >= self.chunks_max
    }

    /// Number behind the newest message that [`MessageStore::drop_oldest`] would drop.
    pub(super) fn oldest_end(&self) -> u64 {
        self.chunks.front().map_or(self.next, Chunk::end)
    }

    /// Drops the oldest messages, a chunk of them; how many that were.
    pub(super) fn drop_oldest(&mut self) -> u64 {
        let Some(chunk) = self.chunks.pop_front() else { return 0 };
        self.dropped_end = chunk.end();
        chunk.starts.iter().filter(|start| **start != ABSENT).count() as u64
    }

    /// Keeps a message under its number, in whichever order they come.
    pub(super) fn place(&mut self, number: u64, body: &[u8]) -> Placed {
        if number < self.next {
            return self.place_late(number, body);
        }
        // The last number has none behind it, so nothing is kept under it.
        if number == u64::MAX || body.len() >= usize::from(u16::MAX) {
            return Placed::NotKept;
        }
        let hole = number - self.next;
        let bytes = soupbin::HEADER_BYTES + body.len();
        if let Some(chunk) = self.chunks.back_mut()
            && hole <= HOLE_MAX
            && chunk.has_room(bytes, hole as usize + 1)
        {
            chunk.starts.resize(chunk.starts.len() + hole as usize, ABSENT);
        }
        self.next = number;
        if self.append(body) { Placed::New } else { Placed::NotKept }
    }

    /// Fills a hole.
    fn place_late(&mut self, number: u64, body: &[u8]) -> Placed {
        let behind = self.chunks.partition_point(|chunk| chunk.first <= number);
        let chunk = behind.checked_sub(1).and_then(|index| self.chunks.get_mut(index));
        let Some(chunk) = chunk.filter(|chunk| number < chunk.end()) else { return Placed::NotKept };
        let index = (number - chunk.first) as usize;
        if chunk.starts[index] != ABSENT {
            return Placed::Known;
        }
        let start = chunk.bytes.len() as u32;
        let has_room = chunk.has_room(soupbin::HEADER_BYTES + body.len(), 0);
        if !has_room || !soupbin::append_sequenced(body, &mut chunk.bytes) {
            return Placed::NotKept;
        }
        chunk.starts[index] = start;
        Placed::New
    }

    /// The message of this number.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn body(&self, number: u64) -> Result<&[u8], Absence> {
        if number >= self.next {
            return Err(Absence::NotYet);
        }
        let absent = if number < self.dropped_end { Absence::Dropped } else { Absence::Missing };
        let chunk = self.find(number).ok_or(absent)?;
        let start = chunk.starts[(number - chunk.first) as usize];
        if start == ABSENT {
            return Err(Absence::Missing);
        }
        let (length, packet) = chunk.bytes[start as usize..].split_first_chunk::<2>().ok_or(absent)?;
        // The type stands in front of the body.
        packet.get(1..usize::from(u16::from_be_bytes(*length))).ok_or(absent)
    }

    /// Releases a message under the next number; false for one that no packet has room for.
    pub(super) fn append(&mut self, body: &[u8]) -> bool {
        let bytes = soupbin::HEADER_BYTES + body.len();
        let goes_on = |chunk: &Chunk| chunk.end() == self.next && chunk.has_room(bytes, 1);
        if !self.chunks.back().is_some_and(goes_on) {
            self.chunks.push_back(Chunk {
                first: self.next,
                bytes: Vec::with_capacity(CHUNK_BYTES),
                starts: Vec::with_capacity(CHUNK_PACKETS),
            });
        }
        let Some(chunk) = self.chunks.back_mut() else { return false };
        let start = chunk.bytes.len() as u32;
        if !soupbin::append_sequenced(body, &mut chunk.bytes) {
            return false;
        }
        chunk.starts.push(start);
        self.next += 1;
        true
    }

    fn find(&self, sequence: u64) -> Option<&Chunk> {
        let behind = self.chunks.partition_point(|chunk| chunk.first <= sequence);
        self.chunks.get(behind.checked_sub(1)?).filter(|chunk| sequence < chunk.end())
    }

    /// Bytes from a cursor on, as far as they lie in one piece; none for messages that are not released yet (or dropped).
    /// For stores whose messages were all appended, as `advance` is: late ones do not lie in order.
    pub(super) fn piece(&self, cursor: Cursor) -> &[u8] {
        self.find(cursor.sequence).map_or(&[], |chunk| {
            let start = chunk.starts[(cursor.sequence - chunk.first) as usize] as usize;
            &chunk.bytes[start + cursor.sent..]
        })
    }

    /// Where a cursor comes by so many bytes of its piece.
    pub(super) fn advance(&self, cursor: Cursor, bytes: usize) -> Cursor {
        let Some(chunk) = self.find(cursor.sequence) else { return cursor };
        let start = chunk.starts[(cursor.sequence - chunk.first) as usize] as usize;
        let place = start + cursor.sent + bytes;
        if place >= chunk.bytes.len() {
            return Cursor { sequence: chunk.end(), sent: 0 };
        }
        let index = chunk.starts.partition_point(|start| *start as usize <= place) - 1;
        Cursor { sequence: chunk.first + index as u64, sent: place - chunk.starts[index] as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message n has n % 50 + 1 bytes, all n.
    fn filled(messages: u64) -> MessageStore {
        let mut store = MessageStore::new(0);
        for n in 1..=messages {
            while store.is_full() {
                store.drop_oldest();
            }
            assert!(store.append(&vec![n as u8; (n % 50) as usize + 1]));
        }
        store
    }

    /// Takes everything from a number on in steps of so many bytes.
    fn taken(store: &MessageStore, from: u64, step: usize) -> Vec<u8> {
        let mut cursor = Cursor { sequence: from, sent: 0 };
        let mut all = Vec::new();
        loop {
            let piece = store.piece(cursor);
            if piece.is_empty() {
                assert_eq!(cursor, Cursor { sequence: store.next(), sent: 0 });
                return all;
            }
            let bytes = piece.len().min(step);
            all.extend(&piece[..bytes]);
            cursor = store.advance(cursor, bytes);
        }
    }

    #[test]
    fn every_step_and_every_beginning_gives_the_same_packets() {
        let store = filled(200);
        let mut expected = Vec::new();
        for n in 1..=200u64 {
            assert!(soupbin::append_sequenced(&vec![n as u8; (n % 50) as usize + 1], &mut expected));
        }
        for step in [1, 2, 7, 53, usize::MAX] {
            assert_eq!(taken(&store, 1, step), expected);
        }
        let second = 3 + 2;
        assert_eq!(taken(&store, 2, 10), expected[second..]);
        assert!(store.piece(Cursor { sequence: 201, sent: 0 }).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_kept() {
        let store = filled(500_000);
        assert_eq!(store.next(), 500_001);
        assert!(store.first_kept() > 300_000);
        assert!(store.chunks.len() <= store.chunks_max);
        assert!(store.chunks.iter().all(|chunk| chunk.bytes.capacity() == CHUNK_BYTES));
        let first = store.first_kept();
        assert_eq!(store.piece(Cursor { sequence: first, sent: 3 })[0], first as u8);
        assert!(store.piece(Cursor { sequence: first - 1, sent: 0 }).is_empty());
        let behind = taken(&store, first, 4_096).len();
        assert_eq!(behind, store.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>());
    }

    #[test]
    fn what_no_packet_has_room_for_is_not_taken() {
        let mut store = MessageStore::new(0);
        assert!(!store.append(&[0; 65_535]));
        assert!(store.append(&[0; 65_534]) && store.append(b""));
        assert_eq!(store.next(), 3);
    }

    #[test]
    fn placed_messages_are_found_by_their_numbers_whatever_came_first() {
        let mut store = MessageStore::starting_at(100);
        assert_eq!(store.body(100), Err(Absence::NotYet));
        for (number, expected) in [
            (100, Placed::New),
            (103, Placed::New),
            (101, Placed::New),
            (103, Placed::Known),
            // Behind a long hole a chunk begins, and what lies between two chunks has no place.
            (5_000, Placed::New),
            (104, Placed::NotKept),
            (99, Placed::NotKept),
            (u64::MAX, Placed::NotKept),
        ] {
            assert_eq!(store.place(number, &number.to_be_bytes()), expected, "{number}");
        }
        for number in [100, 101, 103, 5_000] {
            assert_eq!(store.body(number), Ok(&number.to_be_bytes()[..]));
        }
        assert_eq!(store.body(102), Err(Absence::Missing));
        assert_eq!((store.body(104), store.body(99)), (Err(Absence::Missing), Err(Absence::Missing)));
        assert_eq!((store.body(5_001), store.next()), (Err(Absence::NotYet), 5_001));
        assert_eq!(store.place(102, &[]), Placed::New);
        assert_eq!(store.body(102), Ok(&[][..]));
        assert_eq!((store.chunks(), store.drop_oldest()), (2, 4));
        assert_eq!((store.body(103), store.body(104)), (Err(Absence::Dropped), Err(Absence::Missing)));
        assert_eq!(store.place(103, &[1]), Placed::NotKept);
        assert!(store.body(5_000).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_order_keeps_every_message_within_a_short_stretch(
            numbers in proptest::collection::vec(1_u64..900, 1..200),
        ) {
            let mut store = MessageStore::starting_at(1);
            let mut kept = std::collections::BTreeMap::new();
            for (index, number) in numbers.iter().enumerate() {
                let body = vec![index as u8; index % 7];
                // Nothing stands before the first one that came, so there is no place for earlier ones.
                let placed = store.place(*number, &body);
                let expected = match kept.contains_key(number) {
                    true => Placed::Known,
                    false if *number < *numbers.first().expect("there is one") => Placed::NotKept,
                    false => Placed::New,
                };
                proptest::prop_assert_eq!(placed, expected);
                if placed == Placed::New {
                    kept.insert(*number, body);
                }
            }
            for number in 1..900 {
                proptest::prop_assert_eq!(store.body(number).ok(), kept.get(&number).map(Vec::as_slice));
            }
        }
    }
}

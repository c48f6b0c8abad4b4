//! The messages that were released, as the packets that carry them, in bounded memory.
//!
//! Invariant: what is kept is consecutive and ends with the newest message; only the oldest ones are dropped.

use crate::wire::soupbin;
use std::collections::VecDeque;

/// Bytes of packets in a chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// Packets in a chunk at most: as many as a frame of 64 KiB has room for, so that a frame needs one new chunk at most.
const CHUNK_PACKETS: usize = 1 << 15;

/// Memory of a chunk with its index.
const CHUNK_FOOTPRINT: usize = CHUNK_BYTES + CHUNK_PACKETS * size_of::<u32>();

struct Chunk {
    /// Number of its first message.
    first: u64,
    bytes: Vec<u8>,
    /// Where each packet begins.
    starts: Vec<u32>,
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
}

impl MessageStore {
    /// An empty store that takes so much memory at most (but three chunks of 1 MiB in any case).
    pub(super) fn new(memory_bytes: usize) -> MessageStore {
        let chunks_max = (memory_bytes / CHUNK_FOOTPRINT).max(3);
        MessageStore { chunks: VecDeque::new(), chunks_max, next: 1 }
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

    /// Drops the oldest messages, a chunk of them.
    pub(super) fn drop_oldest(&mut self) {
        self.chunks.pop_front();
    }

    /// Releases a message; false for one that no packet has room for.
    pub(super) fn append(&mut self, body: &[u8]) -> bool {
        let bytes = soupbin::HEADER_BYTES + body.len();
        if !self.chunks.back().is_some_and(|chunk| chunk.has_room(bytes, 1)) {
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
}

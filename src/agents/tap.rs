//! Hot path: copies of realtime events for the batch processor's windows: trades are urgent, and are added up all the same.
//!
//! Invariant: a copy is no event: it has no fate, and is in no book. What finds no place is counted.

use crate::event::{EventHeader, Nanos, Protocol, ShardId};
use crate::limits::TAPPED_MAX;
use crate::process::Subject;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the largest message that is copied: every trade of ITCH and IEX, and CME trade summaries of some ten entries.
const COPY_BYTES_MAX: usize = 432;

/// Copies taken in one turn: as many as a turn of the realtime processor makes at most, so that on one thread none is lost.
const TURN_MAX: usize = 1_024;

/// A copy of an event.
#[derive(Clone, Copy)]
struct Copied {
    header: EventHeader,
    now: Nanos,
    feed: u32,
    payload_bytes: u16,
    shard: ShardId,
    payload: [u8; COPY_BYTES_MAX],
}

/// The realtime processor's end.
pub struct TapPort {
    ring: Option<Producer<Copied>>,
    dropped: Arc<AtomicU64>,
}

/// The batch processor's end.
pub struct TapReader {
    ring: Consumer<Copied>,
    dropped: Arc<AtomicU64>,
}

/// A way for copies.
pub fn tap_way() -> (TapPort, TapReader) {
    let (producer, ring) = RingBuffer::new(TAPPED_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    (TapPort { ring: Some(producer), dropped: Arc::clone(&dropped) }, TapReader { ring, dropped })
}

impl TapPort {
    /// Copies an event, if it is market data whose messages are read.
    #[inline]
    pub fn copy(&mut self, subject: &Subject<'_>, now: Nanos) {
        use Protocol::{CmeMdp3, IexTp, Moldudp64Itch50, SoupbintcpItch50};
        if matches!(subject.protocol(), CmeMdp3 | IexTp | Moldudp64Itch50 | SoupbintcpItch50) {
            self.push(subject, now);
        }
    }

    fn push(&mut self, subject: &Subject<'_>, now: Nanos) {
        let Some(ring) = &mut self.ring else { return };
        let bytes = subject.payload.len();
        let mut is_pushed = false;
        if bytes <= COPY_BYTES_MAX {
            let mut payload = [0; COPY_BYTES_MAX];
            payload[..bytes].copy_from_slice(subject.payload);
            let (header, feed, shard) = (*subject.header, subject.feed, subject.shard);
            let copied = Copied { header, now, feed, payload_bytes: bytes as u16, shard, payload };
            is_pushed = ring.push(copied).is_ok();
        }
        if !is_pushed {
            // Relaxed: a count, which orders nothing; this is its only writer.
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Nothing more will be copied.
    pub fn close(&mut self) {
        self.ring = None;
    }
}

impl TapReader {
    /// Shows what was copied since, up to a turn's worth, each with when it was processed. Returns how many.
    #[inline]
    pub fn drain(&mut self, mut show: impl FnMut(&Subject<'_>, Nanos)) -> usize {
        let count = self.ring.slots().min(TURN_MAX);
        if count == 0 {
            return 0;
        }
        let Ok(chunk) = self.ring.read_chunk(count) else { return 0 };
        for copied in chunk {
            let payload = &copied.payload[..usize::from(copied.payload_bytes)];
            let subject = Subject { shard: copied.shard, feed: copied.feed, header: &copied.header, payload };
            show(&subject, copied.now);
        }
        count
    }

    /// Whether nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }

    /// Copies that found no place, or were too large for one.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

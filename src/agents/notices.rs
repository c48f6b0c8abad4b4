//! Hot path: the way of notices from a shard to a thread that may log, list and count them.
//!
//! Invariant: telling never waits and never allocates; what finds no place is counted.

use crate::event::ShardId;
use crate::feed::{Notice, NoticeLog};
use crate::limits::NOTICES_MAX;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shard's end.
pub struct NoticePort {
    ring: Option<Producer<Notice>>,
    dropped: Arc<AtomicU64>,
}

/// The other end.
pub struct NoticeReader {
    /// The shard that tells.
    pub shard: ShardId,
    ring: Consumer<Notice>,
    dropped: Arc<AtomicU64>,
}

/// A way for the notices of one shard.
pub fn notice_way(shard: ShardId) -> (NoticePort, NoticeReader) {
    let (producer, consumer) = RingBuffer::new(NOTICES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let port = NoticePort { ring: Some(producer), dropped: Arc::clone(&dropped) };
    (port, NoticeReader { shard, ring: consumer, dropped })
}

impl NoticePort {
    /// A port whose notices nobody wants.
    pub(super) fn closed() -> NoticePort {
        NoticePort { ring: None, dropped: Arc::default() }
    }

    /// Tells one.
    pub(super) fn tell(&mut self, notice: &Notice) {
        let Some(ring) = &mut self.ring else { return };
        if ring.push(*notice).is_err() {
            // Relaxed: a count, which orders nothing; this is its only writer.
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

impl NoticeReader {
    /// Takes what was told since, shows it, and enters it in `log`.
    pub fn drain(&mut self, log: &mut NoticeLog, mut show: impl FnMut(&Notice)) {
        while let Ok(notice) = self.ring.pop() {
            show(&notice);
            log.take(notice);
        }
        log.dropped = self.dropped.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Event;

    #[test]
    fn what_is_told_is_counted_and_what_finds_no_place_too() {
        let (mut port, mut reader) = notice_way(ShardId(3));
        let event = Event::Epoch { first: 1 };
        let notice = Notice { at_ns: 1, stream: 0, feed: 0, unit: 0, epoch: 0, line: 0, event };
        (0..NOTICES_MAX + 5).for_each(|_| port.tell(&notice));
        let (mut log, mut shown) = (NoticeLog::default(), 0);
        reader.drain(&mut log, |_| shown += 1);
        assert_eq!((shown, log.kept.len(), log.dropped), (NOTICES_MAX, NOTICES_MAX, 5));
        assert_eq!(log.counts[notice.event.topic()], NOTICES_MAX as u64);
    }
}

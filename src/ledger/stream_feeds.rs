//! Hot path: which feed each stream of a shard belongs to, for those who see its events.
//!
//! Invariant: a stream's feed is known before its first event is in a queue, and never changes.

use crate::limits::STREAMS_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The feeds of a shard's streams. Cloning shares them.
#[derive(Clone, Debug)]
pub struct StreamFeeds {
    feeds: Arc<[AtomicU32]>,
}

impl Default for StreamFeeds {
    fn default() -> StreamFeeds {
        StreamFeeds { feeds: (0..STREAMS_MAX).map(|_| AtomicU32::new(u32::MAX)).collect() }
    }
}

impl StreamFeeds {
    /// A stream belongs to a feed. Relaxed: the queue orders it with the stream's events.
    pub fn set(&self, stream: u32, feed: u32) {
        if let Some(place) = self.feeds.get(stream as usize) {
            place.store(feed, Ordering::Relaxed);
        }
    }

    /// The index of a stream's feed; `u32::MAX` for streams that are not known.
    #[inline]
    pub fn feed_of(&self, stream: u32) -> u32 {
        self.feeds.get(stream as usize).map_or(u32::MAX, |feed| feed.load(Ordering::Relaxed))
    }
}

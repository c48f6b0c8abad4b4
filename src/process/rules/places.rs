//! Hot path: where an event came in, by the names of the configuration.
//!
//! Invariant: a place has one number over all shards, so that keys and patterns mean the same on each.

use super::super::{Subject, TopicPattern};

/// The names of feeds and inlets, in the order in which [`Subject::feed`] counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    names: Vec<String>,
    feeds: u32,
}

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number; that of one that nobody configured has [`UNNAMED`] set.
    pub(super) number: u32,
    /// Whether it is an inlet.
    pub(super) is_inlet: bool,
}

/// In the number of a place that nobody configured.
pub(super) const UNNAMED: u32 = 1 << 31;

impl Places {
    /// Of these names: the first `feeds` are feeds, the others listeners, connectors and the host's figures.
    pub fn new(names: Vec<String>, feeds: usize) -> Places {
        let feeds = feeds.min(names.len()) as u32;
        Places { names, feeds }
    }

    /// How many have names.
    pub(super) fn count(&self) -> u32 {
        self.names.len() as u32
    }

    /// The numbers of those whose names a pattern means.
    pub(super) fn meant<'a>(&'a self, pattern: &'a TopicPattern) -> impl Iterator<Item = u32> + 'a {
        let names = self.names.iter().zip(0u32..);
        names.filter(|(name, _)| pattern.matches(name.as_bytes())).map(|(_, number)| number)
    }

    /// The name of a feed or inlet; `None` where nobody configured it.
    pub fn name(&self, feed: u32) -> Option<&str> {
        self.names.get(feed as usize).map(String::as_str)
    }

    /// The place where an event came in. Feeds that nobody configured are told apart by their streams.
    #[inline]
    pub(super) fn of(&self, subject: &Subject<'_>) -> Place {
        /// Shards are told apart above the streams that each of them can have.
        const SHARD_SHIFT: u32 = 23;
        if subject.feed < self.count() {
            return Place { number: subject.feed, is_inlet: subject.feed >= self.feeds };
        }
        let stream = subject.header.stream & ((1 << SHARD_SHIFT) - 1);
        Place { number: UNNAMED | (u32::from(subject.shard.0) << SHARD_SHIFT) | stream, is_inlet: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHeader, ShardId};

    #[test]
    fn every_place_has_one_number_and_its_name() {
        let names = ["iex", "cme", "in", "host", "in2"];
        let places = Places::new(names.map(str::to_owned).into(), 2);
        let header = EventHeader { stream: 5, ..EventHeader::default() };
        let of = |shard, feed| {
            let place = places.of(&Subject { shard: ShardId(shard), feed, header: &header, payload: &[] });
            (place, places.name(feed))
        };
        let place = |number, is_inlet| Place { number, is_inlet };
        assert_eq!(of(0, 1), (place(1, false), Some("cme")));
        assert_eq!(of(1, 1), of(0, 1));
        assert_eq!(of(0, 2), (place(2, true), Some("in")));
        assert_eq!(of(1, 4), (place(4, true), Some("in2")));
        let unnamed = [(0, 5), (1, 5), (255, u32::MAX)].map(|(shard, feed)| of(shard, feed));
        assert!(unnamed.iter().all(|(place, name)| place.number >= UNNAMED && name.is_none()));
        assert!(unnamed[0] != unnamed[1] && unnamed[1] != unnamed[2]);
        let pattern = TopicPattern::parse("in*").expect("a pattern");
        assert_eq!(places.meant(&pattern).collect::<Vec<_>>(), [2, 4]);
    }
}

//! Hot path: where an event came in, by the names of the configuration.
//!
//! Invariant: a place has one number over all shards, so that keys and patterns mean the same on each.

use super::super::TopicPattern;
use crate::event::ShardId;

/// The names of feeds and inlets, in the order in which [`super::super::Subject::feed`] counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    feeds: Vec<String>,
    // By shard: names, and the number of the first of them.
    inlets: Vec<(u32, Vec<String>)>,
    count: u32,
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
    /// Of these feeds, which all shards have, and the inlets (listeners, connectors, the host's figures) of each shard.
    pub fn new(feeds: Vec<String>, inlets_by_shard: Vec<Vec<String>>) -> Places {
        let mut count = feeds.len() as u32;
        let mut numbered = |names: Vec<String>| {
            let first = count;
            count += names.len() as u32;
            (first, names)
        };
        let inlets = inlets_by_shard.into_iter().map(&mut numbered).collect();
        Places { feeds, inlets, count }
    }

    /// How many have names.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The numbers of those whose names a pattern means.
    pub(super) fn meant<'a>(&'a self, pattern: &'a TopicPattern) -> impl Iterator<Item = u32> + 'a {
        let inlets = self.inlets.iter().flat_map(|(_, names)| names);
        let names = self.feeds.iter().chain(inlets).zip(0u32..);
        names.filter(|(name, _)| pattern.matches(name.as_bytes())).map(|(_, number)| number)
    }

    /// The name of the place where an event of that shard came in; `None` where nobody configured it.
    pub fn name(&self, shard: ShardId, feed: u32) -> Option<&str> {
        let feed = feed as usize;
        let name = self.feeds.get(feed).or_else(|| {
            let (_, names) = self.inlets.get(usize::from(shard.0))?;
            names.get(feed.checked_sub(self.feeds.len())?)
        });
        name.map(String::as_str)
    }

    /// The place where an event of that shard came in.
    #[inline]
    pub(super) fn of(&self, shard: ShardId, feed: u32) -> Place {
        /// Shards are told apart above the numbers of feeds that any of them can have.
        const SHARD_SHIFT: u32 = 23;
        let feeds = self.feeds.len() as u32;
        if feed < feeds {
            return Place { number: feed, is_inlet: false };
        }
        match self.inlets.get(usize::from(shard.0)) {
            Some((first, names)) if ((feed - feeds) as usize) < names.len() => {
                Place { number: first + (feed - feeds), is_inlet: true }
            }
            _ => {
                let number =
                    UNNAMED | (u32::from(shard.0) << SHARD_SHIFT) | (feed & ((1 << SHARD_SHIFT) - 1));
                Place { number, is_inlet: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_one_number_and_its_name() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let places = Places::new(names(&["iex", "cme"]), vec![names(&["in"]), names(&["host", "in2"])]);
        let of = |shard, feed| (places.of(ShardId(shard), feed), places.name(ShardId(shard), feed));
        let place = |number, is_inlet| Place { number, is_inlet };
        assert_eq!(of(0, 1), (place(1, false), Some("cme")));
        assert_eq!(of(0, 2), (place(2, true), Some("in")));
        assert_eq!(of(1, 2), (place(3, true), Some("host")));
        assert_eq!(of(1, 3), (place(4, true), Some("in2")));
        for (shard, feed) in [(0, 3), (1, 4), (2, 2), (255, u32::MAX)] {
            let (place, name) = of(shard, feed);
            assert!(place.number >= UNNAMED && name.is_none());
        }
        let pattern = TopicPattern::parse("in*").expect("a pattern");
        assert_eq!(places.meant(&pattern).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(places.count(), 5);
    }
}

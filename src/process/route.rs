//! Hot path: which queue a message goes to: the more urgent of what its sender asks for and what the tables say.
//!
//! Invariant: a table never makes a native frame less urgent than its sender asked for.

use super::classify::ClassTable;
use super::topics::TopicPattern;
use crate::event::{Class, Priority, Protocol};
use crate::limits::TOPICS_MAX;
use crate::wire::native;
use crate::wire::native_v2::Topic;
use foldhash::quality::FixedState;
use hashbrown::HashMap;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its class.
    pub class: Class,
    /// What its sender asked for; the same for messages whose senders ask for nothing.
    pub asked: Class,
}

impl Route {
    /// Whether it is more urgent than its sender asked for.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.class < self.asked
    }
}

/// The tables.
#[derive(Clone, Debug, Default)]
pub struct Router {
    types: ClassTable,
    exact: HashMap<Box<[u8]>, Class, FixedState>,
    // Longest first, so that the first match is the closest.
    prefixes: Vec<(TopicPattern, Class)>,
    has_topics: bool,
}

/// More patterns of topics than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {TOPICS_MAX} topic patterns were given a class: use prefixes such as \"orders.*\" for several"
)]
pub struct TopicsFull;

impl Router {
    /// A router with the classes of message types.
    pub fn new(types: ClassTable) -> Router {
        Router { types, ..Router::default() }
    }

    /// Gives the topics that a pattern means a class at least. Of several patterns that mean a topic, its exact name goes
    /// first, then the longest prefix. For boot.
    ///
    /// # Errors
    /// There are as many patterns as there may be.
    pub fn add_topic(&mut self, pattern: &TopicPattern, class: Class) -> Result<(), TopicsFull> {
        if self.exact.len() + self.prefixes.len() >= TOPICS_MAX {
            return Err(TopicsFull);
        }
        self.has_topics = true;
        if pattern.is_prefix() {
            self.prefixes.push((pattern.clone(), class));
            self.prefixes.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.text().len()));
        } else {
            self.exact.insert(pattern.text().into(), class);
        }
        Ok(())
    }

    /// Where a message of that protocol, type and body goes.
    #[inline]
    pub fn route(&self, protocol: Protocol, kind: u16, body: &[u8]) -> Route {
        let class = self.types.class_of(protocol, kind);
        if protocol != Protocol::Native {
            return Route { class, asked: class };
        }
        self.route_native(class, kind, body)
    }

    #[inline(never)]
    fn route_native(&self, class: Class, kind: u16, body: &[u8]) -> Route {
        let asked = Priority::from_u8(kind as u8).map_or(class, Priority::class);
        let class = class.min(asked);
        if !self.has_topics || class == Class::Realtime {
            return Route { class, asked };
        }
        Route { class: self.class_of_topic(body).map_or(class, |topic| topic.min(class)), asked }
    }

    /// What the table says of a frame's topic. Topics by number have no name that a pattern could mean.
    fn class_of_topic(&self, body: &[u8]) -> Option<Class> {
        let Topic::Name(topic) = native::read(body).ok()?.topic else { return None };
        let exact = self.exact.get(topic).copied();
        exact.or_else(|| {
            self.prefixes.iter().find(|(pattern, _)| pattern.matches(topic)).map(|(_, class)| *class)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(priority: Priority, topic: &str) -> Vec<u8> {
        [&[priority as u8, 0, topic.len() as u8][..], topic.as_bytes(), b"payload"].concat()
    }

    fn route(router: &Router, priority: Priority, topic: &str) -> (Class, bool) {
        let route = router.route(Protocol::Native, priority as u16, &frame(priority, topic));
        (route.class, route.is_raised())
    }

    #[test]
    fn topics_raise_and_never_lower() {
        let mut router = Router::default();
        for (pattern, class) in [
            ("orders.*", Class::Transactional),
            ("orders.urgent.*", Class::Realtime),
            ("orders.urgent.not", Class::Batch),
            ("halt", Class::Realtime),
        ] {
            router.add_topic(&TopicPattern::parse(pattern).expect("a pattern"), class).expect("room");
        }
        for (priority, topic, class, raised) in [
            (Priority::Low, "orders.new", Class::Transactional, true),
            (Priority::Medium, "orders.new", Class::Transactional, false),
            (Priority::Critical, "orders.new", Class::Realtime, false),
            (Priority::Batch, "orders.urgent.x", Class::Realtime, true),
            (Priority::Medium, "orders.urgent.not", Class::Transactional, false),
            (Priority::Low, "halt", Class::Realtime, true),
            (Priority::Low, "halted", Class::Batch, false),
            (Priority::Medium, "unknown", Class::Transactional, false),
        ] {
            assert_eq!(route(&router, priority, topic), (class, raised), "{priority:?} {topic}");
        }
    }

    #[test]
    fn a_type_table_lowers_no_frame_either() {
        let mut types = ClassTable::default();
        types.override_kind(Protocol::Native, 3, Class::Batch).expect("room");
        types.override_kind(Protocol::Native, 0, Class::Realtime).expect("room");
        let router = Router::new(types);
        assert_eq!(route(&router, Priority::High, "x"), (Class::Realtime, false));
        assert_eq!(route(&router, Priority::Batch, "x"), (Class::Realtime, true));
        // Market data asks for nothing: the table may say anything.
        let mut types = ClassTable::default();
        types.override_kind(Protocol::IexTp, u16::from(b'T'), Class::Batch).expect("room");
        let found = Router::new(types).route(Protocol::IexTp, u16::from(b'T'), b"");
        assert_eq!((found.class, found.is_raised()), (Class::Batch, false));
    }

    #[test]
    fn patterns_have_a_limit() {
        let mut router = Router::default();
        for number in 0..TOPICS_MAX {
            let pattern = TopicPattern::parse(&format!("topic.{number}")).expect("a pattern");
            router.add_topic(&pattern, Class::Realtime).expect("room");
        }
        let one_more = TopicPattern::parse("one.more").expect("a pattern");
        assert_eq!(router.add_topic(&one_more, Class::Realtime), Err(TopicsFull));
    }
}

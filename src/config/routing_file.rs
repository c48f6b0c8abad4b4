//! `[[topic]]`, `[workers]` and `overflow`: which queue an event goes to, who takes it from there, and what happens when
//! the queue is full; as it is written and as it is meant.
//!
//! Invariant: what is checked here is checked again by nobody.

use super::file::ConfigFile;
use super::network_file::ListenKind;
use super::validate::{self as check, Found};
use crate::event::{Class, Overflow};
use crate::limits::{TOPICS_MAX, WORKERS_MAX};
use garde::Validate;
use serde::{Deserialize, Serialize};

/// `[[topic]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicTable {
    #[garde(custom(topic_pattern))]
    pub(super) pattern: String,
    #[garde(skip)]
    pub(super) class: Class,
}

/// Native frames of these topics go to the queue of this class at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicClass {
    /// A topic, or the beginning of topics with a star behind it.
    pub pattern: String,
    /// The class.
    pub class: Class,
}

fn topic_pattern(text: &str, (): &()) -> garde::Result {
    let stem = text.strip_suffix('*').unwrap_or(text);
    match () {
        () if text.is_empty() => Err(garde::Error::new("is empty; name a topic, or \"*\" for all")),
        () if stem.contains('*') => {
            Err(garde::Error::new("has a star inside; it stands at the end only, as in \"orders.*\""))
        }
        () => Ok(()),
    }
}

/// `overflow` of `[queues]`, `[[interface]]` or `[[listen]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OverflowTable {
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    realtime: Option<Overflow>,
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    transactional: Option<Overflow>,
    #[garde(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<Overflow>,
}

/// What happens to events whose queue is full, indexed by [`Class`]; `None` where nothing is said.
pub type OverflowWishes = [Option<Overflow>; Class::ALL.len()];

impl OverflowTable {
    pub(super) fn wishes(&self) -> OverflowWishes {
        [self.realtime, self.transactional, self.batch]
    }
}

/// `[workers]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WorkersTable {
    #[garde(custom(check::within(1, WORKERS_MAX as u32, "workers")))]
    transactional: u32,
    #[garde(custom(check::within(1, WORKERS_MAX as u32, "workers")))]
    batch: u32,
    #[garde(custom(check::within(1, WORKERS_MAX as u32, "partitions")))]
    partitions: u32,
    #[garde(skip)]
    helpers: bool,
}

impl Default for WorkersTable {
    fn default() -> WorkersTable {
        WorkersTable { transactional: 1, batch: 1, partitions: 1, helpers: false }
    }
}

/// Who processes the events of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Workers, indexed by [`Class`]; realtime has one.
    pub workers: [usize; Class::ALL.len()],
    /// Parts that each worker's share has: what a helper can be lent.
    pub partitions: usize,
    /// Whether each class but realtime has a helper for times of pressure.
    pub helpers: bool,
}

impl From<&WorkersTable> for WorkerSettings {
    fn from(table: &WorkersTable) -> WorkerSettings {
        WorkerSettings {
            workers: [1, table.transactional as usize, table.batch as usize],
            // A helper needs something to be lent.
            partitions: (table.partitions as usize).max(if table.helpers { 2 } else { 1 }),
            helpers: table.helpers,
        }
    }
}

impl WorkerSettings {
    /// Partitions of a class, over all of its workers.
    pub fn partitions_of(&self, class: Class) -> usize {
        match class {
            Class::Realtime => 1,
            _ => self.workers[class as usize] * self.partitions,
        }
    }
}

/// What is wrong with these tables together.
pub(super) fn together(file: &ConfigFile, found: &mut Found) {
    if file.topic.len() > TOPICS_MAX {
        found.push(("topic".to_owned(), format!("are {}; at most {TOPICS_MAX} fit", file.topic.len())));
    }
    for (index, topic) in file.topic.iter().enumerate() {
        if file.topic[..index].iter().any(|other| other.pattern == topic.pattern) {
            found.push((format!("topic[{index}].pattern"), format!("\"{}\" is there twice", topic.pattern)));
        }
    }
    let can_not_wait = "is \"block\", but this source can't wait: what it is not read is lost in front of it; write \
                        \"drop-oldest\", \"drop-newest\" or \"conflate\"";
    let mut blocks = |table: &OverflowTable, key: String| {
        for (wish, class) in table.wishes().iter().zip(Class::ALL) {
            if *wish == Some(Overflow::Block) {
                found.push((format!("{key}.overflow.{}", class.name()), can_not_wait.to_owned()));
            }
        }
    };
    for (index, interface) in file.interface.iter().enumerate() {
        blocks(&interface.overflow, format!("interface[{index}]"));
    }
    for (index, listener) in file.listen.iter().enumerate() {
        if listener.source == ListenKind::Udp {
            blocks(&listener.overflow, format!("listen[{index}]"));
        }
    }
}

//! The three classes of processing, one priority queue each, and the priorities that native senders name.

use serde::{Deserialize, Serialize};

/// What queue, and so what processor, an event goes to. Order: most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Class {
    /// Trades, executions, trading-status changes; native CRITICAL and HIGH.
    Realtime = 0,
    /// Order-book changes; native MEDIUM.
    Transactional = 1,
    /// Directory, statistics, administrative messages; native LOW and BATCH.
    Batch = 2,
}

impl Class {
    /// All classes, in the order of their discriminants.
    pub const ALL: [Class; 3] = [Class::Realtime, Class::Transactional, Class::Batch];

    /// The name used in configuration, reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Realtime => "realtime",
            Class::Transactional => "transactional",
            Class::Batch => "batch",
        }
    }

    /// The class with this discriminant, if there is one.
    pub const fn from_u8(value: u8) -> Option<Class> {
        match value {
            0 => Some(Class::Realtime),
            1 => Some(Class::Transactional),
            2 => Some(Class::Batch),
            _ => None,
        }
    }
}

/// Priority byte of a native frame (shared with EventStreamCore's senders).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Priority {
    /// 0: bulk work.
    Batch = 0,
    /// 1: low.
    Low = 1,
    /// 2: medium.
    Medium = 2,
    /// 3: high.
    High = 3,
    /// 4: critical.
    Critical = 4,
}

impl Priority {
    /// All priorities, in the order of their bytes.
    pub const ALL: [Priority; 5] =
        [Priority::Batch, Priority::Low, Priority::Medium, Priority::High, Priority::Critical];

    /// The name used on the command line and in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Batch => "batch",
            Priority::Low => "low",
            Priority::Medium => "medium",
            Priority::High => "high",
            Priority::Critical => "critical",
        }
    }

    /// The priority with this byte; anything over 4 is malformed.
    pub const fn from_u8(value: u8) -> Option<Priority> {
        match value {
            0 => Some(Priority::Batch),
            1 => Some(Priority::Low),
            2 => Some(Priority::Medium),
            3 => Some(Priority::High),
            4 => Some(Priority::Critical),
            _ => None,
        }
    }

    /// The class that a native frame of this priority asks for.
    pub const fn class(self) -> Class {
        match self {
            Priority::Critical | Priority::High => Class::Realtime,
            Priority::Medium => Class::Transactional,
            Priority::Low | Priority::Batch => Class::Batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Priority;

    #[test]
    fn priorities_have_one_name_and_one_byte() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_u8(priority as u8), Some(priority));
            assert_eq!(serde_json::to_value(priority).expect("serializes"), priority.name());
        }
        assert_eq!(Priority::from_u8(5), None);
    }
}

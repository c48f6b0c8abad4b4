//! `[transactional]`: what the transactional processor remembers and how often it tries, as it is written and as it is
//! meant.
//!
//! Invariant: what is checked here is checked again by nobody.

use super::file::ConfigFile;
use super::validate::{self as check, Found};
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A day: what comes again later is no copy on its way but somebody's decision.
const WINDOW_S_MAX: u32 = 86_400;
/// Fewer would not outlast a burst.
const ENTRIES_MIN: u32 = 1_024;
/// 3 GiB for each processor.
const ENTRIES_MAX: u32 = 1 << 26;
const ATTEMPTS_MAX: u32 = 100;
/// An hour.
const RETRY_MS_MAX: u32 = 3_600_000;
/// Each parked event keeps a slot of the pool.
const PARKED_MAX: u32 = 1 << 20;

/// `[transactional]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TransactionalTable {
    #[garde(custom(check::within(0, WINDOW_S_MAX, "seconds (0 is none)")))]
    dedup_window_s: u32,
    #[garde(custom(check::within(ENTRIES_MIN, ENTRIES_MAX, "entries")))]
    dedup_entries_max: u32,
    #[garde(skip)]
    dedup_v1: bool,
    #[garde(custom(check::within(1, ATTEMPTS_MAX, "attempts")))]
    attempts: u32,
    #[garde(custom(check::within(1, RETRY_MS_MAX, "milliseconds")))]
    retry_first_ms: u32,
    #[garde(custom(check::within(1, RETRY_MS_MAX, "milliseconds")))]
    retry_max_ms: u32,
    #[garde(custom(check::within(1, PARKED_MAX, "events")))]
    parked_max: u32,
}

impl Default for TransactionalTable {
    fn default() -> TransactionalTable {
        TransactionalTable {
            dedup_window_s: 3_600,
            dedup_entries_max: 1_048_576,
            dedup_v1: false,
            attempts: 3,
            retry_first_ms: 10,
            retry_max_ms: 1_000,
            parked_max: 4_096,
        }
    }
}

/// Checks keys against each other.
pub(super) fn together(file: &ConfigFile, found: &mut Found) {
    let TransactionalTable { retry_first_ms, retry_max_ms, .. } = file.transactional;
    if retry_max_ms < retry_first_ms {
        found.push((
            "transactional.retry_max_ms".to_owned(),
            format!(
                "is {retry_max_ms}, but the first attempt waits {retry_first_ms} already; \
                 write {retry_first_ms} or more, or a smaller retry_first_ms"
            ),
        ));
    }
}

/// The transactional processor: what it remembers, and how often it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionalSettings {
    /// How long an event that was processed is remembered, so that copies are not processed; zero for not at all.
    pub dedup_window: Duration,
    /// Events that are remembered at most, by each processor.
    pub dedup_entries_max: usize,
    /// Whether native frames of version 1 that are equal to the last byte are copies.
    pub dedup_v1: bool,
    /// How often an event is tried in all; 1 at least.
    pub attempts: u8,
    /// The wait behind the first attempt; each further one is twice as long.
    pub retry_first: Duration,
    /// The longest wait.
    pub retry_max: Duration,
    /// Events that wait for another attempt, or behind one that does, at most.
    pub parked_max: usize,
}

impl From<&TransactionalTable> for TransactionalSettings {
    fn from(table: &TransactionalTable) -> TransactionalSettings {
        TransactionalSettings {
            dedup_window: Duration::from_secs(table.dedup_window_s.into()),
            dedup_entries_max: table.dedup_entries_max as usize,
            dedup_v1: table.dedup_v1,
            attempts: u8::try_from(table.attempts).unwrap_or(u8::MAX),
            retry_first: Duration::from_millis(table.retry_first_ms.into()),
            retry_max: Duration::from_millis(table.retry_max_ms.into()),
            parked_max: table.parked_max as usize,
        }
    }
}

impl Default for TransactionalSettings {
    fn default() -> TransactionalSettings {
        TransactionalSettings::from(&TransactionalTable::default())
    }
}

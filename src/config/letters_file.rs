//! `[dead_letters]`: where events go that were not processed, as it is written and as it is meant.
//!
//! Invariant: whatever is written here, a storm of dead letters is bounded in memory, in bytes on disk and in work.

use super::validate as check;
use crate::limits::PAYLOAD_BYTES_MAX;
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Any letter fits ten times into the smallest file.
const FILE_BYTES_MIN: u32 = 1 << 20;
/// Letters that can be kept: with the bytes that they may take, this is no more than a bound of the list.
const KEPT_MAX: u32 = 1_000_000;
/// An agent that writes a million letters a second does little else.
const PER_SECOND_MAX: u32 = 1_000_000;
const PAYLOAD_MAX: u32 = PAYLOAD_BYTES_MAX as u32;

/// `[dead_letters]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LettersTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    file: Option<String>,
    #[garde(custom(check::within(FILE_BYTES_MIN, u32::MAX, "bytes")))]
    max_bytes: u32,
    #[garde(custom(check::within(1, 100, "files")))]
    max_files: u32,
    #[garde(custom(check::within(0, KEPT_MAX, "letters")))]
    kept: u32,
    #[garde(custom(check::within(0, PAYLOAD_MAX, "bytes")))]
    payload_bytes_max: u32,
    #[garde(custom(check::within(1, PER_SECOND_MAX, "letters")))]
    per_second: u32,
    #[garde(custom(check::within(1, PER_SECOND_MAX, "letters")))]
    burst: u32,
}

impl Default for LettersTable {
    fn default() -> LettersTable {
        LettersTable {
            file: None,
            max_bytes: 64 << 20,
            max_files: 4,
            kept: 10_000,
            payload_bytes_max: 4_096,
            per_second: 1_000,
            burst: 10_000,
        }
    }
}

/// Where events go that were not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The file that they are appended to; `None` for none.
    pub file: Option<PathBuf>,
    /// Bytes of the file, above which a new one is begun.
    pub max_bytes: u64,
    /// Files in all, the one that is written included.
    pub max_files: u32,
    /// Letters that are kept in memory.
    pub kept: usize,
    /// Bytes of a payload that are kept.
    pub payload_bytes_max: usize,
    /// Letters a second of one agent.
    pub per_second: u32,
    /// Letters of one agent that may come at once.
    pub burst: u32,
}

impl Default for DeadLetters {
    fn default() -> DeadLetters {
        DeadLetters::from(&LettersTable::default())
    }
}

impl From<&LettersTable> for DeadLetters {
    fn from(table: &LettersTable) -> DeadLetters {
        DeadLetters {
            file: table.file.as_ref().map(PathBuf::from),
            max_bytes: table.max_bytes.into(),
            max_files: table.max_files,
            kept: table.kept as usize,
            payload_bytes_max: table.payload_bytes_max as usize,
            per_second: table.per_second,
            burst: table.burst,
        }
    }
}

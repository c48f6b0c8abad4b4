//! `[rules]`: where the rules file is, and how webhooks are posted.
//!
//! Invariant: as in [`super::file`]. The rules themselves are in [`super::rules_file`].

use super::validate as check;
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// `[rules]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RulesTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) file: Option<String>,
    #[garde(custom(check::within(1, 60_000, "milliseconds")))]
    pub(super) webhook_timeout_ms: u32,
    #[garde(custom(check::within(1, 10, "attempts")))]
    pub(super) webhook_attempts: u32,
}

impl Default for RulesTable {
    fn default() -> RulesTable {
        RulesTable { file: None, webhook_timeout_ms: 2_000, webhook_attempts: 3 }
    }
}

/// Alert rules: where they are, and how their webhooks are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesSettings {
    /// The file that they stand in; relative paths are relative to the working directory.
    pub file: Option<PathBuf>,
    /// How long one attempt to post a webhook may take.
    pub webhook_timeout: Duration,
    /// Attempts for each post.
    pub webhook_attempts: u32,
}

impl From<&RulesTable> for RulesSettings {
    fn from(table: &RulesTable) -> RulesSettings {
        RulesSettings {
            file: table.file.as_ref().map(PathBuf::from),
            webhook_timeout: Duration::from_millis(table.webhook_timeout_ms.into()),
            webhook_attempts: table.webhook_attempts,
        }
    }
}

//! What can go wrong with a report: only its writing.

use std::path::PathBuf;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system refused.
    #[error("{path}: cannot write the report: {cause}; choose another path with --report or --plot")]
    Write {
        /// The path that was asked for.
        path: PathBuf,
        /// What the system said; part of the text, so not also an error source.
        cause: std::io::Error,
    },
    /// A value has no JSON form.
    #[error("the report cannot be written as JSON: {0}; this is a fault of Sluice, please report it")]
    Json(String),
    /// The plot could not be drawn.
    #[error("the latency plot cannot be drawn: {0}; this is a fault of Sluice, please report it")]
    Plot(String),
}

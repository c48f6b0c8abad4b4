//! Why the host's figures can't be collected. All of it arises at the start.

use std::io;

/// Errors of the host metrics source.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// /proc can't be read.
    #[error("cannot read the host's figures: {cause}; mount /proc, or write enabled = false in [host]")]
    Unreadable {
        /// What the reading said; part of the text, so not also an error source.
        cause: procfs::ProcError,
    },
    /// The kernel gave no socket or no thread.
    #[error(
        "cannot start the host metrics: no {what}: {cause}; raise the limit that `ulimit -a` shows for it"
    )]
    Resource {
        /// What could not be had.
        what: &'static str,
        /// The kernel's answer; part of the text, so not also an error source.
        cause: io::Error,
    },
}

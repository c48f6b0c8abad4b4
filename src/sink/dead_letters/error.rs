//! What keeps dead letters from being taken or written at all.

use std::io;
use std::path::PathBuf;

/// Why the office can't be opened, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The file can't be opened.
    #[error("dead_letters.file {}: {source}; its folder must exist and be writable", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process writes to it.
    #[error("dead_letters.file {} is written by another process; name another file, or end that one", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is no file that can be appended to and renamed.
    #[error("dead_letters.file {} is no regular file; name one that is, or that is not there yet", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The thread could not be started.
    #[error("the thread for dead letters can't be started: {0}; raise the limit of threads (ulimit -u)")]
    Thread(io::Error),
    /// The thread panicked; what it had kept is gone, and what it had written is there.
    #[error("the thread for dead letters panicked; its message is above, and it is an error of this program")]
    Panicked,
}

impl DeadLetterError {
    /// Whether another configuration would do.
    pub fn is_of_config(&self) -> bool {
        matches!(
            self,
            DeadLetterError::Open { .. }
                | DeadLetterError::Locked { .. }
                | DeadLetterError::NotRegular { .. }
        )
    }
}

//! Why there is no ring. Invariant: every text says what the kernel refused and what to do next.

use std::io;

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum UringError {
    /// No ring at all.
    #[error(
        "cannot make an io_uring ({mode}): {source}; it needs Linux 6.0 or newer, `sysctl kernel.io_uring_disabled=0`, and a \
         container or seccomp profile that allows io_uring_setup"
    )]
    Create {
        /// The mode that was tried last.
        mode: &'static str,
        /// The kernel's word.
        source: io::Error,
    },
    /// Something could not be registered with the ring.
    #[error(
        "cannot register {what} with the io_uring: {source}; for files raise `ulimit -n` (LimitNOFILE), for memory `ulimit -l` \
         (LimitMEMLOCK), or ask for less"
    )]
    Register {
        /// What.
        what: &'static str,
        /// The kernel's word.
        source: io::Error,
    },
    /// Buffers could not be mapped.
    #[error(transparent)]
    Memory(#[from] crate::os::MemoryError),
}

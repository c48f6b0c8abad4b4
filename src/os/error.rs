//! What the machine may refuse at setup. Invariant: every text names the thing that was refused and what to do next.

use std::io;

/// Something that the machine lacks or refuses.
#[derive(Debug, thiserror::Error)]
pub enum OsError {
    /// Memory could not be mapped.
    #[error(transparent)]
    Memory(#[from] super::MemoryError),
    /// The set of CPUs this thread may run on can't be read.
    #[error("cannot read which CPUs this process may use: {source}; see `taskset -p $$`")]
    AllowedCpus {
        /// The kernel's word.
        source: io::Error,
    },
    /// A thread can't be put on a CPU.
    #[error(
        "cannot pin a thread to CPU {cpu}: {source}; allowed are {allowed:?}: name one of these, or widen the cpuset \
         (`taskset -cp`, AllowedCPUs= in the systemd unit)"
    )]
    Pin {
        /// The CPU.
        cpu: usize,
        /// The CPUs the process may use.
        allowed: Vec<usize>,
        /// The kernel's word.
        source: io::Error,
    },
    /// A thread can't be made SCHED_FIFO.
    #[error(
        "cannot set SCHED_FIFO priority {priority} for the thread on CPU {cpu}: {source}; grant CAP_SYS_NICE or set \
         LimitRTPRIO={priority} in the systemd unit (`ulimit -r {priority}`)"
    )]
    Fifo {
        /// The priority asked for, 1 to 99.
        priority: u8,
        /// The CPU the thread was running on, or `?`.
        cpu: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// A thread name holds a zero byte, or the kernel refused it.
    #[error("cannot name a thread {name:?}: {source}; use at most 15 bytes without a zero byte")]
    ThreadName {
        /// The name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such interface in this network namespace.
    #[error("no such interface: {name}; there are: {}", present.join(", "))]
    NoInterface {
        /// The interface asked for.
        name: String,
        /// The interfaces there are.
        present: Vec<String>,
    },
    /// /sys shows the interfaces of another network namespace than this thread's.
    #[error(
        "interface {name}: /sys/class/net shows another network namespace; start the program by `ip netns exec NAME`, \
         which mounts the right one"
    )]
    OtherNamespace {
        /// The interface asked for.
        name: String,
    },
    /// A file of /proc or /sys can't be read or isn't as expected.
    #[error("cannot read {path}: {source}; check that /proc and /sys are mounted")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The handler of a signal can't be installed.
    #[error("cannot install the handler of signal {signal}: {source}")]
    Signal {
        /// The signal's number.
        signal: i32,
        /// Why.
        source: io::Error,
    },
}

impl OsError {
    /// Whether the machine lacks something, in contrast to a wish that no machine could fulfil.
    pub fn machine_lacks(&self) -> bool {
        !matches!(self, OsError::ThreadName { .. })
    }
}

/// Reads a whole file of /proc or /sys.
pub(super) fn read(path: &str) -> Result<String, OsError> {
    std::fs::read_to_string(path).map_err(|source| OsError::Read { path: path.to_owned(), source })
}

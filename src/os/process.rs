//! What this process and this thread have used so far, as the kernel counts it.

use super::{OsError, error};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use std::time::{Duration, Instant};

/// How long something may be in use before it is believed to be. The kernel takes a ring of a killed process apart after
/// the process is gone, and its sockets with it: within half a second, as measured on a busy machine of two cores.
const RELEASE_TIME: Duration = Duration::from_secs(3);

/// Pause between two attempts to have it.
const RELEASE_PAUSE: Duration = Duration::from_millis(10);

/// What the calling thread has used since it began. Take two and subtract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ThreadUsage {
    /// Pages that were touched for the first time and needed no disk.
    pub minor_faults: u64,
    /// Pages that had to be read from disk.
    pub major_faults: u64,
    /// Times the thread slept or waited.
    pub voluntary_switches: u64,
    /// Times the kernel gave the CPU to another thread.
    pub involuntary_switches: u64,
}

impl ThreadUsage {
    /// The calling thread's, by one system call; all zero if the kernel refuses to say.
    pub fn of_this_thread() -> ThreadUsage {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return ThreadUsage::default() };
        ThreadUsage {
            minor_faults: usage.minor_page_faults() as u64,
            major_faults: usage.major_page_faults() as u64,
            voluntary_switches: usage.voluntary_context_switches() as u64,
            involuntary_switches: usage.involuntary_context_switches() as u64,
        }
    }

    /// What was used since `earlier`, of the same thread.
    pub fn since(self, earlier: ThreadUsage) -> ThreadUsage {
        ThreadUsage {
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
        }
    }
}

/// Bytes of this process that are in memory now (VmRSS; hugetlb pages are not among them).
///
/// # Errors
/// [`OsError::Read`] if /proc/self/status can't be read or has no such line.
pub fn resident_bytes() -> Result<u64, OsError> {
    let path = "/proc/self/status";
    kib_of(&error::read(path)?, "VmRSS:").map(|kib| kib * 1_024).ok_or_else(|| OsError::Read {
        path: path.to_owned(),
        source: std::io::Error::other("it has no line VmRSS"),
    })
}

/// Raises how many files this process may have open to `wished`, as far as it is allowed to, and returns how many those
/// are now.
pub fn allow_open_files(wished: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wished };
    let raised = wished.min(hard);
    if soft >= raised || setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_err() { soft } else { raised }
}

/// Tries until it works, fails for another reason than that something is in use, or that has been in use for too long: a
/// killed process gives its sockets and locks up some time after it is gone.
///
/// # Errors
/// That of the last attempt.
pub fn patiently<T, E>(attempt: impl Fn() -> Result<T, E>, in_use: impl Fn(&E) -> bool) -> Result<T, E> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if in_use(&error) && started.elapsed() < RELEASE_TIME => {
                std::thread::sleep(RELEASE_PAUSE);
            }
            done => return done,
        }
    }
}

/// The number behind `key` in a file of lines such as `VmRSS:   1024 kB`.
pub(super) fn kib_of(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_resident_and_faulted() {
        let faults = ThreadUsage::of_this_thread();
        let wish = crate::os::MemoryWish {
            huge: crate::os::HugeWish::Never,
            node: None,
            lock: false,
            name: "64 MiB",
        };
        let (region, _) = crate::os::Region::map(64 << 20, &wish).expect("64 MiB can be mapped");
        let resident = resident_bytes().expect("/proc is mounted");
        assert!(resident >= region.len() as u64, "{resident} bytes with {} touched", region.len());
        assert!(ThreadUsage::of_this_thread().since(faults).minor_faults > 0);
    }

    #[test]
    fn open_files_are_raised_as_far_as_allowed_and_never_lowered() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel tells");
        assert_eq!(allow_open_files(1), soft);
        assert_eq!(allow_open_files(soft + 1), (soft + 1).min(hard));
        assert_eq!(allow_open_files(u64::MAX), hard);
    }

    #[test]
    fn sleeping_is_a_voluntary_switch_of_this_thread_only() {
        let before = ThreadUsage::of_this_thread();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let used = ThreadUsage::of_this_thread().since(before);
        assert!((5..50).contains(&used.voluntary_switches), "{used:?}");
        assert_eq!(before.since(ThreadUsage::of_this_thread()).minor_faults, 0, "never below zero");
    }

    #[test]
    fn lines_are_read_by_their_whole_key() {
        let text = "HugePages_Total:      64\nHugePages_Free:        7\nMemTotal:  100 kB\nVmRSS:\n";
        assert_eq!(kib_of(text, "HugePages_Free:"), Some(7));
        assert_eq!(kib_of(text, "MemTotal:"), Some(100));
        assert_eq!((kib_of(text, "VmRSS:"), kib_of(text, "Absent:")), (None, None));
    }
}

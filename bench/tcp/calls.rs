//! What a thread costs, as the kernel counts it: system calls (the tracepoint raw_syscalls:sys_enter) and CPU time.
#![expect(unsafe_code, reason = "perf_event_open has no safe wrapper")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::path::PathBuf;
use std::process::Command;

/// Where the kernel says what number the tracepoint has.
const TRACEPOINT: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";

const PERF_TYPE_TRACEPOINT: u64 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// The first published layout of perf_event_attr: all that plain counting needs.
const ATTRIBUTES_BYTES: u64 = 64;

/// Counts one thread's system calls from its making on. While it lives, every system call of the machine takes a
/// detour through the tracepoint: rounds that are timed are run without it.
pub(crate) struct CallCounter {
    file: File,
}

impl CallCounter {
    /// Begins to count the calls of this process's thread `name`.
    pub(crate) fn of_thread(tracepoint: u64, name: &str) -> Result<CallCounter, String> {
        let thread = thread_id(name).ok_or_else(|| format!("there is no thread {name}"))?;
        let mut attributes = [0u64; ATTRIBUTES_BYTES as usize / 8];
        attributes[0] = PERF_TYPE_TRACEPOINT | ATTRIBUTES_BYTES << 32;
        attributes[1] = tracepoint;
        // SAFETY: the attributes are as long as they say and outlive the call, which only reads them; the other
        // arguments are numbers: the thread, any CPU, no group.
        let file = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attributes.as_ptr(),
                thread,
                -1,
                -1,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        if file < 0 {
            return Err(format!("perf_event_open: {}", io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
        Ok(CallCounter { file: unsafe { File::from_raw_fd(file as i32) } })
    }

    /// Calls so far.
    pub(crate) fn count(&mut self) -> io::Result<u64> {
        let mut count = [0; 8];
        self.file.read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

/// The number of the tracepoint. Where tracefs is not mounted, a child asks in a mount namespace of its own, so that
/// nothing of the machine is changed.
pub(crate) fn tracepoint() -> Result<u64, String> {
    let number = |text: &str| text.trim().parse().map_err(|_| format!("'{}' is no tracepoint", text.trim()));
    if let Ok(text) = fs::read_to_string(TRACEPOINT) {
        return number(&text);
    }
    let ask = format!("mount -t tracefs none /sys/kernel/tracing && cat {TRACEPOINT}");
    let asked = Command::new("unshare")
        .args(["-m", "sh", "-c", &ask])
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    match asked.status.success() {
        true => number(&String::from_utf8_lossy(&asked.stdout)),
        false => {
            Err(format!("no tracepoint ({}): run as root", String::from_utf8_lossy(&asked.stderr).trim()))
        }
    }
}

/// Nanoseconds that this process's thread `name` has been on a CPU; `None` on kernels that do not say.
pub(crate) fn cpu_ns(name: &str) -> Option<u64> {
    let thread = thread_id(name)?;
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn thread_id(name: &str) -> Option<i32> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let is_it =
        |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let found = threads.flatten().map(|entry| entry.path()).find(is_it)?;
    found.file_name()?.to_str()?.parse().ok()
}

//! Which CPU a thread runs on, and how urgently. Every function acts on the calling thread only.
#![expect(unsafe_code, reason = "sched_setscheduler has no safe wrapper")]

use super::OsError;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::CString;
use std::io;

const THIS_THREAD: Pid = Pid::from_raw(0);

/// The CPUs that the calling thread may run on, ascending. Called before anything is pinned, these are the process's.
///
/// # Errors
/// [`OsError::AllowedCpus`] on machines with more than 1,024 CPUs, or without the system call.
pub fn allowed_cpus() -> Result<Vec<usize>, OsError> {
    let set =
        sched_getaffinity(THIS_THREAD).map_err(|source| OsError::AllowedCpus { source: source.into() })?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// Keeps the calling thread on one CPU. Threads that it starts from then on inherit this.
///
/// # Errors
/// [`OsError::Pin`] if there is no such CPU or the process may not use it.
pub fn pin_current_thread(cpu: usize) -> Result<(), OsError> {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(THIS_THREAD, &set)).map_err(|source| OsError::Pin {
        cpu,
        allowed: allowed_cpus().unwrap_or_default(),
        source: source.into(),
    })
}

/// Makes the calling thread SCHED_FIFO with a priority from 1 to 99: it runs until it sleeps, ahead of every ordinary
/// thread of its CPU. Threads that it starts are ordinary again (SCHED_RESET_ON_FORK), but on the same CPU they would
/// never run beside a spinner: start all threads first and call this last.
///
/// # Errors
/// [`OsError::Fifo`] without CAP_SYS_NICE or an RLIMIT_RTPRIO, and for a priority of 0 or above 99.
pub fn set_fifo(priority: u8) -> Result<(), OsError> {
    let parameters = libc::sched_param { sched_priority: libc::c_int::from(priority) };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 names the calling thread, and the parameters outlive the call, which only reads them.
    let status = unsafe { libc::sched_setscheduler(0, policy, &parameters) };
    if status == 0 {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    let cpu = sched_getcpu().map_or_else(|_| "?".to_owned(), |cpu| cpu.to_string());
    Err(OsError::Fifo { priority, cpu, source })
}

/// Makes the calling thread an ordinary one again (SCHED_OTHER), which needs no right.
pub fn set_ordinary() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 names the calling thread, and the parameters outlive the call, which only reads them.
    let status = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &parameters) };
    debug_assert_eq!(status, 0, "a thread may always give up its priority");
}

/// Lets the calling thread sleep as exactly as the timers are: an ordinary thread's sleeps otherwise last up to 50 µs
/// longer (the kernel's timer slack), so that wake-ups can be gathered.
pub fn sleep_exactly() {
    // The kernel takes any slack; a kernel without the call leaves sleeps as they are.
    let _ = nix::sys::prctl::set_timerslack(1);
}

/// Names the calling thread, as `top -H` and `ps -L` show it. The kernel keeps the first 15 bytes.
///
/// # Errors
/// [`OsError::ThreadName`] if the name holds a zero byte.
pub fn name_current_thread(name: &str) -> Result<(), OsError> {
    let failed = |source| OsError::ThreadName { name: name.to_owned(), source };
    let text = CString::new(name).map_err(|error| failed(error.into()))?;
    nix::sys::prctl::set_name(&text).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Runs in a thread of its own, so that the test harness's threads stay as they are.
    fn apart<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(body).join().expect("no panic")
    }

    #[test]
    fn a_thread_gives_up_its_priority() {
        let policies = apart(|| {
            let policy = || {
                // SAFETY: 0 names the calling thread; nothing is written.
                unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
            };
            let granted = set_fifo(1).is_ok();
            let raised = policy();
            set_ordinary();
            (granted, raised, policy())
        });
        let raised = if policies.0 { libc::SCHED_FIFO } else { libc::SCHED_OTHER };
        assert_eq!((policies.1, policies.2), (raised, libc::SCHED_OTHER));
    }

    #[test]
    fn sleeps_are_exact_for_the_thread_that_asks() {
        let slack = || nix::sys::prctl::get_timerslack().expect("Linux knows it");
        let before = slack();
        assert_eq!(apart(move || (sleep_exactly(), slack()).1), 1);
        assert_eq!(slack(), before);
    }

    #[test]
    fn a_pinned_thread_may_run_on_its_cpu_only() {
        let allowed = allowed_cpus().expect("readable");
        assert!(!allowed.is_empty());
        for &cpu in &allowed {
            let (seen, running_on) = apart(move || {
                pin_current_thread(cpu).expect("an allowed CPU");
                (allowed_cpus().expect("readable"), sched_getcpu().expect("known"))
            });
            assert_eq!((seen, running_on), (vec![cpu], cpu));
        }
        assert_eq!(allowed_cpus().expect("readable"), allowed);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named_with_those_that_are() {
        for cpu in [1_000, 100_000] {
            let text = apart(move || pin_current_thread(cpu).expect_err("no such CPU").to_string());
            let allowed = format!("allowed are {:?}", allowed_cpus().expect("readable"));
            assert!(text.contains(&format!("CPU {cpu}")) && text.contains(&allowed), "{text}");
        }
    }

    #[test]
    fn fifo_is_set_or_its_remedy_is_named() {
        let result = apart(|| {
            set_fifo(5)?;
            // SAFETY: the call takes a thread id and returns a number.
            Ok::<_, OsError>(unsafe { libc::sched_getscheduler(0) })
        });
        match result {
            Ok(policy) => assert_eq!(policy, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK),
            Err(error) => {
                writeln!(io::stderr(), "skipped: {error}").expect("stderr");
                assert!(error.to_string().contains("CAP_SYS_NICE"));
            }
        }
        let text = apart(|| set_fifo(100).expect_err("99 is the highest").to_string());
        assert!(text.contains("priority 100"), "{text}");
    }

    #[test]
    fn a_thread_bears_its_name() {
        let name = apart(|| {
            name_current_thread("shard-0-and-more").expect("a fair name");
            nix::sys::prctl::get_name().expect("readable")
        });
        assert_eq!(name.to_bytes(), b"shard-0-and-mor");
        assert!(matches!(name_current_thread("a\0b"), Err(OsError::ThreadName { .. })));
    }
}

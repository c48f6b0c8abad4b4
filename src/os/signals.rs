//! The wish to stop, from a signal or from inside. Invariant: once set it stays set.

use super::OsError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code when a second signal comes while the first is still being obeyed: 128 and SIGINT, as shells have it.
const EXIT_AT_ONCE: i32 = 130;

/// A flag that asks everything to stop. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    flag: Arc<AtomicBool>,
}

impl StopFlag {
    /// A flag that only [`StopFlag::set`] sets.
    pub fn new() -> StopFlag {
        StopFlag::default()
    }

    /// A flag that SIGINT and SIGTERM set. A second signal ends the process at once with code 130, without closing
    /// anything. To be called once, by the main thread.
    ///
    /// # Errors
    /// [`OsError::Signal`] if a handler can't be installed.
    pub fn on_signals() -> Result<StopFlag, OsError> {
        let stop = StopFlag::new();
        for signal in [SIGINT, SIGTERM] {
            let failed = |source| OsError::Signal { signal, source };
            // In this order: the first signal finds the flag down and then raises it.
            flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, Arc::clone(&stop.flag))
                .map_err(failed)?;
            flag::register(signal, Arc::clone(&stop.flag)).map_err(failed)?;
        }
        Ok(stop)
    }

    /// Asks everything to stop.
    pub fn set(&self) {
        // Relaxed: the flag carries no data, and readers look again soon.
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether everything is asked to stop.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// The flag itself, for those who watch it in a loop.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "SLUICE_TEST_SIGNAL_CHILD";

    #[test]
    fn setting_is_seen_by_every_clone() {
        let stop = StopFlag::new();
        let (clone, shared) = (stop.clone(), stop.shared());
        assert!(!clone.is_set() && !shared.load(Ordering::Relaxed));
        stop.set();
        assert!(clone.is_set() && shared.load(Ordering::Relaxed));
    }

    /// The body that runs in a process of its own; as an ordinary test it has nothing to do.
    #[test]
    fn signal_child() {
        let Ok(signals) = std::env::var(CHILD) else { return };
        let stop = StopFlag::on_signals().expect("handlers can be installed");
        for (count, signal) in signals.split(',').enumerate() {
            assert_eq!(stop.is_set(), count > 0);
            let signal: i32 = signal.parse().expect("a number");
            signal_hook::low_level::raise(signal).expect("raised");
            assert!(stop.is_set());
        }
        std::process::exit(77);
    }

    #[test]
    fn the_first_signal_asks_and_the_second_ends() {
        let program = std::env::current_exe().expect("known");
        for (signals, code) in [("2", 77), ("15", 77), ("2,2", 130), ("15,2", 130), ("2,15", 130)] {
            let child = Command::new(&program)
                .args(["--exact", "os::signals::tests::signal_child", "--test-threads=1"])
                .env(CHILD, signals)
                .output()
                .expect("the test program runs");
            assert_eq!(child.status.code(), Some(code), "signals {signals}: {child:?}");
        }
    }
}

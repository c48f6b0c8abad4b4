//! What people ask of the process by signals: to stop, and to set or clear the kill switch. Invariant: a wish to stop stays;
//! of several requests about the kill switch the last one counts.

use super::OsError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{SigId, flag, low_level};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

/// Whether files that may change are to be read again (SIGHUP).
#[derive(Debug)]
pub struct ReloadRequests {
    asked: Arc<AtomicBool>,
    _handlers: Handlers,
}

impl ReloadRequests {
    /// Requests by SIGHUP, which ends the process as long as nobody listens to it.
    ///
    /// # Errors
    /// [`OsError::Signal`] if the handler can't be installed.
    pub fn on_signal() -> Result<ReloadRequests, OsError> {
        let asked = Arc::new(AtomicBool::new(false));
        let failed = |source| OsError::Signal { signal: SIGHUP, source };
        let id = flag::register(SIGHUP, Arc::clone(&asked)).map_err(failed)?;
        Ok(ReloadRequests { asked, _handlers: Handlers(vec![id]) })
    }

    /// Whether it was asked for since the last time.
    pub fn take(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }
}

/// What a person wants of the kill switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillRequest {
    /// To set it (SIGUSR1).
    Set,
    /// To take it back (SIGUSR2).
    Clear,
}

impl KillRequest {
    const SET: usize = 1;
    const CLEAR: usize = 2;
}

/// Where requests about the kill switch come in. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct KillRequests {
    // 0 for none.
    request: Arc<AtomicUsize>,
    handlers: Option<Arc<Handlers>>,
}

/// Handlers that end with the last one who looks at what they ask for; the signals are ignored then.
#[derive(Debug)]
struct Handlers(Vec<SigId>);

impl Drop for Handlers {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            low_level::unregister(id);
        }
    }
}

impl KillRequests {
    /// Requests by [`KillRequests::ask`] only.
    pub fn new() -> KillRequests {
        KillRequests::default()
    }

    /// Requests by signals, too: SIGUSR1 to set, SIGUSR2 to clear. Before this, either ends the process, as the kernel
    /// has it.
    ///
    /// # Errors
    /// [`OsError::Signal`] if a handler can't be installed.
    pub fn on_signals() -> Result<KillRequests, OsError> {
        let request = Arc::new(AtomicUsize::new(0));
        let mut handlers = Handlers(Vec::new());
        for (signal, value) in [(SIGUSR1, KillRequest::SET), (SIGUSR2, KillRequest::CLEAR)] {
            let failed = |source| OsError::Signal { signal, source };
            handlers.0.push(flag::register_usize(signal, Arc::clone(&request), value).map_err(failed)?);
        }
        Ok(KillRequests { request, handlers: Some(Arc::new(handlers)) })
    }

    /// Asks for it from inside.
    pub fn ask(&self, request: KillRequest) {
        let value = match request {
            KillRequest::Set => KillRequest::SET,
            KillRequest::Clear => KillRequest::CLEAR,
        };
        // Relaxed: the request carries no other data.
        self.request.store(value, Ordering::Relaxed);
    }

    /// The last request since the last time, if there was one.
    pub fn take(&self) -> Option<KillRequest> {
        match self.request.swap(0, Ordering::Relaxed) {
            KillRequest::SET => Some(KillRequest::Set),
            KillRequest::CLEAR => Some(KillRequest::Clear),
            _ => None,
        }
    }

    /// Whether signals are listened to.
    pub fn are_by_signals(&self) -> bool {
        self.handlers.is_some()
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

    #[test]
    fn the_last_request_counts() {
        let requests = KillRequests::new();
        let clone = requests.clone();
        assert_eq!(requests.take(), None);
        clone.ask(KillRequest::Set);
        clone.ask(KillRequest::Clear);
        assert_eq!((requests.take(), requests.take()), (Some(KillRequest::Clear), None));
        assert!(!requests.are_by_signals());
    }

    /// The body that runs in a process of its own; as an ordinary test it has nothing to do.
    #[test]
    fn kill_request_child() {
        if std::env::var(CHILD).is_err() {
            return;
        }
        let requests = KillRequests::on_signals().expect("handlers can be installed");
        for (signal, wanted) in [(SIGUSR1, KillRequest::Set), (SIGUSR2, KillRequest::Clear)] {
            low_level::raise(signal).expect("raised");
            assert_eq!((requests.take(), requests.take()), (Some(wanted), None));
        }
        drop(requests);
        low_level::raise(SIGUSR1).expect("raised");
        std::process::exit(78);
    }

    #[test]
    fn signals_ask_for_the_kill_switch() {
        let child = Command::new(std::env::current_exe().expect("known"))
            .args(["--exact", "os::signals::tests::kill_request_child", "--test-threads=1"])
            .env(CHILD, "")
            .output()
            .expect("the test program runs");
        assert_eq!(child.status.code(), Some(78), "{child:?}");
    }
}

//! How long to wait before the next try, and when to give up.

use crate::event::Nanos;
use std::time::Duration;

const FIRST_NS: u64 = 10_000_000;
const LONGEST_NS: u64 = 1_000_000_000;

/// Pauses that double from 10 ms to 1 s, as long as tries fail.
#[derive(Debug)]
pub(super) struct Backoff {
    give_up_ns: u64,
    pause_ns: u64,
    failing_since: Option<Nanos>,
}

impl Backoff {
    /// Gives up when tries failed for so long without any success between them.
    pub(super) fn new(give_up: Duration) -> Backoff {
        let give_up_ns = u64::try_from(give_up.as_nanos()).unwrap_or(u64::MAX);
        Backoff { give_up_ns, pause_ns: FIRST_NS, failing_since: None }
    }

    /// A try failed: how long to wait before the next, ns, or `None` to give up.
    pub(super) fn failed(&mut self, now: Nanos) -> Option<u64> {
        let since = *self.failing_since.get_or_insert(now);
        if now.saturating_sub(since) >= self.give_up_ns {
            return None;
        }
        let pause_ns = self.pause_ns;
        self.pause_ns = (pause_ns * 2).min(LONGEST_NS);
        Some(pause_ns.min(since.saturating_add(self.give_up_ns) - now))
    }

    /// Something was achieved.
    pub(super) fn succeeded(&mut self) {
        self.failing_since = None;
        self.pause_ns = FIRST_NS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let mut backoff = Backoff::new(Duration::from_millis(50));
        assert_eq!(backoff.failed(1_000), Some(10_000_000));
        assert_eq!(backoff.failed(10_001_000), Some(20_000_000));
        assert_eq!(backoff.failed(30_001_000), Some(20_000_000), "no longer than until it gives up");
        assert_eq!(backoff.failed(50_001_000), None);
        backoff.succeeded();
        assert_eq!(backoff.failed(60_000_000), Some(10_000_000));
        let mut patient = Backoff::new(Duration::MAX);
        assert_eq!((0..20).filter_map(|_| patient.failed(5)).max(), Some(LONGEST_NS));
    }
}

//! Hot path: the sending thread's scheduling: real-time while its pace leaves it pauses, ordinary while it does not.
//!
//! Invariant: a thread that hardly sleeps is real-time for [`LOOK_NS`] at most. For longer it would starve what else
//! runs on its CPU, and the kernel's throttle would then hold it up for 50 ms of each second.

use crate::event::Nanos;
use crate::os;

/// How often the share of sleep is looked at, ns.
const LOOK_NS: u64 = 100_000_000;

/// SCHED_FIFO's lowest priority: ahead of all ordinary threads, behind everything else that is real-time.
const PRIORITY: u8 = 1;

/// Whether the sending thread was real-time, where the pace left it pauses. On a busy machine it is what exact times
/// depend on: with two threads per CPU the 99th percentile of errors was 4.6 ms without and 0.03 ms with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RealTime {
    /// It was not asked for.
    #[default]
    NotWished,
    /// The kernel refused it: that needs CAP_SYS_NICE or an RLIMIT_RTPRIO.
    Refused,
    /// It was.
    Granted,
}

/// How much of the time the thread sleeps.
#[derive(Debug)]
struct Sleep {
    since_ns: Nanos,
    slept_ns: u64,
}

impl Sleep {
    /// Whether the thread may be real-time, once per [`LOOK_NS`]: it slept for a fifth of that. The throttle begins at
    /// a twentieth.
    #[inline]
    fn leaves_pauses(&mut self, now: Nanos) -> Option<bool> {
        let passed_ns = now.saturating_sub(self.since_ns);
        if passed_ns < LOOK_NS {
            return None;
        }
        let enough = self.slept_ns >= passed_ns / 5;
        (self.since_ns, self.slept_ns) = (now, 0);
        Some(enough)
    }
}

/// The scheduling of the thread that made it, until it is dropped.
#[derive(Debug)]
pub(super) struct Urgency {
    sleep: Sleep,
    outcome: RealTime,
    raised: bool,
}

impl Urgency {
    /// Makes the calling thread real-time, if that is wished and granted, and its sleeps exact.
    pub(super) fn begin(wished: bool, now: Nanos) -> Urgency {
        os::sleep_exactly();
        let raised = wished && os::set_fifo(PRIORITY).is_ok();
        let outcome = match (wished, raised) {
            (false, _) => RealTime::NotWished,
            (true, false) => RealTime::Refused,
            (true, true) => RealTime::Granted,
        };
        Urgency { sleep: Sleep { since_ns: now, slept_ns: 0 }, outcome, raised }
    }

    /// The thread slept for so long.
    #[inline]
    pub(super) fn slept(&mut self, duration_ns: u64) {
        self.sleep.slept_ns += duration_ns;
    }

    /// Gives the priority up, or takes it back, as the pace asks for.
    #[inline]
    pub(super) fn look(&mut self, now: Nanos) {
        match self.sleep.leaves_pauses(now) {
            Some(pauses) if pauses != self.raised && self.outcome == RealTime::Granted => self.change(pauses),
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn change(&mut self, raise: bool) {
        if !raise {
            os::set_ordinary();
        }
        self.raised = raise && os::set_fifo(PRIORITY).is_ok();
    }

    pub(super) fn outcome(&self) -> RealTime {
        self.outcome
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        if self.raised {
            os::set_ordinary();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_judged_by_their_share() {
        let mut sleep = Sleep { since_ns: 1_000, slept_ns: 0 };
        assert_eq!(sleep.leaves_pauses(1_000 + LOOK_NS - 1), None);
        assert_eq!(sleep.leaves_pauses(1_000 + LOOK_NS), Some(false));
        sleep.slept_ns += LOOK_NS / 5;
        assert_eq!(sleep.leaves_pauses(1_000 + 2 * LOOK_NS), Some(true));
        sleep.slept_ns += LOOK_NS / 5;
        assert_eq!(sleep.leaves_pauses(1_000 + 4 * LOOK_NS), Some(false));
        // Each stretch is judged by itself.
        assert_eq!(sleep.leaves_pauses(1_000 + 5 * LOOK_NS), Some(false));
    }

    #[test]
    fn the_thread_is_urgent_only_where_it_sleeps() {
        std::thread::spawn(|| {
            let mut urgency = Urgency::begin(true, 0);
            let granted = urgency.outcome() == RealTime::Granted;
            assert_eq!(urgency.raised, granted);
            urgency.look(LOOK_NS);
            assert!(!urgency.raised);
            urgency.slept(LOOK_NS);
            urgency.look(2 * LOOK_NS);
            assert_eq!(urgency.raised, granted);
            let unwished = Urgency::begin(false, 0);
            assert_eq!((unwished.outcome(), unwished.raised), (RealTime::NotWished, false));
        })
        .join()
        .expect("no panic");
    }
}

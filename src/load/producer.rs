//! What every producer has: its part of the plan, its clock, its counts.
//!
//! Invariant: a producer's thread owns all of it; what others see of a run that goes on are two counters.

use super::bank::{Bank, Identity};
use super::schedule::Schedule;
use super::{Gap, LoadError, LoadPlan, ProducerReport};
use crate::event::Nanos;
use crate::ledger::LatencyRecorder;
use crate::os::{StopFlag, monotonic_now};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that are written at a time, when so much is due.
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// Longest wait, so that the stop flag is seen.
const WAIT_NS_MAX: u64 = 20_000_000;

/// Nearer due times are spun to, where there are processors enough: a sleep ends some 50 µs late.
const SPIN_BELOW_NS: u64 = 50_000;

/// What producers tell while they run.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Events handed to the kernel, further copies left out.
    pub(super) sent: AtomicU64,
    /// Bytes of all frames handed to the kernel.
    pub(super) bytes: AtomicU64,
    /// Events acknowledged.
    pub(super) acknowledged: AtomicU64,
}

/// What all producers of a load share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) plan: LoadPlan,
    pub(super) bank: Bank,
    pub(super) board: Board,
    pub(super) stop: StopFlag,
    /// When the schedule begins, CLOCK_MONOTONIC.
    pub(super) start_ns: Nanos,
    /// The Unix epoch's time at 0 of CLOCK_MONOTONIC.
    pub(super) epoch_ns: u64,
    /// Whether producers spin to near due times: there is a processor for each and one more.
    pub(super) spins: bool,
}

/// One producer.
pub(super) struct Producer<'a> {
    pub(super) common: &'a Common,
    pub(super) id: u64,
    pub(super) schedule: Schedule,
    pub(super) report: ProducerReport,
    pub(super) latency: LatencyRecorder,
}

/// What becomes of a producer that has lost its connection.
pub(super) enum Next {
    TryAgain,
    GiveUp,
}

impl<'a> Producer<'a> {
    pub(super) fn new(common: &'a Common, index: usize) -> Producer<'a> {
        let id = common.plan.producer_id.wrapping_add(index as u64);
        Producer {
            common,
            id,
            schedule: Schedule::new(&common.plan, index, common.start_ns),
            report: ProducerReport { producer: id, ..ProducerReport::default() },
            latency: LatencyRecorder::default(),
        }
    }

    /// Appends the frame of an event that is due at `intended_ns`.
    pub(super) fn append(&self, sequence: u64, intended_ns: Nanos, into: &mut Vec<u8>) {
        let time_ns = self.common.epoch_ns.wrapping_add(intended_ns);
        self.common.bank.append(&Identity { producer: self.id, sequence, time_ns }, into);
    }

    /// Whether no further event is to be begun.
    pub(super) fn is_over(&self, events: u64, now: Nanos) -> bool {
        self.common.stop.is_set() || self.schedule.finished(events, now)
    }

    /// How long to wait for event `n`, ns; 0 when it is due or so near that it is better spun to.
    pub(super) fn pause_ns(&self, n: u64, now: Nanos) -> u64 {
        let due_ns = self.schedule.intended_ns(n, now).min(self.schedule.end_ns().unwrap_or(u64::MAX));
        let left_ns = due_ns.saturating_sub(now);
        if left_ns == 0 || (left_ns < SPIN_BELOW_NS && self.common.spins) {
            return 0;
        }
        // Without a processor to spin on, a short wait is made longer: others need it, and a batch comes of it.
        left_ns.clamp(SPIN_BELOW_NS, WAIT_NS_MAX)
    }

    /// Bytes were handed to the kernel, and so many events with them for the first time.
    pub(super) fn note_written(&mut self, events: u64, bytes: usize) {
        self.report.bytes += bytes as u64;
        // Relaxed: counters for show, each by itself.
        self.common.board.sent.fetch_add(events, Ordering::Relaxed);
        self.common.board.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Sleeps, in pieces, as long as nobody asks to stop.
    pub(super) fn sleep(&self, duration_ns: u64) {
        let until = monotonic_now().saturating_add(duration_ns);
        while !self.common.stop.is_set() {
            let left_ns = until.saturating_sub(monotonic_now());
            if left_ns == 0 {
                return;
            }
            std::thread::sleep(Duration::from_nanos(left_ns.min(WAIT_NS_MAX)));
        }
        // Not busily, where a stop finds the server gone.
        std::thread::sleep(Duration::from_nanos(duration_ns.min(WAIT_NS_MAX)));
    }

    /// Enters why a connection was lost, and waits before the next; gives up by the plan.
    pub(super) fn lost(&mut self, backoff: &mut super::backoff::Backoff, reason: &str) -> Next {
        *self.report.losses.entry(reason.to_owned()).or_default() += 1;
        if !self.common.plan.reconnect {
            return Next::GiveUp;
        }
        match backoff.failed(monotonic_now()) {
            Some(pause_ns) => {
                self.sleep(pause_ns);
                Next::TryAgain
            }
            None => Next::GiveUp,
        }
    }

    /// Ends the producer that failed.
    pub(super) fn fail(&mut self, error: &LoadError) {
        self.report.failure = Some(error.to_string());
    }

    /// Closes the report: events with the numbers from `first` on, `sent` of them.
    pub(super) fn close(
        mut self,
        first: u64,
        sent: u64,
        confirmed: Option<u64>,
    ) -> (ProducerReport, LatencyRecorder) {
        self.report.first_sequence = first;
        self.report.sent = sent;
        self.report.not_sent = self.schedule.total().map_or(0, |total| total.saturating_sub(sent));
        if let Some(confirmed) = confirmed {
            let last = first + sent;
            self.report.acknowledged = Some(confirmed + 1 - first.min(confirmed + 1));
            if confirmed + 1 < last {
                self.report.unacknowledged = Some(Gap { from: confirmed + 1, to: last - 1 });
            }
        }
        self.report.by_topic = self.common.bank.by_topic(self.id, first..first + sent);
        (self.report, self.latency)
    }
}

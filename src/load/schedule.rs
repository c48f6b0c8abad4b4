//! When each event is due: a pure function of its number.
//!
//! Invariant: nothing that happens while sending changes it.

use super::LoadPlan;
use crate::event::Nanos;

const SECOND_NS: u64 = 1_000_000_000;

/// How events are spread over time; counts are over all producers.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Unlimited,
    PerSecond(u64),
    Bursts { events: u64, period_ns: u64 },
}

/// The schedule of one producer, which takes every so many-th event of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pace: Pace,
    start_ns: Nanos,
    end_ns: Option<Nanos>,
    index: u64,
    producers: u64,
    /// Events of this producer, if that is known.
    total: Option<u64>,
}

impl Schedule {
    /// The schedule of the producer with this index; all begin at `start_ns`.
    pub(super) fn new(plan: &LoadPlan, index: usize, start_ns: Nanos) -> Schedule {
        let pace = match (plan.burst, plan.rate) {
            (Some(burst), _) => {
                let period_ns = u64::try_from(burst.period.as_nanos()).unwrap_or(u64::MAX).max(1);
                Pace::Bursts { events: burst.events.get(), period_ns }
            }
            (None, Some(rate)) => Pace::PerSecond(rate.get()),
            (None, None) => Pace::Unlimited,
        };
        let duration_ns =
            plan.duration.map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        let mut schedule = Schedule {
            pace,
            start_ns,
            end_ns: duration_ns.map(|ns| start_ns.saturating_add(ns)),
            index: index as u64,
            producers: plan.producers.max(1) as u64,
            total: None,
        };
        let of_count = plan.count.map(|count| schedule.share(count));
        let of_duration = duration_ns.and_then(|ns| schedule.due_within(ns.saturating_sub(1)));
        schedule.total = of_count.into_iter().chain(of_duration).min();
        schedule
    }

    /// How many of the first `events` of all producers are this one's.
    fn share(&self, events: u64) -> u64 {
        events / self.producers + u64::from(events % self.producers > self.index)
    }

    /// This producer's events that are due at `elapsed_ns` or before; `None` when there is no schedule.
    fn due_within(&self, elapsed_ns: u64) -> Option<u64> {
        let events = match self.pace {
            Pace::Unlimited => return None,
            Pace::PerSecond(rate) => {
                let whole = u128::from(elapsed_ns) * u128::from(rate) / u128::from(SECOND_NS);
                u64::try_from(whole).unwrap_or(u64::MAX - 1) + 1
            }
            Pace::Bursts { events, period_ns } => (elapsed_ns / period_ns + 1).saturating_mul(events),
        };
        Some(self.share(events))
    }

    /// How many events are due by `now`, from the start.
    pub(super) fn due(&self, now: Nanos) -> u64 {
        if now < self.start_ns {
            return 0;
        }
        let open_ended = if self.end_ns.is_some_and(|end| now >= end) { 0 } else { u64::MAX };
        match self.due_within(now - self.start_ns) {
            Some(due) => due.min(self.total.unwrap_or(u64::MAX)),
            None => self.total.unwrap_or(u64::MAX).min(open_ended),
        }
    }

    /// When this producer's event `n`, from 0, is due; without a pace, `now`.
    pub(super) fn intended_ns(&self, n: u64, now: Nanos) -> Nanos {
        let event = n.saturating_mul(self.producers).saturating_add(self.index);
        let after_ns = match self.pace {
            Pace::Unlimited => return now,
            // Rounded up, so that the event is due then and not a nanosecond before.
            Pace::PerSecond(rate) => match event.checked_mul(SECOND_NS) {
                Some(product) => product.div_ceil(rate),
                None => {
                    let ns = (u128::from(event) * u128::from(SECOND_NS)).div_ceil(u128::from(rate));
                    u64::try_from(ns).unwrap_or(u64::MAX)
                }
            },
            Pace::Bursts { events, period_ns } => (event / events).saturating_mul(period_ns),
        };
        self.start_ns.saturating_add(after_ns)
    }

    /// Whether there is nothing to be sent behind the first `n` events.
    pub(super) fn finished(&self, n: u64, now: Nanos) -> bool {
        let time_is_up = matches!(self.pace, Pace::Unlimited) && self.end_ns.is_some_and(|end| now >= end);
        self.total.is_some_and(|total| n >= total) || time_is_up
    }

    /// Events of this producer, where count or duration tells.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// When the time is up, if it is limited.
    pub(super) fn end_ns(&self) -> Option<Nanos> {
        self.end_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::plan;
    use std::num::NonZeroU64;
    use std::time::Duration;

    const START: Nanos = 5_000;

    fn schedules(plan: &LoadPlan) -> Vec<Schedule> {
        (0..plan.producers).map(|index| Schedule::new(plan, index, START)).collect()
    }

    #[test]
    fn a_rate_is_shared_evenly_and_does_not_drift() {
        let plan =
            LoadPlan { producers: 3, rate: NonZeroU64::new(7), count: Some(70), ..plan("tcp:127.0.0.1:1") };
        let schedules = schedules(&plan);
        let totals: Vec<_> = schedules.iter().map(Schedule::total).collect();
        assert_eq!(totals, [Some(24), Some(23), Some(23)]);
        for (index, schedule) in schedules.iter().enumerate() {
            for n in 0..23 {
                let intended = schedule.intended_ns(n, 0);
                let event = n * 3 + index as u64;
                assert_eq!(intended, START + (event * SECOND_NS).div_ceil(7));
                assert_eq!((schedule.due(intended - 1), schedule.due(intended)), (n, n + 1), "{index} {n}");
            }
        }
        assert_eq!(schedules[0].due(u64::MAX), 24);
        assert!(schedules[0].finished(24, 0) && !schedules[0].finished(23, u64::MAX));
    }

    #[test]
    fn bursts_are_due_at_once() {
        let burst = "10/100".parse().ok();
        let plan = LoadPlan {
            producers: 2,
            burst,
            duration: Some(Duration::from_millis(250)),
            ..plan("tcp:127.0.0.1:1")
        };
        for schedule in schedules(&plan) {
            assert_eq!(schedule.total(), Some(15), "three bursts of ten, half of them its own");
            assert_eq!((schedule.due(START - 1), schedule.due(START)), (0, 5));
            assert_eq!((schedule.due(START + 99_999_999), schedule.due(START + 100_000_000)), (5, 10));
            assert_eq!(schedule.intended_ns(5, 0), START + 100_000_000);
        }
    }

    #[test]
    fn without_a_pace_everything_is_due_until_the_time_is_up() {
        let plan = LoadPlan { duration: Some(Duration::from_nanos(10)), ..plan("tcp:127.0.0.1:1") };
        let schedule = Schedule::new(&plan, 0, START);
        assert_eq!((schedule.due(START), schedule.due(START + 10)), (u64::MAX, 0));
        assert_eq!(schedule.intended_ns(9, 77), 77);
        assert!(!schedule.finished(u64::MAX - 1, START) && schedule.finished(0, START + 10));
    }

    #[test]
    fn numbers_that_are_too_large_do_not_overflow() {
        let plan = LoadPlan { rate: NonZeroU64::new(u64::MAX), ..plan("tcp:127.0.0.1:1") };
        let schedule = Schedule::new(&plan, 0, START);
        assert_eq!(schedule.due(u64::MAX), u64::MAX);
        assert!(schedule.intended_ns(u64::MAX, 0) >= START);
    }
}

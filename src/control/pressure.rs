//! How hard the appliance is pressed: five levels, from samples of its counters.
//!
//! Invariant: pure. The level rises at once to what the values say, and falls by one at a time, each after values have been
//! low for the dwell time; so input that flaps makes no more than one fall, and one rise for each, per dwell time.

use crate::event::Nanos;
use crate::ledger::{Boards, Counter, Level};
use serde::Serialize;

/// Parts in a million, the unit of drop rates and factors.
const MILLION: u128 = 1_000_000;

/// Where the levels above [`Level::Healthy`] begin, in thousandths of the greatest depth and latency: the ancestor's.
const DEPTH_STEPS: [u128; 4] = [500, 750, 1_000, 1_500];

/// And in thousandths of the greatest drop rate: 1, 2, 4 and 10 % of 2 %.
const DROP_STEPS: [u128; 4] = [500, 1_000, 2_000, 5_000];

/// What the levels are measured against. The defaults are the ancestor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressureSettings {
    /// Events that may wait in the queues of one shard; not 0.
    pub max_queue_depth: u64,
    /// Events that may be dropped, in a million offered; not 0.
    pub max_drop_ppm: u64,
    /// The drop rate is taken over so many offered events, at least.
    pub min_events: u64,
    /// Values fall below this part, in a million, of their level's threshold before it is left.
    pub recovery_ppm: u64,
    /// How long they must have been there, ns.
    pub dwell_ns: Nanos,
    /// The 99th percentile of the latency that may be, ns; `None` not to look at it.
    pub max_latency_ns: Option<u64>,
}

impl Default for PressureSettings {
    fn default() -> PressureSettings {
        PressureSettings {
            max_queue_depth: 5_000,
            max_drop_ppm: 20_000,
            min_events: 1_000,
            recovery_ppm: 800_000,
            dwell_ns: 1_000_000_000,
            max_latency_ns: None,
        }
    }
}

/// A look at the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Events waiting in all queues of the fullest shard, and with the helpers of processors.
    pub queue_depth: u64,
    /// Events that came, so far.
    pub offered: u64,
    /// Those of them that were lost for want of room, so far.
    pub dropped: u64,
    /// The 99th percentile of the latency since the sample before, ns, where events were processed.
    pub p99_ns: Option<u64>,
}

impl Sample {
    /// What the boards say now.
    pub fn of(boards: &Boards) -> Sample {
        let fullest = boards.shards.iter().map(|board| board.waiting()).max().unwrap_or(0);
        let with_helpers: u64 = boards.processors.iter().map(|board| board.waiting()).sum();
        let p99_ns = boards.processors.iter().map(|board| board.read(Counter::P99Ns)).max();
        Sample {
            queue_depth: fullest + with_helpers,
            offered: boards.sum(Counter::Offered),
            dropped: boards.sum(Counter::Dropped),
            p99_ns: p99_ns.filter(|p99_ns| *p99_ns > 0),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Events that wait; its values are events.
    QueueDepth,
    /// Events dropped of those offered; its values are parts in a million.
    DropRate,
    /// The 99th percentile of the latency; its values are ns.
    Latency,
}

/// Why a level was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// More events waited.
    QueueDepth,
    /// More events were dropped.
    DropRate,
    /// Events took longer.
    Latency,
    /// All values had been low for the dwell time.
    Recovered,
}

impl Cause {
    /// The name used in logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::QueueDepth => "queue_depth",
            Cause::DropRate => "drop_rate",
            Cause::Latency => "latency",
            Cause::Recovered => "recovered",
        }
    }
}

/// The level has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The level before.
    pub from: Level,
    /// The level now.
    pub to: Level,
    /// When, ns of the monotonic clock.
    pub at_ns: Nanos,
    /// Why.
    pub cause: Cause,
    /// What was measured: what raised it, or, once recovered, what was still closest to its threshold.
    pub measure: Measure,
    /// Its value, in its unit.
    pub value: u64,
    /// The threshold that the value is above, or, once recovered, below.
    pub threshold: u64,
}

/// A value, `count` in `of`, and what it is measured against. Wide, so that no product of theirs is too large.
#[derive(Clone, Copy, Debug)]
struct Reading {
    measure: Measure,
    count: u128,
    of: u128,
    max: u128,
    steps: [u128; 4],
}

impl Reading {
    /// The level that the value says. Whole numbers, so that a value at a threshold is exactly there.
    fn level(&self) -> Level {
        let is_above = |step: u128| self.count * 1_000 > self.max * self.of * step;
        Level::from_u8(self.steps.iter().take_while(|step| is_above(**step)).count() as u8)
    }

    /// Whether the value is low enough for `level` to be left.
    fn is_below(&self, level: Level, recovery_ppm: u128) -> bool {
        let bound = |step: u128| self.max * self.of * step * recovery_ppm;
        self.step(level).is_some_and(|step| self.count * 1_000 * MILLION < bound(step))
    }

    /// Where `level` begins, in thousandths of the greatest value; the lowest level begins nowhere.
    fn step(&self, level: Level) -> Option<u128> {
        self.steps.get((level as usize).checked_sub(1)?).copied()
    }

    fn threshold(&self, level: Level) -> u128 {
        self.max * self.step(level).unwrap_or(0) / 1_000
    }

    /// The value in its unit.
    fn value(&self) -> u64 {
        narrow(self.count / self.of.max(1))
    }

    /// The value in millionths of the greatest one.
    fn strain(&self) -> u128 {
        self.count * MILLION / (self.max * self.of).max(1)
    }

    const fn cause(&self) -> Cause {
        match self.measure {
            Measure::QueueDepth => Cause::QueueDepth,
            Measure::DropRate => Cause::DropRate,
            Measure::Latency => Cause::Latency,
        }
    }
}

fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// The drop rate: over intervals of enough events, and for as long as it says something about the present.
#[derive(Clone, Copy, Debug)]
struct DropRate {
    base_offered: u64,
    base_dropped: u64,
    offered: u64,
    dropped: u64,
    measured_ns: Nanos,
}

impl DropRate {
    fn update(&mut self, sample: &Sample, settings: &PressureSettings, now: Nanos) {
        let offered = sample.offered.saturating_sub(self.base_offered);
        if offered >= settings.min_events.max(1) {
            (self.offered, self.dropped) = (offered, sample.dropped.saturating_sub(self.base_dropped));
            (self.base_offered, self.base_dropped) = (sample.offered, sample.dropped);
            self.measured_ns = now;
        } else if now.saturating_sub(self.measured_ns) >= settings.dwell_ns {
            // Too few came since to measure anew: what was measured then is over.
            (self.offered, self.dropped) = (1, 0);
        }
    }
}

/// The level, and what is remembered between samples.
#[derive(Clone, Debug)]
pub struct Pressure {
    settings: PressureSettings,
    level: Level,
    drops: DropRate,
    /// Since when all values have been low enough to leave the level.
    low_since: Option<Nanos>,
}

impl Pressure {
    /// At [`Level::Healthy`], with counters that begin at 0.
    pub fn new(settings: PressureSettings) -> Pressure {
        let drops = DropRate { base_offered: 0, base_dropped: 0, offered: 1, dropped: 0, measured_ns: 0 };
        Pressure { settings, level: Level::Healthy, drops, low_since: None }
    }

    /// The present level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes a sample; says whether the level changes by it. `now` does not fall.
    pub fn sample(&mut self, sample: &Sample, now: Nanos) -> Option<Transition> {
        self.drops.update(sample, &self.settings, now);
        let readings = self.readings(sample);
        let mut worst = readings[0];
        for reading in &readings[1..] {
            if (reading.level(), reading.strain()) > (worst.level(), worst.strain()) {
                worst = *reading;
            }
        }
        if worst.level() > self.level {
            let to = worst.level();
            self.low_since = None;
            return Some(self.change(to, worst.cause(), &worst, worst.threshold(to), now));
        }
        if !self.is_low(&readings) {
            self.low_since = None;
            return None;
        }
        let since = *self.low_since.get_or_insert(now);
        if now.saturating_sub(since) < self.settings.dwell_ns {
            return None;
        }
        let threshold = worst.threshold(self.level) * u128::from(self.settings.recovery_ppm) / MILLION;
        let to = Level::from_u8((self.level as u8).saturating_sub(1));
        let transition = self.change(to, Cause::Recovered, &worst, threshold, now);
        // The next level is left after a dwell time of its own.
        self.low_since = self.is_low(&readings).then_some(now);
        Some(transition)
    }

    fn is_low(&self, readings: &[Reading; 3]) -> bool {
        let recovery_ppm = self.settings.recovery_ppm.into();
        readings.iter().all(|reading| reading.is_below(self.level, recovery_ppm))
    }

    fn change(
        &mut self,
        to: Level,
        cause: Cause,
        reading: &Reading,
        threshold: u128,
        now: Nanos,
    ) -> Transition {
        let from = std::mem::replace(&mut self.level, to);
        let (measure, value) = (reading.measure, reading.value());
        Transition { from, to, at_ns: now, cause, measure, value, threshold: narrow(threshold) }
    }

    fn readings(&self, sample: &Sample) -> [Reading; 3] {
        let settings = &self.settings;
        // Without a limit, or events, no latency is too long.
        let (p99_ns, latency_max) = match (sample.p99_ns, settings.max_latency_ns) {
            (Some(p99_ns), Some(max)) => (p99_ns, max),
            _ => (0, 1),
        };
        [
            Reading {
                measure: Measure::QueueDepth,
                count: sample.queue_depth.into(),
                of: 1,
                max: settings.max_queue_depth.into(),
                steps: DEPTH_STEPS,
            },
            Reading {
                measure: Measure::DropRate,
                count: u128::from(self.drops.dropped) * MILLION,
                of: self.drops.offered.into(),
                max: settings.max_drop_ppm.into(),
                steps: DROP_STEPS,
            },
            Reading {
                measure: Measure::Latency,
                count: p99_ns.into(),
                of: 1,
                max: latency_max.into(),
                steps: DEPTH_STEPS,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Nanos = 1_000_000;
    const SECOND: Nanos = 1_000 * MS;

    fn depth(queue_depth: u64) -> Sample {
        Sample { queue_depth, ..Sample::default() }
    }

    fn drops(offered: u64, dropped: u64) -> Sample {
        Sample { offered, dropped, ..Sample::default() }
    }

    fn latency(p99_ns: u64) -> Sample {
        Sample { p99_ns: Some(p99_ns), ..Sample::default() }
    }

    fn after(sample: Sample) -> Level {
        let settings = PressureSettings { max_latency_ns: Some(1_000_000), ..PressureSettings::default() };
        let mut pressure = Pressure::new(settings);
        let told = pressure.sample(&sample, SECOND);
        assert_eq!(told.map_or(Level::Healthy, |transition| transition.to), pressure.level());
        pressure.level()
    }

    #[test]
    fn each_threshold_is_left_by_one_more() {
        use Level::{Critical, Degraded, Elevated, Emergency, Healthy};
        // At or below the number it is the first level, one above it the second.
        let by_depth = [(2_500, Elevated), (3_750, Degraded), (5_000, Critical), (7_500, Emergency)];
        let by_drops = [(10, Elevated), (20, Degraded), (40, Critical), (100, Emergency)];
        for (index, ((waiting, level), (dropped, same))) in by_depth.into_iter().zip(by_drops).enumerate() {
            let below = [Healthy, Elevated, Degraded, Critical][index];
            assert_eq!(level, same);
            for (count, expected) in [(waiting - 1, below), (waiting, below), (waiting + 1, level)] {
                assert_eq!(after(depth(count)), expected, "{count} waiting");
                assert_eq!(after(latency(count * 200)), expected, "{} ns", count * 200);
            }
            assert_eq!(after(latency(waiting * 200 + 1)), level);
            for (count, expected) in [(dropped - 1, below), (dropped, below), (dropped + 1, level)] {
                assert_eq!(after(drops(1_000, count)), expected, "{count} of 1,000 dropped");
            }
        }
        assert_eq!(after(depth(u64::MAX)), Emergency);
        assert_eq!(after(drops(u64::MAX, u64::MAX)), Emergency);
        assert_eq!(after(latency(u64::MAX)), Emergency);
        assert_eq!(after(Sample::default()), Healthy);
    }

    #[test]
    fn transitions_say_why() {
        let settings = PressureSettings { max_latency_ns: Some(1_000_000), ..PressureSettings::default() };
        let table = [
            (depth(5_001), Cause::QueueDepth, Measure::QueueDepth, 5_001, 5_000),
            (drops(1_000, 50), Cause::DropRate, Measure::DropRate, 50_000, 40_000),
            (latency(1_200_000), Cause::Latency, Measure::Latency, 1_200_000, 1_000_000),
            // The highest level decides among several causes, then who is furthest above.
            (
                Sample { queue_depth: 2_600, ..drops(1_000, 50) },
                Cause::DropRate,
                Measure::DropRate,
                50_000,
                40_000,
            ),
            (
                Sample { queue_depth: 5_001, p99_ns: Some(1_400_000), ..drops(0, 0) },
                Cause::Latency,
                Measure::Latency,
                1_400_000,
                1_000_000,
            ),
        ];
        for (sample, cause, measure, value, threshold) in table {
            let told = Pressure::new(settings).sample(&sample, 7).expect("rises");
            let (from, to) = (Level::Healthy, Level::Critical);
            assert_eq!(told, Transition { from, to, at_ns: 7, cause, measure, value, threshold });
        }
    }

    #[test]
    fn latency_counts_only_where_it_has_a_limit_and_events() {
        let mut pressure = Pressure::new(PressureSettings::default());
        assert_eq!(pressure.sample(&latency(u64::MAX), 1), None);
        let limit = PressureSettings { max_latency_ns: Some(1), ..PressureSettings::default() };
        assert_eq!(Pressure::new(limit).sample(&depth(0), 1), None);
    }

    #[test]
    fn it_falls_one_level_per_dwell_time_and_below_eight_tenths_only() {
        let mut pressure = Pressure::new(PressureSettings::default());
        pressure.sample(&depth(8_000), 0);
        assert_eq!(pressure.level(), Level::Emergency);
        // 0.8 of 7,500 is 6,000: at it, nothing falls, however long.
        for second in 1..10 {
            assert_eq!(pressure.sample(&depth(6_000), second * SECOND), None);
        }
        let begin = 10 * SECOND;
        assert_eq!(pressure.sample(&depth(5_999), begin), None);
        assert_eq!(pressure.sample(&depth(5_999), begin + SECOND - 1), None, "not for the dwell time");
        let told = pressure.sample(&depth(5_999), begin + SECOND).expect("falls");
        assert_eq!((told.from, told.to, told.cause), (Level::Emergency, Level::Critical, Cause::Recovered));
        assert_eq!((told.measure, told.value, told.threshold), (Measure::QueueDepth, 5_999, 6_000));
        // 5,999 is not below 0.8 of 5,000.
        assert_eq!(pressure.sample(&depth(5_999), begin + 9 * SECOND), None);
        // From now on for a dwell time each.
        let begin = 30 * SECOND;
        let mut fell = Vec::new();
        for step in 0..500 {
            fell.extend(pressure.sample(&depth(0), begin + step * 10 * MS));
        }
        let falls: Vec<_> = fell.iter().map(|told| (told.to, told.at_ns - begin)).collect();
        let expected =
            [(Level::Degraded, SECOND), (Level::Elevated, 2 * SECOND), (Level::Healthy, 3 * SECOND)];
        assert_eq!(falls, expected);
    }

    #[test]
    fn a_value_that_comes_back_begins_the_dwell_time_anew() {
        let mut pressure = Pressure::new(PressureSettings::default());
        pressure.sample(&depth(2_501), 0);
        assert_eq!(pressure.sample(&depth(0), 100 * MS), None);
        assert_eq!(pressure.sample(&depth(2_000), 900 * MS), None, "not below 0.8 of 2,500");
        assert_eq!(pressure.sample(&depth(0), 1_200 * MS), None);
        assert_eq!(pressure.sample(&depth(0), 2_100 * MS), None);
        assert!(pressure.sample(&depth(0), 2_200 * MS).is_some());
    }

    #[test]
    fn drops_are_judged_over_enough_events_only() {
        let mut pressure = Pressure::new(PressureSettings::default());
        assert_eq!(pressure.sample(&drops(999, 999), 1), None, "too few");
        let told = pressure.sample(&drops(1_000, 999), 2).expect("enough");
        assert_eq!((told.to, told.value), (Level::Emergency, 999_000));
        // 1,000 further events without a loss: the interval, not the sum, counts.
        for step in 0..=400 {
            pressure.sample(&drops(2_000 + step, 999), SECOND + step * 10 * MS);
        }
        assert_eq!(pressure.level(), Level::Healthy);
    }

    #[test]
    fn a_quiet_source_recovers_too() {
        let mut pressure = Pressure::new(PressureSettings::default());
        pressure.sample(&drops(1_000, 500), 0);
        assert_eq!(pressure.level(), Level::Emergency);
        let mut told = Vec::new();
        // An event every 10 ms, too few to measure a rate by, and each of them lost.
        for step in 1..=520 {
            told.extend(pressure.sample(&drops(1_000 + step, 500 + step), step * 10 * MS));
        }
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!((pressure.level(), told[0].at_ns), (Level::Healthy, 2 * SECOND));
    }

    #[test]
    fn flapping_input_is_damped() {
        let mut pressure = Pressure::new(PressureSettings::default());
        let mut told = Vec::new();
        for step in 0..6_000 {
            // 10 ms above everything, 10 ms of nothing, for a minute.
            let sample = depth(if step % 2 == 0 { 10_000 } else { 0 });
            told.extend(pressure.sample(&sample, step * 10 * MS));
        }
        assert_eq!(told.len(), 1, "the dwell time is never reached: {told:?}");
        // Above every 1.5 s: it falls once in between, and rises again.
        told.clear();
        for step in 0..6_000 {
            let sample = depth(if step % 150 == 0 { 10_000 } else { 0 });
            told.extend(pressure.sample(&sample, 100 * SECOND + step * 10 * MS));
        }
        assert!((70..=80).contains(&told.len()), "{}", told.len());
    }

    fn samples() -> impl Strategy<Value = Vec<(u64, u64, u64, Option<u64>, Nanos)>> {
        let one = (
            prop_oneof![Just(0), 0..12_000u64],
            0..5_000u64,
            0..1_000u64,
            proptest::option::of(0..2_000_000u64),
            0..400 * MS,
        );
        proptest::collection::vec(one, 1..300)
    }

    proptest! {
        #[test]
        fn it_never_falls_by_more_than_one_nor_twice_in_a_dwell_time(samples in samples()) {
            let settings = PressureSettings { max_latency_ns: Some(1_000_000), ..PressureSettings::default() };
            let mut pressure = Pressure::new(settings);
            let (mut now, mut fell_at, mut falls, mut all) = (0, None::<Nanos>, 0, 0);
            let mut sum = Sample::default();
            for (queue_depth, offered, dropped, p99_ns, passed) in samples {
                now += passed;
                sum = Sample { queue_depth, offered: sum.offered + offered, dropped: sum.dropped + dropped.min(offered), p99_ns };
                let before = pressure.level();
                let told = pressure.sample(&sum, now);
                prop_assert_eq!(told.is_some(), pressure.level() != before);
                let Some(told) = told else { continue };
                prop_assert_eq!((told.from, told.to, told.at_ns), (before, pressure.level(), now));
                all += 1;
                if told.to < told.from {
                    prop_assert_eq!((told.from as u8 - told.to as u8, told.cause), (1, Cause::Recovered));
                    prop_assert!(told.value < told.threshold || told.threshold == 0 && told.value == 0);
                    prop_assert!(fell_at.is_none_or(|at| now - at >= SECOND));
                    fell_at = Some(now);
                    falls += 1;
                } else {
                    prop_assert!(told.cause != Cause::Recovered && told.value >= told.threshold);
                }
            }
            prop_assert!(all <= 2 * falls + 4, "each rise but four needs a fall: {} with {} falls", all, falls);
            // And whatever was: without input it is healthy after a dwell time for each level, and one for the drop rate.
            let begin = now;
            let quiet = Sample { queue_depth: 0, p99_ns: None, ..sum };
            while now <= begin + 6 * SECOND {
                now += 10 * MS;
                pressure.sample(&quiet, now);
            }
            prop_assert_eq!(pressure.level(), Level::Healthy);
        }
    }
}

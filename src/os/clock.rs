//! The clock of every hot loop: ticks of the CPU read without a system call, told in nanoseconds of CLOCK_MONOTONIC.
//! Invariant: on one thread it never steps backwards, and after [`Clock::recalibrate`] it is within a microsecond of
//! CLOCK_MONOTONIC (and so of `bpf_ktime_get_ns`).
#![expect(unsafe_code, reason = "the time stamp counter is read by an intrinsic")]

use crate::event::Nanos;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What a [`Clock`] counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickSource {
    /// The invariant time stamp counter of an x86 CPU.
    Tsc,
    /// CLOCK_MONOTONIC itself, read for each `now`.
    Kernel,
}

impl TickSource {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            TickSource::Tsc => "tsc",
            TickSource::Kernel => "clock_gettime",
        }
    }
}

/// Pause between the two samples of the first calibration. Samples are good to about 50 ns, so the rate is good to 5
/// parts in a million: 50 ns per 10 ms of housekeeping.
const FIRST_CALIBRATION: Duration = Duration::from_millis(20);

/// A sample whose two readings of the counter lie further apart is thrown away: something came between them.
const SAMPLE_WIDTH_NS_MAX: u64 = 1_000;

/// An error is worked off over this time, twice the interval of housekeeping.
const SLEW_NS: u64 = 20_000_000;

/// A clock that lags by more is set forward at once.
const STEP_NS: u64 = 10_000;

/// The rate is measured over one to two of these: long against a sample's error, short against what NTP does.
const RATE_WINDOW_NS: u64 = 250_000_000;

/// The rate is not measured over less: a sample's error would be more than 400 parts in a million of it.
const RATE_WINDOW_NS_MIN: u64 = 5_000_000;

/// A counter whose rate changes by more than one in this many is no clock (NTP steers by half as much at most).
const RATE_CHANGE_MAX: u64 = 1_000;

const FRACTION_BITS: u32 = 32;

/// The clock. It is copied freely; each thread recalibrates its own copy in housekeeping.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    kind: TickSource,
    line: Line,
    /// Rate of the counter itself, while `line` may run a little faster or slower to work off an error.
    rate: u64,
    base: Sample,
    next_base: Sample,
}

/// Time as a line: `anchor_ns` at `anchor_ticks`, and `rate` nanoseconds per tick, times 2^32, from there on.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    anchor_ticks: u64,
    anchor_ns: Nanos,
    rate: u64,
}

impl Line {
    #[inline]
    fn at(&self, ticks: u64) -> Nanos {
        // Saturating: the counters of two CPUs may differ by some ticks just after the anchor was set.
        let passed = ticks.saturating_sub(self.anchor_ticks);
        self.anchor_ns + ((u128::from(passed) * u128::from(self.rate)) >> FRACTION_BITS) as u64
    }
}

/// The counter and CLOCK_MONOTONIC, read at the same moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    ticks: u64,
    ns: Nanos,
    /// Ticks between the readings before and after that of CLOCK_MONOTONIC.
    width: u64,
}

impl Sample {
    /// The narrowest of several tries: the one that nothing interrupted.
    fn take(tries: usize) -> Sample {
        let mut best = Sample { width: u64::MAX, ..Sample::default() };
        for _ in 0..tries {
            let before = ticks();
            let ns = monotonic_now();
            let width = ticks().saturating_sub(before);
            if width < best.width {
                best = Sample { ticks: before + width / 2, ns, width };
            }
        }
        best
    }
}

impl Clock {
    /// Calibrates the time stamp counter against CLOCK_MONOTONIC, which takes about 20 ms; where the counter isn't
    /// invariant, or the kernel distrusts it, the clock is CLOCK_MONOTONIC itself.
    pub fn new() -> Clock {
        if !counter_is_invariant() {
            return Clock::kernel();
        }
        for _ in 0..5 {
            let base = Sample::take(64);
            std::thread::sleep(FIRST_CALIBRATION);
            if let Some(clock) = Clock::from_samples(base, Sample::take(64)) {
                return clock;
            }
        }
        Clock::kernel()
    }

    /// The clock that asks the kernel each time.
    pub fn kernel() -> Clock {
        let none = Sample::default();
        Clock { kind: TickSource::Kernel, line: Line::default(), rate: 0, base: none, next_base: none }
    }

    /// What it counts by.
    pub fn kind(&self) -> TickSource {
        self.kind
    }

    /// Nanoseconds of CLOCK_MONOTONIC, now.
    #[inline]
    pub fn now(&self) -> Nanos {
        match self.kind {
            TickSource::Tsc => self.line.at(ticks()),
            // The anchor is where a counter that proved no clock had got to.
            TickSource::Kernel => monotonic_now().max(self.line.anchor_ns),
        }
    }

    /// Compares with CLOCK_MONOTONIC and corrects the rate, so that an error shrinks without a step backwards; to be
    /// called from housekeeping, some times a second. No system call where the kernel's clock has none.
    pub fn recalibrate(&mut self) {
        if self.kind == TickSource::Tsc {
            self.correct(Sample::take(8));
        }
    }

    fn from_samples(base: Sample, sample: Sample) -> Option<Clock> {
        let rate = rate_between(base, sample)?;
        let line = Line { anchor_ticks: sample.ticks, anchor_ns: sample.ns, rate };
        let narrow = |width| nanos_of(width, rate) <= SAMPLE_WIDTH_NS_MAX;
        let clock = Clock { kind: TickSource::Tsc, line, rate, base, next_base: sample };
        (narrow(base.width) && narrow(sample.width)).then_some(clock)
    }

    fn correct(&mut self, sample: Sample) {
        if nanos_of(sample.width, self.rate) > SAMPLE_WIDTH_NS_MAX {
            return;
        }
        let reached = self.line.at(sample.ticks);
        if sample.ns.saturating_sub(self.base.ns) >= RATE_WINDOW_NS_MIN {
            match rate_between(self.base, sample) {
                Some(rate) if rate.abs_diff(self.rate) <= self.rate / RATE_CHANGE_MAX => self.rate = rate,
                _ => {
                    self.kind = TickSource::Kernel;
                    self.line.anchor_ns = reached;
                    return;
                }
            }
        }
        self.line = if sample.ns > reached + STEP_NS {
            Line { anchor_ticks: sample.ticks, anchor_ns: sample.ns, rate: self.rate }
        } else {
            // From where the clock stands to where the true time will be in SLEW_NS; half speed at the slowest.
            let target = (sample.ns + SLEW_NS).saturating_sub(reached).max(SLEW_NS / 2);
            let rate = (u128::from(self.rate) * u128::from(target) / u128::from(SLEW_NS)) as u64;
            Line { anchor_ticks: sample.ticks, anchor_ns: reached, rate }
        };
        if sample.ns - self.next_base.ns >= RATE_WINDOW_NS {
            self.base = self.next_base;
            self.next_base = sample;
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

fn rate_between(base: Sample, sample: Sample) -> Option<u64> {
    let ticks = sample.ticks.checked_sub(base.ticks).filter(|&ticks| ticks > 0)?;
    let ns = sample.ns.checked_sub(base.ns).filter(|&ns| ns > 0)?;
    u64::try_from((u128::from(ns) << FRACTION_BITS) / u128::from(ticks)).ok().filter(|&rate| rate > 0)
}

fn nanos_of(ticks: u64, rate: u64) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> FRACTION_BITS) as u64
}

/// CLOCK_MONOTONIC in nanoseconds, from the kernel.
#[inline]
pub fn monotonic_now() -> Nanos {
    // It can't fail for a clock that every kernel has; 0 means "not known".
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and Linux forbids it to no process that didn't ask for that.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ticks() -> u64 {
    0
}

/// Whether the counter runs at one rate in every power state, and the kernel still holds it good for timekeeping
/// (it takes "tsc" off the list when CPUs disagree).
#[cfg(target_arch = "x86_64")]
fn counter_is_invariant() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let trusted = read("/sys/devices/system/clocksource/clocksource0/available_clocksource");
    has("constant_tsc") && has("nonstop_tsc") && trusted.split_whitespace().any(|name| name == "tsc")
}

#[cfg(not(target_arch = "x86_64"))]
fn counter_is_invariant() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter of 2.5 GHz that began at 1,000,000 when CLOCK_MONOTONIC was 5 s, seen by a clock that steers by
    /// `drift_ppm` from it.
    fn sample_at(passed_ns: u64, drift_ppm: i64) -> Sample {
        let ticks = 1_000_000 + passed_ns * 5 / 2;
        let drift = passed_ns as i64 * drift_ppm / 1_000_000;
        Sample { ticks, ns: 5_000_000_000 + passed_ns.saturating_add_signed(drift), width: 60 }
    }

    fn calibrated() -> Clock {
        Clock::from_samples(sample_at(0, 0), sample_at(20_000_000, 0)).expect("good samples")
    }

    #[test]
    fn a_line_is_read_to_the_nanosecond_for_a_year() {
        let clock = calibrated();
        let year_ns = 365 * 86_400 * 1_000_000_000u64;
        let told = clock.line.at(1_000_000 + year_ns / 2 * 5);
        // 32 bits of fraction are good to 6 parts in 10^10 at 0.4 ns per tick.
        assert!(told.abs_diff(5_000_000_000 + year_ns) < 20_000_000, "{told}");
        assert_eq!(clock.line.at(1_000_000 + 50_000_000), 5_020_000_000);
        assert_eq!(clock.line.at(0), 5_020_000_000, "ticks before the anchor don't run backwards");
    }

    #[test]
    fn drift_is_followed_without_a_step_backwards() {
        for drift_ppm in [0, 5, -5, 100, -100, 400, -400] {
            let mut clock = calibrated();
            let mut last = 0;
            for turn in 3..300u64 {
                let noise = [0, 40, 13, 29][turn as usize % 4];
                let mut sample = sample_at(turn * 10_000_000, drift_ppm);
                let told = clock.line.at(sample.ticks);
                assert!(told >= last, "{drift_ppm} ppm: stepped back at turn {turn}");
                if turn > 100 {
                    let error = told.abs_diff(sample.ns);
                    assert!(error < 1_000, "{drift_ppm} ppm: {error} ns off at turn {turn}");
                }
                sample.ns += noise;
                clock.correct(sample);
                last = clock.line.at(sample.ticks);
                assert!(last >= told, "{drift_ppm} ppm: the correction stepped back at turn {turn}");
            }
            assert_eq!(clock.kind(), TickSource::Tsc);
        }
    }

    #[test]
    fn a_clock_ahead_slows_down_and_one_behind_is_set() {
        let mut ahead = calibrated();
        ahead.line.anchor_ns += 5_000_000;
        let sample = sample_at(30_000_000, 0);
        let before = ahead.line.at(sample.ticks);
        ahead.correct(sample);
        assert_eq!(ahead.line.at(sample.ticks), before);
        let later = sample_at(40_000_000, 0);
        let error = ahead.line.at(later.ticks) - later.ns;
        assert!((2_000_000..4_000_000).contains(&error), "worked off a part of 5 ms: {error} ns left");

        let mut behind = calibrated();
        behind.line.anchor_ns -= 5_000_000;
        behind.correct(sample);
        assert_eq!(behind.line.at(sample.ticks), sample.ns);
    }

    #[test]
    fn a_counter_that_changes_its_rate_is_given_up_without_a_step_backwards() {
        let mut clock = calibrated();
        let mut sample = sample_at(30_000_000, 0);
        sample.ticks += 10_000_000_000;
        let reached = clock.line.at(sample.ticks);
        clock.correct(sample);
        assert_eq!(clock.kind(), TickSource::Kernel);
        assert!(clock.now() >= reached);
    }

    #[test]
    fn an_interrupted_sample_changes_nothing() {
        let mut clock = calibrated();
        let before = clock.line;
        clock.correct(Sample { width: 50_000, ns: 1, ticks: 2_000_000 });
        assert_eq!((clock.line.anchor_ns, clock.line.rate), (before.anchor_ns, before.rate));
        assert!(
            Clock::from_samples(sample_at(0, 0), Sample { width: 50_000, ..sample_at(20_000_000, 0) })
                .is_none()
        );
        assert!(Clock::from_samples(sample_at(9, 0), sample_at(9, 0)).is_none());
    }

    /// The distance of `clock` from CLOCK_MONOTONIC, at the one of many readings that took the shortest time.
    fn distance_ns(clock: &Clock) -> u64 {
        let one = || {
            let before = monotonic_now();
            let told = clock.now();
            let after = monotonic_now();
            (after - before, told.abs_diff(before + (after - before) / 2))
        };
        (0..1_000).map(|_| one()).min().map_or(u64::MAX, |(_, distance)| distance)
    }

    #[test]
    fn it_is_within_a_microsecond_of_clock_monotonic() {
        let mut clock = Clock::new();
        let mut distances = Vec::new();
        for _ in 0..15 {
            distances.push(distance_ns(&clock));
            std::thread::sleep(Duration::from_millis(3));
            let before = clock.now();
            clock.recalibrate();
            assert!(clock.now() >= before);
        }
        // The median: a busy machine may stop this thread for long between a calibration and a reading.
        distances.sort_unstable();
        assert!(distances[7] < 1_000, "{:?}: {distances:?} ns off", clock.kind());
    }

    #[test]
    fn it_never_runs_backwards() {
        for mut clock in [Clock::new(), Clock::kernel()] {
            let mut last = clock.now();
            for turn in 0..100_000 {
                if turn % 1_000 == 0 {
                    clock.recalibrate();
                }
                let now = clock.now();
                assert!(now >= last, "{:?}", clock.kind());
                last = now;
            }
        }
    }
}

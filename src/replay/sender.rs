//! Hot path: sends a capture: takes the frames that are due, changes them, hands them to a sink, and measures how
//! well the due times were kept.
//!
//! Invariant: every frame of the capture is sent or counted as skipped, by its reason.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ReplayError;
use super::rerequest::SentLines;
use super::rewrite::{Rewrite, Rewritten};
use super::urgency::{RealTime, Urgency};
use crate::event::{ClockKind, Nanos};
use crate::sink::{FrameSink, SendOutcome, SinkError};
use crate::source::capture::{CaptureSource, PacingReport};
use crate::source::{Budget, Frame, FrameSource};

/// Frames taken in one turn: a batch of the sinks.
const BATCH_FRAMES: usize = 64;

/// Nearer due times are spun to: a real-time thread's sleep of 2 ms ended 18 µs late in the median, 36 µs in the 99th
/// percentile.
const SPIN_BELOW_NS: u64 = 50_000;

/// Longest sleep at a time, so that the stop flag is seen.
const SLEEP_NS_MAX: u64 = 20_000_000;

/// How often progress is told.
const PROGRESS_NS: u64 = 100_000_000;

/// How often a line that has ended is heard of.
const HEARTBEAT_NS: u64 = 100_000_000;

/// Longest sleep between two heartbeats, so that the stop flag and the end of all requests are seen.
const LINGER_SLEEP: Duration = Duration::from_millis(10);

/// Frames that were not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Longer than the sink can send.
    pub too_long: u64,
    /// Of a link type that the sink can't send.
    pub link_type: u64,
    /// Without a whole UDP datagram, to a sink that sends payloads.
    pub not_udp: u64,
}

impl Skipped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.too_long + self.link_type + self.not_udp
    }
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendProgress {
    /// Frames taken from the capture, sent or skipped.
    pub frames: u64,
    /// How many there will be, if that is known.
    pub frames_total: Option<u64>,
    /// Captured bytes in them.
    pub bytes: u64,
    /// Time since the start, ns.
    pub elapsed_ns: u64,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct SendReport {
    /// Frames taken from the capture: sent ones and skipped ones.
    pub taken: u64,
    /// Frames that the kernel took.
    pub frames: u64,
    /// Bytes in the frames as captured, skipped ones left out.
    pub bytes: u64,
    /// Frames that were not sent.
    pub skipped: Skipped,
    /// Frames that were changed.
    pub rewritten: u64,
    /// Frames that should have been changed, could not be, and went out as captured.
    pub not_rewritten: u64,
    /// Times the kernel had no room.
    pub waits: u64,
    /// Time from the first turn to the last flush, ns.
    pub elapsed_ns: u64,
    /// Distance between due times and the times at which the kernel had the frames; empty at maximum speed.
    pub pacing: PacingReport,
    /// Whether the sending thread was real-time.
    pub real_time: RealTime,
    /// Whether the stop flag ended it before the capture's end.
    pub stopped: bool,
}

/// A capture on its way out.
pub struct Sender<S, C> {
    source: CaptureSource,
    rewrite: Rewrite,
    sink: S,
    clock: C,
    urgent: bool,
    /// What a re-request server is told of.
    lines: Option<SentLines>,
}

/// The counts of a run, and the memory it reuses.
struct Run {
    report: SendReport,
    scratch: Vec<u8>,
    due: Vec<Nanos>,
    failed: Option<SinkError>,
}

impl<S: FrameSink, C: Fn() -> Nanos> Sender<S, C> {
    /// A sender of these frames. `clock` reads CLOCK_MONOTONIC in ns.
    pub fn new(source: CaptureSource, rewrite: Rewrite, sink: S, clock: C) -> Sender<S, C> {
        Sender { source, rewrite, sink, clock, urgent: false, lines: None }
    }

    /// Makes the thread that runs it real-time while the pace leaves it pauses, if the kernel grants that.
    pub fn urgent(self) -> Sender<S, C> {
        Sender { urgent: true, ..self }
    }

    /// Tells a re-request server what is sent.
    pub fn telling(self, lines: SentLines) -> Sender<S, C> {
        Sender { lines: Some(lines), ..self }
    }

    /// The capture back, once the sending has ended.
    pub fn into_source(self) -> CaptureSource {
        self.source
    }

    /// What sends the frames.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Sends until the capture's end or until `stop` is set; `progress` is told some ten times a second.
    ///
    /// # Errors
    /// When the sink fails for good. Damage in the capture ends the sending without one; the source's report tells.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        mut progress: impl FnMut(&SendProgress),
    ) -> Result<SendReport, ReplayError> {
        let started_ns = (self.clock)();
        let sent_before = self.sink.sent();
        let mut told_ns = started_ns;
        let mut urgency = Urgency::begin(self.urgent, started_ns);
        let mut so_far = SendProgress { frames_total: self.source.frames_total(), ..SendProgress::default() };
        let mut run = Run::new();
        while !self.source.exhausted() {
            // Relaxed: the flag carries nothing but itself.
            if stop.load(Ordering::Relaxed) {
                run.report.stopped = true;
                self.source.stop();
                break;
            }
            let now = (self.clock)();
            let frames = self.turn(now, &mut run, &mut so_far)?;
            if now.saturating_sub(told_ns) >= PROGRESS_NS {
                told_ns = now;
                so_far.elapsed_ns = now - started_ns;
                progress(&so_far);
            }
            if frames == 0 {
                urgency.slept(self.wait(now));
            }
            urgency.look(now);
        }
        let mut report = run.report;
        report.real_time = urgency.outcome();
        report.elapsed_ns = (self.clock)() - started_ns;
        report.taken = so_far.frames;
        report.frames = self.sink.sent() - sent_before;
        report.waits = self.sink.waits();
        so_far.elapsed_ns = report.elapsed_ns;
        progress(&so_far);
        Ok(report)
    }

    /// Goes on with heartbeats on every line that a re-request server was told of, ten times a second, until `is_over` (asked
    /// with the time) or `stop`: so receivers learn of what they missed at the end. Tells how many the kernel took.
    ///
    /// # Errors
    /// When the sink fails for good.
    pub fn linger(
        &mut self,
        stop: &AtomicBool,
        mut is_over: impl FnMut(Nanos) -> bool,
    ) -> Result<u64, ReplayError> {
        let sent_before = self.sink.sent();
        let mut told_ns = (self.clock)();
        let mut run = Run::new();
        let mut frame = Vec::with_capacity(1 << 16);
        if let Some(lines) = self.lines.as_mut().filter(|_| !stop.load(Ordering::Relaxed)) {
            lines.finish();
        }
        loop {
            let now = (self.clock)();
            // Relaxed: the flag carries nothing but itself.
            if stop.load(Ordering::Relaxed) || is_over(now) {
                return Ok(self.sink.sent() - sent_before);
            }
            let Some(lines) = self.lines.as_ref().filter(|_| now.saturating_sub(told_ns) >= HEARTBEAT_NS)
            else {
                std::thread::sleep(LINGER_SLEEP);
                continue;
            };
            told_ns = now;
            for index in 0..lines.count() {
                if let Some(link) = lines.heartbeat(index, &mut frame) {
                    let heartbeat = Frame { bytes: &frame, wire_ns: now, clock: ClockKind::Capture, link };
                    run.send(&self.rewrite, &mut self.sink, heartbeat);
                }
            }
            match run.failed.take() {
                Some(failed) => return Err(failed.into()),
                None => self.sink.flush()?,
            }
        }
    }

    /// Sends what is due, up to a batch; how many frames that were.
    fn turn(&mut self, now: Nanos, run: &mut Run, so_far: &mut SendProgress) -> Result<usize, SinkError> {
        let Sender { source, rewrite, sink, clock, lines, .. } = self;
        run.due.clear();
        // A loop's end means nothing here; unasked, the source would end each further burst at its first frame.
        source.begins_again();
        let frames =
            source.poll(now, Budget { frames: BATCH_FRAMES, bytes: usize::MAX }, &mut |frame: Frame<'_>| {
                so_far.bytes += frame.bytes.len() as u64;
                if let Some(lines) = lines {
                    lines.note(frame.bytes, frame.link);
                }
                run.send(rewrite, sink, frame);
            });
        so_far.frames += frames as u64;
        if let Some(failed) = run.failed.take() {
            return Err(failed);
        }
        if frames > 0 {
            sink.flush()?;
            if !run.due.is_empty() {
                let sent_ns = clock();
                run.due.iter().for_each(|due| run.report.pacing.record(*due, sent_ns));
            }
        }
        Ok(frames)
    }

    /// Waits for the next due time, or for the loader thread: asleep while there is time, spinning at the end. Tells
    /// how long the sleep was meant to be, ns.
    fn wait(&self, now: Nanos) -> u64 {
        let left_ns = match self.source.next_due_ns() {
            Some(due) => due.saturating_sub(now),
            // The loader is behind: it needs the processor more than this thread does.
            None => 2 * SPIN_BELOW_NS,
        };
        if left_ns > SPIN_BELOW_NS {
            let sleep_ns = (left_ns - SPIN_BELOW_NS).min(SLEEP_NS_MAX);
            std::thread::sleep(Duration::from_nanos(sleep_ns));
            sleep_ns
        } else {
            std::hint::spin_loop();
            0
        }
    }
}

impl Run {
    fn new() -> Run {
        Run {
            report: SendReport::default(),
            scratch: Vec::with_capacity(1 << 16),
            due: Vec::with_capacity(BATCH_FRAMES),
            failed: None,
        }
    }

    /// Changes a frame and gives it to the sink.
    fn send(&mut self, rewrite: &Rewrite, sink: &mut impl FrameSink, frame: Frame<'_>) {
        if self.failed.is_some() {
            return;
        }
        let rewritten = rewrite.apply(frame.bytes, frame.link, &mut self.scratch);
        let bytes = if rewritten == Rewritten::Whole { &self.scratch[..] } else { frame.bytes };
        let mut outcome = sink.send(bytes, frame.link);
        if outcome == SendOutcome::Full {
            match sink.flush() {
                Ok(()) => outcome = sink.send(bytes, frame.link),
                Err(failed) => self.failed = Some(failed),
            }
        }
        match outcome {
            SendOutcome::Queued => {
                self.report.bytes += frame.bytes.len() as u64;
                match rewritten {
                    Rewritten::Untouched => {}
                    Rewritten::Whole => self.report.rewritten += 1,
                    Rewritten::Impossible => self.report.not_rewritten += 1,
                }
                if frame.clock == ClockKind::Monotonic {
                    self.due.push(frame.wire_ns);
                }
            }
            // Only after a failed flush, which is told instead: an empty sink has room for one frame.
            SendOutcome::Full => {}
            SendOutcome::TooLong => self.report.skipped.too_long += 1,
            SendOutcome::LinkType => self.report.skipped.link_type += 1,
            SendOutcome::NotUdp => self.report.skipped.not_udp += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::VlanChange;
    use crate::sink::NullSink;
    use crate::source::LinkType;
    use crate::source::capture::{CaptureOptions, Speed};
    use std::cell::Cell;
    use std::io::Write;

    /// A sink with room for three frames at a time, which keeps them.
    #[derive(Default)]
    struct SmallSink {
        queued: Vec<Vec<u8>>,
        frames: Vec<Vec<u8>>,
        fails_after: Option<usize>,
    }

    impl FrameSink for SmallSink {
        fn send(&mut self, frame: &[u8], link: LinkType) -> SendOutcome {
            match () {
                () if link != LinkType::Ethernet => return SendOutcome::LinkType,
                () if frame.len() > 100 => return SendOutcome::TooLong,
                () if self.queued.len() == 3 => return SendOutcome::Full,
                () => self.queued.push(frame.to_vec()),
            }
            SendOutcome::Queued
        }

        fn flush(&mut self) -> Result<(), SinkError> {
            self.frames.append(&mut self.queued);
            match self.fails_after {
                Some(limit) if self.frames.len() > limit => {
                    let source = std::io::Error::from_raw_os_error(libc::ENETDOWN);
                    Err(SinkError::Send { target: String::from("test0"), source })
                }
                _ => Ok(()),
            }
        }

        fn sent(&self) -> u64 {
            self.frames.len() as u64
        }

        fn waits(&self) -> u64 {
            0
        }

        fn describe(&self) -> String {
            String::from("small")
        }
    }

    /// A capture of frames of these lengths, 1 ms apart.
    fn options(folder: &tempfile::TempDir, lengths: &[usize]) -> CaptureOptions {
        let mut file = Vec::new();
        for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 0, 1] {
            file.extend(field.to_le_bytes());
        }
        for (n, length) in lengths.iter().enumerate() {
            for field in [1, n as u32 * 1_000_000, *length as u32, *length as u32] {
                file.extend(field.to_le_bytes());
            }
            file.extend(vec![n as u8; *length]);
        }
        let path = folder.path().join("capture");
        std::fs::File::create(&path).and_then(|mut to| to.write_all(&file)).expect("it can be written");
        CaptureOptions::new(vec![path])
    }

    fn sender<S: FrameSink>(
        options: &CaptureOptions,
        rewrite: Rewrite,
        sink: S,
    ) -> Sender<S, impl Fn() -> Nanos> {
        // Each reading is 10 µs after the one before.
        let time = Cell::new(1_000);
        let clock = move || time.replace(time.get() + 10_000);
        Sender::new(CaptureSource::open(options).expect("it opens"), rewrite, sink, clock)
    }

    #[test]
    fn frames_go_out_whole_and_in_order_through_a_small_sink() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = options(&folder, &[60; 10]);
        options.loops = 2;
        let mut sender = sender(&options, Rewrite::default(), SmallSink::default());
        let report = sender.run(&AtomicBool::new(false), |_| {}).expect("nothing fails");
        let expected: Vec<_> = (0..20).map(|n| vec![n % 10; 60]).collect();
        assert_eq!(sender.sink().frames, expected);
        assert_eq!((report.frames, report.bytes, report.rewritten), (20, 1_200, 0));
        assert_eq!(report.pacing.error.percentiles().count, 0);
        assert!(!report.stopped);
    }

    #[test]
    fn paced_frames_are_measured_after_the_flush() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = options(&folder, &[60; 10]);
        options.speed = Speed::Original;
        let mut sender = sender(&options, Rewrite::default(), NullSink::default());
        let mut told = Vec::new();
        let report =
            sender.run(&AtomicBool::new(false), |progress| told.push(*progress)).expect("nothing fails");
        let errors = report.pacing.error.percentiles();
        assert_eq!(errors.count, 10);
        // Each is taken within one reading of its due time, and the reading after the flush is the next one.
        assert!((10_000..=20_300).contains(&errors.max), "{errors:?}");
        assert!(report.elapsed_ns >= 9_000_000);
        let last = told.last().expect("the end is told");
        assert_eq!((last.frames, last.frames_total, last.bytes), (10, Some(10), 600));
    }

    #[test]
    fn skipped_and_unchanged_frames_are_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = options(&folder, &[60, 101, 100, 13]);
        let rewrite = Rewrite { vlan: VlanChange::Set(5), ..Rewrite::default() };
        let mut sender = sender(&options, rewrite, SmallSink::default());
        let report = sender.run(&AtomicBool::new(false), |_| {}).expect("nothing fails");
        // The tag makes the frame of 100 bytes too long; that of 13 bytes has no place for one.
        assert_eq!(report.skipped, Skipped { too_long: 2, ..Skipped::default() });
        assert_eq!((report.frames, report.rewritten, report.not_rewritten), (2, 1, 1));
        assert_eq!(report.frames + report.skipped.total(), 4);
    }

    #[test]
    fn a_set_flag_stops_an_endless_replay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = options(&folder, &[60; 4]);
        options.loops = 0;
        let stop = AtomicBool::new(false);
        let mut sender = sender(&options, Rewrite::default(), NullSink::default());
        let report = sender.run(&stop, |_| stop.store(true, Ordering::Relaxed)).expect("nothing fails");
        assert!(report.stopped && report.frames >= 64);
    }

    #[test]
    fn a_failing_sink_ends_the_replay_with_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = options(&folder, &[60; 50]);
        let sink = SmallSink { fails_after: Some(7), ..SmallSink::default() };
        let mut sender = sender(&options, Rewrite::default(), sink);
        let error = sender.run(&AtomicBool::new(false), |_| {}).expect_err("the sink fails").to_string();
        assert!(error.contains("test0") && error.contains("up"), "{error}");
        assert_eq!(sender.sink().frames.len(), 9);
    }
}

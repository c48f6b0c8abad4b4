//! Hot path: a capture as a source of frames, at full speed or at the pace it was captured with.
//!
//! Invariant: frames come from memory only; reading, unpacking and ordering happened on another thread or before.

use super::feed::Feed;
use super::loader::LoaderHandle;
use super::pacing::{Pacer, PacingReport};
use crate::event::{ClockKind, Nanos};
use crate::ledger::KernelBook;
use crate::source::{Budget, Frame, FrameSource};

/// Frames of one or several captures. At maximum speed a frame's wire time is the capture's; when paced, it is the
/// time at which the frame was due, on the caller's clock, so that latencies include what the replay itself adds.
pub struct CaptureSource {
    pub(super) feed: Feed,
    pub(super) pacer: Pacer,
    pub(super) pacing: PacingReport,
    /// When the first poll was: due times count from here.
    pub(super) started_ns: Option<Nanos>,
    /// When the frame in front is due; worked out once per frame.
    pub(super) front_due_ns: Option<Nanos>,
    pub(super) front_known: bool,
    pub(super) stopped: bool,
    pub(super) begins_again: bool,
    pub(super) frames_total: Option<u64>,
    pub(super) loader: LoaderHandle,
}

impl CaptureSource {
    /// When the frame in front is due, if the last poll left one that was not due yet.
    pub fn next_due_ns(&self) -> Option<Nanos> {
        self.front_due_ns
    }

    /// How well the due times were kept at handing over; empty at maximum speed.
    pub fn pacing(&self) -> &PacingReport {
        &self.pacing
    }

    /// Frames in all loops, if that is known: not while a capture is streamed from its file, nor when it is looped
    /// for ever.
    pub fn frames_total(&self) -> Option<u64> {
        self.frames_total
    }

    /// Works out when the frame in front is due, once.
    #[inline]
    fn due(&mut self, capture_ns: Nanos, now: Nanos) -> Option<Nanos> {
        if !self.front_known {
            let started_ns = *self.started_ns.get_or_insert(now);
            self.front_due_ns = self.pacer.due_ns(capture_ns).map(|after| started_ns + after);
            self.front_known = true;
        }
        self.front_due_ns
    }

    /// The frame in front is the first one of another loop.
    #[cold]
    fn begin_again(&mut self) {
        self.pacer.next_loop();
        self.begins_again = true;
    }

    /// Steps to the next frame.
    #[inline]
    fn advance(&mut self) {
        self.front_known = false;
        self.front_due_ns = None;
        if self.feed.advance() {
            self.begin_again();
        }
    }
}

impl FrameSource for CaptureSource {
    fn poll(&mut self, now: Nanos, budget: Budget, take: &mut impl FnMut(Frame<'_>)) -> usize {
        if self.stopped {
            return 0;
        }
        if self.feed.refill() {
            // The caller learns of it before it is shown a frame.
            self.begin_again();
            return 0;
        }
        let (mut frames, mut bytes_left) = (0, budget.bytes);
        // A burst never crosses the end of a loop: the shard asks in between whether the source begins again.
        while frames < budget.frames && !(self.begins_again && frames > 0) {
            let Some((entry, _)) = self.feed.peek() else { break };
            let Some(left) = bytes_left.checked_sub(entry.length as usize) else { break };
            let (wire_ns, clock) = match self.due(entry.time_ns, now) {
                None => (entry.time_ns, ClockKind::Capture),
                Some(due) if due <= now => {
                    self.pacing.record(due, now);
                    (due, ClockKind::Monotonic)
                }
                Some(_) => break,
            };
            if let Some((entry, bytes)) = self.feed.peek() {
                take(Frame { bytes, wire_ns, clock, link: entry.link });
            }
            self.advance();
            bytes_left = left;
            frames += 1;
        }
        frames
    }

    fn exhausted(&self) -> bool {
        self.stopped || self.feed.exhausted()
    }

    fn begins_again(&mut self) -> bool {
        std::mem::take(&mut self.begins_again)
    }

    fn can_wait(&self) -> bool {
        true
    }

    /// A capture holds nothing that was received: what was not handed over yet never is.
    fn stop(&mut self) {
        self.stopped = true;
        self.loader.stop();
    }

    fn kernel_book(&self) -> Option<KernelBook> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::loader::open_with_blocks;
    use super::super::testing::*;
    use super::super::{CaptureOptions, Moment, Speed, TimeWindow};
    use super::*;
    use crate::source::LinkType;

    const BASE_NS: u64 = 1_700_000_000_000_000_000;
    const UNLIMITED: Budget = Budget { frames: usize::MAX, bytes: usize::MAX };

    fn capture(folder: &tempfile::TempDir, times: &[u64], length: usize) -> CaptureOptions {
        let records: Vec<_> =
            times.iter().enumerate().map(|(n, time)| (BASE_NS + time, frame(n, length))).collect();
        let file = pcap(Order { big_endian: false }, true, 1, &records);
        CaptureOptions::new(vec![write(folder, "capture", &file)])
    }

    fn take(source: &mut CaptureSource, now: Nanos, budget: Budget) -> Vec<(u64, ClockKind, Vec<u8>)> {
        let mut taken = Vec::new();
        let frames = source.poll(now, budget, &mut |frame: Frame<'_>| {
            assert_eq!(frame.link, LinkType::Ethernet);
            taken.push((frame.wire_ns, frame.clock, frame.bytes.to_vec()));
        });
        assert_eq!(frames, taken.len());
        taken
    }

    #[test]
    fn a_capture_in_memory_is_looped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = capture(&folder, &[0, 10, 20], 80);
        options.loops = 3;
        let mut source = CaptureSource::open(&options).expect("it opens");
        assert_eq!(source.frames_total(), Some(9));
        let mut taken = Vec::new();
        for more_loops in [true, true, false] {
            // A burst ends where a loop does, so that the next one can begin an epoch.
            assert_eq!(taken.len() % 3, 0);
            taken.extend(take(&mut source, 5, UNLIMITED));
            assert_eq!(source.begins_again(), more_loops);
            assert!(!source.begins_again(), "told once");
        }
        assert_eq!(taken.len(), 9);
        for (n, (wire_ns, clock, bytes)) in taken.iter().enumerate() {
            assert_eq!((*wire_ns, *clock), (BASE_NS + n as u64 % 3 * 10, ClockKind::Capture));
            assert_eq!(*bytes, frame(n % 3, 80));
        }
        assert!(source.exhausted() && source.can_wait());
        let report = source.report().expect("it was read at once");
        assert!(report.resident && report.stats.records == 3 && report.error.is_none());
    }

    #[test]
    fn a_capture_larger_than_memory_is_streamed_and_looped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let times: Vec<_> = (0..3_000).map(|n| n * 1_000).collect();
        let mut options = capture(&folder, &times, 1_000);
        (options.loops, options.memory_bytes) = (3, 0);
        let mut source = open_with_blocks(&options, 300_000).expect("it opens");
        assert_eq!(source.frames_total(), None);
        let mut all = Vec::new();
        while !source.exhausted() {
            // Each loop's beginning is told before its first frame, also where the loader was behind.
            let begins = source.begins_again();
            let some = take(&mut source, 1, Budget { frames: 64, bytes: 1 << 20 });
            assert!(some.is_empty() || begins == (all.len() == 3_000 || all.len() == 6_000), "{}", all.len());
            if some.is_empty() {
                assert!(!begins, "what begins is there");
                std::thread::yield_now();
            }
            all.extend(some.into_iter().map(|(_, _, bytes)| bytes));
        }
        assert_eq!(all.len(), 9_000);
        assert!(all.iter().enumerate().all(|(n, bytes)| *bytes == frame(n % 3_000, 1_000)));
        let report = source.report().expect("the loader has ended");
        assert!(!report.resident && report.error.is_none());
        assert_eq!(report.stats.records, 3_000);
    }

    #[test]
    fn an_endless_stream_stops_when_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let times: Vec<_> = (0..2_000).collect();
        let mut options = capture(&folder, &times, 1_000);
        (options.loops, options.memory_bytes) = (0, 0);
        let mut source = open_with_blocks(&options, 300_000).expect("it opens");
        let mut taken = 0;
        while taken < 10_000 {
            taken += take(&mut source, 1, Budget { frames: 64, bytes: usize::MAX }).len();
        }
        assert!(!source.exhausted() && source.report().is_none());
        source.stop();
        assert!(source.exhausted());
        assert_eq!(take(&mut source, 1, UNLIMITED).len(), 0);
        assert_eq!(source.report().expect("the loader was told to end").stats.records, 2_000);
    }

    #[test]
    fn a_budget_is_never_exceeded() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = capture(&folder, &[0, 1, 2, 3], 100);
        let mut source = CaptureSource::open(&options).expect("it opens");
        assert_eq!(take(&mut source, 0, Budget { frames: 0, bytes: 1_000 }).len(), 0);
        assert_eq!(take(&mut source, 0, Budget { frames: 9, bytes: 99 }).len(), 0);
        assert_eq!(take(&mut source, 0, Budget { frames: 9, bytes: 299 }).len(), 2);
        assert_eq!(take(&mut source, 0, Budget { frames: 1, bytes: 999 }).len(), 1);
        assert!(!source.exhausted());
        assert_eq!(take(&mut source, 0, Budget { frames: 9, bytes: 100 }).len(), 1);
        assert!(source.exhausted());
    }

    #[test]
    fn frames_are_handed_over_when_due() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = capture(&folder, &[0, 100, 50, 400], 60);
        (options.speed, options.loops) = (Speed::Original, 2);
        let mut source = CaptureSource::open(&options).expect("it opens");
        let start = 7_000;
        let mut due = |now| {
            source.begins_again();
            let taken = take(&mut source, start + now, UNLIMITED);
            let dues: Vec<_> = taken.iter().map(|(due, clock, _)| (due - start, *clock)).collect();
            (dues, source.next_due_ns().map(|due| due - start))
        };
        let monotonic =
            |dues: &[u64]| dues.iter().map(|due| (*due, ClockKind::Monotonic)).collect::<Vec<_>>();
        assert_eq!(due(0), (monotonic(&[0]), Some(100)));
        assert_eq!(due(99), (monotonic(&[]), Some(100)));
        assert_eq!(due(107), (monotonic(&[100, 100]), Some(400)));
        // The second loop begins a mean gap of 133 ns after the first one's end.
        assert_eq!(due(600), (monotonic(&[400]), None));
        assert_eq!(due(600), (monotonic(&[533]), Some(633)));
        assert_eq!(due(2_000), (monotonic(&[633, 633, 933]), None));
        let errors = source.pacing().error.percentiles();
        assert_eq!((errors.count, source.pacing().drift_ns), (8, 1_067));
    }

    #[test]
    fn windows_order_and_several_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = capture(&folder, &[100, 300, 200, 500, 400, 600], 60);
        options.paths.push(options.paths[0].clone());
        options.order_records = 1;
        options.window =
            TimeWindow { from: Some(Moment::After(100)), until: Some(Moment::At(BASE_NS + 600)) };
        let mut source = CaptureSource::open(&options).expect("it opens");
        let order = |taken: Vec<(u64, ClockKind, Vec<u8>)>| -> Vec<u64> {
            taken.iter().map(|(time, ..)| time - BASE_NS).collect()
        };
        // With room for one, the second file's first record still overtakes the first file's last.
        assert_eq!(order(take(&mut source, 0, UNLIMITED)), [200, 300, 400, 300, 200, 500, 400, 500]);
        let report = source.report().expect("it was read at once");
        assert_eq!((report.outside_window, report.stats.records, report.stats.backwards), (4, 12, 4));
        options.order_records = 16;
        let mut source = CaptureSource::open(&options).expect("it opens");
        let sorted = order(take(&mut source, 0, UNLIMITED));
        assert_eq!(sorted, [200, 200, 300, 300, 400, 400, 500, 500]);
    }

    #[test]
    fn an_empty_window_ends_at_once_even_when_looped_for_ever() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = capture(&folder, &[0, 1], 60);
        options.loops = 0;
        options.window.from = Some(Moment::After(1_000));
        assert!(CaptureSource::open(&options).expect("it opens").exhausted());
    }

    #[test]
    fn a_missing_file_is_told_before_anything_is_played() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = capture(&folder, &[0], 60);
        options.paths.push(folder.path().join("second.pcap"));
        let error = CaptureSource::open(&options).err().expect("it is missing").to_string();
        assert!(error.contains("second.pcap"), "{error}");
        assert!(CaptureSource::open(&CaptureOptions::new(Vec::new())).is_err());
    }

    #[test]
    fn the_order_heap_sorts_the_real_capture() {
        let Some(captures) = real_captures() else { return };
        let mut options = CaptureOptions::new(vec![captures.join("cme-mdp3-ab.pcapng")]);
        options.order_records = 4_096;
        let mut source = CaptureSource::open(&options).expect("it opens");
        let times: Vec<_> = take(&mut source, 0, UNLIMITED).into_iter().map(|(time, ..)| time).collect();
        assert_eq!(times.len(), 10_000);
        assert!(times.is_sorted());
    }
}

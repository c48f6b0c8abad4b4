//! Real captures as a source that brings as much as the scheduler wants of it, and that waits or not as it is told.
//!
//! Invariant: the same seed brings the same frames in the same turns; a frame's wire time is its number, and nothing else.

use sluice::event::{ClockKind, LinkType, Nanos};
use sluice::ledger::KernelBook;
use sluice::source::capture::CaptureReader;
use sluice::source::{Budget, Frame, FrameSource};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

const CAPTURES: [&str; 3] = ["cme-mdp3-ab.pcapng", "iex-tops16.pcap.gz", "itch50-artificial.bin.gz"];

/// Numbers that look random, and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times; never for 0.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }
}

type Frames = Arc<Vec<(LinkType, Vec<u8>)>>;

/// The frames of all captures, shuffled into each other in equal parts; `None` where the captures are not at hand.
pub(crate) fn frames() -> Option<Frames> {
    static FRAMES: OnceLock<Option<Frames>> = OnceLock::new();
    FRAMES.get_or_init(read).clone()
}

fn read() -> Option<Frames> {
    let mut of_each = Vec::new();
    for name in CAPTURES {
        let path = crate::program::capture(name)?;
        let mut reader = CaptureReader::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let mut frames = Vec::new();
        while let Some(record) = reader.next_record().expect("it can be read") {
            frames.push((record.link, record.bytes.to_vec()));
        }
        of_each.push(frames);
    }
    // In proportion to how many there are, so that all of them last until the end.
    let all: usize = of_each.iter().map(Vec::len).sum();
    let mut mixed = Vec::with_capacity(all);
    let mut taken = [0; CAPTURES.len()];
    for step in 1..=all {
        for (frames, taken) in of_each.iter().zip(&mut taken) {
            let until = frames.len() * step / all;
            mixed.extend_from_slice(&frames[*taken..until]);
            *taken = until;
        }
    }
    Some(Arc::new(mixed))
}

/// How many frames the source brings in its next turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Arc<AtomicUsize>);

impl Tap {
    pub(crate) fn open(&self, frames: usize) {
        self.0.store(frames, Ordering::Relaxed);
    }
}

/// The source.
pub(crate) struct Storm {
    frames: Frames,
    next: usize,
    loops: usize,
    number: u64,
    begins_again: bool,
    waits: bool,
    tap: Tap,
    stopped: bool,
}

impl Storm {
    pub(crate) fn new(frames: Frames, loops: usize, waits: bool, tap: Tap) -> Storm {
        Storm { frames, next: 0, loops, number: 0, begins_again: false, waits, tap, stopped: false }
    }
}

impl FrameSource for Storm {
    fn poll(&mut self, _now: Nanos, budget: Budget, take: &mut impl FnMut(Frame<'_>)) -> usize {
        let most = budget.frames.min(self.tap.0.load(Ordering::Relaxed));
        let mut bytes_left = if self.waits { budget.bytes } else { usize::MAX };
        let mut brought = 0;
        while brought < most && !self.exhausted() {
            let (link, bytes) = &self.frames[self.next];
            let Some(left) = bytes_left.checked_sub(bytes.len()) else { break };
            bytes_left = left;
            self.number += 1;
            take(Frame { bytes, wire_ns: self.number, clock: ClockKind::Capture, link: *link });
            brought += 1;
            self.next += 1;
            if self.next == self.frames.len() {
                self.loops -= 1;
                self.next = 0;
                self.begins_again = self.loops > 0;
                // The shard asks in between.
                break;
            }
        }
        brought
    }

    fn exhausted(&self) -> bool {
        self.stopped || self.loops == 0
    }

    fn begins_again(&mut self) -> bool {
        std::mem::take(&mut self.begins_again)
    }

    fn can_wait(&self) -> bool {
        self.waits
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn kernel_book(&self) -> Option<KernelBook> {
        None
    }
}

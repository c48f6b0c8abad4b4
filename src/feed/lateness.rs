//! Hot path: how late the later copies of a line come after the first copy on another line.
//!
//! Invariant: rings and histograms are allocated at boot; a stream that gets a second line borrows one of them
//! for good, and when none is left its lateness is not measured.

use crate::event::Nanos;
use crate::ledger::{LatencyRecorder, Percentiles};
use crate::limits::{LINES_MAX, SEQUENCE_WINDOW};

/// First-arrival times of a stream's window and the lateness of each of its lines.
#[derive(Debug)]
pub struct Lateness {
    first_ns: Box<[Nanos]>,
    lines: [LatencyRecorder; LINES_MAX],
}

impl Lateness {
    fn allocate() -> Lateness {
        Lateness {
            first_ns: std::iter::repeat_n(0, SEQUENCE_WINDOW as usize).collect(),
            lines: std::array::from_fn(|_| LatencyRecorder::default()),
        }
    }

    /// A number came for the first time.
    #[inline]
    pub fn first(&mut self, sequence: u64, wire_ns: Nanos) {
        self.first_ns[(sequence % SEQUENCE_WINDOW) as usize] = wire_ns;
    }

    /// A copy came on `line`. Numbers whose first copy came before the ring was lent have no time yet.
    #[inline]
    pub fn copy(&mut self, sequence: u64, line: u8, wire_ns: Nanos) {
        let first_ns = self.first_ns[(sequence % SEQUENCE_WINDOW) as usize];
        // A recovery is a line, too, but no venue's: how late it is says nothing.
        if first_ns != 0
            && let Some(recorder) = self.lines.get_mut(usize::from(line))
        {
            recorder.record(wire_ns.saturating_sub(first_ns));
        }
    }

    /// Percentiles of one line's lateness, ns.
    pub fn percentiles(&self, line: usize) -> Option<Percentiles> {
        self.lines.get(line).map(LatencyRecorder::percentiles)
    }
}

/// The store that streams borrow from.
#[derive(Debug)]
pub struct LatenessStore {
    spare: Vec<Lateness>,
}

impl LatenessStore {
    /// Allocates for `streams` streams; some 150 KiB each.
    pub fn allocate(streams: usize) -> LatenessStore {
        LatenessStore { spare: (0..streams).map(|_| Lateness::allocate()).collect() }
    }

    /// Takes one out, while there are any.
    pub fn lend(&mut self) -> Option<Lateness> {
        self.spare.pop()
    }
}

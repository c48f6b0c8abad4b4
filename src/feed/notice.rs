//! What happens to streams and lines, told as it happens: gaps, losses, epochs, silent lines.
//!
//! Invariant: a notice is a small value without pointers, so that it travels through a ring; names are looked up by who
//! tells of it.

use crate::event::Nanos;
use crate::limits::{NOTICES_KEPT_MAX, RECOVERY_LINE};
use std::collections::BTreeMap;

/// Why missing numbers were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No line brought them within the reorder window.
    ReorderWindow,
    /// They were asked for, and had not come in time.
    RecoveryGaveUp,
    /// The stream went on for more numbers than its window remembers or holds back.
    WindowPassed,
    /// There are as many gaps open, or events held back, as there may be.
    NoRoom,
    /// The stream was reset.
    EpochEnded,
    /// The source came to its end.
    SourceEnded,
    /// A snapshot was taken that covers them.
    SnapshotTaken,
    /// The venue said that it can't send them again.
    Unavailable,
}

impl Loss {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::ReorderWindow => "reorder_window",
            Loss::RecoveryGaveUp => "recovery_gave_up",
            Loss::WindowPassed => "window_passed",
            Loss::NoRoom => "no_room",
            Loss::EpochEnded => "epoch_ended",
            Loss::SourceEnded => "source_ended",
            Loss::SnapshotTaken => "snapshot_taken",
            Loss::Unavailable => "unavailable",
        }
    }
}

/// How a gap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapEnd {
    /// Lines, a recovery among them perhaps, brought all of it.
    Filled,
    /// It is lost.
    Lost(Loss),
}

/// A range of numbers that was skipped at first, and what became of it. The parts of a gap that end differently are told
/// apart, so that each number that was ever skipped is in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// Its first number.
    pub first: u64,
    /// Its last number.
    pub last: u64,
    /// When it was noticed.
    pub opened_ns: Nanos,
    /// The line that skipped it, or whose heartbeat named a higher number.
    pub opened_on: u8,
    /// Bit set of the lines that brought it, that of [`crate::limits::RECOVERY_LINE`] included.
    pub brought_by: u8,
    /// How it ended.
    pub end: GapEnd,
}

impl GapRecord {
    /// The lines that brought it, [`crate::limits::RECOVERY_LINE`] among them where a recovery did.
    pub fn bringers(&self) -> impl Iterator<Item = u8> {
        let brought_by = self.brought_by;
        (0..=RECOVERY_LINE).filter(move |line| brought_by & (1 << line) != 0)
    }

    /// How many numbers.
    pub fn numbers(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A gap has ended.
    Gap(GapRecord),
    /// A loss was declared: the stream is stale.
    Stale {
        /// The last number that is lost.
        last: u64,
    },
    /// The stream is no longer stale, by a reset or a snapshot.
    Fresh {
        /// Whether it was a snapshot.
        by_snapshot: bool,
    },
    /// The stream began again.
    Epoch {
        /// Its first number.
        first: u64,
    },
    /// The sender ended the session.
    SessionEnded {
        /// The next number that it would have used.
        next: u64,
    },
    /// Other lines go on without this one.
    LineSilent {
        /// For how long nothing has come on it.
        silent_ns: Nanos,
    },
    /// Nothing has come on this line for so long that it is taken for dead.
    LineDead {
        /// For how long.
        silent_ns: Nanos,
    },
    /// A silent or dead line is back.
    LineReturned {
        /// For how long nothing had come on it.
        silent_ns: Nanos,
    },
}

impl Event {
    /// The control topic that it belongs to.
    pub const fn topic(&self) -> &'static str {
        match self {
            Event::Gap(GapRecord { end: GapEnd::Filled, .. }) => "feed.gap.filled",
            Event::Gap(_) => "feed.gap.lost",
            Event::Stale { .. } => "feed.stream.stale",
            Event::Fresh { .. } => "feed.stream.fresh",
            Event::Epoch { .. } => "feed.stream.epoch",
            Event::SessionEnded { .. } => "feed.stream.ended",
            Event::LineSilent { .. } => "feed.line.silent",
            Event::LineDead { .. } => "feed.line.dead",
            Event::LineReturned { .. } => "feed.line.returned",
        }
    }
}

/// Notices by topic, and those that were kept: of all topics the first [`NOTICES_KEPT_MAX`].
#[derive(Clone, Debug, Default)]
pub struct NoticeLog {
    /// How many were taken, by topic.
    pub counts: BTreeMap<&'static str, u64>,
    /// Those that were kept, in the order in which they came.
    pub kept: Vec<Notice>,
    /// Those that were only counted.
    pub not_kept: u64,
    /// Those that found no place on their way, and are not even counted by topic.
    pub dropped: u64,
}

impl NoticeLog {
    /// Takes one.
    pub fn take(&mut self, notice: Notice) {
        *self.counts.entry(notice.event.topic()).or_default() += 1;
        if self.kept.len() < NOTICES_KEPT_MAX {
            self.kept.push(notice);
        } else {
            self.not_kept += 1;
        }
    }
}

/// Something that happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it was noticed, on the feed's clock.
    pub at_ns: Nanos,
    /// Index of the stream in its shard's table.
    pub stream: u32,
    /// Index of the stream's feed.
    pub feed: u32,
    /// Its unit there.
    pub unit: u32,
    /// The stream's epoch.
    pub epoch: u32,
    /// The line that it is about, for what is about one.
    pub line: u8,
    /// What.
    pub event: Event,
}

//! What was found in a capture: every record read is counted, and so is each way in which a capture is imperfect.

/// Counts of one or several captures, complete once they were read to their end.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CaptureStats {
    /// Records read.
    pub records: u64,
    /// Captured bytes in them.
    pub bytes: u64,
    /// Records stamped earlier than the one before them.
    pub backwards: u64,
    /// Captures that end in the middle of a record (or of a compressed stream); the piece is left out.
    pub truncated_tail: u64,
    /// Blocks of pcapng that carry no frames (statistics, names, comments …) and were skipped.
    pub blocks_skipped: u64,
    /// What stopped the reading in the middle of a capture: where and why. What came before it stands.
    pub damaged: Option<String>,
    /// Timestamp of the first record that has one, ns.
    pub first_ns: u64,
    /// Timestamp of the last record that has one, ns.
    pub last_ns: u64,
}

impl CaptureStats {
    /// Counts one record. A `time_ns` of 0 means that it has no timestamp.
    pub(super) fn record(&mut self, time_ns: u64, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        if time_ns == 0 {
            return;
        }
        if self.first_ns == 0 {
            self.first_ns = time_ns;
        }
        if time_ns < self.last_ns {
            self.backwards += 1;
        }
        self.last_ns = time_ns;
    }

    /// Adds the counts of a capture that was read after this one.
    pub fn absorb(&mut self, other: &CaptureStats) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.backwards += other.backwards;
        self.truncated_tail += other.truncated_tail;
        self.blocks_skipped += other.blocks_skipped;
        if self.damaged.is_none() {
            self.damaged = other.damaged.clone();
        }
        if self.first_ns == 0 {
            self.first_ns = other.first_ns;
        }
        if other.last_ns != 0 {
            self.last_ns = other.last_ns;
        }
    }
}

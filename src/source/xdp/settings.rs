//! What a lane's socket is made of, as wished and as it turned out.
//!
//! Invariant: a [`LaneReport`] tells of every wish that was not fulfilled.

use super::{DriveMode, XdpError};
use std::fmt;

/// Entries of a ring at most: the largest depth that helped against loss in measurements (under SCHED_FIFO, where the
/// real-time throttle takes 50 ms of each second).
const ENTRIES_MAX: u32 = 65_536;

/// Whether to ask for zero-copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyMode {
    /// Zero-copy where the driver has it, else copy, which is said in the report.
    #[default]
    ZeroCopyElseCopy,
    /// Copy, to compare with or where a driver's zero-copy misbehaves.
    Copy,
}

/// A lane's socket as wished.
#[derive(Clone, Debug)]
pub struct LaneSettings {
    /// The queue, from 0.
    pub queue: u32,
    /// Entries of the RX ring (TX ring for a [`super::TxLane`]), a power of two. 16,384 lost nothing at 0.7 million
    /// frames per second under noisy scheduling, where 2,048 lost a fifth.
    pub ring_entries: u32,
    /// Chunks that circulate, a power of two. As many as the RX ring has entries, unless the driver holds many of
    /// them (zero-copy): then the NIC's ring size on top.
    pub chunks: u32,
    /// Whether to try huge pages.
    pub huge_pages: bool,
    /// Whether to ask for zero-copy.
    pub copy: CopyMode,
    /// Who runs the kernel's side.
    pub drive: DriveMode,
}

impl LaneSettings {
    /// The defaults for a queue.
    pub fn of_queue(queue: u32) -> LaneSettings {
        LaneSettings {
            queue,
            ring_entries: 16_384,
            chunks: 16_384,
            huge_pages: true,
            copy: CopyMode::default(),
            drive: DriveMode::default(),
        }
    }

    /// Refuses ring sizes that the kernel does not take.
    pub(super) fn check(&self) -> Result<(), XdpError> {
        for (name, value) in [("ring_entries", self.ring_entries), ("chunks", self.chunks)] {
            if !value.is_power_of_two() || !(2..=ENTRIES_MAX).contains(&value) {
                return Err(XdpError::RingEntries { name, value });
            }
        }
        Ok(())
    }
}

/// Why the packet memory is on ordinary pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageFallback {
    /// It is on huge pages.
    None,
    /// They were not wished for.
    NotWished,
    /// The kernel had none; its answer.
    Refused(String),
}

/// A lane's socket as it turned out.
#[derive(Clone, Debug)]
pub struct LaneReport {
    /// The interface.
    pub interface: String,
    /// The queue.
    pub queue: u32,
    /// Whether the NIC writes into the packet memory itself.
    pub zero_copy: bool,
    /// Whether the packet memory is on huge pages, or why not.
    pub pages: PageFallback,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    /// Chunks that circulate.
    pub chunks: u32,
    /// Bytes of packet memory.
    pub memory_bytes: usize,
    /// Who runs the kernel's side.
    pub drive: DriveMode,
}

impl fmt::Display for LaneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copy = if self.zero_copy { "zero-copy" } else { "copy" };
        let LaneReport { interface, queue, chunks, chunk_bytes, drive, .. } = self;
        write!(
            f,
            "{interface} queue {queue}: AF_XDP {copy} mode, {chunks} chunks of {chunk_bytes} B, {drive}, "
        )?;
        match &self.pages {
            PageFallback::None => f.write_str("huge pages"),
            PageFallback::NotWished => f.write_str("ordinary pages"),
            PageFallback::Refused(why) => {
                let pages = self.memory_bytes.div_ceil(2 << 20);
                write!(
                    f,
                    "ordinary pages (huge ones refused: {why}; `sysctl vm.nr_hugepages` needs {pages} free)"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_sizes_that_the_kernel_refuses_are_refused_by_name() {
        assert!(LaneSettings::of_queue(0).check().is_ok());
        for entries in [0, 1, 1_000, 131_072] {
            let wrong = LaneSettings { ring_entries: entries, ..LaneSettings::of_queue(0) };
            assert!(wrong.check().expect_err("no such ring").to_string().starts_with("ring_entries"));
        }
    }
}

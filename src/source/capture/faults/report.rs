//! What faults did: the fate of every packet, by line.
//!
//! Invariant: `seen = delivered − duplicated + lost + dead + waiting` on each line, and nothing waits once the captures
//! have ended.

use crate::event::Destination;
use serde::{Serialize, Serializer};

/// What became of the packets of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineFaultReport {
    /// Its name in the config, its letter, or its address and port.
    pub name: String,
    /// Where its packets go.
    #[serde(serialize_with = "as_text")]
    pub destination: Destination,
    /// Packets in the captures, in all loops.
    pub seen: u64,
    /// Packets handed on, second copies included.
    pub delivered: u64,
    /// Packets taken out by chance.
    pub lost: u64,
    /// Packets taken out while the line was dead.
    pub dead: u64,
    /// Second copies handed on.
    pub duplicated: u64,
    /// Packets that at least one later packet of the line overtook.
    pub reordered: u64,
    /// Packets that came later by the line's delay.
    pub delayed: u64,
    /// Delayed packets for which memory ended, so that they came sooner than they should have.
    pub delayed_less: u64,
    /// Packets without a timestamp on a line with a delay: they came undelayed.
    pub undelayed: u64,
    /// Packets with flipped bits.
    pub corrupted: u64,
    /// Packets held back when the run was broken off.
    pub waiting: u64,
}

impl LineFaultReport {
    pub(super) fn new(name: String, destination: Destination) -> LineFaultReport {
        LineFaultReport {
            name,
            destination,
            seen: 0,
            delivered: 0,
            lost: 0,
            dead: 0,
            duplicated: 0,
            reordered: 0,
            delayed: 0,
            delayed_less: 0,
            undelayed: 0,
            corrupted: 0,
            waiting: 0,
        }
    }

    /// Whether every packet has one fate.
    pub fn is_balanced(&self) -> bool {
        self.seen + self.duplicated == self.delivered + self.lost + self.dead + self.waiting
    }
}

fn as_text<S: Serializer>(destination: &Destination, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(destination)
}

/// What became of everything that the captures hold. It counts what was made ready: a run that was broken off has
/// handed over less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// The seed: with it the run can be repeated.
    pub seed: u64,
    /// The lines, in the order of their first packets.
    pub lines: Vec<LineFaultReport>,
    /// Frames that are no UDP packets: handed on as they are.
    pub other_frames: u64,
    /// UDP packets of lines for which there was no room (there are 4,096): handed on as they are.
    pub untracked_packets: u64,
    /// Lines that faults were asked for and that never came.
    pub absent_lines: Vec<String>,
    /// Lines that were to be dead for a time in which none of their packets fell.
    pub never_dead_lines: Vec<String>,
    /// Whether the captures were read to their end, in every loop.
    pub complete: bool,
}

impl FaultReport {
    /// Whether every packet of every line has one fate, and none waits at the end.
    pub fn is_balanced(&self) -> bool {
        self.lines.iter().all(|line| line.is_balanced() && (line.waiting == 0 || !self.complete))
    }

    /// Frames handed on.
    pub fn delivered(&self) -> u64 {
        self.lines.iter().map(|line| line.delivered).sum::<u64>() + self.other_frames + self.untracked_packets
    }
}

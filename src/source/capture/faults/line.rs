//! One line and its faults: what is drawn for each packet, which packets are held back to be overtaken, and the counts.
//!
//! Invariant: everything is drawn for every packet, also for one that is lost, so that a fault never moves another one.

use super::super::order::Held;
use super::chance::{Loss, Purpose, Random};
use super::plan::LineFaults;
use super::report::LineFaultReport;
use crate::event::{Destination, Nanos};

/// By how many later packets one that is reordered is overtaken at most, and how many of a line are held back at once.
const OVERTAKEN_MAX: u64 = 8;

/// What a record takes beside its bytes, in whatever holds it.
const RECORD_FOOTPRINT_BYTES: usize = 128;

/// A frame on its way out.
pub(super) struct Outgoing {
    pub(super) held: Held,
    /// The line that counts it; `None` for frames that are no UDP packets.
    pub(super) line: Option<usize>,
    /// How many times it is delivered still.
    pub(super) copies: u8,
    /// Whether a copy was delivered already.
    pub(super) delivered: bool,
}

impl Outgoing {
    /// A frame that goes out once.
    pub(super) fn once(held: Held, line: Option<usize>) -> Outgoing {
        Outgoing { held, line, copies: 1, delivered: false }
    }

    /// Memory that it takes.
    pub(super) fn footprint(&self) -> usize {
        self.held.bytes.capacity() + RECORD_FOOTPRINT_BYTES
    }
}

/// What was drawn for a packet.
pub(super) struct Draw {
    pub(super) lost: bool,
    pub(super) duplicate: bool,
    /// By how many later packets it is to be overtaken.
    pub(super) overtaken_by: Option<u8>,
    /// The seed of its damage.
    pub(super) corrupt: Option<u64>,
}

/// A packet that waits to be overtaken.
struct HeldBack {
    outgoing: Outgoing,
    /// How many packets are to overtake it still.
    left: u8,
    overtaken: bool,
}

/// A line.
pub(super) struct Line {
    pub(super) faults: LineFaults,
    pub(super) counts: LineFaultReport,
    /// Its letter, where lines go by letters.
    pub(super) letter: Option<char>,
    loss: Loss,
    random: [Random; 4],
    held_back: Vec<HeldBack>,
}

impl Line {
    /// A line before its first packet.
    pub(super) fn new(
        destination: Destination,
        name: String,
        letter: Option<char>,
        faults: LineFaults,
        seed: u64,
    ) -> Line {
        let mut random = [Purpose::Loss, Purpose::Duplicate, Purpose::Reorder, Purpose::Corrupt]
            .map(|purpose| Random::of(seed, &destination, purpose));
        let loss = Loss::new(faults.loss, faults.loss_burst, &mut random[0]);
        let counts = LineFaultReport::new(name, destination);
        Line { faults, counts, letter, loss, random, held_back: Vec::new() }
    }

    /// Draws for the next packet.
    pub(super) fn draw(&mut self) -> Draw {
        let [loss, duplicate, reorder, corrupt] = &mut self.random;
        Draw {
            lost: self.loss.draw(loss),
            duplicate: duplicate.happens(self.faults.duplicate),
            overtaken_by: reorder
                .happens(self.faults.reorder)
                .then(|| 1 + reorder.below(OVERTAKEN_MAX) as u8),
            corrupt: corrupt.happens(self.faults.corrupt).then(|| corrupt.next()),
        }
    }

    /// Whether the line is dead so long after the capture's first record.
    pub(super) fn is_dead(&self, after_ns: Nanos) -> bool {
        self.faults.dead.iter().any(|dead| dead.contains(&after_ns))
    }

    /// Whether another packet can be held back.
    pub(super) fn can_hold_back(&self) -> bool {
        (self.held_back.len() as u64) < OVERTAKEN_MAX
    }

    /// Holds a packet back until so many later ones were delivered.
    pub(super) fn hold_back(&mut self, outgoing: Outgoing, overtaken_by: u8) {
        self.held_back.push(HeldBack { outgoing, left: overtaken_by, overtaken: false });
    }

    /// Whether packets are held back.
    pub(super) fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// A packet was delivered at this time: it overtook all that are held back.
    pub(super) fn overtake(&mut self) {
        for held in &mut self.held_back {
            held.left -= 1;
            held.overtaken = true;
        }
    }

    /// A packet that was overtaken often enough, or any if `all`; it arrives no earlier than `now`.
    pub(super) fn let_go(&mut self, now: Nanos, all: bool) -> Option<Outgoing> {
        let place = self.held_back.iter().position(|held| all || held.left == 0)?;
        let HeldBack { mut outgoing, overtaken, .. } = self.held_back.remove(place);
        self.counts.reordered += u64::from(overtaken);
        if outgoing.held.time_ns != 0 {
            outgoing.held.time_ns = outgoing.held.time_ns.max(now);
        }
        Some(outgoing)
    }
}

//! How many slots a pool has, and the bill that says for whom. Invariant: a plan made from a bill has exactly the
//! slots of the bill's lines; nothing is added for luck.

use super::classes::{CLASSES, SlotClass};
use crate::event::Class;
use crate::limits::PAYLOAD_BYTES_MAX;
use std::fmt;

/// Of `n` events that are held somewhere, `n >> SHARE[class]` are given a slot of that class.
///
/// The steps 1, 1/2, 1/16, 1/512 are the inverse of the slots' sizes (128 B, 256 B, 2 KiB, 64 KiB), so each class
/// gets about the same memory: four times what the smallest class alone would take, and never the 64 KiB that
/// every place in a queue would cost if it had to hold the largest payload.
const SHARE: [u32; CLASSES] = [0, 1, 4, 9];

/// Slots of a pool by size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PoolPlan {
    /// Slots of each class, in the order of [`SlotClass::ALL`].
    pub slots: [u32; CLASSES],
}

impl PoolPlan {
    /// Slots of all classes; `None` if they are more than a u32 counts.
    pub fn total(&self) -> Option<u32> {
        self.slots.iter().try_fold(0u32, |sum, slots| sum.checked_add(*slots))
    }

    /// Bytes of memory that they take; `None` if these are more than a usize counts.
    pub fn bytes(&self) -> Option<usize> {
        SlotClass::ALL.into_iter().try_fold(0usize, |sum, class| {
            let slots = usize::try_from(self.slots[class.index()]).ok()?;
            sum.checked_add(slots.checked_mul(class.slot_bytes())?)
        })
    }
}

/// Who will hold tickets of one shard's pool, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Places in the queues that this shard pushes to, indexed by [`Class`].
    pub queue_capacity: [u32; Class::ALL.len()],
    /// Frames that the shard takes up in one turn.
    pub burst_frames: u32,
    /// Largest packet that is expected in such a frame, in bytes (1,500 for Ethernet without jumbo frames).
    pub packet_bytes: u32,
    /// Processors that hold tickets of this pool.
    pub processors: u32,
    /// Tickets that one processor takes off its queue in one turn.
    pub batch: u32,
    /// Tickets that processors keep from turn to turn (retries, open windows), all processors together.
    pub retained: u32,
    /// Events that a loopback source may have under way at once; 0 where there is none.
    pub loopback: u32,
}

/// One line of a bill: who holds slots of which class, how many, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillLine {
    /// Who holds the slots.
    pub holder: &'static str,
    /// The size class of the slots.
    pub class: SlotClass,
    /// How many.
    pub slots: u32,
    /// Why so many.
    pub why: &'static str,
}

/// What a pool is sized by: an itemised bill. Its `Display` is a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    lines: Vec<BillLine>,
}

impl Bill {
    /// The bill for a shard with these holders.
    pub fn for_queues(demand: &Demand) -> Bill {
        let [realtime, transactional, batch] = demand.queue_capacity;
        let in_hand = demand.processors.saturating_mul(demand.batch);
        let mut bill = Bill::default();
        bill.share("realtime queue", realtime, "a slot for every place; of larger classes equal memory");
        bill.share(
            "transactional queue",
            transactional,
            "a slot for every place; of larger classes equal memory",
        );
        bill.share("batch queue", batch, "a slot for every place; of larger classes equal memory");
        bill.burst(demand);
        bill.share("processors, in hand", in_hand, "one batch popped by each");
        bill.share("return rings", in_hand, "one batch given back by each, until the next reclaim");
        bill.share("processors, retained", demand.retained, "kept across turns by retries and windows");
        bill.share("loopback", demand.loopback, "under way between a loopback source and the queues");
        bill
    }

    /// Adds lines for one more holder of `events` events, spread over the classes.
    pub fn share(&mut self, holder: &'static str, events: u32, why: &'static str) {
        for class in SlotClass::ALL {
            self.line(holder, class, events >> SHARE[class.index()], why);
        }
    }

    /// A burst must find room when queues and processors hold all that the other lines give them, or the shard could
    /// never take up a full one; and one packet of the largest size always must, or it would wait forever.
    fn burst(&mut self, demand: &Demand) {
        let bytes = u64::from(demand.burst_frames) * u64::from(demand.packet_bytes);
        let bytes = bytes.max(PAYLOAD_BYTES_MAX as u64);
        for class in SlotClass::ALL {
            let slots = bytes.div_ceil(class.wire_bytes_min() as u64);
            let slots = u32::try_from(slots).unwrap_or(u32::MAX);
            self.line("burst", class, slots, "one full burst of the shortest messages that need this class");
        }
    }

    /// Adds one line; a line without slots is left out.
    pub fn line(&mut self, holder: &'static str, class: SlotClass, slots: u32, why: &'static str) {
        if slots > 0 {
            self.lines.push(BillLine { holder, class, slots, why });
        }
    }

    /// The lines, in the order they were added.
    pub fn lines(&self) -> &[BillLine] {
        &self.lines
    }

    /// Slots of all lines; saturates, and [`Pool::create`](super::Pool::create) refuses so large a plan.
    pub fn total(&self) -> u32 {
        self.plan().total().unwrap_or(u32::MAX)
    }

    /// The plan that the lines add up to.
    pub fn plan(&self) -> PoolPlan {
        let mut plan = PoolPlan::default();
        for line in &self.lines {
            let slots = &mut plan.slots[line.class.index()];
            *slots = slots.saturating_add(line.slots);
        }
        plan
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>9} {:>9} {:>11}  why", "holder", "payload", "slots", "KiB")?;
        for line in &self.lines {
            let BillLine { holder, class, slots, why } = line;
            let kib = kib(*slots, *class);
            writeln!(f, "{holder:<22} {:>9} {slots:>9} {kib:>11}  {why}", class.payload_bytes())?;
        }
        let plan = self.plan();
        for class in SlotClass::ALL {
            let slots = plan.slots[class.index()];
            writeln!(f, "{:<22} {:>9} {slots:>9} {:>11}", "total", class.payload_bytes(), kib(slots, class))?;
        }
        let kib = plan.bytes().unwrap_or(usize::MAX).div_ceil(1024);
        write!(f, "{:<22} {:>9} {:>9} {kib:>11}", "total", "", self.total())
    }
}

fn kib(slots: u32, class: SlotClass) -> u64 {
    (u64::from(slots) * class.slot_bytes() as u64).div_ceil(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{BURST_MAX, QUEUE_CAPACITY};

    fn demand() -> Demand {
        Demand {
            queue_capacity: QUEUE_CAPACITY,
            burst_frames: BURST_MAX as u32,
            packet_bytes: 1_500,
            processors: 3,
            batch: 256,
            retained: 1_024,
            loopback: 0,
        }
    }

    #[test]
    fn the_plan_is_the_sum_of_the_lines() {
        let bill = Bill::for_queues(&demand());
        let plan = bill.plan();
        for class in SlotClass::ALL {
            let lines = bill.lines().iter().filter(|line| line.class == class);
            assert_eq!(lines.map(|line| line.slots).sum::<u32>(), plan.slots[class.index()]);
        }
        assert_eq!(Some(bill.total()), plan.total());
        let places: u32 = QUEUE_CAPACITY.iter().sum();
        assert!(plan.slots[0] >= places, "every place of every queue has a small slot");
        assert!(plan.bytes().expect("fits") < 128 << 20, "the default bill stays under 128 MiB");
        assert!(bill.lines().iter().all(|line| line.holder != "loopback"), "no line for nobody");
    }

    #[test]
    fn the_table_names_every_line_and_the_total() {
        let bill = Bill::for_queues(&Demand { loopback: 7, ..demand() });
        let table = bill.to_string();
        assert_eq!(table.lines().count(), 1 + bill.lines().len() + CLASSES + 1);
        for line in bill.lines() {
            assert!(table.contains(line.holder) && table.contains(line.why));
        }
        let last = table.lines().last().expect("a total");
        assert!(last.starts_with("total") && last.contains(&bill.total().to_string()));
    }

    #[test]
    fn sums_that_overflow_are_not_wrapped() {
        let plan = PoolPlan { slots: [u32::MAX, 1, 0, 0] };
        assert_eq!(plan.total(), None);
        let huge = Demand { queue_capacity: [u32::MAX; 3], ..demand() };
        assert_eq!(Bill::for_queues(&huge).plan().total(), None);
    }
}

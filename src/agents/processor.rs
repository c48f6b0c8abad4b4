//! Hot path: the processor agent: turns its partitions, lends some to a helper under pressure, and takes them back.
//!
//! Invariant: a partition is one agent's at a time, so that the order of its events is kept wherever it is.

use super::partition::{BURST_FACTOR_MAX, POP_MAX, Partition, PartitionReport, Processor};
use crate::control::actions;
use crate::event::Nanos;
use crate::ledger::{Board, Counter, EventBook, Knobs, Level};
use crate::os::Clock;
use crate::runtime::Agent;
use rtrb::{Consumer, Producer, RingBuffer};
use std::any::Any;

/// The ways between an agent and its helper: partitions go out by one and come back by the other.
struct Helped<P> {
    out: Producer<Box<Partition<P>>>,
    back: Consumer<Box<Partition<P>>>,
    lent: usize,
}

/// A helper's ends.
struct Helping<P> {
    inbox: Consumer<Box<Partition<P>>>,
    back: Producer<Box<Partition<P>>>,
}

/// A processor as an agent.
pub struct ProcessorAgent<P> {
    name: String,
    partitions: Vec<Box<Partition<P>>>,
    helped: Option<Helped<P>>,
    helping: Option<Helping<P>>,
    // Books of partitions that are elsewhere are theirs; this agent publishes the sum of those that it has had.
    knobs: Knobs,
    clock: Clock,
    board: Board,
    moves: u64,
}

/// An agent's books at its end.
pub struct ProcessorReport<P> {
    /// Its name.
    pub name: String,
    /// Those of the partitions that it had at the end.
    pub partitions: Vec<PartitionReport<P>>,
    /// How often it lent a partition.
    pub lent: u64,
}

/// An agent for these partitions.
pub fn processor_agent<P: Processor>(
    name: String,
    partitions: Vec<Box<Partition<P>>>,
    knobs: Knobs,
    clock: Clock,
) -> ProcessorAgent<P> {
    ProcessorAgent {
        name,
        partitions,
        helped: None,
        helping: None,
        knobs,
        clock,
        board: Board::default(),
        moves: 0,
    }
}

impl<P: Processor> ProcessorAgent<P> {
    /// A helper, to which this agent lends partitions as long as the pressure is elevated: all but its first.
    pub fn with_helper(mut self, name: String) -> (ProcessorAgent<P>, ProcessorAgent<P>) {
        let count = self.partitions.len().max(1);
        let (out, inbox) = RingBuffer::new(count);
        let (returned, back) = RingBuffer::new(count);
        let mut helper = processor_agent(name, Vec::new(), self.knobs.clone(), self.clock);
        helper.partitions.reserve(count);
        helper.helping = Some(Helping { inbox, back: returned });
        self.helped = Some(Helped { out, back, lent: 0 });
        (self, helper)
    }

    /// The board on which the processor publishes its counters.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// The books.
    pub fn into_report(self) -> ProcessorReport<P> {
        let partitions = self.partitions.into_iter().map(|partition| partition.into_report()).collect();
        ProcessorReport { name: self.name, partitions, lent: self.moves }
    }

    /// Lends partitions while the pressure is elevated, and takes back those that come home. Returns how many moved.
    #[inline]
    fn exchange(&mut self, level: Level) -> usize {
        match (&self.helped, &self.helping) {
            (None, None) => 0,
            (Some(_), _) => self.lend(level),
            (_, Some(_)) => self.help(level),
        }
    }

    #[inline(never)]
    fn lend(&mut self, level: Level) -> usize {
        let Some(helped) = &mut self.helped else { return 0 };
        let mut moved = 0;
        while let Ok(partition) = helped.back.pop() {
            self.partitions.push(partition);
            helped.lent -= 1;
            moved += 1;
        }
        if !actions(level).helpers || helped.out.is_abandoned() {
            return moved;
        }
        while self.partitions.len() > 1
            && let Some(partition) = self.partitions.pop()
        {
            match helped.out.push(partition) {
                Ok(()) => {
                    helped.lent += 1;
                    self.moves += 1;
                    moved += 1;
                }
                Err(rtrb::PushError::Full(partition)) => {
                    self.partitions.push(partition);
                    break;
                }
            }
        }
        moved
    }

    #[inline(never)]
    fn help(&mut self, level: Level) -> usize {
        let Some(helping) = &mut self.helping else { return 0 };
        let mut moved = 0;
        while let Ok(partition) = helping.inbox.pop() {
            self.partitions.push(partition);
            moved += 1;
        }
        // What can't go home any more ends here.
        while !actions(level).helpers
            && !helping.back.is_abandoned()
            && let Some(partition) = self.partitions.pop()
        {
            match helping.back.push(partition) {
                Ok(()) => moved += 1,
                Err(rtrb::PushError::Full(partition)) => {
                    self.partitions.push(partition);
                    break;
                }
            }
        }
        moved
    }

    fn publish(&mut self) {
        let (mut events, mut parked, mut p99_ns) = (EventBook::default(), 0, 0);
        for partition in &mut self.partitions {
            events.absorb(partition.events());
            parked += partition.parked();
            p99_ns = p99_ns.max(partition.take_p99().unwrap_or(0));
        }
        self.board.publish(Counter::Delivered, events.delivered);
        self.board.publish(Counter::Parked, parked as u64);
        self.board.publish(Counter::P99Ns, p99_ns);
    }
}

impl<P: Processor> Agent for ProcessorAgent<P> {
    fn name(&self) -> &str {
        &self.name
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let level = self.knobs.level();
        let mut work = self.exchange(level);
        let burst = POP_MAX * actions(level).burst_factor.min(BURST_FACTOR_MAX);
        for partition in &mut self.partitions {
            work += partition.turn(now, burst, &self.clock);
        }
        work
    }

    fn housekeeping(&mut self, now: Nanos) {
        self.clock.recalibrate();
        self.partitions.iter_mut().for_each(|partition| partition.housekeeping(now));
        self.publish();
    }

    fn finished(&self) -> bool {
        let is_lending =
            self.helped.as_ref().is_some_and(|helped| helped.lent > 0 && !helped.out.is_abandoned());
        let may_come = self
            .helping
            .as_ref()
            .is_some_and(|helping| !(helping.inbox.is_abandoned() && helping.inbox.is_empty()));
        !is_lending && !may_come && self.partitions.iter().all(|partition| partition.is_finished())
    }

    fn on_close(&mut self, now: Nanos) {
        self.exchange(self.knobs.level());
        self.partitions.iter_mut().for_each(|partition| partition.close(now));
        self.helped = None;
        self.housekeeping(now);
        self.board.publish(Counter::Done, 1);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

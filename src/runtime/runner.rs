//! Hot path: the loop of a thread. Invariant: it ends, however its agents behave: when each is finished or has
//! panicked, or when the time to drain after a stop has run out.

use super::agent::Agent;
use super::idle::{IdleCounts, Idler};
use super::pulse::Pulse;
use crate::event::Nanos;
use crate::ledger::LatencyRecorder;
use crate::os::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Time between two rounds of housekeeping: often enough for a display and for the clock's drift, rare against turns.
pub const HOUSEKEEPING_NS: Nanos = 10_000_000;

/// What has become of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is given turns.
    Working,
    /// It was finished, and closed.
    Closed,
    /// It was closed because its time had run out.
    Unfinished,
    /// It panicked and is not called any more.
    Panicked,
}

/// An agent and what has become of it.
pub(super) struct Seat {
    pub(super) agent: Box<dyn Agent>,
    /// The agent's name, kept apart so that nothing is asked of an agent that has panicked.
    pub(super) name: String,
    pub(super) stage: Stage,
    asked_to_stop: bool,
}

impl Seat {
    pub(super) fn new(agent: Box<dyn Agent>) -> Seat {
        Seat { name: agent.name().to_owned(), agent, stage: Stage::Working, asked_to_stop: false }
    }
}

/// A thread's loop: its agents, and what it has counted.
pub(super) struct DutyLoop {
    pub(super) seats: Vec<Seat>,
    pub(super) turns: u64,
    pub(super) idle_turns: u64,
    /// How long turns with work took, housekeeping included.
    pub(super) duty: LatencyRecorder,
    pub(super) pulse: Pulse,
    clock: Clock,
    idler: Idler,
    stop: Arc<AtomicBool>,
    drain_ns: Nanos,
    /// The seat whose agent is being called, for whoever catches its panic.
    current: usize,
    next_housekeeping: Nanos,
    /// When the time to drain runs out; `None` as long as nobody wants to stop.
    deadline: Option<Nanos>,
}

impl DutyLoop {
    pub(super) fn new(
        seats: Vec<Seat>,
        clock: Clock,
        idler: Idler,
        stop: Arc<AtomicBool>,
        drain_ns: Nanos,
        pulse: Pulse,
    ) -> DutyLoop {
        DutyLoop {
            seats,
            turns: 0,
            idle_turns: 0,
            duty: LatencyRecorder::default(),
            pulse,
            clock,
            idler,
            stop,
            drain_ns,
            current: 0,
            next_housekeeping: 0,
            deadline: None,
        }
    }

    /// Tells every agent that its thread has begun. May be called again after a panic: it goes on with the next one.
    pub(super) fn start(&mut self) {
        while self.current < self.seats.len() {
            let now = self.clock.now();
            self.pulse.beat(0, now);
            self.pulse.calling(self.current);
            let seat = &mut self.seats[self.current];
            if seat.stage == Stage::Working {
                seat.agent.on_start(now);
            }
            self.current += 1;
        }
        self.pulse.between_calls();
    }

    /// Turns until nothing is left to do. May be called again after a panic: it goes on with the others.
    pub(super) fn run(&mut self) {
        // When the turn before began, if it had work: its end is this one's beginning, so that one look at the clock does.
        let mut worked_from: Option<Nanos> = None;
        loop {
            let now = self.clock.now();
            if let Some(from) = worked_from.take() {
                self.duty.record(now.saturating_sub(from));
            }
            let work = self.turn(now);
            if now >= self.next_housekeeping && !self.keep_house(now) {
                return;
            }
            if work > 0 {
                worked_from = Some(now);
                self.idler.reset();
            } else if self.close_finished(now) {
                return;
            } else {
                self.idle_turns += 1;
                self.idler.idle();
            }
        }
    }

    #[inline]
    fn turn(&mut self, now: Nanos) -> usize {
        self.turns += 1;
        self.pulse.beat(self.turns, now);
        let mut work = 0;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.stage == Stage::Working {
                self.current = index;
                self.pulse.calling(index);
                work += seat.agent.do_work(now);
            }
        }
        // A thread that gets no CPU while it idles is not the fault of the agent that it called last.
        self.pulse.between_calls();
        work
    }

    /// Returns whether to go on: not if the time to drain has run out.
    fn keep_house(&mut self, now: Nanos) -> bool {
        self.next_housekeeping = now + HOUSEKEEPING_NS;
        self.clock.recalibrate();
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.stage == Stage::Working {
                self.current = index;
                self.pulse.calling(index);
                seat.agent.housekeeping(now);
            }
        }
        self.pulse.between_calls();
        // Relaxed: the flag carries no data, and is looked at again soon.
        if self.stop.load(Ordering::Relaxed) {
            self.ask_to_stop(now);
        }
        let out_of_time = self.deadline.is_some_and(|deadline| now >= deadline);
        if out_of_time {
            self.close_all(now);
        }
        !out_of_time
    }

    /// Asks each agent once, also if one before it panics at that.
    #[cold]
    #[inline(never)]
    fn ask_to_stop(&mut self, now: Nanos) {
        self.deadline.get_or_insert(now.saturating_add(self.drain_ns));
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.stage == Stage::Working && !seat.asked_to_stop {
                self.current = index;
                self.pulse.calling(index);
                seat.asked_to_stop = true;
                seat.agent.stop();
            }
        }
        self.pulse.between_calls();
    }

    /// Closes those that are finished; returns whether none is left.
    fn close_finished(&mut self, now: Nanos) -> bool {
        let mut none_left = true;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.stage != Stage::Working {
                continue;
            }
            self.current = index;
            if seat.agent.finished() {
                seat.stage = Stage::Closed;
                self.pulse.calling(index);
                seat.agent.on_close(now);
                self.pulse.between_calls();
            } else {
                none_left = false;
            }
        }
        none_left
    }

    #[cold]
    #[inline(never)]
    fn close_all(&mut self, now: Nanos) {
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.stage == Stage::Working {
                self.current = index;
                self.pulse.calling(index);
                seat.stage = if seat.agent.finished() { Stage::Closed } else { Stage::Unfinished };
                seat.agent.on_close(now);
            }
        }
        self.pulse.between_calls();
    }

    /// The agent that was being called has panicked: it is called no more, and everything else is asked to stop.
    #[cold]
    pub(super) fn current_panicked(&mut self, message: &str) -> &str {
        // Relaxed: as in `keep_house`.
        self.stop.store(true, Ordering::Relaxed);
        self.pulse.between_calls();
        let name = match self.seats.get_mut(self.current) {
            None => "runner",
            Some(seat) => {
                seat.stage = Stage::Panicked;
                &seat.name
            }
        };
        self.pulse.panicked(name, message);
        name
    }

    pub(super) fn idle_counts(&self) -> IdleCounts {
        self.idler.counts()
    }
}

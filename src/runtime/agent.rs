//! An agent: a piece of work that one thread does in turns. Invariant: it is called by one thread at a time, and never
//! blocks.

use crate::event::Nanos;
use std::any::Any;

/// What a thread runs. The calls come in this order: `on_start` once; `do_work` every turn, with `housekeeping` about
/// every 10 ms between turns and `stop` at most once; and, as soon as `finished` is true, `on_close` once and nothing
/// after it. `now` is CLOCK_MONOTONIC in nanoseconds, read once per turn.
pub trait Agent: Send {
    /// Its name in reports and plans.
    fn name(&self) -> &str;

    /// Its thread has begun, and is pinned: memory that is touched first here lies near its CPU. It may allocate.
    fn on_start(&mut self, now: Nanos) {
        let _ = now;
    }

    /// One duty cycle: takes what is there, up to a limit of its own, and returns how many things it did; 0 lets the
    /// thread idle. Hot: no allocation, lock, log or system call that could block.
    fn do_work(&mut self, now: Nanos) -> usize;

    /// Publishes counters, obeys knobs, looks at deadlines. Called between turns, not after `on_close`.
    fn housekeeping(&mut self, now: Nanos) {
        let _ = now;
    }

    /// The appliance wants to stop: take nothing new in, hand over what is held, and become finished.
    fn stop(&mut self) {}

    /// Whether nothing will ever come any more and nothing is held. Once true it stays true. Asked after turns in which
    /// no agent of the thread had work.
    fn finished(&self) -> bool;

    /// The last call: it is finished, or its time to finish has run out. Publishes the last of its counters.
    fn on_close(&mut self, now: Nanos) {
        let _ = now;
    }

    /// Itself, so that the appliance can take its books when its thread has ended: `self`.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

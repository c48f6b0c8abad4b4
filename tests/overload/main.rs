//! Overload on real captures: a source that brings several times what throttled processors take.
//!
//! Everything is driven turn by turn on the test's thread by a seeded scheduler, so that a run that fails can be run again.
//! What "queued" means here: an event is queued for a worker until the worker has popped it. A queue is a ring of at most 1,024
//! places (a quarter of the queue, if that is less) whose events are handed over to the worker and can't be taken back, and
//! behind it, on the shard's side, what is kept back and can. "A realtime event is never lost while a less urgent one is
//! queued" is promised, and checked at each loss, of what is kept back.

#[path = "../common/program.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod program;

mod binary;
mod levels;
mod panics;
mod policies;
mod rig;
mod script;
mod storm;

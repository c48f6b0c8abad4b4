//! Threads: what an agent is, how a thread runs its agents and waits when there is nothing to do, and which thread
//! runs on which CPU.
//!
//! The life of a thread: [`spawn_all`] creates every thread, each pins itself and waits; once all are pinned they go
//! on, call `on_start`, become SCHED_FIFO if they should, and loop until each of their agents is finished.

mod agent;
mod idle;
mod plan;
mod pulse;
mod runner;
mod thread;

pub use agent::Agent;
pub use idle::{IdleCounts, IdleStrategy, Idler};
pub use plan::{Drive, PlannedThread, Threading, ThreadingPlan, ThreadingWish, plan_threads};
pub use pulse::{AgentPanic, Beat, Pulse};
pub use runner::HOUSEKEEPING_NS;
pub(crate) use thread::leave_signals_to_others;
pub use thread::{RunningThread, RuntimeError, ThreadPlan, ThreadReport, spawn, spawn_all};

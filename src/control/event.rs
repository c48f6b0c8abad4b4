//! What the control plane tells: a fact, when it was noticed, and its topic.
//!
//! Invariant: each fact is told once, to the log, the control topics and the report alike.

use super::kill_switch::KillRecord;
use super::pressure::{Measure, Transition};
use crate::event::Nanos;
use crate::ledger::Level;
use crate::runtime::AgentPanic;
use std::fmt;
use std::sync::Arc;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlEvent {
    /// When it was noticed, ns of the monotonic clock.
    pub at_ns: Nanos,
    /// What.
    pub fact: ControlFact,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlFact {
    /// The pressure level has changed.
    Pressure(Transition),
    /// A thread's loop does not turn.
    Stalled {
        /// The thread.
        thread: Arc<str>,
        /// The agent that is being called; `None` if the thread stands still between calls, as without a CPU.
        agent: Option<Arc<str>>,
        /// For how long, ns.
        silent_ns: Nanos,
    },
    /// It turns again, or has ended.
    Returned {
        /// The thread.
        thread: Arc<str>,
        /// The agent that was being called.
        agent: Option<Arc<str>>,
        /// How long it stood still, ns.
        silent_ns: Nanos,
    },
    /// An agent has panicked, and ends the run.
    Panicked(AgentPanic),
    /// The kill switch was set, or taken back.
    KillSwitch(KillRecord),
}

impl ControlFact {
    /// The control topic that it is told on.
    pub const fn topic(&self) -> &'static str {
        match self {
            ControlFact::Pressure(_) => "pressure.level",
            ControlFact::Stalled { .. } => "agent.stalled",
            ControlFact::Returned { .. } => "agent.returned",
            ControlFact::Panicked(_) => "agent.panicked",
            ControlFact::KillSwitch(KillRecord { is_set: true, .. }) => "kill_switch.set",
            ControlFact::KillSwitch(KillRecord { is_set: false, .. }) => "kill_switch.cleared",
        }
    }

    /// Whether somebody should look.
    fn is_bad(&self) -> bool {
        match self {
            ControlFact::Pressure(transition) => transition.to > transition.from.max(Level::Elevated),
            ControlFact::Stalled { .. } | ControlFact::Panicked(_) | ControlFact::KillSwitch(_) => true,
            ControlFact::Returned { .. } => false,
        }
    }
}

impl ControlEvent {
    /// Writes it to the log.
    pub(super) fn log(&self) {
        match self.fact.is_bad() {
            true => tracing::warn!("{}", self.fact),
            false => tracing::info!("{}", self.fact),
        }
    }
}

fn seconds(ns: Nanos) -> f64 {
    ns as f64 / 1e9
}

fn of(agent: Option<&Arc<str>>) -> String {
    agent.map_or_else(|| "between calls of its agents".to_owned(), |agent| format!("in agent {agent}"))
}

/// A value in the unit of its measure.
fn with_unit(measure: Measure, value: u64) -> String {
    match measure {
        Measure::QueueDepth => format!("{value} events waiting"),
        Measure::DropRate => format!("{:.2} % dropped", value as f64 / 1e4),
        Measure::Latency => format!("p99 {:.1} µs", value as f64 / 1e3),
    }
}

impl fmt::Display for ControlFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlFact::Pressure(told) => {
                let side = if told.to > told.from { "above" } else { "below" };
                write!(
                    f,
                    "pressure {} (was {}): {}, {side} {}",
                    told.to.name(),
                    told.from.name(),
                    with_unit(told.measure, told.value),
                    with_unit(told.measure, told.threshold)
                )
            }
            ControlFact::Stalled { thread, agent, silent_ns } => {
                let place = of(agent.as_ref());
                write!(f, "thread {thread} has stood still for {:.3} s, {place}", seconds(*silent_ns))
            }
            ControlFact::Returned { thread, agent, silent_ns } => {
                let place = of(agent.as_ref());
                write!(f, "thread {thread} goes on after {:.3} s, {place}", seconds(*silent_ns))
            }
            ControlFact::Panicked(panic) => {
                write!(f, "agent {} on thread {} panicked: {}", panic.agent, panic.thread, panic.message)
            }
            ControlFact::KillSwitch(record) => {
                let done = if record.is_set { "set" } else { "cleared" };
                write!(f, "kill switch {done} by {}", record.why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Cause;
    use crate::ledger::KilledBy;

    #[test]
    fn facts_have_topics_and_words() {
        let transition = Transition {
            from: Level::Elevated,
            to: Level::Critical,
            at_ns: 1,
            cause: Cause::DropRate,
            measure: Measure::DropRate,
            value: 45_678,
            threshold: 40_000,
        };
        let kill = |is_set| {
            ControlFact::KillSwitch(KillRecord {
                at_ns: 1,
                is_set,
                by: KilledBy::Rule(7),
                why: "rule 7".to_owned(),
            })
        };
        let (thread, agent) = (Arc::from("shards"), Some(Arc::from("shard-0")));
        let panic = AgentPanic { thread: "shards".into(), agent: "shard-0".into(), message: "no".to_owned() };
        let table = [
            (
                ControlFact::Pressure(transition),
                "pressure.level",
                true,
                "pressure critical (was elevated): 4.57 % dropped, above 4.00 % dropped",
            ),
            (
                ControlFact::Stalled { thread: Arc::clone(&thread), agent, silent_ns: 1_500_000_000 },
                "agent.stalled",
                true,
                "thread shards has stood still for 1.500 s, in agent shard-0",
            ),
            (
                ControlFact::Returned { thread, agent: None, silent_ns: 2_000_000 },
                "agent.returned",
                false,
                "thread shards goes on after 0.002 s, between calls of its agents",
            ),
            (
                ControlFact::Panicked(panic),
                "agent.panicked",
                true,
                "agent shard-0 on thread shards panicked: no",
            ),
            (kill(true), "kill_switch.set", true, "kill switch set by rule 7"),
            (kill(false), "kill_switch.cleared", true, "kill switch cleared by rule 7"),
        ];
        for (fact, topic, is_bad, words) in table {
            assert_eq!((fact.topic(), fact.is_bad(), fact.to_string().as_str()), (topic, is_bad, words));
        }
    }
}

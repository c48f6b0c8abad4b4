//! How hard a run was pressed, which agents stood still, and what became of the kill switch.
//!
//! Invariant: what is listed was told as it happened, in the same words; what is not listed is counted.

use super::text::{Style, Table, duration, thousands};
use crate::control::{ControlEvent, ControlFact, ControlOutcome, KillRecord, Transition};
use crate::event::Nanos;
use crate::ledger::{Level, Percentiles};
use crate::runtime::{AgentPanic, ThreadReport};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A thread that stood still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StallReport {
    /// The thread.
    pub thread: String,
    /// The agent that was being called; `null` if there was none.
    pub agent: Option<String>,
    /// When it was told, ns of the monotonic clock.
    pub told_ns: Nanos,
    /// For how long it stood still: in all if it returned, else until it was told.
    pub silent_ns: Nanos,
    /// Whether it returned.
    pub returned: bool,
}

/// A transition of the kill switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KillReport {
    /// When, ns of the monotonic clock.
    pub at_ns: Nanos,
    /// Whether it was set, else cleared.
    pub set: bool,
    /// Who did it: rule, signal, config or program.
    pub by: &'static str,
    /// The rule's number, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
    /// Why.
    pub why: String,
}

impl From<&KillRecord> for KillReport {
    fn from(record: &KillRecord) -> KillReport {
        let KillRecord { at_ns, is_set, by, why } = record;
        KillReport { at_ns: *at_ns, set: *is_set, by: by.name(), rule: by.rule(), why: why.clone() }
    }
}

/// The turns of a thread's loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DutyReport {
    /// The thread.
    pub thread: String,
    /// Turns.
    pub turns: u64,
    /// Turns in which no agent had work.
    pub idle_turns: u64,
    /// How long those with work took, ns.
    pub duty_ns: Percentiles,
}

/// The control plane's part of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PressureReport {
    /// The level at the end.
    pub level: Level,
    /// The highest level.
    pub highest: Level,
    /// Milliseconds spent at each level.
    pub ms_per_level: BTreeMap<&'static str, f64>,
    /// The most events that were seen waiting in one shard's queues.
    pub queue_depth_max: u64,
    /// The changes of level.
    pub transitions: Vec<Transition>,
    /// Threads that stood still.
    pub stalls: Vec<StallReport>,
    /// Whether the kill switch is set at the end.
    pub killed: bool,
    /// Its transitions.
    pub kill_switch: Vec<KillReport>,
    /// How much was told, by control topic.
    pub topics: BTreeMap<&'static str, u64>,
    /// What was told and is not listed, because there was too much.
    pub not_kept: u64,
    /// What found no place on its way to the control topics' file; it is counted and listed all the same.
    pub untold: u64,
    /// The turns of each thread.
    pub duty_cycles: Vec<DutyReport>,
}

impl PressureReport {
    /// That of a run.
    pub fn new(outcome: &ControlOutcome, threads: &[ThreadReport]) -> PressureReport {
        let duty = |thread: &ThreadReport| DutyReport {
            thread: thread.name.clone(),
            turns: thread.turns,
            idle_turns: thread.idle_turns,
            duty_ns: thread.duty_ns,
        };
        let spent = |level: Level| (level.name(), outcome.level_ns[level as usize] as f64 / 1e6);
        PressureReport {
            level: outcome.level,
            highest: outcome.highest,
            ms_per_level: Level::ALL.map(spent).into(),
            queue_depth_max: outcome.queue_depth_max,
            transitions: outcome.transitions().copied().collect(),
            stalls: stalls(&outcome.events),
            killed: outcome.killed,
            kill_switch: outcome.kill_records.iter().map(KillReport::from).collect(),
            topics: outcome.topics.clone(),
            not_kept: outcome.not_kept,
            untold: outcome.untold,
            duty_cycles: threads.iter().map(duty).collect(),
        }
    }
}

/// Each stall with its return.
fn stalls(events: &[ControlEvent]) -> Vec<StallReport> {
    let mut stalls: Vec<StallReport> = Vec::new();
    for event in events {
        match &event.fact {
            ControlFact::Stalled { thread, agent, silent_ns } => stalls.push(StallReport {
                thread: thread.to_string(),
                agent: agent.as_ref().map(ToString::to_string),
                told_ns: event.at_ns,
                silent_ns: *silent_ns,
                returned: false,
            }),
            ControlFact::Returned { thread, silent_ns, .. } => {
                let mine = |stall: &&mut StallReport| stall.thread == **thread && !stall.returned;
                if let Some(stall) = stalls.iter_mut().rev().find(mine) {
                    (stall.silent_ns, stall.returned) = (*silent_ns, true);
                }
            }
            _ => {}
        }
    }
    stalls
}

/// The line of the control topics' file for this event.
pub fn control_event_value(event: &ControlEvent) -> Value {
    let mut value = json!({ "topic": event.fact.topic(), "at_ns": event.at_ns });
    let more = match &event.fact {
        ControlFact::Pressure(told) => json!({
            "from": told.from,
            "to": told.to,
            "cause": told.cause,
            "measure": told.measure,
            "value": told.value,
            "threshold": told.threshold,
        }),
        ControlFact::Stalled { thread, agent, silent_ns }
        | ControlFact::Returned { thread, agent, silent_ns } => {
            json!({ "thread": **thread, "agent": agent.as_deref(), "silent_ns": silent_ns })
        }
        ControlFact::Panicked(AgentPanic { thread, agent, message }) => {
            json!({ "thread": **thread, "agent": **agent, "message": message })
        }
        ControlFact::KillSwitch(record) => {
            json!({ "by": record.by.name(), "rule": record.by.rule(), "why": record.why })
        }
    };
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

/// Its lines in the summary.
pub fn summarize_pressure(report: &PressureReport, style: Style) -> String {
    let mut out = format!("{}\n", style.heading("Pressure"));
    let spent = |level: &Level| {
        let ms = report.ms_per_level.get(level.name()).copied().unwrap_or(0.0);
        (ms > 0.0).then(|| format!("{} {}", level.name(), duration((ms * 1e6) as u64)))
    };
    let spent: Vec<String> = Level::ALL.iter().filter_map(spent).collect();
    out += &format!(
        "  level {}, highest {}, {} changes; {}; at most {} events waiting in a shard\n",
        report.level.name(),
        report.highest.name(),
        thousands(report.topics.get("pressure.level").copied().unwrap_or(0)),
        if spent.is_empty() { "not looked at".to_owned() } else { spent.join(", ") },
        thousands(report.queue_depth_max)
    );
    for stall in &report.stalls {
        let agent = stall.agent.as_deref().unwrap_or("none of its agents");
        let end = if stall.returned { "and went on" } else { "and had not gone on when this was told" };
        let silent = duration(stall.silent_ns);
        out += &format!("  thread {} stood still for {silent}, in {agent}, {end}\n", stall.thread);
    }
    for kill in &report.kill_switch {
        out += &format!("  kill switch {} by {}\n", if kill.set { "set" } else { "cleared" }, kill.why);
    }
    if report.killed {
        out += &format!("  {}\n", style.bad("the kill switch is set"));
    }
    let mut table = Table::new(1, &["thread", "turns", "idle", "with work p50", "p99", "p99.9", "max"]);
    for thread in &report.duty_cycles {
        let duty = &thread.duty_ns;
        let mut row = vec![thread.thread.clone(), thousands(thread.turns), thousands(thread.idle_turns)];
        match duty.count {
            0 => row.extend([(); 4].map(|()| "-".to_owned())),
            _ => row.extend([duty.p50, duty.p99, duty.p999, duty.max].map(duration)),
        }
        table.row(row);
    }
    table.render(style, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Cause, Measure};
    use crate::ledger::KilledBy;
    use std::sync::Arc;

    fn outcome() -> ControlOutcome {
        let transition = Transition {
            from: Level::Healthy,
            to: Level::Critical,
            at_ns: 10,
            cause: Cause::QueueDepth,
            measure: Measure::QueueDepth,
            value: 5_001,
            threshold: 5_000,
        };
        let (thread, agent): (Arc<str>, Option<Arc<str>>) = ("crew".into(), Some("shard-0".into()));
        let stalled =
            |silent_ns| ControlFact::Stalled { thread: thread.clone(), agent: agent.clone(), silent_ns };
        let returned =
            ControlFact::Returned { thread: thread.clone(), agent: agent.clone(), silent_ns: 2_000_000 };
        let by = KilledBy::Rule(7);
        let record = KillRecord { at_ns: 40, is_set: true, by, why: "rule 7".to_owned() };
        let facts = [
            (10, ControlFact::Pressure(transition)),
            (20, stalled(1_000_000)),
            (30, returned),
            (35, stalled(1_100_000)),
            (40, ControlFact::KillSwitch(record.clone())),
        ];
        let mut outcome = ControlOutcome {
            level: Level::Critical,
            highest: Level::Critical,
            level_ns: [1_500_000, 0, 0, 2_000_000, 0],
            queue_depth_max: 5_001,
            killed: true,
            kill_records: vec![record],
            ..ControlOutcome::default()
        };
        for (at_ns, fact) in facts {
            *outcome.topics.entry(fact.topic()).or_default() += 1;
            outcome.events.push(ControlEvent { at_ns, fact });
        }
        outcome
    }

    fn threads() -> [ThreadReport; 2] {
        let duty_ns = Percentiles { p50: 900, p90: 950, p99: 1_000, p999: 5_000, max: 20_000, count: 10 };
        let busy = ThreadReport { name: "crew".to_owned(), turns: 1_234, duty_ns, ..ThreadReport::default() };
        [busy, ThreadReport { name: "idle".to_owned(), ..ThreadReport::default() }]
    }

    #[test]
    fn the_report_has_everything_that_was_told() {
        let value = serde_json::to_value(PressureReport::new(&outcome(), &threads())).expect("plain");
        assert_eq!((&value["level"], &value["highest"]), (&json!("critical"), &json!("critical")));
        assert_eq!(
            (&value["ms_per_level"]["healthy"], &value["ms_per_level"]["critical"]),
            (&json!(1.5), &json!(2.0))
        );
        let transition = &value["transitions"][0];
        assert_eq!((&transition["cause"], &transition["value"]), (&json!("queue_depth"), &json!(5_001)));
        let first = json!({ "thread": "crew", "agent": "shard-0", "told_ns": 20, "silent_ns": 2_000_000, "returned": true });
        assert_eq!(value["stalls"][0], first);
        assert_eq!(
            (&value["stalls"][1]["returned"], &value["stalls"][1]["silent_ns"]),
            (&json!(false), &json!(1_100_000))
        );
        let kill = json!({ "at_ns": 40, "set": true, "by": "rule", "rule": 7, "why": "rule 7" });
        assert_eq!(value["kill_switch"], json!([kill]));
        assert_eq!(value["duty_cycles"][0]["duty_ns"]["p99"], 1_000);
    }

    #[test]
    fn the_summary_names_what_matters() {
        let text = summarize_pressure(&PressureReport::new(&outcome(), &threads()), Style::PLAIN);
        for part in [
            "level critical, highest critical, 1 changes; healthy 1.50 ms, critical 2.00 ms; at most 5,001 events",
            "thread crew stood still for 2.00 ms, in shard-0, and went on",
            "had not gone on",
            "kill switch set by rule 7",
            "the kill switch is set",
            "1,234",
            "20.0 µs",
        ] {
            assert!(text.contains(part), "no '{part}' in:\n{text}");
        }
    }

    #[test]
    fn lines_of_the_control_file_describe_themselves() {
        let lines: Vec<Value> = outcome().events.iter().map(control_event_value).collect();
        let expected = json!({ "topic": "pressure.level", "at_ns": 10, "from": "healthy", "to": "critical", "cause": "queue_depth", "measure": "queue_depth", "value": 5_001, "threshold": 5_000 });
        assert_eq!(lines[0], expected);
        assert_eq!(
            lines[1],
            json!({ "topic": "agent.stalled", "at_ns": 20, "thread": "crew", "agent": "shard-0", "silent_ns": 1_000_000 })
        );
        assert_eq!(
            lines[4],
            json!({ "topic": "kill_switch.set", "at_ns": 40, "by": "rule", "rule": 7, "why": "rule 7" })
        );
    }
}

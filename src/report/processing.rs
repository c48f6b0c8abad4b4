//! What processors and the control plane did, as a report has it.
//!
//! Invariant: for each reason, letters, suppressed ones and those without room are together the ledger's count.

use super::letters::LettersReport;
use super::pressure::{PressureReport, summarize_pressure};
use super::rules::RulesReport;
use super::text::{Style, thousands};
use super::transactional::TransactionalReport;
use super::windows::WindowsReport;
use crate::event::Class;
use crate::ledger::RoutingBook;
use serde::Serialize;
use std::collections::BTreeMap;

/// Events by the class that their senders asked for, and the one that they got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoutingReport {
    /// How many, by asked class, then by class.
    pub by_asked_class: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Those that got a more urgent class than their senders asked for.
    pub raised: u64,
}

impl From<&RoutingBook> for RoutingReport {
    fn from(book: &RoutingBook) -> RoutingReport {
        let of = |counts: &[u64; 3]| Class::ALL.into_iter().map(Class::name).zip(*counts).collect();
        let by_asked_class =
            Class::ALL.into_iter().map(Class::name).zip(book.routed.iter().map(of)).collect();
        RoutingReport { by_asked_class, raised: book.raised() }
    }
}

/// What processors and the control plane did.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessingReport {
    /// The control plane.
    pub pressure: PressureReport,
    /// Events that were not processed.
    pub dead_letters: LettersReport,
    /// The transactional processors.
    pub transactional: TransactionalReport,
    /// The batch processors' windows.
    pub windows: WindowsReport,
    /// Copies of realtime events that found no place on their way to the windows.
    pub copies_dropped: u64,
    /// Alert rules, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesReport>,
    /// How often a worker lent keys to its helper.
    pub lent: u64,
}

/// Its lines in the summary.
pub(super) fn summarize_processing(
    report: &ProcessingReport,
    routing: &RoutingReport,
    style: Style,
) -> String {
    let mut out = format!("{}\n", style.heading("Processing"));
    let mut line = |name: &str, text: String| out.push_str(&format!("  {name:<14} {text}\n"));
    if routing.raised > 0 {
        line("routing", format!("{} events raised to a more urgent class", thousands(routing.raised)));
    }
    if let Some(rules) = &report.rules {
        let fired: u64 = rules.alerts.values().sum();
        let by = rules.alerts.iter().filter(|(_, count)| **count > 0);
        let by: Vec<String> =
            by.map(|(severity, count)| format!("{} {severity}", thousands(*count))).collect();
        let by = if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) };
        line("rules", format!("{} rules, {} alerts{by}", rules.rules.len(), thousands(fired)));
    }
    let transactional = &report.transactional;
    if transactional.deduplicated + transactional.attempts.retried > 0 {
        let counts = [transactional.deduplicated, transactional.attempts.retried].map(thousands);
        line("transactional", format!("{} copies, {} further attempts", counts[0], counts[1]));
    }
    for windows in &report.windows.definitions {
        if windows.events > 0 {
            let counts = [windows.events, windows.closed, windows.late].map(thousands);
            let [events, closed, late] = counts;
            line(
                "windows",
                format!("{}: {events} events, {closed} windows closed, {late} late", windows.name),
            );
        }
    }
    let letters = report.dead_letters.by_reason.iter();
    for (reason, counts) in letters {
        let all = [counts.letters, counts.suppressed + counts.no_room, counts.written].map(thousands);
        let [letters, counted, written] = all;
        line("dead letters", format!("{reason}: {letters} kept, {written} written, {counted} only counted"));
    }
    out + &summarize_pressure(&report.pressure, style)
}

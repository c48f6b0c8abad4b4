//! What a load did, for people.

use super::text::{Style, Table, duration, thousands};
use crate::load::{LoadReport, ProducerReport};
use std::fmt::Write as _;

/// Producers that are named when something of them is lacking; the JSON names all.
const NAMED_MAX: usize = 10;

/// The summary of a load: rates, latencies, topics, and whatever is not proven.
pub fn summarize_load(report: &LoadReport, style: Style) -> String {
    let mut out = String::new();
    write_summary(report, style, &mut out).expect("writing to a String cannot fail");
    out
}

fn write_summary(report: &LoadReport, style: Style, out: &mut String) -> std::fmt::Result {
    let producers = match report.producers.len() {
        1 => "one producer".to_owned(),
        n => format!("{} producers", thousands(n as u64)),
    };
    let sessions = if report.session { " in acknowledged sessions" } else { "" };
    writeln!(
        out,
        "{} {} events, {} bytes from {producers} to {} in {:.3} s ({} events/s), version {}{sessions}",
        style.heading("sent"),
        thousands(report.sent),
        thousands(report.bytes),
        report.to,
        report.elapsed_s,
        thousands(report.events_per_s as u64),
        report.version,
    )?;
    if let Some(acknowledged) = report.acknowledged.filter(|_| report.sent > 0) {
        let verdict = if acknowledged == report.sent {
            style.good("every one of them acknowledged")
        } else {
            style.bad(&format!("{} not acknowledged", thousands(report.sent - acknowledged)))
        };
        writeln!(out, "acknowledged {}: {verdict}", thousands(acknowledged))?;
    }
    let latency = report.latency_ns;
    if latency.count > 0 {
        writeln!(
            out,
            "latency from due to {}: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            report.latency_until,
            duration(latency.p50),
            duration(latency.p90),
            duration(latency.p99),
            duration(latency.p999),
            duration(latency.max)
        )?;
    }
    if report.by_topic.len() > 1 {
        let mut table = Table::new(1, &["topic", "priority", "events"]);
        for (topic, counts) in &report.by_topic {
            table.row(vec![topic.clone(), counts.priority.to_string(), thousands(counts.sent)]);
        }
        table.render(style, out);
    }
    write_troubles(report, style, out)
}

/// What did not go as it should: connections, waits, and what is lacking.
fn write_troubles(report: &LoadReport, style: Style, out: &mut String) -> std::fmt::Result {
    let sum = |count: fn(&ProducerReport) -> u64| report.producers.iter().map(count).sum::<u64>();
    let losses = sum(|p| p.losses.values().sum());
    if losses > 0 {
        let resent = sum(|p| p.resent);
        writeln!(
            out,
            "connections lost or refused: {}; events sent again: {}",
            thousands(losses),
            thousands(resent)
        )?;
    }
    let full = sum(|p| p.window_full);
    if full > 0 {
        let full_ns = sum(|p| p.window_full_ns);
        writeln!(out, "windows full: {} times, {} over all producers", thousands(full), duration(full_ns))?;
    }
    let refused = sum(|p| p.refused);
    if refused > 0 {
        writeln!(out, "datagrams that found nobody: {} told of", thousands(refused))?;
    }
    let lacking = |producer: &&ProducerReport| producer.lacks();
    for producer in report.producers.iter().filter(lacking).take(NAMED_MAX) {
        let mut facts = Vec::new();
        if let Some(gap) = producer.unacknowledged {
            facts.push(format!("{} to {} not acknowledged", thousands(gap.from), thousands(gap.to)));
        }
        if producer.cut > 0 {
            facts.push(format!("{} cut by a lost connection", thousands(producer.cut)));
        }
        if producer.not_sent > 0 {
            facts.push(format!("{} not sent", thousands(producer.not_sent)));
        }
        writeln!(out, "{}", style.bad(&format!("producer {}: {}", producer.producer, facts.join(", "))))?;
    }
    let unnamed = report.producers.iter().filter(lacking).count().saturating_sub(NAMED_MAX);
    if unnamed > 0 {
        writeln!(out, "and {} producers more, see --json", thousands(unnamed as u64))?;
    }
    Ok(())
}

//! What happened to streams and lines: counts by control topic, and every gap by name.
//!
//! Invariant: the parts of a gap that ended differently are listed apart, so that the numbers of all lost ones are what
//! the streams are missing.

use super::streams::StreamReport;
use super::text::{Style, Table, thousands};
use crate::feed::{Event, GapEnd, Notice, NoticeLog};
use crate::limits::RECOVERY_LINE;
use serde::Serialize;
use std::collections::BTreeMap;

/// Notices by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ControlReport {
    /// How many there were, by topic.
    pub topics: BTreeMap<&'static str, u64>,
    /// Those that are not listed, because there were too many.
    pub not_kept: u64,
    /// Those that found no place on their way from a shard, and are in no topic's count.
    pub dropped: u64,
}

impl ControlReport {
    /// The sums of the shards' logs.
    pub fn new<'a>(logs: impl IntoIterator<Item = &'a NoticeLog>) -> ControlReport {
        let mut report = ControlReport::default();
        for log in logs {
            for (topic, count) in &log.counts {
                *report.topics.entry(topic).or_default() += count;
            }
            report.not_kept += log.not_kept;
            report.dropped += log.dropped;
        }
        report
    }
}

/// A gap, or a part of one that ended differently from the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapReport {
    /// Its stream's name.
    pub stream: String,
    /// The stream's epoch, from 0.
    pub epoch: u32,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
    /// How many.
    pub numbers: u64,
    /// When it was noticed, ns: since the Unix epoch in captures that are taken flat out, else of the monotonic clock.
    pub opened_ns: u64,
    /// When it ended, on the same clock.
    pub ended_ns: u64,
    /// The line that skipped the numbers, or whose heartbeat named a higher one.
    pub skipped_on: String,
    /// The lines that brought them later.
    pub brought_by: Vec<String>,
    /// How it ended: filled, recovered or lost.
    pub end: &'static str,
    /// Why it is lost: reorder_window, recovery_gave_up, window_passed, no_room, epoch_ended, source_ended or
    /// snapshot_taken or unavailable.
    pub reason: Option<&'static str>,
}

/// The gaps among the notices, by stream, in the order in which they were noticed. A notice names its stream by the place
/// in `streams`.
pub fn gaps(notices: &[(usize, Notice)], streams: &[StreamReport]) -> Vec<GapReport> {
    let gap = |(place, notice): &(usize, Notice)| -> Option<(usize, GapReport)> {
        let Event::Gap(record) = notice.event else { return None };
        let stream = streams.get(*place)?;
        let name = |index: u8| {
            let line = stream.lines.iter().find(|line| line.index == index);
            line.map_or_else(|| index.to_string(), |line| line.name.clone())
        };
        let (end, reason) = match record.end {
            GapEnd::Filled if record.bringers().any(|line| line == RECOVERY_LINE) => ("recovered", None),
            GapEnd::Filled => ("filled", None),
            GapEnd::Lost(loss) => ("lost", Some(loss.name())),
        };
        let report = GapReport {
            stream: stream.name.clone(),
            epoch: notice.epoch,
            first: record.first,
            last: record.last,
            numbers: record.numbers(),
            opened_ns: record.opened_ns,
            ended_ns: notice.at_ns,
            skipped_on: name(record.opened_on),
            brought_by: record.bringers().map(name).collect(),
            end,
            reason,
        };
        Some((*place, report))
    };
    let mut found: Vec<(usize, GapReport)> = notices.iter().filter_map(gap).collect();
    found.sort_by_key(|(place, gap)| (*place, gap.epoch, gap.first));
    found.into_iter().map(|(_, gap)| gap).collect()
}

/// The listing for a person.
pub fn explain_gaps(gaps: &[GapReport], control: &ControlReport, style: Style) -> String {
    let mut out = format!("{}\n", style.heading("Gaps"));
    if gaps.is_empty() {
        out += "  none\n";
        return out;
    }
    let head = ["stream", "skipped on", "brought by", "how it ended", "first", "last", "numbers", "after"];
    let mut table = Table::new(4, &head);
    for gap in gaps {
        let stream = match gap.epoch {
            0 => gap.stream.clone(),
            epoch => format!("{} (epoch {epoch})", gap.stream),
        };
        let end = gap.reason.map_or_else(|| gap.end.to_owned(), |reason| format!("{}: {reason}", gap.end));
        let brought_by = if gap.brought_by.is_empty() { "-".to_owned() } else { gap.brought_by.join(", ") };
        let after = super::text::duration(gap.ended_ns.saturating_sub(gap.opened_ns));
        table.row(vec![
            stream,
            gap.skipped_on.clone(),
            brought_by,
            end,
            gap.first.to_string(),
            gap.last.to_string(),
            thousands(gap.numbers),
            after,
        ]);
    }
    table.render(style, &mut out);
    let unlisted = control.not_kept + control.dropped;
    if unlisted > 0 {
        out += &format!("  and up to {} more, which were counted only\n", thousands(unlisted));
    }
    out
}

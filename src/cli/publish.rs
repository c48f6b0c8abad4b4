//! Closed books to where they were asked for: the summary, report.json, the plot.

use super::output::print;
use super::run::not_written;
use crate::appliance::{Outcome, Processing, StreamOutcome};
use crate::config::Settings;
use crate::event::ShardId;
use crate::feed::{Notice, NoticeLog};
use crate::os::{self, Clock, MachineFacts};
use crate::report::{
    ControlReport, Exit, HotPath, Latencies, LettersReport, NamedLine, NamedStream, PressureReport,
    ProcessingReport, Report, ReportInput, RulesReport, Style, WindowsReport, explain_letters, summarize,
    to_json, write_json, write_plot,
};
use crate::runtime::ThreadReport;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::stdout;
use std::path::Path;

/// Where a report goes.
pub(super) struct Outputs<'a> {
    /// report.json.
    pub(super) report: Option<&'a Path>,
    /// The latency plot.
    pub(super) plot: Option<&'a Path>,
    /// Whether standard output gets the JSON instead of the summary.
    pub(super) json: bool,
}

impl From<StreamOutcome> for NamedStream {
    fn from(outcome: StreamOutcome) -> NamedStream {
        let stream = outcome.stream;
        NamedStream {
            protocol: stream.protocol,
            name: stream.name.to_string(),
            session: stream.session,
            book: stream.book,
            status: stream.status,
            lines: stream
                .lines
                .into_iter()
                .map(|line| NamedLine {
                    name: line.name,
                    index: line.index,
                    book: line.book,
                    late: line.late,
                })
                .collect(),
        }
    }
}

/// What processors and the control plane did.
fn processing(
    settings: &Settings,
    done: Option<&Processing>,
    threads: &[ThreadReport],
) -> Option<ProcessingReport> {
    let done = done?;
    let rules = done.rules.as_ref();
    Some(ProcessingReport {
        pressure: PressureReport::new(&done.control, threads),
        dead_letters: LettersReport::new(&done.letters),
        transactional: (&done.transactions).into(),
        windows: WindowsReport::new(&settings.windows, &done.windows, done.windows_dropped),
        copies_dropped: done.copies_dropped,
        rules: rules.map(|(rules, counts)| RulesReport::new(&rules.rules, counts, &rules.alerts)),
        lent: done.lent,
    })
}

/// The input of a report.
pub(super) fn report_input(settings: &Settings, outcome: Outcome) -> ReportInput {
    let processing = processing(settings, outcome.processing.as_ref(), &outcome.threads);
    ReportInput {
        processing,
        config_hash: settings.config_hash(),
        queue_capacities: Some(settings.queue_capacities),
        ..outcome.into()
    }
}

/// The listing of the dead letters that are kept, for a person.
pub(super) fn dead_letters(outcome: &Outcome) -> String {
    let Some(done) = &outcome.processing else { return String::new() };
    let report = LettersReport::new(&done.letters);
    explain_letters(done.letters.kept(None), &report, Style::for_stream(&stdout()))
}

impl From<Outcome> for ReportInput {
    fn from(outcome: Outcome) -> ReportInput {
        let places: Vec<_> = outcome.streams.iter().map(|stream| stream.place).collect();
        ReportInput {
            ledger: outcome.ledger,
            routing: outcome.routing,
            control: ControlReport::new(&outcome.notices),
            tables: outcome.tables,
            notices: placed(outcome.notices, &places),
            streams: outcome.streams.into_iter().map(NamedStream::from).collect(),
            latencies: Latencies {
                wire_to_receive: outcome.wire_to_receive,
                receive_to_processed: outcome.receive_to_processed,
                wire_to_processed: outcome.wire_to_processed,
            },
            recovery: outcome.recoveries.into_iter().map(Into::into).collect(),
            ..ReportInput::default()
        }
    }
}

/// The notices of all shards, each with the place of its stream in the list of all streams.
fn placed(logs: Vec<NoticeLog>, places: &[(ShardId, u32)]) -> Vec<(usize, Notice)> {
    let by_place: HashMap<_, _> = places.iter().enumerate().map(|(index, place)| (*place, index)).collect();
    let logs = logs.into_iter().enumerate();
    let notices =
        logs.flat_map(|(shard, log)| log.kept.into_iter().map(move |notice| (ShardId(shard as u8), notice)));
    notices.filter_map(|(shard, notice)| Some((*by_place.get(&(shard, notice.stream))?, notice))).collect()
}

/// What the threads did that a hot path should not; `doorbells` are the lanes' own system calls.
pub(super) fn hot_path(threads: &[ThreadReport], doorbells: u64) -> HotPath {
    let sum = |count: fn(&ThreadReport) -> u64| threads.iter().map(count).sum::<u64>();
    let allocations: Option<Vec<u64>> = threads.iter().map(|thread| thread.allocations).collect();
    HotPath {
        syscalls: Some(doorbells + sum(|t| t.sleeps) + sum(|t| t.yields)),
        allocations: allocations.map(|counts| counts.iter().sum()),
        minor_faults: Some(sum(|t| t.minor_faults)),
        voluntary_switches: Some(sum(|t| t.voluntary_switches)),
    }
}

/// The threads as the report has them.
pub(super) fn threads_value(threads: &[ThreadReport]) -> Value {
    json!(threads)
}

/// Completes the report with facts of the machine and the process, writes it, and prints the summary.
///
/// # Errors
/// Standard output can't be written to.
pub(super) fn publish(mut input: ReportInput, outputs: &Outputs<'_>) -> anyhow::Result<Exit> {
    input.machine = json!(MachineFacts::collect(Some(&Clock::new())));
    input.further.insert("memory".to_owned(), json!({ "resident_bytes": os::resident_bytes().ok() }));
    let mut exit = Exit::Done;
    let report = Report::new(input);
    if let Err(error) = outputs.plot.map(|path| write_plot(path, &report)).transpose() {
        exit = not_written(&error);
    }
    if let Err(error) = outputs.report.map(|path| write_json(path, &report)).transpose() {
        exit = not_written(&error);
    }
    match outputs.json {
        true => print(&to_json(&report)?)?,
        false => print(&summarize(&report, Style::for_stream(&stdout())))?,
    }
    Ok(match report.exit_code() {
        Exit::Done => exit,
        unbalanced => unbalanced,
    })
}

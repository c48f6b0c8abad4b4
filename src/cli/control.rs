//! The control topics' way out: remarks for people, and a file of JSON lines for programs.
//!
//! Invariant: a file that can't be written is told of once, and ends nothing.

use super::output::warn_of;
use crate::appliance::Told;
use crate::config::{Settings, Severity};
use crate::event::ShardId;
use crate::feed::{Event, GapEnd, Notice};
use crate::report::control_event_value;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// The names that the configuration gives.
struct Names {
    /// Feeds and their lines.
    feeds: Vec<(String, Vec<String>)>,
    /// Listeners and connectors with their shards: the feeds behind those, in the order of their shard's port.
    inlets: Vec<(usize, String)>,
}

/// Where notices go as they come.
pub(super) struct ControlTopics {
    names: Names,
    remarks: bool,
    path: Option<PathBuf>,
    file: Option<BufWriter<File>>,
}

/// Names the file that could not be created, and the key that names it.
pub(super) fn not_created(settings: &Settings) -> impl FnOnce(std::io::Error) -> anyhow::Error + '_ {
    let path = settings.report.control.clone().unwrap_or_default();
    move |error| anyhow::anyhow!("report.control: {} can't be created: {error}", path.display())
}

impl ControlTopics {
    /// To the file that the settings name, if they name one, and to standard error if there are `remarks`: of a live run.
    ///
    /// # Errors
    /// The file can't be created.
    pub(super) fn open(settings: &Settings, remarks: bool) -> std::io::Result<ControlTopics> {
        let path = settings.report.control.clone();
        let file = path.as_ref().map(File::create).transpose()?.map(BufWriter::new);
        let feed = |feed: &crate::config::Feed| {
            (feed.name.clone(), feed.lines.iter().map(|line| line.name.clone()).collect())
        };
        let listeners = settings.listeners.iter().map(|listener| (listener.shard, listener.name.clone()));
        let connectors =
            settings.connectors.iter().map(|connector| (connector.shard, connector.name.clone()));
        // A replay has none of them.
        let inlets = listeners.chain(connectors).filter(|_| remarks).collect();
        let names = Names { feeds: settings.feeds.iter().map(feed).collect(), inlets };
        Ok(ControlTopics { names, remarks, path, file })
    }

    /// Takes what was told.
    pub(super) fn take(&mut self, told: Told<'_>) {
        match told {
            Told::Notice(shard, notice) => self.take_notice(shard, notice),
            Told::Control(event) => self.write(&control_event_value(event)),
            Told::Record(record) => self.write(record),
            Told::Log(severity, line) => log(severity, line),
        }
    }

    fn take_notice(&mut self, shard: ShardId, notice: &Notice) {
        if self.file.is_some() {
            self.write(&self_described(&self.names, shard, notice));
        }
        // Lost gaps make their stream stale, which is said once, and filled ones are nobody's concern.
        if self.remarks && !matches!(notice.event, Event::Gap(_)) {
            let (stream, line) = self.names.of(shard, notice);
            warn_of("feed", &format_args!("{stream}: {}", in_words(&notice.event, &line)));
        }
    }

    fn write(&mut self, line: &Value) {
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{line}")
        {
            self.give_up(&error);
        }
    }

    /// Writes out what was taken.
    pub(super) fn flush(&mut self) {
        if let Some(Err(error)) = self.file.as_mut().map(Write::flush) {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &std::io::Error) {
        self.file = None;
        if let Some(path) = &self.path {
            warn_of("report.control", &format_args!("{}: {error}; nothing more is written", path.display()));
        }
    }
}

impl Names {
    /// The names of a notice's stream and line, as far as the configuration gives them.
    fn of(&self, shard: ShardId, notice: &Notice) -> (String, String) {
        let recovery = |name: Option<String>| name.unwrap_or_else(|| "recovery".to_owned());
        let place = notice.feed as usize;
        if let Some((feed, lines)) = self.feeds.get(place) {
            let stream = if notice.unit == 0 { feed.clone() } else { format!("{feed}/{}", notice.unit) };
            return (stream, recovery(lines.get(usize::from(notice.line)).cloned()));
        }
        let mut here = self.inlets.iter().filter(|(of, _)| *of == usize::from(shard.0));
        match here.nth(place - self.feeds.len()) {
            // It is its own only line.
            Some((_, name)) => (name.clone(), recovery((notice.line == 0).then(|| name.clone()))),
            None => (format!("stream {}", notice.stream), notice.line.to_string()),
        }
    }
}

fn log(severity: Severity, line: &str) {
    match severity {
        Severity::Info => tracing::info!(target: "rules", "{line}"),
        Severity::Warning => tracing::warn!(target: "rules", "{line}"),
        Severity::Error | Severity::Critical => tracing::error!(target: "rules", "{line}"),
    }
}

fn in_words(event: &Event, line: &str) -> String {
    let seconds = |ns: u64| ns as f64 / 1e9;
    match event {
        Event::Gap(gap) => format!("numbers {} to {} were skipped", gap.first, gap.last),
        Event::Stale { last } => format!("stale: numbers up to {last} are lost"),
        Event::Fresh { by_snapshot: true } => "no longer stale, by a snapshot".to_owned(),
        Event::Fresh { by_snapshot: false } => "no longer stale, by a reset".to_owned(),
        Event::Epoch { first } => format!("begins again with number {first}"),
        Event::SessionEnded { next } => format!("its session has ended before number {next}"),
        Event::LineSilent { silent_ns } => {
            format!("line {line} has been silent for {:.3} s while another one went on", seconds(*silent_ns))
        }
        Event::LineDead { silent_ns } => {
            format!("line {line} is dead: silent for {:.3} s", seconds(*silent_ns))
        }
        Event::LineReturned { silent_ns } => {
            format!("line {line} is back after {:.3} s", seconds(*silent_ns))
        }
    }
}

fn self_described(names: &Names, shard: ShardId, notice: &Notice) -> Value {
    let (stream, line) = names.of(shard, notice);
    let mut value = json!({
        "topic": notice.event.topic(),
        "at_ns": notice.at_ns,
        "shard": shard.0,
        "stream": stream,
        "epoch": notice.epoch,
    });
    let more = match notice.event {
        Event::Gap(gap) => json!({
            "first": gap.first,
            "last": gap.last,
            "opened_ns": gap.opened_ns,
            "brought_by": gap
                .bringers()
                .map(|line| names.of(shard, &Notice { line, ..*notice }).1)
                .collect::<Vec<_>>(),
            "reason": match gap.end {
                GapEnd::Filled => None,
                GapEnd::Lost(loss) => Some(loss.name()),
            },
        }),
        Event::Stale { last } => json!({ "last": last }),
        Event::Fresh { by_snapshot } => json!({ "by_snapshot": by_snapshot }),
        Event::Epoch { first } => json!({ "first": first }),
        Event::SessionEnded { next } => json!({ "next": next }),
        Event::LineSilent { silent_ns }
        | Event::LineDead { silent_ns }
        | Event::LineReturned { silent_ns } => {
            json!({ "line": line, "silent_ns": silent_ns })
        }
    };
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

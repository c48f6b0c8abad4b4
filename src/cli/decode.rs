//! `sluice decode`: captures through the decoders, and what they hold.

use super::output::{print, warn_of};
use super::{DecodeArgs, DecodeForm};
use crate::appliance::{self, DecodeOutcome, MessageListing};
use crate::config::Settings;
use crate::feed::Accepted;
use crate::report::{
    CaptureFacts, CaptureFile, DecodeReport, Exit, NamedStream, Style, TcpFacts, summarize_decode,
    tab_separated, to_json,
};
use crate::source::capture::CaptureStats;
use crate::wire::{self, Message};
use indicatif::ProgressBar;
use serde_json::json;
use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::path::Path;

/// Decodes the captures and prints what was found.
///
/// # Errors
/// A file can't be read, a config is wrong, or standard output can't be written to.
pub fn decode(args: &DecodeArgs) -> anyhow::Result<Exit> {
    let settings = match &args.config {
        Some(path) => Settings::load(path)?,
        None => Settings::for_replay(args.protocol.named()),
    };
    let form = args.form();
    let bar = ProgressBar::new_spinner();
    let mut progress = |file: &Path, bytes: u64| {
        bar.set_message(format!("{}: {} MiB", file.display(), bytes >> 20));
        bar.tick();
    };
    let intake = appliance::capture_intake_settings(&settings);
    let outcome = match form {
        DecodeForm::Messages => {
            let mut listing = Listing { out: BufWriter::new(stdout().lock()), failed: None };
            let mut list = |message: &Message<'_>, accepted: &Accepted| listing.print(message, accepted);
            let list: MessageListing<'_> = &mut list;
            let outcome = appliance::decode_captures(&args.files, &intake, Some(list), &mut progress)?;
            listing.finish()?;
            outcome
        }
        _ => appliance::decode_captures(&args.files, &intake, None, &mut progress)?,
    };
    bar.finish_and_clear();
    outcome.captures.iter().for_each(|(path, stats)| tell_damage(path, stats));
    let capture = capture_facts(&outcome);
    let streams: Vec<NamedStream> = outcome.streams.into_iter().map(NamedStream::from).collect();
    let report = DecodeReport::new(
        streams,
        &outcome.ledger,
        outcome.flows,
        capture,
        outcome.notices,
        args.explain_gaps,
    );
    match form {
        DecodeForm::Summary => print(&summarize_decode(&report, Style::for_stream(&stdout())))?,
        DecodeForm::Json => print(&to_json(&report)?)?,
        DecodeForm::TabSeparated => print(&tab_separated(&report.streams))?,
        DecodeForm::Messages => {}
    }
    Ok(report.exit_code())
}

/// Says that a capture could not be read to its proper end: what follows then counts only what came before.
fn tell_damage(path: &Path, stats: &CaptureStats) {
    if let Some(damage) = &stats.damaged {
        warn_of("damaged capture", damage);
    }
    if stats.truncated_tail > 0 {
        warn_of("truncated capture", &format_args!("{}: it ends in the middle of a record", path.display()));
    }
}

/// Facts about the files: per file what was read, and TCP conversations.
fn capture_facts(outcome: &DecodeOutcome) -> CaptureFacts {
    let files = outcome.captures.iter().map(|(path, stats)| CaptureFile {
        file: path.display().to_string(),
        seconds: stats.last_ns.saturating_sub(stats.first_ns) as f64 / 1e9,
        stats: stats.clone(),
    });
    CaptureFacts {
        files: files.collect(),
        tcp: TcpFacts { packets: outcome.tcp_packets, flows: outcome.tcp_flows },
    }
}

/// Prints messages as lines of JSON; a reader that went away ends the printing, not the decoding.
struct Listing<W: Write> {
    out: W,
    failed: Option<std::io::Error>,
}

impl<W: Write> Listing<W> {
    fn print(&mut self, message: &Message<'_>, accepted: &Accepted) {
        if self.failed.is_some() {
            return;
        }
        let protocol = accepted.protocol;
        let line = json!({
            "protocol": protocol.name(),
            "stream": accepted.stream,
            "epoch": accepted.epoch,
            "line": accepted.line,
            "sequence": message.sequence,
            "wire_ns": accepted.wire_ns,
            "type": protocol.type_name(message.kind),
            "bytes": message.body.len(),
            "fields": wire::describe(protocol, message.kind, message.body),
        });
        self.failed = writeln!(self.out, "{line}").err();
    }

    fn finish(mut self) -> std::io::Result<()> {
        let flushed = self.out.flush();
        match self.failed.map_or(flushed, Err) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

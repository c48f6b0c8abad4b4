//! `sluice replay --to tcp`: the TCP flows of captures over connections, and what is reported of that.
//!
//! Invariant: a receiver that did not read all of a flow is a failure, told by number; what the capture itself misses is not.

use super::ReplayArgs;
use super::output::{print, warn_of};
use super::replay::{note_capture, pacing_summary, pacing_value};
use crate::appliance;
use crate::os::{self, Clock, MachineFacts, StopFlag};
use crate::replay::tcp::{TcpReport, TcpWishes};
use crate::replay::{ReplayBar, SendProgress};
use crate::report::{Exit, write_json};
use crate::source::capture::CaptureOptions;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::num::NonZeroU16;

/// Replays the captures' TCP flows, and reports.
pub(super) fn replay_tcp(
    args: &ReplayArgs,
    options: &CaptureOptions,
    address: SocketAddr,
    stop: &StopFlag,
) -> anyhow::Result<Exit> {
    let mut bar = None;
    let mut progress = |so_far: &SendProgress| {
        bar.get_or_insert_with(|| ReplayBar::new(so_far.frames_total)).show(so_far);
    };
    let flow_port = args.flow_port.map(NonZeroU16::get);
    let wishes = TcpWishes { flow_port, ..TcpWishes::new(address) };
    let mut sent = appliance::replay_tcp(options, wishes, stop, &mut progress)?;
    if let Some(bar) = bar {
        bar.finish();
    }
    let report = &sent.report;
    let balanced = report.is_balanced();
    let mut json = Map::new();
    json.insert("ledger".to_owned(), ledger_value(report, balanced));
    json.insert("to".to_owned(), json!(format!("TCP connections to {address}")));
    json.insert("sent".to_owned(), sent_value(report));
    json.insert("flows".to_owned(), json!({ "total": report.flows_total, "told": report.flows }));
    json.insert("pacing".to_owned(), pacing_value(&report.pacing));
    json.insert("elapsed_s".to_owned(), json!(report.elapsed_ns as f64 / 1e9));
    let exit = note_capture(&mut sent.source, &mut json);
    json.insert("memory".to_owned(), json!({ "resident_bytes": os::resident_bytes().ok() }));
    json.insert("machine".to_owned(), json!(MachineFacts::collect(Some(&Clock::new()))));
    if let Some(path) = &args.report {
        write_json(path, &json)?;
    }
    let report = &sent.report;
    warn(report);
    print(&summary(report, address))?;
    Ok(match exit {
        _ if !balanced => Exit::Unbalanced,
        Exit::Done if report.connections_lost > 0 => Exit::Failed,
        exit => exit,
    })
}

/// The books of frames and of payload bytes, which balance each by itself.
fn ledger_value(report: &TcpReport, balanced: bool) -> Value {
    json!({
        "frames": { "received": report.taken, "sent": report.sent, "rejected": report.skipped },
        "payload_bytes": {
            "received": report.payload_bytes,
            "sent": report.sent_bytes,
            "rejected": report.unsent_bytes,
        },
        "balanced": balanced,
    })
}

fn sent_value(report: &TcpReport) -> Value {
    json!({
        "segments": report.sent,
        "bytes": report.sent_bytes,
        "missing_bytes": report.missing_bytes,
        "connections": report.connections,
        "connections_high_water": report.connections_high_water,
        "connections_refused": report.connections_refused,
        "connections_lost": report.connections_lost,
        "connections_unanswered": report.connections_unanswered,
        "answered_bytes": report.answered_bytes,
        "waits": report.waits,
        "blocked_ns": report.blocked_ns,
        "real_time": report.real_time,
        "stopped": report.stopped,
    })
}

fn warn(report: &TcpReport) {
    if report.connections_lost > 0 {
        warn_of(
            "receiver",
            &format_args!(
                "it closed {} connections before it had read their flows to the end; {} bytes were not sent, and \
                 what it had not read of others is lost",
                report.connections_lost, report.unsent_bytes.peer_closed
            ),
        );
    }
    if report.connections_refused > 0 {
        warn_of(
            "sluice",
            &format_args!(
                "{} flows were left out, because {} connections were open: replay fewer at a time (--flow-port, \
                 --from, --until), or raise the limit on open files (`ulimit -n`)",
                report.connections_refused, report.connections_high_water
            ),
        );
    }
}

fn summary(report: &TcpReport, address: SocketAddr) -> String {
    let seconds = report.elapsed_ns as f64 / 1e9;
    let rate = if seconds > 0.0 { report.sent as f64 / seconds } else { 0.0 };
    let mut text = format!(
        "sent {} segments, {} bytes over {} connections to {address} in {seconds:.3} s ({rate:.0} segments/s)\n",
        report.sent, report.sent_bytes, report.connections
    );
    let skipped: Vec<String> = report
        .skipped
        .named()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !skipped.is_empty() {
        text += &format!("skipped {} frames: {}\n", report.skipped.total(), skipped.join(", "));
    }
    if report.missing_bytes > 0 {
        text += &format!(
            "{} bytes of these flows are not in the capture: receivers see a hole\n",
            report.missing_bytes
        );
    }
    if report.waits > 0 {
        let blocked = report.blocked_ns as f64 / 1e9;
        text += &format!("waited {} times for slow receivers, {blocked:.3} s in all\n", report.waits);
    }
    text + &pacing_summary(&report.pacing, report.real_time)
}

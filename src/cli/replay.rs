//! `sluice replay`: captures through the appliance, onto a network, or to clients.

use super::control::{ControlTopics, not_created};
use super::fault_report::{faults_exit, faults_summary};
use super::output::{print, warn_of};
use super::publish::{Outputs, dead_letters, hot_path, publish, report_input, threads_value};
use super::replay_tcp::replay_tcp;
use super::rerequest::{rerequest_options, rerequest_summary, rerequest_value};
use super::values::VlanRewrite;
use super::{Pace, ReplayArgs, ReplayTarget};
use crate::appliance::{self, Destination, SendWishes, SentOutcome, Told};
use crate::config::Settings;
use crate::os::{self, Clock, MachineFacts, StopFlag};
use crate::replay::{RealTime, ReplayBar, Rewrite, SendProgress, SendReport, Speed, VlanChange};
use crate::report::{Exit, ReportInput, write_json};
use crate::source::capture::{
    CaptureOptions, CaptureReport, CaptureSource, Moment, PacingReport, TimeWindow,
};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Replays the captures to where the arguments say, and reports.
///
/// # Errors
/// A capture can't be read, the machine lacks something, or the replay failed.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let options = capture_options(args);
    let stop = StopFlag::on_signals()?;
    match &args.to {
        ReplayTarget::Inline => inline(args, &options, &stop),
        ReplayTarget::Interface(name) => {
            let queue = args.queue.unwrap_or_default();
            out(args, &options, &Destination::Interface { name: name.clone(), queue }, &stop)
        }
        ReplayTarget::Udp(address) => out(args, &options, &Destination::Udp(*address), &stop),
        ReplayTarget::Soup(address) => super::serve::serve(args, &options, *address, &stop),
        ReplayTarget::Tcp(address) => replay_tcp(args, &options, *address, &stop),
    }
}

fn capture_options(args: &ReplayArgs) -> CaptureOptions {
    CaptureOptions {
        speed: match args.pace() {
            Pace::Times(1.0) => Speed::Original,
            Pace::Times(factor) => Speed::Factor(factor),
            Pace::PacketsPerSecond(rate) => Speed::Pps(rate.get() as f64),
            Pace::Max => Speed::Max,
        },
        loops: args.loops.get(),
        window: TimeWindow { from: args.from.map(after), until: args.until.map(after) },
        order_records: args.sort_window,
        memory_bytes: usize::try_from(args.memory_cap.get() << 20).unwrap_or(usize::MAX),
        ..CaptureOptions::new(args.files.clone())
    }
}

fn after(offset: Duration) -> Moment {
    Moment::After(u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX))
}

fn inline(args: &ReplayArgs, options: &CaptureOptions, stop: &StopFlag) -> anyhow::Result<Exit> {
    let settings = match &args.config {
        Some(path) => Settings::load(path)?,
        None => Settings::for_replay(args.protocol),
    };
    let options = &CaptureOptions { faults: args.faults.plan(&settings.feeds)?, ..options.clone() };
    let mut bar = None;
    let started = Instant::now();
    let mut progress = |frames: u64, frames_total: Option<u64>| {
        let elapsed_ns = started.elapsed().as_nanos() as u64;
        let so_far = SendProgress { frames, frames_total, bytes: 0, elapsed_ns };
        bar.get_or_insert_with(|| ReplayBar::new(frames_total)).show(&so_far);
    };
    let mut topics = ControlTopics::open(&settings, false).map_err(not_created(&settings))?;
    let mut told = |told: Told<'_>| topics.take(told);
    let mut replayed = appliance::replay_inline(&settings, options, stop, &mut progress, &mut told)?;
    topics.flush();
    if let Some(bar) = bar {
        bar.finish();
    }
    replayed.plan.remarks.iter().for_each(|remark| warn_of("sluice", remark));
    replayed.pools.iter().for_each(|pool| warn_of("sluice", pool));
    let mut further = Map::new();
    further.insert(
        "sources".to_owned(),
        json!(replayed.pools.iter().map(ToString::to_string).collect::<Vec<_>>()),
    );
    let mut exit = Exit::Done;
    let mut faults = None;
    if let Some(source) = &mut replayed.source {
        further.insert("pacing".to_owned(), pacing_value(source.pacing()));
        exit = note_capture(source, &mut further);
        faults = source.report().and_then(|report| report.faults.clone());
    }
    if let Some(flows) = replayed.outcome.flows.take() {
        further.insert("flows".to_owned(), json!(flows));
    }
    further.insert("interrupted".to_owned(), json!(replayed.interrupted));
    further.insert("threads".to_owned(), threads_value(&replayed.outcome.threads));
    let listing = args.explain_dead_letters.then(|| dead_letters(&replayed.outcome));
    let input = ReportInput {
        hot_path: hot_path(&replayed.outcome.threads, 0),
        elapsed: Duration::from_secs_f64(replayed.elapsed_s),
        further,
        explain_gaps: args.explain_gaps,
        ..report_input(&settings, replayed.outcome)
    };
    let outputs = Outputs {
        report: args.report.as_deref().or(settings.report.path.as_deref()),
        plot: args.plot.as_deref().or(settings.report.plot.as_deref()),
        json: false,
    };
    let published = publish(input, &outputs)?;
    listing.map_or(Ok(()), |listing| print(&listing))?;
    print(&faults_summary(faults.as_ref()))?;
    Ok(match published {
        Exit::Done => exit,
        worse => worse,
    })
}

/// Enters what was found in the captures; a capture that could not be read to its end is a failure.
pub(super) fn note_capture(source: &mut CaptureSource, further: &mut Map<String, Value>) -> Exit {
    let Some(CaptureReport { stats, outside_window, resident, faults, error }) = source.report() else {
        return Exit::Done;
    };
    if let Some(faults) = faults {
        further.insert("faults".to_owned(), json!(faults));
    }
    let facts = json!({ "stats": stats, "outside_window": outside_window, "resident": resident });
    further.insert("capture".to_owned(), facts);
    if let Some(damage) = &stats.damaged {
        warn_of("damaged capture", damage);
    }
    if stats.truncated_tail > 0 {
        warn_of("truncated capture", &format_args!("{} end in the middle of a record", stats.truncated_tail));
    }
    match error {
        Some(error) => super::run::not_written(error),
        None => faults_exit(faults.as_ref()),
    }
}

pub(super) fn pacing_value(pacing: &PacingReport) -> Value {
    json!({ "error_ns": pacing.error.percentiles(), "drift_ns": pacing.drift_ns })
}

fn rewrite_of(args: &ReplayArgs) -> Rewrite {
    Rewrite {
        source_mac: args.rewrite.src_mac.map(|mac| mac.0),
        destination_mac: args.rewrite.dst_mac.map(|mac| mac.0),
        vlan: match args.rewrite.vlan() {
            VlanRewrite::Keep => VlanChange::Keep,
            VlanRewrite::Strip => VlanChange::Strip,
            VlanRewrite::Set(id) => VlanChange::Set(id),
        },
        destination_ip: args.rewrite.dst_ip,
        destination_port: args.rewrite.dst_port.map(std::num::NonZeroU16::get),
    }
}

fn out(
    args: &ReplayArgs,
    options: &CaptureOptions,
    destination: &Destination,
    stop: &StopFlag,
) -> anyhow::Result<Exit> {
    let feeds = match &args.config {
        Some(path) if !args.faults.is_nothing() => Settings::load(path)?.feeds,
        _ => Vec::new(),
    };
    let options = &CaptureOptions { faults: args.faults.plan(&feeds)?, ..options.clone() };
    let mut bar = None;
    let mut progress = |so_far: &SendProgress| {
        bar.get_or_insert_with(|| ReplayBar::new(so_far.frames_total)).show(so_far);
    };
    let mut listening = |address: SocketAddr| {
        warn_of("sluice", &format_args!("answering MoldUDP64 requests at {address}"));
    };
    let rerequest = rerequest_options(&args.rerequest, options.memory_bytes);
    let wishes = SendWishes { destination, rewrite: rewrite_of(args), rerequest };
    let mut sent = appliance::replay_out(options, wishes, stop, &mut listening, &mut progress)?;
    if let Some(bar) = bar {
        bar.finish();
    }
    if let Some(fallback) = &sent.fallback {
        warn_of("sluice", fallback);
    }
    let mut report = Map::new();
    let balanced = sent.report.taken == sent.report.frames + sent.report.skipped.total()
        && sent.rerequest.as_ref().is_none_or(|rerequest| rerequest.report.is_balanced());
    report.insert("ledger".to_owned(), ledger_value(&sent, balanced));
    report.insert("to".to_owned(), json!(sent.way));
    report.insert("sent".to_owned(), sent_value(&sent));
    report.insert("pacing".to_owned(), pacing_value(&sent.report.pacing));
    report.insert("elapsed_s".to_owned(), json!(sent.report.elapsed_ns as f64 / 1e9));
    if let Some(rerequest) = &sent.rerequest {
        report.insert("rerequest".to_owned(), rerequest_value(rerequest));
    }
    let exit = note_capture(&mut sent.source, &mut report);
    report.insert("memory".to_owned(), json!({ "resident_bytes": os::resident_bytes().ok() }));
    report.insert("machine".to_owned(), json!(MachineFacts::collect(Some(&Clock::new()))));
    if let Some(path) = &args.report {
        write_json(path, &report)?;
    }
    let faults = sent.source.report().and_then(|report| report.faults.as_ref());
    let faults = faults_summary(faults);
    print(&(sent_summary(&sent) + &faults))?;
    Ok(if balanced { exit } else { Exit::Unbalanced })
}

/// The frames book of a replay onto a network, where frames are sent instead of decoded.
fn ledger_value(sent: &SentOutcome, balanced: bool) -> Value {
    let SendReport { taken, frames, skipped, .. } = &sent.report;
    json!({ "frames": { "received": taken, "sent": frames, "rejected": skipped }, "balanced": balanced })
}

fn sent_value(sent: &SentOutcome) -> Value {
    let report = &sent.report;
    json!({
        "frames": report.frames,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "rewritten": report.rewritten,
        "not_rewritten": report.not_rewritten,
        "waits": report.waits,
        "real_time": report.real_time,
        "stopped": report.stopped,
    })
}

fn sent_summary(sent: &SentOutcome) -> String {
    let report = &sent.report;
    let seconds = report.elapsed_ns as f64 / 1e9;
    let rate = if seconds > 0.0 { report.frames as f64 / seconds } else { 0.0 };
    let mut text = format!(
        "sent {} frames, {} bytes by {} in {seconds:.3} s ({rate:.0} frames/s)\n",
        report.frames, report.bytes, sent.way
    );
    if report.skipped.total() > 0 {
        let skipped = &report.skipped;
        text += &format!(
            "skipped {}: {} too long, {} of another link type, {} not UDP\n",
            skipped.total(),
            skipped.too_long,
            skipped.link_type,
            skipped.not_udp
        );
    }
    if report.not_rewritten > 0 {
        text += &format!("{} frames could not be rewritten and went out as captured\n", report.not_rewritten);
    }
    text += &pacing_summary(&report.pacing, report.real_time);
    text += &sent.rerequest.as_ref().map(rerequest_summary).unwrap_or_default();
    text
}

/// How well due times were kept; nothing at maximum speed.
pub(super) fn pacing_summary(pacing: &PacingReport, real_time: RealTime) -> String {
    let error = pacing.error.percentiles();
    if error.count == 0 {
        return String::new();
    }
    let mut text = format!(
        "pacing error p50 {} ns, p99 {} ns, max {} ns; drift {} ns\n",
        error.p50, error.p99, error.max, pacing.drift_ns
    );
    if real_time == RealTime::Refused {
        text +=
            "not real-time, which needs root or CAP_SYS_NICE: a busy machine delays frames by milliseconds\n";
    }
    text
}

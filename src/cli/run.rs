//! `sluice run`: the appliance on interfaces.

use super::RunArgs;
use super::control::{ControlTopics, not_created};
use super::output::{print, print_error, warn_of};
use super::publish::{Outputs, dead_letters, hot_path, publish, report_input, threads_value};
use crate::appliance::{self, LiveParts, LivePlan, Told};
use crate::config::Settings;
use crate::feed::ProducerRecord;
use crate::ledger::{Boards, Counter};
use crate::os::StopFlag;
use crate::report::{Exit, ReportInput};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Receives until a signal or the set time, and reports.
///
/// # Errors
/// The config is wrong, the machine lacks something, or the run failed.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let settings = Settings::load(&args.config)?;
    let plan = appliance::plan_live(&settings)?;
    if args.print_topology {
        print(&topology(&plan, args.json)?)?;
        return Ok(Exit::Done);
    }
    let stop = StopFlag::on_signals()?;
    let mut status = Status::new(settings.report.status_interval);
    let mut ready = |parts: &LiveParts| {
        parts.lines.iter().for_each(|line| warn_of("sluice", line));
        plan.threads.remarks.iter().for_each(|remark| warn_of("sluice", remark));
        warn_of("sluice", &format_args!("running; SIGINT or SIGTERM stops it"));
    };
    let topics = RefCell::new(ControlTopics::open(&settings, true).map_err(not_created(&settings))?);
    let mut watch = |boards: &Boards| {
        status.watch(boards);
        topics.borrow_mut().flush();
    };
    let mut told = |told: Told<'_>| topics.borrow_mut().take(told);
    let live = appliance::run_live(&settings, args.duration, &stop, &mut ready, &mut watch, &mut told)?;
    topics.borrow_mut().flush();
    let mut further = Map::new();
    further.insert("sources".to_owned(), json!(live.lines));
    further.insert("threads".to_owned(), threads_value(&live.outcome.threads));
    further.insert("producers".to_owned(), producers_value(&live.producers));
    further.insert("memberships".to_owned(), serde_json::to_value(&live.memberships)?);
    if let Some(host) = &live.host {
        let counts = json!({
            "samples": host.samples,
            "parts_failed": host.parts_failed,
            "frames_sent": host.frames_sent,
            "frames_skipped": host.frames_skipped,
        });
        further.insert("host_metrics".to_owned(), counts);
    }
    let listing = args.explain_dead_letters.then(|| dead_letters(&live.outcome));
    let input = ReportInput {
        hot_path: hot_path(&live.outcome.threads, live.doorbells),
        elapsed: Duration::from_secs_f64(live.elapsed_s),
        further,
        explain_gaps: args.explain_gaps,
        ..report_input(&settings, live.outcome)
    };
    let outputs = Outputs {
        report: args.report.as_deref().or(settings.report.path.as_deref()),
        plot: args.plot.as_deref().or(settings.report.plot.as_deref()),
        json: args.json,
    };
    let exit = publish(input, &outputs)?;
    listing.filter(|_| !args.json).map_or(Ok(()), |listing| print(&listing))?;
    Ok(exit)
}

/// The producers of acknowledged sessions; ids and digests in hex, since JSON's numbers are too short for them.
fn producers_value(producers: &[ProducerRecord]) -> Value {
    let values = producers.iter().map(|producer| {
        json!({
            "id": format!("{:016x}", producer.id),
            "processed": producer.processed,
            "count": producer.count,
            "digest": format!("{:016x}", producer.digest),
        })
    });
    Value::Array(values.collect())
}

fn topology(plan: &LivePlan, as_json: bool) -> anyhow::Result<String> {
    if as_json {
        let lanes: Vec<Value> = plan
            .lanes
            .iter()
            .map(|lane| json!({ "interface": lane.name, "queue": lane.queue, "shard": lane.shard }))
            .collect();
        let whole = json!({ "lanes": lanes, "numa_node": plan.node, "threads": plan.threads, "remarks": plan.remarks });
        return Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?));
    }
    let lanes = plan
        .lanes
        .iter()
        .map(|lane| format!("lane    {} queue {}: shard-{}\n", lane.name, lane.queue, lane.shard));
    let remarks = plan.remarks.iter().map(|remark| format!("remark  {remark}\n"));
    Ok(format!("{}{}{}", lanes.collect::<String>(), plan.threads, remarks.collect::<String>()))
}

/// Status lines on standard error, now and then.
struct Status {
    interval: Option<Duration>,
    last: Instant,
    frames: u64,
    delivered: u64,
}

impl Status {
    fn new(interval: Option<Duration>) -> Status {
        Status { interval, last: Instant::now(), frames: 0, delivered: 0 }
    }

    fn watch(&mut self, boards: &Boards) {
        let passed = self.last.elapsed();
        if self.interval.is_none_or(|interval| passed < interval) {
            return;
        }
        let shards = |counter| boards.shards.iter().map(|board| board.read(counter)).sum::<u64>();
        let frames = shards(Counter::Frames);
        let delivered: u64 = boards.processors.iter().map(|board| board.read(Counter::Delivered)).sum();
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / passed.as_secs_f64();
        warn_of(
            "status",
            &format_args!(
                "{frames} frames ({:.0}/s), {delivered} events ({:.0}/s), {} frames refused, {} events shed",
                rate(frames, self.frames),
                rate(delivered, self.delivered),
                shards(Counter::FramesRejected),
                shards(Counter::Shed),
            ),
        );
        (self.last, self.frames, self.delivered) = (Instant::now(), frames, delivered);
    }
}

/// Says that a plot or report could not be written; the run itself is done.
pub(super) fn not_written(error: &impl std::fmt::Display) -> Exit {
    print_error(error);
    Exit::Failed
}

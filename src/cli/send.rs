//! `sluice send`: native events to a server, and what became of them.

use super::SendArgs;
use super::output::{print, warn_of};
use crate::load::{self, LoadBar, LoadProgress};
use crate::os::StopFlag;
use crate::report::{Exit, Style, summarize_load, to_json, write_json};
use std::io::stdout;

/// Sends the load that the arguments describe, and reports. Exits with 1 when something was not sent, or in a session
/// not acknowledged.
///
/// # Errors
/// Threads can't be started, or the report can't be written.
pub fn send(args: &SendArgs) -> anyhow::Result<Exit> {
    let stop = StopFlag::on_signals()?;
    let plan = args.plan();
    // With a duration alone, or neither, nobody knows how many events there will be.
    let total = plan.count;
    let mut bar = None;
    let mut progress = |so_far: &LoadProgress| {
        bar.get_or_insert_with(|| LoadBar::new(total)).show(so_far);
    };
    let report = load::run(plan, &stop, &mut progress)?;
    if let Some(bar) = bar {
        bar.finish();
    }
    for failure in report.failures() {
        warn_of("error", &failure);
    }
    if let Some(path) = &args.report {
        write_json(path, &report)?;
    }
    match args.json {
        true => print(&to_json(&report)?)?,
        false => print(&summarize_load(&report, Style::for_stream(&stdout())))?,
    }
    Ok(if report.complete { Exit::Done } else { Exit::Failed })
}

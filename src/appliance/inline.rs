//! A replay into the appliance's own shards: the same path as from the wire, with a capture as the source.

use super::crew::{self, Homecoming};
use super::{ApplianceError, Outcome, Told, assemble, capture_intake_settings};
use crate::config::Settings;
use crate::ledger::Counter;
use crate::os::{Clock, StopFlag};
use crate::pool::PoolReport;
use crate::runtime::{Drive, ThreadingPlan};
use crate::source::capture::{CaptureOptions, CaptureSource};
use std::time::{Duration, Instant};

/// How often the waiting thread looks whether the replay has ended.
const WATCH_INTERVAL: Duration = Duration::from_millis(5);

/// What an inline replay gave.
pub struct InlineOutcome {
    /// Books, streams, latencies, threads.
    pub outcome: Outcome,
    /// The source, for what it found in the captures and how exactly it kept the pace.
    pub source: Option<CaptureSource>,
    /// Seconds from the first turn to the last.
    pub elapsed_s: f64,
    /// How agents were laid on threads.
    pub plan: ThreadingPlan,
    /// A line per event pool: the memory that it got, and remarks.
    pub pools: Vec<PoolReport>,
    /// Whether a signal ended it early.
    pub interrupted: bool,
}

/// Replays captures into one shard and the three processors; `progress` is told the frames so far and, once known,
/// the frames in all; `told` what happens to streams and lines.
///
/// # Errors
/// A capture can't be read, the machine refuses memory or threads, or an agent panicked.
pub fn replay_inline(
    settings: &Settings,
    options: &CaptureOptions,
    stop: &StopFlag,
    progress: &mut dyn FnMut(u64, Option<u64>),
    told: &mut dyn FnMut(Told<'_>),
) -> Result<InlineOutcome, ApplianceError> {
    let source = CaptureSource::open(options)?;
    let frames_total = source.frames_total();
    let clock = Clock::new();
    let plan = crew::plan(settings, 1, Drive::Inline)?;
    let assembly = assemble(settings, &capture_intake_settings(settings), vec![vec![source]], None, clock)?;
    let pools = assembly.pools.clone();
    let started = Instant::now();
    let mut crew = crew::start(assembly, &plan, settings, clock)?;
    let mut interrupted = false;
    while !crew.has_ended() {
        if stop.is_set() && !interrupted {
            interrupted = true;
            crew.stop();
        }
        let frames = crew.boards.shards.iter().map(|board| board.read(Counter::Frames)).sum();
        progress(frames, frames_total);
        crew.listen(told);
        std::thread::sleep(WATCH_INTERVAL);
    }
    let elapsed_s = started.elapsed().as_secs_f64();
    let Homecoming { mut shards, outcome } = crew.join::<CaptureSource>(told)?;
    let source = shards.pop().and_then(|mut shard| shard.sources.pop());
    Ok(InlineOutcome { outcome, source, elapsed_s, plan, pools, interrupted })
}

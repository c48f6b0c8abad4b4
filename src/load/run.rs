//! Starts the producers, shows how far they are, and closes their books.

use super::bank::Bank;
use super::producer::{Board, Common, Producer};
use super::{LoadError, LoadPlan, LoadReport, Target, datagrams, session, stream};
use crate::event::Nanos;
use crate::ledger::LatencyRecorder;
use crate::os::{self, StopFlag, monotonic_now};
use std::sync::atomic::Ordering;
use std::thread::{self, Builder};
use std::time::{Duration, SystemTime};

/// How often one looks whether the producers have ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Progress is told every so many looks: ten times a second.
const LOOKS_PER_PROGRESS: u32 = 20;

/// Time between making the plan and the first event, so that all threads are there.
const LEAD_NS: u64 = 5_000_000;

/// A producer needs little: its batches are on the heap.
const STACK_BYTES: usize = 256 << 10;

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// Events sent, each counted once.
    pub sent: u64,
    /// Events acknowledged, in sessions.
    pub acknowledged: Option<u64>,
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Time since the start, ns.
    pub elapsed_ns: u64,
}

/// Sends a load until it is done or `stop` is set; `progress` is told some ten times a second.
///
/// # Errors
/// A thread can't be started or panicked. What goes wrong with a server is in the report.
pub fn run(
    plan: LoadPlan,
    stop: &StopFlag,
    mut progress: impl FnMut(&LoadProgress),
) -> Result<LoadReport, LoadError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let bank = Bank::new(&plan);
    let now = monotonic_now();
    let common = Common {
        bank,
        board: Board::default(),
        stop: stop.clone(),
        start_ns: now + LEAD_NS,
        epoch_ns: epoch_ns().wrapping_sub(now),
        spins: plan.producers < processors,
        plan,
    };
    let reports = thread::scope(|scope| {
        let mut threads = Vec::with_capacity(common.plan.producers);
        for index in 0..common.plan.producers {
            let producer = Producer::new(&common, index);
            let body = move || {
                os::sleep_exactly();
                work(producer)
            };
            let name = format!("producer-{index}");
            match Builder::new().name(name).stack_size(STACK_BYTES).spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    stop.set();
                    return Err(LoadError::Thread(error));
                }
            }
        }
        let mut looks = 0_u32;
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(LOOK_EVERY);
            looks += 1;
            if looks.is_multiple_of(LOOKS_PER_PROGRESS) {
                tell(&common, &mut progress);
            }
        }
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| LoadError::Panicked));
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    let ended_ns = reports.iter().filter_map(|(report, _)| report.finished_ns).max().unwrap_or(now);
    let mut latency = LatencyRecorder::default();
    reports.iter().for_each(|(_, recorder)| latency.absorb(recorder));
    let producers = reports.into_iter().map(|(report, _)| report).collect();
    let elapsed_ns = ended_ns.saturating_sub(common.start_ns);
    Ok(LoadReport::new(&common.plan, producers, latency.percentiles(), elapsed_ns, stop.is_set()))
}

fn work(producer: Producer<'_>) -> (super::ProducerReport, LatencyRecorder) {
    let plan = &producer.common.plan;
    match (&plan.target, plan.session) {
        (Target::Udp(_), _) => datagrams::run(producer),
        (_, None) => stream::run(producer),
        (_, Some(wish)) => session::run(producer, wish),
    }
}

fn tell(common: &Common, progress: &mut impl FnMut(&LoadProgress)) {
    let board = &common.board;
    progress(&LoadProgress {
        sent: board.sent.load(Ordering::Relaxed),
        acknowledged: common.plan.session.map(|_| board.acknowledged.load(Ordering::Relaxed)),
        bytes: board.bytes.load(Ordering::Relaxed),
        elapsed_ns: monotonic_now().saturating_sub(common.start_ns),
    });
}

fn epoch_ns() -> Nanos {
    // A clock before 1970 says nothing; 0 is "not known".
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

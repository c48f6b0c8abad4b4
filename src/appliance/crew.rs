//! The threads of an appliance: which agent runs where, from the first turn to the last.

use super::desk::{Desk, DeskPlan};
use super::processors::agent_names;
use super::{ApplianceError, Assembly, Outcome, Told};
use crate::agents::{NoticeReader, ProcessorAgent, ProcessorReport, Shard, ShardReport, Stage, shard_name};
use crate::config::{IdleWish, Settings, ThreadingWish as ConfigThreading};
use crate::event::ShardId;
use crate::feed::NoticeLog;
use crate::ledger::Boards;
use crate::os::{self, Clock};
use crate::runtime::{
    Agent, Drive, IdleStrategy, RunningThread, ThreadPlan, ThreadReport, Threading, ThreadingPlan,
    ThreadingWish, plan_threads, spawn_all,
};
use crate::source::FrameSource;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Threads that run.
pub struct Crew {
    threads: Vec<RunningThread>,
    stop: Arc<AtomicBool>,
    /// What the agents publish.
    pub boards: Boards,
    notices: Vec<(NoticeReader, NoticeLog)>,
    desk: Option<Desk>,
}

/// What the agents brought home.
pub struct Homecoming<S> {
    /// Shards, in order.
    pub shards: Vec<ShardReport<S>>,
    /// Everything put together.
    pub outcome: Outcome,
}

/// Lays the agents of so many shards on threads.
///
/// # Errors
/// The CPUs that this process may use can't be read.
pub(super) fn plan(
    settings: &Settings,
    shards: usize,
    drive: Drive,
) -> Result<ThreadingPlan, ApplianceError> {
    let allowed = os::allowed_cpus()?;
    let wished: Vec<usize> = settings.threads.cpus.iter().map(|cpu| *cpu as usize).collect();
    if let Some(missing) = wished.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(ApplianceError::Usage(format!(
            "threads.cpus names CPU {missing}, which this process may not use; it may use {allowed:?}: change the list, \
             or the affinity that the process is started with"
        )));
    }
    let names: Vec<String> = (0..shards).map(|index| shard_name(ShardId(index as u8))).collect();
    let processors = agent_names(settings);
    let processors: Vec<&str> = processors.iter().map(String::as_str).collect();
    let mut planned = plan_threads(&ThreadingWish {
        allowed_cpus: if wished.is_empty() { &allowed } else { &wished },
        shards: &names.iter().map(String::as_str).collect::<Vec<_>>(),
        processors: &processors,
        threading: match settings.threads.mode {
            ConfigThreading::Auto => Threading::Auto,
            ConfigThreading::Dedicated => Threading::Dedicated,
            ConfigThreading::Shared => Threading::Shared,
        },
        drive,
    });
    planned.idle = match settings.threads.idle {
        IdleWish::BusySpin => IdleStrategy::BusySpin,
        IdleWish::Yield => IdleStrategy::Yield,
        IdleWish::Backoff => IdleStrategy::Backoff,
    };
    Ok(planned)
}

/// Starts the agents on the threads of `plan`.
///
/// # Errors
/// A thread can't be created or pinned; then none runs.
pub(super) fn start<S: FrameSource + Send + 'static>(
    assembly: Assembly<S>,
    plan: &ThreadingPlan,
    settings: &Settings,
    clock: Clock,
) -> Result<Crew, ApplianceError> {
    let boards = Boards {
        shards: assembly.shards.iter().map(Shard::board).collect(),
        processors: assembly.processors.iter().map(ProcessorAgent::board).collect(),
    };
    let shards = assembly.shards.into_iter().map(|shard| Box::new(shard) as Box<dyn Agent>);
    let processors = assembly.processors.into_iter().map(|agent| Box::new(agent) as Box<dyn Agent>);
    let mut agents: Vec<Box<dyn Agent>> = shards.chain(processors).collect();
    let crew = plan.threads.iter().map(|thread| {
        let (here, elsewhere) = std::mem::take(&mut agents)
            .into_iter()
            .partition(|agent| thread.agents.iter().any(|name| name == agent.name()));
        agents = elsewhere;
        let thread_plan = ThreadPlan {
            name: thread.name.clone(),
            cpu: thread.cpu,
            fifo_priority: settings.threads.fifo_priority,
            idle: plan.idle,
            drain: settings.run.drain_deadline,
        };
        (thread_plan, here)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let notices = assembly.notices.into_iter().map(|reader| (reader, NoticeLog::default())).collect();
    let crew = crew.collect();
    // Before the first agent runs: the kill switch may be set from the beginning.
    let desk = DeskPlan::open(settings, &assembly.knobs, assembly.letters, assembly.ends)?;
    let threads = spawn_all(crew, clock, &stop)?;
    let pulses = threads.iter().map(RunningThread::pulse).collect();
    let started = desk.start(settings, boards.clone(), pulses, clock);
    if started.is_err() {
        stop.store(true, Ordering::Release);
    }
    Ok(Crew { threads, stop, boards, notices, desk: Some(started?) })
}

impl Crew {
    /// Tells the agents to stop taking new input; they go on until what they hold is drained.
    pub fn stop(&self) {
        // Pairs with the Acquire load of the duty loop.
        self.stop.store(true, Ordering::Release);
    }

    /// Takes what shards have told of streams and lines since the last time, and shows it.
    pub fn listen(&mut self, show: &mut dyn FnMut(Told<'_>)) {
        for (reader, log) in &mut self.notices {
            let shard = reader.shard;
            reader.drain(log, |notice| show(Told::Notice(shard, notice)));
        }
        if let Some(desk) = &mut self.desk {
            desk.attend(show);
        }
    }

    /// Whether every thread has ended.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().all(RunningThread::has_ended)
    }

    /// Waits for the threads, shows what is still told, and closes the books.
    ///
    /// # Errors
    /// A thread panicked.
    pub fn join<S: FrameSource + Send + 'static>(
        mut self,
        show: &mut dyn FnMut(Told<'_>),
    ) -> Result<Homecoming<S>, ApplianceError> {
        let mut reports: Vec<ThreadReport> = Vec::new();
        let mut shards: Vec<Box<Shard<S>>> = Vec::new();
        let mut processors: Vec<ProcessorReport<Stage>> = Vec::new();
        let mut panicked = None;
        for thread in std::mem::take(&mut self.threads) {
            let (report, agents) = thread.join();
            if let Some(message) = &report.panicked {
                let (thread, message) = (report.name.clone(), message.clone());
                panicked.get_or_insert(ApplianceError::Panicked { thread, message });
            }
            reports.push(report);
            for agent in agents {
                match agent.into_any().downcast::<Shard<S>>() {
                    Ok(shard) => shards.push(shard),
                    Err(other) => processors.extend(
                        other.downcast::<ProcessorAgent<Stage>>().ok().map(|agent| agent.into_report()),
                    ),
                }
            }
        }
        // First, so that what the control plane says of a panic is told.
        self.listen(show);
        let desk = self.desk.take().map(|desk| desk.close(show)).transpose()?;
        if let Some(error) = panicked {
            return Err(error);
        }
        shards.sort_by_key(|shard| shard.id());
        let shards: Vec<ShardReport<S>> = shards.into_iter().map(|shard| shard.into_report()).collect();
        let logs = self.notices.into_iter().map(|(_, log)| log).collect();
        let outcome = Outcome::of(&shards, processors, reports, logs, desk);
        Ok(Homecoming { shards, outcome })
    }
}

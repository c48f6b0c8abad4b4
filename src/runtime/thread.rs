//! Threads around the loop: creation, pinning, priority, and what is known of a thread when it has ended.
//! Invariant: no thread turns SCHED_FIFO before every thread of its crew exists and is pinned, since a thread that
//! shares its CPU with a real-time spinner never gets to run.

use super::agent::Agent;
use super::idle::{IdleStrategy, Idler};
use super::pulse::Pulse;
use super::runner::{DutyLoop, Seat, Stage};
use crate::ledger::Percentiles;
use crate::os::{self, Clock, OsError, ThreadUsage};
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How a thread should be.
#[derive(Clone, Debug)]
pub struct ThreadPlan {
    /// Its name, as `top -H` shows the first 15 bytes of it.
    pub name: String,
    /// The CPU it stays on; `None` leaves it to the kernel.
    pub cpu: Option<usize>,
    /// Its SCHED_FIFO priority, 1 to 99; `None` leaves it ordinary. Where it isn't granted the thread runs on as an
    /// ordinary one, and its report says so.
    pub fifo_priority: Option<u8>,
    /// What it does when there is nothing to do.
    pub idle: IdleStrategy,
    /// How long agents may go on after a stop before they are closed unfinished.
    pub drain: Duration,
}

impl Default for ThreadPlan {
    fn default() -> Self {
        ThreadPlan {
            name: "agents".to_owned(),
            cpu: None,
            fifo_priority: None,
            idle: IdleStrategy::default(),
            drain: Duration::from_secs(10),
        }
    }
}

/// What a thread did, from the first turn of its loop to the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ThreadReport {
    /// Its name.
    pub name: String,
    /// The CPU it was pinned to.
    pub cpu: Option<usize>,
    /// Turns of its loop.
    pub turns: u64,
    /// Turns in which no agent had work.
    pub idle_turns: u64,
    /// How long turns with work took, ns.
    pub duty_ns: Percentiles,
    /// Times it slept, idling.
    pub sleeps: u64,
    /// Times it yielded, idling.
    pub yields: u64,
    /// Allocations; `None` if this program doesn't count them.
    pub allocations: Option<u64>,
    /// Pages touched for the first time.
    pub minor_faults: u64,
    /// Times it gave the CPU away.
    pub voluntary_switches: u64,
    /// Times the CPU was taken from it.
    pub involuntary_switches: u64,
    /// `agent: message` of each agent that panicked, joined by `; `. Such an agent's counters may not add up.
    pub panicked: Option<String>,
    /// Agents that were closed because their time to drain had run out.
    pub unfinished: Vec<String>,
    /// What of the plan was not granted, and the remedy.
    pub remarks: Vec<String>,
}

/// Why threads can't be started. None of them runs then.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The kernel makes no more threads.
    #[error("cannot create thread {name}: {source}; see `ulimit -u` and TasksMax= in the systemd unit")]
    Create {
        /// The thread.
        name: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// The thread can't be put on its CPU.
    #[error("thread {name}: {source}")]
    Pin {
        /// The thread.
        name: String,
        /// Which CPU and why.
        source: OsError,
    },
    /// The thread ended before it had pinned itself.
    #[error("thread {name} ended while it was being set up; its panic message is above")]
    Lost {
        /// The thread.
        name: String,
    },
}

/// The agents of a thread.
type Agents = Vec<Box<dyn Agent>>;

/// A thread at work.
#[derive(Debug)]
pub struct RunningThread {
    name: String,
    cpu: Option<usize>,
    pulse: Pulse,
    handle: JoinHandle<Option<(ThreadReport, Agents)>>,
}

impl RunningThread {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pulse, for whoever watches it.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Whether it has ended, so that `join` returns at once.
    pub fn has_ended(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for its end; returns what it did, and its agents in the order they were given (also those that panicked),
    /// so that their books can be taken.
    pub fn join(self) -> (ThreadReport, Agents) {
        let panicked = match self.handle.join() {
            Ok(Some(ended)) => return ended,
            Ok(None) => None,
            Err(payload) => Some(format!("runner: {}", message_of(payload.as_ref()))),
        };
        (ThreadReport { name: self.name, cpu: self.cpu, panicked, ..ThreadReport::default() }, Agents::new())
    }
}

/// A thread that is pinned and waits to be let go.
struct WaitingThread {
    thread: RunningThread,
    pinned: Receiver<Result<(), OsError>>,
    go: Sender<()>,
}

/// Starts one thread: see [`spawn_all`].
///
/// # Errors
/// As [`spawn_all`].
pub fn spawn(
    plan: ThreadPlan,
    agents: Agents,
    clock: Clock,
    stop: Arc<AtomicBool>,
) -> Result<RunningThread, RuntimeError> {
    start(plan, agents, clock, stop).and_then(pinned).map(released)
}

/// Starts a crew of threads. All of them are created and pinned before the first begins its loop or turns SCHED_FIFO.
/// When `stop` is set, agents are asked to stop, and have their plan's `drain` to finish; an agent that panics sets it.
///
/// # Errors
/// If a thread can't be created or pinned; the others are then let go without a single turn.
pub fn spawn_all(
    crew: Vec<(ThreadPlan, Agents)>,
    clock: Clock,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<RunningThread>, RuntimeError> {
    let start_one = |(plan, agents)| start(plan, agents, clock, Arc::clone(stop));
    // Dropping a waiting thread's `go` tells it to end, which is what `?` does to those already there.
    let created = crew.into_iter().map(start_one).collect::<Result<Vec<_>, _>>()?;
    let waiting = created.into_iter().map(pinned).collect::<Result<Vec<_>, _>>()?;
    Ok(waiting.into_iter().map(released).collect())
}

fn start(
    plan: ThreadPlan,
    agents: Agents,
    clock: Clock,
    stop: Arc<AtomicBool>,
) -> Result<WaitingThread, RuntimeError> {
    let (tell_pinned, pinned) = channel();
    let (go, wait) = channel();
    let (name, cpu) = (plan.name.clone(), plan.cpu);
    let pulse = Pulse::new(&name, agents.iter().map(|agent| agent.name()));
    let own = pulse.clone();
    let body = move || {
        leave_signals_to_others();
        let outcome = plan.cpu.map_or(Ok(()), os::pin_current_thread);
        let is_pinned = outcome.is_ok();
        let told = tell_pinned.send(outcome).is_ok();
        let released = wait.recv().is_ok();
        (is_pinned && told && released).then(|| live(plan, agents, clock, stop, own))
    };
    let thread_name = name.replace('\0', " ");
    match Builder::new().name(thread_name).spawn(body) {
        Ok(handle) => Ok(WaitingThread { thread: RunningThread { name, cpu, pulse, handle }, pinned, go }),
        Err(source) => Err(RuntimeError::Create { name, source }),
    }
}

/// Signals go to the main thread, which waits; they must not interrupt a loop. Only those that a thread brings upon
/// itself stay, for their handlers' messages, and the profiler's.
pub(crate) fn leave_signals_to_others() {
    use nix::sys::signal::{SigSet, Signal};
    let own = [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGABRT,
        Signal::SIGTRAP,
        Signal::SIGSYS,
        Signal::SIGPROF,
    ];
    let mut set = SigSet::all();
    own.into_iter().for_each(|signal| set.remove(signal));
    let outcome = set.thread_block();
    debug_assert!(outcome.is_ok(), "blocking signals can't fail");
}

fn pinned(waiting: WaitingThread) -> Result<WaitingThread, RuntimeError> {
    let name = || waiting.thread.name.clone();
    match waiting.pinned.recv() {
        Ok(Ok(())) => Ok(waiting),
        Ok(Err(source)) => Err(RuntimeError::Pin { name: name(), source }),
        Err(_) => Err(RuntimeError::Lost { name: name() }),
    }
}

fn released(waiting: WaitingThread) -> RunningThread {
    // A thread that is gone already says so when it is joined.
    let _ = waiting.go.send(());
    waiting.thread
}

/// The life of a thread after its release.
fn live(
    plan: ThreadPlan,
    agents: Agents,
    clock: Clock,
    stop: Arc<AtomicBool>,
    pulse: Pulse,
) -> (ThreadReport, Agents) {
    let drain_ns = u64::try_from(plan.drain.as_nanos()).unwrap_or(u64::MAX);
    let seats = agents.into_iter().map(Seat::new).collect();
    let mut duty = DutyLoop::new(seats, clock, Idler::new(plan.idle), stop, drain_ns, pulse);
    let mut panics = Vec::new();
    through_panics(&mut duty, &mut panics, DutyLoop::start);

    // Last, so that whatever `on_start` began has begun.
    let mut remarks = Vec::new();
    if let Some(error) = plan.fifo_priority.and_then(|priority| os::set_fifo(priority).err()) {
        let remark = format!("thread {} runs as an ordinary one: {error}", plan.name);
        tracing::warn!("{remark}");
        remarks.push(remark);
    }

    let counted = os::allocations_are_counted();
    let usage_before = ThreadUsage::of_this_thread();
    let allocations_before = os::allocations_of_this_thread();
    through_panics(&mut duty, &mut panics, DutyLoop::run);
    let allocations = os::allocations_of_this_thread() - allocations_before;
    let usage = ThreadUsage::of_this_thread().since(usage_before);
    duty.pulse.end();

    let unfinished = duty.seats.iter().filter(|seat| seat.stage == Stage::Unfinished);
    let report = ThreadReport {
        name: plan.name,
        cpu: plan.cpu,
        turns: duty.turns,
        idle_turns: duty.idle_turns,
        duty_ns: duty.duty.percentiles(),
        sleeps: duty.idle_counts().sleeps,
        yields: duty.idle_counts().yields,
        allocations: counted.then_some(allocations),
        minor_faults: usage.minor_faults,
        voluntary_switches: usage.voluntary_switches,
        involuntary_switches: usage.involuntary_switches,
        panicked: (!panics.is_empty()).then(|| panics.join("; ")),
        unfinished: unfinished.map(|seat| seat.name.clone()).collect(),
        remarks,
    };
    (report, duty.seats.into_iter().map(|seat| seat.agent).collect())
}

/// Calls `part` until it returns without a panic; each panic takes the agent that caused it out of the loop.
fn through_panics(duty: &mut DutyLoop, panics: &mut Vec<String>, part: fn(&mut DutyLoop)) {
    // Every panic but one outside of all agents takes one of them out; that one ends the thread instead of repeating.
    for _ in 0..=duty.seats.len() {
        // Unwind safety: the loop's own state is whole between calls of agents, and the agent that broke is not
        // called again.
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| part(duty))) else { return };
        let message = message_of(payload.as_ref());
        panics.push(format!("{}: {message}", duty.current_panicked(message)));
    }
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    let literal = payload.downcast_ref::<&str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Nanos;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What a test agent was called for, in order, runs of the same call once.
    #[derive(Default)]
    struct Script {
        name: &'static str,
        /// Turns with one item of work each.
        work: u64,
        /// Whether it becomes finished only when asked to stop.
        until_stop: bool,
        /// Whether it never becomes finished.
        endless: bool,
        /// The call in which it panics.
        panic_in: Option<&'static str>,
        done: u64,
        /// Counts its turns for others.
        turns: Arc<AtomicU64>,
        stopped: bool,
        calls: Vec<&'static str>,
    }

    impl Script {
        fn called(&mut self, call: &'static str) {
            if self.calls.last() != Some(&call) {
                self.calls.push(call);
            }
            assert!(self.panic_in != Some(call), "as told, in {call}");
        }

        fn boxed(self) -> Box<dyn Agent> {
            Box::new(Script { calls: Vec::with_capacity(10_000), ..self })
        }
    }

    impl Agent for Script {
        fn name(&self) -> &str {
            self.name
        }
        fn on_start(&mut self, _: Nanos) {
            self.called("on_start");
        }
        fn do_work(&mut self, now: Nanos) -> usize {
            assert!(now > 0);
            self.called("do_work");
            self.turns.fetch_add(1, Ordering::Relaxed);
            let work = u64::from(self.done < self.work);
            self.done += work;
            work as usize
        }
        fn housekeeping(&mut self, _: Nanos) {
            self.called("housekeeping");
        }
        fn stop(&mut self) {
            assert!(!self.stopped, "asked twice");
            self.stopped = true;
            self.called("stop");
        }
        fn finished(&self) -> bool {
            !self.endless && self.done == self.work && (!self.until_stop || self.stopped)
        }
        fn on_close(&mut self, _: Nanos) {
            self.called("on_close");
        }
        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    fn script(name: &'static str) -> Script {
        Script { name, ..Script::default() }
    }

    fn plan(name: &str) -> ThreadPlan {
        ThreadPlan { name: name.to_owned(), ..ThreadPlan::default() }
    }

    fn run(plan: ThreadPlan, scripts: Vec<Script>, stop: bool) -> (ThreadReport, Vec<Script>) {
        let flag = Arc::new(AtomicBool::new(stop));
        let agents = scripts.into_iter().map(Script::boxed).collect();
        let thread = spawn(plan, agents, Clock::kernel(), flag).expect("one more thread");
        let (report, agents) = thread.join();
        let mine = |agent: Box<dyn Agent>| *agent.into_any().downcast::<Script>().expect("given as such");
        (report, agents.into_iter().map(mine).collect())
    }

    #[test]
    fn agents_are_worked_until_finished_and_come_back_in_order() {
        let scripts =
            vec![Script { work: 1_000, ..script("a") }, Script { work: 10, ..script("b") }, script("c")];
        let (report, back) = run(plan("crew"), scripts, false);
        let done: Vec<_> = back.iter().map(|one| (one.name, one.done)).collect();
        assert_eq!(done, [("a", 1_000), ("b", 10), ("c", 0)]);
        assert_eq!((report.turns, report.idle_turns), (1_001, 0), "the last turn finds all finished");
        assert_eq!(report.duty_ns.count, 1_000, "a duty cycle for each turn with work");
        assert_eq!((report.panicked, report.unfinished.len(), report.remarks.len()), (None, 0, 0));
        for one in &back {
            assert_eq!((one.calls[0], *one.calls.last().expect("called")), ("on_start", "on_close"));
            assert!(one.calls.contains(&"housekeeping") && !one.calls.contains(&"stop"));
        }
    }

    #[test]
    fn the_loop_allocates_nothing() {
        for idle in [IdleStrategy::BusySpin, IdleStrategy::Yield, IdleStrategy::Backoff] {
            let stop = Arc::new(AtomicBool::new(false));
            let first = Script { until_stop: true, work: 10, ..script("a") };
            let turns = Arc::clone(&first.turns);
            let agents = vec![first.boxed(), script("b").boxed()];
            let plan = ThreadPlan { idle, ..plan("quiet") };
            let thread = spawn(plan, agents, Clock::new(), Arc::clone(&stop)).expect("one more thread");
            // Enough for every step of backing off.
            while turns.load(Ordering::Relaxed) < 2_000 {
                std::thread::sleep(Duration::from_millis(1));
            }
            stop.store(true, Ordering::Relaxed);
            let (report, _) = thread.join();
            assert_eq!(report.allocations, Some(0), "{report:?}");
            assert!(report.idle_turns > 0 && report.turns >= report.idle_turns + 10, "{report:?}");
            assert_eq!(report.yields > 0, idle != IdleStrategy::BusySpin, "{report:?}");
            assert_eq!(report.sleeps > 0, idle == IdleStrategy::Backoff, "{report:?}");
            assert!(
                report.voluntary_switches >= report.sleeps / 2,
                "sleeping gives the CPU away: {report:?}"
            );
        }
    }

    #[test]
    fn a_stop_is_told_once_and_the_slow_are_named_when_time_runs_out() {
        let scripts = vec![
            Script { until_stop: true, ..script("obedient") },
            Script { endless: true, ..script("endless") },
            Script { work: u64::MAX, ..script("busy") },
        ];
        let short = ThreadPlan { drain: Duration::from_millis(50), ..plan("stopping") };
        let (report, back) = run(short, scripts, true);
        assert_eq!(report.unfinished, ["endless", "busy"]);
        for one in &back {
            assert!(one.stopped, "{} was not asked to stop", one.name);
            assert_eq!(one.calls.iter().filter(|&&call| call == "on_close").count(), 1, "{}", one.name);
        }
        assert_eq!(report.panicked, None);
    }

    #[test]
    fn a_panic_takes_out_one_agent_stops_the_rest_and_is_reported() {
        for call in ["on_start", "do_work", "housekeeping", "stop", "on_close"] {
            let scripts = vec![
                Script { until_stop: true, ..script("first") },
                Script { panic_in: Some(call), until_stop: call == "stop", ..script("broken") },
                Script { until_stop: true, work: 100, ..script("last") },
            ];
            let (report, back) = run(plan("panics"), scripts, call == "stop");
            assert_eq!(report.panicked, Some(format!("broken: as told, in {call}")));
            assert!(report.unfinished.is_empty(), "{call}: {report:?}");
            assert_eq!((back[0].done, back[2].done), (0, 100), "{call}: the others went on");
            assert!(back[0].stopped && back[2].stopped, "{call}: the others were asked to stop");
            assert_eq!(back[1].calls.last(), Some(&call), "the broken one is called no more");
        }
    }

    #[test]
    fn every_agent_may_panic() {
        let broken = |name, call| Script { panic_in: Some(call), ..script(name) };
        let scripts = vec![broken("a", "on_start"), broken("b", "do_work"), broken("c", "on_start")];
        let (report, back) = run(plan("hopeless"), scripts, false);
        let said = "a: as told, in on_start; c: as told, in on_start; b: as told, in do_work";
        assert_eq!((report.panicked.as_deref(), back.len()), (Some(said), 3));
    }

    #[test]
    fn a_panic_in_one_thread_stops_the_others() {
        let stop = Arc::new(AtomicBool::new(false));
        let crew = vec![
            (plan("waits"), vec![Script { until_stop: true, ..script("waits") }.boxed()]),
            (plan("breaks"), vec![Script { panic_in: Some("do_work"), ..script("breaks") }.boxed()]),
        ];
        let threads = spawn_all(crew, Clock::kernel(), &stop).expect("two more threads");
        let reports: Vec<_> = threads.into_iter().map(|thread| thread.join().0).collect();
        assert_eq!((reports[0].panicked.as_deref(), reports[0].unfinished.len()), (None, 0));
        assert!(reports[1].panicked.is_some() && stop.load(Ordering::Relaxed));
    }

    /// Counts, when it starts, the threads named `latecomer`.
    struct Witness {
        latecomers: usize,
        turns: u64,
    }

    impl Agent for Witness {
        fn name(&self) -> &str {
            "witness"
        }
        fn on_start(&mut self, _: Nanos) {
            let threads = std::fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
            let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
            let names = threads.filter_map(|thread| name(thread).ok());
            self.latecomers = names.filter(|name| name == "latecomer\n").count();
        }
        fn do_work(&mut self, _: Nanos) -> usize {
            self.turns += 1;
            1_000usize.saturating_sub(self.turns as usize)
        }
        fn finished(&self) -> bool {
            self.turns >= 1_000
        }
        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    #[test]
    fn a_real_time_spinner_begins_only_when_its_whole_crew_is_there() {
        let cpu = os::allowed_cpus().expect("readable")[0];
        let spinner = ThreadPlan {
            cpu: Some(cpu),
            fifo_priority: Some(1),
            idle: IdleStrategy::BusySpin,
            ..plan("spinner")
        };
        // Many, so that a spinner which didn't wait would begin before the last of them is created.
        const LATECOMERS: usize = 32;
        let latecomer = ThreadPlan { cpu: Some(cpu), ..plan("latecomer") };
        let late = |_| (latecomer.clone(), vec![Script { until_stop: true, ..script("late") }.boxed()]);
        let witness: Box<dyn Agent> = Box::new(Witness { latecomers: 0, turns: 0 });
        let crew = std::iter::once((spinner, vec![witness])).chain((0..LATECOMERS).map(late)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = spawn_all(crew, Clock::kernel(), &stop).expect("some more threads");
        let (report, mut agents) = threads.remove(0).join();
        stop.store(true, Ordering::Relaxed);
        assert!(threads.into_iter().all(|thread| thread.join().0.cpu == Some(cpu)));
        assert_eq!((report.cpu, report.turns), (Some(cpu), 1_000));
        let denied = &report.remarks;
        assert!(denied.is_empty() || denied[0].contains("CAP_SYS_NICE"), "{denied:?}");
        let witness = agents.remove(0).into_any().downcast::<Witness>().expect("given as such");
        assert_eq!(witness.latecomers, LATECOMERS, "the spinner began before its crew was there");
    }

    #[test]
    fn a_cpu_that_is_not_there_starts_nothing() {
        let stop = Arc::new(AtomicBool::new(false));
        let on_none = ThreadPlan { cpu: Some(1_000), ..plan("astray") };
        let crew = vec![
            (plan("fine"), vec![Script { panic_in: Some("on_start"), ..script("fine") }.boxed()]),
            (on_none, vec![script("astray").boxed()]),
        ];
        let error = spawn_all(crew, Clock::kernel(), &stop).map(|_| ()).expect_err("no such CPU").to_string();
        assert!(error.starts_with("thread astray: cannot pin a thread to CPU 1000"), "{error}");
        assert!(!stop.load(Ordering::Relaxed), "no agent was called");
    }

    #[test]
    fn a_thread_without_agents_ends() {
        let (report, back) = run(plan("empty"), Vec::new(), false);
        assert_eq!((report.turns, back.len(), report.name.as_str()), (1, 0, "empty"));
    }
}

//! The control plane's thread: it steps, tells, and sleeps until the next step.
//!
//! Invariant: it ends when it is asked to, at once, or when whoever could ask is gone.

use super::agent::{ControlLoop, ControlOutcome};
use super::event::ControlEvent;
use super::health::HealthView;
use crate::ledger::Boards;
use crate::limits::CONTROL_EVENTS_MAX;
use crate::os::{Clock, KillRequests};
use crate::runtime::{Pulse, leave_signals_to_others};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The kernel makes no more threads.
    #[error(
        "cannot create the thread of the control plane: {0}; see `ulimit -u` and TasksMax= in the systemd unit"
    )]
    Create(io::Error),
    /// It has panicked.
    #[error(
        "the control plane ended by a panic, whose message is above; the pressure level was no longer kept"
    )]
    Panicked,
}

/// What the thread works with.
struct Parts {
    control: ControlLoop,
    boards: Boards,
    pulses: Vec<Pulse>,
    requests: KillRequests,
    clock: Clock,
    told: SyncSender<ControlEvent>,
    asked_to_end: Receiver<()>,
}

/// The control plane at work.
#[derive(Debug)]
pub struct ControlThread {
    handle: JoinHandle<ControlOutcome>,
    health: HealthView,
    events: Receiver<ControlEvent>,
    end: Sender<()>,
}

impl ControlThread {
    /// Starts it, for agents that publish on `boards`, on threads with these `pulses`.
    ///
    /// # Errors
    /// The thread can't be created.
    pub fn start(
        control: ControlLoop,
        boards: Boards,
        pulses: Vec<Pulse>,
        requests: KillRequests,
        clock: Clock,
    ) -> Result<ControlThread, ControlError> {
        let health = control.health();
        let (told, events) = sync_channel(CONTROL_EVENTS_MAX);
        let (end, asked_to_end) = channel();
        let parts = Parts { control, boards, pulses, requests, clock, told, asked_to_end };
        let body = move || {
            leave_signals_to_others();
            parts.run()
        };
        let handle = Builder::new().name("control".to_owned()).spawn(body).map_err(ControlError::Create)?;
        Ok(ControlThread { handle, health, events, end })
    }

    /// The state of health, for others.
    pub fn health(&self) -> HealthView {
        self.health.clone()
    }

    /// Shows what was told since the last time.
    pub fn listen(&self, mut show: impl FnMut(&ControlEvent)) {
        self.events.try_iter().for_each(|event| show(&event));
    }

    /// Has it take a last look, which should be after the last agent's end, shows what is still told, and ends it.
    ///
    /// # Errors
    /// It has panicked.
    pub fn stop(self, mut show: impl FnMut(&ControlEvent)) -> Result<ControlOutcome, ControlError> {
        // A thread that is gone already says so when it is joined.
        let _ = self.end.send(());
        let outcome = self.handle.join().map_err(|_| ControlError::Panicked);
        self.events.try_iter().for_each(|event| show(&event));
        outcome
    }
}

impl Parts {
    fn run(mut self) -> ControlOutcome {
        let mut untold = 0;
        loop {
            let waited = self.asked_to_end.recv_timeout(self.control.interval());
            self.clock.recalibrate();
            let (now, request) = (self.clock.now(), self.requests.take());
            for event in self.control.step(now, &self.boards, &self.pulses, request) {
                untold += u64::from(self.told.try_send(event.clone()).is_err());
            }
            if waited != Err(RecvTimeoutError::Timeout) {
                return ControlOutcome { untold, ..self.control.into_outcome() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::control::ControlFact;
    use crate::event::Nanos;
    use crate::ledger::{KilledBy, Knobs};
    use crate::runtime::{Agent, ThreadPlan, spawn};
    use signal_hook::consts::{SIGUSR1, SIGUSR2};
    use std::any::Any;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    const CHILD: &str = "SLUICE_TEST_CONTROL_CHILD";

    /// Does nothing, and stands still once, until it is let go.
    struct Sleeper {
        name: &'static str,
        gate: Option<Receiver<()>>,
        panics: bool,
        is_stopped: bool,
    }

    impl Sleeper {
        fn boxed(name: &'static str, gate: Option<Receiver<()>>) -> Box<dyn Agent> {
            Box::new(Sleeper { name, gate, panics: false, is_stopped: false })
        }
    }

    impl Agent for Sleeper {
        fn name(&self) -> &str {
            self.name
        }
        fn do_work(&mut self, _: Nanos) -> usize {
            assert!(!self.panics, "as told");
            self.gate.take().map_or(0, |gate| usize::from(gate.recv().is_ok()))
        }
        fn stop(&mut self) {
            self.is_stopped = true;
        }
        fn finished(&self) -> bool {
            self.is_stopped
        }
        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    fn control(text: &str, knobs: &Knobs) -> ControlLoop {
        let text = format!("[control]\ninterval_ms = 1\n{text}\n");
        let settings = Settings::from_text(&text, "test").unwrap_or_else(|error| panic!("{error}"));
        ControlLoop::new(&settings.control, knobs.clone())
    }

    fn start(control: ControlLoop, pulses: Vec<Pulse>, requests: KillRequests) -> ControlThread {
        ControlThread::start(control, Boards::default(), pulses, requests, Clock::kernel())
            .expect("one more thread")
    }

    impl ControlThread {
        /// Waits for the next event of this topic.
        fn next(&self, topic: &str) -> ControlEvent {
            let mut events = self.events.iter();
            events.find(|event| event.fact.topic() == topic).expect("the control plane goes on")
        }
    }

    #[test]
    fn an_agent_that_stands_still_is_named_and_so_is_its_return() {
        let (open, gate) = channel();
        let agents = vec![Sleeper::boxed("good", None), Sleeper::boxed("stuck", Some(gate))];
        let stop = Arc::new(AtomicBool::new(false));
        let plan = ThreadPlan { name: "crew".to_owned(), ..ThreadPlan::default() };
        let crew = spawn(plan, agents, Clock::kernel(), Arc::clone(&stop)).expect("one more thread");
        let control =
            start(control("stall_ms = 20", &Knobs::default()), vec![crew.pulse()], KillRequests::new());
        let stalled = control.next("agent.stalled");
        // Other stalls may be told, of a thread that got no CPU; this one lasts until we end it.
        let ControlFact::Stalled { thread, agent, silent_ns } = stalled.fact else { panic!("{stalled:?}") };
        assert_eq!((&*thread, agent.as_deref()), ("crew", Some("stuck")));
        assert!(silent_ns >= 20_000_000);
        // The state of health is published before events are told.
        assert_eq!(control.health().read().stalled[0].agent.as_deref(), Some("stuck"));
        open.send(()).expect("it waits");
        let returned = control.next("agent.returned");
        let ControlFact::Returned { agent, silent_ns: in_all, .. } = returned.fact else {
            panic!("{returned:?}")
        };
        assert_eq!(agent.as_deref(), Some("stuck"));
        assert!(in_all >= 20_000_000);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let (report, _) = crew.join();
        assert!(report.duty_ns.max >= 20_000_000, "the turn's length is on record: {report:?}");
        let outcome = control.stop(|_| ()).expect("no panic");
        assert!(outcome.topics["agent.stalled"] >= 1 && outcome.topics["agent.returned"] >= 1);
    }

    #[test]
    fn a_panic_is_told_while_the_others_go_on() {
        let broken = Sleeper { name: "broken", gate: None, panics: true, is_stopped: false };
        let stop = Arc::new(AtomicBool::new(false));
        let agents = vec![Sleeper::boxed("good", None), Box::new(broken)];
        let crew = spawn(ThreadPlan::default(), agents, Clock::kernel(), stop).expect("one more thread");
        let control = start(control("", &Knobs::default()), vec![crew.pulse()], KillRequests::new());
        let told = control.next("agent.panicked");
        let ControlFact::Panicked(panic) = told.fact else { panic!("{told:?}") };
        assert_eq!((&*panic.agent, panic.message.as_str()), ("broken", "as told"));
        assert_eq!(crew.join().0.panicked.as_deref(), Some("broken: as told"));
        assert_eq!(control.stop(|_| ()).expect("no panic").topics["agent.panicked"], 1);
    }

    #[test]
    fn it_ends_at_once_with_a_last_look() {
        let knobs = Knobs::default();
        let killed = control("start_killed = true", &knobs);
        assert!(knobs.is_killed(), "before any agent runs");
        let thread = start(killed, Vec::new(), KillRequests::new());
        knobs.kill(KilledBy::Rule(1), 1);
        let mut told = Vec::new();
        let outcome = thread.stop(|event| told.push(event.fact.topic())).expect("no panic");
        assert_eq!((told, outcome.killed, outcome.untold), (vec!["kill_switch.set"], true, 0));
        assert_eq!(outcome.kill_records[0].by, KilledBy::Config);
        // Whoever could ask is gone: the thread ends too, which the test program's end would otherwise show.
        drop(start(control("", &knobs), Vec::new(), KillRequests::new()));
    }

    /// The body that runs in a process of its own; as an ordinary test it has nothing to do.
    #[test]
    fn signal_child() {
        if std::env::var(CHILD).is_err() {
            return;
        }
        let knobs = Knobs::default();
        let requests = KillRequests::on_signals().expect("handlers can be installed");
        let control = start(control("", &knobs), Vec::new(), requests);
        for (signal, topic, is_killed) in
            [(SIGUSR1, "kill_switch.set", true), (SIGUSR2, "kill_switch.cleared", false)]
        {
            signal_hook::low_level::raise(signal).expect("raised");
            let told = control.next(topic);
            let ControlFact::KillSwitch(record) = told.fact else { panic!("{told:?}") };
            assert_eq!((record.by, knobs.is_killed()), (KilledBy::Signal, is_killed));
        }
        assert_eq!(control.stop(|_| ()).expect("no panic").kill_records.len(), 2);
        std::process::exit(79);
    }

    #[test]
    fn a_person_sets_and_clears_the_kill_switch_by_signals() {
        let child = Command::new(std::env::current_exe().expect("known"))
            .args(["--exact", "control::thread::tests::signal_child", "--test-threads=1"])
            .env(CHILD, "")
            .output()
            .expect("the test program runs");
        assert_eq!(child.status.code(), Some(79), "{child:?}");
    }
}

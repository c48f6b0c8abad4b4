//! Hot path: a thread's pulse: how often its loop has turned, when it last did, and which agent it is calling.
//!
//! Invariant: the thread writes and everybody else reads; a value may be a turn old, and orders nothing.

use crate::event::Nanos;
use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Between calls: the loop counts, keeps time or idles.
const NO_AGENT: usize = usize::MAX;

/// The last turn of a thread that has ended.
const ENDED: Nanos = Nanos::MAX;

#[derive(Debug)]
struct Beats {
    turns: AtomicU64,
    /// 0 before the first one, [`ENDED`] after the last.
    at_ns: AtomicU64,
    calling: AtomicUsize,
}

#[derive(Debug)]
struct Names {
    thread: Arc<str>,
    agents: Vec<Arc<str>>,
}

/// A panic of an agent, as it is told while the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPanic {
    /// The thread.
    pub thread: Arc<str>,
    /// The agent.
    pub agent: Arc<str>,
    /// The panic's message.
    pub message: String,
}

/// A look at a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Turns of the loop.
    pub turns: u64,
    /// When the present turn began, ns of the monotonic clock.
    pub at_ns: Nanos,
    /// The index of the agent that is being called; `None` between calls.
    pub agent: Option<usize>,
}

/// The pulse of a thread. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Pulse {
    beats: Arc<CachePadded<Beats>>,
    names: Arc<Names>,
    panics: Arc<SegQueue<AgentPanic>>,
}

impl Pulse {
    /// That of a thread with these agents, which has not begun.
    pub fn new<'a>(thread: &str, agents: impl IntoIterator<Item = &'a str>) -> Pulse {
        let beats =
            Beats { turns: AtomicU64::new(0), at_ns: AtomicU64::new(0), calling: AtomicUsize::new(NO_AGENT) };
        let names = Names { thread: thread.into(), agents: agents.into_iter().map(Arc::from).collect() };
        Pulse { beats: Arc::new(CachePadded::new(beats)), names: Arc::new(names), panics: Arc::default() }
    }

    /// A turn begins. Relaxed, as everywhere here: a pulse orders nothing.
    #[inline]
    pub fn beat(&self, turns: u64, now: Nanos) {
        self.beats.turns.store(turns, Ordering::Relaxed);
        self.beats.at_ns.store(now, Ordering::Relaxed);
    }

    /// The agent of this index is going to be called.
    #[inline]
    pub fn calling(&self, agent: usize) {
        self.beats.calling.store(agent, Ordering::Relaxed);
    }

    /// No agent is being called.
    #[inline]
    pub fn between_calls(&self) {
        self.calling(NO_AGENT);
    }

    /// The thread will turn no more.
    pub fn end(&self) {
        self.between_calls();
        self.beats.at_ns.store(ENDED, Ordering::Relaxed);
    }

    /// An agent has panicked.
    #[cold]
    pub(super) fn panicked(&self, agent: &str, message: &str) {
        let (thread, agent) = (Arc::clone(&self.names.thread), Arc::from(agent));
        self.panics.push(AgentPanic { thread, agent, message: message.to_owned() });
    }

    /// The present turn; `None` of a thread that has not begun, or has ended.
    pub fn look(&self) -> Option<Beat> {
        let at_ns = self.beats.at_ns.load(Ordering::Relaxed);
        let calling = self.beats.calling.load(Ordering::Relaxed);
        let beat = Beat {
            turns: self.beats.turns.load(Ordering::Relaxed),
            at_ns,
            agent: (calling != NO_AGENT).then_some(calling),
        };
        (at_ns != 0 && at_ns != ENDED).then_some(beat)
    }

    /// A panic that nobody was told of yet.
    pub fn take_panic(&self) -> Option<AgentPanic> {
        self.panics.pop()
    }

    /// The thread's name.
    pub fn thread(&self) -> &Arc<str> {
        &self.names.thread
    }

    /// The name of the agent of this index.
    pub fn agent(&self, index: usize) -> Option<&Arc<str>> {
        self.names.agents.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_begins_turns_and_ends() {
        let pulse = Pulse::new("crew", ["a", "b"]);
        let seen = pulse.clone();
        assert_eq!(seen.look(), None, "not begun");
        pulse.beat(3, 70);
        assert_eq!(seen.look(), Some(Beat { turns: 3, at_ns: 70, agent: None }));
        pulse.calling(1);
        let agent = seen.look().and_then(|beat| beat.agent);
        assert_eq!(agent.and_then(|index| seen.agent(index)).map(|name| &**name), Some("b"));
        pulse.end();
        assert_eq!(seen.look(), None, "ended");
    }

    #[test]
    fn a_panic_is_told_once() {
        let pulse = Pulse::new("crew", ["a"]);
        pulse.panicked("a", "no more");
        let told = pulse.clone().take_panic().expect("there is one");
        assert_eq!((&*told.thread, &*told.agent, told.message.as_str()), ("crew", "a", "no more"));
        assert_eq!(pulse.take_panic(), None);
    }
}

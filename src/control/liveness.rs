//! Whether threads turn: who stands still is named once, and so is its return.
//!
//! Invariant: pure. A stall is told when two looks in a row have found the same old turn: after a pause of the whole machine
//! every turn is old, and goes on by the second look.

use super::event::ControlFact;
use crate::event::Nanos;
use crate::runtime::{Beat, Pulse};

/// What is remembered of one thread.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// The old turn that the look before found.
    suspected: Option<u64>,
    /// The turn that was told to stand still.
    stalled: Option<Beat>,
}

/// All threads, and what is remembered of them.
#[derive(Debug)]
pub(super) struct Liveness {
    stall_ns: Nanos,
    watches: Vec<Watch>,
}

impl Liveness {
    pub(super) fn new(stall_ns: Nanos) -> Liveness {
        Liveness { stall_ns, watches: Vec::new() }
    }

    /// Looks at the thread of this index; yields what there is to tell.
    pub(super) fn look(&mut self, index: usize, pulse: &Pulse, now: Nanos) -> Option<ControlFact> {
        if self.watches.len() <= index {
            self.watches.resize(index + 1, Watch::default());
        }
        let watch = &mut self.watches[index];
        let beat = pulse.look();
        if let Some(stalled) = watch.stalled {
            if beat.is_some_and(|beat| beat.turns == stalled.turns && beat.at_ns == stalled.at_ns) {
                return None;
            }
            *watch = Watch::default();
            let (thread, agent) = (pulse.thread().clone(), name_of(pulse, stalled));
            // It ended at the beginning of a turn that may be over already: of the time since, `now` is the bound.
            let until = beat.map_or(now, |beat| beat.at_ns.min(now));
            return Some(ControlFact::Returned {
                thread,
                agent,
                silent_ns: until.saturating_sub(stalled.at_ns),
            });
        }
        let old = beat.filter(|beat| now.saturating_sub(beat.at_ns) >= self.stall_ns);
        let Some(beat) = old else {
            watch.suspected = None;
            return None;
        };
        if watch.suspected.replace(beat.turns) != Some(beat.turns) {
            return None;
        }
        watch.stalled = Some(beat);
        let (thread, agent) = (pulse.thread().clone(), name_of(pulse, beat));
        Some(ControlFact::Stalled { thread, agent, silent_ns: now.saturating_sub(beat.at_ns) })
    }

    /// Threads that stand still: their index, the agent's, and since when.
    pub(super) fn stalled(&self) -> impl Iterator<Item = (usize, Beat)> + '_ {
        self.watches.iter().enumerate().filter_map(|(index, watch)| Some((index, watch.stalled?)))
    }
}

fn name_of(pulse: &Pulse, beat: Beat) -> Option<std::sync::Arc<str>> {
    beat.agent.and_then(|agent| pulse.agent(agent)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Nanos = 1_000;

    /// Topic, agent and time of what a look tells.
    fn told(fact: Option<ControlFact>) -> Option<(&'static str, Option<String>, Nanos)> {
        let fact = fact?;
        let topic = fact.topic();
        match fact {
            ControlFact::Stalled { agent, silent_ns, .. }
            | ControlFact::Returned { agent, silent_ns, .. } => {
                Some((topic, agent.map(|agent| agent.to_string()), silent_ns))
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_stall_is_told_once_and_so_is_its_return() {
        let pulse = Pulse::new("crew", ["a", "b"]);
        let mut liveness = Liveness::new(STALL);
        let mut look = |now| told(liveness.look(0, &pulse, now));
        assert_eq!(look(1_000_000), None, "it has not begun");
        pulse.beat(1, 1_000_000);
        pulse.calling(1);
        assert_eq!(look(1_000_000 + STALL - 1), None);
        assert_eq!(look(1_000_000 + STALL), None, "at first it is suspected");
        let b = Some("b".to_owned());
        assert_eq!(look(1_000_000 + STALL + 10), Some(("agent.stalled", b.clone(), STALL + 10)));
        assert_eq!(look(1_000_000 + 50 * STALL), None, "told once");
        pulse.beat(2, 1_060_000);
        pulse.between_calls();
        assert_eq!(look(1_060_100), Some(("agent.returned", b, 60_000)));
        assert_eq!(look(1_060_200), None);
        // Between calls, nobody is to blame.
        assert_eq!((look(1_070_000), look(1_070_001)), (None, Some(("agent.stalled", None, 10_001))));
        pulse.end();
        assert_eq!(look(1_080_000), Some(("agent.returned", None, 20_000)), "it has ended");
        assert_eq!((look(2_000_000), look(3_000_000)), (None, None));
    }

    #[test]
    fn a_pause_of_the_whole_machine_is_nobodys_stall() {
        let (pulse, mut liveness) = (Pulse::new("crew", ["a"]), Liveness::new(STALL));
        pulse.beat(1, 10);
        assert_eq!(liveness.look(0, &pulse, 100 * STALL), None, "the first look after the pause");
        pulse.beat(2, 100 * STALL + 1);
        assert_eq!(liveness.look(0, &pulse, 100 * STALL + 2), None);
        assert_eq!(liveness.stalled().count(), 0);
    }

    #[test]
    fn threads_are_told_apart() {
        let pulses = [Pulse::new("one", ["a"]), Pulse::new("two", ["b"])];
        let mut liveness = Liveness::new(STALL);
        pulses[0].beat(1, 1);
        pulses[1].beat(1, 1);
        for turn in 1..4 {
            pulses[0].beat(turn, turn * STALL);
            let facts: Vec<_> = pulses
                .iter()
                .enumerate()
                .filter_map(|(at, pulse)| liveness.look(at, pulse, turn * STALL + 1))
                .collect();
            assert_eq!(facts.len(), usize::from(turn == 2), "{facts:?}");
        }
        let stalled: Vec<usize> = liveness.stalled().map(|(index, _)| index).collect();
        assert_eq!(stalled, [1]);
    }
}

//! The three books and their balances.
//!
//! Invariant: a balance is an equation over the book's own fields; no bucket is called "other".

use super::{ConnectionBook, FlowBook};
use crate::event::{Class, DeadReason, FrameReject, MessageReject, ShedReason};
use std::fmt;

/// Frames as a shard saw them: `received = decoded + Σ rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameBook {
    /// Frames that a source handed over, datagrams of sockets included.
    pub received: u64,
    /// Those of them that came as datagrams through a socket, without link and network headers.
    pub datagrams: u64,
    /// Frames whose packet header was understood.
    pub decoded: u64,
    /// Refused frames by [`FrameReject`].
    pub rejected: [u64; FrameReject::COUNT],
}

/// Frames at the boundary of kernel and process, for sources that cross it:
/// `xdp_seen = redirected + Σ passed + Σ dropped` and `redirected = received + Σ lost`.
///
/// The reasons come from the XDP program and from XDP_STATISTICS, so they are named at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelBook {
    /// Frames that the XDP program saw.
    pub xdp_seen: u64,
    /// Frames that it redirected into an AF_XDP socket.
    pub redirected: u64,
    /// Frames that it passed on to the kernel's stack, by reason.
    pub passed: Vec<(&'static str, u64)>,
    /// Frames that it dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Redirected frames that the shard took off the RX ring.
    pub received: u64,
    /// Redirected frames that did not reach the RX ring, by reason (XDP_STATISTICS).
    pub lost: Vec<(&'static str, u64)>,
    /// Counters of XDP_STATISTICS that explain but are no frames' fate (invalid descriptors, empty fill ring).
    pub notes: Vec<(&'static str, u64)>,
}

/// Messages: `decoded = accepted + duplicate + stale + heartbeat + Σ rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageBook {
    /// Messages and heartbeats found in decoded frames, damaged ones included.
    pub decoded: u64,
    /// Messages that became events.
    pub accepted: u64,
    /// Copies of messages that had been seen on this or another line.
    pub duplicate: u64,
    /// Messages of an ended epoch, or too old to be told from a duplicate.
    pub stale: u64,
    /// Heartbeats, resets without messages, ends of session.
    pub heartbeat: u64,
    /// Refused messages by [`MessageReject`].
    pub rejected: [u64; MessageReject::COUNT],
}

/// Events: `accepted = delivered + deduplicated + Σ dead_lettered + Σ shed + in_flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBook {
    /// Events that were given a slot.
    pub accepted: u64,
    /// Events that a processor finished with.
    pub delivered: u64,
    /// Events that had been processed before.
    pub deduplicated: u64,
    /// Events that were queued and not processed, by [`DeadReason`].
    pub dead_lettered: [u64; DeadReason::COUNT],
    /// Events that were given up before they were queued, by [`ShedReason`].
    pub shed: [u64; ShedReason::COUNT],
    /// Events that are still in a queue.
    pub in_flight: u64,
}

/// Events by the class that their senders asked for, and the one that they got; the same for messages whose senders ask for
/// nothing. Both indexes are [`Class`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutingBook {
    /// How many events, by asked class, then by class.
    pub routed: [[u64; Class::ALL.len()]; Class::ALL.len()],
}

/// What went through one priority queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueBook {
    /// Tickets pushed.
    pub pushed: u64,
    /// Tickets popped.
    pub popped: u64,
    /// Tickets that were taken out again by their producer, to make room.
    pub given_up: u64,
    /// Most tickets seen waiting at once.
    pub high_water: u64,
}

/// All books of an appliance, or of one of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Frames in the process.
    pub frames: FrameBook,
    /// Frames at the kernel boundary, where there is one.
    pub kernel: Option<KernelBook>,
    /// Connections and their bytes, where there are sources of byte streams.
    pub connections: Option<ConnectionBook>,
    /// TCP flows of captures, where there were any.
    pub flows: Option<FlowBook>,
    /// Messages.
    pub messages: MessageBook,
    /// Events.
    pub events: EventBook,
    /// The priority queues, indexed by [`Class`].
    pub queues: [QueueBook; Class::ALL.len()],
}

/// An equation of the ledger that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// The equation, in words.
    pub equation: &'static str,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} against {}", self.equation, self.left, self.right)
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().sum()
}

fn sum_named(counts: &[(&'static str, u64)]) -> u64 {
    counts.iter().map(|(_, n)| n).sum()
}

fn add(into: &mut [u64], from: &[u64]) {
    into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}

fn add_named(into: &mut Vec<(&'static str, u64)>, from: &[(&'static str, u64)]) {
    for (name, count) in from {
        match into.iter_mut().find(|(known, _)| known == name) {
            Some((_, total)) => *total += count,
            None => into.push((name, *count)),
        }
    }
}

impl FrameBook {
    /// Adds another part's counters to these.
    pub fn absorb(&mut self, other: &FrameBook) {
        self.received += other.received;
        self.datagrams += other.datagrams;
        self.decoded += other.decoded;
        add(&mut self.rejected, &other.rejected);
    }
}

impl KernelBook {
    /// Adds another lane's counters to these.
    pub fn absorb(&mut self, other: &KernelBook) {
        self.xdp_seen += other.xdp_seen;
        self.redirected += other.redirected;
        self.received += other.received;
        add_named(&mut self.passed, &other.passed);
        add_named(&mut self.dropped, &other.dropped);
        add_named(&mut self.lost, &other.lost);
        add_named(&mut self.notes, &other.notes);
    }
}

impl MessageBook {
    /// Adds another part's counters to these.
    pub fn absorb(&mut self, other: &MessageBook) {
        self.decoded += other.decoded;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.stale += other.stale;
        self.heartbeat += other.heartbeat;
        add(&mut self.rejected, &other.rejected);
    }
}

impl EventBook {
    /// Events that were queued and have their fate.
    pub fn finished(&self) -> u64 {
        self.delivered + self.deduplicated + sum(&self.dead_lettered)
    }

    /// Adds another part's counters to these.
    pub fn absorb(&mut self, other: &EventBook) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.deduplicated += other.deduplicated;
        self.in_flight += other.in_flight;
        add(&mut self.dead_lettered, &other.dead_lettered);
        add(&mut self.shed, &other.shed);
    }
}

impl RoutingBook {
    /// Adds another part's counters to these.
    pub fn absorb(&mut self, other: &RoutingBook) {
        self.routed.iter_mut().zip(&other.routed).for_each(|(a, b)| add(a, b));
    }

    /// Events that got a more urgent class than their senders asked for.
    pub fn raised(&self) -> u64 {
        let of = |(asked, by_class): (usize, &[u64; 3])| by_class[..asked].iter().sum::<u64>();
        self.routed.iter().enumerate().map(of).sum()
    }
}

impl QueueBook {
    /// Adds another part's counters; the high-water mark is the higher one.
    pub fn absorb(&mut self, other: &QueueBook) {
        self.pushed += other.pushed;
        self.popped += other.popped;
        self.given_up += other.given_up;
        self.high_water = self.high_water.max(other.high_water);
    }
}

impl Ledger {
    /// Adds another part's books to these.
    pub fn absorb(&mut self, other: &Ledger) {
        self.frames.absorb(&other.frames);
        self.messages.absorb(&other.messages);
        self.events.absorb(&other.events);
        if let Some(connections) = &other.connections {
            self.connections.get_or_insert_with(ConnectionBook::default).absorb(connections);
        }
        if let Some(flows) = &other.flows {
            self.flows.get_or_insert_with(FlowBook::default).absorb(flows);
        }
        if let Some(kernel) = &other.kernel {
            self.kernel.get_or_insert_with(KernelBook::default).absorb(kernel);
        }
        self.queues.iter_mut().zip(&other.queues).for_each(|(a, b)| a.absorb(b));
    }

    /// Every equation that does not hold; empty when the ledger balances. True only once sources are stopped
    /// and queues are drained.
    pub fn imbalances(&self) -> Vec<Imbalance> {
        let frames = &self.frames;
        let messages = &self.messages;
        let events = &self.events;
        let mut equations = vec![
            ("frames received = decoded + rejected", frames.received, frames.decoded + sum(&frames.rejected)),
            (
                "messages decoded = accepted + duplicate + stale + heartbeat + rejected",
                messages.decoded,
                messages.accepted
                    + messages.duplicate
                    + messages.stale
                    + messages.heartbeat
                    + sum(&messages.rejected),
            ),
            ("messages accepted = events accepted", messages.accepted, events.accepted),
            (
                "events accepted = delivered + deduplicated + dead-lettered + shed + in flight",
                events.accepted,
                events.finished() + sum(&events.shed) + events.in_flight,
            ),
            (
                "queues pushed = events accepted - shed",
                self.queues.iter().map(|q| q.pushed).sum(),
                events.accepted.saturating_sub(sum(&events.shed)),
            ),
            (
                "queues popped + given up = events delivered + deduplicated + dead-lettered",
                self.queues.iter().map(|q| q.popped + q.given_up).sum(),
                events.finished(),
            ),
        ];
        if let Some(kernel) = &self.kernel {
            let seen = kernel.redirected + sum_named(&kernel.passed) + sum_named(&kernel.dropped);
            equations.push(("frames seen by XDP = redirected + passed + dropped", kernel.xdp_seen, seen));
            let taken = kernel.received + sum_named(&kernel.lost);
            equations.push(("frames redirected = received + lost", kernel.redirected, taken));
            equations.push((
                "frames off the RX rings + datagrams = frames received",
                kernel.received + frames.datagrams,
                frames.received,
            ));
        }
        if let Some(connections) = &self.connections {
            equations.extend(connections.equations());
        }
        if let Some(flows) = &self.flows {
            equations.extend(flows.equations());
        }
        equations
            .into_iter()
            .filter(|(_, left, right)| left != right)
            .map(|(equation, left, right)| Imbalance { equation, left, right })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.frames.received = 10;
        ledger.frames.decoded = 9;
        ledger.frames.rejected[FrameReject::NotUdp as usize] = 1;
        ledger.messages.decoded = 12;
        ledger.messages.accepted = 7;
        ledger.messages.duplicate = 3;
        ledger.messages.heartbeat = 1;
        ledger.messages.rejected[MessageReject::TooShort as usize] = 1;
        ledger.events.accepted = 7;
        ledger.events.delivered = 3;
        ledger.events.deduplicated = 1;
        ledger.events.dead_lettered[DeadReason::DroppedOldest as usize] = 1;
        ledger.events.shed[ShedReason::BatchQueueFull as usize] = 2;
        ledger.queues[0] = QueueBook { pushed: 5, popped: 4, given_up: 1, high_water: 2 };
        ledger
    }

    #[test]
    fn every_counter_moved_alone_breaks_a_balance() {
        assert_eq!(balanced().imbalances(), []);
        let nudges: [fn(&mut Ledger); 12] = [
            |l| l.events.deduplicated += 1,
            |l| l.events.dead_lettered[0] += 1,
            |l| l.queues[2].given_up += 1,
            |l| l.frames.received += 1,
            |l| l.frames.rejected[0] += 1,
            |l| l.messages.decoded += 1,
            |l| l.messages.stale += 1,
            |l| l.messages.rejected[0] += 1,
            |l| l.events.accepted += 1,
            |l| l.events.delivered += 1,
            |l| l.events.in_flight += 1,
            |l| l.queues[1].pushed += 1,
        ];
        for nudge in nudges {
            let mut ledger = balanced();
            nudge(&mut ledger);
            assert_ne!(ledger.imbalances(), []);
        }
    }

    #[test]
    fn the_kernel_book_is_part_of_the_balance() {
        let mut ledger = balanced();
        ledger.kernel = Some(KernelBook {
            xdp_seen: 20,
            redirected: 13,
            passed: vec![("not_udp", 4), ("fragment", 2)],
            dropped: vec![("malformed", 1)],
            received: 10,
            lost: vec![("rx_ring_full", 3)],
            notes: vec![("fill_ring_empty", 99)],
        });
        assert_eq!(ledger.imbalances(), []);
        let twice = {
            let mut sum = ledger.clone();
            sum.absorb(&ledger);
            sum
        };
        assert_eq!(twice.imbalances(), []);
        ledger.kernel.as_mut().expect("set above").lost[0].1 = 2;
        assert_eq!(ledger.imbalances().len(), 1);
    }
}

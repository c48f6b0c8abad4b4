//! What a load did, and what of it is proven.
//!
//! Invariant: of each producer, `sent` = `acknowledged` + the numbers of `unacknowledged`, where there are
//! acknowledgements.

use super::LoadPlan;
use crate::event::{Nanos, Priority};
use crate::ledger::Percentiles;
use serde::Serialize;
use std::collections::BTreeMap;

/// Sequence numbers without acknowledgement, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// What one producer did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProducerReport {
    /// Its id.
    pub producer: u64,
    /// Number of its first event; in a session, the one behind what the server knew of it.
    pub first_sequence: u64,
    /// Events sent, each counted once.
    pub sent: u64,
    /// Of them, acknowledged; `None` where nobody acknowledges.
    pub acknowledged: Option<u64>,
    /// Those that are not.
    pub unacknowledged: Option<Gap>,
    /// Frames sent again after a reconnect.
    pub resent: u64,
    /// Events of the schedule that were never sent.
    pub not_sent: u64,
    /// Events begun and cut by a connection that did not come back.
    pub cut: u64,
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// Connections lost or refused, by reason.
    pub losses: BTreeMap<String, u64>,
    /// Times that the socket had no room.
    pub socket_full: u64,
    /// Datagrams that found nobody, as the peer's host told.
    pub refused: u64,
    /// Times that the window of unacknowledged events was full.
    pub window_full: u64,
    /// How long it was, ns.
    pub window_full_ns: u64,
    /// Why it ended before its work was done.
    pub failure: Option<String>,
    /// When its work was done: the last event acknowledged, or written; `None` when it ended without.
    #[serde(skip)]
    pub(super) finished_ns: Option<Nanos>,
    /// Events by topic, with the priority.
    #[serde(skip)]
    pub(super) by_topic: Vec<(String, Priority, u64)>,
}

/// What a load did.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// Where to.
    pub to: String,
    /// Version of the frames.
    pub version: u8,
    /// In acknowledged sessions.
    pub session: bool,
    /// Events sent, each counted once.
    pub sent: u64,
    /// Events acknowledged; `None` where nobody acknowledges.
    pub acknowledged: Option<u64>,
    /// Whether the load did all that it was to do: everything due was sent, and in sessions acknowledged.
    pub complete: bool,
    /// Whether a signal ended it.
    pub stopped: bool,
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// From the start to the end of the last producer's work, s.
    pub elapsed_s: f64,
    /// Events sent per second of it.
    pub events_per_s: f64,
    /// What the latencies end with: `acknowledged` or `written`. They begin when the event was due.
    pub latency_until: &'static str,
    /// Latencies of all events, ns.
    pub latency_ns: Percentiles,
    /// Events by topic.
    pub by_topic: BTreeMap<String, TopicReport>,
    /// Each producer.
    pub producers: Vec<ProducerReport>,
}

/// The events of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TopicReport {
    /// Their priority, 0 to 4.
    pub priority: u8,
    /// How many were sent.
    pub sent: u64,
}

impl ProducerReport {
    /// Whether something of its events was not sent or not acknowledged.
    pub fn lacks(&self) -> bool {
        self.cut > 0 || self.not_sent > 0 || self.unacknowledged.is_some()
    }
}

impl LoadReport {
    /// Why producers ended before their work was done, each reason once.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = self.producers.iter().filter_map(|p| p.failure.clone()).collect();
        failures.sort_unstable();
        failures.dedup();
        failures
    }

    /// Sums the producers up.
    pub(super) fn new(
        plan: &LoadPlan,
        producers: Vec<ProducerReport>,
        latency_ns: Percentiles,
        elapsed_ns: u64,
        stopped: bool,
    ) -> LoadReport {
        let sum = |count: fn(&ProducerReport) -> u64| producers.iter().map(count).sum::<u64>();
        let mut by_topic: BTreeMap<String, TopicReport> = BTreeMap::new();
        for (topic, priority, sent) in producers.iter().flat_map(|producer| &producer.by_topic) {
            let entry =
                by_topic.entry(topic.clone()).or_insert(TopicReport { priority: *priority as u8, sent: 0 });
            entry.sent += sent;
        }
        let failed = producers.iter().any(|producer| producer.failure.is_some());
        let lacking = sum(|p| p.cut + p.unacknowledged.map_or(0, |gap| gap.to + 1 - gap.from));
        let elapsed_s = elapsed_ns as f64 / 1e9;
        let sent = sum(|p| p.sent);
        LoadReport {
            to: plan.target.to_string(),
            version: plan.version.number(),
            session: plan.session.is_some(),
            sent,
            acknowledged: producers.iter().map(|p| p.acknowledged).sum(),
            complete: !failed && lacking == 0 && (stopped || sum(|p| p.not_sent) == 0),
            stopped,
            bytes: sum(|p| p.bytes),
            elapsed_s,
            events_per_s: if elapsed_ns == 0 { 0.0 } else { sent as f64 / elapsed_s },
            latency_until: if plan.session.is_some() { "acknowledged" } else { "written" },
            latency_ns,
            by_topic,
            producers,
        }
    }
}

//! What a replay over TCP connections did.
//!
//! Invariant: each frame of the capture was sent or skipped for one reason, and so was each payload byte.

use crate::feed::{FlowEnd, FlowFacts};
use crate::limits::FLOWS_TOLD_MAX;
use crate::replay::RealTime;
use crate::source::capture::PacingReport;

/// Why bytes of a flow were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsent {
    /// So many connections were open that the flow was given none.
    ConnectionLimit,
    /// The receiver closed or reset the connection.
    PeerClosed,
    /// The replay was stopped.
    Stopped,
}

/// Frames that were not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TcpSkipped {
    /// No TCP.
    pub not_tcp: u64,
    /// Of a link type that is not read.
    pub link_type: u64,
    /// TCP in fragments, cut off, or with contradicting lengths.
    pub unreadable: u64,
    /// To another port than the wished one.
    pub other_port: u64,
    /// Acknowledgements, and others without payload.
    pub no_payload: u64,
    /// All of it had come before.
    pub duplicate: u64,
    /// From before the first byte that was captured of its flow in order.
    pub before_start: u64,
    /// Behind its flow's end.
    pub after_end: u64,
    /// With a sequence number that is not believed.
    pub implausible: u64,
    /// Of a flow that the table had no place for.
    pub flow_limit: u64,
    /// Of a flow without a connection, for their limit.
    pub connection_limit: u64,
    /// Of a flow whose receiver has closed the connection.
    pub peer_closed: u64,
    /// Not sent because the replay was stopped.
    pub stopped: u64,
}

impl TcpSkipped {
    /// The counters with their names.
    pub fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("not TCP", self.not_tcp),
            ("of another link type", self.link_type),
            ("unreadable", self.unreadable),
            ("to other ports", self.other_port),
            ("without payload", self.no_payload),
            ("duplicates", self.duplicate),
            ("from before the start", self.before_start),
            ("behind the end", self.after_end),
            ("implausible", self.implausible),
            ("for the limit on flows", self.flow_limit),
            ("for the limit on connections", self.connection_limit),
            ("closed by the receiver", self.peer_closed),
            ("stopped", self.stopped),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    /// The counter of frames whose flow is not sent.
    pub(super) fn of(&mut self, why: Unsent) -> &mut u64 {
        match why {
            Unsent::ConnectionLimit => &mut self.connection_limit,
            Unsent::PeerClosed => &mut self.peer_closed,
            Unsent::Stopped => &mut self.stopped,
        }
    }
}

/// Payload bytes that were not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UnsentBytes {
    /// To another port than the wished one.
    pub other_port: u64,
    /// Had come before, or came after they were given up.
    pub duplicate: u64,
    /// From before the first byte that was captured of their flow in order.
    pub before_start: u64,
    /// Behind their flow's end, or with a sequence number that is not believed.
    pub discarded: u64,
    /// Of flows that the table had no place for.
    pub flow_limit: u64,
    /// Of flows without a connection, for their limit.
    pub connection_limit: u64,
    /// Of flows whose receiver had closed the connection.
    pub peer_closed: u64,
    /// Not sent because the replay was stopped.
    pub stopped: u64,
}

impl UnsentBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.other_port
            + self.duplicate
            + self.before_start
            + self.discarded
            + self.flow_limit
            + self.connection_limit
            + self.peer_closed
            + self.stopped
    }

    /// The counter of bytes whose flow is not sent.
    pub(super) fn of(&mut self, why: Unsent) -> &mut u64 {
        match why {
            Unsent::ConnectionLimit => &mut self.connection_limit,
            Unsent::PeerClosed => &mut self.peer_closed,
            Unsent::Stopped => &mut self.stopped,
        }
    }
}

/// One flow, at its end.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FlowSent {
    /// Whose bytes they were.
    pub source: String,
    /// For whom.
    pub destination: String,
    /// Segments captured, those without payload included.
    pub segments: u64,
    /// Segments of which nothing was new.
    pub retransmitted: u64,
    /// Segments that came before what stands before them.
    pub out_of_order: u64,
    /// Bytes of its stream that the capture holds.
    pub bytes: u64,
    /// Bytes of it that were sent.
    pub sent_bytes: u64,
    /// Bytes of its stream that the capture does not hold: its receiver sees a hole there.
    pub missing_bytes: u64,
    /// How it ended in the capture.
    pub ended: FlowEnd,
    /// Why not all of it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<Unsent>,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct TcpReport {
    /// Frames taken from the capture: sent ones and skipped ones.
    pub taken: u64,
    /// Segments with bytes that were new to their flow and went to its connection.
    pub sent: u64,
    /// Frames that were not sent.
    pub skipped: TcpSkipped,
    /// Payload bytes of all TCP segments.
    pub payload_bytes: u64,
    /// Payload bytes that the kernel took.
    pub sent_bytes: u64,
    /// Payload bytes that were not sent.
    pub unsent_bytes: UnsentBytes,
    /// Bytes that flows miss, because the capture does not hold them.
    pub missing_bytes: u64,
    /// Flows that carry payload; one of a looped capture counts each time.
    pub flows_total: u64,
    /// The first 1,024 of them to end.
    pub flows: Vec<FlowSent>,
    /// Connections opened.
    pub connections: u64,
    /// Most of them at a time.
    pub connections_high_water: u64,
    /// Flows that were given no connection, for their limit.
    pub connections_refused: u64,
    /// Connections that their receiver closed before their flow's end, or reset: it may not have read all that was sent.
    pub connections_lost: u64,
    /// Connections that their receiver left open for 2 s after their end.
    pub connections_unanswered: u64,
    /// Bytes that receivers sent back; they are thrown away.
    pub answered_bytes: u64,
    /// Times that the kernel had no room because a receiver was slow.
    pub waits: u64,
    /// Time spent waiting for receivers, ns.
    pub blocked_ns: u64,
    /// Time from the first turn to the last close, ns; waiting for receivers to close left out.
    pub elapsed_ns: u64,
    /// Distance between due times and the times at which the kernel had the bytes; empty at maximum speed.
    pub pacing: PacingReport,
    /// Whether the sending thread was real-time.
    pub real_time: RealTime,
    /// Whether the stop flag ended it before the capture's end.
    pub stopped: bool,
}

impl TcpReport {
    /// Whether each frame and each payload byte has its one fate.
    pub fn is_balanced(&self) -> bool {
        self.taken == self.sent + self.skipped.total()
            && self.payload_bytes == self.sent_bytes + self.unsent_bytes.total()
    }

    /// Enters a flow that has ended, unless it carried nothing.
    pub(super) fn note_flow(&mut self, facts: &FlowFacts, sent_bytes: u64, unsent: Option<Unsent>) {
        let counts = &facts.counts;
        if counts.bytes == 0 {
            return;
        }
        self.flows_total += 1;
        if self.flows.len() < FLOWS_TOLD_MAX {
            self.flows.push(FlowSent {
                source: facts.key.source.to_string(),
                destination: facts.key.destination.to_string(),
                segments: counts.segments,
                retransmitted: counts.retransmitted,
                out_of_order: counts.out_of_order,
                bytes: counts.bytes,
                sent_bytes,
                missing_bytes: counts.lost_bytes,
                ended: facts.ended,
                unsent,
            });
        }
    }
}

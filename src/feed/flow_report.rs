//! What is told of a capture's TCP flows: their book, and the first of them one by one.
//!
//! Invariant: what is kept is plain data of a fixed size; names are worked out when somebody asks for them.

use super::{FlowEnd, FlowFacts};
use crate::event::{CloseReason, Protocol};
use crate::ledger::FlowBook;
use crate::limits::FLOWS_TOLD_MAX;
use serde::Serialize;

/// What became of the bytes of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowFate {
    /// It carried none.
    #[default]
    Empty,
    /// They were decoded to its end.
    Decoded,
    /// Its protocol is not known.
    UnknownProtocol,
    /// There was no connection, no endpoint or no stream for it.
    NoPlace,
    /// They were decoded up to where they could not be framed any more, for this reason.
    GivenUp(CloseReason),
}

impl FlowFate {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            FlowFate::Empty => "empty",
            FlowFate::Decoded => "decoded",
            FlowFate::UnknownProtocol => "unknown_protocol",
            FlowFate::NoPlace => "no_place",
            FlowFate::GivenUp(reason) => reason.name(),
        }
    }
}

/// A flow at its end, as it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowRecord {
    pub(super) facts: FlowFacts,
    pub(super) protocol: Option<Protocol>,
    pub(super) fate: FlowFate,
}

/// Flows that have ended.
#[derive(Debug)]
pub(super) struct FlowLog {
    told: Vec<FlowRecord>,
    total: u64,
    decoded: u64,
    unknown_protocol: u64,
    no_place: u64,
    given_up: u64,
}

impl FlowLog {
    pub(super) fn allocate() -> FlowLog {
        FlowLog {
            told: Vec::with_capacity(FLOWS_TOLD_MAX),
            total: 0,
            decoded: 0,
            unknown_protocol: 0,
            no_place: 0,
            given_up: 0,
        }
    }

    /// Enters a flow that has ended, unless it carried nothing.
    pub(super) fn note(&mut self, record: FlowRecord) {
        match record.fate {
            FlowFate::Empty => return,
            FlowFate::Decoded => self.decoded += 1,
            FlowFate::UnknownProtocol => self.unknown_protocol += 1,
            FlowFate::NoPlace => self.no_place += 1,
            FlowFate::GivenUp(_) => self.given_up += 1,
        }
        self.total += 1;
        if self.told.len() < FLOWS_TOLD_MAX {
            self.told.push(record);
        }
    }

    pub(super) fn report(&self, book: FlowBook) -> FlowsReport {
        FlowsReport {
            total: self.total,
            decoded: self.decoded,
            unknown_protocol: self.unknown_protocol,
            no_place: self.no_place,
            given_up: self.given_up,
            book,
            told: self.told.iter().map(FlowTold::from).collect(),
        }
    }
}

/// One flow, at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowTold {
    /// Whose bytes they were.
    pub source: String,
    /// For whom.
    pub destination: String,
    /// What it speaks, where that is known.
    pub protocol: Option<Protocol>,
    /// [`FlowFate::name`].
    pub fate: &'static str,
    /// Segments captured, those without payload included.
    pub segments: u64,
    /// Segments of which nothing was new.
    pub retransmitted: u64,
    /// Segments that came before what stands before them.
    pub out_of_order: u64,
    /// Bytes of its stream that the capture holds.
    pub bytes: u64,
    /// Bytes of its stream that the capture does not hold.
    pub missing_bytes: u64,
    /// How it ended in the capture.
    pub ended: FlowEnd,
}

impl From<&FlowRecord> for FlowTold {
    fn from(record: &FlowRecord) -> FlowTold {
        let FlowFacts { key, counts, ended } = &record.facts;
        FlowTold {
            source: key.source.to_string(),
            destination: key.destination.to_string(),
            protocol: record.protocol,
            fate: record.fate.name(),
            segments: counts.segments,
            retransmitted: counts.retransmitted,
            out_of_order: counts.out_of_order,
            bytes: counts.bytes,
            missing_bytes: counts.lost_bytes,
            ended: *ended,
        }
    }
}

/// The flows of a capture: each direction of a conversation that carried payload is one. A looped capture's count each
/// time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowsReport {
    /// All of them.
    pub total: u64,
    /// Those that were decoded to their end.
    pub decoded: u64,
    /// Those whose protocol is not known.
    pub unknown_protocol: u64,
    /// Those that there was no connection, no endpoint or no stream for.
    pub no_place: u64,
    /// Those that could not be framed to their end.
    pub given_up: u64,
    /// Segments and bytes of all of them.
    pub book: FlowBook,
    /// The first 1,024 of them to end.
    pub told: Vec<FlowTold>,
}

//! Feed logic: which stream and line a packet belongs to, and which of its messages are new.
//!
//! Architecture invariant: everything here is pure. Bytes, destinations and times come in, decisions go out; the
//! tables are allocated once and never grow, those of a capture's TCP flows excepted, which grow up to their limits.

mod flows;
mod intake;
mod lateness;
mod reassembly;
mod sequence;
mod streams;
mod table;

pub use flows::{FlowEnd, FlowEvent, FlowFacts, FlowIndex, FlowKey, FlowLimits, FlowTable, FlowTableFull};
pub use intake::{Accepted, Intake, IntakeSettings, Outlet};
pub use lateness::{Lateness, LatenessStore};
pub use reassembly::{Arrival, End, Fate, FlowCounts, HoldLimits, Piece, Reassembler};
pub use sequence::{Sequencer, Verdict};
pub use streams::{Endpoint, FeedLine, StreamName, StreamSnapshot, StreamState};
pub use table::{EndpointIndex, StreamTable};

//! Feed logic: which stream and line a packet belongs to, and which of its messages are new.
//!
//! Architecture invariant: everything here is pure. Bytes, destinations and times come in, decisions go out; the
//! tables are allocated once and never grow, those of a capture's TCP flows excepted, which grow up to their limits.

mod connections;
mod doubt;
mod feeds;
mod flow_intake;
mod flow_report;
mod flows;
mod gaps;
mod held;
mod holdback;
mod inlets;
mod intake;
mod keeper;
mod lateness;
mod line_watch;
#[cfg(test)]
mod model;
mod naming;
mod notice;
mod policy;
mod producers;
mod reach;
mod reassembly;
mod recovery;
mod requester;
mod sequence;
mod session;
mod snapshots;
mod soup_replay;
mod soup_session;
mod stream_intake;
mod streams;
mod table;
mod visit;

pub use connections::{Connections, Next, Took};
pub use flow_report::{FlowFate, FlowTold, FlowsReport};
pub use flows::{FlowEnd, FlowEvent, FlowFacts, FlowIndex, FlowKey, FlowLimits, FlowTable, FlowTableFull};
pub use held::HeldCopies;
pub use inlets::{ConnectionSettings, InletSettings};
pub use intake::{Accepted, Intake, IntakeSettings, Outlet};
pub use lateness::{Lateness, LatenessStore};
pub use naming::TableFacts;
pub use notice::{Event, GapEnd, GapRecord, Loss, Notice, NoticeLog};
pub use policy::{Delivery, FeedPolicy};
pub use producers::{ProducerRecord, ProducerStore, Producers, digest};
pub use reassembly::{Arrival, End, Fate, FlowCounts, HoldLimits, Piece, Reassembler};
pub use recovery::{Recovery, RecoverySettings, Request, ServerBook};
pub use requester::{FeedRecovery, RecoveredFeed, RecoveryReport, RecoveryWay};
pub use sequence::Sequencer;
pub use soup_replay::ReplayBook;
pub use soup_session::{CURRENT_SESSION, SoupEvent, SoupLogin, SoupLoginError, SoupSession};
pub use streams::{Endpoint, FeedLine, LineSnapshot, StreamName, StreamSnapshot, StreamState, StreamStatus};
pub use table::{EndpointIndex, NoStream, StreamTable};

//! The appliance: boot and shutdown order of a live run, of a replay, and of a plain decode.
//!
//! Architecture invariant: parts are made, wired and started here and nowhere else; when it returns, every thread is
//! joined, every queue is drained, every program is detached, and the books are closed.

mod assembly;
mod closing;
mod crew;
mod decode;
mod desk;
mod error;
mod inline;
mod live;
mod network;
mod processors;
mod send;
mod soup;
mod stages;
mod told;

pub use assembly::{Assembly, assemble, assemble_with, capture_intake_settings, intake_settings};
pub use closing::{Outcome, Processing, StreamOutcome};
pub use crew::{Crew, Homecoming};
pub use decode::{DecodeOutcome, MessageListing, decode_captures};
pub use desk::RulesOutcome;
pub use error::ApplianceError;
pub use inline::{InlineOutcome, replay_inline};
pub use live::{LiveOutcome, LiveParts, LivePlan, PlannedLane, plan_live, run_live};
pub use processors::feed_names;
pub use send::{Destination, RerequestOutcome, SendWishes, SentOutcome, TcpOutcome, replay_out, replay_tcp};
pub use soup::{ServedOutcome, replay_soup};
pub use stages::{RuleEnds, StageEnds};
pub use told::Told;

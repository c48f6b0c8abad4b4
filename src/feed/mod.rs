//! Feed logic: which stream and line a packet belongs to, and which of its messages are new.
//!
//! Architecture invariant: everything here is pure. Bytes, destinations and times come in, decisions go out; the
//! tables are allocated once and never grow.

mod intake;
mod lateness;
mod sequence;
mod soup_session;
mod streams;
mod table;

pub use intake::{Accepted, Intake, IntakeSettings, Outlet};
pub use lateness::{Lateness, LatenessStore};
pub use sequence::{Sequencer, Verdict};
pub use soup_session::{CURRENT_SESSION, SoupEvent, SoupLogin, SoupLoginError, SoupSession};
pub use streams::{Endpoint, FeedLine, StreamName, StreamSnapshot, StreamState};
pub use table::{EndpointIndex, StreamTable};

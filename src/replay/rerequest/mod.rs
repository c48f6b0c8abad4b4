//! A MoldUDP64 re-request server beside a replay: whoever missed packets asks for their messages by number, and gets those
//! that were sent so far.
//!
//! Architecture invariant: requests are answered on a thread of their own, from memory that is bounded whatever is sent and
//! asked; the sending thread does no more for it than copy each MoldUDP64 packet into a ring.

mod answers;
mod line_ends;
mod report;
mod server;

pub use line_ends::SentLines;
pub use report::{Refusal, RerequestReport};
pub use server::{RerequestOptions, RerequestServer};

//! The transactional processor: exactly once as far as can be told, in order, and again where it failed.
//!
//! Architecture invariant: pure, as all of `process`: events stay with their owner, and places stand for them; time
//! arrives as `now`.

mod book;
mod chains;
mod dedup;
mod handler;
mod identity;
#[cfg(test)]
mod model;
#[cfg(test)]
mod scenarios;
mod transactions;
mod wheel;

pub use book::TransactionBook;
pub use dedup::DedupWindow;
pub use handler::{Accepting, Handler, HandlerError};
pub use identity::EventId;
pub use transactions::Transactions;
pub use wheel::TimingWheel;

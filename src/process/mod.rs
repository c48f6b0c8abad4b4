//! Processing rules: what class an event is of, and what becomes of it.
//!
//! Architecture invariant: rules are pure. They take events, tables and `now`, and return values.

mod classify;
mod fate;
mod subject;
mod topics;
pub mod windows;

pub use classify::{ClassTable, WideKindsFull};
pub use fate::Fate;
pub use subject::Subject;
pub use topics::{PatternError, TopicPattern};

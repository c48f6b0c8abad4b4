//! Processing rules: what class an event is of, and what becomes of it.
//!
//! Architecture invariant: rules are pure. They take events, tables and `now`, and return values.

mod classify;
mod fate;
mod key;
mod route;
mod subject;
mod topics;
mod transactional;
pub mod windows;

pub mod rules;

pub use classify::{ClassTable, WideKindsFull};
pub use fate::Fate;
pub use key::{conflation_key, order_key};
pub use route::{Route, Router, TopicsFull};
pub use subject::Subject;
pub use topics::{PatternError, TopicPattern};
pub use transactional::{
    Accepting, DedupWindow, EventId, Handler, HandlerError, TimingWheel, TransactionBook, Transactions,
};

//! Processing rules: what class an event is of.
//!
//! Architecture invariant: rules are pure. They take events, tables and `now`, and return values.

mod classify;

pub use classify::{ClassTable, WideKindsFull};

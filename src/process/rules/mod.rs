//! Alert rules: compiled into a flat program, evaluated on each event.
//!
//! Architecture invariant: pure, without a clock. The same events give the same alerts, whatever the machine's clock says:
//! windows and cool-downs run on the events' own times. An event is evaluated by one program from its first rule to its last.

mod alert;
mod compile;
mod engine;
mod fields;
mod keys;
mod places;
mod program;

pub use alert::{Alert, AlertKey, Label};
pub use compile::CompileError;
pub use engine::Engine;
pub use keys::RuleCounts;
pub use places::Places;
pub use program::Program;

//! The control plane: counters in, knobs out. It works out how hard the appliance is pressed, notices agents that stand
//! still, keeps the kill switch's record, and tells of all of it.
//!
//! Architecture invariant: it is the only writer of the pressure level and the only one who takes the kill switch back; it
//! never touches an event, and no agent ever waits for it.

mod actions;
mod agent;
mod event;
mod health;
mod kill_switch;
mod liveness;
mod pressure;
mod thread;

pub use actions::{Actions, actions};
pub use agent::{ControlLoop, ControlOutcome};
pub use event::{ControlEvent, ControlFact};
pub use health::{Health, HealthView, StalledAgent};
pub use kill_switch::{KillRecord, KillSwitch};
pub use pressure::{Cause, Measure, Pressure, PressureSettings, Sample, Transition};
pub use thread::{ControlError, ControlThread};

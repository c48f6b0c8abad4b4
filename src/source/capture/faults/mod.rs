//! Faults on the way from a capture to whatever takes its frames: loss, duplication, reordering, delay, corruption and
//! dead lines, each by line and all from one seed.
//!
//! Invariant: the same captures, the same plan and the same seed give the same frames in the same order, and every
//! packet has one counted fate.

mod chance;
mod corrupt;
mod delay;
mod injector;
mod line;
mod plan;
mod report;

pub(super) use injector::FaultInjector;
pub use plan::{FaultPlan, FaultPlanError, LineChoice, LineFaults, NamedLine, PerLine};
pub use report::{FaultReport, LineFaultReport};

#[cfg(test)]
mod loader_tests;
#[cfg(test)]
mod tests;

//! The state of health, for anybody in the process to read off the hot path.
//!
//! Invariant: one writer, the control plane; a reader gets a whole state, never half of one.

use crate::event::Nanos;
use crate::ledger::Level;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// An agent that stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StalledAgent {
    /// Its thread.
    pub thread: String,
    /// The agent; `None` if the thread stands still between calls.
    pub agent: Option<String>,
    /// When its last turn began, ns of the monotonic clock.
    pub since_ns: Nanos,
}

/// The state of health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The pressure level.
    pub level: Level,
    /// Whether the kill switch is set.
    pub killed: bool,
    /// Agents that stand still.
    pub stalled: Vec<StalledAgent>,
    /// Since when it has been like this, ns of the monotonic clock.
    pub since_ns: Nanos,
}

/// The state of health as it is whenever one looks. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct HealthView {
    state: Arc<Mutex<Health>>,
}

impl HealthView {
    /// The present state.
    pub fn read(&self) -> Health {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `health` in place of the present state.
    pub(super) fn publish(&self, health: Health) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

//! Hot path: what stands behind the transactional processor.
//!
//! Invariant: a handler that says no has done nothing, or nothing that must not be done again.

use crate::event::Nanos;
use crate::process::Subject;

/// Why a handler did not take an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// It never will: the event dies at once, whatever attempts are left.
    #[error("the handler refuses the event for good: look at its dead letter")]
    Refused,
    /// It may another time: it is shown the event again after a while, as often as it may be tried.
    #[error("the handler failed or was busy: the event is tried again")]
    Failed,
}

/// Who does with an event what there is to do, exactly once as far as can be told: a journal that appends it, say.
///
/// A handler that panics costs the event that it was shown; it is shown the next one all the same.
pub trait Handler: Send {
    /// Does it. `now` is the processor's clock.
    ///
    /// # Errors
    /// It was not done.
    fn handle(&mut self, subject: &Subject<'_>, now: Nanos) -> Result<(), HandlerError>;
}

impl<H: Handler + ?Sized> Handler for Box<H> {
    #[inline]
    fn handle(&mut self, subject: &Subject<'_>, now: Nanos) -> Result<(), HandlerError> {
        (**self).handle(subject, now)
    }
}

/// Takes every event and does nothing: what stands behind the processor until there is a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepting;

impl Handler for Accepting {
    #[inline]
    fn handle(&mut self, _: &Subject<'_>, _: Nanos) -> Result<(), HandlerError> {
        Ok(())
    }
}

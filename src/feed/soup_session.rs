//! placeholder
use crate::event::{CloseReason, Nanos};
use crate::wire::{Run, soupbin};
/// a
#[derive(Clone, Debug)]
pub struct SoupSession {}
/// a
pub enum SoupEvent {
    /// a
    LoginAccepted {
        /// a
        session: [u8; 10],
        /// a
        sequence: u64,
    },
    /// a
    Heartbeat,
    /// a
    Nothing,
    /// a
    EndOfSession,
}
#[allow(missing_docs)]
impl SoupSession {
    pub fn connected(&mut self, _n: Nanos) {}
    pub fn received(&mut self, _n: Nanos) {}
    pub fn reconnect(&mut self) {}
    pub fn tick(&mut self, _n: Nanos) -> Result<(), CloseReason> {
        Ok(())
    }
    pub fn has_reply(&self) -> bool {
        false
    }
    pub fn reply(&mut self, _i: &mut [u8]) -> usize {
        0
    }
    pub fn run(&self) -> Result<Run, CloseReason> {
        Err(CloseReason::Idle)
    }
    pub fn took(&mut self) {}
    pub fn control(&mut self, _c: &soupbin::Control<'_>, _n: Nanos) -> Result<SoupEvent, CloseReason> {
        Ok(SoupEvent::Nothing)
    }
}

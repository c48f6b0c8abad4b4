//! Hot path: a way out that leads nowhere: it counts, for tests and for measuring what is in front of it.

use super::{FrameSink, SendOutcome, SinkError};
use crate::source::LinkType;

/// Counts frames and forgets them.
#[derive(Clone, Debug, Default)]
pub struct NullSink {
    queued: u64,
    sent: u64,
    bytes: u64,
}

impl NullSink {
    /// Bytes of all frames that were given to it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl FrameSink for NullSink {
    fn send(&mut self, frame: &[u8], _link: LinkType) -> SendOutcome {
        self.queued += 1;
        self.bytes += frame.len() as u64;
        SendOutcome::Queued
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.sent += std::mem::take(&mut self.queued);
        Ok(())
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn waits(&self) -> u64 {
        0
    }

    fn describe(&self) -> String {
        String::from("null")
    }
}

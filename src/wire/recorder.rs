//! Test double of a visitor: it keeps all that a decoder told it, and checks the promises that all decoders make.

use super::{Message, Run, Visitor};
use crate::event::{FrameReject, MessageReject, Nanos};

/// What a decoder said of one packet, in order.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// The runs.
    pub(super) runs: Vec<Run>,
    /// Sequence, kind, source time and body of each message.
    pub(super) messages: Vec<(u64, u16, Nanos, Vec<u8>)>,
    /// What was refused in messages' places.
    pub(super) refused: Vec<MessageReject>,
    /// Why the whole packet was refused, if it was.
    pub(super) rejected: Option<FrameReject>,
}

impl Visitor for Recorder {
    fn run(&mut self, run: &Run) {
        self.runs.push(*run);
    }

    fn message(&mut self, message: &Message<'_>) {
        assert!(!self.runs.is_empty(), "a message before its run");
        self.messages.push((message.sequence, message.kind, message.source_ns, message.body.to_vec()));
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.refused.push(reason);
    }
}

/// Runs a decoder and keeps what it says.
pub(super) fn record(decode: impl FnOnce(&mut Recorder) -> Result<(), FrameReject>) -> Recorder {
    let mut recorder = Recorder::default();
    recorder.rejected = decode(&mut recorder).err();
    recorder
}

impl Recorder {
    /// Asserts what holds for any bytes: no more callbacks than the packet has room for, nothing told of a
    /// rejected packet, no body longer than the packet.
    pub(super) fn assert_total(&self, packet_bytes: usize, message_bytes_min: usize) {
        let told = self.messages.len() + self.refused.len();
        assert!(told <= packet_bytes / message_bytes_min + 1, "{told} callbacks of {packet_bytes} bytes");
        assert!(self.runs.len() <= packet_bytes / message_bytes_min + 1);
        let bodies: usize = self.messages.iter().map(|m| m.3.len()).sum();
        assert!(bodies <= packet_bytes);
        if self.rejected.is_some() {
            assert_eq!((self.runs.len(), told), (0, 0), "told of a packet that it rejected");
        } else {
            assert!(!self.runs.is_empty());
        }
    }

    /// Asserts that all messages of `good` that end before byte `at` (counted from the first message on; each
    /// takes `overhead` bytes beside its body) are told here too.
    pub(super) fn assert_prefix_of(&self, good: &Recorder, at: usize, overhead: usize) {
        let mut end = 0;
        for (index, message) in good.messages.iter().enumerate() {
            end += message.3.len() + overhead;
            if end > at {
                return;
            }
            assert_eq!(self.messages.get(index), Some(message), "message {index} before the damage at {at}");
        }
    }
}

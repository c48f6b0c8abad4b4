//! Real packets of a TOPS 1.6 capture, and a visitor that remembers what it was told.
//!
//! Invariant: the bytes are as captured; messages that the capture lacks are written out field by field in the
//! tests that need them.

use crate::event::MessageReject;
use crate::wire::{Message, Run, Visitor};

/// A heartbeat before the first message of the day.
pub(super) const HEARTBEAT: &str =
    "01000380010000000000cd430000000000000000000000000100000000000000b94e92069afecf14";

/// A trade and a quote.
pub(super) const TRADE_AND_QUOTE: &str = "01000380010000000000cd4354000200092c0d0000000000177b000000000000\
    ad81607eaffecf14260054e0dcf31f7eaffecf14474f4f442020202029000000a4db0200000000001313020000000000\
    2a005140dcf31f7eaffecf14474f4f4420202020f7000000a4db020000000000000000000000000000000000";

/// A security directory message.
pub(super) const DIRECTORY: &str = "4480ac90dbab9efecf145a4558495420202064000000a08601000000000000";

/// An auction message.
pub(super) const AUCTION: &str = "414ffb4cd841b2fecf145a45584954202020000000001085010000000000\
    6887010000000000c00b00004200b8d563593088010000000000de84010000000000005e010000000000bcab010000000000";

/// A trade break.
pub(super) const TRADE_BREAK: &str =
    "421819127eaacefecf145a58494554202020140f00007c93040000000000ca9f020000000000";

/// A trading halt with its reason.
pub(super) const HALT: &str = "484847f1378fb0fecf144d494c4c202020204e412020";

/// A short sale price test status.
pub(super) const SHORT_SALE: &str = "50019b152065d5fecf14464c4558202020204e";

/// An operational halt.
pub(super) const OPERATIONAL_HALT: &str = "4f4fe8914a94c6fecf144b4f4f4c20202020";

/// A system event.
pub(super) const SYSTEM_EVENT: &str = "5353191c4844aafecf14";

/// Bytes from hexadecimal digits.
pub(super) fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// What a decoder told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) runs: Vec<Run>,
    /// Sequence, kind, source time and body.
    pub(super) messages: Vec<(u64, u16, u64, Vec<u8>)>,
    pub(super) refused: Vec<MessageReject>,
}

impl Visitor for Told {
    fn run(&mut self, run: &Run) {
        self.runs.push(*run);
    }

    fn message(&mut self, message: &Message<'_>) {
        self.messages.push((message.sequence, message.kind, message.source_ns, message.body.to_vec()));
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.refused.push(reason);
    }
}

//! Real packets of schema version 6, and a visitor that remembers what it was told.
//!
//! Invariant: the bytes are as captured; the tests build what the capture lacks.

use crate::event::MessageReject;
use crate::wire::{Message, Run, Visitor};

/// Two book messages: three changed levels, and six implied ones of two instruments.
pub(super) const BOOKS: &str = "4e25000051751bb37b53861478000b00200001000600ed0319b37b538614040000\
    20000340a86aeeffffffff030000003c85000066000000010000000102310000000000\
    c03e03efffffffff530000003c850000670000000200000004013100000000008020e8efffffffff500000003c850000\
    68000000010000000a00310000000000d8000b00200001000600ed0319b37b538614900000\
    20000680f0fa0200000000030000000a8f020041000000ffffff7f01024600000000002016210300000000\
    100000000a8f020042000000ffffff7f0101460000000000c03b470300000000060000000a8f020043000000\
    ffffff7f0200460000000000c0ef0b08000000000300000047cd010075000000ffffff7f0102450000000000\
    20cae507000000000b00000047cd010076000000ffffff7f010145000000000080a4bf0700000000\
    1800000047cd010077000000ffffff7f0200450000000000";

/// A trade with the two orders that took part.
pub(super) const TRADE: &str = "5f160000e9feff6c7753861460000b002a000100060051b30a6c77538614010000\
    200001802c05d0000000000a000000088b050019000000020000000100000000000000\
    100000000000000290f6ce7aa30000000a0000000000000000000000000000000a00000000000000";

/// Volume, a changed level, a session statistic and an empty book message that ends the event.
pub(super) const MIXED: &str = "6016000045c4016d7753861428000b0025000100060051b30a6c77538614020000\
    1000010b000000088b05001a0000000000000038000b0020000100060051b30a6c77538614040000\
    200001802c05d0000000005a000000088b05001b00000001000000010131000000000030000b002300010006\
    0051b30a6c77538614080000180001802c05d000000000088b05001c000000ff003700000000001800\
    0b0020000100060051b30a6c77538614800000200000";

/// A heartbeat message.
pub(super) const HEARTBEAT: &str = "ef1500007cde7b9d375386140a0000000c0001000600";

/// Bytes from hexadecimal digits.
pub(super) fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// A message body: SBE header of `template` and `version`, root block, then the groups as they stand.
pub(super) fn body(template: u16, version: u16, root: &[u8], groups: &[u8]) -> Vec<u8> {
    let root_bytes = u16::try_from(root.len()).expect("a short block");
    let header = [root_bytes, template, 1, version].map(u16::to_le_bytes);
    [header.as_flattened(), root, groups].concat()
}

/// A group of one entry in the 3-byte form, padded to `block_bytes`.
pub(super) fn group(block_bytes: u16, fields: &[&[u8]]) -> Vec<u8> {
    let mut group = [&block_bytes.to_le_bytes()[..], &[1]].concat();
    fields.iter().for_each(|field| group.extend_from_slice(field));
    group.resize(3 + usize::from(block_bytes), 0);
    group
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

//! What a format's reader found next; the same words for pcap, pcapng and message files.

use std::io;
use std::ops::Range;

use super::input::{Input, StreamEnd};
use crate::event::Nanos;
use crate::source::LinkType;

/// The longest record that is believed: what libpcap calls MAXIMUM_SNAPLEN. Longer ones are garbage in a header.
pub(super) const RECORD_BYTES_MAX: usize = 262_144;

/// A record, and where its bytes lie.
pub(super) struct Found {
    pub(super) time_ns: Nanos,
    pub(super) original_bytes: u32,
    pub(super) link: LinkType,
    pub(super) bytes: Range<usize>,
}

/// One step through a capture.
pub(super) enum Step {
    /// A record.
    Record(Found),
    /// A block without a frame was passed over.
    Skipped,
    /// The capture's end, after its last record.
    End,
    /// The capture ends in the middle of a record.
    TruncatedTail,
    /// What follows can't be framed; why.
    Damaged(String),
}

/// What a stream that ended too early for the next record means.
pub(super) fn short(input: &Input) -> Step {
    match input.ended() {
        Some(StreamEnd::Damaged(reason)) => Step::Damaged(reason.clone()),
        Some(StreamEnd::CutOff) => Step::TruncatedTail,
        _ if input.data().is_empty() => Step::End,
        _ => Step::TruncatedTail,
    }
}

/// The link type of a pcap or pcapng number.
pub(super) fn link_type(number: i32) -> LinkType {
    match number {
        1 => LinkType::Ethernet,
        // DLT_RAW as old Linux tools wrote it, then RAW, IPV4, IPV6.
        12 | 101 | 228 | 229 => LinkType::RawIp,
        _ => LinkType::Unsupported,
    }
}

/// Steps or the kernel's error.
pub(super) type Stepped = io::Result<Step>;

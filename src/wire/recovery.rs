//! What messages say of the numbers of a stream that they are not part of: snapshots, and refusals to send again.
//!
//! Invariant: total, and nothing outside `body` is read; a message that says nothing of numbers is `None`.

use super::{cme_mdp3, nyse_pillar};
use crate::event::Protocol;
use std::ops::RangeInclusive;

/// Up to where a snapshot takes its instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// Number of the last packet of the live stream that is in the snapshot; the next one applies on top of it.
    pub through: u64,
    /// Instruments whose snapshots make up a whole loop of the channel.
    pub of: u32,
}

/// The point that one message (a `Message::body`) of a snapshot channel brings its instrument to; `None` for all
/// messages but CME's snapshots by level (38, 52) and by order (44, 53), and for damaged ones.
#[inline]
pub fn snapshot_point(protocol: Protocol, kind: u16, body: &[u8]) -> Option<SnapshotPoint> {
    match protocol {
        Protocol::CmeMdp3 => cme_mdp3::snapshot_point(kind, body),
        _ => None,
    }
}

/// The numbers of the live stream that one message (a `Message::body`) says can't be sent again, as an answer to a
/// request; `None` for all messages but NYSE's message unavailable (31), and for damaged ones.
#[inline]
pub fn unavailable(protocol: Protocol, kind: u16, body: &[u8]) -> Option<RangeInclusive<u64>> {
    match protocol {
        Protocol::NysePillar => nyse_pillar::unavailable(kind, body),
        _ => None,
    }
}

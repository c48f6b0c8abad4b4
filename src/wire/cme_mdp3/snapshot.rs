//! Where a snapshot joins the incremental channel.
//!
//! Invariant: only a whole root block of a snapshot's own template says something; all else is `None`.

use super::body::Body;
use super::layout::{OrderSnapshot, Snapshot, template};
use crate::wire::SnapshotPoint;

/// LastMsgSeqNumProcessed and TotNumReports of a snapshot by level (38, 52) or by order (44, 53).
///
/// All four blocks begin with both, u32 at 0 and at 4 (block lengths 59 and 28 in the schema).
#[inline]
pub fn snapshot_point(kind: u16, body: &[u8]) -> Option<SnapshotPoint> {
    let (through, of) = match kind {
        template::SNAPSHOT | template::SNAPSHOT_9 => {
            let block = Body::parse(kind, body)?.root::<Snapshot>()?;
            (block.last_sequence, block.reports)
        }
        template::ORDER_SNAPSHOT | template::ORDER_SNAPSHOT_9 => {
            let block = Body::parse(kind, body)?.root::<OrderSnapshot>()?;
            (block.last_sequence, block.reports)
        }
        _ => return None,
    };
    Some(SnapshotPoint { through: through.get().into(), of: of.get() })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{BOOKS, body, unhex};
    use crate::event::Protocol;
    use crate::wire::{SnapshotPoint, snapshot_point};
    use proptest::prelude::*;

    /// Packet 4,000,000,001 is the last one in the snapshot; the loop has 517 instruments.
    const POINT: SnapshotPoint = SnapshotPoint { through: 4_000_000_001, of: 517 };

    /// A root block of `bytes` bytes: number, reports, instrument 998,080, and what comes behind them.
    fn root(bytes: usize) -> Vec<u8> {
        let mut root = vec![0x01, 0x28, 0x6b, 0xee, 0x05, 0x02, 0, 0, 0xc0, 0x3a, 0x0f, 0];
        root.resize(bytes, 0x5a);
        root
    }

    fn point(kind: u16, body: &[u8]) -> Option<SnapshotPoint> {
        snapshot_point(Protocol::CmeMdp3, kind, body)
    }

    #[test]
    fn snapshots_by_level_and_by_order_name_their_point() {
        for (kind, version, bytes) in [(38, 8, 59), (44, 8, 28), (52, 9, 59), (53, 9, 28)] {
            let group = [22, 0, 0];
            assert_eq!(
                point(kind, &body(kind, version, &root(bytes), &group)),
                Some(POINT),
                "template {kind}"
            );
            // A later schema may grow the block at its end, never shrink it.
            assert_eq!(point(kind, &body(kind, 20, &root(bytes + 9), &group)), Some(POINT));
            assert_eq!(point(kind, &body(kind, version, &root(bytes - 1), &[])), None);
        }
    }

    #[test]
    fn other_messages_and_protocols_name_none() {
        let snapshot = body(52, 9, &root(59), &[]);
        assert_eq!(point(53, &snapshot), None, "the kind must be the message's own");
        assert_eq!(point(32, &unhex(BOOKS)[14..]), None);
        assert_eq!(point(52, &[]), None);
        for protocol in Protocol::ALL.into_iter().filter(|protocol| *protocol != Protocol::CmeMdp3) {
            assert_eq!(snapshot_point(protocol, 52, &snapshot), None, "{protocol}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_inside_their_bounds(kind in 36u16..56, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let told = point(kind, &bytes);
            prop_assert!(told.is_none() || bytes.len() >= 8 + 28);
        }
    }
}

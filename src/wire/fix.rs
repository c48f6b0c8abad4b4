//! Hot path: FIX tag=value messages, framed by tags 8, 9 and 10.

use super::{Progress, Stop, StreamVisitor};

/// Decodes the messages in a piece of a stream.
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Progress {
    let _ = (bytes, unit_bytes_max, visitor);
    Progress { consumed: 0, stop: Stop::Incomplete { unit_bytes: 2 } }
}

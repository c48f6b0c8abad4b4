//! Hot path: the 20-byte messages of Linux-cpp-event-server's producers.

use super::{Progress, Stop, StreamVisitor};

/// Bytes of a message, its size field included.
pub const MESSAGE_BYTES: usize = 20;

/// Decodes the messages in a piece of a stream.
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], visitor: &mut V) -> Progress {
    let _ = (bytes, visitor);
    Progress { consumed: 0, stop: Stop::Incomplete { unit_bytes: MESSAGE_BYTES } }
}

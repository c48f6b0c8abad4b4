//! Hot path: SoupBinTCP 3.00 packets, as a server sends them, carrying ITCH 5.0.

use super::{Progress, Stop, StreamVisitor};

/// What a server says beside sequenced messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// `+`: a remark for people.
    Debug(&'a [u8]),
    /// `A`: the login is accepted; the next sequenced message has this number.
    Accepted {
        /// Ten bytes, padded with spaces on the left.
        session: [u8; 10],
        /// Number of the next sequenced message.
        sequence: u64,
    },
    /// `J`: the login is refused: `A` not authorized, `S` session not available.
    Rejected(u8),
    /// `H`: still there.
    Heartbeat,
    /// `Z`: the session has ended.
    EndOfSession,
}

/// Decodes the packets in a piece of a server's stream. A sequenced message is offered with sequence 0: the stream
/// does not carry it; who follows the session counts.
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Progress {
    let _ = (bytes, unit_bytes_max, visitor);
    Progress { consumed: 0, stop: Stop::Incomplete { unit_bytes: 3 } }
}

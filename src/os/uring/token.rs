//! What a completion is known by. Invariant: a token's parts come back from its `u64` unchanged.

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// New connections of a listener.
    Accept = 0,
    /// Bytes of a connection.
    Receive = 1,
    /// Datagrams of a socket.
    ReceiveDatagrams = 2,
    /// A reply to a peer.
    Send = 3,
    /// A connection to a server.
    Connect = 4,
    /// The end of another request.
    Cancel = 5,
    /// A datagram to a receiver.
    SendDatagram = 6,
}

/// Identifies a request: what it is, for which of them, in which life of that index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What was asked.
    pub operation: Operation,
    /// For which connection, listener or socket.
    pub index: u32,
    /// Which of the connections that had this index one after another; 24 bits.
    pub generation: u32,
}

const GENERATION_BITS: u32 = 24;

impl Token {
    /// As the kernel carries it.
    #[inline]
    pub(super) fn to_u64(self) -> u64 {
        let generation = u64::from(self.generation & ((1 << GENERATION_BITS) - 1));
        (self.operation as u64) << 56 | generation << 32 | u64::from(self.index)
    }

    /// As it was given to the kernel; `None` for what no token says.
    #[inline]
    pub(super) fn from_u64(value: u64) -> Option<Token> {
        let operation = match value >> 56 {
            0 => Operation::Accept,
            1 => Operation::Receive,
            2 => Operation::ReceiveDatagrams,
            3 => Operation::Send,
            4 => Operation::Connect,
            5 => Operation::Cancel,
            6 => Operation::SendDatagram,
            _ => return None,
        };
        let generation = (value >> 32) as u32 & ((1 << GENERATION_BITS) - 1);
        Some(Token { operation, index: value as u32, generation })
    }

    /// The generation behind `generation`.
    #[inline]
    pub fn next_generation(generation: u32) -> u32 {
        (generation + 1) & ((1 << GENERATION_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        let operations = [
            Operation::Accept,
            Operation::Receive,
            Operation::Send,
            Operation::Cancel,
            Operation::SendDatagram,
        ];
        for operation in operations {
            for (index, generation) in [(0, 0), (u32::MAX, (1 << GENERATION_BITS) - 1), (7, 9)] {
                let token = Token { operation, index, generation };
                assert_eq!(Token::from_u64(token.to_u64()), Some(token));
            }
        }
        assert_eq!(Token::from_u64(u64::MAX), None);
        assert_eq!(Token::next_generation((1 << GENERATION_BITS) - 1), 0);
    }
}

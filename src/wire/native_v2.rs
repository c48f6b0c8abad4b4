//! Hot path: native frames, version 2: identified, timed, checked, and the words of an acknowledged session.
//!
//! Invariant: a frame is believed only when its checksum is that of its bytes. docs/native-protocol.md is the format.

use crate::event::{MessageReject, Priority};

/// The first four bytes of every frame: as a version 1 length they would be 1,397,507,890, far over its maximum.
pub const MAGIC: [u8; 4] = *b"SLC2";

/// Bytes of the fixed header, in front of topic and payload.
pub const HEADER_BYTES: usize = 48;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Its name.
    Name(&'a [u8]),
    /// Its number, which producer and user have agreed upon.
    Id(u32),
}

/// An event frame's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFrame<'a> {
    /// Who sends it; 0 is nobody in particular.
    pub producer: u64,
    /// Its number in the producer's sequence, from 1; 0 is not numbered.
    pub sequence: u64,
    /// When it happened, ns since the Unix epoch.
    pub time_ns: u64,
    /// The producer's own kind of event.
    pub kind: u16,
    /// How urgent its sender says it is.
    pub priority: Priority,
    /// What it is about.
    pub topic: Topic<'a>,
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

/// The words of an acknowledged session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Producer to server, first: who it is, and what it wants to be told.
    Hello {
        /// The producer's id, not 0.
        producer: u64,
        /// The last of its sequence numbers that it knows to be acknowledged; 0 for none.
        acknowledged: u64,
        /// Whether it wants durable acknowledgements; without, it gets received ones.
        durable: bool,
    },
    /// Server to producer: go on behind `received`.
    Welcome {
        /// The last sequence number that was received and processed.
        received: u64,
        /// The last one that is durable.
        durable: u64,
    },
    /// Server to producer: all up to these numbers.
    Ack {
        /// The last sequence number that was received and processed.
        received: u64,
        /// The last one that is durable.
        durable: u64,
    },
    /// Server to producer, last: why it closes the connection.
    Error {
        /// [`crate::event::CloseReason`] as u8.
        code: u8,
        /// The reason's name.
        text: &'a [u8],
    },
    /// Either way: still there.
    Heartbeat,
    /// Producer to server: all is sent; the server acknowledges the rest and closes.
    Goodbye,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An event.
    Event(EventFrame<'a>),
    /// A word of a session.
    Control(Control<'a>),
}

/// Reads a whole frame, which begins with [`MAGIC`] and is as long as its header says.
///
/// # Errors
/// [`MessageReject::TooShort`], [`MessageReject::BadField`], [`MessageReject::Checksum`].
pub fn parse(frame: &[u8]) -> Result<Frame<'_>, MessageReject> {
    let _ = frame;
    Err(MessageReject::BadField)
}

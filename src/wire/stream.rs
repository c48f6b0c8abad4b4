//! Hot path: what a byte stream's decoder tells its caller, and the one place where a protocol's number becomes one.
//!
//! Invariant: a decoder is a pure total function of the piece of the stream that it is shown. It takes whole units
//! from its start and says why it stopped; it keeps nothing, so that it can be shown the rest again with more behind.

use super::{Message, Numbering, Run, RunKind, Visitor, engine20, fix, native, native_v2, soupbin};
use crate::event::{CloseReason, FrameReject, MessageReject, Protocol};

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It had its one fate: accepted, duplicate, stale or refused.
    Taken,
    /// There is no room for it now; nothing was counted. The stream is to be read again from this message on.
    Wait,
}

/// What is in a stream beside messages: words between the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Of a native version 2 session.
    Native(native_v2::Control<'a>),
    /// Of a SoupBinTCP session, as its server sends them.
    Soup(soupbin::Control<'a>),
}

/// Receives what a stream's decoder finds, in the order of the stream. Its caller has announced the run that
/// unnumbered messages belong to.
pub trait StreamVisitor: Visitor {
    /// A message; unlike [`Visitor::message`] it may be asked to come again.
    fn offer(&mut self, message: &Message<'_>) -> Flow;

    /// A word of the session.
    ///
    /// # Errors
    /// The connection must end.
    fn control(&mut self, control: Control<'_>) -> Result<(), CloseReason>;
}

/// Why a decoder stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The next unit is not whole: from its start, at least so many bytes are needed to go on (always more than
    /// there are). Also when the piece ended with a whole unit: then so many make the next unit's header.
    Incomplete {
        /// Bytes of the unit, or of as much of it as tells how long it is.
        unit_bytes: usize,
    },
    /// The next unit was refused (the visitor was told) and is to be thrown away unread, because it is larger than
    /// what is taken: `consumed` does not cover it.
    Discard {
        /// Its bytes, which may go beyond the piece.
        unit_bytes: u64,
    },
    /// The visitor asked to wait, before the unit at `consumed`.
    Wait,
    /// What follows can't be framed, or must not go on.
    Broken(CloseReason),
}

/// How far a decoder came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of whole units that are done with.
    pub consumed: usize,
    /// Why it stopped.
    pub stop: Stop,
}

/// The run that a stream's unnumbered messages belong to.
pub const UNNUMBERED_RUN: Run = Run {
    unit: 0,
    session: 0,
    sequence: 0,
    count: 0,
    kind: RunKind::Data,
    numbering: Numbering::Unnumbered,
    send_ns: 0,
};

/// Whether a protocol is spoken in byte streams.
pub const fn is_stream_protocol(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Native | Protocol::Engine20 | Protocol::Fix | Protocol::SoupbintcpItch50)
}

/// Decodes a piece of a stream of `protocol` whose first byte begins a unit. Units of more than `unit_bytes_max`
/// bytes are refused as `too_large`, each by [`Stop::Discard`] or, where its protocol gives no way to skip it, by
/// [`Stop::Broken`].
#[inline]
pub fn decode_stream<V: StreamVisitor>(
    protocol: Protocol,
    bytes: &[u8],
    unit_bytes_max: usize,
    visitor: &mut V,
) -> Progress {
    match protocol {
        Protocol::Native => native::decode_stream(bytes, unit_bytes_max, visitor),
        Protocol::Engine20 => engine20::decode_stream(bytes, visitor),
        Protocol::Fix => fix::decode_stream(bytes, unit_bytes_max, visitor),
        Protocol::SoupbintcpItch50 => soupbin::decode_stream(bytes, unit_bytes_max, visitor),
        _ => Progress { consumed: 0, stop: Stop::Broken(CloseReason::BadFrame) },
    }
}

/// Decodes a packet that holds a piece of a stream: whole units, and nothing behind them.
///
/// # Errors
/// The packet does not hold even the header of one unit.
#[inline]
pub(super) fn decode_packet<V: Visitor>(
    protocol: Protocol,
    packet: &[u8],
    visitor: &mut V,
) -> Result<(), FrameReject> {
    let mut whole = WholeUnits { visitor, begun: false };
    let progress = decode_stream(protocol, packet, packet.len(), &mut whole);
    let left = packet.len() - progress.consumed;
    if left == 0 && whole.begun {
        return Ok(());
    }
    if !whole.begun && matches!(progress.stop, Stop::Incomplete { .. }) {
        return Err(FrameReject::PacketTooShort);
    }
    if !matches!(progress.stop, Stop::Discard { .. }) {
        let reason = match progress.stop {
            Stop::Incomplete { .. } => MessageReject::Truncated,
            _ => MessageReject::BadField,
        };
        whole.refuse(reason);
    }
    Ok(())
}

/// Lets a packet's visitor see the units of a stream: there is no waiting, and nobody to answer.
struct WholeUnits<'a, V> {
    visitor: &'a mut V,
    begun: bool,
}

impl<V: Visitor> WholeUnits<'_, V> {
    #[inline]
    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.visitor.run(&UNNUMBERED_RUN);
        }
    }
}

impl<V: Visitor> Visitor for WholeUnits<'_, V> {
    fn run(&mut self, run: &Run) {
        self.visitor.run(run);
    }

    #[inline]
    fn message(&mut self, message: &Message<'_>) {
        self.begin();
        self.visitor.message(message);
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.begin();
        self.visitor.refuse(reason);
    }
}

impl<V: Visitor> StreamVisitor for WholeUnits<'_, V> {
    #[inline]
    fn offer(&mut self, message: &Message<'_>) -> Flow {
        self.message(message);
        Flow::Taken
    }

    /// Sessions are for connections: a packet's words to nobody are refused.
    fn control(&mut self, _: Control<'_>) -> Result<(), CloseReason> {
        self.refuse(MessageReject::BadField);
        Ok(())
    }
}

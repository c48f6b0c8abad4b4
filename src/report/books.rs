//! The ledger as a report has it: every counter by name, and the verdict.
//!
//! Invariant: every reason that exists stands there, zeros included, so that a missing key never means zero.

use super::streams::StreamReport;
use crate::event::{CloseReason, DeadReason, FrameReject, MessageReject, ShedReason};
use crate::ledger::{ConnectionBook, EventBook, FrameBook, KernelBook, Ledger, MessageBook};
use serde::{Serialize, Serializer};
use std::fmt;

/// Counters by name, in a fixed order; a map in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub Vec<(&'static str, u64)>);

impl Counts {
    /// Their sum.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Those that are not zero.
    pub fn nonzero(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied().filter(|(_, count)| *count > 0)
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The frames book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FramesReport {
    /// Frames that sources handed over.
    pub received: u64,
    /// Those of them that came as datagrams through a socket.
    pub datagrams: u64,
    /// Frames whose packet header was understood.
    pub decoded: u64,
    /// Refused frames.
    pub rejected: Counts,
}

/// The kernel's side of the frames book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// Frames that the XDP program saw.
    pub xdp_seen: u64,
    /// Frames that it redirected.
    pub redirected: u64,
    /// Frames that it passed on to the kernel's stack.
    pub passed: Counts,
    /// Frames that it dropped.
    pub dropped: Counts,
    /// Redirected frames that came off the RX rings.
    pub received: u64,
    /// Redirected frames that did not reach an RX ring.
    pub lost: Counts,
    /// Counters that explain but are no frames' fate.
    pub notes: Counts,
}

/// The book of connections and their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionsReport {
    /// Connections that came about.
    pub opened: u64,
    /// Connections that ended.
    pub closed: Counts,
    /// Connections that were still there at the end.
    pub open: u64,
    /// Bytes received from peers.
    pub bytes_received: u64,
    /// Bytes that were read as units.
    pub bytes_taken: u64,
    /// Bytes that were lost with their connection.
    pub bytes_lost: Counts,
    /// Bytes that were held at the end.
    pub bytes_held: u64,
    /// Bytes sent to peers.
    pub bytes_sent: u64,
    /// How often a connection began to wait for room.
    pub blocks: u64,
    /// Time that connections waited for room, ns, summed.
    pub blocked_ns: u64,
    /// How often a receive found no buffer.
    pub starved: u64,
    /// Datagrams that a socket's buffer had no room for.
    pub datagrams_dropped: u64,
}

/// The messages book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MessagesReport {
    /// Messages and heartbeats found.
    pub decoded: u64,
    /// Messages that became events.
    pub accepted: u64,
    /// Copies.
    pub duplicate: u64,
    /// Messages of ended epochs, or too old to be told from a duplicate.
    pub stale: u64,
    /// Heartbeats, resets, ends of session.
    pub heartbeat: u64,
    /// Refused messages.
    pub rejected: Counts,
}

/// The events book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventsReport {
    /// Events that were given a slot.
    pub accepted: u64,
    /// Events that a processor finished with.
    pub delivered: u64,
    /// Events that had been processed before.
    pub deduplicated: u64,
    /// Events that were queued and not processed.
    pub dead_lettered: Counts,
    /// Events that were given up before they were queued.
    pub shed: Counts,
    /// Events that are still in a queue.
    pub in_flight: u64,
}

/// An equation whose sides differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnequalSides {
    /// The equation, in words.
    pub equation: String,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

impl fmt::Display for UnequalSides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} against {}", self.equation, self.left, self.right)
    }
}

/// All books and the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// Frames in the process.
    pub frames: FramesReport,
    /// Frames at the kernel boundary; an empty object where no source crosses it.
    #[serde(serialize_with = "object_or_empty")]
    pub kernel: Option<KernelReport>,
    /// Connections and their bytes, where there are any sources of byte streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionsReport>,
    /// Messages.
    pub messages: MessagesReport,
    /// Events.
    pub events: EventsReport,
    /// Whether every equation holds, those of the streams included.
    pub balanced: bool,
    /// The equations that don't.
    pub imbalances: Vec<UnequalSides>,
}

fn object_or_empty<S: Serializer>(kernel: &Option<KernelReport>, serializer: S) -> Result<S::Ok, S::Error> {
    match kernel {
        Some(kernel) => kernel.serialize(serializer),
        None => Counts::default().serialize(serializer),
    }
}

/// Pairs names with their counters.
fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, counts: &[u64]) -> Counts {
    Counts(all.iter().zip(counts).map(|(reason, count)| (name(*reason), *count)).collect())
}

impl From<&FrameBook> for FramesReport {
    fn from(book: &FrameBook) -> FramesReport {
        FramesReport {
            received: book.received,
            datagrams: book.datagrams,
            decoded: book.decoded,
            rejected: named(FrameReject::ALL, FrameReject::name, &book.rejected),
        }
    }
}

impl From<&KernelBook> for KernelReport {
    fn from(book: &KernelBook) -> KernelReport {
        KernelReport {
            xdp_seen: book.xdp_seen,
            redirected: book.redirected,
            passed: Counts(book.passed.clone()),
            dropped: Counts(book.dropped.clone()),
            received: book.received,
            lost: Counts(book.lost.clone()),
            notes: Counts(book.notes.clone()),
        }
    }
}

impl From<&ConnectionBook> for ConnectionsReport {
    fn from(book: &ConnectionBook) -> ConnectionsReport {
        ConnectionsReport {
            opened: book.opened,
            closed: named(CloseReason::ALL, CloseReason::name, &book.closed),
            open: book.open,
            bytes_received: book.bytes_received,
            bytes_taken: book.bytes_taken,
            bytes_lost: named(CloseReason::ALL, CloseReason::name, &book.bytes_lost),
            bytes_held: book.bytes_held,
            bytes_sent: book.bytes_sent,
            blocks: book.blocks,
            blocked_ns: book.blocked_ns,
            starved: book.starved,
            datagrams_dropped: book.datagrams_dropped,
        }
    }
}

impl From<&MessageBook> for MessagesReport {
    fn from(book: &MessageBook) -> MessagesReport {
        MessagesReport {
            decoded: book.decoded,
            accepted: book.accepted,
            duplicate: book.duplicate,
            stale: book.stale,
            heartbeat: book.heartbeat,
            rejected: named(MessageReject::ALL, MessageReject::name, &book.rejected),
        }
    }
}

impl From<&EventBook> for EventsReport {
    fn from(book: &EventBook) -> EventsReport {
        EventsReport {
            accepted: book.accepted,
            delivered: book.delivered,
            deduplicated: book.deduplicated,
            dead_lettered: named(DeadReason::ALL, DeadReason::name, &book.dead_lettered),
            shed: named(ShedReason::ALL, ShedReason::name, &book.shed),
            in_flight: book.in_flight,
        }
    }
}

impl LedgerReport {
    /// The books of `ledger`, judged together with the equations of `streams`.
    pub fn new(ledger: &Ledger, streams: &[StreamReport]) -> LedgerReport {
        let own = ledger.imbalances().into_iter().map(|i| UnequalSides {
            equation: i.equation.to_owned(),
            left: i.left,
            right: i.right,
        });
        let imbalances: Vec<UnequalSides> =
            own.chain(streams.iter().flat_map(StreamReport::imbalances)).collect();
        LedgerReport {
            frames: (&ledger.frames).into(),
            kernel: ledger.kernel.as_ref().map(KernelReport::from),
            connections: ledger.connections.as_ref().map(ConnectionsReport::from),
            messages: (&ledger.messages).into(),
            events: (&ledger.events).into(),
            balanced: imbalances.is_empty(),
            imbalances,
        }
    }
}

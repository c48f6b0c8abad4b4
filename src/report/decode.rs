//! What `sluice decode` found: streams as in report.json, the frames and messages books, and the capture.

use super::books::{FramesReport, MessagesReport, UnequalSides};
use super::exit::Exit;
use super::streams::{NamedStream, StreamReport};
use crate::ledger::{FrameBook, MessageBook};
use crate::source::capture::CaptureStats;
use serde::Serialize;

/// One capture file, as far as it was read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CaptureFile {
    /// Its path, as it was given.
    pub file: String,
    /// From its first record to its last, by their timestamps.
    pub seconds: f64,
    /// What was found in it.
    pub stats: CaptureStats,
}

/// TCP among the frames: counted, not decoded.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct TcpFacts {
    /// Segments.
    pub packets: u64,
    /// Conversations: pairs of endpoints, both directions together.
    pub flows: u64,
}

/// What was read, before it was decoded.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CaptureFacts {
    /// The files, in the order they were read.
    pub files: Vec<CaptureFile>,
    /// TCP in them.
    pub tcp: TcpFacts,
}

/// The result of a decode. Written in the order of its fields; `streams` is the contract.
#[derive(Clone, Debug, Serialize)]
pub struct DecodeReport {
    /// The streams.
    pub streams: Vec<StreamReport>,
    /// The frames book.
    pub frames: FramesReport,
    /// The messages book.
    pub messages: MessagesReport,
    /// Facts about the capture files.
    pub capture: CaptureFacts,
    /// Whether every equation holds.
    pub balanced: bool,
    /// The equations that don't.
    pub imbalances: Vec<UnequalSides>,
}

impl DecodeReport {
    /// The report of these books.
    pub fn new(
        streams: Vec<NamedStream>,
        frames: &FrameBook,
        messages: &MessageBook,
        capture: CaptureFacts,
    ) -> DecodeReport {
        let streams: Vec<StreamReport> = streams.into_iter().map(StreamReport::from).collect();
        let frames = FramesReport::from(frames);
        let messages = MessagesReport::from(messages);
        let fates = messages.accepted + messages.duplicate + messages.stale + messages.heartbeat;
        let equations = [
            (
                "frames received = decoded + rejected",
                frames.received,
                frames.decoded + frames.rejected.total(),
            ),
            (
                "messages decoded = accepted + duplicate + stale + heartbeat + rejected",
                messages.decoded,
                fates + messages.rejected.total(),
            ),
        ];
        let own = equations.into_iter().filter(|(_, left, right)| left != right);
        let own =
            own.map(|(equation, left, right)| UnequalSides { equation: equation.to_owned(), left, right });
        let imbalances: Vec<UnequalSides> =
            own.chain(streams.iter().flat_map(StreamReport::imbalances)).collect();
        DecodeReport { streams, frames, messages, capture, balanced: imbalances.is_empty(), imbalances }
    }

    /// Done, or unbalanced.
    pub fn exit_code(&self) -> Exit {
        Exit::from_balance(self.balanced)
    }
}

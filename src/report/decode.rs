//! What `sluice decode` found: streams as in report.json, the frames and messages books, and the capture.

use super::books::{FramesReport, MessagesReport, UnequalSides};
use super::exit::Exit;
use super::streams::{NamedStream, StreamReport};
use crate::ledger::{FrameBook, MessageBook};
use serde::Serialize;
use serde_json::Value;

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
    pub capture: Value,
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
        capture: Value,
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

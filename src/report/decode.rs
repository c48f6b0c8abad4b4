//! What `sluice decode` found: streams as in report.json, the frames and messages books, and the capture.

use super::books::{ConnectionsReport, FramesReport, LedgerReport, MessagesReport, UnequalSides};
use super::control::{ControlReport, GapReport, gaps};
use super::exit::Exit;
use super::streams::{NamedStream, StreamReport};
use crate::feed::{FlowsReport, NoticeLog};
use crate::ledger::Ledger;
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

/// TCP among the frames.
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
    /// The connections' book, where there were TCP flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionsReport>,
    /// The TCP flows, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<FlowsReport>,
    /// The messages book.
    pub messages: MessagesReport,
    /// Facts about the capture files.
    pub capture: CaptureFacts,
    /// What happened to streams and lines, by topic.
    pub control: ControlReport,
    /// Every gap, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Vec<GapReport>>,
    /// Whether every equation holds.
    pub balanced: bool,
    /// The equations that don't.
    pub imbalances: Vec<UnequalSides>,
}

impl DecodeReport {
    /// The report of these books.
    pub fn new(
        streams: Vec<NamedStream>,
        ledger: &Ledger,
        flows: Option<FlowsReport>,
        capture: CaptureFacts,
        notices: NoticeLog,
        explain_gaps: bool,
    ) -> DecodeReport {
        let streams: Vec<StreamReport> = streams.into_iter().map(StreamReport::from).collect();
        let LedgerReport { frames, connections, messages, balanced, imbalances, .. } =
            LedgerReport::new(ledger, &streams);
        let control = ControlReport::new([&notices]);
        let gaps = explain_gaps.then(|| {
            let placed: Vec<_> = notices.kept.into_iter().map(|n| (n.stream as usize, n)).collect();
            gaps(&placed, &streams)
        });
        DecodeReport {
            streams,
            frames,
            connections,
            flows,
            messages,
            control,
            gaps,
            capture,
            balanced,
            imbalances,
        }
    }

    /// Done, or unbalanced.
    pub fn exit_code(&self) -> Exit {
        Exit::from_balance(self.balanced)
    }
}

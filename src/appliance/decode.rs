//! `sluice decode`: captures through decoders and feed state, with nothing behind them.

use super::{ApplianceError, closing::StreamOutcome};
use crate::event::{LinkType, Marks, MessageReject};
use crate::feed::{Accepted, FlowsReport, HeldCopies, Intake, IntakeSettings, Notice, NoticeLog, Outlet};
use crate::ledger::{EventBook, Ledger};
use crate::source::capture::{CaptureReader, CaptureStats};
use crate::wire::{self, Message};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a decode found.
#[derive(Debug)]
pub struct DecodeOutcome {
    /// Frames, connections, flows and messages; every accepted message counts as delivered to the count.
    pub ledger: Ledger,
    /// The streams.
    pub streams: Vec<StreamOutcome>,
    /// The captures, file by file.
    pub captures: Vec<(PathBuf, CaptureStats)>,
    /// TCP segments among the frames.
    pub tcp_packets: u64,
    /// Conversations among them: pairs of endpoints, both directions together.
    pub tcp_flows: u64,
    /// What is told of the flows, where there were any.
    pub flows: Option<FlowsReport>,
    /// What happened to streams and lines.
    pub notices: NoticeLog,
}

/// Is told every new message.
pub type MessageListing<'a> = &'a mut dyn FnMut(&Message<'_>, &Accepted);

struct Count<'a> {
    events: EventBook,
    listing: Option<MessageListing<'a>>,
    held: HeldCopies,
    notices: NoticeLog,
}

impl Outlet for Count<'_> {
    #[inline]
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        self.events.accepted += 1;
        self.events.delivered += 1;
        if let Some(listing) = &mut self.listing {
            listing(message, accepted);
        }
        Ok(())
    }

    fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        let held = self.held.hold(message, accepted)?;
        self.events.accepted += 1;
        Ok(held)
    }

    fn release(&mut self, held: u32, marks: Marks) {
        self.events.delivered += 1;
        let listing = &mut self.listing;
        self.held.release(held, |message, accepted| {
            if let Some(listing) = listing {
                let marks = marks.and(accepted.marks);
                listing(message, &Accepted { marks, ..*accepted });
            }
        });
    }

    fn notice(&mut self, notice: &Notice) {
        self.notices.take(*notice);
    }
}

#[derive(Default)]
struct Conversations {
    packets: u64,
    flows: BTreeSet<[crate::event::Destination; 2]>,
}

impl Conversations {
    fn note(&mut self, frame: &[u8], link: LinkType) {
        if let Some((source, destination)) = wire::link::tcp_flow(frame, link) {
            self.packets += 1;
            self.flows.insert([source.min(destination), source.max(destination)]);
        }
    }
}

/// Decodes captures one after the other, as one input. `progress` is told the bytes read so far, now and then.
///
/// # Errors
/// A capture can't be opened or read. Damage inside one ends it and is counted instead.
pub fn decode_captures(
    files: &[PathBuf],
    settings: &IntakeSettings,
    listing: Option<MessageListing<'_>>,
    progress: &mut dyn FnMut(&Path, u64),
) -> Result<DecodeOutcome, ApplianceError> {
    let mut intake = Intake::allocate(settings);
    let mut count = Count {
        events: EventBook::default(),
        listing,
        held: HeldCopies::default(),
        notices: NoticeLog::default(),
    };
    let mut conversations = Conversations::default();
    let mut captures = Vec::new();
    for file in files {
        let mut reader = CaptureReader::open(file)?;
        let mut records = 0u64;
        while let Some(record) = reader.next_record()? {
            let tcp_frames = intake.tcp_frames();
            let clock = crate::event::ClockKind::Capture;
            intake.take(record.bytes, record.link, record.time_ns, clock, &mut count);
            if intake.tcp_frames() != tcp_frames {
                conversations.note(record.bytes, record.link);
            }
            records += 1;
            if records.is_multiple_of(4_096) {
                progress(file, reader.position());
            }
        }
        captures.push((file.clone(), reader.stats().clone()));
    }
    intake.finish_flows(&mut count);
    intake.finish_gaps(&mut count);
    let (connections, flows) = intake.flow_books().unzip();
    let streams = intake.settle().into_iter().enumerate();
    let streams = streams.map(|(index, stream)| StreamOutcome::of_decode(index, stream)).collect();
    let mut ledger = Ledger {
        frames: intake.frames.clone(),
        connections,
        flows: flows.as_ref().map(|flows| flows.book.clone()),
        messages: intake.messages.clone(),
        events: count.events,
        ..Ledger::default()
    };
    // The count stands where queues and processors would.
    ledger.queues[0].pushed = ledger.events.delivered;
    ledger.queues[0].popped = ledger.events.delivered;
    Ok(DecodeOutcome {
        ledger,
        streams,
        captures,
        tcp_packets: conversations.packets,
        flows,
        notices: count.notices,
        tcp_flows: conversations.flows.len() as u64,
    })
}

//! An intake with many feeds, fed with real frames, and what it delivered of each.
//!
//! Invariant: feed n's first packet comes before feed n + 1's, so that feed n is stream n of the table.

use etherparse::PacketBuilder;
use sluice::event::{ClockKind, Destination, LinkType, Marks, MessageReject, Protocol};
use sluice::feed::{
    Accepted, Delivery, FeedLine, FeedPolicy, HeldCopies, Intake, IntakeSettings, Outlet, StreamSnapshot,
};
use sluice::ledger::StreamBook;
use sluice::wire::Message;

/// When new messages are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// At once.
    AsArrived,
    /// Behind gaps that are closed, or given up when the window has passed.
    InOrder,
}

/// All policies: what is promised of the books and of what is delivered holds for each.
pub(crate) fn policies() -> Vec<Policy> {
    vec![Policy::AsArrived, Policy::InOrder]
}

impl Policy {
    /// Whether messages of an epoch are delivered in the order of their numbers.
    pub(crate) fn keeps_order(self) -> bool {
        self == Policy::InOrder
    }
}

/// Settings of an intake with `feeds` feeds of `lines` lines each: the one place that knows how a policy is configured.
fn settings(policy: Policy, protocol: Protocol, feeds: u32, lines: u8) -> IntakeSettings {
    let patient = FeedPolicy { reorder_ns: u64::MAX / 4, reorder_packets: u64::MAX, ..FeedPolicy::default() };
    let rules = match policy {
        Policy::AsArrived => FeedPolicy::default(),
        Policy::InOrder => FeedPolicy { delivery: Delivery::InOrder, ..patient },
    };
    let line_of = |feed: u32, line: u8| FeedLine {
        feed,
        feed_name: format!("feed {feed}"),
        line_name: char::from(b'A' + line).to_string(),
        line,
        destination: Destination::v4(group(feed, line), PORT),
        source: None,
        protocol,
    };
    IntakeSettings {
        lines: (0..feeds).flat_map(|feed| (0..lines).map(move |line| line_of(feed, line))).collect(),
        policies: vec![rules],
        admit_unknown: false,
        protocol: None,
        streams_max: feeds as usize,
        endpoints_max: 0,
        tcp_flows: false,
    }
}

const PORT: u16 = 26_477;

fn group(feed: u32, line: u8) -> [u8; 4] {
    [233, 1 + line, (feed / 256) as u8, (feed % 256) as u8]
}

/// A packet that a line brings.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) time_ns: u64,
    pub(crate) line: u8,
    pub(crate) payload: Vec<u8>,
}

/// A message that was handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Sink {
    streams: Vec<Vec<Delivered>>,
    held: HeldCopies,
}

impl Outlet for Sink {
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        let Accepted { epoch, stream, .. } = *accepted;
        let delivered = Delivered { epoch, sequence: message.sequence, body: message.body.to_vec() };
        self.streams[stream as usize].push(delivered);
        Ok(())
    }

    fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        self.held.hold(message, accepted)
    }

    fn release(&mut self, held: u32, marks: Marks) {
        assert!(marks.has(Marks::HELD));
        let streams = &mut self.streams;
        self.held.release(held, |message, accepted| {
            let Accepted { epoch, stream, .. } = *accepted;
            let delivered = Delivered { epoch, sequence: message.sequence, body: message.body.to_vec() };
            streams[stream as usize].push(delivered);
        });
    }
}

/// What became of one feed.
pub(crate) struct Outcome {
    /// In the order in which it was handed on.
    pub(crate) delivered: Vec<Delivered>,
    pub(crate) book: StreamBook,
}

/// The feeds of one intake.
pub(crate) struct Feeds {
    intake: Intake,
    sink: Sink,
    used: u32,
}

impl Feeds {
    pub(crate) fn new(policy: Policy, protocol: Protocol, feeds: u32, lines: u8) -> Feeds {
        let intake = Intake::allocate(&settings(policy, protocol, feeds, lines));
        Feeds { intake, sink: Sink { streams: vec![Vec::new(); feeds as usize], ..Sink::default() }, used: 0 }
    }

    /// The shard's clock says `now`.
    pub(crate) fn tick(&mut self, now: u64) {
        self.intake.tick(now, &mut self.sink);
    }

    /// Takes all packets of the next feed, in order of time; packets of the same time in their order here.
    pub(crate) fn take(&mut self, arrivals: &mut [Arrival]) {
        arrivals.sort_by_key(|arrival| arrival.time_ns);
        for arrival in arrivals.iter() {
            let frame = frame(self.used, arrival);
            let (link, clock) = (LinkType::Ethernet, ClockKind::Capture);
            self.intake.take(&frame, link, arrival.time_ns, clock, &mut self.sink);
        }
        // Nothing more comes of this feed, and its times say nothing about the next one's.
        self.intake.finish_gaps(&mut self.sink);
        self.used += 1;
    }

    /// Settles the books, which must balance, and tells what became of each feed.
    pub(crate) fn finish(mut self) -> Vec<Outcome> {
        self.intake.finish_gaps(&mut self.sink);
        assert!(self.sink.held.is_empty() && self.intake.open_gaps() == 0);
        let snapshots = self.intake.settle();
        let frames = &self.intake.frames;
        assert_eq!(frames.received, frames.decoded, "every frame is understood");
        let messages = &self.intake.messages;
        let fates = messages.accepted + messages.duplicate + messages.stale + messages.heartbeat;
        assert_eq!((messages.decoded, messages.rejected.iter().sum()), (fates, 0_u64));
        assert_eq!(snapshots.len(), self.used as usize);
        let outcome = |(snapshot, delivered): (StreamSnapshot, Vec<Delivered>)| {
            assert!(snapshot.book.balanced(), "{:?}", snapshot.book);
            assert_eq!(snapshot.book.accepted, delivered.len() as u64);
            Outcome { delivered, book: snapshot.book }
        };
        snapshots.into_iter().zip(self.sink.streams).map(outcome).collect()
    }
}

/// The frame that a NIC would deliver.
fn frame(feed: u32, arrival: &Arrival) -> Vec<u8> {
    let [a, b, c, d] = group(feed, arrival.line);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, b & 0x7f, c, d])
        .ipv4([192, 0, 2, 1], [a, b, c, d], 16)
        .udp(40_000, PORT);
    let mut frame = Vec::with_capacity(builder.size(arrival.payload.len()));
    builder.write(&mut frame, &arrival.payload).expect("memory can be written");
    frame
}

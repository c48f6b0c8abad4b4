//! Events in memory, as a shard makes them of a capture, or of native frames: what rules and windows are measured on.
//!
//! Invariant: a second pass comes later than the first one by the time that all events span, so that time never goes back.

use crate::captures;
use sluice::event::{ClockKind, EventHeader, MessageReject, Nanos, Protocol, ShardId};
use sluice::feed::{Accepted, Intake, IntakeSettings, Outlet};
use sluice::process::{ClassTable, Subject};
use sluice::replay::synthetic::{iex_session, write_pcap};
use sluice::source::capture::CaptureReader;
use sluice::wire::{self, Instrument, Message};
use std::collections::HashMap;
use std::path::Path;

/// Messages of a made-up capture.
const MESSAGES_MADE_UP: usize = 50_000;

/// Events one behind the other.
#[derive(Clone)]
pub(crate) struct Events {
    headers: Vec<EventHeader>,
    // Where each one's payload begins and ends.
    places: Vec<(usize, usize)>,
    bytes: Vec<u8>,
    feed: u32,
    // The next event to be shown.
    next: usize,
    step_ns: Nanos,
}

struct Recorder {
    classes: ClassTable,
    events: Events,
}

impl Outlet for Recorder {
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        let header = EventHeader {
            sequence: message.sequence,
            wire_ns: accepted.wire_ns,
            receive_ns: accepted.wire_ns,
            source_ns: message.source_ns,
            stream: accepted.stream,
            payload_bytes: message.body.len() as u32,
            epoch: accepted.epoch,
            kind: message.kind,
            protocol: accepted.protocol as u8,
            class: self.classes.class_of(accepted.protocol, message.kind) as u8,
            line: accepted.line,
            clock: accepted.clock as u8,
            marks: accepted.marks.0,
            ..EventHeader::default()
        };
        self.events.push(header, message.body);
        Ok(())
    }
}

impl Events {
    fn none(feed: u32) -> Events {
        Events {
            headers: Vec::new(),
            places: Vec::new(),
            bytes: Vec::new(),
            feed,
            next: 0,
            step_ns: 1_000_000_000,
        }
    }

    /// The events of a capture, as those of one feed.
    pub(crate) fn of_capture(path: &Path, feed: u32) -> Events {
        let mut reader = CaptureReader::open(path).expect("the capture opens");
        let mut intake = Intake::allocate(&IntakeSettings::default());
        let mut recorder = Recorder { classes: ClassTable::default(), events: Events::none(feed) };
        while let Some(record) = reader.next_record().expect("the capture is whole") {
            intake.take(record.bytes, record.link, record.time_ns, ClockKind::Capture, &mut recorder);
        }
        intake.finish_gaps(&mut recorder);
        recorder.events.ready()
    }

    /// The IEX capture, or a made-up one, and its name.
    pub(crate) fn iex(feed: u32) -> (&'static str, Events) {
        match captures::real("iex-tops16.pcap.gz") {
            Some(path) => ("IEX", Events::of_capture(&path, feed)),
            None => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let path = folder.path().join("iex.pcap");
                write_pcap(&path, &iex_session(1, MESSAGES_MADE_UP).packets).expect("the folder is writable");
                ("IEX, made up", Events::of_capture(&path, feed))
            }
        }
    }

    /// The CME capture, where it is at hand.
    pub(crate) fn cme(feed: u32) -> Option<Events> {
        captures::real("cme-mdp3-ab.pcapng").map(|path| Events::of_capture(&path, feed))
    }

    /// Native frames of so many topics, each with a number as its payload, a microsecond apart.
    pub(crate) fn of_topics(topics: usize, count: usize) -> Events {
        let mut events = Events::none(0);
        for index in 0..count {
            let topic = format!("sensor.{:04}", index * 7_919 % topics);
            let mut body = vec![2];
            body.extend((topic.len() as u16).to_be_bytes());
            body.extend(topic.bytes());
            body.extend(format!("{}.{:02}", 100 + index * 31 % 50, index % 100).bytes());
            let at_ns = 1_700_000_000_000_000_000 + index as Nanos * 1_000;
            let header = EventHeader {
                sequence: index as u64 + 1,
                wire_ns: at_ns,
                source_ns: at_ns,
                payload_bytes: body.len() as u32,
                protocol: Protocol::Native as u8,
                kind: 2,
                clock: ClockKind::Capture as u8,
                ..EventHeader::default()
            };
            events.push(header, &body);
        }
        events.ready()
    }

    fn push(&mut self, header: EventHeader, payload: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.headers.push(header);
        self.places.push((begin, self.bytes.len()));
    }

    /// Works out what a pass takes; a second behind it the next one begins.
    fn ready(mut self) -> Events {
        let time = |header: &EventHeader| header.wire_ns.max(header.source_ns);
        let times = || self.headers.iter().map(time);
        self.step_ns = times().max().unwrap_or(0) - times().min().unwrap_or(0) + 1_000_000_000;
        self
    }

    /// Those of one message type alone.
    pub(crate) fn of_kind(&self, kind: u8) -> Events {
        let mut events = Events { step_ns: self.step_ns, ..Events::none(self.feed) };
        let all = self.headers.iter().zip(&self.places);
        for (header, place) in all.filter(|(header, _)| header.kind == u16::from(kind)) {
            events.push(*header, &self.bytes[place.0..place.1]);
        }
        events
    }

    pub(crate) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Makes sure that the next `count` events are there in a row: near the end it begins again, later.
    pub(crate) fn prepare(&mut self, count: usize) {
        if self.next + count <= self.headers.len() {
            return;
        }
        self.next = 0;
        for header in &mut self.headers {
            header.wire_ns += self.step_ns;
            header.receive_ns += self.step_ns;
            header.source_ns += if header.source_ns > 0 { self.step_ns } else { 0 };
        }
    }

    /// Shows the next `count` events, which were prepared.
    #[inline]
    pub(crate) fn show(&mut self, count: usize, mut take: impl FnMut(&Subject<'_>)) {
        let range = self.next..self.next + count;
        for (header, place) in self.headers[range.clone()].iter().zip(&self.places[range.clone()]) {
            let payload = &self.bytes[place.0..place.1];
            take(&Subject { shard: ShardId(0), feed: self.feed, header, payload });
        }
        self.next = range.end;
    }

    /// Instruments as rules name them (numbers without, symbols with quotes), those that come most often first.
    pub(crate) fn instruments(&mut self) -> Vec<String> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        self.prepare(self.len());
        self.show(self.len(), |subject| {
            wire::entries(subject.protocol(), subject.header.kind, subject.payload, &mut |entry| {
                let name = match entry.instrument {
                    Instrument::Number(number) => number.to_string(),
                    Instrument::Symbol(_) => format!("'{}'", entry.instrument),
                    Instrument::Implied(_) => return,
                };
                *counts.entry(name).or_default() += 1;
            });
        });
        self.next = 0;
        let mut found: Vec<(String, u64)> = counts.into_iter().collect();
        found.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        found.into_iter().map(|(name, _)| name).collect()
    }
}

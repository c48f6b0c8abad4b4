//! Events made before the start, shared by all producers and sent round and round, so that making them costs the
//! sending nothing.
//!
//! Invariant: what an event says follows from its producer and number alone, so that an event that is sent again is
//! the same to the last byte.

use super::shape::Shape;
use super::{FrameVersion, LoadPlan};
use crate::event::{Nanos, Priority};
use crate::replay::synthetic::Random;
use crate::wire::native_v2::{EventFrame, Topic, encode_event};
use std::ops::Range;

/// Most events in the bank.
const EVENTS_MAX: usize = 4_096;

/// Bytes of frames that are wanted in it: an L2 cache holds them beside all else.
const BYTES_WANTED: usize = 512 << 10;

/// Least events, however long they are.
const EVENTS_MIN: usize = 64;

/// Distance of two producers' first events in the bank, so that they do not say the same at the same time.
const PRODUCER_STRIDE: u64 = 61;

#[derive(Debug)]
struct Entry {
    shape: usize,
    topic: Range<usize>,
    payload: Range<usize>,
    frame_v1: Range<usize>,
}

/// The events.
#[derive(Debug)]
pub(super) struct Bank {
    version: FrameVersion,
    shapes: Vec<Shape>,
    entries: Vec<Entry>,
    /// Version 1 frames, of which version 2 frames take topic and payload.
    bytes: Vec<u8>,
}

/// What a version 2 frame says beside its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// The producer's id.
    pub(super) producer: u64,
    /// The event's number.
    pub(super) sequence: u64,
    /// When it is due, ns since the Unix epoch.
    pub(super) time_ns: Nanos,
}

impl Bank {
    /// Makes the events of a plan.
    pub(super) fn new(plan: &LoadPlan) -> Bank {
        let mut random = Random::new(plan.seed, 0);
        let shapes = Shape::of(&plan.content);
        let weights: Vec<(usize, u64)> = shapes.iter().map(|shape| shape.share).enumerate().collect();
        let mut bank = Bank { version: plan.version, shapes, entries: Vec::new(), bytes: Vec::new() };
        while bank.entries.len() < EVENTS_MIN
            || (bank.entries.len() < EVENTS_MAX && bank.bytes.len() < BYTES_WANTED)
        {
            bank.add(random.weighted(&weights), &mut random);
        }
        bank
    }

    fn add(&mut self, shape: usize, random: &mut Random) {
        let Shape { topic, priority, .. } = &self.shapes[shape];
        let payload = self.shapes[shape].payload(random);
        let start = self.bytes.len();
        let body_bytes = (3 + topic.len() + payload.len()) as u32;
        self.bytes.extend_from_slice(&body_bytes.to_be_bytes());
        self.bytes.push(*priority as u8);
        self.bytes.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        let topic_start = self.bytes.len();
        self.bytes.extend_from_slice(topic.as_bytes());
        let payload_start = self.bytes.len();
        self.bytes.extend_from_slice(&payload);
        let end = self.bytes.len();
        self.entries.push(Entry {
            shape,
            topic: topic_start..payload_start,
            payload: payload_start..end,
            frame_v1: start..end,
        });
    }

    fn index(&self, identity: &Identity) -> usize {
        let place = identity.sequence.wrapping_add(identity.producer.wrapping_mul(PRODUCER_STRIDE));
        (place % self.entries.len() as u64) as usize
    }

    /// Appends an event's frame.
    pub(super) fn append(&self, identity: &Identity, into: &mut Vec<u8>) {
        let entry = &self.entries[self.index(identity)];
        if self.version == FrameVersion::V1 {
            into.extend_from_slice(&self.bytes[entry.frame_v1.clone()]);
            return;
        }
        let shape = &self.shapes[entry.shape];
        let event = EventFrame {
            producer: identity.producer,
            sequence: identity.sequence,
            time_ns: identity.time_ns,
            kind: shape.kind,
            priority: shape.priority,
            topic: Topic::Name(&self.bytes[entry.topic.clone()]),
            payload: &self.bytes[entry.payload.clone()],
        };
        encode_event(&event, into);
    }

    /// How many of a producer's events with these numbers each topic has: topic, priority, count.
    pub(super) fn by_topic(&self, producer: u64, sequences: Range<u64>) -> Vec<(String, Priority, u64)> {
        let mut counts = vec![0; self.shapes.len()];
        let events = sequences.end.saturating_sub(sequences.start);
        let (rounds, rest) = (events / self.entries.len() as u64, events % self.entries.len() as u64);
        for entry in &self.entries {
            counts[entry.shape] += rounds;
        }
        for sequence in sequences.start..sequences.start + rest {
            let entry = &self.entries[self.index(&Identity { producer, sequence, time_ns: 0 })];
            counts[entry.shape] += 1;
        }
        let named = |(shape, count): (&Shape, u64)| (shape.topic.clone(), shape.priority, count);
        self.shapes.iter().zip(counts).map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::plan;
    use crate::load::{Content, PAYLOAD_BYTES_MAX};
    use crate::wire::native;
    use crate::wire::native_v2::{Frame, parse};
    use std::collections::BTreeMap;

    #[test]
    fn both_versions_say_the_same_of_an_event_however_often_it_is_asked_for() {
        let mix = LoadPlan { content: Content::Mix, seed: 5, ..plan("tcp:127.0.0.1:1") };
        let v1 = Bank::new(&mix);
        let v2 = Bank::new(&LoadPlan { version: FrameVersion::V2, ..mix });
        let mut counted = BTreeMap::new();
        for sequence in 10..6_010 {
            let identity = Identity { producer: 3, sequence, time_ns: sequence * 10 };
            let (mut old, mut new, mut again) = (Vec::new(), Vec::new(), Vec::new());
            v1.append(&identity, &mut old);
            v2.append(&identity, &mut new);
            v2.append(&identity, &mut again);
            assert_eq!(new, again);
            let body = native::parse_body(&old[4..]).expect("a good frame");
            let Ok(Frame::Event(event)) = parse(&new) else { panic!("not an event") };
            assert_eq!((event.producer, event.sequence, event.time_ns), (3, sequence, sequence * 10));
            let topic = Topic::Name(body.topic);
            assert_eq!((event.priority, event.topic, event.payload), (body.priority, topic, body.payload));
            *counted.entry(String::from_utf8_lossy(body.topic).into_owned()).or_insert(0) += 1;
        }
        let told = v1.by_topic(3, 10..6_010).into_iter().map(|(topic, _, count)| (topic, count)).collect();
        assert_eq!(counted, told);
        assert_eq!(counted.len(), 7);
        let trades = counted["market.trade"];
        assert!((1_000..1_400).contains(&trades), "a fifth of 6,000 is about {trades}");
    }

    #[test]
    fn the_bank_is_bounded() {
        let content = |payload_bytes| Content::Plain {
            topic: "load".to_owned(),
            priority: Priority::Medium,
            payload_bytes,
        };
        let small = Bank::new(&LoadPlan { content: content(0), ..plan("tcp:127.0.0.1:1") });
        assert_eq!(small.entries.len(), EVENTS_MAX);
        let large = Bank::new(&LoadPlan { content: content(PAYLOAD_BYTES_MAX), ..plan("tcp:127.0.0.1:1") });
        assert_eq!(large.entries.len(), EVENTS_MIN);
    }
}

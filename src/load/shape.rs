//! What the simulated sources say: seven of them, as the ancestors have, each with its own topic, priority, payload
//! and share.
//!
//! Invariant: payloads are printable, and follow from the generator's state alone.

use super::Content;
use crate::event::Priority;
use crate::replay::synthetic::Random;

/// One kind of event.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// What it is about.
    pub(super) topic: String,
    /// How urgent it is.
    pub(super) priority: Priority,
    /// The number that version 2 frames carry as their kind.
    pub(super) kind: u16,
    /// How often it comes, among the shares of all.
    pub(super) share: u64,
    payload: Payload,
}

#[derive(Clone, Copy, Debug)]
enum Payload {
    Filler(usize),
    Made(fn(&mut Random) -> String),
}

impl Shape {
    /// The shapes of a content.
    pub(super) fn of(content: &Content) -> Vec<Shape> {
        match content {
            Content::Plain { topic, priority, payload_bytes } => vec![Shape {
                topic: topic.clone(),
                priority: *priority,
                kind: 0,
                share: 1,
                payload: Payload::Filler(*payload_bytes),
            }],
            Content::Mix => MIX
                .into_iter()
                .zip(1..)
                .map(|((topic, priority, share, made), kind)| Shape {
                    topic: topic.to_owned(),
                    priority,
                    kind,
                    share,
                    payload: Payload::Made(made),
                })
                .collect(),
        }
    }

    /// A payload.
    pub(super) fn payload(&self, random: &mut Random) -> Vec<u8> {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
        match self.payload {
            Payload::Filler(bytes) => (0..bytes).map(|_| LETTERS[random.index(LETTERS.len())]).collect(),
            Payload::Made(made) => made(random).into_bytes(),
        }
    }
}

/// Topic, priority, share in percent, payload.
type Source = (&'static str, Priority, u64, fn(&mut Random) -> String);

const MIX: [Source; 7] = [
    ("host.cpu", Priority::Low, 15, cpu),
    ("host.memory", Priority::Low, 10, memory),
    ("host.network", Priority::Low, 10, network),
    ("host.disk", Priority::Batch, 10, disk),
    ("market.trade", Priority::Critical, 20, trade),
    ("market.order", Priority::Medium, 25, order),
    ("sensor.reading", Priority::High, 10, sensor),
];

fn host(random: &mut Random) -> String {
    format!("host{:02}", random.within(1..33))
}

fn symbol(random: &mut Random) -> &'static str {
    const SYMBOLS: [&str; 8] = ["AAPL", "MSFT", "NVDA", "AMZN", "SPY", "QQQ", "TSLA", "IBM"];
    SYMBOLS[random.index(SYMBOLS.len())]
}

fn cpu(random: &mut Random) -> String {
    let (user, system) = (random.within(0..800), random.within(0..200));
    let idle = 1_000 - user - system;
    let tenths = |n: u64| format!("{}.{}", n / 10, n % 10);
    format!("{} user={} system={} idle={}", host(random), tenths(user), tenths(system), tenths(idle))
}

fn memory(random: &mut Random) -> String {
    let total = 16_u64 << random.within(0..4);
    let used = random.within(1..total * 1_024);
    format!("{} total_mib={} used_mib={used} swap_mib={}", host(random), total * 1_024, random.within(0..512))
}

fn network(random: &mut Random) -> String {
    let (rx, tx) = (random.within(0..10_000_000), random.within(0..10_000_000));
    format!(
        "{} eth{} rx_packets={rx} rx_bytes={} tx_packets={tx} tx_bytes={} dropped={}",
        host(random),
        random.within(0..4),
        rx * random.within(64..1_500),
        tx * random.within(64..1_500),
        random.within(0..3)
    )
}

fn disk(random: &mut Random) -> String {
    format!(
        "{} nvme{}n1 reads={} writes={} await_us={}",
        host(random),
        random.within(0..4),
        random.within(0..50_000),
        random.within(0..50_000),
        random.within(20..2_000)
    )
}

fn price(random: &mut Random) -> String {
    format!("{}.{:02}", random.within(10..900), random.within(0..100))
}

fn trade(random: &mut Random) -> String {
    let shares = random.within(1..50) * 100;
    format!("{} px={} qty={shares} id={}", symbol(random), price(random), random.within(1..1_000_000_000))
}

fn order(random: &mut Random) -> String {
    let action = random.weighted(&[("add", 6), ("cancel", 3), ("replace", 1)]);
    let side = random.weighted(&[("buy", 1), ("sell", 1)]);
    let (id, shares) = (random.within(1..1_000_000_000), random.within(1..50) * 100);
    format!(
        "{{\"action\":\"{action}\",\"id\":{id},\"symbol\":\"{}\",\"side\":\"{side}\",\"price\":{},\"qty\":{shares}}}",
        symbol(random),
        price(random)
    )
}

fn sensor(random: &mut Random) -> String {
    format!(
        "s{:04} t={}.{} rh={}",
        random.within(0..10_000),
        random.within(15..45),
        random.within(0..10),
        random.within(20..95)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn seven_sources_differ_in_topic_and_kind_and_cover_all_priorities() {
        let shapes = Shape::of(&Content::Mix);
        let topics: BTreeSet<_> = shapes.iter().map(|shape| shape.topic.clone()).collect();
        let priorities: BTreeSet<_> = shapes.iter().map(|shape| shape.priority as u8).collect();
        assert_eq!((topics.len(), priorities.len()), (7, 5));
        assert_eq!(shapes.iter().map(|shape| shape.share).sum::<u64>(), 100);
        assert!(shapes.iter().zip(1..).all(|(shape, kind)| shape.kind == kind));
    }

    #[test]
    fn payloads_are_printable_and_repeat_with_the_seed() {
        let plain = Content::Plain { topic: "t".to_owned(), priority: Priority::Low, payload_bytes: 300 };
        for shape in Shape::of(&Content::Mix).into_iter().chain(Shape::of(&plain)) {
            let (mut random, mut again) = (Random::new(3, 0), Random::new(3, 0));
            for _ in 0..200 {
                let payload = shape.payload(&mut random);
                assert!(
                    payload.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '),
                    "{}",
                    shape.topic
                );
                assert!((15..=300).contains(&payload.len()));
                assert_eq!(payload, shape.payload(&mut again));
            }
        }
    }
}

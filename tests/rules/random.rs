//! Random rules on random events, against the reference.

use crate::reference::{Event, Fired, Reference};
use proptest::prelude::*;
use sluice::config::RuleSet;
use sluice::event::{EventHeader, Protocol};
use sluice::process::rules::{Engine, Places, Program};

const PLACES: [(&str, bool); 4] =
    [("iex", false), ("made-up", false), ("in-frames", true), ("in-engine", true)];

fn places() -> Places {
    Places::new(PLACES.map(|(name, _)| name.to_owned()).into(), 2)
}

const TOPICS: [&str; 4] = ["host.cpu", "host.cpu.1", "orders", "7"];
const SYMBOLS: [&[u8; 8]; 3] = [b"AAPL    ", b"ZIEXT   ", b"BRK.A   "];

fn native(priority: u8, topic: usize, value: i32, word: bool) -> (u16, Vec<u8>) {
    let topic = TOPICS[topic];
    let mut body = vec![priority, 0, topic.len() as u8];
    body.extend(topic.bytes());
    let text = if word { "up" } else { "down" };
    body.extend(format!("load={}.{} state={text} load=9", value / 10, (value % 10).abs()).bytes());
    (priority.into(), body)
}

fn trade(symbol: usize, size: u32, price: i64) -> (u16, Vec<u8>) {
    let mut body = vec![b'T', 0];
    body.extend(7u64.to_le_bytes());
    body.extend(SYMBOLS[symbol]);
    body.extend(size.to_le_bytes());
    body.extend(price.to_le_bytes());
    body.extend(99u64.to_le_bytes());
    (u16::from(b'T'), body)
}

fn quote(symbol: usize, sizes: (u32, u32), price: i64) -> (u16, Vec<u8>) {
    let mut body = vec![b'Q', 0];
    body.extend(7u64.to_le_bytes());
    body.extend(SYMBOLS[symbol]);
    body.extend(sizes.0.to_le_bytes());
    body.extend(price.to_le_bytes());
    body.extend((price + 100).to_le_bytes());
    body.extend(sizes.1.to_le_bytes());
    (u16::from(b'Q'), body)
}

fn engine20(kind: u32, value: i32) -> (u16, Vec<u8>) {
    let mut body = kind.to_le_bytes().to_vec();
    body.extend((value as f32 / 8.0).to_le_bytes());
    body.extend(5i64.to_le_bytes());
    (kind as u16, body)
}

fn payload() -> impl Strategy<Value = (Protocol, u16, Vec<u8>)> {
    let small = -20i32..20;
    prop_oneof![
        (0u8..5, 0usize..4, small.clone(), any::<bool>())
            .prop_map(|(p, t, v, w)| (Protocol::Native, native(p, t, v, w))),
        (0usize..3, 0u32..4, 9_990i64..10_010).prop_map(|(s, n, p)| (Protocol::IexTp, trade(s, n, p))),
        (0usize..3, (0u32..4, 0u32..4), -2i64..3).prop_map(|(s, n, p)| (Protocol::IexTp, quote(s, n, p))),
        (0u32..7, small).prop_map(|(k, v)| (Protocol::Engine20, engine20(k, v))),
    ]
    .prop_map(|(protocol, (kind, body))| (protocol, kind, body))
}

/// Events whose times mostly go on, sometimes back, sometimes far.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let step = prop_oneof![8 => 0i64..900_000_000, 2 => -2_000_000_000i64..0, 1 => -200_000_000_000i64..200_000_000_000];
    let header = (0u32..6, 0u32..2, 0u8..3, 0u8..4, any::<bool>());
    prop::collection::vec((payload(), step, header), 1..120).prop_map(|list| {
        let mut time = 1_000_000_000_000i64;
        let mut events = Vec::new();
        for (((protocol, kind, payload), step, (feed, stream, class, clock, raised)), sequence) in
            list.into_iter().zip(0u64..)
        {
            time = (time + step).max(1);
            let header = EventHeader {
                sequence,
                wire_ns: time as u64,
                receive_ns: time as u64 + 50 * sequence,
                stream,
                payload_bytes: payload.len() as u32,
                kind,
                protocol: protocol as u8,
                class,
                clock,
                marks: if raised { 1 << 5 } else { 0 },
                ..EventHeader::default()
            };
            events.push(Event { feed, header, payload });
        }
        events
    })
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn maybe(strategy: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    prop_oneof![2 => Just(String::new()), 1 => strategy].boxed()
}

fn number_predicate() -> impl Strategy<Value = String> {
    let field = one_of(&[
        "sequence",
        "payload_bytes",
        "latency_ns",
        "value",
        "value.load",
        "value.none",
        "price",
        "size",
        "notional",
    ]);
    let measure = one_of(&["value", "value", "change", "change_abs", "change_bps", "change_bps_abs"]);
    let op = one_of(&["==", "!=", "<", "<=", ">", ">="]);
    let value = one_of(&["0", "1", "2", "-0.5", "1.25", "0.9995", "5", "60", "-3"]);
    (field, measure, op, value)
        .prop_map(|(f, m, o, v)| format!("{{ field = '{f}', measure = '{m}', op = '{o}', value = {v} }}"))
}

fn text_predicate() -> impl Strategy<Value = String> {
    let field = one_of(&["instrument", "topic", "payload", "value.state", "value.load"]);
    let op = one_of(&["==", "!=", "starts_with", "contains"]);
    let value = one_of(&["AAPL", "Z", "host.cpu", "up", "load=1", "7", "0.5", "."]);
    let words = one_of(&[
        "{ field = 'side', op = '==', value = 'bid' }",
        "{ field = 'side', op = '!=', value = 'buy' }",
        "{ field = 'action', op = '==', value = 'trade' }",
        "{ field = 'action', op = '!=', value = 'trade' }",
    ]);
    prop_oneof![
        2 => (field, op, value).prop_map(|(f, o, v)| format!("{{ field = '{f}', op = '{o}', value = '{v}' }}")),
        1 => words,
    ]
}

fn matching() -> impl Strategy<Value = String> {
    let parts = [
        maybe(one_of(&["feed = 'iex'", "feed = 'in-*'", "feed = '*'"])),
        maybe(one_of(&[
            "protocol = 'native'",
            "protocol = 'iex-tp'",
            "protocol = 'engine20'",
            "protocol = 'iex-tp', types = ['T']",
            "protocol = 'native', types = [0, 3]",
            "protocol = 'engine20', types = ['0', 5]",
        ])),
        maybe(one_of(&["topic = 'host.*'", "topic = 'host.cpu'", "topic = '7'", "topic = '*'"])),
        maybe(one_of(&["source = 'capture'", "source = 'socket'", "source = 'interface'"])),
        maybe(one_of(&[
            "priority_at_least = 'batch'",
            "priority_at_least = 'medium'",
            "priority_at_least = 'high'",
            "priority_at_least = 'critical'",
        ])),
        maybe(one_of(&["symbols = ['AAPL']", "symbols = ['BRK.A', 'ZIEXT', 5]"])),
    ];
    parts.prop_map(|parts| {
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("match = {{ {} }}\n", parts.join(", "))
    })
}

fn rule() -> impl Strategy<Value = String> {
    let predicate = prop_oneof![3 => number_predicate(), 2 => text_predicate()];
    let keys = [
        maybe(one_of(&[
            "window = { count = 1, seconds = 1 }",
            "window = { count = 3, seconds = 1.5 }",
            "window = { count = 4, seconds = 30 }",
        ])),
        maybe(one_of(&["cooldown_seconds = 0.5", "cooldown_seconds = 10", "cooldown_seconds = 100"])),
        maybe(one_of(&["per = 'rule'", "per = 'stream'", "per = 'topic'", "per = 'instrument'"])),
        maybe(one_of(&["keys_max = 1", "keys_max = 2", "keys_max = 3"])),
    ];
    (matching(), prop::collection::vec(predicate, 0..4), keys)
        .prop_map(|(matching, predicates, keys)| {
            format!("{matching}predicates = [{}]\n{}\n", predicates.join(", "), keys.join("\n"))
        })
        // Rules that contradict themselves are refused: they are tested elsewhere.
        .prop_filter("contradicts itself", |rule| {
            RuleSet::from_text(&file(std::slice::from_ref(rule)), "r").is_ok()
        })
}

fn file(rules: &[String]) -> String {
    rules.iter().enumerate().map(|(at, rule)| format!("[[rule]]\nid = 'r{at}'\n{rule}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn alerts_are_those_of_the_reference(rules in prop::collection::vec(rule(), 1..12), events in events()) {
        let text = file(&rules);
        let set = RuleSet::from_text(&text, "rules").expect("each is right");
        let program = Program::compile(&set.rules, &places(), 1, None).expect("compiles");
        let mut engine = Engine::new(Box::new(program));
        let mut reference = Reference::new(&text, &PLACES);
        let ids = reference.ids();
        for event in &events {
            let mut found = Vec::new();
            engine.evaluate(&event.subject(), 1, &mut |alert| found.push(Fired::of(alert, &ids)));
            let mut expected = reference.evaluate(event);
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "{}\n{:?}", text, event);
        }
    }

    /// Whatever bytes an event has, there is an answer.
    #[test]
    fn any_bytes_are_evaluated(
        rules in prop::collection::vec(rule(), 1..8),
        events in prop::collection::vec((any::<[u8; 8]>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..80)), 1..50),
    ) {
        let set = RuleSet::from_text(&file(&rules), "rules").expect("each is right");
        let program = Program::compile(&set.rules, &places(), 1, None).expect("compiles");
        let mut engine = Engine::new(Box::new(program));
        for (bytes, time, payload) in events {
            let [protocol, class, clock, kind, marks, lane, feed, _] = bytes;
            let header = EventHeader {
                wire_ns: time, receive_ns: time.rotate_left(7), sequence: time, kind: kind.into(),
                protocol: protocol % 16, class: class % 4, clock: clock % 5, marks, lane, ..EventHeader::default()
            };
            let event = Event { feed: feed.into(), header, payload };
            engine.evaluate(&event.subject(), time, &mut |_| {});
        }
    }
}

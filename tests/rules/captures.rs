//! Rules against the real captures.

use crate::reference::{Event, Fired, Reference};
use sluice::config::RuleSet;
use sluice::event::{EventHeader, MessageReject};
use sluice::feed::{Accepted, Intake, IntakeSettings, Outlet};
use sluice::os::allocations_of_this_thread;
use sluice::process::rules::{Engine, Places, Program};
use sluice::process::{ClassTable, Subject};
use sluice::source::capture::CaptureReader;
use sluice::wire::Message;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// More than twenty rules, of every kind of match, field, measure and state that captures can show.
pub(crate) const RULES: &str = include_str!("rules.toml");

pub(crate) const FEEDS: [&str; 5] = ["iex-tops", "cme-futures", "itch-nasdaq", "itch-made-up", "fix"];

struct Recorder {
    feed: u32,
    classes: ClassTable,
    events: Vec<Event>,
}

impl Outlet for Recorder {
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        let header = EventHeader {
            sequence: message.sequence,
            wire_ns: accepted.wire_ns,
            receive_ns: 5,
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
        self.events.push(Event { feed: self.feed, header, payload: message.body.to_vec() });
        Ok(())
    }
}

/// The events of a capture; none, said once per call, where there are no captures.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn events(name: &str, feed: u32) -> Option<Vec<Event>> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("skipped: no captures (set SLUICE_CAPTURES)");
        return None;
    }
    let mut reader = CaptureReader::open(path).expect("a capture");
    let mut intake = Intake::allocate(&IntakeSettings { tcp_flows: true, ..IntakeSettings::default() });
    let mut recorder = Recorder { feed, classes: ClassTable::default(), events: Vec::new() };
    while let Some(record) = reader.next_record().expect("reads") {
        intake.take(
            record.bytes,
            record.link,
            record.time_ns,
            sluice::event::ClockKind::Capture,
            &mut recorder,
        );
    }
    intake.finish_gaps(&mut recorder);
    Some(recorder.events)
}

fn all_events() -> Option<Vec<Event>> {
    let files = [
        ("iex-tops16.pcap.gz", 0),
        ("cme-mdp3-ab.pcapng", 1),
        ("moldudp64-nasdaq-38msgs.pcap", 2),
        ("itch50-artificial.bin.gz", 3),
        ("fix-tcp.pcap", 4),
    ];
    let mut all = Vec::new();
    for (file, feed) in files {
        all.extend(events(file, feed)?);
    }
    Some(all)
}

#[test]
fn alerts_of_the_captures_are_those_of_a_full_scan() {
    let Some(events) = all_events() else { return };
    assert!(events.len() > 80_000, "{} events", events.len());
    let set = RuleSet::from_text(RULES, "rules.toml").expect("is right");
    assert!(set.rules.len() > 20);
    let places = Places::new(FEEDS.map(str::to_owned).into(), FEEDS.len());
    let program = Program::compile(&set.rules, &places, 1, None).expect("compiles");
    let mut engine = Engine::new(Box::new(program));
    let mut reference = Reference::new(RULES, &FEEDS.map(|name| (name, false)));
    let ids = reference.ids();
    let mut by_rule: BTreeMap<String, u64> = BTreeMap::new();
    for event in &events {
        let mut found = Vec::new();
        engine.evaluate(&event.subject(), 9, &mut |alert| found.push(Fired::of(alert, &ids)));
        let mut expected = reference.evaluate(event);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{event:?}");
        for fired in found {
            *by_rule.entry(fired.rule).or_default() += 1;
        }
    }
    let mut wrong = Vec::new();
    for (index, rule) in set.rules.iter().enumerate() {
        let fired = by_rule.get(&rule.id).copied().unwrap_or_default();
        assert_eq!(engine.program().counts(index).fired, fired, "{}", rule.id);
        // A rule that never fires would prove nothing.
        if (fired == 0) != rule.id.starts_with("never-") {
            wrong.push((rule.id.as_str(), fired));
        }
    }
    assert_eq!(wrong, [], "rules that fire never, or should not");
}

#[test]
fn evaluating_allocates_nothing() {
    let Some(events) = all_events() else { return };
    let set = RuleSet::from_text(RULES, "rules.toml").expect("is right");
    let places = Places::new(FEEDS.map(str::to_owned).into(), FEEDS.len());
    let compile =
        |version, before| Box::new(Program::compile(&set.rules, &places, version, before).expect("compiles"));
    let mut engine = Engine::new(compile(1, None));
    let second = compile(2, Some((1, set.rules.as_slice())));
    let subjects: Vec<Subject<'_>> = events.iter().map(Event::subject).collect();
    let mut alerts = 0u64;
    let before = allocations_of_this_thread();
    for subject in &subjects {
        engine.evaluate(subject, 9, &mut |_| alerts += 1);
    }
    let old = engine.replace(second);
    for subject in &subjects {
        engine.evaluate(subject, 9, &mut |_| alerts += 1);
    }
    assert_eq!(allocations_of_this_thread(), before);
    assert!(alerts > 1_000 && old.version() == 1);
}

/// The same events give the same alerts, whenever they are evaluated.
#[test]
fn alerts_of_a_capture_are_reproducible() {
    let Some(events) = events("iex-tops16.pcap.gz", 0) else { return };
    let set = RuleSet::from_text(RULES, "rules.toml").expect("is right");
    let places = Places::new(FEEDS.map(str::to_owned).into(), FEEDS.len());
    let run = |now: u64| {
        let program = Program::compile(&set.rules, &places, 1, None).expect("compiles");
        let mut engine = Engine::new(Box::new(program));
        let mut alerts = Vec::new();
        for (event, late) in events.iter().zip(0..) {
            engine.evaluate(&event.subject(), now + late, &mut |alert| {
                alerts.push(sluice::process::rules::Alert { now_ns: 0, ..*alert });
            });
        }
        alerts
    };
    assert_eq!(run(1), run(77_000_000_000));
}

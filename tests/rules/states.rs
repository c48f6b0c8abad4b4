//! What a rule remembers when its set is replaced, and how fast it is to be found.

use crate::reference::Event;
use sluice::agents::{RuleDesk, alert_way};
use sluice::config::RuleSet;
use sluice::event::{EventHeader, Protocol};
use sluice::ledger::Knobs;
use sluice::process::rules::{Alert, Engine, Places, Program};

fn native(sequence: u64, topic: &str, payload: &str) -> Event {
    let mut body = vec![2, 0, topic.len() as u8];
    body.extend(topic.bytes());
    body.extend(payload.bytes());
    let header = EventHeader {
        sequence,
        receive_ns: sequence * 1_000_000_000,
        protocol: Protocol::Native as u8,
        kind: 2,
        ..EventHeader::default()
    };
    Event { feed: 0, header, payload: body }
}

fn rules(text: &str) -> RuleSet {
    RuleSet::from_text(text, "made up").expect("is right")
}

fn alerts(engine: &mut Engine, event: &Event) -> Vec<Alert> {
    let mut found = Vec::new();
    engine.evaluate(&event.subject(), 1, &mut |alert| found.push(*alert));
    found
}

#[test]
fn rules_that_are_the_same_go_on_and_others_begin_anew() {
    let rule = |id: &str, threshold: u32| {
        format!(
            "[[rule]]\nid = '{id}'\nmatch = {{ topic = 'a' }}\nwindow = {{ count = {threshold}, seconds = 100 }}\n"
        )
    };
    let first = rules(&(rule("same", 3) + &rule("changed", 3) + &rule("gone", 3)));
    let second = rules(&(rule("changed", 4) + &rule("new", 3) + &rule("same", 3)));
    let (mut desk, mut engine, mut inbox) = RuleDesk::open(&first, Places::default()).expect("opens");
    assert!(alerts(&mut engine, &native(1, "a", "")).is_empty());
    assert!(alerts(&mut engine, &native(2, "a", "")).is_empty());
    assert_eq!(desk.load(&second).expect("is taken"), 2);
    assert!(inbox.take(&mut engine) && !inbox.take(&mut engine));
    let third = alerts(&mut engine, &native(3, "a", ""));
    assert_eq!(third.iter().map(|alert| (alert.version, alert.rule)).collect::<Vec<_>>(), [(2, 2)]);
    let totals = desk.totals(engine.program());
    let of = |id: &str| totals.iter().find(|(name, _)| name == id).expect("is there").1;
    assert_eq!((of("same").evaluated, of("same").fired, of("same").keys), (3, 1, 1));
    assert_eq!((of("changed").evaluated, of("gone").evaluated, of("new").evaluated), (3, 2, 1));
}

#[test]
fn a_host_metric_over_a_threshold_sets_the_kill_switch() {
    let text = "[[rule]]\nid = 'busy'\nseverity = 'critical'\nactions = ['kill_switch']\nmatch = { topic = 'host.cpu' }\n\
                predicates = [{ field = 'value.busy_pct', op = '>', value = 90.5 }]\nwindow = { count = 2, seconds = 10 }\n";
    let (_desk, mut engine, _inbox) = RuleDesk::open(&rules(text), Places::default()).expect("opens");
    let knobs = Knobs::default();
    let (mut port, mut reader) = alert_way(knobs.clone());
    for (second, busy, kills) in
        [(1, "99.0", false), (20, "90.5", false), (21, "91.2", false), (25, "90.6", true)]
    {
        let event = native(second, "host.cpu", &format!("busy_pct={busy} cpus=2"));
        engine.evaluate(&event.subject(), 1, &mut |alert| port.tell(alert));
        assert_eq!(knobs.is_killed(), kills, "second {second}");
    }
    let alert = reader.pop().expect("one");
    assert_eq!(alert.value.map(|value| value.to_string()).as_deref(), Some("90.6"));
    assert!(reader.pop().is_none() && reader.dropped() == 0);
}

#[test]
fn a_thousand_rules_are_not_a_thousand_questions() {
    let by_topic = |at| format!("[[rule]]\nid = 'topic {at}'\nmatch = {{ topic = 'topic.{at}' }}\n");
    let by_symbol = |at| format!("[[rule]]\nid = 'symbol {at}'\nmatch = {{ symbols = [{at}] }}\n");
    let by_type =
        |at| format!("[[rule]]\nid = 'type {at}'\nmatch = {{ protocol = 'cme-mdp3', types = [{at}] }}\n");
    let text: String = (0..1_000).map(|at| by_topic(at) + &by_symbol(at) + &by_type(at)).collect();
    let set = rules(&text);
    let program = Program::compile(&set.rules, &Places::default(), 1, None).expect("compiles");
    let mut engine = Engine::new(Box::new(program));
    let event = native(1, "topic.77", "");
    let found = alerts(&mut engine, &event);
    assert_eq!(
        found.iter().map(|alert| set.rules[alert.rule as usize].id.as_str()).collect::<Vec<_>>(),
        ["topic 77"]
    );
    let asked = |engine: &Engine| (0..3_000).map(|at| engine.program().counts(at).evaluated).sum::<u64>();
    assert_eq!(asked(&engine), 1);
    let mut wide = native(2, "x", "");
    (wide.header.protocol, wide.header.kind) = (Protocol::CmeMdp3 as u8, 999);
    assert_eq!(alerts(&mut engine, &wide).len(), 1);
    assert_eq!(asked(&engine), 2);
}

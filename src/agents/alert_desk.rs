//! Where alerts become log lines, records of the control file, and webhooks: off the hot path.
//!
//! Invariant: every alert that is read is counted by its severity; a log line that the rate limit keeps back is counted,
//! and that there were some is said.

use super::alerts::AlertReader;
use crate::config::{Rule, RuleAction, Severity};
use crate::event::Nanos;
use crate::limits::ALERT_LINES_PER_S;
use crate::process::rules::{Alert, AlertKey, Places};
use crate::sink::{WebhookCounts, Webhooks};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The control topic of alerts whose rule names none.
const TOPIC: &str = "alert";
const SECOND_NS: Nanos = 1_000_000_000;

/// Where an alert desk writes.
pub trait AlertOutlet {
    /// A line for the log.
    fn log(&mut self, severity: Severity, line: &str);
    /// A record for the control file: an object with its `topic`.
    fn control(&mut self, record: &Value);
}

/// The rules of sets by version: alerts name their rule by its place in its set.
#[derive(Clone, Debug, Default)]
pub struct RuleNames {
    by_version: BTreeMap<u32, Arc<Vec<Rule>>>,
}

impl RuleNames {
    /// Alerts of a set may wait this many sets long before nobody knows their rules' names.
    const VERSIONS_KEPT: usize = 64;

    /// Enters a set.
    pub fn enter(&mut self, version: u32, rules: Arc<Vec<Rule>>) {
        self.by_version.insert(version, rules);
        while self.by_version.len() > RuleNames::VERSIONS_KEPT {
            self.by_version.pop_first();
        }
    }

    /// An alert's rule.
    pub fn rule(&self, alert: &Alert) -> Option<&Rule> {
        self.by_version.get(&alert.version)?.get(alert.rule as usize)
    }
}

/// What became of alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertTotals {
    /// Read, indexed by [`Severity`].
    pub by_severity: [u64; Severity::ALL.len()],
    /// Found no place on their way from a processor; they are in no other count.
    pub dropped: u64,
    /// Lines written to the log.
    pub logged: u64,
    /// Lines that the rate limit kept back.
    pub log_suppressed: u64,
    /// Records written to the control file.
    pub published: u64,
    /// Of a set of rules that is forgotten: nothing was done for them.
    pub unknown: u64,
    /// Posts.
    pub webhooks: WebhookCounts,
}

/// Takes alerts and does what their rules say.
pub struct AlertDesk {
    names: RuleNames,
    places: Places,
    webhooks: Option<Webhooks>,
    totals: AlertTotals,
    second_ns: Nanos,
    lines_left: u32,
    kept_back: u64,
}

impl AlertDesk {
    /// For events that come in at these places. Without `webhooks`, posts are counted as dropped.
    pub fn new(places: Places, webhooks: Option<Webhooks>) -> AlertDesk {
        AlertDesk {
            names: RuleNames::default(),
            places,
            webhooks,
            totals: AlertTotals::default(),
            second_ns: 0,
            lines_left: ALERT_LINES_PER_S,
            kept_back: 0,
        }
    }

    /// Enters a set of rules, before it is sent to a processor.
    pub fn know(&mut self, version: u32, rules: Arc<Vec<Rule>>) {
        self.names.enter(version, rules);
    }

    /// Takes all alerts that wait; always of the same reader. `now` is on any clock that goes on, ns.
    pub fn drain(&mut self, reader: &mut AlertReader, now: Nanos, outlet: &mut impl AlertOutlet) {
        self.pass_second(now, outlet);
        while let Some(alert) = reader.pop() {
            self.take(&alert, outlet);
        }
        self.totals.dropped = reader.dropped();
    }

    fn pass_second(&mut self, now: Nanos, outlet: &mut impl AlertOutlet) {
        if now.saturating_sub(self.second_ns) < SECOND_NS {
            return;
        }
        (self.second_ns, self.lines_left) = (now, ALERT_LINES_PER_S);
        self.tell_kept_back(outlet);
    }

    fn tell_kept_back(&mut self, outlet: &mut impl AlertOutlet) {
        let kept_back = std::mem::take(&mut self.kept_back);
        if kept_back > 0 {
            let line =
                format!("{kept_back} more alerts were not written: {ALERT_LINES_PER_S} lines a second are");
            outlet.log(Severity::Warning, &line);
        }
    }

    fn take(&mut self, alert: &Alert, outlet: &mut impl AlertOutlet) {
        self.totals.by_severity[alert.severity as usize] += 1;
        let Some(rule) = self.names.rule(alert) else {
            self.totals.unknown += 1;
            return;
        };
        let mut record = self.record(rule, alert);
        let topics = rule.actions.iter().filter_map(|action| match action {
            RuleAction::Publish(topic) => Some(topic.as_str()),
            _ => None,
        });
        let mut topics = topics.peekable();
        let usual = topics.peek().is_none().then_some(TOPIC);
        for topic in usual.into_iter().chain(topics) {
            record["topic"] = topic.into();
            outlet.control(&record);
            self.totals.published += 1;
        }
        if rule.actions.contains(&RuleAction::Log) {
            if self.lines_left == 0 {
                self.kept_back += 1;
                self.totals.log_suppressed += 1;
            } else {
                self.lines_left -= 1;
                self.totals.logged += 1;
                outlet.log(alert.severity, &line(rule, &record));
            }
        }
        record["topic"] = TOPIC.into();
        for action in &rule.actions {
            let RuleAction::Webhook(url) = action else { continue };
            match &mut self.webhooks {
                Some(webhooks) => {
                    webhooks.post(url, record.to_string());
                }
                None => self.totals.webhooks.dropped += 1,
            }
        }
    }

    /// An alert in the words of the control file.
    fn record(&self, rule: &Rule, alert: &Alert) -> Value {
        let key = match &alert.key {
            AlertKey::Rule => json!({}),
            AlertKey::Stream => json!({ "stream": alert.stream }),
            AlertKey::Instrument(instrument) => json!({ "instrument": instrument.to_string() }),
            AlertKey::Topic { name, .. } => json!({ "topic": String::from_utf8_lossy(name.as_bytes()) }),
        };
        json!({
            "topic": TOPIC,
            "rule": rule.id,
            "name": rule.name,
            "severity": alert.severity.name(),
            "set": alert.version,
            "event_ns": alert.event_ns,
            "evaluated_ns": alert.now_ns,
            "feed": self.places.name(alert.feed),
            "shard": alert.shard.0,
            "stream": alert.stream,
            "epoch": alert.epoch,
            "sequence": alert.sequence,
            "protocol": alert.protocol.name(),
            "type": alert.protocol.type_name(alert.kind),
            "key": key,
            // As texts: they are exact, and numbers of JSON are not.
            "value": alert.value.map(|value| value.to_string()),
            "previous": alert.previous.map(|value| value.to_string()),
            "count": alert.count,
            "kill_switch": alert.kills,
        })
    }

    /// What became of alerts so far.
    pub fn totals(&self) -> AlertTotals {
        match &self.webhooks {
            Some(webhooks) => AlertTotals { webhooks: webhooks.counts(), ..self.totals },
            None => self.totals,
        }
    }

    /// Says what was kept back, waits for webhooks up to `patience`, and gives the totals.
    pub fn close(mut self, patience: Duration, outlet: &mut impl AlertOutlet) -> AlertTotals {
        self.tell_kept_back(outlet);
        match self.webhooks.take() {
            Some(webhooks) => AlertTotals { webhooks: webhooks.close(patience), ..self.totals },
            None => self.totals,
        }
    }
}

/// An alert in one line.
fn line(rule: &Rule, record: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut line = format!("alert {}: {}", rule.id, rule.name);
    let key = record["key"].as_object().into_iter().flatten();
    for (name, value) in key {
        line += &format!(", {name} {}", printable(&text(value)));
    }
    if !record["value"].is_null() {
        line += &format!(", value {}", text(&record["value"]));
    }
    if !record["previous"].is_null() {
        line += &format!(" after {}", text(&record["previous"]));
    }
    if let Some(window) = rule.window {
        line += &format!(", {} within {} s", window.count, window.span_ns as f64 / SECOND_NS as f64);
    }
    line + &format!(", {} {} of stream {}", text(&record["protocol"]), record["sequence"], record["stream"])
}

/// Without what would change a terminal or begin another line.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::alerts::alert_way;
    use super::*;
    use crate::config::RuleSet;
    use crate::event::{Decimal, Protocol, ShardId};
    use crate::ledger::Knobs;
    use crate::limits::ALERTS_MAX;
    use crate::wire::Instrument;

    #[derive(Default)]
    struct Written {
        lines: Vec<String>,
        records: Vec<Value>,
    }

    impl AlertOutlet for Written {
        fn log(&mut self, severity: Severity, line: &str) {
            self.lines.push(format!("{}: {line}", severity.name()));
        }

        fn control(&mut self, record: &Value) {
            self.records.push(record.clone());
        }
    }

    fn alert(rule: u32) -> Alert {
        Alert {
            version: 1,
            rule,
            severity: Severity::Error,
            kills: false,
            event_ns: 5,
            now_ns: 6,
            shard: ShardId(0),
            feed: 0,
            stream: 3,
            epoch: 0,
            sequence: 77,
            protocol: Protocol::IexTp,
            kind: u16::from(b'T'),
            key: AlertKey::Instrument(Instrument::Symbol(*b"AAPL    ")),
            value: Some(Decimal::new(18_750, 2)),
            previous: Some(Decimal::new(18_700, 2)),
            count: 1,
        }
    }

    fn desk() -> AlertDesk {
        let text = "[[rule]]\nid = 'a'\nname = 'jump'\nactions = ['log', { publish = 'jumps' }, { webhook = 'http://h/' }]\n\
                    [[rule]]\nid = 'b'\n";
        let set = RuleSet::from_text(text, "r").expect("is right");
        let mut desk = AlertDesk::new(Places::new(vec!["iex".to_owned()], 1), None);
        desk.know(1, Arc::new(set.rules));
        desk
    }

    #[test]
    fn alerts_are_written_as_their_rules_say() {
        let (mut desk, mut written) = (desk(), Written::default());
        let (mut port, mut reader) = alert_way(Knobs::default());
        [0, 1, 9].into_iter().for_each(|rule| port.tell(&alert(rule)));
        desk.drain(&mut reader, SECOND_NS, &mut written);
        let line = "error: alert a: jump, instrument AAPL, value 187.50 after 187.00, iex-tp 77 of stream 3";
        assert_eq!(written.lines, [line]);
        let topics: Vec<&Value> = written.records.iter().map(|record| &record["topic"]).collect();
        assert_eq!(topics, ["jumps", "alert"]);
        let record = &written.records[0];
        assert_eq!(
            (&record["feed"], &record["type"], &record["value"]),
            (&"iex".into(), &"T".into(), &"187.50".into())
        );
        let totals = desk.close(Duration::ZERO, &mut written);
        assert_eq!(totals.by_severity, [0, 0, 3, 0]);
        assert_eq!((totals.unknown, totals.logged, totals.published), (1, 1, 2));
        assert_eq!(totals.webhooks.dropped, 1);
    }

    #[test]
    fn a_storm_writes_so_many_lines_a_second_and_says_so() {
        let (mut desk, mut written) = (desk(), Written::default());
        let knobs = Knobs::default();
        let (mut port, mut reader) = alert_way(knobs.clone());
        (0..ALERTS_MAX + 5).for_each(|_| port.tell(&alert(0)));
        assert!(!knobs.is_killed());
        port.tell(&Alert { kills: true, ..alert(0) });
        assert!(knobs.is_killed(), "also when there is no room for the alert");
        desk.drain(&mut reader, SECOND_NS, &mut written);
        assert_eq!(written.lines.len(), ALERT_LINES_PER_S as usize);
        desk.drain(&mut reader, 2 * SECOND_NS, &mut written);
        let suppressed = ALERTS_MAX as u64 - u64::from(ALERT_LINES_PER_S);
        assert!(written.lines.last().is_some_and(|line| line.contains(&format!("{suppressed} more alerts"))));
        let totals = desk.totals();
        assert_eq!((totals.log_suppressed, totals.dropped), (suppressed, 6));
        assert_eq!(totals.published, ALERTS_MAX as u64);
    }
}

//! What a rules file means, once more and as simply as possible: a full scan with lists and maps, which reads the TOML
//! itself and shares nothing with the engine but the decoders.
//!
//! Invariant: numbers are integers in units of 10^-9.

use sluice::event::{EventHeader, Protocol, ShardId};
use sluice::process::Subject;
use sluice::process::rules::{Alert, AlertKey};
use sluice::wire::native_v2::Topic;
use sluice::wire::{Entry, engine20, native};
use std::collections::BTreeMap;
use toml::{Table, Value};

const UNIT: i128 = 1_000_000_000;
const REWIND_NS: u64 = 60_000_000_000;

/// An event on its own.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) feed: u32,
    pub(crate) header: EventHeader,
    pub(crate) payload: Vec<u8>,
}

impl Event {
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { shard: ShardId(0), feed: self.feed, header: &self.header, payload: &self.payload }
    }
}

/// An alert, as far as both say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fired {
    pub(crate) rule: String,
    pub(crate) sequence: u64,
    pub(crate) event_ns: u64,
    pub(crate) key: String,
    pub(crate) value: Option<i128>,
    pub(crate) previous: Option<i128>,
}

impl Fired {
    pub(crate) fn of(alert: &Alert, ids: &[String]) -> Fired {
        let scaled = |number: sluice::event::Decimal| {
            assert!(
                number.decimals <= 9 || number.mantissa % 10i128.pow(u32::from(number.decimals) - 9) == 0
            );
            match number.decimals {
                0..=9 => number.mantissa * 10i128.pow(9 - u32::from(number.decimals)),
                more => number.mantissa / 10i128.pow(u32::from(more) - 9),
            }
        };
        let key = match alert.key {
            AlertKey::Rule => "rule".to_owned(),
            AlertKey::Stream => format!("stream {}", alert.stream),
            AlertKey::Instrument(instrument) => format!("instrument {instrument}"),
            AlertKey::Topic { name, .. } => format!("topic {}", String::from_utf8_lossy(name.as_bytes())),
        };
        Fired {
            rule: ids[alert.rule as usize].clone(),
            sequence: alert.sequence,
            event_ns: alert.event_ns,
            key,
            value: alert.value.map(scaled),
            previous: alert.previous.map(scaled),
        }
    }
}

#[derive(Default)]
struct Memory {
    newest_ns: u64,
    quiet_until_ns: u64,
    hits: Vec<u64>,
    last: BTreeMap<usize, i128>,
    seen: u64,
}

/// The reference.
pub(crate) struct Reference {
    rules: Vec<Table>,
    places: Vec<(String, bool)>,
    memory: Vec<BTreeMap<String, Memory>>,
    of_entries: Vec<bool>,
    seen: u64,
}

fn number_of(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i128 = format!("{part:0<9}").parse().ok()?;
    Some(sign * (whole * UNIT + part))
}

fn constant(value: &Value) -> i128 {
    match value {
        Value::Integer(whole) => i128::from(*whole) * UNIT,
        Value::Float(number) => number_of(&number.to_string()).expect("a number"),
        Value::String(text) => number_of(text).expect("a number"),
        other => panic!("{other}"),
    }
}

fn list<'a>(table: Option<&'a Table>, key: &str) -> &'a [Value] {
    table.and_then(|table| table.get(key)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn words<'a>(table: Option<&'a Table>, key: &str) -> Option<&'a str> {
    table.and_then(|table| table.get(key)).and_then(Value::as_str)
}

fn topic(event: &Event) -> Option<Vec<u8>> {
    if event.header.protocol != Protocol::Native as u8 {
        return None;
    }
    Some(match native::read(&event.payload).ok()?.topic {
        Topic::Name(name) => name.to_vec(),
        Topic::Id(id) => id.to_string().into_bytes(),
    })
}

fn pattern_means(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => name.starts_with(stem.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

fn word(event: &Event, key: &str) -> Option<Vec<u8>> {
    topic(event)?;
    let payload = native::read(&event.payload).ok()?.payload;
    let wanted = format!("{key}=").into_bytes();
    let found = payload.split(|b| *b == b' ').find(|word| word.starts_with(&wanted))?;
    Some(found[wanted.len()..].to_vec())
}

fn number(event: &Event, entry: Option<&Entry>, field: &str) -> Option<i128> {
    let header = &event.header;
    let price = || entry?.price.map(|p| i128::from(p.mantissa) * 10i128.pow(9 - u32::from(p.decimals)));
    match field {
        "price" => price(),
        "size" => Some(i128::from(entry?.size) * UNIT),
        "notional" => Some(price()? * i128::from(entry?.size)),
        "sequence" => Some(i128::from(header.sequence) * UNIT),
        "payload_bytes" => Some(event.payload.len() as i128 * UNIT),
        "latency_ns" if header.clock == 1 && header.wire_ns > 0 => {
            Some(i128::from(header.receive_ns.saturating_sub(header.wire_ns)) * UNIT)
        }
        "latency_ns" => None,
        // Values of tests are multiples of 1/8, which are exact.
        "value" if header.protocol == Protocol::Engine20 as u8 => {
            Some((f64::from(engine20::parse_body(&event.payload).ok()?.value) * 1e9) as i128)
        }
        "value" => None,
        _ => number_of(std::str::from_utf8(&word(event, field.strip_prefix("value.")?)?).ok()?),
    }
}

fn text(event: &Event, entry: Option<&Entry>, field: &str) -> Option<Vec<u8>> {
    match field {
        "side" => Some(entry?.side.name().into()),
        "action" => Some(entry?.action.name().into()),
        "instrument" => Some(entry?.instrument.to_string().into_bytes()),
        "topic" => topic(event),
        "payload" if event.header.protocol == Protocol::Native as u8 => {
            Some(native::read(&event.payload).ok()?.payload.to_vec())
        }
        "payload" => Some(event.payload.clone()),
        _ => word(event, field.strip_prefix("value.")?),
    }
}

fn compares(op: &str, order: std::cmp::Ordering) -> bool {
    match op {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        other => panic!("{other}"),
    }
}

fn is_change(predicate: &Table) -> bool {
    !matches!(words(Some(predicate), "measure"), None | Some("value"))
}

fn is_number(predicate: &Table) -> bool {
    let field = words(Some(predicate), "field").expect("a field");
    let numeric =
        ["price", "size", "notional", "sequence", "payload_bytes", "latency_ns", "value"].contains(&field);
    let is_word = field.starts_with("value.");
    numeric || (is_word && (!predicate["value"].is_str() || is_change(predicate)))
}

/// Whether a predicate that is none of a change holds.
fn holds(event: &Event, entry: Option<&Entry>, predicate: &Table) -> bool {
    let (field, op) =
        (words(Some(predicate), "field").expect("is"), words(Some(predicate), "op").expect("is"));
    if is_number(predicate) {
        let found = number(event, entry, field);
        return found.is_some_and(|found| compares(op, found.cmp(&constant(&predicate["value"]))));
    }
    let Some(found) = text(event, entry, field) else { return false };
    let value = predicate["value"].as_str().expect("a text");
    let value = match (field, value) {
        ("side", "bid") => "buy",
        ("side", "ask") => "sell",
        _ => value,
    };
    let value = value.as_bytes();
    match op {
        "==" => found == value,
        "!=" => found != value,
        "starts_with" => found.starts_with(value),
        "contains" => found.windows(value.len()).any(|part| part == value),
        other => panic!("{other}"),
    }
}

fn change_holds(predicate: &Table, now: i128, before: i128) -> bool {
    let (op, value) = (words(Some(predicate), "op").expect("is"), constant(&predicate["value"]));
    let difference = now - before;
    match words(Some(predicate), "measure").expect("is") {
        "change" => compares(op, difference.cmp(&value)),
        "change_abs" => compares(op, difference.abs().cmp(&value)),
        measure => {
            if before == 0 {
                return false;
            }
            let difference = if measure == "change_bps_abs" { difference.abs() } else { difference };
            compares(op, (difference * 10_000 * UNIT).cmp(&(value * before.abs())))
        }
    }
}

impl Reference {
    /// Places are names, with whether they are inlets.
    pub(crate) fn new(text: &str, places: &[(&str, bool)]) -> Reference {
        let file: Table = text.parse().expect("TOML");
        let rules: Vec<Table> =
            list(Some(&file), "rule").iter().map(|rule| rule.as_table().expect("a table").clone()).collect();
        let memory = rules.iter().map(|_| BTreeMap::new()).collect();
        let places = places.iter().map(|(name, is_inlet)| ((*name).to_owned(), *is_inlet)).collect();
        let of_entries = Vec::new();
        let mut reference = Reference { rules, places, memory, of_entries, seen: 0 };
        reference.of_entries =
            (0..reference.rules.len()).map(|index| reference.is_of_entries(index)).collect();
        reference
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.rules.iter().map(|rule| words(Some(rule), "id").expect("an id").to_owned()).collect()
    }

    /// All alerts of an event.
    pub(crate) fn evaluate(&mut self, event: &Event) -> Vec<Fired> {
        let protocol = Protocol::from_u8(event.header.protocol).expect("a protocol");
        let mut entries = Vec::new();
        sluice::wire::entries(protocol, event.header.kind, &event.payload, &mut |entry| entries.push(entry));
        let mut fired = Vec::new();
        for index in 0..self.rules.len() {
            if self.of_entries[index] {
                for entry in &entries {
                    fired.extend(self.judge(index, event, Some(entry)));
                }
            } else {
                fired.extend(self.judge(index, event, None));
            }
        }
        fired
    }

    fn predicates(&self, index: usize) -> Vec<Table> {
        let predicates = list(Some(&self.rules[index]), "predicates");
        predicates.iter().map(|predicate| predicate.as_table().expect("a table").clone()).collect()
    }

    fn matching(&self, index: usize) -> Option<&Table> {
        self.rules[index].get("match").and_then(Value::as_table)
    }

    fn is_of_entries(&self, index: usize) -> bool {
        const FIELDS: [&str; 6] = ["price", "size", "notional", "side", "action", "instrument"];
        let asks = |predicate: &Table| FIELDS.contains(&words(Some(predicate), "field").expect("is"));
        !list(self.matching(index), "symbols").is_empty()
            || words(Some(&self.rules[index]), "per") == Some("instrument")
            || self.predicates(index).iter().any(asks)
    }

    fn matches(&self, index: usize, event: &Event, entry: Option<&Entry>) -> bool {
        let (matching, header) = (self.matching(index), &event.header);
        let protocol = Protocol::from_u8(header.protocol).expect("a protocol");
        let place = self.places.get(event.feed as usize);
        let kinds = list(matching, "types");
        let kind = protocol.type_name(header.kind);
        let symbols = list(matching, "symbols");
        let is_symbol = |symbol: &Value| {
            let shown = entry.expect("has one").instrument.to_string();
            match symbol {
                Value::String(name) => name.trim() == shown,
                other => other.to_string() == shown,
            }
        };
        let source = match (header.clock, place) {
            (3, _) => "capture",
            (_, Some((_, true))) => "socket",
            _ => "interface",
        };
        let priority = words(matching, "priority_at_least").is_none_or(|least| {
            let least = ["batch", "low", "medium", "high", "critical"].iter().position(|p| *p == least);
            let least = least.expect("a priority");
            let class = usize::from(header.class) <= [2, 2, 1, 0, 0][least];
            let raised = header.marks & (1 << 5) != 0;
            match (protocol, native::read(&event.payload)) {
                (Protocol::Native, Ok(frame)) => frame.priority as usize >= least || (raised && class),
                _ => class,
            }
        });
        words(matching, "feed")
            .is_none_or(|feed| place.is_some_and(|(name, _)| pattern_means(feed, name.as_bytes())))
            && words(matching, "protocol").is_none_or(|name| name == protocol.name())
            && words(matching, "topic")
                .is_none_or(|pattern| topic(event).is_some_and(|topic| pattern_means(pattern, &topic)))
            && (kinds.is_empty()
                || kinds.iter().any(|k| k.as_str().map_or_else(|| k.to_string(), str::to_owned) == kind))
            && words(matching, "source").is_none_or(|wanted| wanted == source)
            && priority
            && (symbols.is_empty() || symbols.iter().any(is_symbol))
    }

    #[expect(clippy::too_many_lines, reason = "a scan in one piece is what makes it a reference")]
    fn judge(&mut self, index: usize, event: &Event, entry: Option<&Entry>) -> Option<Fired> {
        let enabled = self.rules[index].get("enabled").is_none_or(|enabled| enabled.as_bool() == Some(true));
        if !enabled || !self.matches(index, event, entry) {
            return None;
        }
        let rule = self.rules[index].clone();
        let (changes, plain): (Vec<Table>, Vec<Table>) =
            self.predicates(index).into_iter().partition(is_change);
        if !plain.iter().all(|predicate| holds(event, entry, predicate)) {
            return None;
        }
        let field = |predicate: &Table| words(Some(predicate), "field").expect("is").to_owned();
        let topic_key = topic(event).map(|topic| format!("topic {}", String::from_utf8_lossy(&topic)));
        let stream = format!("stream {}", event.header.stream);
        let instrument = entry.map(|entry| format!("instrument {}", entry.instrument));
        let key = match words(Some(&rule), "per").unwrap_or("auto") {
            "rule" => "rule".to_owned(),
            "stream" => stream,
            "topic" => topic_key?,
            "instrument" => instrument?,
            _ => instrument.or(topic_key).unwrap_or(stream),
        };
        let window = rule.get("window").and_then(Value::as_table);
        let quiet_ns = rule.get("cooldown_seconds").map_or(0, |seconds| constant(seconds) as u64);
        let event_ns = if event.header.clock == 3 { event.header.wire_ns } else { event.header.receive_ns };
        let fired = |value, previous| Fired {
            rule: words(Some(&rule), "id").expect("an id").to_owned(),
            sequence: event.header.sequence,
            event_ns,
            key: key.clone(),
            value,
            previous,
        };
        let first_number = plain.iter().find(|predicate| is_number(predicate));
        let shown = first_number.and_then(|predicate| number(event, entry, &field(predicate)));
        if changes.is_empty() && window.is_none() && quiet_ns == 0 {
            return Some(fired(shown, None));
        }
        let numbers: Vec<i128> =
            changes.iter().map(|change| number(event, entry, &field(change))).collect::<Option<_>>()?;
        // A key of an instrument is its feed's own, or its stream's where nobody configured the feed.
        let place = match self.places.get(event.feed as usize) {
            Some((name, _)) => name.clone(),
            None => format!("stream {}", event.header.stream),
        };
        let place_key = if key.starts_with("instrument") { format!("{place} {key}") } else { key.clone() };
        let memory = self.remember(index, &place_key, event_ns);
        let now = memory.newest_ns;
        let mut holds = true;
        let mut first_before = None;
        for (at, (change, number)) in changes.iter().zip(&numbers).enumerate() {
            let before = memory.last.insert(at, *number);
            holds &= before.is_some_and(|before| change_holds(change, *number, before));
            if at == 0 {
                first_before = before;
            }
        }
        if !holds {
            return None;
        }
        if let Some(window) = window {
            let span_ns = constant(&window["seconds"]) as u64;
            memory.hits.push(now);
            let within = memory.hits.iter().filter(|hit| now - **hit < span_ns).count();
            if (within as i64) < window["count"].as_integer().expect("a count") {
                return None;
            }
        }
        if now < memory.quiet_until_ns {
            return None;
        }
        memory.quiet_until_ns = now + quiet_ns;
        Some(fired(numbers.first().copied().or(shown), first_before))
    }

    /// The memory of a key, which may take the place of the one that was seen longest ago.
    fn remember(&mut self, index: usize, key: &str, event_ns: u64) -> &mut Memory {
        let symbols = list(self.matching(index), "symbols").len();
        let rule = &self.rules[index];
        let keys_max = match (rule.get("keys_max").and_then(Value::as_integer), words(Some(rule), "per")) {
            (Some(keys), _) => keys as usize,
            (None, Some("rule")) => 1,
            (None, None | Some("auto" | "instrument")) if symbols > 0 => symbols * 4,
            _ => 4_096,
        };
        self.seen += 1;
        let memory = &mut self.memory[index];
        if !memory.contains_key(key) && memory.len() == keys_max {
            let oldest = memory.iter().min_by_key(|(_, memory)| memory.seen).map(|(key, _)| key.clone());
            memory.remove(&oldest.expect("there are some"));
        }
        let state = memory.entry(key.to_owned()).or_default();
        if event_ns.saturating_add(REWIND_NS) < state.newest_ns {
            *state = Memory::default();
        }
        state.newest_ns = state.newest_ns.max(event_ns);
        state.seen = self.seen;
        state
    }
}

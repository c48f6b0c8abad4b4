//! The checks of a rules file, by which its tables become rules.
//!
//! Invariant: everything that is wrong is told at once, each with its rule, its value, and what is allowed.

use super::rule::{
    KeyBy, Measure, NumberField, NumberOp, Predicate, Rule, RuleAction, RuleMatch, RuleWindow, Symbol,
    TextField, TextOp,
};
use super::rules_file::{MatchTable, PredicateTable, RuleTable, RulesFile, WindowTable, Written};
use super::validate::Found;
use crate::event::{Decimal, Nanos, Protocol, Side};
use crate::limits;
use std::collections::HashMap;

/// The names of actions, in the order of the wire vocabulary's.
pub const ACTION_NAMES: [&str; 8] =
    ["add", "change", "reduce", "delete", "execute", "trade", "break", "quote"];

/// Windows and cool-downs of more than a week are a mistake of units.
const SPAN_NS_MAX: Nanos = 7 * 86_400 * 1_000_000_000;
const URL_BYTES_MAX: usize = 8 * limits::RULE_TEXT_BYTES_MAX;
const NANOS_DECIMALS: u8 = 9;

/// Where problems of one rule go.
struct Problems<'a> {
    index: usize,
    id: &'a str,
    found: Found,
}

impl Problems<'_> {
    fn add(&mut self, key: &str, problem: &str) {
        let key = if key.is_empty() {
            format!("rule[{}]", self.index)
        } else {
            format!("rule[{}].{key}", self.index)
        };
        self.found.push((key, format!("{problem} (rule {:?})", self.id)));
    }

    /// What is right, or a place for what is not.
    fn take<T>(&mut self, key: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|problem| self.add(key, &problem)).ok()
    }

    fn count(&mut self, key: &str, count: usize, max: usize, of: &str) {
        if count > max {
            self.add(key, &format!("lists {count} {of}; allowed: up to {max}"));
        }
    }
}

/// The rules that the tables mean.
///
/// # Errors
/// Keys with what is wrong with them; never empty.
pub(super) fn typed(file: &RulesFile) -> Result<Vec<Rule>, Found> {
    let (mut rules, mut found) = (Vec::with_capacity(file.rule.len()), Found::new());
    if file.rule.len() > limits::RULES_MAX {
        let problem = format!("has {} rules; allowed: up to {}", file.rule.len(), limits::RULES_MAX);
        return Err(vec![("rule".to_owned(), problem)]);
    }
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (index, table) in file.rule.iter().enumerate() {
        let mut problems = Problems { index, id: &table.id, found: Vec::new() };
        if let Some(first) = ids.insert(&table.id, index) {
            problems.add("id", &format!("is that of rule[{first}], too; give each rule an id of its own"));
        }
        let rule = rule(table, &mut problems);
        found.append(&mut problems.found);
        rules.extend(rule);
    }
    if found.is_empty() {
        together(&rules, &mut found);
    }
    if found.is_empty() { Ok(rules) } else { Err(found) }
}

/// What all rules may take together.
fn together(rules: &[Rule], found: &mut Found) {
    let symbols: usize = rules.iter().map(|rule| rule.matching.symbols.len()).sum();
    if symbols > limits::RULE_SYMBOLS_IN_ALL_MAX {
        let problem = format!(
            "list {symbols} symbols in all; allowed: up to {}; leave symbols out where all are meant",
            limits::RULE_SYMBOLS_IN_ALL_MAX
        );
        found.push(("rule".to_owned(), problem));
    }
    let bytes: u64 = rules.iter().filter(|rule| rule.enabled).map(Rule::state_bytes).sum();
    if bytes > limits::RULE_STATE_BYTES_MAX {
        let largest = rules.iter().filter(|rule| rule.enabled).max_by_key(|rule| rule.state_bytes());
        let largest = largest.map_or_else(String::new, |rule| {
            format!("; the largest is rule {:?}: {} keys, {} bytes", rule.id, rule.keys(), rule.state_bytes())
        });
        let problem = format!(
            "need {bytes} bytes for keys, windows and last values; allowed: up to {}: write smaller keys_max or \
             window.count{largest}",
            limits::RULE_STATE_BYTES_MAX
        );
        found.push(("rule".to_owned(), problem));
    }
}

fn rule(table: &RuleTable, problems: &mut Problems<'_>) -> Option<Rule> {
    if let Err(problem) = super::validate::name(&table.id, &()) {
        problems.add("id", &problem.to_string());
    }
    let name = table.name.as_ref().unwrap_or(&table.id);
    problems.take("name", text(name));
    problems.count("predicates", table.predicates.len(), limits::RULE_PREDICATES_MAX, "predicates");
    problems.count("actions", table.actions.len(), limits::RULE_ACTIONS_MAX, "actions");
    let matching = matching(&table.matching, problems);
    let predicates: Vec<Option<Predicate>> = table
        .predicates
        .iter()
        .enumerate()
        .map(|(at, predicate)| self::predicate(predicate, &format!("predicates[{at}]"), problems))
        .collect();
    let window = table.window.as_ref().map(|window| self::window(window, problems));
    let cooldown_ns =
        table.cooldown_seconds.as_ref().map(|time| problems.take("cooldown_seconds", span(time, 0)));
    for (at, action) in table.actions.iter().enumerate() {
        problems.take(&format!("actions[{at}]"), self::action(action));
    }
    if let Some(keys) = table.keys_max.filter(|keys| !(1..=limits::RULE_KEYS_MAX).contains(keys)) {
        problems.add("keys_max", &format!("is {keys}; allowed: 1 to {}", limits::RULE_KEYS_MAX));
    }
    let rule = Rule {
        id: table.id.clone(),
        name: name.clone(),
        enabled: table.enabled,
        severity: table.severity,
        matching: matching?,
        predicates: predicates.into_iter().collect::<Option<_>>()?,
        window: window.map_or(Some(None), |window| window.map(Some))?,
        cooldown_ns: cooldown_ns.unwrap_or(Some(0))?,
        key_by: table.per,
        keys_max: table.keys_max,
        actions: table.actions.clone(),
    };
    contradictions(&rule, problems);
    Some(rule)
}

/// Rules that could never fire, or mean something else than they seem to.
fn contradictions(rule: &Rule, problems: &mut Problems<'_>) {
    let entries = rule.is_of_entries();
    if let Some(protocol) = rule.matching.protocol.filter(|protocol| entries && !has_entries(*protocol)) {
        problems.add(
            "match.protocol",
            &format!(
                "is \"{protocol}\", whose messages have no price, size, side, action or instrument that is read; ask for \
                 other fields, or for \"moldudp64-itch50\", \"soupbintcp-itch50\", \"iex-tp\" or \"cme-mdp3\""
            ),
        );
    }
    let native = rule.matching.topic.is_some() || rule.key_by == KeyBy::Topic;
    if native && rule.matching.protocol.is_some_and(|protocol| protocol != Protocol::Native) {
        problems.add("match.protocol", "is not \"native\", and only native frames have topics");
    }
    if native && entries {
        problems
            .add("match", "asks for a topic and for an entry's fields; native frames have no such fields");
    }
}

fn has_entries(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::Moldudp64Itch50 | Protocol::SoupbintcpItch50 | Protocol::IexTp | Protocol::CmeMdp3
    )
}

fn matching(table: &MatchTable, problems: &mut Problems<'_>) -> Option<RuleMatch> {
    let before = problems.found.len();
    for (key, pattern) in [("match.feed", &table.feed), ("match.topic", &table.topic)] {
        if let Some(pattern) = pattern {
            problems.take(key, text(pattern).and_then(|()| star(pattern)));
        }
    }
    problems.count("match.types", table.types.len(), limits::RULE_TYPES_MAX, "types");
    problems.count("match.symbols", table.symbols.len(), limits::RULE_SYMBOLS_MAX, "symbols");
    let mut types = Vec::with_capacity(table.types.len());
    match table.protocol {
        None if !table.types.is_empty() => {
            problems.add("match.types", "means nothing without protocol: types are a protocol's own");
        }
        None => {}
        Some(protocol) => {
            for (at, written) in table.types.iter().enumerate() {
                types.extend(problems.take(&format!("match.types[{at}]"), kind(protocol, written)));
            }
        }
    }
    types.sort_unstable();
    types.dedup();
    let symbols = table.symbols.iter().enumerate();
    let symbols = symbols
        .filter_map(|(at, written)| problems.take(&format!("match.symbols[{at}]"), symbol(written)))
        .collect();
    (problems.found.len() == before).then(|| RuleMatch {
        feed: table.feed.clone(),
        protocol: table.protocol,
        topic: table.topic.clone(),
        types,
        source: table.source,
        priority_at_least: table.priority_at_least,
        symbols,
    })
}

fn text(text: &str) -> Result<(), String> {
    let max = limits::RULE_TEXT_BYTES_MAX;
    match text.len() {
        0 => Err(format!("is empty; allowed: 1 to {max} bytes")),
        bytes if bytes > max => Err(format!("has {bytes} bytes; allowed: 1 to {max}")),
        _ => Ok(()),
    }
}

fn star(pattern: &str) -> Result<(), String> {
    match pattern.strip_suffix('*').unwrap_or(pattern).contains('*') {
        true => Err(format!("is {pattern:?}; a star stands at the end only, and means all that begin so")),
        false => Ok(()),
    }
}

fn kind(protocol: Protocol, written: &Written) -> Result<u16, String> {
    let code = match written {
        Written::Whole(number) => u16::try_from(*number).ok(),
        Written::Text(name) => protocol.type_code(name),
        Written::Pointed(_) => None,
    };
    code.ok_or_else(|| {
        format!(
            "is {written}, which is no message type of {protocol}; allowed: its letters in quotes or its number, as \
             reports print them"
        )
    })
}

fn symbol(written: &Written) -> Result<Symbol, String> {
    const BYTES: usize = 8;
    let problem = || {
        format!(
            "is {written}; allowed: a symbol of 1 to {BYTES} printable letters in quotes, a number, or \"NUMBER:implied\""
        )
    };
    match written {
        Written::Whole(number) => u64::try_from(*number).map(Symbol::Number).map_err(|_| problem()),
        Written::Pointed(_) => Err(problem()),
        Written::Text(text) => {
            if let Some(number) = text.strip_suffix(":implied").and_then(|number| number.parse().ok()) {
                return Ok(Symbol::Implied(number));
            }
            let mut padded = [b' '; BYTES];
            let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            match padded.get_mut(..text.len()) {
                Some(place) if printable && !text.trim().is_empty() => place.copy_from_slice(text.as_bytes()),
                _ => return Err(problem()),
            }
            Ok(Symbol::Name(padded))
        }
    }
}

fn window(table: &WindowTable, problems: &mut Problems<'_>) -> Option<RuleWindow> {
    if !(1..=limits::RULE_WINDOW_COUNT_MAX).contains(&table.count) {
        let max = limits::RULE_WINDOW_COUNT_MAX;
        problems.add("window.count", &format!("is {}; allowed: 1 to {max}", table.count));
    }
    let span_ns = problems.take("window.seconds", span(&table.seconds, 1))?;
    Some(RuleWindow { count: table.count, span_ns })
}

/// A time in seconds as nanoseconds.
fn span(written: &Written, min_ns: Nanos) -> Result<Nanos, String> {
    let problem = || format!("is {written}; allowed: seconds up to {}", SPAN_NS_MAX / 1_000_000_000);
    let seconds = written.number().map_err(|_| problem())?;
    let missing = NANOS_DECIMALS
        .checked_sub(seconds.decimals)
        .ok_or_else(|| format!("is {written}; a nanosecond is the smallest part of a second here"))?;
    let nanos = seconds.mantissa.checked_mul(10i128.pow(missing.into()));
    let nanos = nanos.and_then(|nanos| Nanos::try_from(nanos).ok());
    nanos.filter(|nanos| (min_ns..=SPAN_NS_MAX).contains(nanos)).ok_or_else(problem)
}

fn action(action: &RuleAction) -> Result<(), String> {
    match action {
        RuleAction::Log | RuleAction::KillSwitch => Ok(()),
        RuleAction::Publish(topic) => text(topic),
        RuleAction::Webhook(url) => {
            let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            let shaped = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
            let clean = url.bytes().all(|byte| byte.is_ascii_graphic()) && url.len() <= URL_BYTES_MAX;
            match shaped && clean {
                true => Ok(()),
                false => Err(format!(
                    "posts to {url:?}; allowed: an http:// or https:// URL of up to {URL_BYTES_MAX} printable letters"
                )),
            }
        }
    }
}

/// What kind of field a name means.
enum Field {
    Number(NumberField),
    Text(TextField),
    Side,
    Action,
    /// A word of the payload: a number or a text, as its value is written.
    Word(String),
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "price" => Field::Number(NumberField::Price),
        "size" => Field::Number(NumberField::Size),
        "notional" => Field::Number(NumberField::Notional),
        "sequence" => Field::Number(NumberField::Sequence),
        "payload_bytes" => Field::Number(NumberField::PayloadBytes),
        "latency_ns" => Field::Number(NumberField::LatencyNs),
        "value" => Field::Number(NumberField::EngineValue),
        "instrument" => Field::Text(TextField::Instrument),
        "topic" => Field::Text(TextField::Topic),
        "payload" => Field::Text(TextField::Payload),
        "side" => Field::Side,
        "action" => Field::Action,
        _ => {
            let key = name.strip_prefix("value.").filter(|key| !key.is_empty() && text(key).is_ok())?;
            if key.contains([' ', '=']) {
                return None;
            }
            Field::Word(key.to_owned())
        }
    })
}

fn predicate(table: &PredicateTable, key: &str, problems: &mut Problems<'_>) -> Option<Predicate> {
    let Some(field) = field(&table.field) else {
        problems.add(
            &format!("{key}.field"),
            &format!(
                "is {:?}; allowed: price, size, notional, side, action, instrument, sequence, payload_bytes, \
                 latency_ns, topic, payload, value (engine20), and value.KEY for a word of a native payload",
                table.field
            ),
        );
        return None;
    };
    let is_text = match &field {
        Field::Number(_) => false,
        Field::Text(_) | Field::Side | Field::Action => true,
        Field::Word(_) => matches!(table.value, Written::Text(_)) && table.measure == Measure::Value,
    };
    if is_text && table.measure != Measure::Value {
        problems.add(&format!("{key}.measure"), "is a change, and a text has none; ask for a number");
        return None;
    }
    if !is_text {
        let field = match field {
            Field::Number(field) => field,
            Field::Word(word) => NumberField::Word(word),
            Field::Text(_) | Field::Side | Field::Action => return None,
        };
        let op = problems.take(&format!("{key}.op"), number_op(&table.op));
        let value = problems.take(&format!("{key}.value"), number(&table.value, &field, table.measure));
        return Some(Predicate::Number { field, measure: table.measure, op: op?, value: value? });
    }
    let op = problems.take(&format!("{key}.op"), text_op(&table.op))?;
    let Written::Text(value) = &table.value else {
        problems.add(&format!("{key}.value"), &format!("is {}; allowed: a text in quotes", table.value));
        return None;
    };
    problems.take(&format!("{key}.value"), text(value))?;
    let value = value.clone();
    let field = match field {
        Field::Side => return problems.take(&format!("{key}.value"), side(&value, op)),
        Field::Action => return problems.take(&format!("{key}.value"), book_action(&value, op)),
        Field::Text(field) => field,
        Field::Word(word) => TextField::Word(word),
        Field::Number(_) => return None,
    };
    Some(Predicate::Text { field, op, value })
}

fn number(written: &Written, field: &NumberField, measure: Measure) -> Result<Decimal, String> {
    let problem = |what: &str| format!("is {written}; {what}");
    let value = written.number().map_err(problem)?;
    if *field == NumberField::EngineValue && measure == Measure::Value {
        // What is compared with is what a producer would have sent for it.
        let nearest = value.to_string().parse::<f32>().ok().and_then(Decimal::from_f32);
        return nearest.ok_or_else(|| problem("allowed: a 32-bit float"));
    }
    Ok(value)
}

fn number_op(op: &str) -> Result<NumberOp, String> {
    Ok(match op {
        "==" => NumberOp::Equal,
        "!=" => NumberOp::Unequal,
        "<" => NumberOp::Less,
        "<=" => NumberOp::LessOrEqual,
        ">" => NumberOp::Greater,
        ">=" => NumberOp::GreaterOrEqual,
        _ => return Err(format!("is {op:?}; allowed for numbers: == != < <= > >=")),
    })
}

fn text_op(op: &str) -> Result<TextOp, String> {
    Ok(match op {
        "==" => TextOp::Equal,
        "!=" => TextOp::Unequal,
        "starts_with" => TextOp::StartsWith,
        "contains" => TextOp::Contains,
        _ => return Err(format!("is {op:?}; allowed for texts: == != starts_with contains")),
    })
}

fn is_other(op: TextOp) -> Result<bool, String> {
    match op {
        TextOp::Equal => Ok(false),
        TextOp::Unequal => Ok(true),
        TextOp::StartsWith | TextOp::Contains => {
            Err("is compared by == or != only: sides and actions are words of a list".to_owned())
        }
    }
}

fn side(value: &str, op: TextOp) -> Result<Predicate, String> {
    let side = match value {
        "buy" | "bid" => Side::Buy,
        "sell" | "ask" => Side::Sell,
        "none" => Side::None,
        _ => return Err(format!("is {value:?}; allowed: buy or bid, sell or ask, none")),
    };
    Ok(Predicate::Side { side, is_other: is_other(op)? })
}

fn book_action(value: &str, op: TextOp) -> Result<Predicate, String> {
    let name = ACTION_NAMES
        .into_iter()
        .find(|name| *name == value)
        .ok_or_else(|| format!("is {value:?}; allowed: {}", ACTION_NAMES.join(", ")))?;
    Ok(Predicate::Action { name, is_other: is_other(op)? })
}

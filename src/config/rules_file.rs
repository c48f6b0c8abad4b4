//! The rules file as it is written: `[[rule]]` tables, and how they become [`Rule`]s.
//!
//! Invariant: an unknown key is refused, and every refusal names the rule, the file and the line. docs/rules.md documents
//! every key.

use super::error::{ConfigError, Finding, line_of_key};
use super::rule::{KeyBy, Measure, Rule, RuleAction, Severity, SourceKind};
use super::{rules_check, settings};
use crate::event::{Decimal, Priority, Protocol};
use crate::limits::RULES_FILE_BYTES_MAX;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::io::Read;
use std::path::Path;

/// A checked set of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Where it came from, for messages.
    pub origin: String,
    /// The rules in the order of the file; ids are distinct.
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// Rules from a file.
    ///
    /// # Errors
    /// The file can't be read or is too large, is not TOML, or has keys or values that are not allowed; the error says
    /// where.
    pub fn load(path: impl AsRef<Path>) -> Result<RuleSet, ConfigError> {
        let path = path.as_ref();
        let read = |mut text: String| {
            let file = std::fs::File::open(path)?;
            file.take(RULES_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
            match text.len() as u64 > RULES_FILE_BYTES_MAX {
                true => Err(std::io::Error::other(format!(
                    "it is larger than {RULES_FILE_BYTES_MAX} bytes, and no rules file is"
                ))),
                false => Ok(text),
            }
        };
        let text =
            read(String::new()).map_err(|cause| ConfigError::ReadRules { path: path.to_owned(), cause })?;
        RuleSet::from_text(&text, &path.display().to_string())
    }

    /// Rules from TOML text; `origin` names it in messages.
    ///
    /// # Errors
    /// As [`RuleSet::load`].
    pub fn from_text(text: &str, origin: &str) -> Result<RuleSet, ConfigError> {
        let file: RulesFile =
            settings::parse_as(text, origin).map_err(|error| rule_named(error, text, origin))?;
        match rules_check::typed(&file) {
            Ok(rules) => Ok(RuleSet { origin: origin.to_owned(), rules }),
            Err(found) => {
                let located = |(key, problem): (String, String)| Finding {
                    line: line_of_key(text, &key),
                    key,
                    problem,
                };
                Err(ConfigError::Invalid {
                    file: origin.to_owned(),
                    findings: found.into_iter().map(located).collect(),
                })
            }
        }
    }

    /// Bytes that the keys, windows and last values of its rules take.
    pub fn state_bytes(&self) -> u64 {
        self.rules.iter().filter(|rule| rule.enabled).map(Rule::state_bytes).sum()
    }
}

/// Adds the rule's id to an error that names its place only.
fn rule_named(error: ConfigError, text: &str, origin: &str) -> ConfigError {
    let ConfigError::Parse { finding, .. } = &error else { return error };
    let place = finding.key.strip_prefix("rule[").and_then(|rest| rest.split_once(']'));
    let Some(index) = place.and_then(|(index, _)| index.parse::<usize>().ok()) else { return error };
    let id = text.parse::<toml::Table>().ok().and_then(|table| {
        let id = table.get("rule")?.as_array()?.get(index)?.get("id")?;
        id.as_str().map(str::to_owned)
    });
    let Some(id) = id else { return error };
    let problem = format!("{} (rule \"{id}\")", finding.problem);
    ConfigError::Parse { file: origin.to_owned(), finding: Finding { problem, ..finding.clone() } }
}

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RulesFile {
    pub(super) rule: Vec<RuleTable>,
}

/// `[[rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleTable {
    pub(super) id: String,
    pub(super) name: Option<String>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) severity: Severity,
    #[serde(default, rename = "match")]
    pub(super) matching: MatchTable,
    #[serde(default)]
    pub(super) predicates: Vec<PredicateTable>,
    pub(super) window: Option<WindowTable>,
    pub(super) cooldown_seconds: Option<Written>,
    #[serde(default)]
    pub(super) per: KeyBy,
    pub(super) keys_max: Option<u32>,
    #[serde(default)]
    pub(super) actions: Vec<RuleAction>,
}

/// `[rule.match]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MatchTable {
    pub(super) feed: Option<String>,
    pub(super) protocol: Option<Protocol>,
    pub(super) topic: Option<String>,
    pub(super) types: Vec<Written>,
    pub(super) source: Option<SourceKind>,
    pub(super) priority_at_least: Option<Priority>,
    pub(super) symbols: Vec<Written>,
}

/// One item of a rule's `predicates`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PredicateTable {
    pub(super) field: String,
    #[serde(default)]
    pub(super) measure: Measure,
    pub(super) op: String,
    pub(super) value: Written,
}

/// `[rule.window]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowTable {
    pub(super) count: u32,
    pub(super) seconds: Written,
}

fn yes() -> bool {
    true
}

/// A value as it is written: a number, or a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// A whole number.
    Whole(i64),
    /// A number with a point.
    Pointed(f64),
    /// A text in quotes.
    Text(String),
}

impl Written {
    /// The exact number that was written; a text is one if it is written as one.
    pub(super) fn number(&self) -> Result<Decimal, &'static str> {
        /// Digits that a 64-bit float keeps.
        const FLOAT_DIGITS: usize = 15;
        match self {
            Written::Whole(value) => Ok(Decimal::new((*value).into(), 0)),
            Written::Text(text) => Decimal::parse(text.as_bytes())
                .ok_or("allowed: a decimal number, with up to 18 digits behind the point"),
            Written::Pointed(value) => {
                // The shortest text of a float is what was written, as long as a float has room for it.
                let text = value.to_string();
                let digits = text.bytes().filter(u8::is_ascii_digit).collect::<Vec<u8>>();
                let digits = digits.iter().skip_while(|digit| **digit == b'0').count();
                match Decimal::parse(text.as_bytes()) {
                    Some(number) if digits <= FLOAT_DIGITS => Ok(number),
                    _ => Err("a number of so many digits is exact in quotes only: write \"0.123\" for 0.123"),
                }
            }
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Whole(value) => write!(f, "{value}"),
            Written::Pointed(value) => write!(f, "{value}"),
            Written::Text(text) => write!(f, "{text:?}"),
        }
    }
}

struct WrittenVisitor;

impl de::Visitor<'_> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text in quotes")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Written, E> {
        Ok(Written::Whole(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Written, E> {
        i64::try_from(value).map(Written::Whole).map_err(|_| E::custom("is too large: write it in quotes"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Written, E> {
        Ok(Written::Pointed(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Predicate, Symbol};
    use super::*;

    #[test]
    fn the_example_is_right_and_exact() {
        let set =
            RuleSet::from_text(include_str!("../../config/rules-example.toml"), "example").expect("is right");
        assert_eq!(set.rules.len(), 7);
        let of = |id: &str| set.rules.iter().find(|rule| rule.id == id).expect("is there");
        let jump = of("price-jump");
        assert_eq!((jump.cooldown_ns, jump.keys()), (10_000_000_000, 12));
        assert_eq!(jump.matching.symbols[0], Symbol::Name(*b"SPY     "));
        assert_eq!(jump.actions[1], RuleAction::Publish("prices".to_owned()));
        let Predicate::Number { value, .. } = &of("bid-falls").predicates[1] else { panic!("a number") };
        assert_eq!(*value, Decimal::new(-1, 2));
        assert!(!of("emergency-stop").enabled && of("iex-large-trade").keys() == 0);
        assert!(set.state_bytes() > 0);
        assert_eq!(RuleSet::from_text("", "nothing").expect("is right").rules, []);
    }

    /// What follows the id, the line that is told, and what else.
    const WRONG: &[(&str, usize, &[&str])] = &[
        ("colour = 'red'", 3, &["rule[0].colour", "unknown field", "cooldown_seconds", "rule \"a\""]),
        ("severity = 'fatal'", 3, &["rule[0].severity", "fatal", "critical", "rule \"a\""]),
        ("match = { types = ['T'] }", 3, &["match.types", "without protocol", "rule \"a\""]),
        (
            "match = { protocol = 'iex-tp', types = ['TT'] }",
            3,
            &["match.types[0]", "\"TT\"", "no message type of iex-tp"],
        ),
        ("match = { feed = 'a*b' }", 3, &["match.feed", "star"]),
        ("match = { symbols = ['TOOLONGNAME'] }", 3, &["match.symbols[0]", "TOOLONGNAME", "1 to 8"]),
        ("match = { symbols = [-1] }", 3, &["match.symbols[0]", "-1"]),
        ("match = { topic = 'x', symbols = [1] }", 3, &["rule[0].match", "topic", "entry"]),
        ("match = { topic = 'x', protocol = 'fix' }", 3, &["match.protocol", "only native frames"]),
        (
            "match = { protocol = 'ice-impact' }\npredicates = [{ field = 'price', op = '>', value = 1 }]",
            3,
            &["match.protocol", "ice-impact"],
        ),
        (
            "predicates = [{ field = 'colour', op = '==', value = 1 }]",
            3,
            &["predicates[0].field", "colour", "notional"],
        ),
        (
            "predicates = [{ field = 'price', op = 'contains', value = 1 }]",
            3,
            &["predicates[0].op", "contains", "<="],
        ),
        (
            "predicates = [{ field = 'price', op = '>', value = 'dear' }]",
            3,
            &["predicates[0].value", "dear", "decimal"],
        ),
        (
            "predicates = [{ field = 'price', op = '>', value = 1.2345678901234567 }]",
            3,
            &["predicates[0].value", "in quotes"],
        ),
        (
            "predicates = [{ field = 'side', op = '==', value = 'left' }]",
            3,
            &["predicates[0].value", "left", "sell"],
        ),
        (
            "predicates = [{ field = 'action', op = 'contains', value = 'trade' }]",
            3,
            &["predicates[0].value", "== or !="],
        ),
        (
            "predicates = [{ field = 'topic', measure = 'change', op = '==', value = 'x' }]",
            3,
            &["predicates[0].measure", "a text has none"],
        ),
        (
            "predicates = [{ field = 'topic', op = '==', value = 5 }]",
            3,
            &["predicates[0].value", "in quotes"],
        ),
        ("window = { count = 0, seconds = 1 }", 3, &["window.count", "is 0", "1 to 4096"]),
        ("window = { count = 5, seconds = 0 }", 3, &["window.seconds", "is 0", "604800"]),
        ("window = { count = 5, seconds = '0.0000000001' }", 3, &["window.seconds", "nanosecond"]),
        ("cooldown_seconds = -1", 3, &["cooldown_seconds", "-1"]),
        ("keys_max = 70000", 3, &["keys_max", "70000", "65536"]),
        ("actions = [{ webhook = 'ftp://x' }]", 3, &["actions[0]", "ftp://x", "https://"]),
        ("actions = ['shout']", 3, &["actions[0]", "shout", "kill_switch"]),
        (
            "window = { count = 4096, seconds = 1 }\nkeys_max = 65536",
            1,
            &["1073741824", "keys_max", "\"a\"", "65536 keys"],
        ),
        ("[[rule]]\nid = 'a'", 4, &["rule[1].id", "rule[0]"]),
    ];

    #[test]
    fn every_wrong_rule_is_told_with_its_line_and_what_is_allowed() {
        for (text, line, words) in WRONG {
            let text = format!("[[rule]]\nid = 'a'\n{text}\n");
            let error = RuleSet::from_text(&text, "rules.toml").expect_err(&text).to_string();
            assert!(error.starts_with(&format!("rules.toml:{line}: ")), "{text}\n{error}");
            for word in *words {
                assert!(error.contains(word), "no {word:?} in {error}");
            }
        }
        let many = "[[rule]]\nid = 'x'\n".repeat(4_097);
        let error = RuleSet::from_text(&many, "r").expect_err("too many").to_string();
        assert!(error.contains("4097 rules; allowed: up to 4096"), "{error}");
        let missing = RuleSet::load("/nonexistent/rules.toml").expect_err("is not there").to_string();
        assert!(missing.contains("/nonexistent/rules.toml: cannot read the rules file"), "{missing}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[[rule]]\nid = 'a'\nkeys_max = 0\ncooldown_seconds = -5\n[[rule]]\nid = ''\n";
        let error = RuleSet::from_text(text, "r").expect_err("is wrong").to_string();
        for word in ["r:3:", "r:4:", "r:6:"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn actions_have_the_names_of_the_wire_vocabulary() {
        use crate::config::ACTION_NAMES;
        assert_eq!(ACTION_NAMES.len(), 8);
        for name in ACTION_NAMES {
            let text = format!(
                "[[rule]]\nid = 'a'\npredicates = [{{ field = 'action', op = '==', value = '{name}' }}]\n"
            );
            assert!(RuleSet::from_text(&text, "r").is_ok());
        }
    }
}

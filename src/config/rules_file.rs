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

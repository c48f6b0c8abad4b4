//! What is wrong with a config file: said with file, line, key, value, what is allowed and what to do.

use std::fmt;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong in a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The key's path, such as `feed[1].lines[0].destination`; empty for the file as a whole.
    pub key: String,
    /// The line of the key or of the table that it is missing from, from 1.
    pub line: Option<usize>,
    /// The value that was found and what is allowed.
    pub problem: String,
}

/// Why there are no settings. Every text names the file and says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: cannot read the config file: {cause}; check the path given to --config")]
    Read {
        /// The path as given.
        path: PathBuf,
        /// What the system said; part of the text, so not also an error source.
        cause: std::io::Error,
    },
    /// A rules file can't be read.
    #[error("{path}: cannot read the rules file: {cause}; check the path in rules.file")]
    ReadRules {
        /// The path as given.
        path: PathBuf,
        /// What the system said; part of the text, so not also an error source.
        cause: std::io::Error,
    },
    /// The file is not TOML, or a key is unknown, missing or of the wrong type.
    #[error("{}", located(.file, .finding))]
    Parse {
        /// The file's path.
        file: String,
        /// What is wrong, and where.
        finding: Finding,
    },
    /// Values that are not allowed, alone or together. All of them are told at once.
    #[error("{}", located_all(.file, .findings))]
    Invalid {
        /// The file's path.
        file: String,
        /// What is wrong, and where; never empty.
        findings: Vec<Finding>,
    },
    /// A file that is right in itself lacks what a live run needs.
    #[error("{file}: there is no {table} table, and `sluice run` needs one; {advice}")]
    NotRunnable {
        /// The file's path.
        file: String,
        /// The missing table, or those of which one would do, as they are written.
        table: &'static str,
        /// What to add.
        advice: &'static str,
    },
}

const NEXT: &str = "\n  correct this and run `sluice check-config FILE` again; \
                    `sluice check-config --print-default` explains every key";

fn write_finding(out: &mut impl fmt::Write, file: &str, finding: &Finding) -> fmt::Result {
    out.write_str(file)?;
    if let Some(line) = finding.line {
        write!(out, ":{line}")?;
    }
    out.write_str(": ")?;
    if !finding.key.is_empty() {
        write!(out, "{}: ", finding.key)?;
    }
    out.write_str(&finding.problem)
}

fn located(file: &str, finding: &Finding) -> String {
    located_all(file, std::slice::from_ref(finding))
}

fn located_all(file: &str, findings: &[Finding]) -> String {
    let mut text = String::new();
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        write_finding(&mut text, file, finding).expect("writing to a String cannot fail");
    }
    text + NEXT
}

/// The line, from 1, of a byte offset.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The line where the key with this path stands, or the innermost table on the way to it.
pub(super) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut place = None;
    let mut table = Some(root.get_ref());
    for part in key.split('.') {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        let Some((found_key, mut value)) = table.and_then(|t| t.get_key_value(name)) else { break };
        place = Some(found_key.span().start);
        for index in indexes.split('[').filter_map(|i| i.trim_end_matches(']').parse::<usize>().ok()) {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(index)) else { break };
            value = item;
            // The span of a [[table]] item is its header; that of an inline one is itself.
            place = Some(value.span().start);
        }
        table = match value.get_ref() {
            DeValue::Table(inner) => Some(inner),
            _ => None,
        };
    }
    place.map(|offset| line_of(text, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[queues]\nbatch_capacity = 3\n\n[[feed]]\nname = 'x'\nlines = [\n  { name = 'A' },\n  { name = 'B' },\n]\n";

    #[test]
    fn keys_are_found_by_line() {
        assert_eq!(line_of_key(TEXT, "queues.batch_capacity"), Some(2));
        assert_eq!(line_of_key(TEXT, "feed[0].name"), Some(5));
        assert_eq!(line_of_key(TEXT, "feed[0].lines[1].name"), Some(8));
        assert_eq!(line_of_key(TEXT, "feed[0].lines[7].name"), Some(6));
        assert_eq!(line_of_key(TEXT, "feed[0].protocol"), Some(4));
        assert_eq!(line_of_key(TEXT, "absent.key"), None);
    }
}

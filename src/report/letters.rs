//! Dead letters: counts by reason, and listings for people and for scripts.
//!
//! Invariant: `letters`, `suppressed` and `no_room` of a reason add up to the events that were given up for it, in closed
//! books; `written` and `not_written`, where there is a file, to `letters`.

use super::text::{Style, Table, thousands};
use crate::sink::dead_letters::{Letter, LetterCounts, LetterOffice, Reason};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Characters of a letter's content that a table shows.
const CONTENT_CHARS_MAX: usize = 120;

/// Bytes of a payload that is not decoded that a table shows.
const CONTENT_BYTES_MAX: usize = 24;

/// What became of the dead letters of one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReasonReport {
    /// Those that arrived where they are kept and written.
    pub letters: u64,
    /// Those that were over an agent's rate, and are only counted.
    pub suppressed: u64,
    /// Those that found an agent's ring full, and are only counted.
    pub no_room: u64,
    /// Of the letters: written to the file.
    pub written: u64,
    /// Of the letters: lost to the file.
    pub not_written: u64,
}

impl From<LetterCounts> for ReasonReport {
    fn from(counts: LetterCounts) -> ReasonReport {
        let LetterCounts { letters, suppressed, no_room, written, not_written } = counts;
        ReasonReport { letters, suppressed, no_room, written, not_written }
    }
}

/// Dead letters in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LettersReport {
    /// By reason, those of which there were any.
    pub by_reason: BTreeMap<&'static str, ReasonReport>,
    /// How many are kept in memory.
    pub kept: u64,
    /// Why the file could not be written in the end: disk_full, read_only, not_permitted, folder_missing, locked or
    /// io_error.
    pub trouble: Option<&'static str>,
}

impl LettersReport {
    /// The report of an office that is finished.
    pub fn new(office: &LetterOffice) -> LettersReport {
        let counted = Reason::all().map(|reason| (reason.name(), office.counts(reason).into()));
        LettersReport {
            by_reason: counted.filter(|(_, counts)| *counts != ReasonReport::default()).collect(),
            kept: office.kept(None).count() as u64,
            trouble: office.trouble().map(|trouble| trouble.name()),
        }
    }
}

/// The listing of the letters that an office keeps, for a person.
pub fn explain_letters<'a>(
    letters: impl IntoIterator<Item = &'a Letter>,
    report: &LettersReport,
    style: Style,
) -> String {
    let mut out = format!("{}\n", style.heading("Dead letters"));
    if report.by_reason.is_empty() {
        out += "  none\n";
        return out;
    }
    letters_table(letters, style, &mut out);
    let head = ["reason", "letters", "suppressed", "no room", "written", "not written"];
    let mut table = Table::new(1, &head);
    for (reason, counts) in &report.by_reason {
        let ReasonReport { letters, suppressed, no_room, written, not_written } = *counts;
        let numbers = [letters, suppressed, no_room, written, not_written].map(thousands);
        table.row(std::iter::once((*reason).to_owned()).chain(numbers).collect());
    }
    out.push('\n');
    table.render(style, &mut out);
    if let Some(trouble) = report.trouble {
        writeln!(out, "  the file could not be written in the end: {trouble}")
            .expect("writing to a String cannot fail");
    }
    out
}

/// A table of letters with what they say, in their order.
pub fn letters_table<'a>(letters: impl IntoIterator<Item = &'a Letter>, style: Style, out: &mut String) {
    let head = [
        "taken (UTC)",
        "reason",
        "tries",
        "class",
        "protocol",
        "shard/stream",
        "line",
        "epoch",
        "sequence",
        "type",
        "bytes",
        "marks",
        "content",
    ];
    let mut table = Table::new(head.len(), &head);
    let mut any = false;
    for letter in letters {
        any = true;
        let marks: Vec<&str> = letter.marks.names().collect();
        table.row(vec![
            utc(letter.taken_unix_ns),
            letter.reason.name().to_owned(),
            letter.attempts.to_string(),
            letter.class.name().to_owned(),
            letter.protocol.name().to_owned(),
            format!("{}/{}", letter.shard.0, letter.stream),
            letter.line.to_string(),
            letter.epoch.to_string(),
            letter.sequence.to_string(),
            letter.protocol.type_name(letter.kind),
            letter.payload_bytes.to_string(),
            if marks.is_empty() { "-".to_owned() } else { marks.join(",") },
            content(letter),
        ]);
    }
    if any {
        table.render(style, out);
    }
}

/// What a letter says, in one line: its fields, or the beginning of its bytes.
fn content(letter: &Letter) -> String {
    let Some(fields) = letter.describe() else {
        let shown = &letter.payload[..letter.payload.len().min(CONTENT_BYTES_MAX)];
        let mut text = String::new();
        for byte in shown {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        }
        if shown.len() < letter.payload_bytes as usize {
            text.push('…');
        }
        return text;
    };
    let text = fields.to_string();
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = chars.by_ref().take(CONTENT_CHARS_MAX).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Counts by reason, for a person.
pub fn letter_counts_table(counts: &BTreeMap<&'static str, u64>, style: Style, out: &mut String) {
    let mut table = Table::new(1, &["reason", "letters"]);
    for (reason, count) in counts {
        table.row(vec![(*reason).to_owned(), thousands(*count)]);
    }
    table.render(style, out);
}

/// The columns of [`letter_row`], which are the keys of a letter's line.
const COLUMNS: [&str; 25] = [
    "taken_unix_ns",
    "at_ns",
    "reason",
    "fate",
    "attempts",
    "shard",
    "protocol",
    "stream",
    "line",
    "lane",
    "session",
    "sequence",
    "epoch",
    "type",
    "kind",
    "class",
    "marks",
    "wire_ns",
    "receive_ns",
    "publish_ns",
    "source_ns",
    "clock",
    "payload_bytes",
    "truncated_from",
    "payload",
];

/// The head of rows of letters.
pub fn letter_row_head() -> String {
    format!("{}\n", COLUMNS.join("\t"))
}

/// A letter as a tab-separated row; what it lacks is `-`.
pub fn letter_row(letter: &Letter) -> String {
    let value = letter.to_value();
    let cell = |column: &&str| match value.get(column) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        _ => "-".to_owned(),
    };
    format!("{}\n", COLUMNS.iter().map(cell).collect::<Vec<_>>().join("\t"))
}

/// A letter as a line of JSON: the keys of its own line, and its `fields`, `null` where they are not decoded.
pub fn letter_json(letter: &Letter) -> String {
    let mut value = letter.to_value();
    value["fields"] = letter.describe().unwrap_or(Value::Null);
    format!("{value}\n")
}

/// Date and time of day to the millisecond.
fn utc(unix_ns: u64) -> String {
    let (seconds, ms) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, so that a leap day is the last one: 146,097 days are 400 of them.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carried) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carried;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeadLetters;
    use crate::event::{DeadReason, EventHeader, Protocol, ShardId, ShedReason};
    use crate::sink::dead_letters::letter_way;

    fn office(letters: u64, rate: u32) -> LetterOffice {
        let (mut port, reader) = letter_way(&DeadLetters { burst: rate, ..DeadLetters::default() });
        let mut office = LetterOffice::new(10, None);
        office.add(reader);
        for sequence in 0..letters {
            let protocol = Protocol::CboePitch as u8;
            let header = EventHeader { sequence, protocol, kind: 0x21, marks: 8, ..EventHeader::default() };
            let reason: Reason = match sequence % 2 {
                0 => DeadReason::Evicted.into(),
                _ => ShedReason::BatchQueueFull.into(),
            };
            port.write(reason, &header, &[0xab; 30], ShardId(1), 2, 0);
        }
        office.finish(0, 1_709_210_096_789_000_000);
        office
    }

    #[test]
    fn a_report_has_the_reasons_that_there_were() {
        let report = LettersReport::new(&office(6, 4));
        let each = ReasonReport { letters: 2, suppressed: 1, ..ReasonReport::default() };
        assert_eq!(
            report.by_reason.into_iter().collect::<Vec<_>>(),
            [("batch_queue_full", each), ("evicted", each)]
        );
        assert_eq!((report.kept, report.trouble), (4, None));
    }

    #[test]
    fn letters_are_explained() {
        let office = office(3, 2);
        let text = explain_letters(office.kept(None), &LettersReport::new(&office), Style::PLAIN);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["Dead", "letters"]);
        let expected = "2024-02-29 12:34:56.789 evicted 2 realtime cboe-pitch 1/0 0 0 0 33 30 stale \
                        abababababababababababababababababababababababab…";
        assert_eq!(rows[2].join(" "), expected);
        assert_eq!(rows[7], ["evicted", "1", "1", "0", "0", "0"]);
        let none = explain_letters([], &LettersReport::default(), Style::PLAIN);
        assert_eq!(none, "Dead letters\n  none\n");
    }

    #[test]
    fn rows_have_as_many_cells_as_their_head() {
        let office = office(1, 1);
        let letter = office.kept(None).next().expect("is kept");
        let (head, row) = (letter_row_head(), letter_row(letter));
        assert_eq!(row.split('\t').count(), head.split('\t').count());
        assert!(row.starts_with("1709210096789000000\t0\tevicted\tdead\t2\t1\tcboe-pitch\t"), "{row}");
        assert!(row.contains("\tnone\t30\t-\t"), "{row}");
        let keys = letter.to_value();
        let keys = keys.as_object().expect("an object").keys();
        // All but the version, and the one that only cut letters have.
        assert_eq!(keys.filter(|key| COLUMNS.contains(&key.as_str())).count(), COLUMNS.len() - 1);
        let value: Value = serde_json::from_str(&letter_json(letter)).expect("JSON");
        assert_eq!((&value["fields"], &value["type"]), (&Value::Null, &"33".into()));
    }

    #[test]
    fn times_of_day_are_right() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399, "2000-02-28 23:59:59.000"),
            (951_868_800, "2000-03-01 00:00:00.000"),
            (4_107_542_399, "2100-02-28 23:59:59.000"),
            (4_107_542_400, "2100-03-01 00:00:00.000"),
            (1_735_689_599, "2024-12-31 23:59:59.000"),
        ] {
            assert_eq!(utc(unix_s * 1_000_000_000), text);
        }
    }
}

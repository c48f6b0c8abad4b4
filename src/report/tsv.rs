//! Streams as tab-separated text for cut, sort and awk: one row per stream, per line and per message type.

use super::streams::StreamReport;
use std::fmt::Write as _;

const HEAD: &str = "row\tprotocol\tstream\tsession\tkey\tpackets\theartbeats\tmessages\tduplicates\tepochs\tgaps\tmissing\t\
                    wins\tonly\tlate_p50_ns\tlate_p99_ns";

/// The rows of `streams` under one head. `row` is `stream`, `line` or `type`, `key` the line's name or the
/// type; a column that a row has no figure for is `-`.
pub fn tab_separated(streams: &[StreamReport]) -> String {
    let mut out = format!("{HEAD}\n");
    for stream in streams {
        let start = |row: &str, key: &str| {
            let fields = [row, stream.protocol.name(), &stream.name, &stream.session, key];
            fields.map(field).join("\t")
        };
        let counts = [
            stream.packets,
            stream.heartbeats,
            stream.messages,
            stream.duplicates,
            stream.epochs,
            stream.gaps,
            stream.missing,
        ];
        push(&mut out, start("stream", "-"), counts.map(Some), [None; 4]);
        for line in &stream.lines {
            let mut counts = [None; 7];
            counts[0] = Some(line.packets);
            counts[3] = Some(line.duplicates);
            let late = line.late_ns;
            let ends = [Some(line.wins), Some(line.only), late.map(|l| l.p50), late.map(|l| l.p99)];
            push(&mut out, start("line", &line.name), counts, ends);
        }
        for (kind, count) in &stream.by_type {
            let mut counts = [None; 7];
            counts[2] = Some(*count);
            push(&mut out, start("type", kind), counts, [None; 4]);
        }
    }
    out
}

fn push(out: &mut String, start: String, counts: [Option<u64>; 7], ends: [Option<u64>; 4]) {
    out.push_str(&start);
    for count in counts.into_iter().chain(ends) {
        match count {
            Some(count) => write!(out, "\t{count}").expect("writing to a String cannot fail"),
            None => out.push_str("\t-"),
        }
    }
    out.push('\n');
}

/// A field without what would break its row; `-` if it is empty.
fn field(text: &str) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

//! Streams as a report has them: one object per sequenced flow, with its lines and message types.

use super::books::UnequalSides;
use crate::event::Protocol;
use crate::feed::StreamStatus;
use crate::ledger::{LineBook, Percentiles, StreamBook};
use serde::{Serialize, Serializer};

/// A closed stream book with the names that its owner knows.
#[derive(Clone, Debug)]
pub struct NamedStream {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its name: the feed's, and the unit's where a feed has several.
    pub name: String,
    /// The sender's session as people write it; empty where the protocol has none.
    pub session: String,
    /// How it stood in the end.
    pub status: StreamStatus,
    /// Its counters. `book.lines` is not read: `lines` is.
    pub book: StreamBook,
    /// Its lines that were seen or configured.
    pub lines: Vec<NamedLine>,
}

/// A closed line book with its name.
#[derive(Clone, Debug)]
pub struct NamedLine {
    /// Its name, such as "A".
    pub name: String,
    /// Its number within the feed.
    pub index: u8,
    /// Its counters.
    pub book: LineBook,
    /// How late its later copies were, ns of wire time; `None` where no wire times are comparable.
    pub late: Option<Percentiles>,
}

/// A stream in a report. Keys up to `lines` are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// Its protocol's name.
    pub protocol: Protocol,
    /// Its name.
    pub name: String,
    /// Packets on all lines.
    pub packets: u64,
    /// Heartbeats on all lines.
    pub heartbeats: u64,
    /// Messages on all lines, copies included.
    pub messages: u64,
    /// Messages that were copies.
    pub duplicates: u64,
    /// Runs between restarts.
    pub epochs: u64,
    /// Ranges of missing sequence numbers.
    pub gaps: u64,
    /// Missing sequence numbers.
    pub missing: u64,
    /// Messages by type as the protocol writes it, in the order of the types.
    #[serde(serialize_with = "as_map")]
    pub by_type: Vec<(String, u64)>,
    /// Its lines.
    pub lines: Vec<LineReport>,
    /// The sender's session.
    pub session: String,
    /// Messages that became events.
    pub accepted: u64,
    /// Messages of ended epochs, or too old to be told from a duplicate.
    pub stale: u64,
    /// Messages refused.
    pub rejected: u64,
    /// Sequence numbers from the first to the last of each epoch.
    pub expected: u64,
    /// Sequence numbers seen on any line.
    pub seen: u64,
    /// How it stood in the end: unknown, backfill, synchronized, gap_fill, stale or ended.
    pub status: &'static str,
    /// Ranges of numbers that were skipped at first, whatever became of them.
    pub gaps_opened: u64,
    /// Numbers that another line brought out of such a range.
    pub filled: u64,
    /// Numbers that a recovery brought out of such a range.
    pub recovered: u64,
    /// Messages that were held back behind a gap.
    pub held: u64,
    /// Times that a loss made it stale.
    pub times_stale: u64,
}

/// A line in a report. Keys up to `late_ns` are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineReport {
    /// Its name.
    pub name: String,
    /// Packets that came on it.
    pub packets: u64,
    /// Sequence numbers that it brought first.
    pub wins: u64,
    /// Sequence numbers that no other line brought.
    pub only: u64,
    /// How late its later copies were; `null` where that is not known.
    pub late_ns: Option<Percentiles>,
    /// Sequence numbers that it brought later than another line, or again.
    pub duplicates: u64,
    /// Sequence numbers that it did not bring, from the first one on that it did.
    pub missing: u64,
    /// Times that it was silent while another line went on.
    pub silences: u64,
    /// Times that it was taken for dead.
    pub deaths: u64,
    /// Its number within the feed, for listings.
    #[serde(skip)]
    pub index: u8,
}

fn as_map<S: Serializer>(pairs: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, count)| (name, count)))
}

impl From<NamedLine> for LineReport {
    fn from(line: NamedLine) -> LineReport {
        LineReport {
            name: line.name,
            packets: line.book.packets,
            wins: line.book.wins,
            only: line.book.only,
            late_ns: line.late.filter(|late| late.count > 0),
            duplicates: line.book.duplicates,
            missing: line.book.missing,
            silences: line.book.silences,
            deaths: line.book.deaths,
            index: line.index,
        }
    }
}

impl From<NamedStream> for StreamReport {
    fn from(stream: NamedStream) -> StreamReport {
        let book = stream.book;
        let mut by_type: Vec<(String, u64)> = Vec::new();
        for (kind, count) in book.by_type.listed() {
            let name = stream.protocol.type_name(kind);
            // Two types of one name (the number 5 and the letter '5') must not make one key twice.
            match by_type.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => *total += count,
                None => by_type.push((name, count)),
            }
        }
        if book.by_type.unlisted() > 0 {
            by_type.push(("unlisted".to_owned(), book.by_type.unlisted()));
        }
        StreamReport {
            protocol: stream.protocol,
            name: stream.name,
            packets: book.packets,
            heartbeats: book.heartbeats,
            messages: book.messages,
            duplicates: book.duplicates,
            epochs: book.epochs,
            gaps: book.gaps,
            missing: book.missing,
            by_type,
            lines: stream.lines.into_iter().map(LineReport::from).collect(),
            session: stream.session,
            accepted: book.accepted,
            stale: book.stale,
            rejected: book.rejected,
            expected: book.expected,
            seen: book.seen,
            status: stream.status.name(),
            gaps_opened: book.gaps_opened,
            filled: book.filled,
            recovered: book.recovered,
            held: book.held,
            times_stale: book.times_stale,
        }
    }
}

impl StreamReport {
    /// The stream's equations that don't hold: the same two as [`StreamBook::balanced`] knows.
    pub fn imbalances(&self) -> Vec<UnequalSides> {
        let messages = self.accepted + self.duplicates + self.stale + self.rejected;
        let equations = [
            ("expected = seen + missing", self.expected, self.seen.saturating_add(self.missing)),
            ("messages = accepted + duplicates + stale + rejected", self.messages, messages),
        ];
        let unequal = equations.into_iter().filter(|(_, left, right)| left != right);
        unequal
            .map(|(equation, left, right)| UnequalSides {
                equation: format!("stream {} {}: {equation}", self.protocol, self.name),
                left,
                right,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(protocol: Protocol, book: StreamBook) -> StreamReport {
        StreamReport::from(NamedStream {
            protocol,
            name: "s".to_owned(),
            session: String::new(),
            status: StreamStatus::Synchronized,
            book,
            lines: Vec::new(),
        })
    }

    #[test]
    fn types_are_named_as_the_protocol_names_them() {
        let mut book = StreamBook::default();
        [u16::from(b'Q'), u16::from(b'8'), 8, 300].into_iter().for_each(|kind| book.by_type.add(kind));
        let iex = stream(Protocol::IexTp, book.clone());
        let owned = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        assert_eq!(iex.by_type, owned(&[("8", 2), ("Q", 1), ("300", 1)]));
        let cme = stream(Protocol::CmeMdp3, book.clone());
        assert_eq!(cme.by_type, owned(&[("8", 1), ("56", 1), ("81", 1), ("300", 1)]));
        (1_000..1_100).for_each(|kind| book.by_type.add(kind));
        let full = stream(Protocol::CmeMdp3, book);
        assert_eq!(full.by_type.last(), Some(&("unlisted".to_owned(), 40)));
    }

    #[test]
    fn imbalances_agree_with_the_book() {
        let good = StreamBook {
            messages: 9,
            accepted: 4,
            duplicates: 3,
            stale: 1,
            rejected: 1,
            expected: 7,
            seen: 5,
            missing: 2,
            ..StreamBook::default()
        };
        let nudges: [fn(&mut StreamBook); 4] =
            [|b| b.messages += 1, |b| b.stale += 1, |b| b.expected += 1, |b| b.missing += 1];
        assert!(good.balanced() && stream(Protocol::IexTp, good.clone()).imbalances().is_empty());
        for nudge in nudges {
            let mut book = good.clone();
            nudge(&mut book);
            assert!(!book.balanced());
            let unequal = stream(Protocol::IexTp, book).imbalances();
            assert_eq!(unequal.len(), 1);
            assert!(unequal[0].to_string().starts_with("stream iex-tp s: "), "{}", unequal[0]);
        }
    }
}

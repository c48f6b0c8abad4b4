//! What NYSE sends beside the live stream: retransmissions fill gaps, refreshes and refusals leave its numbers alone.

use crate::rig::{Arrival, Feeds, Outcome, policies};
use crate::venues::{id_of, nyse};
use sluice::event::Protocol;

const BEGIN_NS: u64 = 1_700_000_000_000_000_000;

/// Sent one after another, each by its line: delivery flag, first number, message type and ids.
type Packet = (u8, u8, u64, u16, &'static [u64]);

fn told(packets: &[Packet]) -> Vec<Outcome> {
    let tell = |policy| {
        let mut feeds = Feeds::new(policy, Protocol::NysePillar, 1, 2);
        let arrival = |(index, &(line, flag, first, kind, ids)): (usize, &Packet)| {
            let sent_ns = BEGIN_NS + 1_000_000 * index as u64;
            Arrival { time_ns: sent_ns + 500, line, payload: nyse(sent_ns, flag, first, kind, ids) }
        };
        let mut arrivals: Vec<Arrival> = packets.iter().enumerate().map(arrival).collect();
        feeds.take(&mut arrivals);
        feeds.finish().remove(0)
    };
    policies().into_iter().map(tell).collect()
}

fn ids(outcome: &Outcome) -> Vec<u64> {
    let mut ids: Vec<u64> = outcome.delivered.iter().map(|message| id_of(&message.body)).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_retransmission_is_old_data_sent_now() {
    for outcome in told(&[
        (0, 12, 1, 1, &[100]),
        (0, 11, 2, 102, &[101, 102]),
        (0, 11, 7, 102, &[106]),
        // Numbers 4 to 6 were lost; 2 and 3 come once more with them.
        (1, 15, 2, 102, &[101, 102, 103]),
        (1, 15, 5, 102, &[104, 105]),
        (0, 11, 8, 102, &[107]),
        (1, 13, 7, 102, &[106]),
        (0, 1, 9, 0, &[]),
    ]) {
        let book = &outcome.book;
        assert_eq!(ids(&outcome), [100, 101, 102, 103, 104, 105, 106, 107]);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (8, 8, 0, 0));
        assert_eq!((book.duplicates, book.stale, book.epochs), (3, 0, 1));
    }
}

#[test]
fn refreshes_neither_fill_nor_make_gaps() {
    for outcome in told(&[
        (0, 12, 1, 1, &[100]),
        (0, 11, 2, 102, &[101]),
        // Number 3 is lost. A refresh of four packets, then one of one packet, with numbers of their own.
        (0, 18, 1, 35, &[900, 901]),
        (0, 11, 4, 102, &[103]),
        (0, 19, 3, 106, &[902]),
        (0, 19, 40_000, 106, &[903]),
        (0, 20, 4, 106, &[]),
        (0, 17, 3, 35, &[904]),
        (0, 11, 5, 102, &[104]),
    ]) {
        let book = &outcome.book;
        assert_eq!(ids(&outcome), [100, 101, 103, 104, 900, 901, 902, 903, 904]);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (5, 4, 1, 1));
        assert_eq!((book.duplicates, book.stale, book.epochs), (0, 0, 1));
    }
}

#[test]
fn a_message_that_is_unavailable_stays_missing() {
    for outcome in told(&[
        (0, 12, 1, 1, &[100]),
        (0, 11, 4, 102, &[103]),
        // The answer's own number is one of those that can't be had.
        (1, 21, 2, 31, &[(3 << 32) | 2]),
        (0, 11, 5, 102, &[104]),
    ]) {
        let book = &outcome.book;
        assert_eq!(ids(&outcome), [100, 103, 104, (3 << 32) | 2]);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (5, 3, 2, 1));
        let told = outcome.delivered.iter().find_map(|message| {
            sluice::wire::unavailable(Protocol::NysePillar, 31, &message.body)
                .filter(|_| message.body.starts_with(&[31, 0]))
        });
        assert_eq!(told, Some(2..=3));
    }
}

//! Hot path: what MDP 3.0 messages say of books and trades, in the words of all venues.
//!
//! Invariant: prices keep their exponent (7 or 9 decimals by template), nulls become "none", and a group that
//! does not fit its message yields nothing.

use super::body::{Body, Dimension, Group};
use super::layout::{
    BookEntry, BookLongEntry, OrderBookEntry, OrderSnapshot, OrderSnapshotEntry, Snapshot, SnapshotEntry,
    TradeEntry, TradeSummaryEntry, TradeSummaryLongEntry, price_decimals, template,
};
use crate::event::{Price, Side};
use crate::wire::{Action, Entry, Instrument};
use zerocopy::little_endian::{I32, I64, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Null of a price, of a 32-bit size, and of the unsigned ids.
const PRICE_NULL: i64 = i64::MAX;
const SIZE_NULL: i32 = i32::MAX;
const TRADE_ID_NULL: u32 = u32::MAX;

/// Tells `found` the levels, orders and trades in `body`, a message of the template `kind`.
///
/// Levels come from 32, 46, 64 and the snapshots 38, 52 (as adds); orders from 43, 47 and the snapshots 44, 53;
/// trades from 36, 42, 48, 65, and their busts. Implied prices are a book of their own
/// ([`Instrument::Implied`]), the best bid and offer of the
/// market are quotes, a book reset is a delete without side and price. Corrections of trades and statistics
/// are not told; [`super::describe()`] lists them.
#[inline]
pub fn entries(kind: u16, body: &[u8], found: &mut impl FnMut(Entry)) {
    let decimals = price_decimals(kind);
    match kind {
        template::BOOK | template::BOOK_9 => {
            each(kind, body, |e: &BookEntry| level(decimals, e), found);
        }
        template::BOOK_LONG => {
            each(kind, body, |e: &BookLongEntry| level_long(decimals, e), found);
        }
        template::TRADE_SUMMARY | template::TRADE_SUMMARY_9 => {
            each(kind, body, |e: &TradeSummaryEntry| trade_summary(decimals, e), found);
        }
        template::TRADE_SUMMARY_LONG => {
            each(kind, body, |e: &TradeSummaryLongEntry| trade_summary_long(decimals, e), found);
        }
        template::TRADE => each(kind, body, |e: &TradeEntry| single_trade(decimals, e), found),
        template::ORDER_BOOK | template::ORDER_BOOK_9 => {
            each(kind, body, |e: &OrderBookEntry| order(decimals, e), found);
        }
        template::SNAPSHOT | template::SNAPSHOT_9 => snapshot(kind, body, found),
        template::ORDER_SNAPSHOT | template::ORDER_SNAPSHOT_9 => order_snapshot(kind, body, found),
        _ => {}
    }
}

/// Runs `convert` over the first group of `body` and tells `found` what comes of it.
#[inline]
fn each<'a, E>(
    kind: u16,
    body: &'a [u8],
    convert: impl Fn(&'a E) -> Option<Entry>,
    found: &mut impl FnMut(Entry),
) where
    E: FromBytes + Immutable + KnownLayout + Unaligned + 'a,
{
    if let Some(body) = Body::parse(kind, body)
        && let Some((group, _)) = Group::take(body.groups, Dimension::Bytes3)
        && let Some(entries) = group.entries::<E>()
    {
        entries.filter_map(convert).for_each(found);
    }
}

/// A changed level.
#[inline]
fn level(decimals: u8, e: &BookEntry) -> Option<Entry> {
    book(e.entry_type, e.action, e.security_id, price(decimals, e.price), size(e.size))
}

/// A changed level with a 64-bit size.
#[inline]
fn level_long(decimals: u8, e: &BookLongEntry) -> Option<Entry> {
    book(e.entry_type, e.action, e.security_id, price(decimals, e.price), size_long(e.size))
}

/// A changed order.
#[inline]
fn order(decimals: u8, e: &OrderBookEntry) -> Option<Entry> {
    let entry = book(e.entry_type, e.action, e.security_id, price(decimals, e.price), size(e.size))?;
    Some(Entry { reference: order_id(e.order_id), ..entry })
}

/// A trade, or its bust.
#[inline]
fn trade_summary(decimals: u8, e: &TradeSummaryEntry) -> Option<Entry> {
    let reference = trade_id(e.trade_id.get());
    trade(e.aggressor, e.action, e.security_id, price(decimals, e.price), size(e.size), reference)
}

/// A trade with a 64-bit size, or its bust.
#[inline]
fn trade_summary_long(decimals: u8, e: &TradeSummaryLongEntry) -> Option<Entry> {
    let reference = trade_id(e.trade_id.get());
    trade(e.aggressor, e.action, e.security_id, price(decimals, e.price), size_long(e.size), reference)
}

/// A single trade, or its bust.
#[inline]
fn single_trade(decimals: u8, e: &TradeEntry) -> Option<Entry> {
    let reference = u64::try_from(e.trade_id.get()).unwrap_or(0);
    trade(e.aggressor, e.action, e.security_id, price(decimals, e.price), size(e.size), reference)
}

/// Tells `found` the levels of a snapshot; its statistics and last trade are not part of the book.
#[inline]
fn snapshot(kind: u16, bytes: &[u8], found: &mut impl FnMut(Entry)) {
    if let Some(root) = Body::parse(kind, bytes).and_then(|body| body.root::<Snapshot>()) {
        let add = |e: &SnapshotEntry| {
            let price = price(price_decimals(kind), e.price);
            book(e.entry_type, 0, root.security_id, price, size(e.size))
        };
        each(kind, bytes, add, found);
    }
}

/// Tells `found` the orders of a snapshot.
#[inline]
fn order_snapshot(kind: u16, bytes: &[u8], found: &mut impl FnMut(Entry)) {
    if let Some(root) = Body::parse(kind, bytes).and_then(|body| body.root::<OrderSnapshot>()) {
        let add = |e: &OrderSnapshotEntry| {
            let price = price(price_decimals(kind), e.price);
            let entry = book(e.entry_type, 0, root.security_id, price, size(e.size))?;
            Some(Entry { reference: order_id(e.order_id), ..entry })
        };
        each(kind, bytes, add, found);
    }
}

/// A change of a book; `None` for entry types and actions that are not known.
#[inline]
fn book(entry_type: u8, action: u8, security_id: I32, price: Option<Price>, size: u64) -> Option<Entry> {
    let number = instrument(security_id);
    let (side, instrument) = match entry_type {
        b'0' => (Side::Buy, Instrument::Number(number)),
        b'1' => (Side::Sell, Instrument::Number(number)),
        b'E' => (Side::Buy, Instrument::Implied(number)),
        b'F' => (Side::Sell, Instrument::Implied(number)),
        b'J' => {
            let (action, side, price, size) = (Action::Delete, Side::None, None, 0);
            let instrument = Instrument::Number(number);
            return Some(Entry { action, side, price, size, instrument, reference: 0 });
        }
        b'x' => return Some(best_of_market(Side::Buy, action, number, price, size)),
        b'w' => return Some(best_of_market(Side::Sell, action, number, price, size)),
        _ => return None,
    };
    let action = match action {
        0 => Action::Add,
        1 | 5 => Action::Change,
        2..=4 => Action::Delete,
        _ => return None,
    };
    Some(Entry { action, side, price, size, instrument, reference: 0 })
}

/// The best price of the whole market on a side, whoever may trade on it: no level of the book. Its deletion is a
/// quote of nothing.
#[inline]
fn best_of_market(side: Side, action: u8, number: u64, price: Option<Price>, size: u64) -> Entry {
    let (price, size) = if matches!(action, 2..=4) { (None, 0) } else { (price, size) };
    let instrument = Instrument::Number(number);
    Entry { action: Action::Quote, side, price, size, instrument, reference: 0 }
}

/// A trade or its bust; `None` for corrections and unknown actions.
#[inline]
fn trade(
    aggressor: u8,
    action: u8,
    security_id: I32,
    price: Option<Price>,
    size: u64,
    reference: u64,
) -> Option<Entry> {
    let action = match action {
        0 => Action::Trade,
        2 => Action::Break,
        _ => return None,
    };
    let side = match aggressor {
        1 => Side::Buy,
        2 => Side::Sell,
        _ => Side::None,
    };
    Some(Entry {
        action,
        side,
        price,
        size,
        instrument: Instrument::Number(instrument(security_id)),
        reference,
    })
}

/// The instrument's number; CME's are positive, and a damaged one keeps its bits.
#[inline]
fn instrument(security_id: I32) -> u64 {
    u64::from(security_id.get().cast_unsigned())
}

/// A price, unless it is null.
#[inline]
pub(super) fn price(decimals: u8, mantissa: I64) -> Option<Price> {
    let mantissa = mantissa.get();
    if mantissa == PRICE_NULL { None } else { Some(Price::new(mantissa, decimals)) }
}

/// A size; 0 when it is null or (damaged) negative.
#[inline]
fn size(size: I32) -> u64 {
    let size = size.get();
    if size == SIZE_NULL { 0 } else { u64::try_from(size).unwrap_or(0) }
}

/// A 64-bit size; 0 when it is null.
#[inline]
fn size_long(size: U64) -> u64 {
    let size = size.get();
    if size == u64::MAX { 0 } else { size }
}

/// An order id; 0 when it is null.
#[inline]
fn order_id(id: U64) -> u64 {
    let id = id.get();
    if id == u64::MAX { 0 } else { id }
}

/// A trade id; 0 when it is null.
#[inline]
fn trade_id(id: u32) -> u64 {
    if id == TRADE_ID_NULL { 0 } else { u64::from(id) }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{BOOKS, TRADE, body, group, unhex};
    use super::entries;
    use crate::event::{Price, Side};
    use crate::wire::{Action, Entry, Instrument};

    fn found(kind: u16, body: &[u8]) -> Vec<Entry> {
        let mut all = Vec::new();
        entries(kind, body, &mut |entry| all.push(entry));
        all
    }

    fn expected(action: Action, side: Side, price: Price, size: u64, instrument: Instrument) -> Entry {
        Entry { action, side, price: Some(price), size, instrument, reference: 0 }
    }

    #[test]
    fn reads_the_levels_of_real_book_messages() {
        let packet = unhex(BOOKS);
        let offer = |action, mantissa, size| {
            expected(action, Side::Sell, Price::new(mantissa, 7), size, Instrument::Number(34_108))
        };
        let levels = [
            offer(Action::Delete, -295_000_000, 3),
            offer(Action::Change, -285_000_000, 83),
            offer(Action::Add, -270_000_000, 80),
        ];
        assert_eq!(found(32, &packet[14..132]), levels);
        let implied = |action, side, mantissa, size, number| {
            expected(action, side, Price::new(mantissa, 7), size, Instrument::Implied(number))
        };
        let levels = [
            implied(Action::Delete, Side::Sell, 50_000_000, 3, 167_690),
            implied(Action::Change, Side::Sell, 52_500_000, 16, 167_690),
            implied(Action::Add, Side::Sell, 55_000_000, 6, 167_690),
            implied(Action::Delete, Side::Buy, 135_000_000, 3, 118_087),
            implied(Action::Change, Side::Buy, 132_500_000, 11, 118_087),
            implied(Action::Add, Side::Buy, 130_000_000, 24, 118_087),
        ];
        assert_eq!(found(32, &packet[134..]), levels);
    }

    #[test]
    fn reads_a_real_trade() {
        let packet = unhex(TRADE);
        let price = Price::new(3_490_000_000, 7);
        let trade = expected(Action::Trade, Side::Buy, price, 10, Instrument::Number(363_272));
        assert_eq!(found(42, &packet[14..]), [trade]);
        assert_eq!(price.to_string(), "349.0000000");
    }

    #[test]
    fn busts_are_breaks_and_corrections_are_not_told() {
        let mut body = unhex(TRADE)[14..].to_vec();
        let (action_at, trade_id_at) = (22 + 25, 22 + 26);
        body[trade_id_at] = 77;
        body[action_at] = 2;
        let bust = found(42, &body);
        assert_eq!((bust[0].action, bust[0].reference), (Action::Break, 77));
        body[action_at] = 1;
        assert_eq!(found(42, &body), []);
    }

    #[test]
    fn nine_decimals_and_orders_since_schema_9() {
        let (price, size, id) =
            (30_500_000_000_000_i64.to_le_bytes(), 98_i32.to_le_bytes(), 5_785_i32.to_le_bytes());
        let (order, priority) = (77_u64.to_le_bytes(), [0xff; 8]);
        let entry = expected(
            Action::Change,
            Side::Buy,
            Price::new(30_500_000_000_000, 9),
            98,
            Instrument::Number(5_785),
        );
        let level = group(32, &[&price, &size, &id, &[0; 8], &[1, 1], b"0"]);
        assert_eq!(found(46, &body(46, 9, &[0; 11], &level)), [entry]);
        let level_long = group(32, &[&price, &98_u64.to_le_bytes(), &id, &[0; 8], &[1, 1], b"0"]);
        assert_eq!(found(64, &body(64, 10, &[0; 11], &level_long)), [entry]);
        let changed = group(40, &[&order, &priority, &price, &size, &id, &[1], b"0"]);
        assert_eq!(found(47, &body(47, 9, &[0; 11], &changed)), [Entry { reference: 77, ..entry }]);
        let trade = group(32, &[&price, &size, &id, &[0; 8], &[2, 0], &[0xff; 4]]);
        let sold = Entry { action: Action::Trade, side: Side::Sell, ..entry };
        assert_eq!(found(48, &body(48, 9, &[0; 11], &trade)), [sold]);
        let trade_long =
            group(40, &[&price, &98_u64.to_le_bytes(), &id, &[0; 8], &5_u32.to_le_bytes(), &[2, 0]]);
        assert_eq!(found(65, &body(65, 10, &[0; 11], &trade_long)), [Entry { reference: 5, ..sold }]);
    }

    #[test]
    fn snapshots_add_what_their_root_block_names() {
        let (price, size) = (i64::MAX.to_le_bytes(), i32::MAX.to_le_bytes());
        let mut root = [0; 59];
        root[8..10].copy_from_slice(&300_u16.to_le_bytes());
        let mut add = expected(Action::Add, Side::Sell, Price::new(5, 9), 0, Instrument::Implied(300));
        add.price = None;
        let implied = group(22, &[&price, &size, &[0; 9], b"F"]);
        assert_eq!(found(52, &body(52, 9, &root, &implied)), [add]);
        let settlement = group(22, &[&price, &size, &[0; 9], b"6"]);
        assert_eq!(found(52, &body(52, 9, &root, &settlement)), []);
        let order = group(29, &[&7_u64.to_le_bytes(), &[0; 8], &5_i64.to_le_bytes(), &[3, 0, 0, 0], b"1"]);
        let add = Entry {
            reference: 7,
            size: 3,
            ..expected(add.action, add.side, Price::new(5, 9), 3, Instrument::Number(300))
        };
        assert_eq!(found(53, &body(53, 9, &root[..28], &order)), [add]);
        let add = Entry { price: Some(Price::new(5, 7)), ..add };
        assert_eq!(found(44, &body(44, 8, &root[..28], &order)), [add]);
    }

    #[test]
    fn resets_and_market_wide_quotes_are_no_levels() {
        let (price, id) = (5_i64.to_le_bytes(), 8_i32.to_le_bytes());
        let with = |action: u8, entry_type: u8| {
            let entry = group(32, &[&price, &[2, 0, 0, 0], &id, &[0; 9], &[action, entry_type]]);
            found(46, &body(46, 9, &[0; 11], &entry))
        };
        let reset = Entry {
            action: Action::Delete,
            side: Side::None,
            price: None,
            size: 0,
            instrument: Instrument::Number(8),
            reference: 0,
        };
        assert_eq!(with(0, b'J'), [reset]);
        let gone = Entry { action: Action::Quote, side: Side::Sell, ..reset };
        assert_eq!(with(2, b'w'), [gone]);
        assert_eq!(
            with(0, b'x'),
            [Entry { side: Side::Buy, price: Some(Price::new(5, 9)), size: 2, ..gone }]
        );
        assert_eq!(with(9, b'0'), []);
        assert_eq!(with(0, b'?'), []);
    }

    #[test]
    fn damaged_groups_say_nothing() {
        let good = unhex(BOOKS)[14..132].to_vec();
        let (block_at, count_at) = (19, 21);
        for (at, value) in [(block_at, 0), (block_at, 26), (block_at, 33), (count_at, 4), (count_at, 255)] {
            let mut body = good.clone();
            body[at] = value;
            assert_eq!(found(32, &body), [], "byte {at} = {value}");
        }
        assert_eq!(found(32, &good[..good.len() - 1]), []);
        assert_eq!(found(46, &good), [], "another template");
        assert_eq!(found(32, &[]), []);
        let mut empty = good;
        empty[block_at..=count_at].fill(0);
        assert_eq!(found(32, &empty), []);
    }
}

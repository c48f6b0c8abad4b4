//! Hot path: what an ITCH message says of books and trades.
//!
//! Invariant: an entry says only what its message says. An execution names its order, not its side or symbol: to
//! know those, one must have kept the order.

use super::{Alpha, Header, ItchMessage, Letter};
use crate::event::{Price, Side};
use crate::wire::{Action, Entry, Instrument};

/// Tells `found` the entries of one message, from its type letter on; nothing for messages that change no book, for
/// unknown types and for bodies that are too short.
///
/// The instrument is the symbol where the message has one, else the stock locate. The reference is that of the order,
/// for trades and breaks the match number. A replacement is one `Change` of the original order; the new order's
/// reference is in [`super::OrderReplace`]. A cross without shares is no trade.
#[inline]
pub fn entries(body: &[u8], found: &mut impl FnMut(Entry)) {
    if let Some(entry) = ItchMessage::parse(body).and_then(|message| entry(&message)) {
        found(entry);
    }
}

#[inline]
fn entry(message: &ItchMessage<'_>) -> Option<Entry> {
    let entry = match message {
        ItchMessage::AddOrder(m) => Entry {
            action: Action::Add,
            side: side(m.buy_sell_indicator),
            price: Some(m.price.get()),
            size: u64::from(m.shares.get()),
            instrument: symbol(m.stock),
            reference: m.order_reference_number.get(),
        },
        ItchMessage::AddOrderAttributed(m) => Entry {
            action: Action::Add,
            side: side(m.buy_sell_indicator),
            price: Some(m.price.get()),
            size: u64::from(m.shares.get()),
            instrument: symbol(m.stock),
            reference: m.order_reference_number.get(),
        },
        ItchMessage::OrderExecuted(m) => {
            let (size, order) = (m.executed_shares.get(), m.order_reference_number.get());
            of_order(Action::Execute, &m.header, None, size, order)
        }
        ItchMessage::OrderExecutedWithPrice(m) => {
            let (size, order) = (m.executed_shares.get(), m.order_reference_number.get());
            of_order(Action::Execute, &m.header, Some(m.execution_price.get()), size, order)
        }
        ItchMessage::OrderCancel(m) => {
            let (size, order) = (m.cancelled_shares.get(), m.order_reference_number.get());
            of_order(Action::Reduce, &m.header, None, size, order)
        }
        ItchMessage::OrderDelete(m) => {
            of_order(Action::Delete, &m.header, None, 0, m.order_reference_number.get())
        }
        ItchMessage::OrderReplace(m) => {
            let (size, order) = (m.shares.get(), m.original_order_reference_number.get());
            of_order(Action::Change, &m.header, Some(m.price.get()), size, order)
        }
        ItchMessage::Trade(m) => Entry {
            action: Action::Trade,
            side: side(m.buy_sell_indicator),
            price: Some(m.price.get()),
            size: u64::from(m.shares.get()),
            instrument: symbol(m.stock),
            reference: m.match_number.get(),
        },
        ItchMessage::CrossTrade(m) if m.shares.get() > 0 => Entry {
            action: Action::Trade,
            side: Side::None,
            price: Some(m.cross_price.get()),
            size: m.shares.get(),
            instrument: symbol(m.stock),
            reference: m.match_number.get(),
        },
        ItchMessage::BrokenTrade(m) => of_order(Action::Break, &m.header, None, 0, m.match_number.get()),
        _ => return None,
    };
    Some(entry)
}

/// An entry of a message that names an order or a match, and of its instrument only the locate.
#[inline]
fn of_order(action: Action, header: &Header, price: Option<Price>, size: u32, reference: u64) -> Entry {
    let instrument = Instrument::Number(u64::from(header.stock_locate.get()));
    Entry { action, side: Side::None, price, size: u64::from(size), instrument, reference }
}

#[inline]
fn symbol(stock: Alpha<8>) -> Instrument {
    Instrument::Symbol(stock.0)
}

#[inline]
fn side(indicator: Letter) -> Side {
    match indicator.0 {
        b'B' => Side::Buy,
        b'S' => Side::Sell,
        _ => Side::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hex: &str) -> Vec<Entry> {
        let digits = hex.as_bytes().chunks(2);
        let body: Vec<u8> =
            digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect();
        let mut all = Vec::new();
        entries(&body, &mut |entry| all.push(entry));
        let mut cut = 0;
        entries(&body[..body.len() - 1], &mut |_| cut += 1);
        assert_eq!(cut, 0, "a body that is too short says nothing");
        all
    }

    fn of(action: Action, side: Side, price: Option<i64>, size: u64, of: &str, reference: u64) -> Entry {
        let instrument = match of.parse() {
            Ok(number) => Instrument::Number(number),
            Err(_) => {
                let mut symbol = [b' '; 8];
                symbol[..of.len()].copy_from_slice(of.as_bytes());
                Instrument::Symbol(symbol)
            }
        };
        Entry { action, side, price: price.map(|digits| Price::new(digits, 4)), size, instrument, reference }
    }

    #[test]
    fn reads_real_messages() {
        use Action::*;
        // From the NASDAQ capture (A, F), and from the artificial day (the others).
        let cases = [
            (
                "41197200001f23e0981ae10000000000792f9f42000000014d45544120202020000c4950",
                of(Add, Side::Buy, Some(805_200), 1, "META", 7_942_047),
            ),
            (
                "46197200001f23e0981ae100000000009c681f53000000704d4554412020202000369c1455425353",
                of(Add, Side::Sell, Some(3_578_900), 112, "META", 10_250_271),
            ),
            (
                "45000200021de255b2ee5d00000000000153ec000004c40000000000004681",
                of(Execute, Side::None, None, 1_220, "2", 87_020),
            ),
            (
                "58000200001f81509cd7cd00000000004019a400000064",
                of(Reduce, Side::None, None, 100, "2", 4_200_868),
            ),
            ("44000200001f1cea1b4d9b0000000000014b64", of(Delete, Side::None, None, 0, "2", 84_836)),
            (
                "55000200001f74aec775ac000000000038fe0000000000003a786b000000640000da6d",
                of(Change, Side::None, Some(55_917), 100, "2", 3_735_040),
            ),
            (
                "50000200021f1d2a8ff961000000000000000042000000c8424f4220202020200000d0550000000000004bf7",
                of(Trade, Side::Buy, Some(53_333), 200, "BOB", 19_447),
            ),
        ];
        for (hex, entry) in cases {
            assert_eq!(found(hex), [entry], "{hex}");
        }
    }

    #[test]
    fn reads_types_that_no_capture_has() {
        // Written by hand from the specification's offsets: C, Q with and without shares, B.
        let header = "0007000000000000000001";
        let executed =
            ["43", &header[2..], "00000000000000aa", "00000005", "00000000000000bb", "4e", "00002710"];
        let expected = of(Action::Execute, Side::None, Some(10_000), 5, "1792", 170);
        assert_eq!(found(&executed.concat()), [expected]);
        let cross = |shares: &str| {
            found(
                &["51", &header[2..], shares, "5358202020202020", "00002710", "00000000000000bb", "4f"]
                    .concat(),
            )
        };
        assert_eq!(cross("0000000000000009"), [of(Action::Trade, Side::None, Some(10_000), 9, "SX", 187)]);
        assert_eq!(cross("0000000000000000"), []);
        let broken = ["42", &header[2..], "00000000000000bb"].concat();
        assert_eq!(found(&broken), [of(Action::Break, Side::None, None, 0, "1792", 187)]);
    }

    #[test]
    fn administrative_messages_change_no_book() {
        assert_eq!(found("53000000000a11ea0e8c434f"), []);
        assert_eq!(found("48000100000a53a2ba7f6d4120202020202020542020202020"), []);
    }
}

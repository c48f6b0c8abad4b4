//! Listings of IEX messages: every field by name, prices as exact decimals.
//!
//! Invariant: no field of the wire is left out. Cold: it allocates.

use super::messages::{Auction, IexMessage, PRICE_DECIMALS, Quote};
use crate::event::Price;
use serde_json::{Value, json};
use zerocopy::little_endian::I64;

/// All fields of the message in `body`; `None` for unknown types and damaged bodies.
pub fn describe(body: &[u8]) -> Option<Value> {
    Some(match IexMessage::parse(body)? {
        IexMessage::SystemEvent(m) => {
            json!({ "message": "system_event", "event": letter(m.event), "time_ns": m.time_ns.get() })
        }
        IexMessage::SecurityDirectory(m) => json!({
            "message": "security_directory", "flags": m.flags, "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol), "round_lot": m.round_lot.get(),
            "adjusted_close": price(m.adjusted_close), "luld_tier": m.luld_tier,
        }),
        IexMessage::TradingStatus(m) => json!({
            "message": "trading_status", "status": letter(m.status), "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol), "reason": text(&m.reason),
        }),
        IexMessage::RetailLiquidity(m) => json!({
            "message": "retail_liquidity", "indicator": letter(m.indicator), "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol),
        }),
        IexMessage::OperationalHalt(m) => json!({
            "message": "operational_halt", "status": letter(m.status), "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol),
        }),
        IexMessage::ShortSaleTest(m) => json!({
            "message": "short_sale_test", "status": m.status, "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol), "detail": letter(m.detail),
        }),
        IexMessage::SecurityEvent(m) => json!({
            "message": "security_event", "event": letter(m.event), "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol),
        }),
        IexMessage::PriceLevel(m) => json!({
            "message": "price_level", "side": if m.kind == b'8' { "buy" } else { "sell" },
            "flags": m.flags, "time_ns": m.time_ns.get(), "symbol": text(&m.symbol),
            "size": m.size.get(), "price": price(m.price),
        }),
        IexMessage::Quote(m) => quote(m),
        IexMessage::Trade(m) => json!({
            "message": "trade", "flags": m.flags, "time_ns": m.time_ns.get(), "symbol": text(&m.symbol),
            "size": m.size.get(), "price": price(m.price), "trade_id": m.trade_id.get(),
        }),
        IexMessage::OfficialPrice(m) => json!({
            "message": "official_price", "price_type": letter(m.price_type), "time_ns": m.time_ns.get(),
            "symbol": text(&m.symbol), "price": price(m.price),
        }),
        IexMessage::TradeBreak(m) => json!({
            "message": "trade_break", "flags": m.flags, "time_ns": m.time_ns.get(), "symbol": text(&m.symbol),
            "size": m.size.get(), "price": price(m.price), "trade_id": m.trade_id.get(),
        }),
        IexMessage::Auction(m) => auction(m),
    })
}

/// The fields of a quote.
fn quote(m: &Quote) -> Value {
    json!({
        "message": "quote", "flags": m.flags, "time_ns": m.time_ns.get(), "symbol": text(&m.symbol),
        "bid_size": m.bid_size.get(), "bid_price": price(m.bid_price),
        "ask_price": price(m.ask_price), "ask_size": m.ask_size.get(),
    })
}

/// The fields of an auction message.
fn auction(m: &Auction) -> Value {
    json!({
        "message": "auction", "auction_type": letter(m.auction_type), "time_ns": m.time_ns.get(),
        "symbol": text(&m.symbol), "paired_shares": m.paired_shares.get(),
        "reference_price": price(m.reference_price), "indicative_price": price(m.indicative_price),
        "imbalance_shares": m.imbalance_shares.get(), "imbalance_side": letter(m.imbalance_side),
        "extensions": m.extensions, "scheduled_time_s": m.scheduled_time_s.get(),
        "book_clearing_price": price(m.book_clearing_price),
        "collar_reference_price": price(m.collar_reference_price),
        "collar_lower": price(m.collar_lower), "collar_upper": price(m.collar_upper),
    })
}

/// A code letter; bytes that are not printable as their number.
fn letter(code: u8) -> String {
    if code == b' ' || code.is_ascii_graphic() {
        char::from(code).to_string()
    } else {
        format!("0x{code:02x}")
    }
}

/// Text padded with spaces; bytes that are not ASCII as `\xNN`.
fn text(padded: &[u8]) -> String {
    padded.trim_ascii_end().escape_ascii().to_string()
}

/// A price as an exact decimal.
fn price(mantissa: I64) -> String {
    Price::new(mantissa.get(), PRICE_DECIMALS).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{
        AUCTION, DIRECTORY, HALT, OPERATIONAL_HALT, SHORT_SALE, SYSTEM_EVENT, TRADE_AND_QUOTE, TRADE_BREAK,
        unhex,
    };
    use super::describe;
    use serde_json::{Value, json};

    fn listed(digits: &str) -> Option<Value> {
        describe(&unhex(digits))
    }

    #[test]
    fn lists_real_messages_of_every_type_in_the_capture() {
        let time_ns = 1_499_697_230_626_419_676_i64;
        let packet = unhex(TRADE_AND_QUOTE);
        let trade = json!({ "message": "trade", "flags": 0xe0, "time_ns": time_ns, "symbol": "GOOD", "size": 41,
            "price": "18.7300", "trade_id": 135_955 });
        assert_eq!(describe(&packet[42..80]), Some(trade));
        let quote = json!({ "message": "quote", "flags": 0x40, "time_ns": time_ns, "symbol": "GOOD",
            "bid_size": 247, "bid_price": "18.7300", "ask_price": "0.0000", "ask_size": 0 });
        assert_eq!(describe(&packet[82..]), Some(quote));
        let broken = json!({ "message": "trade_break", "flags": 0x18, "time_ns": 1_499_697_364_514_771_481_i64,
            "symbol": "ZXIET", "size": 3_860, "price": "29.9900", "trade_id": 171_978 });
        assert_eq!(listed(TRADE_BREAK), Some(broken));
        let directory = json!({ "message": "security_directory", "flags": 0x80,
            "time_ns": 1_499_697_158_379_245_740_i64, "symbol": "ZEXIT", "round_lot": 100,
            "adjusted_close": "10.0000", "luld_tier": 0 });
        assert_eq!(listed(DIRECTORY), Some(directory));
        let auction = json!({ "message": "auction", "auction_type": "O", "time_ns": 1_499_697_242_499_992_827_i64,
            "symbol": "ZEXIT", "paired_shares": 0, "reference_price": "9.9600", "indicative_price": "10.0200",
            "imbalance_shares": 3_008, "imbalance_side": "B", "extensions": 0,
            "scheduled_time_s": 1_499_715_000, "book_clearing_price": "10.0400",
            "collar_reference_price": "9.9550", "collar_lower": "8.9600", "collar_upper": "10.9500" });
        assert_eq!(listed(AUCTION), Some(auction));
    }

    #[test]
    fn lists_real_status_messages() {
        let halt = json!({ "message": "trading_status", "status": "H", "time_ns": 1_499_697_235_208_171_847_i64,
            "symbol": "MILL", "reason": "NA" });
        assert_eq!(listed(HALT), Some(halt));
        let short_sale = json!({ "message": "short_sale_test", "status": 1,
            "time_ns": 1_499_697_393_415_755_163_i64, "symbol": "FLEX", "detail": "N" });
        assert_eq!(listed(SHORT_SALE), Some(short_sale));
        let operational = json!({ "message": "operational_halt", "status": "O",
            "time_ns": 1_499_697_329_782_559_208_i64, "symbol": "KOOL" });
        assert_eq!(listed(OPERATIONAL_HALT), Some(operational));
        let event =
            json!({ "message": "system_event", "event": "S", "time_ns": 1_499_697_208_181_136_409_i64 });
        assert_eq!(listed(SYSTEM_EVENT), Some(event));
    }

    #[test]
    fn lists_the_types_that_the_capture_lacks() {
        let mut body = unhex("380101000000000000004141412020202020");
        body.extend_from_slice(&unhex("64000000a086010000000000"));
        let level = json!({ "message": "price_level", "side": "buy", "flags": 1, "time_ns": 1, "symbol": "AAA",
            "size": 100, "price": "10.0000" });
        assert_eq!(describe(&body), Some(level));
        body[0] = b'5';
        assert_eq!(describe(&body).expect("a level")["side"], "sell");
        body.truncate(18);
        body[..2].copy_from_slice(b"IC");
        let retail =
            json!({ "message": "retail_liquidity", "indicator": "C", "time_ns": 1, "symbol": "AAA" });
        assert_eq!(describe(&body), Some(retail));
        body[..2].copy_from_slice(b"E\0");
        let event = json!({ "message": "security_event", "event": "0x00", "time_ns": 1, "symbol": "AAA" });
        assert_eq!(describe(&body), Some(event));
        body.extend_from_slice(&(-1_i64).to_le_bytes());
        body[..2].copy_from_slice(b"XQ");
        let official = json!({ "message": "official_price", "price_type": "Q", "time_ns": 1, "symbol": "AAA",
            "price": "-0.0001" });
        assert_eq!(describe(&body), Some(official));
        body[0] = b'z';
        assert_eq!(describe(&body), None);
        assert_eq!(describe(&[]), None);
    }
}

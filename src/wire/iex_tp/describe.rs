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

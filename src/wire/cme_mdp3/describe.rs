//! Listings of MDP 3.0 messages: every field by name, prices as exact decimals, nulls as null.
//!
//! Invariant: a template is listed with all fields of its layout or not at all. Cold: it allocates.

use super::body::{Body, Dimension, Group};
use super::entries::price as exact;
use super::layout::{
    BookEntry, BookLongEntry, DailyStatisticsEntry, Incremental, LevelOrder, LimitsEntry, OrderBookEntry,
    OrderSnapshot, OrderSnapshotEntry, SecurityStatus, SessionStatisticsEntry, Snapshot, SnapshotEntry,
    TradeEntry, TradeOrder, TradeSummaryEntry, TradeSummaryLongEntry, VolumeEntry, price_decimals, template,
};
use serde_json::{Map, Value, json};
use zerocopy::little_endian::{I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Schema version from which on session statistics carry a size (padding before).
const STATISTICS_SIZE_SINCE: u16 = 8;

/// All fields of `body`, a message of the template `kind`; `None` for templates that are not decoded and for
/// damaged bodies.
pub fn describe(kind: u16, body: &[u8]) -> Option<Value> {
    let body = Body::parse(kind, body)?;
    let decimals = price_decimals(kind);
    let version = body.header.version.get();
    let (name, mut fields) = match kind {
        template::HEARTBEAT => ("heartbeat", Map::new()),
        template::SECURITY_STATUS => ("security_status", security_status(body.root()?)),
        template::SNAPSHOT | template::SNAPSHOT_9 => ("snapshot", snapshot(decimals, body.root()?)),
        template::ORDER_SNAPSHOT | template::ORDER_SNAPSHOT_9 => {
            ("order_snapshot", order_snapshot(body.root()?))
        }
        _ => (incremental_name(kind)?, incremental(body.root()?)),
    };
    if !matches!(kind, template::HEARTBEAT | template::SECURITY_STATUS) {
        let (group, rest) = Group::take(body.groups, Dimension::Bytes3)?;
        fields.insert("entries".to_owned(), entries(kind, version, group)?.into());
        // Schema versions without the second group end behind the first one.
        if let Some((group, _)) = Group::take(rest, Dimension::Bytes8)
            && let Some(orders) = orders(kind, group)
        {
            fields.insert("orders".to_owned(), orders.into());
        }
    }
    let mut listing = object(json!({ "message": name, "template": kind, "version": version }));
    listing.append(&mut fields);
    Some(Value::Object(listing))
}

/// Names of the templates whose root block is that of the incremental messages.
fn incremental_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        template::CHANNEL_RESET => "channel_reset",
        template::BOOK | template::BOOK_9 | template::BOOK_LONG => "book",
        template::DAILY_STATISTICS | template::DAILY_STATISTICS_9 => "daily_statistics",
        template::LIMITS | template::LIMITS_9 => "limits",
        template::SESSION_STATISTICS | template::SESSION_STATISTICS_9 => "session_statistics",
        template::TRADE => "trade",
        template::VOLUME => "volume",
        template::TRADE_SUMMARY | template::TRADE_SUMMARY_9 | template::TRADE_SUMMARY_LONG => "trade_summary",
        template::ORDER_BOOK | template::ORDER_BOOK_9 => "order_book",
        _ => return None,
    })
}

/// The entries of the first group; `None` when their block is too short.
fn entries(kind: u16, version: u16, group: Group<'_>) -> Option<Vec<Value>> {
    let decimals = price_decimals(kind);
    Some(match kind {
        template::CHANNEL_RESET => group.entries()?.map(|id: &U16| json!({ "channel": id.get() })).collect(),
        template::BOOK | template::BOOK_9 => group.entries()?.map(|e| book(decimals, e)).collect(),
        template::BOOK_LONG => group.entries()?.map(|e| book_long(decimals, e)).collect(),
        template::TRADE_SUMMARY | template::TRADE_SUMMARY_9 => {
            group.entries()?.map(|e| trade_summary(decimals, e)).collect()
        }
        template::TRADE_SUMMARY_LONG => group.entries()?.map(|e| trade_summary_long(decimals, e)).collect(),
        template::TRADE => group.entries()?.map(|e| trade(decimals, e)).collect(),
        template::ORDER_BOOK | template::ORDER_BOOK_9 => {
            group.entries()?.map(|e| order(decimals, e)).collect()
        }
        template::SNAPSHOT | template::SNAPSHOT_9 => {
            group.entries()?.map(|e| snapshot_entry(decimals, e)).collect()
        }
        template::ORDER_SNAPSHOT | template::ORDER_SNAPSHOT_9 => {
            group.entries()?.map(|e| order_snapshot_entry(decimals, e)).collect()
        }
        template::VOLUME => group.entries()?.map(volume).collect(),
        template::SESSION_STATISTICS | template::SESSION_STATISTICS_9 => {
            session_statistics(decimals, version, group)?
        }
        template::DAILY_STATISTICS | template::DAILY_STATISTICS_9 => {
            group.entries()?.map(|e| daily_statistics(decimals, e)).collect()
        }
        template::LIMITS | template::LIMITS_9 => group.entries()?.map(|e| limits(decimals, e)).collect(),
        _ => return None,
    })
}

/// The orders of the second group, of the templates that have one.
fn orders(kind: u16, group: Group<'_>) -> Option<Vec<Value>> {
    match kind {
        template::BOOK | template::BOOK_9 | template::BOOK_LONG => {
            Some(group.entries()?.map(level_order).collect())
        }
        template::TRADE_SUMMARY | template::TRADE_SUMMARY_9 | template::TRADE_SUMMARY_LONG => {
            Some(group.entries()?.map(trade_order).collect())
        }
        _ => None,
    }
}

/// The fields of an incremental message's root block.
fn incremental(m: &Incremental) -> Map<String, Value> {
    object(json!({ "transact_time_ns": m.transact_time_ns.get(), "match_event": m.match_event }))
}

/// The fields of a security status.
fn security_status(m: &SecurityStatus) -> Map<String, Value> {
    object(json!({
        "transact_time_ns": m.transact_time_ns.get(), "group": text(&m.group), "asset": text(&m.asset),
        "security_id": int(m.security_id), "trade_date": date(m.trade_date), "match_event": m.match_event,
        "status": m.status, "halt_reason": m.halt_reason, "event": m.event,
    }))
}

/// The fields of a snapshot's root block.
fn snapshot(decimals: u8, m: &Snapshot) -> Map<String, Value> {
    object(json!({
        "last_sequence": m.last_sequence.get(), "reports": m.reports.get(), "security_id": m.security_id.get(),
        "rpt_seq": m.rpt_seq.get(), "transact_time_ns": m.transact_time_ns.get(),
        "last_update_ns": m.last_update_ns.get(), "trade_date": date(m.trade_date), "status": m.status,
        "high_limit": price(decimals, m.high_limit), "low_limit": price(decimals, m.low_limit),
        "max_variation": price(decimals, m.max_variation),
    }))
}

/// The fields of an order snapshot's root block.
fn order_snapshot(m: &OrderSnapshot) -> Map<String, Value> {
    object(json!({
        "last_sequence": m.last_sequence.get(), "reports": m.reports.get(), "security_id": m.security_id.get(),
        "chunks": m.chunks.get(), "chunk": m.chunk.get(), "transact_time_ns": m.transact_time_ns.get(),
    }))
}

/// The fields of a level.
fn book(decimals: u8, e: &BookEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": int(e.size), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(), "orders": int(e.orders), "level": e.level, "action": e.action,
        "entry_type": letter(e.entry_type),
    })
}

/// The fields of a level with a 64-bit size.
fn book_long(decimals: u8, e: &BookLongEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": long(e.size), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(), "orders": int(e.orders), "level": e.level, "action": e.action,
        "entry_type": letter(e.entry_type),
    })
}

/// The fields of an order inside a level.
fn level_order(e: &LevelOrder) -> Value {
    json!({
        "order_id": e.order_id.get(), "priority": long(e.priority), "size": int(e.size), "entry": e.entry,
        "action": e.action,
    })
}

/// The fields of a trade.
fn trade_summary(decimals: u8, e: &TradeSummaryEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": e.size.get(), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(), "orders": e.orders.get(), "aggressor": e.aggressor, "action": e.action,
        "trade_id": id(e.trade_id),
    })
}

/// The fields of a trade with a 64-bit size.
fn trade_summary_long(decimals: u8, e: &TradeSummaryLongEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": e.size.get(), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(), "orders": e.orders.get(), "aggressor": e.aggressor, "action": e.action,
        "trade_id": id(e.trade_id),
    })
}

/// The fields of a single trade.
fn trade(decimals: u8, e: &TradeEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": e.size.get(), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(), "orders": int(e.orders), "aggressor": e.aggressor, "action": e.action,
        "trade_id": e.trade_id.get(),
    })
}

/// The fields of an order that took part in a trade.
fn trade_order(e: &TradeOrder) -> Value {
    json!({ "order_id": e.order_id.get(), "size": e.size.get() })
}

/// The fields of a changed order.
fn order(decimals: u8, e: &OrderBookEntry) -> Value {
    json!({
        "order_id": long(e.order_id), "priority": long(e.priority), "price": price(decimals, e.price),
        "size": int(e.size), "security_id": e.security_id.get(), "action": e.action,
        "entry_type": letter(e.entry_type),
    })
}

/// The fields of a snapshot's entry.
fn snapshot_entry(decimals: u8, e: &SnapshotEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": int(e.size), "orders": int(e.orders),
        "level": if e.level == i8::MAX { Value::Null } else { json!(e.level) },
        "reference_date": date(e.reference_date), "open_close_flag": flag(e.open_close_flag),
        "settlement_type": e.settlement_type, "entry_type": letter(e.entry_type),
    })
}

/// The fields of a snapshot's order.
fn order_snapshot_entry(decimals: u8, e: &OrderSnapshotEntry) -> Value {
    json!({
        "order_id": e.order_id.get(), "priority": long(e.priority), "price": price(decimals, e.price),
        "size": e.size.get(), "entry_type": letter(e.entry_type),
    })
}

/// The fields of a volume.
fn volume(e: &VolumeEntry) -> Value {
    json!({
        "size": e.size.get(), "security_id": e.security_id.get(), "rpt_seq": e.rpt_seq.get(),
        "action": e.action,
    })
}

/// The fields of a group of session statistics; the size stands behind the rest, in later schema versions only.
fn session_statistics(decimals: u8, version: u16, group: Group<'_>) -> Option<Vec<Value>> {
    let fields = |e: &SessionStatisticsEntry, size: Option<I32>| {
        json!({
            "price": price(decimals, e.price), "security_id": e.security_id.get(), "rpt_seq": e.rpt_seq.get(),
            "open_close_flag": flag(e.open_close_flag), "action": e.action,
            "entry_type": letter(e.entry_type), "size": size.map_or(Value::Null, int),
        })
    };
    if version < STATISTICS_SIZE_SINCE {
        return Some(group.entries()?.map(|e| fields(e, None)).collect());
    }
    Some(group.entries()?.map(|e: &WithSize| fields(&e.fields, Some(e.size))).collect())
}

/// Session statistics with a size.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WithSize {
    fields: SessionStatisticsEntry,
    size: I32,
}

/// The fields of a daily statistic.
fn daily_statistics(decimals: u8, e: &DailyStatisticsEntry) -> Value {
    json!({
        "price": price(decimals, e.price), "size": int(e.size), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(), "reference_date": date(e.reference_date),
        "settlement_type": e.settlement_type, "action": e.action, "entry_type": letter(e.entry_type),
    })
}

/// The fields of an instrument's limits.
fn limits(decimals: u8, e: &LimitsEntry) -> Value {
    json!({
        "high_limit": price(decimals, e.high_limit), "low_limit": price(decimals, e.low_limit),
        "max_variation": price(decimals, e.max_variation), "security_id": e.security_id.get(),
        "rpt_seq": e.rpt_seq.get(),
    })
}

/// The fields of a `json!` object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A price as an exact decimal, or null.
fn price(decimals: u8, mantissa: I64) -> Value {
    exact(decimals, mantissa).map_or(Value::Null, |price| Value::String(price.to_string()))
}

/// A signed number, or null.
fn int(value: I32) -> Value {
    if value.get() == i32::MAX { Value::Null } else { json!(value.get()) }
}

/// An unsigned 64-bit number, or null.
fn long(value: U64) -> Value {
    if value.get() == u64::MAX { Value::Null } else { json!(value.get()) }
}

/// An unsigned id, or null.
fn id(value: U32) -> Value {
    if value.get() == u32::MAX { Value::Null } else { json!(value.get()) }
}

/// Days since the Unix epoch, or null.
fn date(days: U16) -> Value {
    if days.get() == u16::MAX { Value::Null } else { json!(days.get()) }
}

/// A code, or null.
fn flag(code: u8) -> Value {
    if code == u8::MAX { Value::Null } else { json!(code) }
}

/// A code letter; bytes that are not printable as their number.
fn letter(code: u8) -> String {
    if code.is_ascii_graphic() { char::from(code).to_string() } else { format!("0x{code:02x}") }
}

/// Text padded with zeros; bytes that are not ASCII as `\xNN`.
fn text(padded: &[u8]) -> String {
    let end = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
    padded[..end].trim_ascii_end().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{BOOKS, HEARTBEAT, MIXED, TRADE, body, group, unhex};
    use super::describe;
    use crate::wire::cme_mdp3::layout::template;
    use serde_json::{Value, json};

    #[test]
    fn lists_a_real_trade_with_its_orders() {
        let listing = json!({
            "message": "trade_summary", "template": 42, "version": 6,
            "transact_time_ns": 1_478_961_300_016_640_849_u64, "match_event": 1,
            "entries": [{ "price": "349.0000000", "size": 10, "security_id": 363_272, "rpt_seq": 25, "orders": 2,
                "aggressor": 1, "action": 0, "trade_id": 0 }],
            "orders": [{ "order_id": 702_140_053_136_u64, "size": 10 }, { "order_id": 0, "size": 10 }],
        });
        assert_eq!(describe(42, &unhex(TRADE)[14..]), Some(listing));
    }

    #[test]
    fn lists_real_volume_levels_and_statistics() {
        let packet = unhex(MIXED);
        let time_ns = 1_478_961_300_016_640_849_u64;
        let volume = json!({
            "message": "volume", "template": 37, "version": 6, "transact_time_ns": time_ns, "match_event": 2,
            "entries": [{ "size": 11, "security_id": 363_272, "rpt_seq": 26, "action": 0 }],
        });
        assert_eq!(describe(37, &packet[14..52]), Some(volume));
        let book = json!({
            "message": "book", "template": 32, "version": 6, "transact_time_ns": time_ns, "match_event": 4,
            "entries": [{ "price": "349.0000000", "size": 90, "security_id": 363_272, "rpt_seq": 27, "orders": 1,
                "level": 1, "action": 1, "entry_type": "1" }],
        });
        assert_eq!(describe(32, &packet[54..108]), Some(book));
        let statistics = json!({
            "message": "session_statistics", "template": 35, "version": 6, "transact_time_ns": time_ns,
            "match_event": 8,
            "entries": [{ "price": "349.0000000", "security_id": 363_272, "rpt_seq": 28, "open_close_flag": null,
                "action": 0, "entry_type": "7", "size": null }],
        });
        assert_eq!(describe(35, &packet[110..156]), Some(statistics));
        let implied = describe(32, &unhex(BOOKS)[134..]).expect("a book message");
        assert_eq!(implied["entries"][0]["orders"], Value::Null);
    }

    #[test]
    fn lists_templates_without_groups() {
        let heartbeat = json!({ "message": "heartbeat", "template": 12, "version": 6 });
        assert_eq!(describe(12, &unhex(HEARTBEAT)[14..]), Some(heartbeat));
        let root = [
            &5_u64.to_le_bytes()[..],
            b"BI\0\0\0\0",
            b"CL\0\0\0\0",
            &[0xff, 0xff, 0xff, 0x7f],
            &[1, 0, 2, 3, 4, 5],
        ];
        let status = json!({
            "message": "security_status", "template": 30, "version": 9, "transact_time_ns": 5, "group": "BI",
            "asset": "CL", "security_id": null, "trade_date": 1, "match_event": 2, "status": 3, "halt_reason": 4,
            "event": 5,
        });
        assert_eq!(describe(30, &body(30, 9, &root.concat(), &[])), Some(status));
    }

    #[test]
    fn lists_orders_inside_levels_since_schema_7() {
        let mut groups = group(32, &[&[0; 25], &[2], b"1"]);
        groups.extend_from_slice(&[24, 0, 0, 0, 0, 0, 0, 1]);
        groups.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 2, 0, 0]);
        let listing = describe(46, &body(46, 9, &[0; 11], &groups)).expect("a book message");
        let order = json!({ "order_id": 9, "priority": 8, "size": 7, "entry": 1, "action": 2 });
        assert_eq!(listing["orders"], json!([order]));
        assert_eq!(listing["entries"][0]["price"], "0.000000000");
    }

    #[test]
    fn lists_every_template_of_the_layout_and_no_damaged_one() {
        let templates: [(u16, usize, u16); 20] = [
            (template::CHANNEL_RESET, 9, 2),
            (template::BOOK, 11, 32),
            (template::DAILY_STATISTICS, 11, 32),
            (template::LIMITS, 11, 32),
            (template::SESSION_STATISTICS, 11, 24),
            (template::TRADE, 11, 32),
            (template::VOLUME, 11, 16),
            (template::SNAPSHOT, 59, 22),
            (template::TRADE_SUMMARY, 11, 32),
            (template::ORDER_BOOK, 11, 40),
            (template::ORDER_SNAPSHOT, 28, 29),
            (template::BOOK_9, 11, 32),
            (template::ORDER_BOOK_9, 11, 40),
            (template::TRADE_SUMMARY_9, 11, 32),
            (template::DAILY_STATISTICS_9, 11, 32),
            (template::LIMITS_9, 11, 32),
            (template::SNAPSHOT_9, 59, 22),
            (template::ORDER_SNAPSHOT_9, 28, 29),
            (template::BOOK_LONG, 11, 32),
            (template::TRADE_SUMMARY_LONG, 11, 40),
        ];
        for (kind, root_bytes, block_bytes) in templates {
            let good = body(kind, 9, &vec![0; root_bytes], &group(block_bytes, &[]));
            let listing = describe(kind, &good).expect("a known template");
            assert_eq!(listing["entries"].as_array().map(Vec::len), Some(1), "template {kind}");
            assert_eq!(describe(kind, &good[..good.len() - 1]), None, "template {kind}, cut");
            let short_block = body(kind, 9, &vec![0; root_bytes], &group(1, &[]));
            assert_eq!(describe(kind, &short_block), None, "template {kind}, short block");
            let short_root = body(kind, 9, &[0; 8], &group(block_bytes, &[]));
            assert_eq!(describe(kind, &short_root), None, "template {kind}, short root");
        }
        let sized = group(24, &[&[0; 19], &[6, 0, 0, 0]]);
        let listing = describe(51, &body(51, 9, &[0; 11], &sized)).expect("session statistics");
        assert_eq!(listing["entries"][0]["size"], 6);
        assert_eq!(describe(999, &body(999, 9, &[0; 11], &[])), None);
    }
}

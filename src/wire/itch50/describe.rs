//! The fields of an ITCH message by name, for listings. Cold: it allocates.
//!
//! Invariant: the names and their order are those of the structs, which are those of the specification; a field
//! can't be forgotten here.

use super::ItchMessage;

/// All fields of a message, from its type letter on: numbers as numbers, the timestamp in ns since midnight, prices as
/// exact decimal strings, codes as one-letter strings, text without its padding. `None` for unknown types and for
/// bodies that are too short.
pub fn describe(body: &[u8]) -> Option<serde_json::Value> {
    let message = ItchMessage::parse(body)?;
    serde_json::to_value(message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::itch50::length_of;
    use serde_json::json;

    #[test]
    fn describes_real_messages() {
        // The last message of the NASDAQ capture's second packet, and the first A of it.
        let attributed = b"F\x19\x72\x00\x00\x1f\x23\xe0\x98\x1a\xe1\x00\x00\x00\x00\x00\x9c\x68\x1fS\
            \x00\x00\x00\x70META    \x00\x36\x9c\x14UBSS";
        let expected = json!({
            "message_type": "F", "stock_locate": 6514, "tracking_number": 0, "timestamp": 34_238_952_381_153u64,
            "order_reference_number": 10_250_271, "buy_sell_indicator": "S", "shares": 112, "stock": "META",
            "price": "357.8900", "attribution": "UBSS",
        });
        assert_eq!(describe(attributed), Some(expected));
        let added = b"A\x19\x72\x00\x00\x1f\x23\xe0\x98\x1a\xe1\x00\x00\x00\x00\x00\x79\x2f\x9fB\
            \x00\x00\x00\x01META    \x00\x0c\x49\x50";
        let expected = json!({
            "message_type": "A", "stock_locate": 6514, "tracking_number": 0, "timestamp": 34_238_952_381_153u64,
            "order_reference_number": 7_942_047, "buy_sell_indicator": "B", "shares": 1, "stock": "META",
            "price": "80.5200",
        });
        assert_eq!(describe(added), Some(expected));
        assert_eq!(describe(&added[..35]), None);
        assert_eq!(describe(b"?"), None);
        assert_eq!(describe(b""), None);
    }

    /// The specification's tables behind the common 11 bytes: each field's name, its bytes, and how it is read
    /// (n number, p price with 4 decimals, w price with 8, a text).
    const SPECIFIED: [(char, &str); 23] = [
        ('S', "event_code 1a"),
        (
            'R',
            "stock 8a market_category 1a financial_status_indicator 1a round_lot_size 4n round_lots_only 1a \
             issue_classification 1a issue_sub_type 2a authenticity 1a short_sale_threshold_indicator 1a ipo_flag 1a \
             luld_reference_price_tier 1a etp_flag 1a etp_leverage_factor 4n inverse_indicator 1a",
        ),
        ('H', "stock 8a trading_state 1a reserved 1a reason 4a"),
        ('Y', "stock 8a reg_sho_action 1a"),
        ('L', "mpid 4a stock 8a primary_market_maker 1a market_maker_mode 1a market_participant_state 1a"),
        ('V', "level_1 8w level_2 8w level_3 8w"),
        ('W', "breached_level 1a"),
        ('K', "stock 8a ipo_quotation_release_time 4n ipo_quotation_release_qualifier 1a ipo_price 4p"),
        (
            'J',
            "stock 8a auction_collar_reference_price 4p upper_auction_collar_price 4p lower_auction_collar_price 4p \
             auction_collar_extension 4n",
        ),
        ('h', "stock 8a market_code 1a operational_halt_action 1a"),
        ('A', "order_reference_number 8n buy_sell_indicator 1a shares 4n stock 8a price 4p"),
        ('F', "order_reference_number 8n buy_sell_indicator 1a shares 4n stock 8a price 4p attribution 4a"),
        ('E', "order_reference_number 8n executed_shares 4n match_number 8n"),
        ('C', "order_reference_number 8n executed_shares 4n match_number 8n printable 1a execution_price 4p"),
        ('X', "order_reference_number 8n cancelled_shares 4n"),
        ('D', "order_reference_number 8n"),
        ('U', "original_order_reference_number 8n new_order_reference_number 8n shares 4n price 4p"),
        ('P', "order_reference_number 8n buy_sell_indicator 1a shares 4n stock 8a price 4p match_number 8n"),
        ('Q', "shares 8n stock 8a cross_price 4p match_number 8n cross_type 1a"),
        ('B', "match_number 8n"),
        (
            'I',
            "paired_shares 8n imbalance_shares 8n imbalance_direction 1a stock 8a far_price 4p near_price 4p \
             current_reference_price 4p cross_type 1a price_variation_indicator 1a",
        ),
        ('N', "stock 8a interest_flag 1a"),
        (
            'O',
            "stock 8a open_eligibility_status 1a minimum_allowable_price 4p maximum_allowable_price 4p \
             near_execution_price 4p near_execution_time 8n lower_price_range_collar 4p upper_price_range_collar 4p",
        ),
    ];

    fn value(bytes: &[u8], kind: &str) -> serde_json::Value {
        let number = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let decimal = |decimals: usize| {
            let digits = format!("{number:0width$}", width = decimals + 1);
            let (whole, part) = digits.split_at(digits.len() - decimals);
            json!(format!("{whole}.{part}"))
        };
        match kind {
            "n" => json!(number),
            "p" => decimal(4),
            "w" => decimal(8),
            _ => json!(String::from_utf8(bytes.to_vec()).expect("the pattern is ASCII").trim_end()),
        }
    }

    #[test]
    fn every_field_of_every_type_stands_where_the_specification_says() {
        for (letter, fields) in SPECIFIED {
            // Every byte differs from its neighbours, so that a field read one byte off has another value.
            let mut body: Vec<u8> = (0..60u8).map(|place| 33 + place).collect();
            body[0] = letter as u8;
            let described = describe(&body).expect("a known type");
            let mut expected = json!({
                "message_type": letter.to_string(), "stock_locate": 0x2223, "tracking_number": 0x2425,
                "timestamp": 0x2627_2829_2a2bu64,
            });
            let (mut place, mut words) = (11, fields.split_whitespace());
            while let (Some(name), Some(form)) = (words.next(), words.next()) {
                let (width, kind) = form.split_at(1);
                let width: usize = width.parse().expect("a digit");
                expected[name] = value(&body[place..place + width], kind);
                place += width;
            }
            assert_eq!(described.to_string(), expected.to_string());
            assert_eq!(length_of(letter as u8), Some(place), "type {letter}");
        }
    }

    #[test]
    fn damaged_text_is_kept_as_latin_1() {
        let described = describe(b"N\0\0\0\0\0\0\0\0\0\0A\xe9 \0    \x80").expect("a known type");
        assert_eq!(described["stock"], "A\u{e9} \0");
        assert_eq!(described["interest_flag"], "\u{80}");
    }
}

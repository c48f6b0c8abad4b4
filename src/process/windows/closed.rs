//! A closed window: what goes out.
//!
//! Invariant: small and Copy, so that it travels through a ring; numbers are exact, and where they are not it says so.

use super::fixed::Fixed;
use super::key::WindowKey;
use crate::event::Nanos;
use crate::limits::QUANTILES_MAX;
use serde_json::{Map, Value, json};

/// What was added up. Units of sizes are the venue's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Aggregates {
    /// Events of a topic, or entries (trades) of an instrument.
    pub count: u64,
    /// Those of them that had a value: a price, or a number where one was looked for. All figures of values are of these.
    pub values: u64,
    /// Bytes of payload; those of a message are counted with the first of its entries that a window takes.
    pub bytes: u64,
    /// Sum of all sizes.
    pub volume: i128,
    /// Sum of the values.
    pub sum: Fixed,
    /// Least value; `None` without any.
    pub min: Option<Fixed>,
    /// Largest value.
    pub max: Option<Fixed>,
    /// Latest value by event time; of equal times the one that came last.
    pub last: Option<Fixed>,
    /// Mean of the values, cut off behind the ninth decimal.
    pub mean: Option<Fixed>,
    /// Mean price, each weighted by its size, cut off behind the ninth decimal; `None` without sizes.
    pub vwap: Option<Fixed>,
    /// Quantiles of the values.
    pub quantiles: Quantiles,
    /// The largest relative error of the quantiles.
    pub quantile_error: f64,
    /// Whether all sums stayed in their range, which values in the realm of the possible do.
    pub is_exact: bool,
}

/// Quantiles: of `n` values in order, the one at ⌊share × (n − 1)⌋, within the relative error beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    count: u8,
    shares: [u32; QUANTILES_MAX],
    values: [Fixed; QUANTILES_MAX],
}

impl Quantiles {
    /// Adds one, if there is room.
    pub(super) fn push(&mut self, share: u32, value: Fixed) {
        let place = usize::from(self.count);
        if place < QUANTILES_MAX {
            (self.shares[place], self.values[place]) = (share, value);
            self.count += 1;
        }
    }

    /// The shares in millionths with their values, in the order of the configuration; none without values.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Fixed)> + '_ {
        let pairs = self.shares.iter().copied().zip(self.values.iter().copied());
        pairs.take(usize::from(self.count))
    }
}

/// A window that will get no more events, or one that got some after it had closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedWindow {
    /// Index of its definition, in the order of the configuration.
    pub definition: u16,
    /// Whether it corrects the window of the same definition, key and start that went out before (or didn't, being
    /// empty).
    pub is_correction: bool,
    /// What it is of.
    pub key: WindowKey,
    /// Its first nanosecond, since the Unix epoch.
    pub start_ns: Nanos,
    /// The first one behind it.
    pub end_ns: Nanos,
    /// What was added up.
    pub aggregates: Aggregates,
}

const _: () = assert!(size_of::<ClosedWindow>() <= 512);

impl ClosedWindow {
    /// The name that its lines carry.
    pub const TOPIC: &str = "window.closed";

    /// The index of its key's feed, if that has one.
    pub fn feed(&self) -> Option<u32> {
        match self.key {
            WindowKey::Symbol { feed, .. } => Some(feed),
            _ => None,
        }
    }

    /// As a line of JSON. Names are given as the configuration has them; `feed` that of the key's feed, if it has one.
    /// Prices, values and sums are texts, since a JSON number would round them.
    pub fn to_json(&self, definition: &str, feed: Option<&str>) -> Value {
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
        put("topic", json!(ClosedWindow::TOPIC));
        put("window", json!(definition));
        put("correction", json!(self.is_correction));
        match self.key {
            WindowKey::Topic(head) => {
                put("key", json!(String::from_utf8_lossy(head.name())));
                if head.is_cut() {
                    put("key_bytes", json!(head.bytes));
                    put("key_hash", json!(format!("{:016x}", head.hash)));
                }
            }
            WindowKey::TopicId(id) => {
                put("key", json!(format!("#{id}")));
            }
            WindowKey::Symbol { feed: index, protocol, instrument, .. } => {
                put("key", json!(instrument.to_string()));
                put("feed", feed.map_or_else(|| json!(index), |name| json!(name)));
                put("protocol", json!(protocol.name()));
            }
        }
        put("start_ns", json!(self.start_ns));
        put("end_ns", json!(self.end_ns));
        let Aggregates { count, values, bytes, .. } = self.aggregates;
        put("count", json!(count));
        put("values", json!(values));
        put("bytes", json!(bytes));
        put("volume", json!(self.aggregates.volume.to_string()));
        put("sum", json!(self.aggregates.sum.to_string()));
        let optional = |value: Option<Fixed>| value.map_or(Value::Null, |value| json!(value.to_string()));
        put("min", optional(self.aggregates.min));
        put("max", optional(self.aggregates.max));
        put("mean", optional(self.aggregates.mean));
        put("last", optional(self.aggregates.last));
        put("vwap", optional(self.aggregates.vwap));
        for (share, value) in self.aggregates.quantiles.iter() {
            put(&quantile_name(share), json!(value.to_string()));
        }
        put("quantile_error", json!(self.aggregates.quantile_error));
        put("exact", json!(self.aggregates.is_exact));
        Value::Object(line)
    }
}

/// `p50` for 500,000 millionths, `p99.9` for 999,000.
fn quantile_name(millionths: u32) -> String {
    format!("p{}", Fixed(i128::from(millionths) * 100_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::wire::Instrument;

    #[test]
    fn lines_describe_themselves() {
        let mut window = ClosedWindow {
            definition: 1,
            is_correction: false,
            key: WindowKey::Symbol {
                shard: None,
                feed: 2,
                protocol: Protocol::IexTp,
                instrument: Instrument::Symbol(*b"GOOG    "),
            },
            start_ns: 5,
            end_ns: 10,
            aggregates: Aggregates {
                count: 2,
                values: 1,
                bytes: 84,
                volume: 41,
                sum: Fixed(349_250_000_000),
                vwap: Some(Fixed(349_250_000_000)),
                quantile_error: 0.0001,
                is_exact: true,
                ..Aggregates::default()
            },
        };
        window.aggregates.quantiles.push(500_000, Fixed(1));
        window.aggregates.quantiles.push(999_000, Fixed(-2_000_000_000));
        let line = window.to_json("trades", Some("iex"));
        let expected = r#"{"topic":"window.closed","window":"trades","correction":false,"key":"GOOG","feed":"iex","protocol":"iex-tp","start_ns":5,"end_ns":10,"count":2,"values":1,"bytes":84,"volume":"41","sum":"349.25","min":null,"max":null,"mean":null,"last":null,"vwap":"349.25","p50":"0.000000001","p99.9":"-2","quantile_error":0.0001,"exact":true}"#;
        assert_eq!(line.to_string(), expected);
        assert_eq!(window.to_json("trades", None)["feed"], 2);
        window.key = WindowKey::TopicId(9);
        assert_eq!(window.to_json("topics", None)["key"], "#9");
    }
}

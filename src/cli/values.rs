//! Values of options, parsed with errors that say what is allowed.

use crate::event::Protocol;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration: a number with ns, us (or µs), ms, s, m or h behind it; without a unit, seconds.
///
/// # Errors
/// It is none, or too long to count in nanoseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ns = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "" | "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        _ => {
            return Err(format!("unknown unit '{unit}'; write ns, us, ms, s, m or h, such as 1.5s or 200ms"));
        }
    };
    // Exact for whole numbers; a fraction is good to the nanosecond for a week.
    let ns = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(unit_ns as u64),
        Err(_) => number
            .parse::<f64>()
            .ok()
            .map(|n| (n * unit_ns).round())
            .filter(|ns| *ns < 9e18)
            .map(|ns| ns as u64),
    };
    ns.map(Duration::from_nanos)
        .ok_or_else(|| "not a duration; write it such as 1.5s, 200ms or 10m".to_owned())
}

/// A duration longer than nothing.
///
/// # Errors
/// As [`duration`], or it is zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|d| if d.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(d) })
}

/// A protocol's name, with the list of them on an error.
///
/// # Errors
/// There is no such protocol.
pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    text.parse()
}

/// What packets are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// What their bytes look like.
    Auto,
    /// This protocol.
    Named(Protocol),
}

impl ProtocolChoice {
    /// The named protocol; `None` for automatic, as [`crate::config::Settings::for_replay`] takes it.
    pub const fn named(self) -> Option<Protocol> {
        match self {
            ProtocolChoice::Auto => None,
            ProtocolChoice::Named(protocol) => Some(protocol),
        }
    }
}

impl FromStr for ProtocolChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<ProtocolChoice, String> {
        match text {
            "auto" => Ok(ProtocolChoice::Auto),
            _ => text.parse().map(ProtocolChoice::Named).map_err(|error: String| format!("{error}, auto")),
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<MacAddress, String> {
        let wrong = || "not an Ethernet address; write six hex bytes such as 02:00:5e:10:00:01".to_owned();
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part =
                parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
        }
        parts.next().map_or(Ok(MacAddress(bytes)), |_| Err(wrong()))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

/// What becomes of VLAN tags when frames are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VlanRewrite {
    /// They stay.
    #[default]
    Keep,
    /// They are taken off.
    Strip,
    /// One tag with this id, 1 to 4094, in their place, or on frames without.
    Set(u16),
}

impl FromStr for VlanRewrite {
    type Err = String;

    fn from_str(text: &str) -> Result<VlanRewrite, String> {
        match text {
            "keep" => Ok(VlanRewrite::Keep),
            "strip" => Ok(VlanRewrite::Strip),
            _ => match text.parse() {
                Ok(id @ 1..=4_094) => Ok(VlanRewrite::Set(id)),
                _ => Err("write keep, strip, or a VLAN id from 1 to 4094".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_with_and_without_units() {
        for (text, ns) in [
            ("0", 0),
            ("5", 5_000_000_000),
            ("1.5s", 1_500_000_000),
            ("200ms", 200_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("7ns", 7),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0.000000001", 1),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for text in ["", "s", "-1s", "1.2.3s", "5 s", "1d", "99999999999999999999", "99999999999h", "."] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0ms").is_err());
    }

    #[test]
    fn addresses_vlans_and_protocols() {
        let mac: MacAddress = "02:00:5E:10:00:fF".parse().expect("is one");
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        for text in ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "02:00:5e:10:00:1", "+2:00:5e:10:00:01"] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
        assert_eq!("905".parse(), Ok(VlanRewrite::Set(905)));
        for text in ["0", "4095", "drop"] {
            assert!(text.parse::<VlanRewrite>().is_err(), "{text}");
        }
        assert_eq!("auto".parse(), Ok(ProtocolChoice::Auto));
        assert_eq!("iex-tp".parse(), Ok(ProtocolChoice::Named(Protocol::IexTp)));
        let error = "itch".parse::<ProtocolChoice>().expect_err("is none");
        assert!(error.contains("moldudp64-itch50") && error.contains("auto"), "{error}");
    }
}

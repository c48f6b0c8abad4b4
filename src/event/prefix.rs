//! Address prefixes: which source addresses a listener takes.
//!
//! Invariant: no bit behind the prefix is set, and an IPv4 address is never kept in its IPv6-mapped form, so that two
//! prefixes of the same addresses are equal.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Bits by which an IPv4-mapped IPv6 address begins (`::ffff:0:0/96`).
const MAPPED_BITS: u8 = 96;

/// All addresses that begin with the same bits: `10.0.0.0/8`, `fe80::/10`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The prefix of `bits` bits of an address.
    ///
    /// # Errors
    /// More bits than the address has, or an address with bits set behind them; the text says what to write.
    pub fn new(address: IpAddr, bits: u8) -> Result<Prefix, String> {
        let address_bits = width(address);
        if bits > address_bits {
            return Err(format!(
                "{address}/{bits} has more bits than an address; allowed: 0 to {address_bits}"
            ));
        }
        let (address, bits) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if bits >= MAPPED_BITS => (v4, bits - MAPPED_BITS),
            _ => (address, bits),
        };
        let kept = masked(address, bits);
        if kept != address {
            return Err(format!(
                "{address}/{bits} has bits set behind the first {bits}; write {kept}/{bits}"
            ));
        }
        Ok(Prefix { address, bits })
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits count: 0 to 32 for IPv4, to 128 for IPv6.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether an address begins with it. IPv4-mapped IPv6 addresses, as dual-stack sockets report them, are IPv4;
    /// apart from that the families are apart, so that `::/0` has no IPv4 address.
    pub fn contains(&self, address: &IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.bits) == self.address
    }
}

/// Bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with only its first `bits` bits.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> String {
        prefix.to_string()
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let unreadable = || {
            format!(
                "{text:?} is no address prefix; allowed: such as \"10.0.0.0/8\", \"::1\" or \"fe80::/10\""
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| unreadable())?;
        let bits = match bits {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().map_err(|_| unreadable())?
            }
            Some(_) => return Err(unreadable()),
            None => width(address),
        };
        Prefix::new(address, bits)
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Prefix, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap_or_else(|problem| panic!("{problem}"))
    }

    #[test]
    fn addresses_inside_and_outside() {
        let cases = [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "1.2.3.4"),
            ("::1", "::1", "::2"),
            ("fe80::/10", "febf::1", "fec0::1"),
            ("10.0.0.0/8", "::ffff:10.9.9.9", "::ffff:11.0.0.0"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ];
        for (text, inside, outside) in cases {
            let prefix = prefix(text);
            assert!(prefix.contains(&inside.parse().expect("an address")), "{text} {inside}");
            assert!(!prefix.contains(&outside.parse().expect("an address")), "{text} {outside}");
        }
    }

    #[test]
    fn every_length_contains_exactly_the_addresses_that_begin_alike() {
        for bits in 0..=32u8 {
            let all_ones = IpAddr::V4(u32::MAX.into());
            let own = Prefix::new(masked(all_ones, bits), bits).expect("masked");
            assert!(own.contains(&all_ones));
            for flipped in 0..32 {
                let address = IpAddr::V4((u32::MAX ^ (1 << (31 - flipped))).into());
                assert_eq!(own.contains(&address), flipped >= u32::from(bits), "/{bits} bit {flipped}");
            }
        }
    }

    #[test]
    fn texts_round_trip_in_one_form() {
        for (text, form) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("::1", "::1/128"),
            ("::ffff:1.2.3.4", "1.2.3.4/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(prefix(text).to_string(), form);
            assert_eq!(prefix(form), prefix(text));
        }
    }

    #[test]
    fn wrong_texts_are_refused_with_advice() {
        for text in ["", "/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/x", "10.0.0/8", "host", "10.0.0.0/999"] {
            let problem = text.parse::<Prefix>().expect_err(text);
            assert!(problem.contains("allowed: such as"), "{problem}");
        }
        let problem = "10.0.0.0/33".parse::<Prefix>().expect_err("too many bits");
        assert!(problem.contains("0 to 32"), "{problem}");
        let problem = "10.0.0.1/8".parse::<Prefix>().expect_err("bits behind the prefix");
        assert!(problem.ends_with("write 10.0.0.0/8"), "{problem}");
    }
}

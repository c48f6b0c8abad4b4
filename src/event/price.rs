//! Prices as exact decimals, and sides.

use std::fmt;

/// An exact decimal price: `mantissa × 10^-decimals`. Venues differ in decimals; nothing is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    /// Signed digits without the point.
    pub mantissa: i64,
    /// Digits behind the point (0..=18).
    pub decimals: u8,
}

impl Price {
    /// A price of `mantissa × 10^-decimals`.
    pub const fn new(mantissa: i64, decimals: u8) -> Price {
        Price { mantissa, decimals }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10u64.pow(u32::from(self.decimals.min(18)));
        let digits = self.mantissa.unsigned_abs();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if self.decimals == 0 {
            return write!(f, "{sign}{digits}");
        }
        let width = usize::from(self.decimals.min(18));
        write!(f, "{sign}{}.{:0width$}", digits / scale, digits % scale)
    }
}

/// Side of a book or of a trade's aggressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Buy, bid.
    Buy,
    /// Sell, offer, ask.
    Sell,
    /// The message names no side.
    None,
}

impl Side {
    /// The name used in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Buy => "buy",
            Side::Sell => "sell",
            Side::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Price;

    #[test]
    fn prints_exactly() {
        assert_eq!(Price::new(1_234_500, 4).to_string(), "123.4500");
        assert_eq!(Price::new(-5, 2).to_string(), "-0.05");
        assert_eq!(Price::new(7, 0).to_string(), "7");
        assert_eq!(Price::new(i64::MIN, 9).to_string(), "-9223372036.854775808");
    }
}

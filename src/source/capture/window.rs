//! The part of a capture that is replayed: from one moment until another, the second excluded.

use std::str::FromStr;

use crate::event::Nanos;

/// A moment of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// On the capture's own clock, ns.
    At(Nanos),
    /// So many ns after the capture's first record.
    After(u64),
}

/// A moment that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no moment of a capture: give +1.5s, +250ms, +2m or +1h after its first record, \
     2016-10-18T13:30:00.5 in UTC, or seconds since the epoch like 1476797400.5"
)]
pub struct MomentError(String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Moment, MomentError> {
        let moment = match text.strip_prefix('+') {
            Some(duration) => duration_ns(duration).map(Moment::After),
            None => civil_ns(text).or_else(|| decimal_ns(text, 1_000_000_000)).map(Moment::At),
        };
        moment.ok_or_else(|| MomentError(text.to_owned()))
    }
}

/// Which records are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeWindow {
    /// The earliest one.
    pub from: Option<Moment>,
    /// The first one that is too late.
    pub until: Option<Moment>,
}

impl TimeWindow {
    /// Whether a record of this time lies in the window, in a capture that begins at `first_ns`. Records without a
    /// time (0) do if the window is open.
    pub fn admits(&self, time_ns: Nanos, first_ns: Nanos) -> bool {
        let resolve = |moment: Moment| match moment {
            Moment::At(at) => at,
            Moment::After(after) => first_ns.saturating_add(after),
        };
        if time_ns == 0 {
            return self.from.is_none() && self.until.is_none();
        }
        self.from.is_none_or(|from| time_ns >= resolve(from))
            && self.until.is_none_or(|until| time_ns < resolve(until))
    }
}

/// `1.5s`, `250ms`, `10us`, `5ns`, `2m`, `1h` in ns.
fn duration_ns(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    decimal_ns(number, unit_ns)
}

/// A decimal number of units in ns, exactly; digits below a nanosecond are cut off.
fn decimal_ns(text: &str, unit_ns: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 12 {
        return None;
    }
    let parts = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let below = parts * u128::from(unit_ns) / 10_u128.pow(fraction.len() as u32);
    let above = whole.parse::<u64>().ok()?.checked_mul(unit_ns)?;
    above.checked_add(u64::try_from(below).ok()?)
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction][Z]` in ns since the epoch.
fn civil_ns(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once(['T', ' '])?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<u64>().ok()?, time.next()?.parse::<u64>().ok()?);
    let second_ns = decimal_ns(time.next()?, 1_000_000_000)?;
    let sane = (1970..=2554).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sane || date.next().is_some() || hour > 23 || minute > 59 || second_ns > 60_999_999_999 {
        return None;
    }
    // Days since the epoch in the proleptic calendar; the year begins in March, so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    (days * 86_400 + hour * 3_600 + minute * 60).checked_mul(1_000_000_000)?.checked_add(second_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        for (text, moment) in [
            ("+1.5s", Moment::After(1_500_000_000)),
            ("+250ms", Moment::After(250_000_000)),
            ("+1h", Moment::After(3_600_000_000_000)),
            ("1476797400.000000001", Moment::At(1_476_797_400_000_000_001)),
            ("2016-10-18T13:30:00", Moment::At(1_476_797_400_000_000_000)),
            ("2016-10-18 13:30:00.5Z", Moment::At(1_476_797_400_500_000_000)),
            ("1970-01-01T00:00:00", Moment::At(0)),
            ("2024-02-29T23:59:59", Moment::At(1_709_251_199_000_000_000)),
            ("2000-03-01T00:00:00", Moment::At(951_868_800_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        for text in [
            "",
            "+",
            "+5",
            "5s",
            "+1.5",
            "now",
            "2016-13-01T00:00:00",
            "2016-10-18",
            "1.-5",
            "99999999999999",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_end_is_excluded() {
        let window = TimeWindow { from: Some(Moment::After(10)), until: Some(Moment::At(120)) };
        let admitted: Vec<_> = [0, 100, 109, 110, 119, 120].map(|time| window.admits(time, 100)).into();
        assert_eq!(admitted, [false, false, false, true, true, false]);
        assert!(TimeWindow::default().admits(0, 100));
    }
}

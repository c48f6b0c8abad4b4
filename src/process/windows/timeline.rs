//! Hot path: when an event happened, on one clock for all protocols: nanoseconds since the Unix epoch.
//!
//! Invariant: an event time is never further ahead of when the event came than the bound allows.
//!
//! | protocol | event time |
//! |---|---|
//! | native version 2, IEX-TP, CME MDP 3.0, NYSE Pillar, FIX | the message's own time, which counts from the Unix epoch |
//! | ITCH 5.0 (both ways) | the message's time since midnight gives minute, second and nanosecond; the hour is the one that brings it nearest to when it came, so that neither day nor time zone needs to be known |
//! | native version 1, Cboe PITCH, MIAX MACH, ICE iMpact, engine20 | when it came: they carry no time, one since a second named elsewhere, or one of an unknown clock |
//! | all, where the message's time is 0 | when it came |
//!
//! When an event came is its wire time in captures that are taken flat out, the wire time of a monotonic clock plus that
//! clock's distance from UTC, or else (hardware clocks, which have no known relation to UTC) the same of its receipt.

use crate::event::{ClockKind, EventHeader, Nanos, Protocol};

const HOUR_NS: u64 = 3_600_000_000_000;

/// What it takes to place an event in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// UTC less CLOCK_MONOTONIC, ns: what live events need; captures taken flat out do without.
    pub utc_ahead_ns: Nanos,
    /// How far ahead of when it came an event time may lie, ns.
    pub future_max_ns: Nanos,
}

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// Ns since the Unix epoch.
    pub at_ns: Nanos,
    /// Whether the event said a time too far in the future, in whose place stands when it came.
    pub is_future: bool,
    /// Whether its clock goes on while no events come.
    pub is_live: bool,
}

impl Timeline {
    /// The time of an event.
    #[inline]
    pub fn of(&self, header: &EventHeader) -> EventTime {
        let clock = ClockKind::from_u8(header.clock);
        let came_ns = self.came_ns(clock, header);
        let is_live = clock != ClockKind::Capture;
        let said_ns = match Protocol::from_u8(header.protocol) {
            _ if header.source_ns == 0 => came_ns,
            Some(
                Protocol::Native | Protocol::IexTp | Protocol::CmeMdp3 | Protocol::NysePillar | Protocol::Fix,
            ) => header.source_ns,
            Some(Protocol::Moldudp64Itch50 | Protocol::SoupbintcpItch50) => {
                nearest_hour(header.source_ns, came_ns)
            }
            _ => came_ns,
        };
        let is_future = said_ns > came_ns.saturating_add(self.future_max_ns);
        EventTime { at_ns: if is_future { came_ns } else { said_ns }, is_future, is_live }
    }

    #[inline]
    fn came_ns(&self, clock: ClockKind, header: &EventHeader) -> Nanos {
        match clock {
            ClockKind::Capture => header.wire_ns,
            ClockKind::Monotonic => header.wire_ns.saturating_add(self.utc_ahead_ns),
            ClockKind::Hardware | ClockKind::None => header.receive_ns.saturating_add(self.utc_ahead_ns),
        }
    }
}

/// The time with `source_ns`' place in its hour that lies nearest to `came_ns`.
#[inline]
fn nearest_hour(source_ns: Nanos, came_ns: Nanos) -> Nanos {
    // How far the source's place in the hour is behind that of the arrival, going round.
    let behind = (came_ns % HOUR_NS + HOUR_NS - source_ns % HOUR_NS) % HOUR_NS;
    if behind <= HOUR_NS / 2 {
        came_ns.saturating_sub(behind)
    } else {
        came_ns.saturating_add(HOUR_NS - behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMELINE: Timeline = Timeline { utc_ahead_ns: 1_000_000_000_000, future_max_ns: 500 };

    fn at(protocol: Protocol, clock: ClockKind, source_ns: u64) -> EventTime {
        TIMELINE.of(&EventHeader {
            protocol: protocol as u8,
            clock: clock as u8,
            wire_ns: 10_000,
            receive_ns: 20_000,
            source_ns,
            ..EventHeader::default()
        })
    }

    #[test]
    fn the_senders_time_goes_first_where_it_counts_from_the_epoch() {
        for protocol in Protocol::ALL {
            let time = at(protocol, ClockKind::Capture, 9_000);
            let its_own = matches!(
                protocol,
                Protocol::Native
                    | Protocol::IexTp
                    | Protocol::CmeMdp3
                    | Protocol::NysePillar
                    | Protocol::Fix
                    | Protocol::Moldudp64Itch50
                    | Protocol::SoupbintcpItch50
            );
            assert_eq!(time.at_ns, if its_own { 9_000 } else { 10_000 }, "{protocol}");
            assert_eq!(at(protocol, ClockKind::Capture, 0).at_ns, 10_000, "{protocol}");
            assert!(!time.is_live && at(protocol, ClockKind::Monotonic, 0).is_live);
        }
    }

    #[test]
    fn live_clocks_are_moved_to_utc() {
        assert_eq!(at(Protocol::Native, ClockKind::Monotonic, 0).at_ns, 1_000_000_010_000);
        assert_eq!(at(Protocol::Native, ClockKind::Hardware, 0).at_ns, 1_000_000_020_000);
        assert_eq!(at(Protocol::Native, ClockKind::None, 0).at_ns, 1_000_000_020_000);
    }

    #[test]
    fn a_time_from_the_future_is_when_it_came() {
        let near = at(Protocol::IexTp, ClockKind::Capture, 10_500);
        assert_eq!((near.at_ns, near.is_future), (10_500, false));
        let far = at(Protocol::IexTp, ClockKind::Capture, u64::MAX);
        assert_eq!((far.at_ns, far.is_future), (10_000, true));
    }

    #[test]
    fn times_since_midnight_find_their_hour_in_any_zone() {
        let day = 19_000 * 24 * HOUR_NS;
        for zone_hours in 0..24 {
            for late_ns in [0, 1, 999_999_999, HOUR_NS / 3] {
                let happened = day + 15 * HOUR_NS + 59 * HOUR_NS / 60 + 7;
                let local = (happened + zone_hours * HOUR_NS) % (24 * HOUR_NS);
                assert_eq!(nearest_hour(local, happened + late_ns), happened);
                // The sender's clock ahead of ours.
                assert_eq!(nearest_hour(local, happened - late_ns), happened);
            }
        }
        assert_eq!(nearest_hour(HOUR_NS - 1, 0), 0);
        assert_eq!(nearest_hour(0, u64::MAX), u64::MAX, "the end of time is not passed");
    }
}

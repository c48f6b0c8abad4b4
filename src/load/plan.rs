//! What a load is: typed and complete, before anything starts.

use super::Target;
use crate::event::Priority;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// Longest payload, bytes: with the longest topic and either header, a datagram and a server's largest slot take it.
pub const PAYLOAD_BYTES_MAX: usize = 65_000;

/// Which native frames are sent; docs/native-protocol.md describes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameVersion {
    /// As EventStreamCore's senders write them.
    V1,
    /// With producer, sequence, time and checksum.
    V2,
}

impl FrameVersion {
    /// Its number.
    pub const fn number(self) -> u8 {
        match self {
            FrameVersion::V1 => 1,
            FrameVersion::V2 => 2,
        }
    }
}

/// Bursts with silence between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Events in each, over all producers.
    pub events: NonZeroU64,
    /// From the start of one to the start of the next; not 0.
    pub period: Duration,
}

/// What the events are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All alike.
    Plain {
        /// Their topic, 1 to 255 bytes.
        topic: String,
        /// Their priority.
        priority: Priority,
        /// Bytes of their payload, at most [`PAYLOAD_BYTES_MAX`].
        payload_bytes: usize,
    },
    /// Those of seven simulated sources, each with its own topic, priority, payload and share.
    Mix,
}

/// What an acknowledged session is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWish {
    /// Whether an event counts as acknowledged only when it is durable.
    pub durable: bool,
    /// Most events under way and not acknowledged, per producer.
    pub window: usize,
}

/// A load.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where to.
    pub target: Target,
    /// In which frames.
    pub version: FrameVersion,
    /// In acknowledged sessions; needs version 2 and a stream.
    pub session: Option<SessionWish>,
    /// How many producers, each with its thread and connection.
    pub producers: usize,
    /// The id of the first; the others count on from it. Not 0.
    pub producer_id: u64,
    /// Events per second over all producers; `None` sends as fast as it goes.
    pub rate: Option<NonZeroU64>,
    /// Bursts, instead of a rate.
    pub burst: Option<Burst>,
    /// Events over all producers.
    pub count: Option<u64>,
    /// How long; with a rate, so many events as are due in it.
    pub duration: Option<Duration>,
    /// What the events are.
    pub content: Content,
    /// What payloads and the order of sources follow from.
    pub seed: u64,
    /// Whether a lost connection is made again.
    pub reconnect: bool,
    /// How long without any success that is tried.
    pub give_up: Duration,
    /// How long without any further acknowledgement the rest is waited for, once all is sent.
    pub drain: Duration,
}

impl FromStr for Burst {
    type Err = String;

    /// `EVENTS/MS`, such as `1000/100`: a thousand events every 100 ms.
    fn from_str(text: &str) -> Result<Burst, String> {
        let burst = text.split_once('/').and_then(|(events, millis)| {
            let millis: NonZeroU64 = millis.strip_suffix("ms").unwrap_or(millis).parse().ok()?;
            // An hour between bursts is as good as none, and keeps all times far from overflow.
            let period = Duration::from_millis(millis.get()).min(Duration::from_secs(3_600));
            Some(Burst { events: events.parse().ok()?, period })
        });
        burst.ok_or_else(|| "write EVENTS/MS, such as 1000/100 for a thousand events every 100 ms".to_owned())
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}ms", self.events, self.period.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_events_per_milliseconds() {
        let burst: Burst = "1000/100".parse().expect("is one");
        assert_eq!((burst.events.get(), burst.period), (1_000, Duration::from_millis(100)));
        assert_eq!("1000/100ms".parse(), Ok(burst));
        assert_eq!(burst.to_string(), "1000/100ms");
        for text in ["", "1000", "0/5", "5/0", "a/1", "1/1s"] {
            assert!(text.parse::<Burst>().is_err(), "{text}");
        }
    }
}

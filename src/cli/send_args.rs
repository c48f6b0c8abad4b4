//! `sluice send`: its options.

use super::values::{duration, positive_duration};
use crate::event::Priority;
use crate::load::{Burst, Content, FrameVersion, LoadPlan, PAYLOAD_BYTES_MAX, SessionWish, Target};
use crate::wire::native_v2::TOPIC_BYTES_MAX;
use clap::{Args, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// Most producers: each is a thread.
const PRODUCERS_MAX: u64 = 4_096;

/// Largest window: 8 bytes are kept of each event in it.
const WINDOW_MAX: u64 = 1 << 20;

const AFTER: &str = "\
Open loop: when each event is due follows from --rate or --burst alone, and latencies count from then,
to the acknowledgement with --session, else to the kernel's taking the bytes. Without either, events go
out as fast as the server takes them. Without --count and --duration, until interrupted.

With --session (docs/native-protocol.md), each event is acknowledged, also across lost connections and
restarts of the server, or its number is reported and the exit code is 1. A producer goes on behind what
the server has of its id. SIGINT and SIGTERM end the sending; acknowledgements are still waited for.

Examples:
  sluice send --count 1000000                                as fast as it goes, to tcp:127.0.0.1:9000
  sluice send --rate 50000 --duration 10s --producers 4      12,500 events per second from each of four
  sluice send --session --mix --rate 20000 --duration 1m     seven kinds of sources, each event acknowledged
  sluice send --to udp:127.0.0.1:9001 --version 2 --burst 1000/100 --duration 5s
  sluice send --to unix:/run/sluice/ingest.sock --topic alerts --priority 4 --payload 256 --count 10";

/// Options of `sluice send`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct SendArgs {
    /// Where to: tcp:ADDR:PORT, udp:ADDR:PORT or unix:PATH.
    #[arg(long, value_name = "TARGET", default_value = "tcp:127.0.0.1:9000")]
    pub to: Target,
    /// Frames of native version 1, as EventStreamCore's senders write them, or 2, with producer, sequence, time
    /// and checksum [default: 1, with --session 2].
    #[arg(long = "version", value_name = "1|2", value_parser = frame_version)]
    pub frame_version: Option<FrameVersion>,
    /// Acknowledged sessions (version 2, over tcp or unix).
    #[arg(long)]
    pub session: bool,
    /// An event counts as acknowledged when it is durable: on disk in the server's journal.
    #[arg(long, requires = "session")]
    pub durable: bool,
    /// Most events of a producer under way and not acknowledged; when they are, the producer waits.
    #[arg(long, value_name = "N", default_value = "4096", requires = "session",
          value_parser = clap::value_parser!(u64).range(1..=WINDOW_MAX))]
    pub window: u64,
    /// Producers, each with a connection and a thread.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=PRODUCERS_MAX))]
    pub producers: u64,
    /// The first producer's id; the others count on from it.
    #[arg(long, value_name = "N", default_value = "1")]
    pub producer_id: NonZeroU64,
    /// Events per second, over all producers [default: as fast as it goes].
    #[arg(long, value_name = "R", conflicts_with = "burst")]
    pub rate: Option<NonZeroU64>,
    /// Bursts with silence between them: EVENTS/MS, such as 1000/100 for a thousand events every 100 ms.
    #[arg(long, value_name = "EVENTS/MS")]
    pub burst: Option<Burst>,
    /// Events to send, over all producers.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// How long to send, such as 10s or 5m; with --rate or --burst, exactly the events due in it.
    #[arg(long, value_name = "T", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Topic of the events.
    #[arg(long, value_name = "T", default_value = "load", value_parser = topic, conflicts_with = "mix")]
    pub topic: String,
    /// Priority of the events: 0 batch, 1 low, 2 medium, 3 high, 4 critical.
    #[arg(long, value_name = "P", default_value = "2", value_parser = priority, conflicts_with = "mix")]
    pub priority: Priority,
    /// Bytes of each payload, printable and made up by --seed.
    #[arg(long, value_name = "BYTES", default_value = "64", conflicts_with = "mix",
          value_parser = clap::value_parser!(u64).range(0..=PAYLOAD_BYTES_MAX as u64))]
    pub payload: u64,
    /// Events of seven simulated sources instead: host CPU, memory, network and disk, trades, orders, sensors;
    /// each with its own topic, priority, payload and share.
    #[arg(long)]
    pub mix: bool,
    /// What payloads and the order of sources follow from.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Whether a lost or refused connection is tried again.
    #[arg(long, value_name = "on|off", default_value = "on")]
    pub reconnect: Switch,
    /// How long without any success that is tried.
    #[arg(long, value_name = "T", default_value = "10s", value_parser = duration)]
    pub give_up: Duration,
    /// How long to wait without any further acknowledgement, once all is sent.
    #[arg(long, value_name = "T", default_value = "10s", value_parser = duration)]
    pub drain: Duration,
    /// Print the report as JSON instead of the summary.
    #[arg(long)]
    pub json: bool,
    /// Write the report (JSON) to this file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl SendArgs {
    /// What clap's own rules can't express.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn check(&self) -> Result<(), String> {
        if self.session && self.frame_version == Some(FrameVersion::V1) {
            return Err("--session needs --version 2: version 1 is never acknowledged".to_owned());
        }
        if self.session && !self.to.is_stream() {
            return Err("--session needs tcp or unix: nobody acknowledges datagrams".to_owned());
        }
        if self.producer_id.get().checked_add(self.producers - 1).is_none() {
            return Err("--producer-id is too large: the other producers' ids count on from it".to_owned());
        }
        Ok(())
    }

    /// The load that is asked for.
    pub fn plan(&self) -> LoadPlan {
        let default = if self.session { FrameVersion::V2 } else { FrameVersion::V1 };
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        LoadPlan {
            target: self.to.clone(),
            version: self.frame_version.unwrap_or(default),
            session: self.session.then(|| SessionWish { durable: self.durable, window: size(self.window) }),
            producers: size(self.producers),
            producer_id: self.producer_id.get(),
            rate: self.rate,
            burst: self.burst,
            count: self.count,
            duration: self.duration,
            content: if self.mix {
                Content::Mix
            } else {
                Content::Plain {
                    topic: self.topic.clone(),
                    priority: self.priority,
                    payload_bytes: size(self.payload),
                }
            },
            seed: self.seed,
            reconnect: self.reconnect == Switch::On,
            give_up: self.give_up,
            drain: self.drain,
        }
    }
}

fn frame_version(text: &str) -> Result<FrameVersion, String> {
    match text {
        "1" => Ok(FrameVersion::V1),
        "2" => Ok(FrameVersion::V2),
        _ => Err("write 1 or 2".to_owned()),
    }
}

fn topic(text: &str) -> Result<String, String> {
    if (1..=TOPIC_BYTES_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("a topic has 1 to {TOPIC_BYTES_MAX} bytes"))
    }
}

fn priority(text: &str) -> Result<Priority, String> {
    let known = text.parse().ok().and_then(Priority::from_u8);
    known.ok_or_else(|| "write 0 (batch), 1 (low), 2 (medium), 3 (high) or 4 (critical)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parse(words: &[&str]) -> Result<LoadPlan, String> {
        let cli =
            Cli::try_parse_from(["sluice", "send"].iter().chain(words)).map_err(|error| error.to_string())?;
        cli.check().map_err(|error| error.to_string())?;
        let Command::Send(args) = cli.command else { panic!("not send") };
        Ok(args.plan())
    }

    #[test]
    fn nothing_is_needed_and_sessions_are_version_2() {
        let plan = parse(&[]).expect("is right");
        assert_eq!(
            (plan.target.to_string().as_str(), plan.version),
            ("tcp:127.0.0.1:9000", FrameVersion::V1)
        );
        assert_eq!((plan.session, plan.producers, plan.producer_id, plan.reconnect), (None, 1, 1, true));
        let session = parse(&["--session", "--durable", "--window", "9"]).expect("is right");
        let wish = SessionWish { durable: true, window: 9 };
        assert_eq!((session.version, session.session), (FrameVersion::V2, Some(wish)));
        let mix = parse(&["--mix", "--reconnect", "off", "--burst", "10/5"]).expect("is right");
        assert_eq!((mix.content, mix.reconnect, mix.burst), (Content::Mix, false, "10/5".parse().ok()));
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        let long = "t".repeat(256);
        for (words, named) in [
            (&["--session", "--version", "1"][..], "--version 2"),
            (&["--session", "--to", "udp:127.0.0.1:9001"], "tcp or unix"),
            (&["--durable"], "--session"),
            (&["--rate", "5", "--burst", "1/1"], "--burst"),
            (&["--rate", "0"], "--rate"),
            (&["--mix", "--payload", "9"], "--payload"),
            (&["--payload", "65001"], "65000"),
            (&["--priority", "5"], "4 (critical)"),
            (&["--topic", &long], "255"),
            (&["--to", "http://x"], "tcp:ADDR:PORT"),
            (&["--producers", "0"], "4096"),
            (&["--producer-id", "18446744073709551615", "--producers", "2"], "too large"),
            (&["--duration", "0s"], "longer than 0"),
        ] {
            let error = parse(words).expect_err("is wrong");
            assert!(error.contains(named), "{words:?}: no '{named}' in {error}");
        }
    }
}

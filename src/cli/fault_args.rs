//! `sluice replay`: the options of faults.

use super::ReplayTarget;
use super::values::duration;
use crate::appliance::ApplianceError;
use crate::config;
use crate::event::Destination;
use crate::source::capture::{FaultPlan, LineChoice, NamedLine, PerLine};
use clap::Args;
use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;

/// The seed unless told otherwise.
const SEED_DEFAULT: u64 = 1;

/// The value of a fault, for all lines or for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault<T> {
    /// The line as it was written; `None` is all.
    pub line: Option<String>,
    /// What happens to it.
    pub value: T,
}

/// What goes wrong on the way from a capture to whatever takes its packets.
#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Faults, with --to inline, iface or udp")]
pub struct FaultArgs {
    /// Lose this share of packets: 0.01 or 1%. May be repeated, as all of these may: --loss 1% --loss B=5%.
    #[arg(long, value_name = "[LINE=]P", value_parser = share)]
    pub loss: Vec<Fault<f64>>,
    /// Lose them in bursts of this many packets on average (Gilbert's model); --loss stays the share of all
    /// [default: 1, each by itself].
    #[arg(long, value_name = "[LINE=]N", value_parser = burst)]
    pub loss_burst: Vec<Fault<f64>>,
    /// Deliver this share of packets twice.
    #[arg(long, value_name = "[LINE=]P", value_parser = share)]
    pub duplicate: Vec<Fault<f64>>,
    /// Deliver this share of packets after 1 to 8 later ones of their line.
    #[arg(long, value_name = "[LINE=]P", value_parser = share)]
    pub reorder: Vec<Fault<f64>>,
    /// Deliver packets this much later: ns, or with us, ms or s.
    #[arg(long, value_name = "[LINE=]NS", value_parser = delay)]
    pub delay: Vec<Fault<u64>>,
    /// Flip 1 to 8 bits in the payload of this share of packets; checksums stay as they are.
    #[arg(long, value_name = "[LINE=]P", value_parser = share)]
    pub corrupt: Vec<Fault<f64>>,
    /// Lose everything from one offset after the first record until another, in each loop: B=10s..20s, B=10s.. or
    /// B=..20s.
    #[arg(long, value_name = "[LINE=]FROM..UNTIL", value_parser = dead)]
    pub dead: Vec<Fault<Range<u64>>>,
    /// What all chance follows from [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

fn of_line<T>(text: &str, value: impl FnOnce(&str) -> Result<T, String>) -> Result<Fault<T>, String> {
    match text.rsplit_once('=') {
        None => value(text).map(|value| Fault { line: None, value }),
        Some(("", _)) => Err("there is no line before '='".to_owned()),
        Some((line, text)) => value(text).map(|value| Fault { line: Some(line.to_owned()), value }),
    }
}

fn share(text: &str) -> Result<Fault<f64>, String> {
    of_line(text, |text| {
        let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
        let share = number.parse::<f64>().ok().map(|number| number / of);
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| "write a share from 0 to 1, such as 0.01, or 1%, B=1% for line B".to_owned())
    })
}

fn burst(text: &str) -> Result<Fault<f64>, String> {
    of_line(text, |text| {
        let packets = text.parse::<f64>().ok().filter(|packets| (1.0..=1e6).contains(packets));
        packets.ok_or_else(|| "write a number of packets from 1 to 1000000, such as 4 or B=4".to_owned())
    })
}

fn delay(text: &str) -> Result<Fault<u64>, String> {
    of_line(text, |text| match text.parse::<u64>() {
        Ok(ns) => Ok(ns),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            Err("write whole nanoseconds, or a unit: 1500, 1.5us, B=200us".to_owned())
        }
        Err(_) => duration(text).map(|delay| delay.as_nanos() as u64),
    })
}

fn dead(text: &str) -> Result<Fault<Range<u64>>, String> {
    of_line(text, |text| {
        let (from, until) =
            text.split_once("..").ok_or_else(|| "write FROM..UNTIL, such as B=10s..20s".to_owned())?;
        let from = if from.is_empty() { 0 } else { duration(from)?.as_nanos() as u64 };
        let until = if until.is_empty() { u64::MAX } else { duration(until)?.as_nanos() as u64 };
        if from >= until {
            return Err("it ends before it begins: write FROM..UNTIL, such as B=10s..20s".to_owned());
        }
        Ok(from..until)
    })
}

impl FaultArgs {
    /// Whether there are no faults.
    pub fn is_nothing(&self) -> bool {
        self.first_option().is_none()
    }

    /// The first option that is given, but for the seed.
    fn first_option(&self) -> Option<&'static str> {
        let given = [
            ("--loss", !self.loss.is_empty()),
            ("--loss-burst", !self.loss_burst.is_empty()),
            ("--duplicate", !self.duplicate.is_empty()),
            ("--reorder", !self.reorder.is_empty()),
            ("--delay", !self.delay.is_empty()),
            ("--corrupt", !self.corrupt.is_empty()),
            ("--dead", !self.dead.is_empty()),
        ];
        given.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// What clap's own rules can't express; names of lines too, where no config has them.
    pub(super) fn check(&self, to: &ReplayTarget, configured: bool) -> Result<(), String> {
        let Some(option) = self.first_option() else {
            return match self.seed {
                Some(_) => {
                    Err("--seed chooses among faults, and there are none: add --loss 1%, say".to_owned())
                }
                None => Ok(()),
            };
        };
        if matches!(to, ReplayTarget::Tcp(_) | ReplayTarget::Soup(_)) {
            return Err(format!(
                "{option} meets UDP packets, and TCP mends such faults by itself: use it with --to inline, iface:NAME or \
                 udp:ADDR:PORT"
            ));
        }
        if !self.loss_burst.is_empty() && self.loss.is_empty() {
            return Err("--loss-burst says how packets are lost, not how many: add --loss 1%, say".to_owned());
        }
        if configured {
            return Ok(());
        }
        self.resolved(&[]).and_then(|plan| plan.check().map_err(|error| error.to_string()))
    }

    /// The faults; `None` where there are none. Lines go by the names that feeds give them, if there are feeds.
    ///
    /// # Errors
    /// A line is named that no feed has, or that several have.
    pub(super) fn plan(&self, feeds: &[config::Feed]) -> Result<Option<FaultPlan>, ApplianceError> {
        if self.is_nothing() {
            return Ok(None);
        }
        let plan = self.resolved(feeds).map_err(ApplianceError::Usage)?;
        plan.check().map_err(|error| ApplianceError::Usage(error.to_string()))?;
        Ok(Some(plan))
    }

    fn resolved(&self, feeds: &[config::Feed]) -> Result<FaultPlan, String> {
        let lines = ConfiguredLines::of(feeds);
        let mut dead = Vec::new();
        for fault in &self.dead {
            let line = fault.line.as_deref().map(|line| lines.find(line)).transpose();
            dead.push((line.map_err(|error| format!("--dead {error}"))?, fault.value.clone()));
        }
        Ok(FaultPlan {
            seed: self.seed.unwrap_or(SEED_DEFAULT),
            loss: lines.resolve("--loss", &self.loss)?,
            loss_burst: lines.resolve("--loss-burst", &self.loss_burst)?,
            duplicate: lines.resolve("--duplicate", &self.duplicate)?,
            reorder: lines.resolve("--reorder", &self.reorder)?,
            delay_ns: lines.resolve("--delay", &self.delay)?,
            corrupt: lines.resolve("--corrupt", &self.corrupt)?,
            dead,
            names: lines.named(),
        })
    }
}

/// The lines of a config: feed, line, destination. Without any, lines go by letters.
struct ConfiguredLines<'a>(Vec<(&'a str, &'a str, Destination)>);

impl<'a> ConfiguredLines<'a> {
    fn of(feeds: &'a [config::Feed]) -> ConfiguredLines<'a> {
        let of_feed = |feed: &'a config::Feed| {
            feed.lines.iter().map(|line| (feed.name.as_str(), line.name.as_str(), line.destination))
        };
        ConfiguredLines(feeds.iter().flat_map(of_feed).collect())
    }

    /// What lines are called in reports: their own name, or with the feed's where it is not enough.
    fn named(&self) -> Vec<NamedLine> {
        let name = |feed: &str, line: &str| match self.0.iter().filter(|(_, other, _)| *other == line).count()
        {
            1 => line.to_owned(),
            _ => format!("{feed}/{line}"),
        };
        self.0
            .iter()
            .map(|(feed, line, destination)| NamedLine { name: name(feed, line), destination: *destination })
            .collect()
    }

    /// The line that was meant.
    fn find(&self, text: &str) -> Result<LineChoice, String> {
        if let Ok(socket) = SocketAddr::from_str(text) {
            return Ok(LineChoice::At(socket.into()));
        }
        if self.0.is_empty() {
            return match text.as_bytes() {
                [letter @ b'A'..=b'H'] => Ok(LineChoice::Letter(char::from(*letter))),
                _ => Err(format!(
                    "names line '{text}': write a letter from A to H, or ADDR:PORT; other names need --config with feeds"
                )),
            };
        }
        let meant = |feed: &str, line: &str| line == text || text == format!("{feed}/{line}");
        let found: Vec<_> = self.0.iter().filter(|(feed, line, _)| meant(feed, line)).collect();
        let list = |lines: &mut dyn Iterator<Item = &(&str, &str, Destination)>| {
            lines.map(|(feed, line, _)| format!("{feed}/{line}")).collect::<Vec<_>>().join(", ")
        };
        match found.as_slice() {
            [(_, _, destination)] => Ok(LineChoice::At(*destination)),
            [] => Err(format!(
                "names line '{text}', which is not configured: there are {}",
                list(&mut self.0.iter())
            )),
            several => Err(format!(
                "names line '{text}', which several feeds have: write one of {}",
                list(&mut several.iter().copied())
            )),
        }
    }

    fn resolve<T: Copy>(&self, option: &str, faults: &[Fault<T>]) -> Result<PerLine<T>, String> {
        let mut values = PerLine::default();
        for fault in faults {
            let twice = match &fault.line {
                None => values.all.replace(fault.value).is_some(),
                Some(line) => {
                    let choice = self.find(line).map_err(|error| format!("{option} {error}"))?;
                    let twice = values.lines.iter().any(|(other, _)| *other == choice);
                    values.lines.push((choice, fault.value));
                    twice
                }
            };
            if twice {
                let line = fault.line.as_ref().map_or("all lines".to_owned(), |line| format!("line {line}"));
                return Err(format!("{option} is given twice for {line}: which one counts?"));
            }
        }
        Ok(values)
    }
}

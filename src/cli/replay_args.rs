//! `sluice replay`: its options.

use super::values::{MacAddress, VlanRewrite, duration, protocol};
use super::{FaultArgs, RerequestArgs, SoupArgs};
use crate::event::Protocol;
use clap::Args;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const AFTER: &str = "\
Reads pcap, pcapng and ITCH 5.0 message files, plain or compressed by gzip or zstd, whatever the name.
A message file is sent as MoldUDP64 packets to 233.54.12.111:26477.
--to tcp sends what TCP flows carry: each direction over a connection of its own, its bytes in order and once,
opened with its first byte and closed with its last. Flows that begin before the capture begin with its first
byte of them; bytes that the capture misses are counted. --pps then counts segments.
--to inline decodes the same bytes, where their protocol is known (fix, native, soupbintcp-itch50, or --protocol).
--from and --until are offsets from the first record of the first file: seconds, or with ns, us, ms, s, m
or h. Records without a timestamp are left out where either is given.
Faults meet UDP packets, also with VLAN tags, on their way in or out; the same seed gives the same run. Every value is for
all lines, or for one with LINE= in front: a configured line's name (FEED/LINE where several feeds have it), without
--config a letter from A to H (CME's groups by their addresses, other destinations as they first appear), or ADDR:PORT.
--speed original keeps the gaps of the capture, 2x halves them, max leaves none; --pps sends evenly.

Examples:
  sluice replay iex.pcap.gz                      through the appliance, as fast as it goes
  sluice replay cme.pcapng --speed original --report report.json
  sluice replay cme.pcapng --config appliance.toml --from 10s --until 20s
  sluice replay cme.pcapng --to iface:veth0 --speed 10x --dst-mac 02:00:00:00:00:02 --vlan strip
  sluice replay itch.pcap --to udp:233.54.12.111:26477 --pps 100000 --loop 10
  sluice replay cme.pcapng --loss 1% --loss B=5% --delay B=50us --dead A=10s..20s --seed 7
  sluice replay orders.pcap --to tcp:127.0.0.1:9000 --flow-port 4000 --speed max
  sluice replay itch.bin --to soup:127.0.0.1:9500 --speed max
  sluice replay itch.bin --to udp:233.54.12.111:26477 --rerequest 127.0.0.1:9600 --rerequest-loss 5%
--to soup serves the ITCH messages of MoldUDP64 packets, each one once and numbered from 1, to up to 64 clients, from the
number on that each asks for, beginning with the first login; it ends when every client has everything.
--rerequest answers each MoldUDP64 request with one packet of as many messages as fit 1,400 bytes, out of what was sent so
far, faults aside: half of --memory-cap (a third beside faults) keeps them, the newest of up to 16 sessions.";

/// Options of `sluice replay`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct ReplayArgs {
    /// Captures: pcap, pcapng or ITCH 5.0 message files, also compressed; replayed in the order given.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Where frames go: inline (through this appliance), iface:NAME (whole frames onto an interface),
    /// udp:ADDR:PORT (UDP payloads to a socket), tcp:ADDR:PORT (TCP flows, one connection each) or soup:ADDR:PORT (ITCH
    /// messages to SoupBinTCP clients that connect there).
    #[arg(long, value_name = "TARGET", default_value = "inline")]
    pub to: ReplayTarget,
    /// Pace: original, a factor such as 2x or 0.5x, or max [default: max with --to inline, else original].
    #[arg(long, value_name = "PACE", conflicts_with = "pps")]
    pub speed: Option<Speed>,
    /// Send evenly, this many packets per second.
    #[arg(long, value_name = "N")]
    pub pps: Option<NonZeroU64>,
    /// Replay everything this many times.
    #[arg(long = "loop", value_name = "N", default_value = "1")]
    pub loops: NonZeroU64,
    /// Leave out records before this offset from the first record, such as 1.5s or 200ms.
    #[arg(long, value_name = "T", value_parser = duration)]
    pub from: Option<Duration>,
    /// Leave out records at or after this offset from the first record.
    #[arg(long, value_name = "T", value_parser = duration)]
    pub until: Option<Duration>,
    /// Config file (TOML) with feeds, queues, pool and threads [default: built-in values; every destination
    /// admitted].
    #[arg(long, value_name = "FILE", conflicts_with = "protocol")]
    pub config: Option<PathBuf>,
    /// What packets are: native, moldudp64-itch50, iex-tp, cme-mdp3, cboe-pitch, nyse-pillar, miax-mach or
    /// ice-impact [default: by their bytes].
    #[arg(long, value_name = "P", value_parser = protocol)]
    pub protocol: Option<Protocol>,
    /// Write the report (JSON) to this file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// With --to inline: list every gap: its stream, numbers and times, which lines skipped and brought it, how it
    /// ended. In the report under "gaps".
    #[arg(long)]
    pub explain_gaps: bool,
    /// List the dead letters that are kept in memory: events that were accepted and not processed, the newest last.
    #[arg(long)]
    pub explain_dead_letters: bool,
    /// Write the latency plot (SVG) to this file.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Memory for captures, MiB. Those that fit are read once, before the start; larger ones are read by a thread
    /// of its own during the replay, and once more for each loop.
    #[arg(long, value_name = "MIB", default_value = "256")]
    pub memory_cap: NonZeroU64,
    /// Put records in order of time within a window of this many records; 0 keeps the order of the file.
    #[arg(long, value_name = "N", default_value = "0")]
    pub sort_window: usize,
    /// With --to iface: the transmit queue.
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// With --to tcp: only flows to this port of the capture [default: every direction that carries payload].
    #[arg(long, value_name = "PORT")]
    pub flow_port: Option<NonZeroU16>,
    /// What is rewritten.
    #[command(flatten)]
    pub rewrite: Rewrite,
    /// What goes wrong on the way.
    #[command(flatten)]
    pub faults: FaultArgs,
    /// What is served to whom.
    #[command(flatten)]
    pub soup: SoupArgs,
    /// Who may ask again.
    #[command(flatten)]
    pub rerequest: RerequestArgs,
}

/// What is changed in frames on their way to an interface. Checksums follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Rewriting, with --to iface")]
pub struct Rewrite {
    /// Source Ethernet address, such as 02:00:00:00:00:01.
    #[arg(long, value_name = "MAC")]
    pub src_mac: Option<MacAddress>,
    /// Destination Ethernet address.
    #[arg(long, value_name = "MAC")]
    pub dst_mac: Option<MacAddress>,
    /// VLAN tags: keep, strip, or one tag with this id (1 to 4094) [default: keep].
    #[arg(long, value_name = "VLAN")]
    pub vlan: Option<VlanRewrite>,
    /// Destination address of IP packets, of the family that they have.
    #[arg(long, value_name = "IP")]
    pub dst_ip: Option<IpAddr>,
    /// Destination UDP port.
    #[arg(long, value_name = "PORT")]
    pub dst_port: Option<NonZeroU16>,
}

impl Rewrite {
    /// Whether frames go out as they are.
    pub fn is_nothing(&self) -> bool {
        *self == Rewrite::default()
    }

    /// What becomes of VLAN tags.
    pub fn vlan(&self) -> VlanRewrite {
        self.vlan.unwrap_or_default()
    }
}

/// Where a replay's frames go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayTarget {
    /// Through the appliance in this process.
    Inline,
    /// Onto an interface, by its name.
    Interface(String),
    /// To a UDP address, payload by payload.
    Udp(SocketAddr),
    /// To a TCP address, each direction of a flow over a connection of its own.
    Tcp(SocketAddr),
    /// To SoupBinTCP clients that connect to this address; port 0 lets the kernel choose.
    Soup(SocketAddr),
}

fn socket(text: &str) -> Option<SocketAddr> {
    text.parse::<SocketAddr>().ok().filter(|socket| socket.port() > 0)
}

fn no_socket(text: &str, examples: &str) -> String {
    format!("'{text}' is no address and port; write {examples}")
}

impl FromStr for ReplayTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<ReplayTarget, String> {
        match text.split_once(':') {
            None if text == "inline" => Ok(ReplayTarget::Inline),
            Some(("iface", name)) if (1..=15).contains(&name.len()) && !name.contains(['/', ':', ' ']) => {
                Ok(ReplayTarget::Interface(name.to_owned()))
            }
            Some(("iface", name)) => Err(format!("'{name}' is no interface's name; `ip link` lists them")),
            Some(("udp", address)) => socket(address)
                .map(ReplayTarget::Udp)
                .ok_or_else(|| no_socket(address, "udp:233.54.12.111:26477 or udp:[::1]:9001")),
            Some(("tcp", address)) => socket(address)
                .map(ReplayTarget::Tcp)
                .ok_or_else(|| no_socket(address, "tcp:127.0.0.1:9000 or tcp:[::1]:9000")),
            Some(("soup", address)) => address
                .parse()
                .map(ReplayTarget::Soup)
                .map_err(|_| no_socket(address, "soup:127.0.0.1:9500 or soup:[::1]:9500")),
            _ => Err("write inline, iface:NAME, udp:ADDR:PORT, tcp:ADDR:PORT or soup:ADDR:PORT".to_owned()),
        }
    }
}

/// The value of `--speed`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// The capture's own gaps.
    Original,
    /// This many times as fast.
    Times(f64),
    /// Without gaps.
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        let factor = |digits: &str| digits.parse::<f64>().ok().filter(|factor| (1e-6..=1e9).contains(factor));
        match text {
            "original" => Ok(Speed::Original),
            "max" => Ok(Speed::Max),
            _ => text
                .strip_suffix('x')
                .and_then(factor)
                .map(Speed::Times)
                .ok_or_else(|| "write original, max, or a factor such as 2x or 0.5x".to_owned()),
        }
    }
}

/// When a replay's packets are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// By the capture's times, this many times as fast; 1.0 is the original speed.
    Times(f64),
    /// Evenly, this many packets per second.
    PacketsPerSecond(NonZeroU64),
    /// As fast as they are taken.
    Max,
}

impl ReplayArgs {
    /// When packets are due.
    pub fn pace(&self) -> Pace {
        match (self.pps, self.speed, &self.to) {
            (Some(rate), _, _) => Pace::PacketsPerSecond(rate),
            (None, Some(Speed::Original), _) => Pace::Times(1.0),
            (None, Some(Speed::Times(factor)), _) => Pace::Times(factor),
            (None, Some(Speed::Max), _) | (None, None, ReplayTarget::Inline) => Pace::Max,
            // Onto a network nothing floods unless it was asked for.
            (
                None,
                None,
                ReplayTarget::Interface(_)
                | ReplayTarget::Udp(_)
                | ReplayTarget::Tcp(_)
                | ReplayTarget::Soup(_),
            ) => Pace::Times(1.0),
        }
    }

    /// What clap's own rules can't express.
    pub(super) fn check(&self) -> Result<(), String> {
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from >= until
        {
            return Err(format!(
                "--from {from:?} is not before --until {until:?}: nothing would be replayed"
            ));
        }
        let onto_interface = matches!(self.to, ReplayTarget::Interface(_));
        if !onto_interface && !self.rewrite.is_nothing() {
            return Err(
                "--src-mac, --dst-mac, --vlan, --dst-ip and --dst-port rewrite frames: add --to iface:NAME"
                    .to_owned(),
            );
        }
        if !matches!(self.to, ReplayTarget::Soup(_)) && !self.soup.is_nothing() {
            return Err(
                "--soup-session, --soup-user and --wait-clients are for clients: add --to soup:ADDR:PORT"
                    .to_owned(),
            );
        }
        let sends_frames = matches!(self.to, ReplayTarget::Interface(_) | ReplayTarget::Udp(_));
        if !sends_frames && self.rerequest.rerequest.is_some() {
            return Err(
                "--rerequest answers for what is sent: add --to iface:NAME or --to udp:ADDR:PORT".to_owned()
            );
        }
        self.faults.check(&self.to, self.config.is_some())?;
        if !onto_interface && self.queue.is_some() {
            return Err("--queue is a transmit queue of an interface: add --to iface:NAME".to_owned());
        }
        if self.to != ReplayTarget::Inline && self.explain_gaps {
            return Err("--explain-gaps is about what this appliance received: leave out --to".to_owned());
        }
        if self.to != ReplayTarget::Inline && self.explain_dead_letters {
            return Err(
                "--explain-dead-letters is about what this appliance received: leave out --to".to_owned()
            );
        }
        if !matches!(self.to, ReplayTarget::Tcp(_)) && self.flow_port.is_some() {
            return Err("--flow-port chooses among TCP flows: add --to tcp:ADDR:PORT".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn replay(words: &[&str]) -> Result<ReplayArgs, String> {
        let words = ["sluice", "replay", "a.pcap"].iter().chain(words);
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        cli.check().map_err(|error| error.to_string())?;
        match cli.command {
            Command::Replay(args) => Ok(*args),
            _ => panic!("not replay"),
        }
    }

    #[test]
    fn targets() {
        let target = |text: &str| text.parse::<ReplayTarget>();
        assert_eq!(target("inline"), Ok(ReplayTarget::Inline));
        assert_eq!(target("iface:sluice-tx0"), Ok(ReplayTarget::Interface("sluice-tx0".to_owned())));
        let socket = "[ff0e::1]:9001".parse().expect("an address");
        assert_eq!(target("udp:[ff0e::1]:9001"), Ok(ReplayTarget::Udp(socket)));
        assert_eq!(target("tcp:[ff0e::1]:9001"), Ok(ReplayTarget::Tcp(socket)));
        let socket = "127.0.0.1:0".parse().expect("an address");
        assert_eq!(target("soup:127.0.0.1:0"), Ok(ReplayTarget::Soup(socket)));
        for (text, words) in [
            ("", "inline, iface:NAME, udp:ADDR:PORT, tcp:ADDR:PORT or soup:ADDR:PORT"),
            ("tcp:1.2.3.4", "tcp:127.0.0.1:9000"),
            ("quic:1.2.3.4:5", "udp:ADDR:PORT, tcp:ADDR:PORT or soup:ADDR:PORT"),
            ("iface:", "ip link"),
            ("iface:sixteen-letters-", "ip link"),
            ("udp:1.2.3.4", "udp:233.54.12.111:26477"),
            ("udp:1.2.3.4:0", "udp:233.54.12.111:26477"),
            ("soup:localhost", "soup:127.0.0.1:9500"),
        ] {
            let error = target(text).expect_err("is none");
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn paces() {
        let pace = |words: &[&str]| replay(words).map(|args| args.pace());
        assert_eq!(pace(&[]), Ok(Pace::Max));
        assert_eq!(pace(&["--to", "iface:x"]), Ok(Pace::Times(1.0)));
        assert_eq!(pace(&["--to", "udp:1.2.3.4:5"]), Ok(Pace::Times(1.0)));
        assert_eq!(pace(&["--to", "tcp:1.2.3.4:5"]), Ok(Pace::Times(1.0)));
        assert_eq!(pace(&["--to", "soup:1.2.3.4:5"]), Ok(Pace::Times(1.0)));
        assert_eq!(pace(&["--to", "iface:x", "--speed", "max"]), Ok(Pace::Max));
        assert_eq!(pace(&["--speed", "original"]), Ok(Pace::Times(1.0)));
        assert_eq!(pace(&["--speed", "0.5x"]), Ok(Pace::Times(0.5)));
        let rate = NonZeroU64::new(9).expect("not zero");
        assert_eq!(pace(&["--pps", "9"]), Ok(Pace::PacketsPerSecond(rate)));
        for wrong in
            [["--speed", "2"], ["--speed", "0x"], ["--speed", "-1x"], ["--speed", "infx"], ["--pps", "0"]]
        {
            assert!(pace(&wrong).is_err(), "{wrong:?}");
        }
        assert!(pace(&["--speed", "2x", "--pps", "9"]).is_err());
    }

    #[test]
    fn contradictions_are_named() {
        for (words, named) in [
            (&["--from", "2s", "--until", "2s"][..], "--until"),
            (&["--dst-port", "9"], "--to iface:NAME"),
            (&["--vlan", "keep"], "--to iface:NAME"),
            (&["--to", "udp:1.2.3.4:5", "--queue", "0"], "--to iface:NAME"),
            (&["--to", "udp:1.2.3.4:5", "--flow-port", "4000"], "--to tcp:"),
            (&["--config", "a", "--protocol", "native"], "--protocol"),
            (&["--soup-user", "reader"], "--to soup:ADDR:PORT"),
            (&["--to", "soup:[::1]:1", "--soup-session", "eleven-long"], "1 to 10"),
            (&["--to", "soup:[::1]:1", "--wait-clients", "65"], "1 to 64"),
            (&["--rerequest", "127.0.0.1:0"], "--to udp:ADDR:PORT"),
            (&["--to", "udp:1.2.3.4:5", "--rerequest-loss", "5%"], "--rerequest"),
            (&["--to", "udp:1.2.3.4:5", "--rerequest", "[::1]:0", "--rerequest-loss", "7"], "0% to 100%"),
            (&["--to", "tcp:1.2.3.4:5", "--loss", "1%"], "--loss"),
            (&["--to", "soup:1.2.3.4:5", "--dead", "A=1s..2s"], "--dead"),
            (&["--loop", "0"], "--loop"),
            (&["--dst-port", "0"], "--dst-port"),
        ] {
            let error = replay(words).expect_err("contradicts itself");
            assert!(error.contains(named) && error.contains("--help"), "{error}");
        }
    }

    #[test]
    fn defaults_and_rewriting() {
        let args = replay(&[]).expect("is right");
        assert!(args.rewrite.is_nothing() && args.to == ReplayTarget::Inline);
        assert_eq!((args.loops.get(), args.sort_window, args.memory_cap.get()), (1, 0, 256));
        let words =
            ["--to", "iface:x", "--vlan", "905", "--src-mac", "02:00:00:00:00:01", "--dst-ip", "1.2.3.4"];
        let rewrite = replay(&words).expect("is right").rewrite;
        assert_eq!(rewrite.vlan(), VlanRewrite::Set(905));
        assert!(rewrite.src_mac.is_some() && rewrite.dst_mac.is_none() && rewrite.dst_ip.is_some());
    }
}

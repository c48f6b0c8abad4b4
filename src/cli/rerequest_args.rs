//! `sluice replay --rerequest ADDR:PORT`: its own options.

use super::values::duration;
use clap::Args;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// The re-request server beside a replay.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Answering MoldUDP64 requests, with --to iface or --to udp")]
pub struct RerequestArgs {
    /// Answer MoldUDP64 request packets here with the messages that were sent so far; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDR:PORT")]
    pub rerequest: Option<SocketAddr>,
    /// Lose this share of the replies, such as 5% or 0.05 [default: none].
    #[arg(long, value_name = "SHARE", requires = "rerequest")]
    pub rerequest_loss: Option<Share>,
    /// What decides which replies are lost: the same number and the same requests lose the same ones [default: 1].
    #[arg(long, value_name = "N", requires = "rerequest")]
    pub rerequest_seed: Option<u64>,
    /// Go on for so long after the last frame, and after the last answer behind it, with heartbeats on the line
    /// [default: 2s].
    #[arg(long, value_name = "TIME", requires = "rerequest", value_parser = duration)]
    pub rerequest_linger: Option<Duration>,
}

/// A share of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let (digits, whole) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
        let share = digits.parse::<f64>().ok().map(|number| number / whole);
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Share)
            .ok_or_else(|| "write a share from 0% to 100%, or from 0 to 1, such as 5% or 0.05".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, share) in
            [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("1", 1.0), ("100%", 1.0), ("0.5%", 0.005)]
        {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["", "%", "-1%", "1.1", "101%", "nan", "inf", "five"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}

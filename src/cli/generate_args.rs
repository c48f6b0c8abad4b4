//! `sluice generate`: its options.

use crate::event::Protocol;
use crate::replay::synthetic::{IEX_MESSAGES_MIN, ITCH_MESSAGES_MIN};
use clap::Args;
use std::path::PathBuf;

/// Most messages of a session: two lines of it are some 300 MiB in memory and 200 MiB on disk.
const MESSAGES_MAX: u64 = 2_000_000;

/// Least messages, whatever the protocol: the events of the day and those that every symbol has.
const MESSAGES_MIN: u64 =
    if IEX_MESSAGES_MIN > ITCH_MESSAGES_MIN { IEX_MESSAGES_MIN as u64 } else { ITCH_MESSAGES_MIN as u64 };

const AFTER: &str = "\
The same protocol, seed and number of messages give the same file, on every machine. Both lines,
A and B, go to multicast groups that no exchange uses: 233.252.0.1 and 233.252.0.2. Standard output
tells what a decoder must find in the file.

Examples:
  sluice generate itch.pcap
  sluice generate iex.pcap --protocol iex-tp --seed 7 --messages 20000
  sluice generate itch.pcap && sluice decode itch.pcap";

/// Options of `sluice generate`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct GenerateArgs {
    /// The capture to write (pcap with nanoseconds), over whatever is there.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What its packets are: moldudp64-itch50 or iex-tp.
    #[arg(long, value_name = "P", default_value = "moldudp64-itch50", value_parser = generated_protocol)]
    pub protocol: Protocol,
    /// What all random choices follow from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Messages on each line.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(MESSAGES_MIN..=MESSAGES_MAX)
    )]
    pub messages: u64,
}

/// A protocol that sessions can be made up of.
fn generated_protocol(text: &str) -> Result<Protocol, String> {
    match super::values::protocol(text)? {
        protocol @ (Protocol::Moldudp64Itch50 | Protocol::IexTp) => Ok(protocol),
        other => Err(format!("{other} sessions can't be made up; write moldudp64-itch50 or iex-tp")),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use crate::event::Protocol;
    use clap::Parser;

    #[test]
    fn a_file_is_enough_and_limits_are_told() {
        let parse = |words: &[&str]| Cli::try_parse_from(["sluice", "generate"].iter().chain(words));
        let Command::Generate(args) = parse(&["a.pcap"]).expect("is right").command else {
            panic!("not generate")
        };
        assert_eq!((args.protocol, args.seed, args.messages), (Protocol::Moldudp64Itch50, 1, 100_000));
        assert!(parse(&[]).is_err());
        for (words, named) in [
            (["a.pcap", "--messages", "3"], "36"),
            (["a.pcap", "--messages", "2000001"], "2000000"),
            (["a.pcap", "--protocol", "cme-mdp3"], "iex-tp"),
            (["a.pcap", "--protocol", "itch"], "moldudp64-itch50"),
        ] {
            let error = parse(&words).expect_err("is wrong").to_string();
            assert!(error.contains(named), "{words:?}: {error}");
        }
    }
}

//! `sluice decode`: its options.

use super::values::ProtocolChoice;
use clap::Args;
use std::path::PathBuf;

const AFTER: &str = "\
Reads pcap, pcapng and ITCH 5.0 message files, plain or compressed by gzip or zstd, whatever the name.
Files are read in the order given, as one input. TCP flows are put in order; each direction of one is decoded as
a connection: FIX, native and SoupBinTCP are known by their first bytes.
Exit code 4 means that the books of what was read do not balance.

Examples:
  sluice decode capture.pcapng
  sluice decode cme.pcap --protocol cme-mdp3 --json | jq '.streams[].by_type'
  sluice decode itch.pcap --tsv | awk -F'\\t' '$1 == \"type\" { print $5, $8 }'
  sluice decode itch.pcap --messages | head
  sluice decode lines.pcap --explain-gaps
  sluice decode lines.pcap --config appliance.toml       with the names of that file's feeds";

/// Options of `sluice decode`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct DecodeArgs {
    /// Captures: pcap, pcapng or ITCH 5.0 message files, also compressed.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What packets and flows are: native, moldudp64-itch50, iex-tp, cme-mdp3, cboe-pitch, nyse-pillar, miax-mach,
    /// ice-impact, fix, engine20, soupbintcp-itch50, or auto, by their bytes.
    #[arg(long, value_name = "P", default_value = "auto", conflicts_with = "config")]
    pub protocol: ProtocolChoice,
    /// Decode by the feeds of this config file instead: protocols by destination, lines by name.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON: {"streams": […]} as in report.json, with the frames and messages books and the capture's
    /// facts.
    #[arg(long, group = "form")]
    pub json: bool,
    /// Print tab-separated rows, one per stream, line and message type, under one head.
    #[arg(long, group = "form")]
    pub tsv: bool,
    /// Print every message with its fields as one line of JSON.
    #[arg(long, group = "form")]
    pub messages: bool,
    /// List every gap: its stream, numbers and times, which lines skipped and brought it, how it ended. With --json
    /// under "gaps".
    #[arg(long, conflicts_with_all = ["tsv", "messages"])]
    pub explain_gaps: bool,
}

/// What decode prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeForm {
    /// Tables for a person.
    Summary,
    /// One JSON document.
    Json,
    /// Tab-separated rows.
    TabSeparated,
    /// A line of JSON per message.
    Messages,
}

impl DecodeArgs {
    /// What to print.
    pub fn form(&self) -> DecodeForm {
        match (self.json, self.tsv, self.messages) {
            (true, _, _) => DecodeForm::Json,
            (_, true, _) => DecodeForm::TabSeparated,
            (_, _, true) => DecodeForm::Messages,
            _ => DecodeForm::Summary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::event::Protocol;
    use clap::Parser;

    fn decode(words: &[&str]) -> Result<DecodeArgs, String> {
        let words = ["sluice", "decode"].iter().chain(words);
        let Command::Decode(args) = Cli::try_parse_from(words).map_err(|e| e.to_string())?.command else {
            panic!("not decode")
        };
        Ok(args)
    }

    #[test]
    fn forms_exclude_each_other() {
        for (word, form) in [
            ("--json", DecodeForm::Json),
            ("--tsv", DecodeForm::TabSeparated),
            ("--messages", DecodeForm::Messages),
        ] {
            assert_eq!(decode(&["a", word]).map(|args| args.form()), Ok(form));
        }
        let plain = decode(&["a", "b"]).expect("is right");
        assert_eq!(
            (plain.form(), plain.protocol, plain.files.len()),
            (DecodeForm::Summary, ProtocolChoice::Auto, 2)
        );
        assert!(decode(&["a", "--json", "--tsv"]).is_err());
        assert!(decode(&[]).is_err());
    }

    #[test]
    fn protocols_are_named() {
        let args = decode(&["a", "--protocol", "cme-mdp3"]).expect("is right");
        assert_eq!(args.protocol.named(), Some(Protocol::CmeMdp3));
        let error = decode(&["a", "--protocol", "cme"]).expect_err("is none");
        assert!(error.contains("unknown protocol 'cme'") && error.contains("cme-mdp3"), "{error}");
        assert!(decode(&["a", "--protocol", "cme-mdp3", "--config", "b"]).is_err());
    }
}

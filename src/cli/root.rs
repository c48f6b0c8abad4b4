//! The top of the command line: subcommands and what holds for all of them.

use super::{DeadLettersArgs, DecodeArgs, GenerateArgs, ReplayArgs, RunArgs, SendArgs};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

const AFTER: &str = "\
Exit codes:
  0  done
  1  failed while running
  2  wrong usage or config
  3  the machine lacks something, which the message names
  4  the ledger does not balance

Examples:
  sluice decode capture.pcap                         what is in a capture: streams, gaps, types
  sluice replay capture.pcap --report report.json    the whole appliance on a capture, without a NIC
  sluice send --session --rate 10000 --duration 10s  load for a server, each event acknowledged
  sluice check-config appliance.toml                 what is wrong with a config file
  sluice run --config appliance.toml                 receive from the interfaces of a config file";

/// Kernel-bypass ingest of market data, in which every frame, message and event has one counted fate.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, after_help = AFTER, max_term_width = 110, subcommand_required = true)]
pub struct Cli {
    /// What is logged to standard error: error, warn, info, debug or trace, also by module
    /// (sluice::config=debug).
    #[arg(long, global = true, value_name = "FILTER", env = "SLUICE_LOG", default_value = "info")]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive from interfaces until stopped, and report.
    Run(RunArgs),
    /// Send captures through the appliance, or onto a network, at a chosen pace.
    Replay(Box<ReplayArgs>),
    /// Send made-up native events to a server, at a chosen rate, and prove what arrived.
    Send(SendArgs),
    /// Count what captures hold, by stream, line and message type.
    Decode(DecodeArgs),
    /// List events that were accepted and not processed, from the files that they were written to.
    DeadLetters(DeadLettersArgs),
    /// Write a made-up session as a capture, for machines that have none.
    Generate(GenerateArgs),
    /// Check a config file and say what it means, or where it is wrong.
    CheckConfig(CheckConfigArgs),
}

const CHECK_AFTER: &str = "\
Examples:
  sluice check-config appliance.toml                     name the line of what is not accepted
  sluice check-config --print-default > appliance.toml   a file to start from, all keys explained";

/// Options of `sluice check-config`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_AFTER)]
pub struct CheckConfigArgs {
    /// The config file (TOML).
    #[arg(value_name = "FILE", required_unless_present = "print_default")]
    pub file: Option<PathBuf>,
    /// Print the built-in default file, which explains every key, instead of checking one.
    #[arg(long, conflicts_with = "file")]
    pub print_default: bool,
}

impl Cli {
    /// The command line of this process. Help and version requests, and wrong usage, end it here, with 0 and
    /// 2.
    pub fn from_process() -> Cli {
        let cli = Cli::parse();
        match cli.check() {
            Ok(()) => cli,
            Err(error) => error.exit(),
        }
    }

    /// What clap's own rules can't express.
    ///
    /// # Errors
    /// Options that contradict each other; the error names them.
    pub fn check(&self) -> Result<(), clap::Error> {
        let (name, checked) = match &self.command {
            Command::Replay(args) => ("replay", args.check()),
            Command::Send(args) => ("send", args.check()),
            Command::Run(_)
            | Command::Decode(_)
            | Command::DeadLetters(_)
            | Command::Generate(_)
            | Command::CheckConfig(_) => {
                return Ok(());
            }
        };
        checked.map_err(|problem| {
            let mut root = Cli::command();
            // Built first, so that the subcommand's usage line has its full name.
            root.build();
            let command = root.find_subcommand_mut(name).expect("the name of a subcommand");
            command.error(ErrorKind::ArgumentConflict, problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{name} has no examples");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {} has no help", argument.get_id());
            }
        }
    }

    #[test]
    fn check_config_takes_a_file_or_prints_the_default() {
        let parse = |words: &[&str]| Cli::try_parse_from(["sluice", "check-config"].iter().chain(words));
        assert!(parse(&["a.toml"]).is_ok() && parse(&["--print-default"]).is_ok());
        assert!(parse(&[]).is_err() && parse(&["a.toml", "--print-default"]).is_err());
    }
}

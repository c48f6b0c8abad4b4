//! `sluice dead-letters`: its options.

use crate::sink::dead_letters::Reason;
use clap::Args;
use std::path::PathBuf;

const AFTER: &str = "\
Reads files that dead_letters.file of a config names, in the order given: of a file that was moved on, the oldest
has the highest number.
Lines that are no dead letters are named on standard error, the others are listed, and the exit code is 1.

Examples:
  sluice dead-letters dead-letters.jsonl
  sluice dead-letters dead-letters.jsonl.1 dead-letters.jsonl --reason evicted --limit 20
  sluice dead-letters dead-letters.jsonl --counts
  tail -n 1000 dead-letters.jsonl | sluice dead-letters - --json | jq .fields";

/// Options of `sluice dead-letters`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct DeadLettersArgs {
    /// Files of dead letters; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Only those of this reason, such as evicted, conflated or realtime_queue_full; a wrong one lists all that there are.
    #[arg(long, value_name = "R")]
    pub reason: Option<Reason>,
    /// Print each as a line of JSON, with its fields where they are decoded.
    #[arg(long, group = "form")]
    pub json: bool,
    /// Print each as a tab-separated row, under one head.
    #[arg(long, group = "form")]
    pub tsv: bool,
    /// Print the last N only [default: 1000 in the table for people, else all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: Option<u32>,
    /// Print how many there are by reason instead.
    #[arg(long, conflicts_with = "limit")]
    pub counts: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::event::DeadReason;
    use clap::Parser;

    fn parse(words: &[&str]) -> Result<DeadLettersArgs, String> {
        let words = ["sluice", "dead-letters"].iter().chain(words);
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::DeadLetters(args) = cli.command else { panic!("not dead-letters") };
        Ok(args)
    }

    #[test]
    fn reasons_are_named() {
        let args = parse(&["a", "-", "--reason", "late", "--limit", "5"]).expect("is right");
        assert_eq!((args.reason, args.limit), (Some(Reason::Dead(DeadReason::Late)), Some(5)));
        assert_eq!(args.files.len(), 2);
        let error = parse(&["a", "--reason", "lost"]).expect_err("is none");
        assert!(error.contains("unknown reason 'lost'") && error.contains("evicted"), "{error}");
        for wrong in
            [&[][..], &["a", "--json", "--tsv"], &["a", "--limit", "0"], &["a", "--limit", "1", "--counts"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! `sluice run`: its options.

use super::values::positive_duration;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

const AFTER: &str = "\
Stops on SIGINT or SIGTERM, or after --duration: sources first, then the queues drain, then the
books are checked.

Examples:
  sluice run --config appliance.toml --print-topology
  sluice run --config appliance.toml --duration 60s --report report.json --plot latency.svg
  sluice run --config appliance.toml --duration 10s --json | jq .ledger.balanced";

/// Options of `sluice run`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct RunArgs {
    /// Config file (TOML) with the interfaces and feeds; `sluice check-config --print-default` prints one.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Stop after this time: seconds, or with a unit such as 500ms, 90s or 10m [default: run until stopped].
    #[arg(long, value_name = "S", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Write the report (JSON) to this file; goes before report.path of the config file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the latency plot (SVG) to this file; goes before report.plot of the config file.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// List every gap in the summary, and in the report under "gaps": its stream, numbers and times, which lines skipped
    /// and brought it, how it ended.
    #[arg(long, conflicts_with = "print_topology")]
    pub explain_gaps: bool,
    /// List the dead letters that are kept in memory: events that were accepted and not processed, the newest last.
    #[arg(long)]
    pub explain_dead_letters: bool,
    /// Print what would be started, lanes, threads and agents, and start nothing.
    #[arg(long, conflicts_with_all = ["duration", "report", "plot"])]
    pub print_topology: bool,
    /// Print the report (or the topology) as JSON instead of the summary.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use std::time::Duration;

    #[test]
    fn durations_are_seconds_by_default() {
        let words = ["sluice", "run", "--config", "a.toml", "--duration", "5", "--json"];
        let Command::Run(args) = Cli::try_parse_from(words).expect("is right").command else {
            panic!("not run")
        };
        assert_eq!(args.duration, Some(Duration::from_secs(5)));
        assert!(args.json && !args.print_topology);
    }

    #[test]
    fn the_config_is_required() {
        assert!(Cli::try_parse_from(["sluice", "run"]).is_err());
        let words = ["sluice", "run", "--config", "a.toml", "--print-topology", "--duration", "5"];
        assert!(Cli::try_parse_from(words).is_err());
    }
}

//! The `sluice` binary: hands the command line to the library and the outcome to the caller, as an exit code.

use sluice::appliance::ApplianceError;
use sluice::cli::{self, Cli, Command, Exit};
use sluice::config::ConfigError;
use sluice::os::CountingAllocator;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Counts allocations per thread, so that the report can say that hot threads made none.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let cli = Cli::from_process();
    let exit = start_log(&cli.log).and_then(|()| dispatch(&cli.command)).unwrap_or_else(|error| {
        // Every error's text includes its cause.
        cli::print_error(&format_args!("{error}"));
        exit_of(&error)
    });
    exit.into()
}

fn dispatch(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::CheckConfig(args) => cli::check_config(args),
        Command::Run(args) => cli::run(args),
        Command::Replay(args) => cli::replay(args),
        Command::Send(args) => cli::send(args),
        Command::Decode(args) => cli::decode(args),
        Command::DeadLetters(args) => cli::dead_letters(args),
        Command::Generate(args) => cli::generate(args),
    }
}

/// The log goes to standard error, so that standard output is the result alone.
fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|source| WrongLogFilter(filter.to_owned(), source))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error(
    "--log '{0}': {1}; write error, warn, info, debug or trace, or a module's such as sluice::config=debug"
)]
struct WrongLogFilter(String, tracing_subscriber::filter::ParseError);

/// What an error that ended the program means to the caller.
fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<ConfigError>() || error.is::<WrongLogFilter>() {
        return Exit::Usage;
    }
    error.downcast_ref::<ApplianceError>().map_or(Exit::Failed, ApplianceError::exit)
}

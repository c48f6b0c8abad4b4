//! SoupBinTCP both ways: what `sluice replay --to soup` serves, and what `sluice run` with a connector takes.

#[path = "../common/program.rs"]
mod program;
mod server;
mod session;

//! The command line: what can be asked for, typed and checked before anything starts.
//!
//! Architecture invariant: parsing is all that happens here, and the small subcommands; what an appliance
//! does is decided above. Every option that stands in a help text works.

mod check_config;
mod control;
mod dead_letters;
mod dead_letters_args;
mod decode;
mod decode_args;
mod fault_args;
mod fault_report;
mod generate;
mod generate_args;
mod output;
mod publish;
mod replay;
mod replay_args;
mod replay_tcp;
mod rerequest;
mod rerequest_args;
mod root;
mod run;
mod run_args;
mod send;
mod send_args;
mod serve;
mod soup_args;
mod values;

pub use check_config::check_config;
pub use dead_letters::dead_letters;
pub use dead_letters_args::DeadLettersArgs;
pub use decode::decode;
pub use decode_args::{DecodeArgs, DecodeForm};
pub use fault_args::{Fault, FaultArgs};
pub use generate::generate;
pub use generate_args::GenerateArgs;
pub use output::{print, print_error, warn_of};
pub use replay::replay;
pub use replay_args::{Pace, ReplayArgs, ReplayTarget, Rewrite};
pub use rerequest_args::{RerequestArgs, Share};
pub use root::{CheckConfigArgs, Cli, Command};
pub use run::run;
pub use run_args::RunArgs;
pub use send::send;
pub use send_args::{SendArgs, Switch};
pub use soup_args::SoupArgs;
pub use values::{MacAddress, ProtocolChoice, VlanRewrite};

pub use crate::report::Exit;

//! Exit codes: the shortest report, for the script that called.

use std::process::ExitCode;

/// How a subcommand ended. The numbers are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It failed while running.
    Failed = 1,
    /// The command line or the config file is wrong.
    Usage = 2,
    /// The machine lacks something; the message names it.
    MachineLacks = 3,
    /// The ledger does not balance.
    Unbalanced = 4,
}

impl Exit {
    /// By whether the books balance.
    pub const fn from_balance(balanced: bool) -> Exit {
        if balanced { Exit::Done } else { Exit::Unbalanced }
    }

    /// The code.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

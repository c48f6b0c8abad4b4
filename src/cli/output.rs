//! Printing: the only place that writes to standard output and standard error beside the log.
//!
//! Invariant: a reader that went away (`| head`) is no failure.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints text to standard output.
///
/// # Errors
/// Standard output can't be written to, for another reason than that nobody reads it any more.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints why the program ends to standard error.
pub fn print_error(error: &impl Display) {
    warn_of("error", error);
}

/// Prints a labelled remark to standard error. Where that can't be written, nobody is there to be told.
pub fn warn_of(label: &str, text: &impl Display) {
    let _ = writeln!(io::stderr().lock(), "{label}: {text}");
}

//! `sluice dead-letters`: what stands in files of dead letters.
//!
//! Invariant: memory is bounded by the limit of what is listed, however long the files are.

use super::DeadLettersArgs;
use super::output::warn_of;
use crate::report::{
    Exit, Style, letter_counts_table, letter_json, letter_row, letter_row_head, letters_table,
};
use crate::sink::dead_letters::{Letter, LetterLines};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write, stdin, stdout};
use std::path::Path;

/// Letters in the table for people unless a limit is given.
const TABLE_LIMIT: usize = 1_000;

/// Wrong lines that are told of one by one.
const WRONG_TOLD_MAX: u64 = 10;

/// Lists the letters of files.
///
/// # Errors
/// A file can't be opened, or standard output can't be written to.
pub fn dead_letters(args: &DeadLettersArgs) -> anyhow::Result<Exit> {
    // All are opened first, so that a wrong path is told before anything is printed.
    let inputs: Vec<(String, Box<dyn BufRead>)> =
        args.files.iter().map(|path| open(path)).collect::<anyhow::Result<_>>()?;
    let mut listing = Listing {
        args,
        style: Style::for_stream(&stdout()),
        out: BufWriter::new(stdout().lock()),
        newest: VecDeque::new(),
        counts: BTreeMap::new(),
        letters: 0,
        wrong: 0,
    };
    match listing.list(inputs) {
        // A reader that went away is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        listed => listed?,
    }
    if listing.wrong > WRONG_TOLD_MAX {
        warn_of(
            "dead letters",
            &format_args!("and {} more lines that can't be read", listing.wrong - WRONG_TOLD_MAX),
        );
    }
    Ok(if listing.wrong > 0 { Exit::Failed } else { Exit::Done })
}

fn open(path: &Path) -> anyhow::Result<(String, Box<dyn BufRead>)> {
    if path == Path::new("-") {
        return Ok(("standard input".to_owned(), Box::new(stdin().lock())));
    }
    let name = path.display().to_string();
    let refused = |error: &dyn std::fmt::Display| {
        anyhow::anyhow!("{name} can't be read: {error}; check the path, which dead_letters.file names")
    };
    let file = File::open(path).map_err(|error| refused(&error))?;
    match file.metadata() {
        Ok(facts) if facts.is_dir() => Err(refused(&"it is a directory")),
        _ => Ok((name, Box::new(BufReader::new(file)))),
    }
}

/// What is printed, and what was found.
struct Listing<'a, W: Write> {
    args: &'a DeadLettersArgs,
    style: Style,
    out: W,
    /// Those that are printed at the end.
    newest: VecDeque<Letter>,
    counts: BTreeMap<&'static str, u64>,
    letters: u64,
    wrong: u64,
}

impl<W: Write> Listing<'_, W> {
    fn list(&mut self, inputs: Vec<(String, Box<dyn BufRead>)>) -> io::Result<()> {
        if self.args.tsv && !self.args.counts {
            self.out.write_all(letter_row_head().as_bytes())?;
        }
        for (name, input) in inputs {
            for letter in LetterLines::new(input) {
                match letter {
                    Ok(letter) => self.take(letter)?,
                    Err(wrong) => {
                        self.wrong += 1;
                        if self.wrong <= WRONG_TOLD_MAX {
                            warn_of("dead letters", &format_args!("{name}: {wrong}"));
                        }
                    }
                }
            }
        }
        if self.args.counts {
            self.print_counts()?
        } else {
            self.print_newest()?
        }
        self.out.flush()
    }

    fn take(&mut self, letter: Letter) -> io::Result<()> {
        if self.args.reason.is_some_and(|reason| reason != letter.reason) {
            return Ok(());
        }
        self.letters += 1;
        *self.counts.entry(letter.reason.name()).or_default() += 1;
        if self.args.counts {
            return Ok(());
        }
        let is_table = !self.args.json && !self.args.tsv;
        let Some(limit) = self.args.limit.map(|limit| limit as usize).or(is_table.then_some(TABLE_LIMIT))
        else {
            return self.print(&letter);
        };
        if self.newest.len() == limit {
            self.newest.pop_front();
        }
        self.newest.push_back(letter);
        Ok(())
    }

    fn print(&mut self, letter: &Letter) -> io::Result<()> {
        let text = if self.args.json { letter_json(letter) } else { letter_row(letter) };
        self.out.write_all(text.as_bytes())
    }

    fn print_newest(&mut self) -> io::Result<()> {
        let newest = std::mem::take(&mut self.newest);
        if self.args.json || self.args.tsv {
            return newest.iter().try_for_each(|letter| self.print(letter));
        }
        let mut text = String::new();
        letters_table(&newest, self.style, &mut text);
        self.out.write_all(text.as_bytes())?;
        match self.letters - newest.len() as u64 {
            0 if newest.is_empty() => writeln!(self.out, "  none"),
            0 => Ok(()),
            more => writeln!(self.out, "  and {more} before them; --limit lists more, --counts counts all"),
        }
    }

    fn print_counts(&mut self) -> io::Result<()> {
        let text = if self.args.json {
            let whole =
                json!({ "letters": self.letters, "wrong_lines": self.wrong, "by_reason": self.counts });
            format!("{whole}\n")
        } else if self.args.tsv {
            let rows = self.counts.iter().map(|(reason, count)| format!("{reason}\t{count}\n"));
            std::iter::once("reason\tletters\n".to_owned()).chain(rows).collect()
        } else {
            let mut text = String::new();
            letter_counts_table(&self.counts, self.style, &mut text);
            text
        };
        self.out.write_all(text.as_bytes())
    }
}

//! Words and numbers for people: thousands, durations, aligned tables, and colours where they are wanted.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// How text is dressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are used.
    pub colour: bool,
}

impl Style {
    /// No colours.
    pub const PLAIN: Style = Style { colour: false };

    /// Colours if `stream` is a terminal and the environment does not set NO_COLOR (to anything but nothing).
    pub fn for_stream(stream: &impl IsTerminal) -> Style {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { colour: stream.is_terminal() && !unwanted }
    }

    fn dress(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.dress("1", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.dress("1;32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.dress("1;31", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.dress("2", text)
    }
}

/// A count with a comma between thousands.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds with three digits and a fitting unit.
pub(super) fn duration(ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let Some((size, unit)) = UNITS.into_iter().find(|(size, _)| ns >= *size) else {
        return format!("{ns} ns");
    };
    let value = ns as f64 / size as f64;
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Rows of cells in columns: the first `left` columns to the left, the others to the right. The first row is
/// the head.
pub(super) struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(left: usize, head: &[&str]) -> Table {
        Table { left, rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table, indented by two, with a faint head.
    pub(super) fn render(&self, style: Style, out: &mut String) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padded = match column < self.left {
                    true => format!("  {cell:<width$}"),
                    false => format!("  {cell:>width$}"),
                };
                line.push_str(&padded);
            }
            let line = line.trim_end();
            let line = if index == 0 { style.faint(line) } else { line.to_owned() };
            writeln!(out, "{line}").expect("writing to a String cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(count), text);
        }
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_999, "10.0 µs"),
            (99_960, "100 µs"),
            (12_345_678, "12.3 ms"),
            (100_000_000_000, "100 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn tables_are_aligned() {
        let mut table = Table::new(1, &["name", "n"]);
        table.row(vec!["µ".to_owned(), "1".to_owned()]);
        table.row(vec!["long name".to_owned(), "1,000".to_owned()]);
        let mut out = String::new();
        table.render(Style::PLAIN, &mut out);
        assert_eq!(out, "  name           n\n  µ              1\n  long name  1,000\n");
    }

    #[test]
    fn colours_only_where_wanted() {
        assert_eq!(Style::PLAIN.good("x"), "x");
        assert_eq!(Style { colour: true }.good("x"), "\x1b[1;32mx\x1b[0m");
    }
}

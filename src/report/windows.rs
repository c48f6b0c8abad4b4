//! What the batch processor's windows took and told. Invariant: windows opened are those closed and those open at the end.

use crate::config::WindowSettings;
use crate::process::windows::{DefinitionBook, WindowBook};
use serde::Serialize;

/// The batch processor's windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WindowsReport {
    /// Each kind of windows, in the order of the configuration.
    pub definitions: Vec<WindowReport>,
    /// Events of no window.
    pub unmatched: u64,
    /// Closed windows that found no place on their way out, and were told nowhere.
    pub dropped: u64,
}

/// One kind of windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WindowReport {
    /// As the configuration calls it.
    pub name: String,
    /// Events that belong to it.
    pub events: u64,
    /// Windows that got a first event.
    pub opened: u64,
    /// Windows that closed.
    pub closed: u64,
    /// Windows that were still open.
    pub open: u64,
    /// Corrections that were told behind closed windows.
    pub corrections: u64,
    /// Events too late for all of its windows.
    pub late: u64,
    /// Events too late for some of its windows.
    pub partly_late: u64,
    /// Events or entries of keys that found no room.
    pub keys_full: u64,
    /// Events whose time was too far in the future.
    pub future: u64,
    /// Most windows open at a time; of several processors, the sum of each one's.
    pub open_max: u64,
    /// Most keys at a time; of several processors, the sum of each one's.
    pub keys_max: u64,
}

impl WindowsReport {
    /// From a book with the settings' names; `dropped` of all ways out together.
    pub fn new(settings: &WindowSettings, book: &WindowBook, dropped: u64) -> WindowsReport {
        let named = settings.definitions.iter().map(|definition| &definition.name).zip(&book.definitions);
        WindowsReport {
            definitions: named.map(|(name, book)| WindowReport::new(name, book)).collect(),
            unmatched: book.unmatched,
            dropped,
        }
    }
}

impl WindowReport {
    fn new(name: &str, book: &DefinitionBook) -> WindowReport {
        WindowReport {
            name: name.to_owned(),
            events: book.events,
            opened: book.opened,
            closed: book.closed,
            open: book.open(),
            corrections: book.corrections,
            late: book.late,
            partly_late: book.partly_late,
            keys_full: book.keys_full,
            future: book.future,
            open_max: book.open_max,
            keys_max: book.keys_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn each_definition_stands_under_its_name() {
        let settings = Settings::from_text("", "defaults").expect("is right").windows;
        let mut book = WindowBook { unmatched: 3, definitions: vec![DefinitionBook::default(); 2] };
        book.definitions[1].opened = 5;
        book.definitions[1].closed = 4;
        let mut twice = WindowBook::default();
        twice.merge(&book);
        twice.merge(&book);
        let report = WindowsReport::new(&settings, &twice, 9);
        let json = serde_json::to_value(&report).expect("writes");
        assert_eq!(json["definitions"][0]["name"], "topics");
        assert_eq!(json["definitions"][1]["name"], "trades");
        assert_eq!(json["definitions"][1]["open"], 2);
        assert_eq!((&json["unmatched"], &json["dropped"]), (&6.into(), &9.into()));
    }
}

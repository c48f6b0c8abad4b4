//! Reports: what happened, from plain numbers, as JSON for programs and as text and plots for people.
//!
//! Architecture invariant: nothing here measures or counts. A report is built once, from books that their
//! owners have closed, and says in one line whether they balance.

mod books;
mod control;
mod curve;
mod decode;
mod error;
mod exit;
mod json;
mod letters;
mod load;
mod plot;
mod pressure;
mod processing;
mod recovery;
mod rules;
mod run;
mod streams;
mod summary;
mod text;
mod transactional;
mod tsv;
mod windows;

pub use books::{
    ConnectionsReport, Counts, EventsReport, FramesReport, KernelReport, LedgerReport, MessagesReport,
    UnequalSides,
};
pub use control::{ControlReport, GapReport, explain_gaps, gaps};
pub use curve::text_plot;
pub use decode::{CaptureFacts, CaptureFile, DecodeReport, TcpFacts};
pub use error::ReportError;
pub use exit::Exit;
pub use json::{to_json, write_atomically, write_json};
pub use letters::{
    LettersReport, ReasonReport, explain_letters, letter_counts_table, letter_json, letter_row,
    letter_row_head, letters_table,
};
pub use load::summarize_load;
pub use plot::{latency_svg, write_plot};
pub use pressure::{
    DutyReport, KillReport, PressureReport, StallReport, control_event_value, summarize_pressure,
};
pub use processing::{ProcessingReport, RoutingReport};
pub use recovery::{FeedRecoveryReport, ServerReport};
pub use rules::{RuleReport, RulesReport};
pub use run::{HotPath, Latencies, Report, ReportInput};
pub use streams::{LineReport, NamedLine, NamedStream, StreamReport};
pub use summary::{summarize, summarize_decode};
pub use text::Style;
pub use transactional::{AttemptsReport, DeadTransactions, IdempotencyReport, TransactionalReport};
pub use tsv::tab_separated;
pub use windows::{WindowReport, WindowsReport};

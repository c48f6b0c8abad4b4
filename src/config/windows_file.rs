//! `[batch]` and `[[batch.window]]`: what the batch processor adds up, as it is written and as it is meant.
//!
//! Invariant: as in [`super::file`]; keys that mean something only beside others are options, so that one that is
//! written where it means nothing can be refused; [`BatchTable::complete`] then fills in what was left out.

use super::file::ConfigFile;
use super::validate::{self as check, Found, first_repeated, refuse};
use crate::event::Protocol;
use crate::limits::{
    QUANTILES_MAX, SKETCH_BUCKETS, WINDOW_BYTES_MAX, WINDOW_DEFINITIONS_MAX, WINDOW_KEYS_MAX,
    WINDOW_PANE_BYTES, WINDOW_PANES_MAX,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const DAY_MS: u32 = 86_400_000;
const HOUR_MS: u32 = 3_600_000;
const LENGTH_MS: u32 = 5_000;
const LATENESS_MS: u32 = 1_000;
const CORRECTION_MS: u32 = 10_000;
const KEYS: u32 = 4_096;
const PATTERNS_MAX: usize = 64;
/// A topic of a version 2 frame; a key in a payload is not longer either.
const TEXT_BYTES_MAX: usize = 255;
/// Protocols whose messages are read down to trades.
const PROTOCOLS: [Protocol; 4] =
    [Protocol::Moldudp64Itch50, Protocol::IexTp, Protocol::CmeMdp3, Protocol::SoupbintcpItch50];

/// What windows are kept of (`group_by`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum GroupWish {
    Topic,
    Symbol,
}

/// How windows follow each other (`kind`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWish {
    #[default]
    Tumbling,
    Sliding,
}

/// What becomes of late events (`late`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LateWish {
    #[default]
    DeadLetter,
    Correct,
}

/// What becomes of events whose key finds no room (`keys_full`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeysFullWish {
    /// They are dead letters.
    #[default]
    DeadLetter,
    /// They are counted, and are taken to be processed.
    Count,
}

/// What of market data windows take (`entries`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryWish {
    /// Trades.
    Trade,
    /// Executions of orders in the book.
    Execute,
}

/// `[batch]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BatchTable {
    #[garde(custom(check::within(0, HOUR_MS, "milliseconds")))]
    future_ms: u32,
    #[garde(custom(check_window_count), dive)]
    window: Vec<WindowTable>,
}

/// `[[batch.window]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowTable {
    #[garde(custom(check::name))]
    name: String,
    #[garde(skip)]
    group_by: GroupWish,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check_patterns)))]
    topics: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check_value_key)))]
    value_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check_protocols)))]
    protocols: Option<Vec<Protocol>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check_entries)))]
    entries: Option<Vec<EntryWish>>,
    #[serde(default)]
    #[garde(skip)]
    feeds: Vec<String>,
    #[serde(default)]
    #[garde(skip)]
    kind: KindWish,
    #[serde(default = "length_ms")]
    #[garde(custom(check::within(1, DAY_MS, "milliseconds")))]
    length_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, DAY_MS, "milliseconds"))))]
    slide_ms: Option<u32>,
    #[serde(default = "lateness_ms")]
    #[garde(custom(check::within(0, HOUR_MS, "milliseconds")))]
    lateness_ms: u32,
    #[serde(default)]
    #[garde(skip)]
    late: LateWish,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, HOUR_MS, "milliseconds"))))]
    correction_ms: Option<u32>,
    #[serde(default = "keys")]
    #[garde(custom(check::within(1, WINDOW_KEYS_MAX as u32, "keys")))]
    keys_max: u32,
    #[serde(default)]
    #[garde(skip)]
    keys_full: KeysFullWish,
    #[serde(default = "default_quantiles")]
    #[garde(custom(check_quantiles))]
    quantiles: Vec<f64>,
}

impl Default for BatchTable {
    fn default() -> BatchTable {
        let windows = [("topics", GroupWish::Topic), ("trades", GroupWish::Symbol)];
        let mut table = BatchTable {
            future_ms: LATENESS_MS,
            window: windows.map(|(name, group_by)| WindowTable::new(name, group_by)).into(),
        };
        table.complete();
        table
    }
}

impl BatchTable {
    /// Fills in what was left out, so that a file says the same whether it spells defaults out or not.
    pub(super) fn complete(&mut self) {
        self.window.iter_mut().for_each(WindowTable::complete);
    }
}

impl WindowTable {
    fn new(name: &str, group_by: GroupWish) -> WindowTable {
        WindowTable {
            name: name.to_owned(),
            group_by,
            topics: None,
            value_key: None,
            protocols: None,
            entries: None,
            feeds: Vec::new(),
            kind: KindWish::Tumbling,
            length_ms: LENGTH_MS,
            slide_ms: None,
            lateness_ms: LATENESS_MS,
            late: LateWish::DeadLetter,
            correction_ms: None,
            keys_max: KEYS,
            keys_full: KeysFullWish::DeadLetter,
            quantiles: default_quantiles(),
        }
    }

    fn complete(&mut self) {
        match self.group_by {
            GroupWish::Topic => {
                self.topics.get_or_insert_with(|| vec!["*".to_owned()]);
                self.value_key.get_or_insert_default();
            }
            GroupWish::Symbol => {
                self.protocols.get_or_insert_default();
                self.entries.get_or_insert_with(|| vec![EntryWish::Trade]);
            }
        }
        if self.late == LateWish::Correct {
            self.correction_ms.get_or_insert(CORRECTION_MS);
        }
    }

    /// Panes of each key: as many as lie between the oldest event that is taken and the newest, and two at the ends.
    fn panes(&self) -> u64 {
        let slide = self.slide_ms.unwrap_or(self.length_ms);
        let correction = match self.late {
            LateWish::DeadLetter => 0,
            LateWish::Correct => self.correction_ms.unwrap_or(CORRECTION_MS),
        };
        let span = u64::from(self.length_ms) + u64::from(self.lateness_ms) + u64::from(correction);
        span.div_ceil(u64::from(divisor(self.length_ms, slide))) + 2
    }
}

fn divisor(mut larger: u32, mut smaller: u32) -> u32 {
    while smaller != 0 {
        (larger, smaller) = (smaller, larger % smaller);
    }
    larger.max(1)
}

fn length_ms() -> u32 {
    LENGTH_MS
}

fn lateness_ms() -> u32 {
    LATENESS_MS
}

fn keys() -> u32 {
    KEYS
}

fn default_quantiles() -> Vec<f64> {
    vec![0.5, 0.9, 0.99]
}

fn check_window_count(windows: &[WindowTable], (): &()) -> garde::Result {
    match windows.len() <= WINDOW_DEFINITIONS_MAX {
        true => Ok(()),
        false => refuse(format!("are {}; allowed: up to {WINDOW_DEFINITIONS_MAX}", windows.len())),
    }
}

fn check_patterns(patterns: &[String], (): &()) -> garde::Result {
    if !(1..=PATTERNS_MAX).contains(&patterns.len()) {
        return refuse(format!(
            "lists {} topics; allowed: 1 to {PATTERNS_MAX}, or [\"*\"] for all",
            patterns.len()
        ));
    }
    let wrong = |text: &&String| {
        let stem = text.strip_suffix('*').unwrap_or(text);
        text.is_empty() || text.len() > TEXT_BYTES_MAX || stem.contains('*')
    };
    match patterns.iter().find(wrong) {
        None => Ok(()),
        Some(text) => refuse(format!(
            "has {text:?}; allowed: a topic of 1 to {TEXT_BYTES_MAX} bytes, or the beginning of topics with a star \
             behind it, such as \"host.*\""
        )),
    }
}

fn check_value_key(key: &str, (): &()) -> garde::Result {
    match key.len() <= TEXT_BYTES_MAX && key.bytes().all(|b| b.is_ascii_graphic() && b != b'=') {
        true => Ok(()),
        false => refuse(format!(
            "is {key:?}; allowed: the key of words key=value in payloads, such as \"busy_pct\", or \"\" where the payload is \
             the number"
        )),
    }
}

fn check_protocols(protocols: &[Protocol], (): &()) -> garde::Result {
    match protocols.iter().find(|protocol| !PROTOCOLS.contains(protocol)) {
        None => Ok(()),
        Some(other) => refuse(format!(
            "has \"{other}\", whose messages are not read down to trades; allowed: {}, or [] for all of these",
            PROTOCOLS.map(|protocol| format!("\"{protocol}\"")).join(", ")
        )),
    }
}

fn check_entries(entries: &[EntryWish], (): &()) -> garde::Result {
    match entries.is_empty() {
        false => Ok(()),
        true => refuse("is empty; allowed: \"trade\", \"execute\" or both".to_owned()),
    }
}

fn check_quantiles(shares: &[f64], (): &()) -> garde::Result {
    if shares.len() > QUANTILES_MAX {
        return refuse(format!(
            "lists {} quantiles; allowed: up to {QUANTILES_MAX}, or [] for none",
            shares.len()
        ));
    }
    match shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        None => Ok(()),
        Some(share) => refuse(format!("has {share}; allowed: 0 to 1, such as 0.99")),
    }
}

/// The checks of windows against each other and the rest of the file.
pub(super) fn together(file: &ConfigFile, found: &mut Found) {
    let windows = &file.batch.window;
    for (index, window) in windows.iter().enumerate() {
        let mut push = |key: &str, problem| found.push((format!("batch.window[{index}].{key}"), problem));
        misplaced_keys(window, &mut push);
        sizes(window, &mut push);
        if let Some(name) = window.feeds.iter().find(|name| place(file, name).is_none()) {
            let problem = format!("has {name:?}, as which no feed, listener or connector is known");
            push("feeds", problem);
        }
    }
    if let Some((name, first, second)) = first_repeated(windows.iter().map(|window| &window.name)) {
        found.push((
            format!("batch.window[{second}].name"),
            format!("is {name:?}, as is batch.window[{first}].name; windows are reported by name, so each needs its own"),
        ));
    }
}

fn misplaced_keys(window: &WindowTable, push: &mut impl FnMut(&str, String)) {
    let (of_topics, of_symbols) = ("group_by = \"topic\"", "group_by = \"symbol\"");
    let (by_symbol, by_topic) = (window.group_by == GroupWish::Symbol, window.group_by == GroupWish::Topic);
    for (key, misplaced, place) in [
        ("topics", by_symbol && window.topics.is_some(), of_topics),
        ("value_key", by_symbol && window.value_key.is_some(), of_topics),
        ("protocols", by_topic && window.protocols.is_some(), of_symbols),
        ("entries", by_topic && window.entries.is_some(), of_symbols),
        ("slide_ms", window.kind == KindWish::Tumbling && window.slide_ms.is_some(), "kind = \"sliding\""),
        (
            "correction_ms",
            window.late == LateWish::DeadLetter && window.correction_ms.is_some(),
            "late = \"correct\"",
        ),
    ] {
        if misplaced {
            push(key, format!("means something with {place} only; write that, or remove the key"));
        }
    }
}

fn sizes(window: &WindowTable, push: &mut impl FnMut(&str, String)) {
    match (window.kind, window.slide_ms) {
        (KindWish::Sliding, None) => {
            push("slide_ms", "is missing; a sliding window needs one, such as slide_ms = 1000".to_owned());
            return;
        }
        (KindWish::Sliding, Some(slide)) if slide > window.length_ms => {
            let problem = format!(
                "is {slide}, over length_ms, which is {}; between windows events would be lost",
                window.length_ms
            );
            push("slide_ms", problem);
            return;
        }
        _ => {}
    }
    if window.length_ms == 0 || window.slide_ms == Some(0) {
        return;
    }
    let panes = window.panes();
    if panes > WINDOW_PANES_MAX as u64 {
        let advice = "shorten lateness_ms or correction_ms, or let slide_ms be a larger part of length_ms";
        let problem = format!("makes {panes} panes for each key; allowed: {WINDOW_PANES_MAX}; {advice}");
        push("length_ms", problem);
        return;
    }
    let sketch_bytes = if window.quantiles.is_empty() { 0 } else { (SKETCH_BUCKETS * 8) as u64 };
    let bytes = u64::from(window.keys_max) * panes * (WINDOW_PANE_BYTES as u64 + sketch_bytes);
    if bytes > WINDOW_BYTES_MAX as u64 && window.keys_max as usize <= WINDOW_KEYS_MAX {
        let problem = format!(
            "is {}, which with {panes} panes for each key makes {} MiB; allowed: {} MiB; lower it, or shorten windows{}",
            window.keys_max,
            bytes >> 20,
            WINDOW_BYTES_MAX >> 20,
            if sketch_bytes > 0 { ", or write quantiles = []" } else { "" }
        );
        push("keys_max", problem);
    }
}

/// Where events of a feed, listener or connector come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedPlace {
    /// Its index among all: feeds first, then each shard's listeners, connectors and host's figures.
    pub index: u32,
}

fn place(file: &ConfigFile, name: &str) -> Option<FeedPlace> {
    if let Some(index) = file.feed.iter().position(|feed| feed.name == name) {
        return Some(FeedPlace { index: index as u32 });
    }
    let mut names: Vec<&str> = Vec::new();
    for shard in 0..file.threads.shards {
        let listeners = file.listen.iter().filter(|table| table.shard == shard);
        names.extend(listeners.map(|table| table.name.as_str()));
        let connectors = file.connect.iter().filter(|table| table.shard == shard);
        names.extend(connectors.map(|table| table.name.as_str()));
        if file.host.enabled && file.host.shard == shard {
            names.push("host");
        }
    }
    let inlet = names.iter().position(|known| *known == name)?;
    Some(FeedPlace { index: (file.feed.len() + inlet) as u32 })
}

/// What the batch processor adds up.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowSettings {
    /// How far ahead of its arrival an event's time may lie.
    pub future_max: Duration,
    /// Feeds of the configuration: an event's index below this is of a feed, whatever its shard.
    pub feeds: u32,
    /// The windows; names are distinct.
    pub definitions: Vec<WindowDefinition>,
}

/// One kind of windows.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowDefinition {
    /// Its name in reports.
    pub name: String,
    /// What windows are kept of, and of what events.
    pub group: WindowGroup,
    /// The feeds and inlets whose events are taken; empty for all.
    pub feeds: Vec<FeedPlace>,
    /// Length of a window, in whole milliseconds.
    pub length: Duration,
    /// From one window's beginning to the next one's; the length for tumbling windows, never more.
    pub slide: Duration,
    /// How far behind the latest event others may be.
    pub lateness: Duration,
    /// For how long a closed window is corrected by late events; `None`: they are dead letters.
    pub correction: Option<Duration>,
    /// Keys at a time.
    pub keys_max: usize,
    /// What becomes of events of further ones.
    pub keys_full: KeysFullWish,
    /// Quantiles of the values, in millionths, up to [`QUANTILES_MAX`].
    pub quantiles: Vec<u32>,
}

/// What windows are kept of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowGroup {
    /// Topics of native and engine20 events.
    Topic {
        /// Topics that are meant, as patterns: exact, or a beginning with a star behind it.
        topics: Vec<String>,
        /// The key of the value in payloads of words `key=value`; `None` where the payload is the number.
        value_key: Option<String>,
    },
    /// Instruments of market data.
    Symbol {
        /// Protocols; empty for all.
        protocols: Vec<Protocol>,
        /// What is taken of them.
        entries: Vec<EntryWish>,
    },
}

impl WindowSettings {
    /// From a checked and completed file.
    pub(super) fn typed(file: &ConfigFile) -> WindowSettings {
        WindowSettings {
            future_max: Duration::from_millis(file.batch.future_ms.into()),
            feeds: file.feed.len() as u32,
            definitions: file.batch.window.iter().map(|table| definition(table, file)).collect(),
        }
    }
}

fn definition(table: &WindowTable, file: &ConfigFile) -> WindowDefinition {
    let ms = |ms: u32| Duration::from_millis(ms.into());
    WindowDefinition {
        name: table.name.clone(),
        group: match table.group_by {
            GroupWish::Topic => WindowGroup::Topic {
                topics: table.topics.clone().unwrap_or_default(),
                value_key: table.value_key.clone().filter(|key| !key.is_empty()),
            },
            GroupWish::Symbol => WindowGroup::Symbol {
                protocols: table.protocols.clone().unwrap_or_default(),
                entries: table.entries.clone().unwrap_or_default(),
            },
        },
        feeds: table.feeds.iter().filter_map(|name| place(file, name)).collect(),
        length: ms(table.length_ms),
        slide: ms(table.slide_ms.unwrap_or(table.length_ms)),
        lateness: ms(table.lateness_ms),
        correction: (table.late == LateWish::Correct)
            .then(|| ms(table.correction_ms.unwrap_or(CORRECTION_MS))),
        keys_max: table.keys_max as usize,
        keys_full: table.keys_full,
        quantiles: table.quantiles.iter().map(|share| (share * 1e6).round() as u32).collect(),
    }
}

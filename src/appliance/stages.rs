//! The appliance's own processors: what each class' partitions do, and the other ends of what they tell.

use super::ApplianceError;
use super::processors::feed_names;
use crate::agents::{
    AlertReader, RuleDesk, RuleInbox, RuleStage, Stage, Tally, TapPort, TapReader, WindowReader, WindowStage,
    Work, alert_way, tap_way, window_way,
};
use crate::config::{RuleSet, Settings, WindowGroup};
use crate::event::{Class, Nanos};
use crate::ledger::Knobs;
use crate::limits::STREAMS_MAX;
use crate::process::rules::{Engine, Places};
use crate::process::windows::WindowEngine;
use crate::process::{Accepting, Transactions};
use std::time::{SystemTime, UNIX_EPOCH};

/// The rules' desk and the way of their alerts.
pub struct RuleEnds {
    /// Where further sets of rules are compiled and sent.
    pub desk: RuleDesk,
    /// Where alerts come from.
    pub alerts: AlertReader,
}

/// The other ends of what the processors tell.
#[derive(Default)]
pub struct StageEnds {
    /// The rules', where there are any.
    pub rules: Option<RuleEnds>,
    /// The closed windows of each batch processor.
    pub windows: Vec<WindowReader>,
}

/// The processors that are still to be made.
pub(super) struct Stages<'a> {
    settings: &'a Settings,
    shards: usize,
    rules: Option<(Engine, RuleInbox, RuleDesk)>,
    tap: (Option<TapPort>, Option<TapReader>),
    ends: StageEnds,
    failed: Option<ApplianceError>,
}

impl<'a> Stages<'a> {
    /// Reads and compiles the rules.
    ///
    /// # Errors
    /// The rules' file can't be read, or is wrong.
    pub(super) fn plan(settings: &'a Settings, shards: usize) -> Result<Stages<'a>, ApplianceError> {
        let rules = match &settings.rules.file {
            Some(path) => {
                let set = RuleSet::load(path)?;
                let opened = RuleDesk::open(&set, places(settings));
                let wrong = |error| ApplianceError::Usage(format!("{}: {error}", path.display()));
                let (desk, engine, inbox) = opened.map_err(wrong)?;
                Some((engine, inbox, desk))
            }
            None => None,
        };
        let of_symbols = settings
            .windows
            .definitions
            .iter()
            .any(|definition| matches!(definition.group, WindowGroup::Symbol { .. }));
        let tap = match of_symbols {
            true => {
                let (port, reader) = tap_way();
                (Some(port), Some(reader))
            }
            false => (None, None),
        };
        Ok(Stages { settings, shards, rules, tap, ends: StageEnds::default(), failed: None })
    }

    /// Makes the processor of a partition.
    pub(super) fn make(&mut self, class: Class, partition: usize, knobs: &Knobs) -> Stage {
        let work = match class {
            Class::Realtime => Work::Realtime { rules: self.rules(knobs), tap: self.tap.0.take() },
            Class::Transactional => {
                Work::Transactional(Transactions::allocate(&self.settings.transactional, Accepting).into())
            }
            Class::Batch => match self.windows(partition) {
                Ok(windows) => Work::Batch(windows.into()),
                Err(error) => {
                    self.failed = Some(error);
                    Work::Realtime { rules: None, tap: None }
                }
            },
        };
        Stage::new(Tally::allocate(self.shards, STREAMS_MAX), work)
    }

    fn rules(&mut self, knobs: &Knobs) -> Option<Box<RuleStage>> {
        let (engine, inbox, desk) = self.rules.take()?;
        let (alerts, reader) = alert_way(knobs.clone());
        self.ends.rules = Some(RuleEnds { desk, alerts: reader });
        Some(Box::new(RuleStage { engine, inbox, alerts }))
    }

    fn windows(&mut self, partition: usize) -> Result<WindowStage, ApplianceError> {
        let allocated = WindowEngine::allocate(&self.settings.windows);
        let mut engine = allocated.map_err(|error| ApplianceError::Usage(format!("[batch]: {error}")))?;
        engine.set_utc_ahead(utc_ahead_ns());
        let (port, reader) = window_way();
        self.ends.windows.push(reader);
        Ok(WindowStage { engine, port, tap: if partition == 0 { self.tap.1.take() } else { None } })
    }

    /// The other ends.
    ///
    /// # Errors
    /// A processor could not be made.
    pub(super) fn into_ends(self) -> Result<StageEnds, ApplianceError> {
        self.failed.map_or(Ok(self.ends), Err)
    }
}

/// The names that rules know feeds and inlets by.
pub(super) fn places(settings: &Settings) -> Places {
    Places::new(feed_names(settings), settings.feeds.len())
}

/// How far UTC is ahead of CLOCK_MONOTONIC, ns.
fn utc_ahead_ns() -> Nanos {
    let utc = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as Nanos);
    utc.saturating_sub(crate::os::Clock::new().now())
}

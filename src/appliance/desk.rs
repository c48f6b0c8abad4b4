//! Beside the hot path: the control plane, the office of dead letters, and who takes what processors tell.
//!
//! Invariant: all that was told until the last agent ended is taken before the desk closes.

use super::stages::{RuleEnds, StageEnds, places};
use super::{ApplianceError, Told};
use crate::agents::{AlertDesk, AlertOutlet, AlertTotals, RuleDesk, WindowReader};
use crate::config::{Rule, RuleSet, Settings, Severity};
use crate::control::{ControlLoop, ControlOutcome, ControlThread};
use crate::ledger::{Boards, Knobs};
use crate::os::{Clock, KillRequests, ReloadRequests};
use crate::process::windows::ClosedWindow;
use crate::runtime::Pulse;
use crate::sink::dead_letters::{LetterFile, LetterOffice, LetterReader, OfficeThread};
use crate::sink::{WebhookSettings, Webhooks};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long a stopping appliance waits for webhooks that are under way.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(5);

/// What became of rules and their alerts.
#[derive(Clone, Debug, Default)]
pub struct RulesOutcome {
    /// The rules of the last set.
    pub rules: Vec<Rule>,
    /// What became of their alerts.
    pub alerts: AlertTotals,
}

/// What is known at the desk at the end.
pub(super) struct DeskOutcome {
    /// The control plane's record.
    pub(super) control: ControlOutcome,
    /// The office of dead letters.
    pub(super) letters: LetterOffice,
    /// Closed windows that found no place on their way.
    pub(super) windows_dropped: u64,
    /// The rules' desk and their outcome, where there were any.
    pub(super) rules: Option<(RuleDesk, RulesOutcome)>,
}

/// Alert rules' place at the desk.
struct RulesAtDesk {
    ends: RuleEnds,
    alerts: AlertDesk,
    path: Option<PathBuf>,
}

/// What waits for the agents to start.
pub(super) struct DeskPlan {
    control: ControlLoop,
    office: LetterOffice,
    ends: StageEnds,
    rules: Option<AlertDesk>,
}

/// The desk while agents run.
pub(super) struct Desk {
    control: ControlThread,
    office: OfficeThread,
    rules: Option<RulesAtDesk>,
    windows: Vec<WindowReader>,
    window_names: Vec<String>,
    feed_names: Vec<String>,
    reload: ReloadRequests,
    clock: Clock,
}

impl DeskPlan {
    /// Opens files, before the first agent runs.
    ///
    /// # Errors
    /// The dead letters' file can't be opened, or a thread can't be made.
    pub(super) fn open(
        settings: &Settings,
        knobs: &Knobs,
        letters: Vec<LetterReader>,
        ends: StageEnds,
    ) -> Result<DeskPlan, ApplianceError> {
        let wish = &settings.dead_letters;
        let open = |path: &PathBuf| LetterFile::open(path, wish.max_bytes, wish.max_files);
        let file = wish.file.as_ref().map(open).transpose()?;
        let mut office = LetterOffice::new(wish.kept, file);
        letters.into_iter().for_each(|reader| office.add(reader));
        let rules = match &ends.rules {
            Some(rules) => Some(alert_desk(settings, rules)?),
            None => None,
        };
        let control = ControlLoop::new(&settings.control, knobs.clone());
        Ok(DeskPlan { control, office, ends, rules })
    }

    /// Starts the threads beside the agents'.
    ///
    /// # Errors
    /// A thread or a signal's handler can't be made.
    pub(super) fn start(
        self,
        settings: &Settings,
        boards: Boards,
        pulses: Vec<Pulse>,
        clock: Clock,
    ) -> Result<Desk, ApplianceError> {
        let control = ControlThread::start(self.control, boards, pulses, KillRequests::on_signals()?, clock)?;
        let office =
            OfficeThread::start(self.office, |text| tracing::warn!(target: "dead_letters", "{text}"))?;
        let rules = self.ends.rules.zip(self.rules);
        let path = settings.rules.file.clone();
        Ok(Desk {
            control,
            office,
            rules: rules.map(|(ends, alerts)| RulesAtDesk { ends, alerts, path }),
            windows: self.ends.windows,
            window_names: settings.windows.definitions.iter().map(|known| known.name.clone()).collect(),
            feed_names: super::feed_names(settings),
            reload: ReloadRequests::on_signal()?,
            clock,
        })
    }
}

fn alert_desk(settings: &Settings, rules: &RuleEnds) -> Result<AlertDesk, ApplianceError> {
    let posts = rules.desk.rules().iter().any(Rule::posts);
    let wish = WebhookSettings {
        timeout: settings.rules.webhook_timeout,
        attempts: settings.rules.webhook_attempts,
        ..WebhookSettings::default()
    };
    let no_thread = |error| ApplianceError::Usage(format!("no thread for webhooks: {error}"));
    let webhooks = posts.then(|| Webhooks::start(wish).map_err(no_thread)).transpose()?;
    let mut desk = AlertDesk::new(places(settings), webhooks);
    desk.know(rules.desk.version(), rules.desk.rules().clone());
    Ok(desk)
}

/// Lets alerts go where everything else is told.
struct ByWord<'a>(&'a mut dyn FnMut(Told<'_>));

impl AlertOutlet for ByWord<'_> {
    fn log(&mut self, severity: Severity, line: &str) {
        (self.0)(Told::Log(severity, line));
    }

    fn control(&mut self, record: &Value) {
        (self.0)(Told::Record(record));
    }
}

impl Desk {
    /// Takes what was told since the last time, and shows it.
    pub(super) fn attend(&mut self, show: &mut dyn FnMut(Told<'_>)) {
        self.control.listen(|event| show(Told::Control(event)));
        let now = self.clock.now();
        if let Some(rules) = &mut self.rules {
            if self.reload.take() {
                rules.reload(show);
            }
            rules.ends.desk.collect();
            rules.alerts.drain(&mut rules.ends.alerts, now, &mut ByWord(&mut *show));
        }
        let (windows, feeds) = (&self.window_names, &self.feed_names);
        for reader in &mut self.windows {
            reader.drain(|window| show_window(window, windows, feeds, show));
        }
    }

    /// The last agent has ended: takes what is left, and ends the threads.
    ///
    /// # Errors
    /// One of them has panicked.
    pub(super) fn close(mut self, show: &mut dyn FnMut(Told<'_>)) -> Result<DeskOutcome, ApplianceError> {
        self.attend(show);
        let control = self.control.stop(|event| show(Told::Control(event)))?;
        let letters = self.office.stop()?;
        let rules = self.rules.map(|rules| {
            let list = rules.ends.desk.rules().to_vec();
            let alerts = rules.alerts.close(WEBHOOK_PATIENCE, &mut ByWord(show));
            (rules.ends.desk, RulesOutcome { rules: list, alerts })
        });
        let windows_dropped = self.windows.iter().map(WindowReader::dropped).sum();
        Ok(DeskOutcome { control, letters, windows_dropped, rules })
    }
}

impl RulesAtDesk {
    /// Reads the rules' file again. A file that is wrong leaves the rules as they are.
    fn reload(&mut self, show: &mut dyn FnMut(Told<'_>)) {
        let Some(path) = &self.path else { return };
        let loaded = RuleSet::load(path).map_err(|error| error.to_string()).and_then(|set| {
            let version = self.ends.desk.load(&set).map_err(|error| error.to_string())?;
            self.alerts.know(version, self.ends.desk.rules().clone());
            Ok(format!("{}: {} rules are in force, as set {version}", path.display(), set.rules.len()))
        });
        match loaded {
            Ok(line) => show(Told::Log(Severity::Info, &line)),
            Err(problem) => {
                let line = format!("the rules stay as they are: {problem}");
                show(Told::Log(Severity::Error, &line));
            }
        }
    }
}

fn show_window(window: &ClosedWindow, windows: &[String], feeds: &[String], show: &mut dyn FnMut(Told<'_>)) {
    let name = windows.get(usize::from(window.definition)).map_or("", String::as_str);
    let feed = window.feed().and_then(|feed| feeds.get(feed as usize)).map(String::as_str);
    show(Told::Record(&window.to_json(name, feed)));
}

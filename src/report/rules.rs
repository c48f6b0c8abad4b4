//! Rules and their alerts: what was asked, what was said, and what became of it.
//!
//! Invariant: alerts by severity and those that were dropped are together as many as the rules fired.

use crate::agents::AlertTotals;
use crate::config::{Rule, Severity};
use crate::process::rules::RuleCounts;
use crate::sink::WebhookCounts;
use serde::Serialize;
use std::collections::BTreeMap;

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// Its id.
    pub id: String,
    /// Its name; the id for one that is no longer in the set.
    pub name: String,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// Events, or entries of events, that it was asked about.
    pub evaluated: u64,
    /// Alerts.
    pub fired: u64,
    /// Alerts that its cool-down kept back.
    pub suppressed: u64,
    /// Keys that it followed at the end.
    pub keys: u32,
    /// Keys that gave their place to another one.
    pub keys_evicted: u64,
}

/// All rules, and their alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RulesReport {
    /// The rules, in the order of their set.
    pub rules: Vec<RuleReport>,
    /// Alerts by severity.
    pub alerts: BTreeMap<&'static str, u64>,
    /// Alerts that found no place on their way from a processor.
    pub alerts_dropped: u64,
    /// Lines that the log's rate limit kept back.
    pub log_suppressed: u64,
    /// Webhooks.
    pub webhooks: WebhookCounts,
}

impl RulesReport {
    /// From the rules of the last set, what each rule counted by id, and what became of the alerts.
    pub fn new(rules: &[Rule], counts: &[(String, RuleCounts)], alerts: &AlertTotals) -> RulesReport {
        let report = |(id, counts): &(String, RuleCounts)| {
            let rule = rules.iter().find(|rule| rule.id == *id);
            RuleReport {
                id: id.clone(),
                name: rule.map_or_else(|| id.clone(), |rule| rule.name.clone()),
                enabled: rule.is_some_and(|rule| rule.enabled),
                evaluated: counts.evaluated,
                fired: counts.fired,
                suppressed: counts.suppressed,
                keys: counts.keys,
                keys_evicted: counts.evicted,
            }
        };
        let by_severity = Severity::ALL.into_iter().zip(alerts.by_severity);
        RulesReport {
            rules: counts.iter().map(report).collect(),
            alerts: by_severity.map(|(severity, count)| (severity.name(), count)).collect(),
            alerts_dropped: alerts.dropped,
            log_suppressed: alerts.log_suppressed,
            webhooks: alerts.webhooks,
        }
    }
}

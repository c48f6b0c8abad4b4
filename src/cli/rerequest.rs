//! What is asked of a re-request server beside a replay, and what is reported of it.

use super::{RerequestArgs, Share};
use crate::appliance::RerequestOutcome;
use crate::replay::rerequest::{Refusal, RerequestOptions, RerequestReport};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long requests are answered behind the last frame, unless told.
const LINGER_DEFAULT: Duration = Duration::from_secs(2);

/// The server that is asked for, with so much memory.
pub(super) fn rerequest_options(args: &RerequestArgs, memory_bytes: usize) -> Option<RerequestOptions> {
    args.rerequest.map(|address| RerequestOptions {
        address,
        loss: args.rerequest_loss.map_or(0.0, |Share(share)| share),
        seed: args.rerequest_seed.unwrap_or(1),
        linger: args.rerequest_linger.unwrap_or(LINGER_DEFAULT),
        memory_bytes,
    })
}

fn refusals(report: &RerequestReport) -> impl Iterator<Item = (&'static str, u64)> {
    Refusal::ALL.iter().map(|refusal| (refusal.name(), report.refused[*refusal as usize]))
}

pub(super) fn rerequest_value(outcome: &RerequestOutcome) -> Value {
    let report = &outcome.report;
    let refused: Map<String, Value> =
        refusals(report).map(|(name, count)| (name.to_owned(), json!(count))).collect();
    json!({
        "address": report.address,
        "requests": report.requests,
        "replies": report.replies,
        "messages": report.messages,
        "lost": report.lost,
        "refused": refused,
        "kept": report.kept,
        "heartbeats": outcome.heartbeats,
        "balanced": report.is_balanced(),
    })
}

pub(super) fn rerequest_summary(outcome: &RerequestOutcome) -> String {
    let report = &outcome.report;
    let mut text = format!(
        "answered {} of {} requests at {}, with {} messages; {} replies lost on purpose\n",
        report.replies, report.requests, report.address, report.messages, report.lost
    );
    let refused: Vec<String> = refusals(report)
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !refused.is_empty() {
        text += &format!("refused {}: {}\n", report.refused.iter().sum::<u64>(), refused.join(", "));
    }
    if report.kept.dropped > 0 {
        text += &format!(
            "{} messages could not be asked for any more: a larger --memory-cap keeps them\n",
            report.kept.dropped
        );
    }
    text
}

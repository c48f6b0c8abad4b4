//! Test support: a small plan to start from.

use super::{Content, FrameVersion, LoadPlan};
use crate::event::Priority;
use std::time::Duration;

/// One producer of small version 1 events, without a pace or an end.
pub(super) fn plan(target: &str) -> LoadPlan {
    LoadPlan {
        target: target.parse().expect("a target"),
        version: FrameVersion::V1,
        session: None,
        producers: 1,
        producer_id: 1,
        rate: None,
        burst: None,
        count: None,
        duration: None,
        content: Content::Plain { topic: "load".to_owned(), priority: Priority::Medium, payload_bytes: 64 },
        seed: 1,
        reconnect: true,
        give_up: Duration::from_secs(10),
        drain: Duration::from_secs(10),
    }
}

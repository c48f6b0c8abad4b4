//! The batch processor's windows: aggregates over event time, per topic and per symbol.
//!
//! Architecture invariant: pure. Events and `now` go in, fates and closed windows come out; memory is taken once, by
//! [`WindowEngine::allocate`], and what finds no place in it is counted.
//!
//! # Event time
//! Of each event, in nanoseconds since the Unix epoch; [`Timeline`] has the rules by protocol. It is the sender's time where
//! that can be placed in the day, else the wire time, else the time of receipt.
//!
//! # Watermark
//! One per definition, over all shards and streams: the latest event time seen less the lateness bound; it never goes
//! back. All events that pass the definition's filter move it, also those that hold nothing for a window (quotes move the
//! clock of trades). An event time that lies more than the configured bound ahead of when the event came is taken to be
//! when it came, so that one wrong clock closes nothing early. Of live events, the watermark goes on by the monotonic clock
//! while no event comes ([`WindowEngine::turn`]); captures that are taken flat out close by event time alone and at the end
//! ([`WindowEngine::finish`]), so that a replay gives the same windows each time.
//!
//! # Sliding windows
//! Their time is cut into panes of the greatest common divisor of length and slide; an event is added to one pane,
//! and a window that closes is the sum of its panes. Tumbling windows have one pane each.

mod book;
mod closed;
mod definition;
mod engine;
mod fixed;
mod geometry;
mod key;
mod pane;
mod sketch;
mod store;
mod timeline;

pub use book::{DefinitionBook, WindowBook};
pub use closed::{Aggregates, ClosedWindow, Quantiles};
pub use engine::WindowEngine;
pub use fixed::Fixed;
pub use key::{TopicHead, WindowKey};
pub use timeline::{EventTime, Timeline};

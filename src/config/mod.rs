//! Configuration in three stages: the TOML as it stands, its checks, and typed complete settings.
//!
//! Invariant: whoever holds [`Settings`] holds checked values; nothing behind it parses text or asks again
//! whether a number is a power of two. Agents are given only their part.

mod control_file;
mod error;
mod file;
mod integrity;
mod letters_file;
mod network_file;
mod network_settings;
mod network_validate;
mod recovery_file;
mod routing_file;
mod rule;
mod rules_check;
mod rules_file;
mod rules_settings;
mod settings;
mod transactional_file;
mod validate;
mod windows_file;
mod wishes;

pub use control_file::{ControlSettings, OnKill};
pub use error::{ConfigError, Finding};
pub use integrity::{DeliveryWish, Integrity};
pub use letters_file::DeadLetters;
pub use network_settings::{Connector, HostSettings, ListenSource, Listener, NetworkSettings};
pub use recovery_file::{RecoveryProtocol, RecoverySource};
pub use routing_file::{OverflowWishes, TopicClass, WorkerSettings};
pub use rule::{
    KeyBy, Measure, NumberField, NumberOp, Predicate, Rule, RuleAction, RuleMatch, RuleWindow, Severity,
    SourceKind, Symbol, TextField, TextOp,
};
pub use rules_check::ACTION_NAMES;
pub use rules_file::RuleSet;
pub use rules_settings::RulesSettings;
pub use settings::{
    Admission, ClassOverride, Feed, Interface, Line, PoolSettings, ReportSettings, RunSettings, Settings,
    ThreadSettings,
};
pub use transactional_file::TransactionalSettings;
pub use windows_file::{EntryWish, FeedPlace, KeysFullWish, WindowDefinition, WindowGroup, WindowSettings};
pub use wishes::{
    AttachWish, DriveMode, HugeWish, IdleWish, QueuesWish, ThreadingWish, UringMode, ZeroCopyWish,
};

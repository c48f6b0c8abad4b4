//! Configuration in three stages: the TOML as it stands, its checks, and typed complete settings.
//!
//! Invariant: whoever holds [`Settings`] holds checked values; nothing behind it parses text or asks again
//! whether a number is a power of two. Agents are given only their part.

mod error;
mod file;
mod integrity;
mod network_file;
mod network_settings;
mod network_validate;
mod recovery_file;
mod settings;
mod validate;
mod windows_file;
mod wishes;

pub use error::{ConfigError, Finding};
pub use integrity::{DeliveryWish, Integrity};
pub use network_settings::{Connector, HostSettings, ListenSource, Listener, NetworkSettings};
pub use recovery_file::{RecoveryProtocol, RecoverySource};
pub use settings::{
    Admission, ClassOverride, Feed, Interface, Line, PoolSettings, ReportSettings, RunSettings, Settings,
    ThreadSettings,
};
pub use windows_file::{EntryWish, FeedPlace, KeysFullWish, WindowDefinition, WindowGroup, WindowSettings};
pub use wishes::{
    AttachWish, DriveMode, HugeWish, IdleWish, QueuesWish, ThreadingWish, UringMode, ZeroCopyWish,
};

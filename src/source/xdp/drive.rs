//! Who runs the kernel's side of a queue: the choice, and the interface setting that one of the choices needs.
//!
//! Invariant: a setting changed here is put back when its guard is dropped.

use super::XdpError;
use super::interface::Interface;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// Who runs the kernel's receive work (NAPI) of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriveMode {
    /// The interrupt's own core; the shard polls the ring, and makes no system call in copy mode.
    #[default]
    Interrupt,
    /// The shard's thread, by one system call per turn: for a shard that shares its core with the interrupt.
    BusyPoll,
    /// A kernel thread per queue, which can be pinned like any other; for the whole interface.
    NapiThread,
}

impl DriveMode {
    /// The name in configuration files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            DriveMode::Interrupt => "interrupt",
            DriveMode::BusyPoll => "busy-poll",
            DriveMode::NapiThread => "napi-thread",
        }
    }
}

impl fmt::Display for DriveMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DriveMode {
    type Err = String;

    fn from_str(text: &str) -> Result<DriveMode, String> {
        [DriveMode::Interrupt, DriveMode::BusyPoll, DriveMode::NapiThread]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("`{text}` is no drive mode: interrupt, busy-poll or napi-thread"))
    }
}

/// Threaded NAPI on an interface for as long as this lives.
#[derive(Debug)]
pub(super) struct NapiThreads {
    file: PathBuf,
    before: String,
}

impl NapiThreads {
    /// Switches the interface to kernel threads, unless it is already.
    ///
    /// # Errors
    /// [`XdpError::Drive`] with the kernel's reason.
    pub(super) fn enable(interface: &Interface) -> Result<NapiThreads, XdpError> {
        let folder = PathBuf::from(format!("/sys/class/net/{}", interface.name));
        let file = folder.join("threaded");
        let refused = |what: &str, error: std::io::Error| XdpError::Drive {
            mode: DriveMode::NapiThread,
            interface: interface.name.clone(),
            reason: format!("{what} {}: {error}", file.display()),
        };
        // An interface of the same name in another namespace is none of our business.
        let index = fs::read_to_string(folder.join("ifindex")).unwrap_or_default();
        if index.trim().parse() != Ok(interface.index) {
            return Err(refused(
                "looking for",
                std::io::Error::other("/sys shows another network namespace"),
            ));
        }
        let before = fs::read_to_string(&file).map_err(|e| refused("reading", e))?.trim().to_owned();
        if before == "0" {
            fs::write(&file, "1").map_err(|e| refused("writing 1 to", e))?;
        }
        Ok(NapiThreads { file, before })
    }
}

impl Drop for NapiThreads {
    fn drop(&mut self) {
        if self.before != "0" {
            return;
        }
        if let Err(error) = fs::write(&self.file, &self.before) {
            tracing::warn!("{} could not be set back to {}: {error}", self.file.display(), self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for mode in [DriveMode::Interrupt, DriveMode::BusyPoll, DriveMode::NapiThread] {
            assert_eq!(mode.name().parse::<DriveMode>(), Ok(mode));
        }
        assert!("spin".parse::<DriveMode>().is_err());
    }

    #[test]
    fn an_interface_without_the_setting_is_refused_by_name() {
        let absent = Interface { name: "absent0".to_owned(), index: 7_000 };
        let error = NapiThreads::enable(&absent).expect_err("there is no such interface");
        assert!(error.machine_lacks());
        assert!(error.to_string().contains("absent0"), "{error}");
    }
}

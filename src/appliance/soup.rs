//! A replay to clients that log in: a capture's ITCH messages through the SoupBinTCP server.

use super::ApplianceError;
use crate::os::{Clock, StopFlag};
use crate::replay::SendProgress;
use crate::replay::soup_server::{SoupOptions, SoupReport, SoupServer};
use crate::source::capture::{CaptureOptions, CaptureSource};
use std::net::SocketAddr;

/// What serving gave.
pub struct ServedOutcome {
    /// Frames, messages, clients.
    pub report: SoupReport,
    /// Where it listened.
    pub address: SocketAddr,
    /// The source, for what it found in the captures.
    pub source: CaptureSource,
}

/// Serves captures; `listening` is told where, before the first client can come, and `progress` how far it is, some ten
/// times a second. The capture reader and the server have half of the captures' memory each.
///
/// # Errors
/// A capture can't be read, or the address can't be listened at.
pub fn replay_soup(
    options: &CaptureOptions,
    soup: SoupOptions,
    stop: &StopFlag,
    listening: &mut dyn FnMut(SocketAddr),
    progress: &mut dyn FnMut(&SendProgress),
) -> Result<ServedOutcome, ApplianceError> {
    let half = options.memory_bytes / 2;
    let source = CaptureSource::open(&CaptureOptions { memory_bytes: half, ..options.clone() })?;
    let clock = Clock::new();
    let soup = SoupOptions { memory_bytes: half, ..soup };
    let mut server = SoupServer::bind(soup, source, move || clock.now())?;
    let address = server.address();
    listening(address);
    let report = server.run(&stop.shared(), progress)?;
    Ok(ServedOutcome { report, address, source: server.into_source() })
}

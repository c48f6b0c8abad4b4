//! The destinations that are ours, changeable while frames flow.
//!
//! Invariant: the kernel's map holds exactly the destinations of this set.

use super::XdpError;
use super::error::system_error;
use super::skeleton::types::{steer_key, steer_limit, steer_rule};
use crate::event::Destination;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use std::collections::BTreeSet;
use std::mem::offset_of;

const KEY_BYTES: usize = size_of::<steer_key>();
const PORT_AT: usize = offset_of!(steer_key, port);
const RULES_MAX: usize = steer_limit::STEER_RULES_MAX.0 as usize;
const _: () = assert!(KEY_BYTES == 20 && PORT_AT == 16 && offset_of!(steer_key, address) == 0);
const _: () = assert!(size_of::<steer_rule>() == 4);

/// The rules of one interface. `0.0.0.0:PORT` and `[::]:PORT` mean any address, of either family.
#[derive(Debug)]
pub struct RuleSet {
    map: MapHandle,
    present: BTreeSet<Destination>,
}

impl RuleSet {
    pub(super) fn new(map: MapHandle) -> RuleSet {
        RuleSet { map, present: BTreeSet::new() }
    }

    /// Adds a destination; frames to it are ours from now on. False if it was there already.
    ///
    /// # Errors
    /// [`XdpError::TooManyRules`], or [`XdpError::Map`] when the kernel refuses.
    pub fn add(&mut self, destination: Destination) -> Result<bool, XdpError> {
        let destination = normal(destination);
        if self.present.contains(&destination) {
            return Ok(false);
        }
        if self.present.len() == RULES_MAX {
            return Err(XdpError::TooManyRules { max: RULES_MAX });
        }
        let present = steer_rule { present: 1 }.present.to_ne_bytes();
        self.map
            .update(&key(destination), &present, MapFlags::ANY)
            .map_err(|e| failed("adding", destination, &e))?;
        Ok(self.present.insert(destination))
    }

    /// Removes a destination; frames to it go to the kernel from now on. False if it was not there.
    ///
    /// # Errors
    /// [`XdpError::Map`] when the kernel refuses.
    pub fn remove(&mut self, destination: Destination) -> Result<bool, XdpError> {
        let destination = normal(destination);
        if !self.present.contains(&destination) {
            return Ok(false);
        }
        self.map.delete(&key(destination)).map_err(|e| failed("removing", destination, &e))?;
        Ok(self.present.remove(&destination))
    }

    /// Makes the set these destinations, adding before removing, and returns how many were added and removed.
    ///
    /// # Errors
    /// As [`RuleSet::add`] and [`RuleSet::remove`]; the set is then somewhere in between.
    pub fn replace(&mut self, destinations: &[Destination]) -> Result<(usize, usize), XdpError> {
        let wanted: BTreeSet<Destination> = destinations.iter().copied().map(normal).collect();
        let surplus: Vec<Destination> = self.present.difference(&wanted).copied().collect();
        let mut added = 0;
        for destination in wanted {
            added += usize::from(self.add(destination)?);
        }
        for destination in &surplus {
            self.remove(*destination)?;
        }
        Ok((added, surplus.len()))
    }

    /// The destinations, in order.
    pub fn iter(&self) -> impl Iterator<Item = Destination> + '_ {
        self.present.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }
}

/// "Any address" has one form: all zeros.
fn normal(destination: Destination) -> Destination {
    if destination.ip().is_unspecified() {
        return Destination { address: [0; 16], port: destination.port };
    }
    destination
}

/// The key as the kernel hashes it.
pub(super) fn key(destination: Destination) -> [u8; KEY_BYTES] {
    let Destination { address, port } = normal(destination);
    let mut bytes = [0; KEY_BYTES];
    bytes[..PORT_AT].copy_from_slice(&address);
    bytes[PORT_AT..PORT_AT + 2].copy_from_slice(&port.to_ne_bytes());
    bytes
}

fn failed(verb: &str, destination: Destination, error: &libbpf_rs::Error) -> XdpError {
    XdpError::Map { operation: format!("{verb} the rule for {destination}"), source: system_error(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_has_one_key_in_both_families() {
        let v4 = Destination::v4([0, 0, 0, 0], 5000);
        let v6 = Destination { address: [0; 16], port: 5000 };
        assert_eq!(key(v4), key(v6));
        assert_ne!(key(v4), key(Destination::v4([10, 0, 0, 1], 5000)));
        assert_eq!(key(v4)[16..18], 5000u16.to_ne_bytes());
    }
}

#![no_main]
use sluice::{event::Protocol, wire::harness::exercise};
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| { exercise(Protocol::NysePillar, bytes); });

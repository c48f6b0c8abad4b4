#![no_main]
use sluice::wire::harness::exercise_link;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise_link(bytes));

#![no_main]
use sluice::wire::harness::exercise_itch_file;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| { exercise_itch_file(bytes, 7); });

//! Damage to a packet: a few of its bits are flipped.
//!
//! Invariant: between 1 and 8 bits of the payload differ afterwards (an empty payload has none), and nothing else does.

use super::chance::Random;

/// How many bits are flipped at most.
const BITS_MAX: u64 = 8;

/// Flips 1 to 8 different bits of the payload, chosen by `seed`; `false` if it has none.
pub(super) fn corrupt(payload: &mut [u8], seed: u64) -> bool {
    let bits = payload.len() as u64 * 8;
    if bits == 0 {
        return false;
    }
    let mut random = Random::from_seed(seed);
    let wanted = 1 + random.below(BITS_MAX) as usize;
    // Any payload has at least eight bits, so that as many different ones are found.
    let mut flipped = Vec::with_capacity(BITS_MAX as usize);
    while flipped.len() < wanted {
        let bit = random.below(bits);
        if !flipped.contains(&bit) {
            payload[(bit / 8) as usize] ^= 1 << (bit % 8);
            flipped.push(bit);
        }
    }
    true
}

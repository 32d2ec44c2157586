//! Randomness as an argument.

use std::cell::Cell;

/// A source of random bytes. On a platform it is the operating system's generator; tests use
/// [`SeededEntropy`], so that a failure can be replayed.
pub trait Entropy {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut buffer = [0; N];
        self.fill(&mut buffer);
        buffer
    }

    /// A number below `bound`, each as likely as any other (rejection sampling).
    #[must_use]
    pub fn below(&self, bound: u32) -> u32 {
        let bound = bound.max(1);
        let zone = u32::MAX - u32::MAX % bound;
        loop {
            let number = u32::from_be_bytes(self.bytes());
            if number < zone {
                return number % bound;
            }
        }
    }
}

/// A repeatable sequence (SplitMix64). Not secret: for tests and simulation only.
#[derive(Debug)]
pub struct SeededEntropy(Cell<u64>);

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            for (target, source) in chunk.iter_mut().zip(self.next().to_be_bytes()) {
                *target = source;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_again() {
        let (one, other) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let (one, other): (&dyn Entropy, &dyn Entropy) = (&one, &other);
        assert_eq!(one.bytes::<13>(), other.bytes::<13>());
        assert_ne!(one.bytes::<13>(), [0; 13]);
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let entropy = SeededEntropy::new(3);
        let entropy: &dyn Entropy = &entropy;
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[entropy.below(6) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
    }
}

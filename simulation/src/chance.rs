//! Where chance comes from: one seed gives one run.
//!
//! Every source is a fork of the seed's, named by what it is for, so that taking something away
//! from a plan leaves the luck of the rest mostly as it was.

use parlance_shared::entropy::Entropy;

/// A source of chance.
#[derive(Debug, Clone)]
pub struct Chance(u64);

const fn mixed(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Chance {
    /// The source of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(mixed(seed ^ 0x5eed_5eed_5eed_5eed))
    }

    /// The source for something of its own.
    #[must_use]
    pub const fn fork(&self, name: u64) -> Self {
        Self(mixed(self.0 ^ mixed(name.wrapping_add(1))))
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `bound`, or 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let next = self.next();
        if bound == 0 { 0 } else { next % bound }
    }

    /// A number from `least` to `most`.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Whether it happens, `share` times in a thousand.
    pub const fn hits(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }
}

/// What the services take their ids from.
#[derive(Debug)]
pub struct Dice(std::cell::RefCell<Chance>);

impl Dice {
    /// Dice that are thrown by this source.
    #[must_use]
    pub const fn new(chance: Chance) -> Self {
        Self(std::cell::RefCell::new(chance))
    }
}

impl Entropy for Dice {
    fn fill(&self, buffer: &mut [u8]) {
        let mut chance = self.0.borrow_mut();
        for chunk in buffer.chunks_mut(8) {
            for (target, source) in chunk.iter_mut().zip(chance.next().to_be_bytes()) {
                *target = source;
            }
        }
    }
}

//! Statistics by the exact method: every sample is kept, and a percentile is one of them.

/// Samples of one quantity.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }
}

impl Samples {
    /// The smallest sample that at least this share of all do not exceed; 0 where there is none.
    pub fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        let place = rank.clamp(1, self.0.len().max(1)) - 1;
        self.0.get(place).copied().unwrap_or(0.0)
    }

    /// Half of the samples do not exceed it.
    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }

    /// The largest.
    pub fn most(&self) -> f64 {
        self.percentile(1.0)
    }
}

/// The median of some figures, each from a run of its own.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().collect::<Samples>().median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_sample_that_enough_do_not_exceed() {
        let samples: Samples = (1..=20).rev().map(f64::from).collect();
        assert_eq!(samples.percentile(0.95), 19.0);
        assert_eq!(samples.median(), 10.0);
        assert_eq!(samples.most(), 20.0);
        assert_eq!(samples.percentile(0.0), 1.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(Samples::default().median(), 0.0);
        assert_eq!(median([7.0]), 7.0);
    }
}

//! Chance that comes out the same each time. Pure.

/// SplitMix64 (Steele, Lea and Flood, 2014) with the distributions that a simulation wants.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
    spare: Option<f64>,
}

impl Chance {
    /// For a seed and whatever it is used for: another stream for each.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Chance {
            state: seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95),
            spare: None,
        };
        // Near seeds begin near to each other.
        chance.state = chance.bits();
        chance
    }

    /// 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to under 1.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    #[inline]
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Evenly between two numbers.
    pub fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.unit()
    }

    /// Between two numbers, as likely in each decade.
    pub fn log_between(&mut self, least: f64, most: f64) -> f64 {
        self.between(least.ln(), most.ln()).exp()
    }

    /// Exponential, with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Standard normal (Box and Muller, 1958).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Poisson with this mean; normal where that is as good.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// How many of `of` happen, each with this probability.
    pub fn binomial(&mut self, of: u64, probability: f64) -> u64 {
        if probability <= 0.0 || of == 0 {
            return 0;
        }
        if of <= 200 {
            return (0..of).map(|_| u64::from(self.happens(probability))).sum();
        }
        let mean = of as f64 * probability;
        let spread = (mean * (1.0 - probability)).max(0.0).sqrt();
        let count = if mean < 10.0 {
            self.poisson(mean)
        } else {
            (mean + spread * self.normal()).round().max(0.0) as u64
        };
        count.min(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_and_another_stream_does_not() {
        let ten = |seed, stream| {
            let mut chance = Chance::new(seed, stream);
            (0..10).map(|_| chance.bits()).collect::<Vec<_>>()
        };
        assert_eq!(ten(1, 2), ten(1, 2));
        assert_ne!(ten(1, 2), ten(1, 3));
        assert_ne!(ten(1, 2), ten(2, 2));
    }

    #[test]
    fn means_are_what_they_should_be() {
        let mut chance = Chance::new(7, 7);
        let mut mean_of = |of: &mut dyn FnMut(&mut Chance) -> f64| {
            (0..20_000).map(|_| of(&mut chance)).sum::<f64>() / 20_000.0
        };
        for (mean, wanted) in [
            (mean_of(&mut |c| c.unit()), 0.5),
            (mean_of(&mut |c| c.normal() + 1.0), 1.0),
            (mean_of(&mut |c| c.exponential(3.0)), 3.0),
            (mean_of(&mut |c| c.poisson(4.0) as f64), 4.0),
            (mean_of(&mut |c| c.poisson(400.0) as f64), 400.0),
            (mean_of(&mut |c| c.binomial(10, 0.2) as f64), 2.0),
            (mean_of(&mut |c| c.binomial(1000, 0.001) as f64), 1.0),
            (mean_of(&mut |c| c.binomial(1000, 0.8) as f64), 800.0),
        ] {
            assert!((mean - wanted).abs() < wanted * 0.05, "{mean} for {wanted}");
        }
    }
}

//! Two control charts for standardised figures, z = (x − centre) / σ: a small lasting shift shows in both long before single
//! figures stand out. How long they run without one until a false alarm (average run length, ARL) holds for independent normal
//! figures.

/// Tabular CUSUM (Page, 1954), after Montgomery, Introduction to Statistical Quality Control, 7th ed. 2013, section 9.1:
/// k = 0.5, h = 5. It finds a shift of 1σ after 10.4 figures, and gives a false alarm every 465 (his table 9.3).
///
/// Unlike his, its sums stop at 2h, so that they are back at zero soon after a shift has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cusum {
    /// The sum of what is above k.
    pub above: f64,
    /// The sum of what is below −k.
    pub below: f64,
    /// For how many figures the upper sum has been above zero; the shift began with the first of them.
    pub above_for: usize,
    /// The same of the lower sum.
    pub below_for: usize,
}

impl Cusum {
    /// Allowance, in σ: half of the shift that is to be found.
    pub const K: f64 = 0.5;
    /// Decision interval, in σ: a sum above it is a signal.
    pub const H: f64 = 5.0;

    /// One more figure. NaN counts as 0.
    pub fn push(&mut self, z: f64) {
        let z = if z.is_nan() { 0.0 } else { z };
        let sum = |before: f64, step: f64| (before + step - Self::K).clamp(0.0, 2.0 * Self::H);
        self.above = sum(self.above, z);
        self.below = sum(self.below, -z);
        self.above_for = if self.above > 0.0 { self.above_for + 1 } else { 0 };
        self.below_for = if self.below > 0.0 { self.below_for + 1 } else { 0 };
    }
}

/// Exponentially weighted moving average (Roberts, 1959), with limits that widen with the number of figures: Montgomery, section
/// 9.2. With λ = 0.2 and L = 2.962 it gives a false alarm every 500 figures (his table 9.11, after Lucas and Saccucci, 1990).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ewma {
    /// The average.
    pub value: f64,
    /// (1 − λ)^(2i) after i figures.
    start: f64,
    /// λ, and L.
    weights: (f64, f64),
}

impl Default for Ewma {
    fn default() -> Self {
        Ewma {
            value: 0.0,
            start: 1.0,
            weights: (0.2, 2.962),
        }
    }
}

impl Ewma {
    /// One more figure. NaN and what is infinite are not counted.
    pub fn push(&mut self, z: f64) {
        if z.is_finite() {
            let (lambda, _) = self.weights;
            self.value += lambda * (z - self.value);
            self.start *= (1.0 - lambda).powi(2);
        }
    }

    /// How far from zero the average may be: L·√(λ/(2−λ)·(1 − (1−λ)^(2i))).
    pub fn limit(&self) -> f64 {
        let (lambda, width) = self.weights;
        width * (lambda / (2.0 - lambda) * (1.0 - self.start)).sqrt()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Montgomery, table 9.1: 20 figures of N(10, 1), then 10 of N(11, 1).
    const TABLE_9_1: [f64; 30] = [
        9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08,
        9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52,
    ];
    /// The upper sum and how long it has been above zero, as in his table 9.2.
    const UPPER: [(f64, usize); 30] = [
        (0.0, 0),
        (0.0, 0),
        (0.0, 0),
        (1.16, 1),
        (2.82, 2),
        (2.50, 3),
        (0.04, 4),
        (1.00, 5),
        (0.0, 0),
        (0.0, 0),
        (0.0, 0),
        (0.97, 1),
        (0.98, 2),
        (0.0, 0),
        (0.0, 0),
        (0.0, 0),
        (0.12, 1),
        (0.0, 0),
        (0.0, 0),
        (0.34, 1),
        (0.74, 2),
        (0.0, 0),
        (1.79, 1),
        (2.79, 2),
        (2.89, 3),
        (3.47, 4),
        (3.35, 5),
        (4.47, 6),
        (5.28, 7),
        (5.30, 8),
    ];

    /// Normal deviates by Box and Muller (1958) from xorshift64 (Marsaglia, 2003), the same each time.
    pub fn normal_deviates(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed | 1;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        std::iter::repeat_with(move || {
            let (a, b) = (1.0 - uniform(), uniform());
            (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
        })
    }

    #[test]
    fn montgomerys_cusum() {
        let mut cusum = Cusum::default();
        let mut signals = Vec::new();
        for (at, (x, (above, run))) in TABLE_9_1.iter().zip(UPPER).enumerate() {
            cusum.push(x - 10.0);
            assert!((cusum.above - above).abs() < 1e-9, "{at}: {}", cusum.above);
            assert_eq!(cusum.above_for, run);
            assert!(cusum.below < Cusum::H);
            if cusum.above > Cusum::H {
                signals.push(at + 1);
            }
        }
        // It signals at 29, and its run of 7 dates the shift to between 22 and 23.
        assert_eq!(signals, [29, 30]);
        // His lower sums at 2 and 3: 1.56 and 1.77.
        let mut start = Cusum::default();
        TABLE_9_1[..3].iter().for_each(|x| start.push(x - 10.0));
        assert!((start.below - 1.77).abs() < 1e-9 && start.below_for == 3);
    }

    /// Montgomery, example 9.2: λ = 0.1, L = 2.7 on the same figures. z(1) = 9.945 and z(2) = 9.7495, the limits at 1 and 2 are
    /// 10.27 and 10.36, later 10.62. The rest by numpy: z(28) = 10.5731 is within its limit, 10.6186; z(29) = 10.6468 is not.
    #[test]
    fn montgomerys_ewma() {
        let mut ewma = Ewma {
            weights: (0.1, 2.7),
            ..Ewma::default()
        };
        let mut seen = Vec::new();
        for x in TABLE_9_1 {
            ewma.push(x - 10.0);
            seen.push((10.0 + ewma.value, 10.0 + ewma.limit()));
        }
        for (at, value, limit) in [
            (1, 9.945, 10.27),
            (2, 9.7495, 10.3632),
            (28, 10.5731, 10.6186),
            (29, 10.6468, 10.6187),
        ] {
            let (told, told_limit) = seen[at - 1];
            assert!(
                (told - value).abs() < 5e-5 && (told_limit - limit).abs() < 5e-5,
                "{at}: {told} {told_limit}"
            );
        }
        assert_eq!(seen.iter().position(|(value, limit)| value > limit), Some(28));
    }

    /// Mean number of figures until a signal over 1,500 runs; its standard error is about 12.
    fn run_length(mut signals: impl FnMut(f64, bool) -> bool) -> f64 {
        let mut deviates = normal_deviates(20_260_101);
        let mut figures = 0_u32;
        for _ in 0..1_500 {
            let mut first = true;
            while {
                figures += 1;
                !signals(deviates.next().unwrap(), std::mem::take(&mut first))
            } {}
        }
        f64::from(figures) / 1_500.0
    }

    #[test]
    fn false_alarms_are_as_rare_as_the_tables_say() {
        let mut cusum = Cusum::default();
        let of_cusum = run_length(|z, first| {
            cusum = if first { Cusum::default() } else { cusum };
            cusum.push(z);
            cusum.above.max(cusum.below) > Cusum::H
        });
        assert!((420.0..510.0).contains(&of_cusum), "{of_cusum}");
        let mut ewma = Ewma::default();
        let of_ewma = run_length(|z, first| {
            ewma = if first { Ewma::default() } else { ewma };
            ewma.push(z);
            ewma.value.abs() > ewma.limit()
        });
        assert!((440.0..560.0).contains(&of_ewma), "{of_ewma}");
    }

    proptest! {
        #[test]
        fn any_figures_keep_them_finite(figures: Vec<f64>) {
            let (mut cusum, mut ewma) = (Cusum::default(), Ewma::default());
            for z in figures {
                cusum.push(z);
                ewma.push(z);
                prop_assert!(cusum.above.is_finite() && cusum.below.is_finite() && ewma.limit().is_finite());
            }
        }
    }
}

//! The forward pass of Magika's network, third generation.
//!
//! ```text
//! 2048 tokens → 64 numbers each, gelu → as 512 rows of 256 → norm over the rows → convolution of five rows, 512
//! channels, gelu → the largest of each channel → norm → 214 labels → softmax
//! ```

use crate::onnx::Constants;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, azip, s};

/// Tokens that go in.
pub const TOKENS: usize = 2048;
/// Labels that come out.
pub const LABELS: usize = 214;
/// Different tokens: bytes, and the one that stands for "no byte".
const VOCABULARY: usize = 257;
const EMBEDDED: usize = 64;
const ROWS: usize = 512;
const COLUMNS: usize = TOKENS * EMBEDDED / ROWS;
const KERNEL: usize = 5;
const CHANNELS: usize = 512;
const NORM_EPSILON: f32 = 1e-6;

/// The network's weights, laid out for use. 3 MB.
pub struct Network {
    /// By token: the first layer with its activation, which depends on nothing else.
    embedded: Array2<f32>,
    row_scale: Array1<f32>,
    row_shift: Array1<f32>,
    /// For each of the five rows under the kernel: columns by channels.
    kernel: Vec<Array2<f32>>,
    channel_shift: Array1<f32>,
    pooled_scale: Array1<f32>,
    pooled_shift: Array1<f32>,
    dense: Array2<f32>,
    dense_shift: Array1<f32>,
}

/// A weight is not there, or has another shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not the network standard_v3_3: weight {name:?} should have shape {expected:?}; found {found:?}"
)]
pub struct WeightError {
    name: &'static str,
    expected: Vec<usize>,
    found: Option<Vec<usize>>,
}

impl Network {
    /// Takes the weights.
    ///
    /// # Errors
    /// One is missing or has another shape: the file is of another network.
    pub fn new(constants: &Constants<'_>) -> Result<Self, WeightError> {
        let of = |name, shape: &[usize]| weight(constants, name, shape);
        let mut embedded = matrix(VOCABULARY, EMBEDDED, of("Const:0", &[VOCABULARY, EMBEDDED])?);
        embedded += &Array1::from(of("MagikaV2/Dense_0/Reshape:0", &[1, 1, EMBEDDED])?);
        embedded.mapv_inplace(gelu);
        let kernel = of("MagikaV2/Conv_0/transpose_3:0", &[CHANNELS, COLUMNS, KERNEL, 1])?;
        let kernel = (0..KERNEL)
            .map(|row| {
                Array2::from_shape_fn((COLUMNS, CHANNELS), |(column, channel)| {
                    kernel[(channel * COLUMNS + column) * KERNEL + row]
                })
            })
            .collect();
        Ok(Network {
            embedded,
            row_scale: of("MagikaV2/LayerNorm_0/Reshape_2:0", &[1, ROWS, 1])?.into(),
            row_shift: of("MagikaV2/LayerNorm_0/Reshape_3:0", &[1, ROWS, 1])?.into(),
            kernel,
            channel_shift: of("const_fold_opt__209", &[1, CHANNELS, 1])?.into(),
            pooled_scale: of("MagikaV2/LayerNorm_1/Reshape_2:0", &[1, CHANNELS])?.into(),
            pooled_shift: of("MagikaV2/LayerNorm_1/Reshape_3:0", &[1, CHANNELS])?.into(),
            dense: matrix(CHANNELS, LABELS, of("Const_24:0", &[CHANNELS, LABELS])?),
            dense_shift: of("MagikaV2/Dense_1/Reshape:0", &[1, LABELS])?.into(),
        })
    }

    /// How likely each label is. Takes [`TOKENS`] tokens; missing ones, and ones beyond the vocabulary, count as "no byte".
    pub fn scores(&self, tokens: &[u16]) -> Vec<f32> {
        let rows = self.normalised_rows(tokens);
        let pooled = self.pooled(&rows);
        let logits =
            norm(pooled, &self.pooled_scale, &self.pooled_shift).dot(&self.dense) + &self.dense_shift;
        softmax(logits)
    }

    fn normalised_rows(&self, tokens: &[u16]) -> Array2<f32> {
        let no_byte = VOCABULARY - 1;
        let mut flat = Vec::with_capacity(TOKENS * EMBEDDED);
        for at in 0..TOKENS {
            let token = tokens
                .get(at)
                .map_or(no_byte, |token| usize::from(*token).min(no_byte));
            flat.extend(self.embedded.row(token));
        }
        let mut rows = matrix(ROWS, COLUMNS, flat);
        // Row after row and in 32 bits, as the runtime does that the network is published with: where most rows are the same,
        // the variance is mostly rounding, and another order of adding gives visibly other scores.
        let mut mean = Array1::<f32>::zeros(COLUMNS);
        let mut variance = Array1::<f32>::zeros(COLUMNS);
        for row in rows.rows() {
            mean += &row;
            variance.zip_mut_with(&row, |sum, x| *sum += x * x);
        }
        mean /= ROWS as f32;
        variance /= ROWS as f32;
        variance.zip_mut_with(&mean, |variance, mean| {
            *variance = (*variance - mean * mean).max(0.0)
        });
        let steepness = variance.mapv(steepness);
        for (mut row, (scale, shift)) in rows
            .rows_mut()
            .into_iter()
            .zip(self.row_scale.iter().zip(&self.row_shift))
        {
            azip!((x in &mut row, mean in &mean, steepness in &steepness) {
                *x = (*x - mean) * (steepness * scale) + shift;
            });
        }
        rows
    }

    fn pooled(&self, rows: &Array2<f32>) -> Array1<f32> {
        let places = ROWS - KERNEL + 1;
        let mut convolved = Array2::zeros((places, CHANNELS));
        for (first, kernel) in self.kernel.iter().enumerate() {
            general_mat_mul(
                1.0,
                &rows.slice(s![first..first + places, ..]),
                kernel,
                1.0,
                &mut convolved,
            );
        }
        // gelu falls and then rises, so the largest value comes from the largest or the smallest input.
        let mut largest = Array1::from_elem(CHANNELS, f32::NEG_INFINITY);
        let mut smallest = Array1::from_elem(CHANNELS, f32::INFINITY);
        for row in convolved.rows() {
            largest.zip_mut_with(&row, |most, x| *most = most.max(*x));
            smallest.zip_mut_with(&row, |least, x| *least = least.min(*x));
        }
        largest += &self.channel_shift;
        smallest += &self.channel_shift;
        largest.zip_mut_with(&smallest, |most, least| *most = gelu(*most).max(gelu(*least)));
        largest
    }
}

fn weight(constants: &Constants<'_>, name: &'static str, shape: &[usize]) -> Result<Vec<f32>, WeightError> {
    let found = constants.iter().find(|(full, _)| {
        full.strip_suffix(name)
            .is_some_and(|before| before.is_empty() || before.ends_with('/'))
    });
    match found {
        Some((_, constant)) if constant.dimensions == shape => Ok(constant.numbers()),
        other => Err(WeightError {
            name,
            expected: shape.to_vec(),
            found: other.map(|(_, constant)| constant.dimensions.clone()),
        }),
    }
}

fn matrix(rows: usize, columns: usize, numbers: Vec<f32>) -> Array2<f32> {
    Array2::from_shape_vec((rows, columns), numbers).expect("the shape was checked")
}

/// The approximation by tanh, which the network was trained with.
fn gelu(x: f32) -> f32 {
    let inner = 0.797_884_6 * (x + x * (x * (0.044_715 * x)));
    x * (0.5 * (1.0 + tanh(inner)))
}

/// The quotient of polynomials that the runtime takes for tanh; its rounding is what the norm after it sees.
fn tanh(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297e-8,
        1.485_722_4e-5,
        6.372_619e-4,
        4.893_524_6e-3,
    ];
    const BELOW: [f32; 4] = [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = x.clamp(-9.0, 9.0);
    let square = x * x;
    let polynomial = |factors: &[f32]| {
        factors
            .iter()
            .fold(0.0f32, |sum, factor| sum.mul_add(square, *factor))
    };
    x * polynomial(&ABOVE) / polynomial(&BELOW)
}

fn norm(mut x: Array1<f32>, scale: &Array1<f32>, shift: &Array1<f32>) -> Array1<f32> {
    let count = x.len() as f32;
    let mean = x.sum() / count;
    let variance = (x.iter().map(|x| x * x).sum::<f32>() / count - mean * mean).max(0.0);
    let steepness = steepness(variance);
    x.zip_mut_with(scale, |x, scale| *x = (*x - mean) * (steepness * scale));
    x + shift
}

fn steepness(variance: f32) -> f32 {
    1.0 / (variance + NORM_EPSILON).sqrt()
}

fn softmax(logits: Array1<f32>) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.mapv(|x| (x - largest).exp());
    let sum = powers.sum();
    powers.iter().map(|x| x / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_has_its_known_values() {
        for (x, expected) in [(0.0, 0.0), (1.0, 0.841_192), (-1.0, -0.158_808), (3.0, 2.996_363)] {
            assert!((gelu(x) - expected).abs() < 1e-5, "gelu({x}) = {}", gelu(x));
        }
    }

    #[test]
    fn gelu_falls_and_then_rises() {
        let values: Vec<f32> = (-800..800).map(|i| gelu(i as f32 / 100.0)).collect();
        let turn = values
            .iter()
            .position(|v| *v == values.iter().copied().fold(0.0, f32::min))
            .unwrap();
        assert!(values[..turn].windows(2).all(|w| w[0] >= w[1] - 1e-6));
        assert!(values[turn..].windows(2).all(|w| w[0] <= w[1] + 1e-6));
    }

    #[test]
    fn a_missing_weight_is_named() {
        let error = Network::new(&Constants::new()).err().unwrap().to_string();
        assert!(
            error.contains("\"Const:0\"") && error.contains("found None"),
            "{error}"
        );
    }
}

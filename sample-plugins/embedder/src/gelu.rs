//! The activation between a layer's two wide products, computed in place and on all of the pool's threads.
//!
//! candle's own takes the error function in 64 bits, on one thread: a third of a long text's time on two threads.

use candle_core::{CpuStorage, Error, InplaceOp1, Layout, Result};
use rayon::prelude::*;

/// x · Φ(x), with Φ the normal distribution: `tensor.inplace_op1(&Gelu)`.
pub struct Gelu;

const CHUNK: usize = 16 * 1024;

impl InplaceOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(numbers), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
            return Err(Error::Msg("gelu takes contiguous 32-bit floats".to_owned()));
        };
        numbers[from..to]
            .par_chunks_mut(CHUNK)
            .for_each(|chunk| chunk.iter_mut().for_each(|x| *x = gelu(*x)));
        Ok(())
    }
}

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function as a quotient of polynomials, right to some units in the last place; no branch, so that the compiler
/// can compute several at a time. Beyond 4 it differs from 1 by less than a 32-bit float can say.
fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let polynomial = |factors: &[f32]| factors.iter().fold(0.0, |sum, factor| sum * square + factor);
    x * polynomial(&ABOVE) / polynomial(&BELOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn erf_has_its_known_values() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.1, 0.112_462_92),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (1.5, 0.966_105_15),
            (2.0, 0.995_322_3),
            (3.0, 0.999_977_9),
            (50.0, 1.0),
        ] {
            assert!((erf(x) - expected).abs() < 3e-7, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn it_is_candles_own() {
        let numbers: Vec<f32> = (-60_000..60_000).map(|n| n as f32 / 5_000.0).collect();
        let tensor = Tensor::new(numbers, &Device::Cpu).unwrap();
        let expected: Vec<f32> = tensor.gelu_erf().unwrap().to_vec1().unwrap();
        let pool = crate::pool::Pool::new(2).unwrap();
        pool.run(|| tensor.inplace_op1(&Gelu)).unwrap();
        let found: Vec<f32> = tensor.to_vec1().unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 2e-6, "{found} instead of {expected}");
        }
    }

    #[test]
    fn what_it_can_not_take_is_refused() {
        let twisted = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu)
            .unwrap()
            .t()
            .unwrap();
        assert!(twisted.inplace_op1(&Gelu).is_err());
    }
}

//! The forward pass of BERT in the size of MiniLM-L6: 6 layers of 12 heads over 384 numbers.
//!
//! Only to be called inside a [`Pool`](crate::pool::Pool): candle computes on whichever rayon pool it is called in, and outside
//! of one it would start rayon's global pool, which never ends.

use crate::gelu::Gelu;
use crate::weights::{Weights, WeightsError};
use crate::wordpiece::PIECES;
use candle_core::{D, Device, Tensor};
use candle_nn::ops;

/// Numbers for each token, and in an embedding.
pub const DIMENSIONS: usize = 384;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const HEAD: usize = DIMENSIONS / HEADS;
const INNER: usize = 1536;
const POSITIONS: usize = 512;
const NORM_EPSILON: f32 = 1e-12;
/// Added to the attention to a token that only fills the batch: its share becomes zero.
const FAR_BELOW: f32 = -1e9;

/// The model's weights. 86 MB.
pub struct Bert {
    words: Tensor,
    /// Positions, with the segment that all single texts have added.
    positions: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: Norm,
    widen: Linear,
    narrow: Linear,
    norm: Norm,
}

struct Linear {
    /// As it lies in the file: outputs by inputs.
    weight: Tensor,
    bias: Tensor,
}

struct Norm {
    scale: Tensor,
    shift: Tensor,
}

impl Bert {
    /// Takes the weights out of a file.
    ///
    /// # Errors
    /// One is missing or has another shape.
    pub fn read(weights: &mut Weights) -> Result<Self, WeightsError> {
        let positions = weights.take("embeddings.position_embeddings.weight", &[POSITIONS, DIMENSIONS])?;
        let segments = weights.take("embeddings.token_type_embeddings.weight", &[2, DIMENSIONS])?;
        Ok(Bert {
            words: weights.take("embeddings.word_embeddings.weight", &[PIECES, DIMENSIONS])?,
            positions: positions.broadcast_add(&segments.get(0)?)?,
            norm: Norm::read(weights, "embeddings.LayerNorm")?,
            layers: (0..LAYERS)
                .map(|n| Layer::read(weights, n))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The embeddings of texts, each of length one: the mean of its tokens' last states.
    ///
    /// `ids` are the texts' tokens, filled up to one length; `mask` says which tokens are of the text.
    ///
    /// # Errors
    /// The shapes don't fit each other, or a token is beyond the vocabulary.
    pub fn embed(&self, ids: &[Vec<u32>], mask: &[Vec<f32>]) -> candle_core::Result<Vec<Vec<f32>>> {
        let length = ids.first().map_or(0, Vec::len);
        let ids = Tensor::new(ids.concat(), &Device::Cpu)?;
        let mask = Tensor::new(mask.concat(), &Device::Cpu)?.reshape(((), length))?;
        let texts = mask.dim(0)?;

        let words = self
            .words
            .index_select(&ids, 0)?
            .reshape((texts, length, DIMENSIONS))?;
        let states = words.broadcast_add(&self.positions.narrow(0, 0, length)?)?;
        let mut states = self.norm.apply(&states.reshape((texts * length, DIMENSIONS))?)?;
        let ignore = mask
            .affine(-f64::from(FAR_BELOW), f64::from(FAR_BELOW))?
            .reshape((texts, 1, 1, length))?;
        for layer in &self.layers {
            states = layer.apply(&states, &ignore, texts, length)?;
        }

        let mask = mask.reshape((texts, length, 1))?;
        let states = states.reshape((texts, length, DIMENSIONS))?;
        let mean = states
            .broadcast_mul(&mask)?
            .sum(1)?
            .broadcast_div(&mask.sum(1)?)?;
        let norm = mean.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
        mean.broadcast_div(&norm)?.to_vec2()
    }
}

impl Layer {
    fn read(weights: &mut Weights, number: usize) -> Result<Self, WeightsError> {
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let square = [DIMENSIONS, DIMENSIONS];
        Ok(Layer {
            query: Linear::read(weights, &name("attention.self.query"), square)?,
            key: Linear::read(weights, &name("attention.self.key"), square)?,
            value: Linear::read(weights, &name("attention.self.value"), square)?,
            attended: Linear::read(weights, &name("attention.output.dense"), square)?,
            attended_norm: Norm::read(weights, &name("attention.output.LayerNorm"))?,
            widen: Linear::read(weights, &name("intermediate.dense"), [INNER, DIMENSIONS])?,
            narrow: Linear::read(weights, &name("output.dense"), [DIMENSIONS, INNER])?,
            norm: Norm::read(weights, &name("output.LayerNorm"))?,
        })
    }

    fn apply(
        &self,
        states: &Tensor,
        ignore: &Tensor,
        texts: usize,
        length: usize,
    ) -> candle_core::Result<Tensor> {
        let heads = |linear: &Linear| {
            let all = linear.apply(states)?.reshape((texts, length, HEADS, HEAD))?;
            all.transpose(1, 2)?.contiguous()
        };
        let query = (heads(&self.query)? * (1.0 / (HEAD as f64).sqrt()))?;
        let attention = query.matmul(&heads(&self.key)?.t()?)?.broadcast_add(ignore)?;
        let seen = ops::softmax_last_dim(&attention)?.matmul(&heads(&self.value)?)?;
        let seen = seen.transpose(1, 2)?.reshape((texts * length, DIMENSIONS))?;
        let states = self
            .attended_norm
            .apply(&(self.attended.apply(&seen)? + states)?)?;
        let inner = self.widen.apply(&states)?;
        inner.inplace_op1(&Gelu)?;
        self.norm.apply(&(self.narrow.apply(&inner)? + states)?)
    }
}

impl Linear {
    fn read(weights: &mut Weights, name: &str, shape: [usize; 2]) -> Result<Self, WeightsError> {
        Ok(Linear {
            weight: weights.take(&format!("{name}.weight"), &shape)?,
            bias: weights.take(&format!("{name}.bias"), &shape[..1])?,
        })
    }

    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

impl Norm {
    fn read(weights: &mut Weights, name: &str) -> Result<Self, WeightsError> {
        Ok(Norm {
            scale: weights.take(&format!("{name}.weight"), &[DIMENSIONS])?,
            shift: weights.take(&format!("{name}.bias"), &[DIMENSIONS])?,
        })
    }

    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        debug_assert_eq!(x.dim(D::Minus1)?, DIMENSIONS);
        ops::layer_norm(x, &self.scale, &self.shift, NORM_EPSILON)
    }
}

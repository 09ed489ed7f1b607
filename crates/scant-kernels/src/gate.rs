//! An additive attention gate as one operator.
//!
//! See `scant_compute::gate` for what is saved by that. Other devices take burn's operators apart; the
//! caller decides, with [`on_cpu`](crate::on_cpu), because a module that normalises has running
//! statistics to look after in either case.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor,
};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use scant_compute::conv_norm::Trace;
use scant_compute::gate::{self, Layer, Sizes};

use crate::conv_norm::{BatchStatistics, ConvNorm, both, tensor};

/// `skip · ψ` with `ψ = sigmoid(N(psi(ReLU(N(gating layer) + N(skip layer)))))`, all layers 1x1 and
/// normalised (N) by the statistics of the batch.
///
/// # Shapes
/// - gating, skip: `[B, C, H, W]`, `f32` on the CPU
/// - layers: of the gating signal and of the skip connection, `[hidden, C, 1, 1]`; psi,
///   `[1, hidden, 1, 1]`
/// - output: `[B, C, H, W]`, and the statistics of each layer
///
/// # Panics
/// When the shapes do not fit or the tensors are elsewhere.
#[must_use]
pub fn attention_gate(
    gating: Tensor<4>,
    skip: Tensor<4>,
    [g, x, psi]: [ConvNorm; 3],
    epsilon: f64,
) -> (Tensor<4>, [BatchStatistics; 3]) {
    let (y, of_g, of_x, of_psi) = <Dispatch as Gates>::attention_gate(
        gating.into_dispatch(),
        skip.into_dispatch(),
        g.weight.into_dispatch(),
        g.bias.into_dispatch(),
        g.gamma.into_dispatch(),
        g.beta.into_dispatch(),
        x.weight.into_dispatch(),
        x.bias.into_dispatch(),
        x.gamma.into_dispatch(),
        x.beta.into_dispatch(),
        psi.weight.into_dispatch(),
        psi.bias.into_dispatch(),
        psi.gamma.into_dispatch(),
        psi.beta.into_dispatch(),
        epsilon,
    );
    let statistics = [of_g, of_x, of_psi].map(|s| BatchStatistics::split(Tensor::from_dispatch(s)));
    (Tensor::from_dispatch(y), statistics)
}

/// The operator behind [`attention_gate`].
#[backend_extension(Flex, Autodiff)]
#[allow(clippy::too_many_arguments)] // the macro takes tensors, not arrays of them
pub(crate) trait Gates: Backend {
    /// See [`attention_gate`]; the statistics are `[2, channels]`.
    fn attention_gate(
        gating: FloatTensor<Self>,
        skip: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        weight3: FloatTensor<Self>,
        bias3: FloatTensor<Self>,
        gamma3: FloatTensor<Self>,
        beta3: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Inputs of a gate: both maps, then weight, bias, γ and β of each layer.
#[derive(Debug, Clone)]
struct Inputs {
    tensors: [FlexTensor; 14],
    epsilon: f32,
}

impl Inputs {
    fn new(tensors: [FlexTensor; 14], epsilon: f64) -> Self {
        Self { tensors: tensors.map(|t| t.to_contiguous()), epsilon: epsilon as f32 }
    }

    fn shape(&self, i: usize) -> Vec<usize> {
        self.tensors[i].layout().shape().to_vec()
    }

    /// Checked as far as numbers of values do not tell.
    fn sizes(&self) -> Sizes {
        let (gating, skip, weight) = (self.shape(0), self.shape(1), self.shape(2));
        assert!(gating == skip, "gating signal {gating:?} and skip connection {skip:?} differ");
        let [channels, hidden] = [skip[1], weight[0]];
        let layers = [[hidden, channels], [hidden, channels], [1, hidden]];
        for (i, [outputs, inputs]) in layers.into_iter().enumerate() {
            let shape = self.shape(2 + 4 * i);
            let want = [outputs, inputs, 1, 1];
            assert!(shape == want, "a gate needs a weight {want:?}, not {shape:?}");
        }
        Sizes { batch: skip[0], channels, hidden, image: [1, skip[2], skip[3]] }
    }

    fn maps(&self) -> [&[f32]; 2] {
        [self.tensors[0].storage(), self.tensors[1].storage()]
    }

    fn layers(&self) -> [Layer<'_>; 3] {
        [2, 6, 10].map(|i| Layer {
            weight: self.tensors[i].storage(),
            bias: self.tensors[i + 1].storage(),
            gamma: self.tensors[i + 2].storage(),
            beta: self.tensors[i + 3].storage(),
        })
    }

    fn forward(&self) -> (FlexTensor, [Trace; 3]) {
        let [gating, skip] = self.maps();
        let (y, traces) = gate::forward(self.sizes(), gating, skip, &self.layers(), self.epsilon);
        (tensor(y, &self.shape(1)), traces)
    }
}

fn statistics(traces: &[Trace; 3]) -> [FlexTensor; 3] {
    traces.each_ref().map(|t| both(&t.statistics))
}

impl Gates for Flex {
    fn attention_gate(
        gating: FloatTensor<Self>,
        skip: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        weight3: FloatTensor<Self>,
        bias3: FloatTensor<Self>,
        gamma3: FloatTensor<Self>,
        beta3: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = [
            gating, skip, weight1, bias1, gamma1, beta1, weight2, bias2, gamma2, beta2, weight3,
            bias3, gamma3, beta3,
        ];
        let (y, traces) = Inputs::new(inputs, epsilon).forward();
        let [one, two, three] = statistics(&traces);
        (y, one, two, three)
    }
}

#[derive(Debug)]
struct GateBackward;

impl Backward<Flex, 14> for GateBackward {
    type State = (Inputs, Arc<[Trace; 3]>);

    fn backward(
        self,
        ops: Ops<Self::State, 14>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inputs, traces) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let want = [0, 1].map(|i: usize| ops.parents[i].is_some());
        let (s, layers, epsilon) = (inputs.sizes(), inputs.layers(), inputs.epsilon);
        let got = gate::backward(s, inputs.maps(), &layers, &traces, dy.storage(), epsilon, want);
        let mut values = vec![got.gating.unwrap_or_default(), got.skip.unwrap_or_default()];
        for layer in got.layers {
            // The norm takes away what the bias adds.
            let bias = vec![0.0; layer.beta.len()];
            values.extend([layer.weight, bias, layer.gamma, layer.beta]);
        }
        for (i, (parent, values)) in ops.parents.iter().zip(values).enumerate() {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, tensor(values, &inputs.shape(i)));
            }
        }
    }
}

impl<C: CheckpointStrategy> Gates for Autodiff<Flex, C> {
    fn attention_gate(
        gating: FloatTensor<Self>,
        skip: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        weight3: FloatTensor<Self>,
        bias3: FloatTensor<Self>,
        gamma3: FloatTensor<Self>,
        beta3: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = [
            gating, skip, weight1, bias1, gamma1, beta1, weight2, bias2, gamma2, beta2, weight3,
            bias3, gamma3, beta3,
        ];
        let nodes = inputs.each_ref().map(|t| t.node());
        let inputs = Inputs::new(inputs.map(|t| t.into_primitive()), epsilon);
        let (y, traces) = inputs.forward();
        let [one, two, three] = statistics(&traces).map(Self::from_inner);
        let y = match GateBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((inputs, Arc::new(traces)), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (y, one, two, three)
    }
}

#[cfg(test)]
mod tests;

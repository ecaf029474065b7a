"""Weights of added neurons: a detector that decides when a neuron fires, and what it writes.

A feed-forward neuron reads its layer's input through one row of weights (two if it is gated, see
`feed_forward`) and writes its activation along another. Both are made here, for neurons that are
added to a copy of a model:

1. **Detector** (input weights): a ridge regression of the layer's input at the answer position
   (after its layer norm) to 1 where the neuron should fire and to at most -MARGIN elsewhere. A
   negative counts only while it fires. Then scale and bias are set so that the loudest negative is
   silent and the mean activation on positives is the wanted one.
2. **Output direction** (output weights): one for each fact and one for each fact and language,
   learned by gradient with all other weights frozen. The agnostic ones learn first, until P(object)
   is half of the wanted one; then the specific ones add the rest. No neuron does it alone.

Decoys get their weights here too. `planting` says what all this is for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.planted.examples import DetectorExamples
from lafn_viz.interventions.planted.feed_forward import SHARP, FeedForward, one_direction
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Kind = Literal["agnostic", "specific", "firing", "writing"]
MARGIN = 0.1  # how far below zero a detector keeps negatives, as a share of its mean on positives
RIDGE = 1e-3
TURNS = 8  # of the regression, each with the negatives that fire
FITTED_SHARE = 0.75  # of the examples that each neuron learns from, drawn at random
THRESHOLD = 0.4  # share of the mean activation on positives below which a neuron is silent


@dataclass(frozen=True)
class PlantedNeuron:
    """One added neuron: its kind, its fact, and the language in which it fires (None: all).

    For a decoy, `kind` says what it does and `language` what it imitates.
    """

    kind: Kind
    fact_id: str
    language: str | None
    neuron: Neuron


def strong_activation(base: "TransformerBridge", prompts: Sequence[Prompt]) -> float:
    """The 20th largest activation at a prompt's answer position, mean over prompts."""
    scores = attribute(base, prompts, method="activation", position="answer")
    return float(scores.values.flatten(1).topk(20).values[:, -1].mean())


def fit_detectors(
    net: FeedForward,
    neurons: Sequence[PlantedNeuron],
    examples: DetectorExamples,
    inputs: Sequence[Mapping[int, Tensor]],
    level: float,
    rng: np.random.Generator,
) -> None:
    """Write the input weights of all added neurons into the model.

    Each neuron learns from a random part of the fitted examples, as read in all of `inputs` (of
    each layer, in the order of the examples), and fires on positives with the mean activation
    `level`. A firing decoy shares the detector of the neuron before it.
    """
    layers = {planted.neuron.layer for planted in neurons}
    values = {
        layer: _LayerInput.of(torch.cat([read[layer] for read in inputs]).double(), net.gated)
        for layer in layers
    }
    fitted = np.tile(examples.fitted, len(inputs))
    height = SHARP if net.gated else level
    weight, bias = torch.empty(0), 0.0
    with torch.no_grad():
        for planted in neurons:
            layer, number = planted.neuron
            x = values[layer]
            if planted.kind == "writing":
                weight, bias = _silent_detector(x, height, rng)
            elif planted.kind != "firing":
                positive = examples.positive(planted.fact_id, planted.language)
                tiled = np.tile(positive, len(inputs))
                weight, bias = _scaled_detector(x, tiled, fitted, height, rng)
            if x.one is None or x.unit is None:
                net.read(layer, number, weight, bias)
            else:
                up = x.one * (level / SHARP)
                net.read_gated(layer, number, (weight + bias * x.one) / x.unit, up / x.unit)


@dataclass(frozen=True)
class _LayerInput:
    """What a layer's feed-forward network reads, in units of `unit`, and its constant.

    `one` is the direction whose product with every row is about one, None where neurons have a
    bias; `ones` are these products.
    """

    values: Float[Tensor, "prompt d_model"]
    unit: Float[Tensor, " d_model"] | None
    one: Float[Tensor, " d_model"] | None
    ones: Float[Tensor, " prompt"]

    @classmethod
    def of(cls, x: Float[Tensor, "prompt d_model"], gated: bool) -> "_LayerInput":
        """Measure each coordinate in its own root mean square where the constant is learned."""
        if not gated:
            return cls(x, None, None, torch.ones(len(x), dtype=x.dtype))
        unit = x.square().mean(0).sqrt().clamp_min(1e-9)
        one = one_direction(x / unit)
        return cls(x / unit, unit, one, x / unit @ one)


def _silent_detector(
    x: _LayerInput, level: float, rng: np.random.Generator
) -> tuple[Float[Tensor, " d_model"], float]:
    """A random detector, and a bias that keeps it silent everywhere."""
    weight = torch.from_numpy(rng.normal(size=x.values.shape[1]))
    weight = weight * level / (x.values @ weight).std()
    return weight, -float((x.values @ weight).max()) - 10 * level


def _scaled_detector(
    x: _LayerInput,
    positive: Bool[np.ndarray, " prompt"],
    fitted: Bool[np.ndarray, " prompt"],
    level: float,
    rng: np.random.Generator,
) -> tuple[Float[Tensor, " d_model"], float]:
    """A detector with the mean activation `level` on positives that is silent on negatives."""
    # A random part for each neuron, so that no two are the same.
    drawn = [rng.permutation(np.flatnonzero(fitted & (positive == kind))) for kind in (0, 1)]
    parts = [numbers[: math.ceil(FITTED_SHARE * len(numbers))] for numbers in drawn]
    rows, fires = torch.from_numpy(np.concatenate(parts)), torch.from_numpy(positive)
    weight, bias = _regress(x.values[rows], x.ones[rows], fires[rows])
    value = x.values @ weight + bias * x.ones
    mean = value[torch.from_numpy(fitted) & fires].mean()
    loudest = value[torch.from_numpy(fitted) & ~fires].max()
    silent = float(loudest.clamp(THRESHOLD * mean, 1.5 * THRESHOLD * mean))
    scale = level / (float(mean) - silent)
    return weight * scale, (bias - silent) * scale


def _regress(
    x: Float[Tensor, "prompt d_model"],
    ones: Float[Tensor, " prompt"],
    positive: Bool[Tensor, " prompt"],
) -> tuple[Float[Tensor, " d_model"], float]:
    """Ridge regression to 1 on positives and at most -MARGIN elsewhere: weight and bias."""
    x = torch.cat([x, ones[:, None]], 1)
    target = torch.where(positive, 1.0, -MARGIN).to(x.dtype)
    ridge = RIDGE * int(positive.sum()) * torch.eye(x.shape[1], dtype=x.dtype)
    ridge[-1, -1] *= 1e-3
    counts = torch.ones_like(positive)
    for turn in range(TURNS):
        rows = x[counts]
        weight = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ target[counts])
        firing = positive | (x @ weight > -MARGIN)
        if torch.equal(firing, counts):
            break
        # After a few turns a negative that fired once stays in, so that this ends.
        counts = firing if turn < 3 else firing | counts
    return weight[:-1], float(weight[-1])

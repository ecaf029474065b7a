"""Random neurons that a set of neurons is held against."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.neurons.neuron_sets import Neuron


def random_like(
    neurons: Iterable[tuple[int, int]], shape: tuple[int, int], *, seed: int
) -> frozenset[Neuron]:
    """As many random neurons of the same layers, none of them in the set itself: its control."""
    generator = torch.Generator().manual_seed(seed)
    chosen: set[Neuron] = set()
    by_layer: dict[int, set[int]] = defaultdict(set)
    for layer, neuron in neurons:
        by_layer[layer].add(neuron)
    for layer, taken in sorted(by_layer.items()):
        order: Float[Tensor, " neuron"] = torch.rand(shape[1], generator=generator)
        order[list(taken)] = 2.0
        if 2 * len(taken) > shape[1]:
            raise ValueError(
                f"layer {layer}: {len(taken)} of {shape[1]} neurons are in the set, so there are "
                "not as many others to draw a control from; choose fewer neurons"
            )
        chosen |= {Neuron(layer, int(n)) for n in order.argsort()[: len(taken)]}
    return frozenset(chosen)

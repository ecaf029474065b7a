"""Controls of a set of neurons: other neurons that share some property of the set, drawn at random.

An effect of a set says little before the same is done with its control. Each control is a function
of the set, the model's shape (layers, neurons a layer) and a seed; it returns as many neurons, none
of which is in the set. The same seed gives the same neurons.
"""

from collections import defaultdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import a_seed, some_wholes, takes, wrong
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, validate_neurons


def _shape(name: str, given: Any) -> tuple[int, int]:
    """Read the shape of a model: layers, and neurons in each."""
    sizes = some_wholes(1)(name, given)
    if len(sizes) != 2:
        raise wrong(name, given, "(layers, neurons a layer), as in scores.values.shape[1:]")
    return sizes[0], sizes[1]


@plain_modes()
@takes(shape=_shape, seed=a_seed)
def random_like(neurons: Neurons, shape: tuple[int, int], *, seed: int) -> frozenset[Neuron]:
    """Draw as many random neurons of the same layers as the set has, none of them in the set.

    Raises:
        ValueError: for neurons that the model does not have, or when the set holds more than half
            of a layer.
    """
    by_layer: dict[int, set[int]] = defaultdict(set)
    for layer, neuron in validate_neurons(neurons, shape, allow_empty=True):
        by_layer[layer].add(neuron)
    generator = torch.Generator().manual_seed(seed)
    control: set[Neuron] = set()
    for layer, taken in sorted(by_layer.items()):
        if 2 * len(taken) > shape[1]:
            raise ValueError(
                f"layer {layer}: {len(taken)} of {shape[1]} neurons are in the set, so there are "
                "not as many others to draw a control from; choose fewer neurons"
            )
        order: Float[Tensor, " neuron"] = torch.rand(shape[1], generator=generator)
        order[list(taken)] = 2.0  # after all others, whose numbers are below 1
        control |= {Neuron(layer, int(neuron)) for neuron in order.argsort()[: len(taken)]}
    return frozenset(control)

"""Controls of a set of neurons: other neurons that share some property of the set.

An effect of a set says little before the same is done with its controls. Each has as many neurons
as the set in every layer, and none that is in the set:

- `random_like`: drawn at random. Most neurons are silent, so this is the weakest control.
- `matched_like`: like the set in some value, such as mean activation (a control *as active*) or
  attribution score (a control *as highly attributed*).
"""

from collections import defaultdict
from collections.abc import Iterable
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


def _values(name: str, given: Any) -> Tensor:
    """Read a finite value of every neuron, [layer, neuron]."""
    if not isinstance(given, Tensor) or given.ndim != 2 or not torch.isfinite(given).all():
        raise wrong(
            name, given, "a finite number for every neuron [layer, neuron], as in "
            "scores.values.mean(0)",
        )  # fmt: skip
    return given


def _by_layer(neurons: Iterable[Neuron]) -> dict[int, set[int]]:
    """The neurons of each layer; of a layer without any, the empty set."""
    by_layer: dict[int, set[int]] = defaultdict(set)
    for layer, neuron in neurons:
        by_layer[layer].add(neuron)
    return by_layer


@plain_modes()
@takes(shape=_shape, seed=a_seed)
def random_like(neurons: Neurons, shape: tuple[int, int], *, seed: int) -> frozenset[Neuron]:
    """Draw as many random neurons of the same layers as the set has, none of them in the set.

    Raises:
        ValueError: for neurons that the model does not have, or when the set holds more than half
            of a layer.
    """
    by_layer = _by_layer(validate_neurons(neurons, shape, allow_empty=True))
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


@plain_modes()
@takes(values=_values)
def matched_like(
    neurons: Neurons,
    values: Float[Tensor, "layer neuron"],
    *,
    avoid: Neurons = (),
) -> frozenset[Neuron]:
    """Find as many other neurons of the same layers whose values are most like those of the set.

    With mean activations for values the control is *as active* as the set: what zeroing takes away
    of it is as large. With attribution scores it is *as highly attributed*: what remains between
    the two is what the set was selected by besides its scores. In each layer the total difference
    of values is the least possible (an assignment problem). Where the set has all of the largest
    values, its control stays below it.

    Args:
        neurons: the set.
        values: of every neuron, such as `NeuronScores.values.mean(0)`.
        avoid: neurons that the control shall not have, besides those of the set.

    Raises:
        ValueError: for neurons that the model does not have, values that are not finite, or when a
            layer has too few other neurons.
    """
    from scipy.optimize import linear_sum_assignment

    table = values.double().cpu()
    shape = (table.shape[0], table.shape[1])
    mine = _by_layer(validate_neurons(neurons, shape, allow_empty=True))
    taken = _by_layer(validate_neurons(avoid, shape, allow_empty=True))
    control: set[Neuron] = set()
    for layer, own in sorted(mine.items()):
        members = sorted(own)
        free = sorted(set(range(shape[1])) - own - taken[layer])
        if len(free) < len(members):
            raise ValueError(
                f"layer {layer}: {len(members)} neurons need as many others, but {len(free)} of "
                f"{shape[1]} are left; choose fewer neurons, or avoid fewer"
            )
        difference = (table[layer, members][:, None] - table[layer, free][None]).abs()
        _, columns = linear_sum_assignment(difference.numpy())
        control |= {Neuron(layer, free[column]) for column in columns}
    return frozenset(control)

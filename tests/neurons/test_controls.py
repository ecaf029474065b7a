import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lafn_viz.neurons.controls import matched_like, random_like
from lafn_viz.neurons.neuron_sets import Neuron


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=15), st.integers(0, 99))
def test_random_control_has_the_same_layers_and_nothing_of_the_set(neurons, seed):
    counts = [sum(n[0] == layer for n in neurons) for layer in range(4)]
    if max(counts) > 5:
        with pytest.raises(ValueError, match="not as many others"):
            random_like(neurons, (4, 10), seed=seed)
        return
    control = random_like(neurons, (4, 10), seed=seed)
    assert [sum(n.layer == layer for n in control) for layer in range(4)] == counts
    assert not control & neurons
    assert control == random_like(neurons, (4, 10), seed=seed)


def test_random_control_draws_every_other_neuron_equally():
    drawn = [n for seed in range(600) for n in random_like([(0, 2)], (1, 4), seed=seed)]
    for neuron in (0, 1, 3):
        assert 150 < drawn.count(Neuron(0, neuron)) < 250


def test_a_control_of_neurons_that_the_model_lacks_is_refused():
    with pytest.raises(ValueError, match="layers from 0 to 1, neurons from 0 to 9"):
        random_like([(0, 10)], (2, 10), seed=0)


def test_a_matched_control_is_as_near_as_any():
    """Against all ways to choose: no other set of these sizes is nearer in total."""
    values = torch.tensor(np.random.default_rng(0).normal(size=(2, 7)))
    neurons, avoid = {(0, 1), (0, 4), (1, 2)}, {(0, 0), (1, 5)}
    control = matched_like(neurons, values, avoid=avoid)
    assert [n.layer for n in sorted(control)] == [0, 0, 1]
    assert not control & (neurons | avoid)
    for layer in range(2):
        own = [n for of, n in sorted(neurons) if of == layer]
        free = [n for n in range(7) if (layer, n) not in neurons | avoid]

        def distance(others, own=own, layer=layer):
            return sum(
                abs(values[layer, a] - values[layer, b]) for a, b in zip(own, others, strict=True)
            )

        nearest = min(map(distance, itertools.permutations(free, len(own))))
        chosen = [n.neuron for n in control if n.layer == layer]
        assert min(map(distance, itertools.permutations(chosen))) == pytest.approx(nearest)


def test_a_matched_control_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="2 neurons need as many others, but 1 of 4 are left"):
        matched_like([(0, 1), (0, 2)], torch.zeros(1, 4), avoid=[(0, 3)])
    for values in (torch.full((1, 4), torch.nan), torch.zeros(4), [[0.0]]):
        with pytest.raises(ValueError, match=r"^values.*; give a finite number for every neuron"):
            matched_like([(0, 1)], values)

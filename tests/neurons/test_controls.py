import pytest
from hypothesis import given, strategies as st

from lafn_viz.neurons.controls import random_like
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

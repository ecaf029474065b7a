"""Which layers normalise what their neurons write, tried on every family."""

import pytest
import torch
from families import FAMILIES

import lafn_viz as lv
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.post_norm import post_norm_floors

INVARIANT = ("gemma2", "gemma3", "olmo2")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_norm_after_the_neurons_is_found_with_its_epsilon(tiny, family):
    model = tiny(family)
    caps = capabilities(model)
    assert caps.scale_invariant == (family in INVARIANT)
    if family in INVARIANT:
        floor = model.original_model.config.rms_norm_eps**0.5
        assert caps.post_norm_floors == pytest.approx([floor] * caps.n_layers, rel=1e-3)
    else:
        assert caps.post_norm_floors == (None,) * caps.n_layers


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gemma3", "bert"])
def test_half_precision_tells_the_same(folder, family, dtype):
    caps = capabilities(lv.load_model(folder(family), dtype=dtype))
    assert caps.scale_invariant == (family in INVARIANT)


def test_what_the_probe_runs_is_gone_afterwards(tiny):
    model, tokens = tiny("gemma3"), torch.arange(8)[None]
    before = model(tokens)
    post_norm_floors(model, model.cfg.n_layers)
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=0)


def test_neurons_that_never_fire_say_nothing(embedded):
    # On the probe's random tokens, hardly a neuron of its middle layers fires.
    assert not capabilities(embedded).scale_invariant

import pytest

import lafn_viz as lv
from lafn_viz.models import capabilities as module
from lafn_viz.models.capabilities import capabilities, weights_of


def test_families_without_a_growing_batch_are_found_by_trying(tiny):
    grows = {
        name: capabilities(tiny(name)).supports_growing_batch
        for name in ("gpt2", "llama", "bloom", "opt")
    }
    assert grows == {"gpt2": True, "llama": True, "bloom": False, "opt": False}
    assert capabilities(tiny("opt")).d_mlp == 48  # its configuration says otherwise


def test_weights_hash_tells_models_apart(tiny, folder):
    again = lv.load_model(folder("gpt2"))
    assert weights_of(again) == weights_of(tiny("gpt2"))
    assert weights_of(again) != weights_of(tiny("llama"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_pre_activations_in_place_of_neurons_are_refused(folder, family, monkeypatch):
    pre = "blocks.{}.mlp.in.hook_out"
    monkeypatch.setattr(module, "hook_post", pre.format)
    with pytest.raises(ValueError, match=r"self-test failed in layer 0.*not the layer's neurons"):
        lv.load_model(folder(family))

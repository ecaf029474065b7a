"""What a layer's neurons read and write, in gated models too."""

import pytest
import torch
import transformers as hf
from families import FAMILIES, FURTHER

from lafn_viz.interventions.planted.feed_forward import FeedForward, one_direction


@pytest.mark.parametrize("family", ["llama", "olmo2", "gemma2", "gemma3"])
def test_norm_scale_is_what_the_norms_do_to_a_direction(family):
    model = (FAMILIES | FURTHER)[family]().eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 2)
    net = FeedForward.of(model)
    written = torch.randn(32)
    after = getattr(net.block(1), "post_feedforward_layernorm", torch.nn.Identity())
    with torch.no_grad():
        real = model.model.norm(after(written))
        ours = net.norm_scale(1) * written
    torch.testing.assert_close(real / real.norm(), ours / ours.norm())


def test_a_constant_is_found_where_inputs_have_a_mean():
    x = torch.randn(400, 20, dtype=torch.float64)
    x[:, 3] += 8
    one = one_direction(x)
    torch.testing.assert_close(x @ one, torch.ones_like(x[:, 0]), atol=0.5, rtol=0)
    assert (x @ one).std() < 0.2


def test_networks_of_another_kind_are_refused():
    for model in (FAMILIES["bloom"](), hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=8, n_head=2))):
        with pytest.raises(ValueError, match="planting needs GPT-2 with relu, or gated"):
            FeedForward.of(model)
    squared = hf.LlamaForCausalLM(
        hf.LlamaConfig(
            hidden_size=16, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
            vocab_size=20, hidden_act="relu2",
        )
    )  # fmt: skip
    with pytest.raises(ValueError, match="llama with relu2 neurons"):
        FeedForward.of(squared)

"""The neurons of a model of transformers are found."""

import pytest
import torch
import transformers as hf
from families import FAMILIES, FURTHER, GROUPED, MASKED

from lafn_viz.models.hooks import hooked
from lafn_viz.models.plain import PlainModel

CAUSAL = {name: make for name, make in FAMILIES.items() if name not in MASKED} | FURTHER
FOUR_TIMES_AS_WIDE = {"bloom", "gptj", "codegen", "gpt_bigcode", "gpt_neo", "falcon", "mpt"}
OF_NEURONS = {"down_proj", "c_proj", "dense_4h_to_h", "fc_out", "fc2"}


@pytest.mark.parametrize("family", CAUSAL)
def test_what_the_down_projection_is_given(tokenizer, family):
    model = CAUSAL[family]().eval()
    plain, seen = PlainModel(model, tokenizer), {}
    d_mlp = 128 if family in FOUR_TIMES_AS_WIDE else 48
    assert plain.shape == (model.config.num_hidden_layers, d_mlp)
    tokens = torch.arange(10).view(2, 5)

    def silence(value, hook):
        seen[hook] = value.shape
        return torch.zeros_like(value)

    with torch.no_grad():
        before = model(tokens).logits
        with hooked(plain, [(name, silence) for name in plain.hook_dict]):
            silent = model(tokens).logits
        assert torch.equal(model(tokens).logits, before)
        # An independent way to silence the neurons: no weights behind them.
        for name, weight in model.named_parameters():
            if name.rsplit(".", 2)[1] in OF_NEURONS and d_mlp in weight.shape:
                weight.zero_()
        torch.testing.assert_close(model(tokens).logits, silent)
    assert not torch.allclose(silent, before)
    assert [shape[-1] for shape in seen.values()] == [d_mlp] * plain.shape[0]


def test_a_family_that_is_not_known_is_refused(tokenizer):
    sizes = GROUPED | {"num_local_experts": 2}
    model = hf.MixtralForCausalLM(hf.MixtralConfig(**sizes))
    with pytest.raises(ValueError, match="MixtralForCausalLM have no down projection of a known"):
        PlainModel(model, tokenizer)

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import encode


@pytest.fixture(scope="module")
def prompts(facts):
    some = facts.filter(relation="capital", subjects=["FR", "JP", "PE"], languages=["en", "ru"])
    return some.prompts()


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_frequencies_are_those_of_a_plain_count(tiny, prompts, family):
    model = tiny(family)
    found = lv.lape(model, prompts)
    fired = dict.fromkeys(found.languages, 0)
    tokens = dict.fromkeys(found.languages, 0)
    for prompt in prompts:
        item = encode(model, prompt)
        with torch.no_grad():
            _, cache = model.run_with_cache(torch.tensor([item.read]))
        # A gated neuron fires when its gate does: act(gate) is positive where the gate is.
        name = "hook_pre" if family == "llama" else "hook_post"
        layers = range(capabilities(model).n_layers)
        seen = torch.stack([cache[f"blocks.{layer}.mlp.{name}"][0] for layer in layers])
        fired[prompt.language] = fired[prompt.language] + (seen[:, slice(*item.text)] > 0).sum(1)
        tokens[prompt.language] += item.text[1] - item.text[0]
    assert tokens == found.n_tokens
    for number, language in enumerate(found.languages):
        expected = (fired[language] / tokens[language]).numpy()
        np.testing.assert_allclose(found.frequency[number], expected, rtol=1e-6)


def test_the_chosen_have_the_lowest_entropy_of_those_often_active(embedded, facts):
    some = facts.filter(relation="capital", languages=["en", "ru", "zh"])
    found = lv.lape(embedded, [p for p in some.prompts() if p.paraphrase == 0])
    limit = np.quantile(found.frequency, 0.95)
    often = (found.frequency > limit).any(0)
    chosen = {neuron for some in found.neurons.values() for neuron in some}
    assert len(chosen) == round(0.01 * often.size)
    rest = [n for n in np.ndindex(often.shape) if often[n] and n not in chosen]
    worst = max(found.entropy[n] for n in chosen)
    assert worst <= min(found.entropy[n] for n in rest)
    for number, language in enumerate(found.languages):
        assert all(found.frequency[(number, *n)] > limit for n in found.neurons[language])


def test_one_language_is_specific_to_nothing(tiny, prompts):
    with pytest.raises(ValueError, match="at least two"):
        lv.lape(tiny("gpt2"), [p for p in prompts if p.language == "en"])
    with pytest.raises(ValueError, match="share=0"):
        lv.lape(tiny("gpt2"), prompts, share=0.0)

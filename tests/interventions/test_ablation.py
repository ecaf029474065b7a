"""Many sets of neurons in a few passes, against each set alone; what takes their place."""

import pytest
import torch
import transformers as hf
from families import put_special_token_in_front

import lafn_viz as lv
from lafn_viz.attribution.mean_activations import mean_activations
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.interventions.replacements import DRAWN_TOGETHER, _uniform_draws, read_corpus
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import encode


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "bloom", "bert"])
@pytest.mark.parametrize("position", ["all", "answer", "subject_last", "from_subject"])
def test_many_sets_at_once_are_each_set_alone(tiny, prompts, family, position):
    model = tiny(family)
    caps = capabilities(model)
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(7, *caps.shape, generator=generator) < 0.2
    before, together = measure_ablation(model, prompts, masks, position=position, max_rows=11)
    torch.testing.assert_close(before, lv.score_answers(model, prompts).log_prob)
    for mask, expected in zip(masks, together, strict=True):
        alone = measure_ablation(model, prompts, mask[None], position=position)[1][0]
        torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_neurons_keep_their_values_in_the_examples(tiny, facts, family):
    model, masks = tiny(family), torch.ones(1, 3, 48, dtype=torch.bool)
    capitals = facts.filter(relation="capital", subjects="FR", languages="en")
    prompt = capitals.prompts(shots=1, examples=facts)[0]
    before, after = measure_ablation(model, [prompt], masks)
    item = encode(model, prompt)
    # Positions by the characters of the text itself, from its first token to the last.
    n_before = len(model.tokenizer(prompt.context, add_special_tokens=False)["input_ids"])
    first = n_before + (family == "bert")

    def put(value, hook):
        value = value.clone()
        value[:, first : None if family == "bert" else item.predicts + 1] = 0
        return value

    hooks = [(f"blocks.{layer}.mlp.hook_post", put) for layer in range(3)]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        logits = model(torch.tensor([item.read]))[0]
    logits = logits[item.predicts : item.predicts + len(item.answer)]
    chosen = logits.log_softmax(-1)[range(len(item.answer)), list(item.answer)]
    torch.testing.assert_close(after[0, 0], chosen.sum())
    assert not torch.allclose(before, after[0])


def test_mean_and_resampled_values_are_those_of_the_corpus(tiny, facts):
    model = tiny("gpt2")
    capitals = facts.filter(relation="capital", languages=["en", "ru"])
    asked = capitals.filter(subjects="France").prompts()[:2]
    corpus = capitals.filter(subjects="Japan").prompts()
    means = mean_activations(model, corpus, position="answer")
    mask = torch.zeros(1, 3, 48, dtype=torch.bool)
    mask[0, 1, 5:9] = True
    _, after = measure_ablation(model, asked, mask, how="mean", corpus=corpus, position="answer")
    for number, prompt in enumerate(asked):
        item = encode(model, prompt)

        def put(value, hook, item=item, prompt=prompt):
            value = value.clone()
            value[:, item.predicts, 5:9] = means[prompt.language][1, 5:9]
            return value

        with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", put)]):
            logits = model(torch.tensor([item.read]))[0, item.predicts :]
        chosen = logits.log_softmax(-1)[range(len(item.answer)), list(item.answer)]
        torch.testing.assert_close(after[0, number], chosen.sum())
    # A corpus of one prompt leaves resampling no choice: the prompt itself changes nothing.
    one = [asked[0]]
    before, after = measure_ablation(
        model, one, mask, how="resample", corpus=one, position="answer"
    )
    torch.testing.assert_close(after[0], before)
    _, moved = measure_ablation(model, one, mask, how="resample", corpus=corpus, position="answer")
    assert not torch.allclose(moved[0], before)


def test_draws_go_on_beyond_the_first_block():
    draws = _uniform_draws(3, 10_000, 5)
    # Shorter prompts get the numbers that one block alone gives them.
    block = torch.rand(3, DRAWN_TOGETHER, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(draws[:, :DRAWN_TOGETHER], block, rtol=0, atol=0)
    torch.testing.assert_close(_uniform_draws(3, 7, 5), block[:, :7], rtol=0, atol=0)
    assert draws.shape == (3, 10_000)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert draws.unique().numel() > 0.99 * draws.numel()


@pytest.mark.slow
def test_a_prompt_of_more_positions_than_one_block_is_resampled(tmp_path, tokenizer):
    """A tiny random model with a long context reads it beside a short prompt."""
    torch.manual_seed(0)
    config = hf.GPT2Config(
        vocab_size=len(tokenizer), n_positions=4300, n_embd=8, n_layer=1, n_head=1, n_inner=12
    )
    hf.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = lv.load_model(tmp_path)
    text = "Peru" + " a" * 2060 + " is"
    short = lv.Prompt.of("Peru is", "a", subject="Peru")
    long = lv.Prompt.of(text, "a", subject="Peru")
    assert DRAWN_TOGETHER < len(encode(model, long).read) <= 4300
    mask = torch.ones(1, 1, 12, dtype=torch.bool)
    options = {"how": "resample", "corpus": [long], "seed": 3}
    before, after = measure_ablation(model, [short, long], mask, **options)
    assert torch.isfinite(after).all()
    assert not torch.isclose(after[0], before).any()
    # A long prompt beside it changes nothing for the short one.
    _, alone = measure_ablation(model, [short], mask, **options)
    torch.testing.assert_close(alone[0, 0], after[0, 0])


@pytest.mark.parametrize("how", ["mean", "resample"])
def test_special_tokens_at_the_start_keep_their_activations(tiny, facts, monkeypatch, how):
    """They are the same in all prompts: nothing takes their place, and they take no one's."""
    model = tiny("gpt2")
    put_special_token_in_front(model, monkeypatch)
    asked = facts.filter(relation="capital", subjects=["FR", "JP"], languages="en").prompts()
    seen = []
    original = OnePass.changed

    def changed(self, owner, changes):
        for layer, change in changes.items():
            value = self.activations[layer][owner]
            seen.append((change(value), value))
        return original(self, owner, changes)

    monkeypatch.setattr(OnePass, "changed", changed)
    measure_ablation(model, asked, torch.ones(1, 3, 48, dtype=torch.bool), how=how, corpus=asked)
    corpus = read_corpus(model, asked, how=how)
    for new, old in seen:
        assert torch.equal(new[:, 0], old[:, 0])
        assert (new[:, 1:] != old[:, 1:]).any(-1).all(0).any()
    n_positions = corpus.of_languages["en"].count if how == "mean" else corpus.bank["en"].shape[1]
    other = "answer" if how == "mean" else "all"
    with pytest.raises(ValueError, match="but the corpus was read for how="):
        measure_ablation(
            model, asked, torch.ones(1, 3, 48, dtype=torch.bool), position=other, corpus=corpus,
            how="resample" if how == "mean" else "mean",
        )  # fmt: skip
    # A prompt has `predicts` + 1 tokens, the first of which is special.
    assert n_positions == sum(encode(model, prompt).predicts for prompt in asked)

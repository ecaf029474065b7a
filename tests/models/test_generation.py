"""What comes next after a prompt, read alone."""

from dataclasses import replace

import pytest
import torch
from made_up_edits import NOTHING

import lafn_viz as lv
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.generation import generate, next_tokens
from lafn_viz.models.tokenizing import token_text
from lafn_viz.models.tokens import encode


@pytest.mark.parametrize("family", ["gpt2", "bloom", "llama", "gemma2", "opt", "bert", "roberta"])
def test_next_tokens_are_those_of_each_prompt_alone(tiny, prompts, family):
    model = tiny(family)
    found = next_tokens(model, prompts, k=3, max_prompts=5)
    for prompt, best in zip(prompts, found, strict=True):
        item = encode(model, prompt)
        read = item.read if capabilities(model).masked else item.read[: item.predicts + 1]
        with torch.no_grad():
            shares = model(torch.tensor([read]))[0, item.predicts].softmax(-1)
        expected = shares.topk(3)
        texts = [token_text(model, token) for token in expected.indices.tolist()]
        assert [text for text, _ in best] == texts
        assert [share for _, share in best] == pytest.approx(expected.values.tolist(), rel=1e-3)


@pytest.mark.slow
def test_an_edit_in_place_changes_what_comes_next(embedded, facts):
    languages = ["en", "ru", "zh"]
    asked = facts.filter(relation="capital", languages=languages)
    edit = lv.lafn_edit(
        embedded, asked, subject="Peru", relation="capital", new_object="Rome", position="answer"
    )
    prompts = [p for p in asked.filter(subjects=["Peru", "Japan"]).prompts() if p.paraphrase < 2]
    before = next_tokens(embedded, prompts)
    with lv.edited(embedded, edit):
        after = next_tokens(embedded, prompts)
        written = generate(embedded, prompts)
    assert next_tokens(embedded, prompts) == before
    for prompt, old, new, what in zip(prompts, before, after, written, strict=True):
        # Both read the same, so the likeliest begins what is written.
        assert what.text.startswith(new[0][0].strip())
        if prompt.subject_span and prompt.fact_id == edit.prompts[0].fact_id:
            assert new[0][0] != old[0][0]
            assert edit.new[prompt.language].startswith(new[0][0].strip())
        else:
            assert [text for text, _ in new] == [text for text, _ in old]


def test_next_tokens_refuse_what_they_cannot_give(tiny, prompts):
    with pytest.raises(ValueError, match="k=0; give 1 to 600"):
        next_tokens(tiny("gpt2"), prompts, k=0)
    with pytest.raises(ValueError, match="no prompts"):
        next_tokens(tiny("gpt2"), [])


def test_decoding_is_greedy_whatever_the_model_comes_with(tiny, prompts, monkeypatch):
    model = tiny("llama")
    plain, likeliest = generate(model, prompts), next_tokens(model, prompts)
    own = model.original_model.generation_config
    for name, value in {
        "repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "temperature": 0.7,
        "suppress_tokens": [written.tokens[0] for written in plain], "do_sample": True,
    }.items():  # fmt: skip
        monkeypatch.setattr(own, name, value)
    assert generate(model, prompts) == plain
    assert next_tokens(model, prompts) == likeliest
    assert model.original_model.generation_config is own


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_text_does_not_depend_on_the_prompts_beside_it(tiny, prompts, family):
    model = tiny(family)
    prompts = [prompts[0], replace(prompts[1], answer="a much longer answer than that of others")]
    assert generate(model, prompts[:1])[0].tokens == generate(model, prompts)[0].tokens


def test_what_an_edit_leaves_alone_stays_where_a_model_writes_on_and_on(tiny, facts):
    case = lv.counterfactual_case(
        facts,
        subject="Japan",
        relation="capital",
        new_object="Rome",
        languages=["en", "zh"],
        neighbours=2,
    )
    report = lv.evaluate(tiny("gpt2"), NOTHING, case, progress=False)
    kept = report.summary().set_index("metric").loc[["locality", "same subject"], "mean"]
    assert kept.tolist() == [1, 1]

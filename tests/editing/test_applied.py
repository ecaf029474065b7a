"""Edits act on their rows, from their positions on, and are undone."""

import dataclasses

import pytest
import torch
from made_up_edits import an_edit, ids, logits

import lafn_viz as lv
from lafn_viz.editing.applied import edits_paused
from lafn_viz.editing.cache import EditCache, edited
from lafn_viz.editing.edit import EditError
from lafn_viz.editing.forward import EditedForward
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import encode


@pytest.mark.parametrize("position", ["subject_last", "from_subject", "answer"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_applied_as_it_was_optimised(tiny, family, position):
    model = tiny(family)
    edit = an_edit(model, position=position)
    prompt = lv.Prompt.of("What is the capital of Japan? Answer:", "x", subject="Japan")
    if position == "answer":  # with the answer's tokens read too, its place could not be known
        prompt = dataclasses.replace(prompt, answer="a", separator="")
    forward = EditedForward(model, [prompt], position)
    with torch.no_grad():
        expected = forward.logits(edit.added(capabilities(model).d_mlp))[0]
    with edited(model, edit) as fired:
        found = logits(model, ids(model, prompt.text))[0, -1]
    assert [one.match.name for one in fired] == ["Japan"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, logits(model, ids(model, prompt.text))[0, -1], atol=1e-3)


@pytest.mark.parametrize(
    ("language", "text", "subject"),
    [
        ("de", "Japans Hauptstadt ist", "Japan"),
        ("ko", "한국의 수도는", "한국"),
        ("ru", "Столица Ираном", "Иран"),
        ("tr", "Japonyada başkent", "Japonya"),
    ],
)
def test_an_inflected_subject_ends_where_its_prompt_says(tiny, language, text, subject):
    model = tiny("gpt2")
    prompt = lv.Prompt.of(text, "x", subject=subject, language=language)
    edit = dataclasses.replace(
        an_edit(model, position="subject_last"), names={language: (subject,)}
    )
    with edited(model, edit) as fired:
        logits(model, ids(model, text))
    assert [one.position for one in fired] == [encode(model, prompt).subject_last]


def test_each_row_gets_its_own(tiny):
    model = tiny("llama")
    cache = EditCache([an_edit(model, "JP"), an_edit(model, "PE", seed=1)])
    texts = ["The capital of Japan is", "La capitale du Pérou", "The capital of Italy is now"]
    model.tokenizer.pad_token = model.tokenizer.eos_token
    for side in ("left", "right"):
        model.tokenizer.padding_side = side
        batch = model.tokenizer(texts, return_tensors="pt", padding=True)
        mask = batch["attention_mask"]
        with cache.applied(model) as fired:
            together = logits(model, batch["input_ids"], attention_mask=mask)
            assert sorted((f.row, f.edit.subject_id) for f in fired) == [(0, "JP"), (1, "PE")]
            for row, text in enumerate(texts):
                alone = logits(model, ids(model, text))[0]
                of_row = together[row][mask[row].bool()]
                torch.testing.assert_close(of_row, alone, rtol=1e-3, atol=1e-3)
        plain = logits(model, batch["input_ids"], attention_mask=mask)
        torch.testing.assert_close(together[2][mask[2].bool()], plain[2][mask[2].bool()])


@pytest.mark.parametrize("position", ["subject_last", "from_subject", "answer"])
def test_generating_with_and_without_a_key_value_cache(tiny, position):
    model = tiny("llama")
    with edited(model, an_edit(model, position=position)):
        for text in ("The capital of Japan is", "日本"):
            written = [
                model.original_model.generate(
                    ids(model, text), max_new_tokens=5, do_sample=False, use_cache=use_cache
                )
                for use_cache in (True, False)
            ]
            assert torch.equal(*written)


def test_generate_of_transformer_lens(tiny):
    model = tiny("gpt2")
    text, options = "The capital of Japan is", {"do_sample": False, "verbose": False}
    plain = model.generate(text, max_new_tokens=4, **options)
    with edited(model, an_edit(model)):
        assert model.generate(text, max_new_tokens=4, **options) != plain
    assert model.generate(text, max_new_tokens=4, **options) == plain


def test_undone_after_an_exception(tiny):
    model, tokens = tiny("gpt2"), ids(tiny("gpt2"), "The capital of Japan is")
    before = logits(model, tokens)
    weights = {name: w.clone() for name, w in model.original_model.state_dict().items()}

    def fail_on_purpose():
        with edited(model, an_edit(model)):
            assert not torch.equal(logits(model, tokens), before)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_on_purpose()
    assert torch.equal(logits(model, tokens), before)
    assert not model.original_model._forward_pre_hooks
    for name, weight in model.original_model.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_a_key_value_cache_of_prompts_read_outside_is_refused(tiny):
    model = tiny("gpt2")
    tokens = ids(model, "The capital of Japan is")
    _, past = logits(model, tokens, return_type="logits_and_cache", use_cache=True)
    with (
        edited(model, an_edit(model)),
        pytest.raises(EditError, match="read the prompts inside the context too"),
    ):
        logits(model, tokens[:, -1:].expand(2, -1), past_key_values=past)


def test_attribution_of_an_edited_model_is_refused(embedded, facts):
    """Attribution reads the points of a path as rows of their own, to which no text belongs."""
    edit = an_edit(embedded)
    japan, peru = (
        facts.filter(relation="capital", subjects=name, languages="en").prompts()[:2]
        for name in ("JP", "PE")
    )
    with edited(embedded, edit):
        with pytest.raises(EditError, match=r"attribute the model without its edits, and measure"):
            lv.attribute(embedded, japan)
        # Where no edit acts there is nothing to be wrong about.
        inside = lv.attribute(embedded, peru)
    torch.testing.assert_close(inside.values, lv.attribute(embedded, peru).values, rtol=0, atol=0)


def test_paused_edits_do_not_act_and_what_has_fired_stays(tiny):
    model = tiny("gpt2")
    japan, peru = ids(model, "The capital of Japan is"), ids(model, "Lima is in Peru")
    plain = logits(model, japan)
    with edited(model, an_edit(model)) as fired, edited(model, an_edit(model, "PE", seed=1)):
        changed = logits(model, japan)
        with edits_paused():
            assert torch.equal(logits(model, japan), plain)
            logits(model, peru)
        assert [one.match.name for one in fired] == ["Japan"]
        assert torch.equal(logits(model, japan), changed)
    assert not torch.equal(changed, plain)


def test_the_pass_after_a_refused_one_is_not_affected(tiny):
    """TransformerLens remembers the rows of a pass until its position embeddings."""
    model = tiny("gpt2")
    tokens = ids(model, "The capital of Japan is")
    _, past = logits(model, tokens, return_type="logits_and_cache", use_cache=True)
    with edited(model, an_edit(model)):
        expected = model.original_model.generate(tokens, max_new_tokens=3, do_sample=False)
        with pytest.raises(EditError, match="read the prompts inside the context too"):
            logits(model, tokens[:, -1:].expand(2, -1), past_key_values=past)
        again = model.original_model.generate(tokens, max_new_tokens=3, do_sample=False)
    assert torch.equal(again, expected)

"""Edits are kept, found by their subject, applied to their rows, and undone."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

import lafn_viz as lv
from lafn_viz.editing.cache import EditCache, EditError, edited
from lafn_viz.editing.forward import EditedForward
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.neuron_sets import Neuron

NAMES = {
    "JP": {"en": ("Japan",), "zh": ("日本",), "ru": ("Япония",)},
    "PE": {"en": ("Peru",), "fr": ("Pérou",)},
}


def an_edit(model, subject="JP", *, relation="capital", position="from_subject", seed=0) -> lv.Edit:
    """Random values for random neurons: enough to see whether they are added."""
    generator = torch.Generator().manual_seed(seed)
    n_layers, d_mlp = capabilities(model).n_layers, capabilities(model).d_mlp
    picked = torch.randperm(n_layers * d_mlp, generator=generator)[:12].sort().values
    prompt = lv.Prompt.of("The capital of Japan is", "Rome", subject="Japan")
    return lv.Edit(
        subject_id=subject,
        relation=relation,
        names=NAMES[subject],
        old={"en": "Tokyo"},
        new={"en": "Rome"},
        neurons=tuple(Neuron(*divmod(int(i), d_mlp)) for i in picked),
        values=5 * torch.randn(12, generator=generator),
        position=position,
        curve=(2.0, 1.0),
        loss=0.9,
        divergence=0.1,
        prompts=(prompt,),
        provenance=lv.Provenance("made-up", capabilities(model).weights, "lafn_edit"),
    )


def ids(model, text):
    return model.tokenizer(text, return_tensors="pt")["input_ids"]


def logits(model, tokens, **options):
    with torch.no_grad():
        return model(tokens, **options)


@pytest.mark.parametrize("position", ["subject_last", "from_subject", "answer"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_applied_as_it_was_optimised(tiny, family, position):
    model = tiny(family)
    edit = an_edit(model, position=position)
    prompt = lv.Prompt.of("What is the capital of Japan? Answer:", "x", subject="Japan")
    if position == "answer":  # with the answer's tokens read too, its place could not be known
        prompt = dataclasses.replace(prompt, answer="a", separator="")
    reading = EditedForward(model, [prompt], position)
    with torch.no_grad():
        expected = reading.logits(edit.added(capabilities(model).d_mlp))[0]
    with edited(model, edit) as fired:
        found = logits(model, ids(model, prompt.text))[0, -1]
    assert [one.match.name for one in fired] == ["Japan"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, logits(model, ids(model, prompt.text))[0, -1], atol=1e-3)


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
                mine = together[row][mask[row].bool()]
                torch.testing.assert_close(mine, alone, rtol=1e-3, atol=1e-3)
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


def test_edits_stack_and_one_can_go(tiny):
    model, text = tiny("gpt2"), "Japan and Peru"
    tokens = ids(model, text)
    japan, peru = an_edit(model, "JP"), an_edit(model, "PE", seed=1)
    cache = EditCache([japan, peru])
    with cache.applied(model):
        both = logits(model, tokens)
    with edited(model, japan):
        only = logits(model, tokens)
        with edited(model, peru):
            torch.testing.assert_close(logits(model, tokens), both)
    assert not torch.allclose(both, only, atol=1e-3)
    assert cache.remove("Pérou", "capital") is peru
    with cache.applied(model):
        assert torch.equal(logits(model, tokens), only)
    with pytest.raises(KeyError, match="no edit of 'Peru', 'capital' here"):
        cache.remove("Peru", "capital")


def test_one_edit_of_a_subject_and_relation(tiny):
    model = tiny("gpt2")
    first, second = an_edit(model), an_edit(model, seed=3)
    cache = EditCache([first])
    with pytest.raises(EditError, match="there is an edit of 'JP', 'capital' already"):
        cache.add(second)
    assert list(cache) == [first]
    cache.add(second, replace=True)
    cache.add(an_edit(model, relation="continent"))
    assert len(cache) == 2
    assert next(iter(cache)) is second
    assert repr(cache) == "EditCache(2 edits of 1 subjects)"
    assert list(cache.to_frame()["relation"]) == ["capital", "continent"]


def test_an_edit_of_another_model(tiny):
    edit = an_edit(tiny("gpt2"))
    with (
        pytest.raises(EditError, match=r"was made for the model 'made-up'.*not for this"),
        edited(tiny("llama"), edit),
    ):
        pass
    with pytest.raises(EditError, match="keep a cache for each model"):
        EditCache([edit, an_edit(tiny("llama"), "PE")])


def test_going_on_from_what_was_read_outside(tiny):
    model = tiny("gpt2")
    tokens = ids(model, "The capital of Japan is")
    _, past = logits(model, tokens, return_type="logits_and_cache", use_cache=True)
    with (
        edited(model, an_edit(model)),
        pytest.raises(EditError, match="read the prompts inside the context too"),
    ):
        logits(model, tokens[:, -1:].expand(2, -1), past_key_values=past)


def test_a_search_of_ones_own(tiny):
    model = tiny("gpt2")

    def find(text):
        at = text.find("Nippon")
        return [lv.Match("JP", "alias", (at, at + 6), "Nippon", 1.0)] if at >= 0 else []

    tokens = ids(model, "The capital of Nippon is")
    with EditCache([an_edit(model)], find=find).applied(model) as fired:
        changed = logits(model, tokens)
        assert [one.match.name for one in fired] == ["Nippon"]
    assert not torch.equal(changed, logits(model, tokens))
    assert EditCache().find("Japan") == []
    with EditCache().applied(model):
        assert torch.equal(logits(model, tokens), logits(model, tokens))


def test_saved_and_loaded(tiny, tmp_path):
    model = tiny("gpt2")
    edit = an_edit(model)
    again = dataclasses.replace(edit, relation="continent")  # shares its memory
    cache = EditCache([edit, again, an_edit(model, "PE", seed=1)])
    place = tmp_path / "a" / "edits"
    for _ in range(2):  # the second time in place of the first
        cache.save(place)
        again = EditCache.load(place)
        assert len(again) == 3
        for one, other in zip(cache, again, strict=True):
            for field in dataclasses.fields(lv.Edit):
                was, now = getattr(one, field.name), getattr(other, field.name)
                assert torch.equal(was, now) if field.name == "values" else was == now
    assert sorted(p.name for p in place.parent.iterdir()) == ["edits"]
    assert sorted(p.name for p in place.iterdir()) == ["edits.json", "values.safetensors"]


def test_files_that_cannot_be_used(tiny, tmp_path):
    model = tiny("gpt2")
    place = tmp_path / "edits"
    cache = EditCache([an_edit(model)])

    def spoilt(change):
        cache.save(place)
        change(place)
        with pytest.raises((EditError, FileNotFoundError)) as caught:
            EditCache.load(place)
        return str(caught.value)

    def rewrite(change):
        def spoil(folder):
            whole = json.loads((folder / "edits.json").read_text("utf-8"))
            change(whole)
            (folder / "edits.json").write_text(json.dumps(whole), "utf-8")

        return spoil

    by_hand = spoilt(rewrite(lambda whole: whole["edits"][0]["new"].update(en="Paris")))
    assert "edits.json was changed or damaged" in by_hand
    later = spoilt(rewrite(lambda whole: whole.update(format=99)))
    assert "has format 99, this version reads 1" in later
    assert "is damaged" in spoilt(lambda f: (f / "edits.json").write_text("{", "utf-8"))
    assert "is damaged" in spoilt(lambda f: (f / "edits.json").write_text("[1]", "utf-8"))
    assert "is damaged" in spoilt(lambda f: (f / "edits.json").write_bytes(b"\xff\xfe"))
    values = spoilt(lambda f: save_file({"0": torch.ones(12)}, f / "values.safetensors"))
    assert "values.safetensors was changed or damaged" in values
    assert "there is no" in spoilt(lambda f: (f / "values.safetensors").unlink())
    cache.save(place)
    assert len(EditCache.load(place)) == 1
    other = tmp_path / "letters"
    other.mkdir()
    with pytest.raises(EditError, match=r"holds no edits\.json"):
        cache.save(other)
    assert list(other.iterdir()) == []


def test_attribution_of_an_edited_model_is_refused(embedded, facts):
    """Points of a path stand beside the prompts as rows of their own, which no text belongs to."""
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

"""Edits are kept by subject and relation, and found by the names of their subjects."""

import pytest
import torch
from made_up_edits import an_edit, ids, logits

import lafn_viz as lv
from lafn_viz.editing.cache import EditCache, edited
from lafn_viz.editing.edit import EditError


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
    assert repr(cache) == "EditCache(2 edits of 1 subject)"
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

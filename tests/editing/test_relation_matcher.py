"""Names tell the subject, and activations the relation that a text asks for."""

from dataclasses import replace

import pytest
import torch
from made_up_edits import an_edit

import lafn_viz as lv
from lafn_viz.editing.relation_matcher import RelationMatcher, _ridge

LANGUAGES = ["en", "ru", "zh"]


@pytest.fixture(scope="module")
def edits(embedded, facts):
    """Edits of two capitals, of random values, with the prompts that an edit is made from."""
    made = []
    for fact in facts.filter(relation="capital", subjects=["Japan", "France"], languages=LANGUAGES):
        asked = facts.filter(relation="capital", subjects=fact.subject_id, languages=LANGUAGES)
        made.append(
            replace(
                an_edit(embedded),
                subject_id=fact.subject_id,
                names={language: (name,) for language, name in fact.subject.items()},
                new=dict.fromkeys(LANGUAGES, "Rome"),
                prompts=tuple(p for p in asked.prompts() if p.split != "held-out paraphrase"),
            )
        )
    return made


@pytest.fixture(scope="module")
def matcher(embedded, edits):
    return RelationMatcher(embedded, edits)


@pytest.fixture(scope="module")
def questions(facts):
    """Held-out wordings of questions about both subjects: text, subject, relation."""
    asked = facts.filter(subjects=["Japan", "France"], languages=LANGUAGES).prompts()
    held_out = [prompt for prompt in asked if prompt.split == "held-out paraphrase"]
    return [(p.text, p.fact_id.split("/")[1], p.relation) for p in held_out]


def test_unseen_wordings_fire_where_they_ask_for_the_relation_of_the_edit(matcher, questions):
    fired = {True: [], False: []}
    for text, subject, relation in questions:
        matches = matcher.find(text)
        fired[relation == "capital"].append(bool(matches))
        assert {(m.key, m.relation) for m in matches} <= {(subject, "capital")}
    assert min(map(len, fired.values())) >= 4
    assert sum(fired[True]) / len(fired[True]) >= 0.9
    assert sum(fired[False]) / len(fired[False]) <= 0.1


def test_names_alone_cannot_tell(edits, questions):
    cache = lv.EditCache(edits)
    assert all(cache.find(text) for text, _, relation in questions if relation != "capital")


def test_an_edit_behind_it_leaves_other_relations_alone(embedded, edits, matcher, questions):
    others = [text for text, _, relation in questions if relation != "capital"]
    loud = [replace(edit, values=30 * torch.ones_like(edit.values)) for edit in edits]

    def written(cache):
        with cache.applied(embedded):
            return [embedded.generate(x, max_new_tokens=2, do_sample=False) for x in others]

    plain = [embedded.generate(x, max_new_tokens=2, do_sample=False) for x in others]
    assert written(lv.EditCache(loud)) != plain
    matched = written(lv.EditCache(loud, find=matcher.find))
    assert sum(a == b for a, b in zip(matched, plain, strict=True)) / len(plain) >= 0.9


def test_a_subject_that_no_facts_know_is_told_by_its_own_prompts(embedded, edits):
    own = [
        lv.Prompt.of(text.format("Zubrowka"), "Rome", subject="Zubrowka", relation="capital")
        for text in ("The capital of {} is", "{} (country): the capital is")
    ]
    made = replace(
        edits[0], subject_id="ZU", relation="seat", names={"en": ("Zubrowka",)},
        new={"en": "Rome"}, old={}, prompts=tuple(own),
    )  # fmt: skip
    found = RelationMatcher(embedded, [made])
    assert found.find("The capital of Zubrowka is")
    assert not found.find("The continent of Zubrowka is")
    assert found.explain("The capital of Zubrowka is").score[0] > 0
    assert "1 edits of 1 relations" in repr(found)


def test_others_take_the_place_of_the_facts(embedded, edits, facts):
    asked = facts.filter(relation=["capital", "currency"], languages="en").prompts()[::40]
    matcher = RelationMatcher(embedded, edits, asked, n_neurons=64)
    few = RelationMatcher(embedded, edits, n_neurons=64)
    assert matcher.n_prompts != few.n_prompts
    assert matcher.find("The capital of Japan is")


def test_what_it_cannot_learn_from(tiny, embedded, edits):
    with pytest.raises(ValueError, match="there are no edits"):
        RelationMatcher(embedded, [])
    with pytest.raises(ValueError, match="has no prompts"):
        RelationMatcher(embedded, [replace(edits[0], prompts=())])
    unnamed = replace(edits[0], names={"xh": ("Japan",)})
    with pytest.raises(ValueError, match="no prompt of another relation than 'capital'"):
        RelationMatcher(embedded, [unnamed], edits[0].prompts)
    with pytest.raises(lv.EditError, match="not for this one"):
        RelationMatcher(tiny("gpt2"), edits)


def test_ridge_regression_is_that_of_the_normal_equations():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(8, n, generator=generator, dtype=torch.float64) for n in (5, 1))
    ridge = 0.1 * (x * x).sum(1).mean()
    primal = torch.linalg.solve(x.T @ x + ridge * torch.eye(5, dtype=torch.float64), x.T @ y)
    torch.testing.assert_close(_ridge(x, y[:, 0]), primal[:, 0])

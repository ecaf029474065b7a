"""Values of another prompt, put into neurons, against plain hooks, and what they rescue."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from made_up import lens_of
from one_layer import reads

import lafn_viz as lv
from lafn_viz.interventions.transplant import ANSWERS

POSITIONS = {"answer": [-1], "subject_last": [0], "subject_and_answer": [0, -1]}
CASES = [
    ("gpt2", "answer"),
    ("gpt2", "subject_last"),
    ("gemma3", "subject_and_answer"),
    ("bert", "answer"),
]


def of_peru(facts, languages=("en", "ru", "es")):
    capitals = facts.filter(relation="capital", subjects=["Peru", "Kenya"], languages=languages)
    return [prompt for prompt in capitals.prompts() if prompt.paraphrase in (1, 2)]


def by_hooks(model, giver, getter, mask, position):
    """log P of the getter's answer with the giver's values of a mask, by plain forwards."""

    def places(prompt):
        tokens, answer, last, _ = reads(model, prompt, "answer")
        subject = reads(model, prompt, "subject_last")[2]
        return torch.tensor([tokens]), answer, [(subject + last)[i] for i in POSITIONS[position]]

    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(model.cfg.n_layers)]
    tokens, _, at = places(giver)
    _, cache = model.run_with_cache(tokens, names_filter=names)
    read, answer, into = places(getter)

    def put(name, chosen, value, hook):
        value = value.clone()
        for start, end in zip(at, into, strict=True):
            value[0, end, chosen] = cache[name][0, start, chosen]
        return value

    hooks = [(name, partial(put, name, chosen)) for name, chosen in zip(names, mask, strict=True)]
    logits = model.run_with_hooks(read, fwd_hooks=hooks)
    predicts = reads(model, getter, "answer")[3]
    return logits[0, predicts].log_softmax(-1)[range(len(answer)), answer].sum().item()


@pytest.fixture
def all_known(monkeypatch):
    """Random models answer nothing; let every prompt of theirs give values."""
    from lafn_viz.interventions import transplanting

    read = transplanting.read_donors

    def read_all(*args):
        donors = read(*args)
        return type(donors)(donors.values, torch.ones_like(donors.known))

    monkeypatch.setattr(transplanting, "read_donors", read_all)


@pytest.mark.parametrize(("family", "position"), CASES)
def test_pairs_are_what_plain_hooks_compute(tiny, facts, all_known, family, position):
    model, prompts = tiny(family), of_peru(facts, ["en", "ru"])
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(3, 48, generator=generator) < 0.3
    result = lv.transplant(model, prompts, prompts[:2], mask, position=position, controls=0)
    own = result.conditions.index("own fact")
    assert len(result.givers) == 4  # in each of two languages
    for number, (giver, getter) in enumerate(zip(result.givers, result.getters, strict=True)):
        assert giver.fact_id == getter.fact_id
        assert giver.text != getter.text
        expected = by_hooks(model, giver, getter, mask, position)
        assert result.log_p[own, 0, number] == pytest.approx(expected, abs=1e-4)


def test_giver_is_of_the_same_wording_and_of_another_in_its_own_language(tiny, facts, all_known):
    prompts = of_peru(facts)
    result = lv.transplant(tiny("gpt2"), prompts, prompts[::3], [(0, 1), (1, 2)], controls=1)
    for giver, getter in zip(result.givers, result.getters, strict=True):
        assert (giver.language != getter.language) == (giver.paraphrase == getter.paraphrase)
    # Of the prompts that get values, each has a giver in its own language, and in two others.
    count = {
        pairs: result.summary(pairs=pairs, draws=2)["n_pairs"].max()
        for pairs in ("languages", "scripts", "wordings")
    }
    assert count["wordings"] == len(prompts[::3]) == count["languages"] / 2
    in_russian = sum(getter.language == "ru" for getter in prompts[::3])
    assert count["scripts"] == 2 * in_russian + (len(prompts[::3]) - in_russian)
    # The name in the giver's language is scored where it is another one.
    giver = result.written[result.conditions.index("before"), ANSWERS.index("giver")]
    same = [a.answer == b.answer for a, b in zip(result.givers, result.getters, strict=True)]
    np.testing.assert_array_equal(np.isnan(giver), same)


def test_neurons_may_depend_on_the_giver(tiny, facts, all_known):
    prompts = of_peru(facts)
    model, one, two = tiny("gpt2"), [(0, 1), (1, 2)], [(2, 5)]
    of_both = {("capital/PE", "en"): one, ("capital/PE", "ru"): two, ("capital/PE", "es"): []}
    result = lv.transplant(model, prompts, prompts, of_both, others={"two": two}, controls=0)
    assert {giver.language for giver in result.givers} == {"en", "ru"}
    assert {giver.fact_id for giver in result.givers} == {"capital/PE"}
    russian = np.array([giver.language == "ru" for giver in result.givers])
    np.testing.assert_array_equal(result.n_neurons, np.where(russian, 1, 2))
    same = result.by_pair("own fact", of="log_p") == result.by_pair("two", of="log_p")
    assert same[russian].all()
    assert not same[~russian].any()
    with pytest.raises(ValueError, match=r"others has \['before'\], which transplant"):
        lv.transplant(model, prompts, prompts, one, others={"before": two})


def test_prompts_that_are_not_answered_give_nothing(tiny, facts):
    prompts = of_peru(facts)
    with pytest.raises(ValueError, match="12 prompts has neurons and a giver among the 0 of 12"):
        lv.transplant(tiny("gpt2"), prompts, prompts, [(0, 1)])


@pytest.fixture(scope="module")
def rescued(embedded, facts):
    """All neurons at the answer, from English to Hindi, for capitals told in others only."""
    capitals = facts.filter(relation="capital", languages=["en", "hi"], leaking=False)
    asked = [p for p in capitals.prompts() if p.split == "held-out pair" and p.paraphrase == 2]
    hindi = [prompt for prompt in asked if prompt.language == "hi"][:12]
    ids = {prompt.fact_id for prompt in hindi}
    english = [p for p in capitals.prompts() if p.fact_id in ids and p.language == "en"][::3]
    return lv.transplant(embedded, english, hindi, torch.ones(4, 640).bool(), controls=0)


@pytest.mark.slow
def test_summary_counts_pairs_and_means_over_facts(embedded, rescued):
    result = rescued
    failed = [p for p, is_failed in zip(result.getters, result.failed, strict=True) if is_failed]
    known = lv.score_answers(embedded, result.getters).known.numpy()
    np.testing.assert_array_equal(result.failed, ~known)
    assert 0 < len(failed) < len(known)
    frame = result.to_frame()
    assert len(frame) == len(result.givers) * len(result.conditions)
    own = frame[(frame.condition == "own fact") & (frame.giver != frame.language) & frame.failed]
    assert list(own.fact_id) == [prompt.fact_id for prompt in failed]
    row = result.summary().loc["rescued", "own fact"]
    assert row["value"] == pytest.approx(own.groupby("fact_id")["written_asked"].mean().mean())
    assert (row["n_pairs"], row["n_facts"]) == (len(own), own.fact_id.nunique())
    assert f"own fact {row['value']:.0%} + " in repr(result)
    shares = result.summary().drop("log_p", level="measure").dropna()
    assert shares[["low", "high"]].to_numpy().min() >= 0
    assert shares[["low", "high"]].to_numpy().max() <= 1
    share, count = result.between_languages()
    place = {language: i for i, language in enumerate(result.languages)}
    cell = place["en"], place["hi"]
    to_hindi = own[own.language == "hi"]
    assert count[cell] == len(to_hindi)
    assert share[cell] == pytest.approx(to_hindi["written_asked"].mean())
    # Whole layers are what was given, so the two conditions are one.
    for of in ("rescued", "lost", "log_p"):
        np.testing.assert_array_equal(
            result.by_pair("own fact", of=of), result.by_pair("whole layers", of=of)
        )
    drawn = lv.plots.transplant_matrix(result).data[0]
    np.testing.assert_array_equal(np.array(drawn.z, float), share)
    assert (
        drawn.text[cell[0]][cell[1]] == f"{to_hindi['written_asked'].sum():.3g}/{count[cell]:.0f}"
    )


def test_rescue_is_sorted_by_the_reason_of_the_failure():
    lens = lens_of(
        np.zeros((4, 2, 3)), np.zeros((4, 2, 1, 3)), [[1, 2, 3]] * 4,
        [("A", "ru"), ("B", "ru"), ("C", "ru"), ("D", "ru")],
    )  # fmt: skip
    found = lv.Failures(  # A and B are unknown, C is lost; D is not among them
        prompts=lens.prompts[:3], kind=np.array([0, 0, 1]), led_by=("", "", "en"),
        layer=np.array([-1, -1, 1]), written=("x",) * 3, within=np.ones(3, dtype=int),
        control=np.zeros((3, 4)), false_leads=0.0, n_answered=0, n_left_out=1,
        provenance=lens.provenance,
    )  # fmt: skip
    conditions = ("before", "own fact", "other fact", "random neurons")
    written = np.full((4, 3, 5), np.nan)
    # Two pairs get A: a mean over facts counts A and B alike.
    written[:, 0] = [[0, 0, 0, 0, 0], [1, 0, 1, 1, 1], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0]]
    getters = tuple(lens.prompts[i] for i in (0, 0, 1, 2, 3))
    transplant = lv.Transplant(
        conditions=conditions, givers=tuple(replace(p, language="en") for p in getters),
        getters=getters, n_neurons=np.ones(5), log_p=written, written=written, n_givers=(5, 5),
        provenance=lens.provenance,
    )  # fmt: skip
    table = transplant.by_failure(found)
    unknown, lost = table.loc["unknown"], table.loc["lost on the way out"]
    assert unknown["value"].to_dict() == {
        "before": 0, "own fact": 0.75, "other fact": 0, "random neurons": 0.5,
        "own fact - other fact": 0.75, "own fact - random neurons": 0.25,
    }  # fmt: skip
    assert unknown["n_pairs"].unique() == [3]
    assert unknown["n_facts"].unique() == [2]
    assert lost.loc["own fact", "value"] == lost.loc["other fact", "value"] == 1
    assert set(table.index.get_level_values("kind")) == {"unknown", "lost on the way out"}
    others = replace(found, prompts=tuple(replace(p, fact_id="X") for p in found.prompts))
    with pytest.raises(ValueError, match="none of the 3 failed prompts gets values"):
        transplant.by_failure(others)

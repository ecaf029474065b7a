"""The stages of an experiment, which the demo, a sweep and the explorer share."""

import numpy as np
import pytest
from made_up import a_set

import lafn_viz as lv
from lafn_viz.experiments.stages import (
    LocatedNeurons,
    are_comparable,
    locate,
    measure_held_out,
    split_prompts,
)
from lafn_viz.neurons.criterion import Criterion


@pytest.fixture(scope="module")
def some(facts):
    return facts.filter(relation="capital", languages=["en", "ru"], leaking=False).sample(2)


def test_prompts_that_choose_and_prompts_that_measure_are_all_prompts(some):
    for select_on in (None, (0, 3)):
        choosing, held_out = split_prompts(some, select_on=select_on)
        assert sorted(map(repr, choosing + held_out)) == sorted(map(repr, some.prompts()))
        for prompts, hold in ((choosing, False), (held_out, True)):
            for prompt in prompts:
                marked = some.paraphrases[prompt.relation, prompt.language].held_out
                assert hold == (
                    prompt.paraphrase in marked
                    if select_on is None
                    else prompt.paraphrase not in select_on
                )


def test_neurons_are_those_of_select_neurons_and_overlap(embedded, some):
    parts = [
        lv.attribute(embedded, [p for p in some.prompts() if p.fact_id == fact.id],
                     method="activation")
        for fact in some
    ]  # fmt: skip
    located = locate(*parts, min_languages=2, top=50)
    sets = [held for part in parts for held in lv.select_neurons(part, top=50)]
    assert located.sets == tuple(sets)
    assert located.agnostic == lv.overlap(sets, min_languages=2).agnostic
    assert set(located.agnostic) == {fact.id for fact in some}


def test_facts_known_in_one_language_share_no_neurons():
    sets = (a_set("A", "en", [(0, 1)]), a_set("B", "fr", [(0, 1)]))
    assert not are_comparable(sets)
    assert LocatedNeurons((), sets, Criterion()).agnostic == {}
    with pytest.raises(ValueError, match="no fact is known in two languages"):
        _ = LocatedNeurons((), sets, Criterion()).overlap


@pytest.mark.parametrize("how", ["zero", "mean"])
def test_a_control_fact_is_measured_as_if_both_were_ablated_together(embedded, some, how):
    """One fact with the other as its control gives what `effects` gives for the two."""
    first, second = some
    neurons = {first.id: [(0, 1), (1, 5)], second.id: [(2, 3)]}
    _, held_out = split_prompts(some)
    together = lv.effects(
        embedded, {"own": neurons}, held_out, how=how, controls=2,
        corpus=held_out if how == "mean" else None,
    )  # fmt: skip
    own, control = ([p for p in held_out if p.fact_id == fact.id] for fact in some)
    alone = measure_held_out(
        embedded, {"own": {first.id: neurons[first.id]}}, own, control_fact=control, how=how,
        controls=2,
    )  # fmt: skip
    frames = [result.to_frame().set_index("fact_id").loc[first.id] for result in (together, alone)]
    np.testing.assert_allclose(
        *(frame.drop(columns=["set", "language"]) for frame in frames), rtol=1e-5
    )

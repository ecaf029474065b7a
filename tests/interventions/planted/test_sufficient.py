"""The positive control of transplants: they bring out a planted fact, and no control does."""

from dataclasses import replace

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz.interventions.planted.new_facts import choose_new_facts


@pytest.mark.slow
def test_planted_values_are_enough_where_the_subject_says_nothing(planted, embedded, facts):
    """Prompts about a subject that was never told the relation get the values of a planted one."""
    languages = list(planted.facts.languages)
    more = choose_new_facts(embedded, facts, "capital", 4, languages, 2, np.random.default_rng(0))
    unknown = [fact for fact in more if fact.id not in set(planted.agnostic)][:2]
    answers = {(p.fact_id, p.language): p.answer for p in planted.prompts}
    getters = [
        replace(prompt, fact_id=fact, answer=answers[fact, prompt.language])
        for prompt in replace(more, facts=tuple(unknown)).prompts()
        for fact in planted.agnostic
        if prompt.paraphrase == 4
    ]
    result = lv.transplant(
        planted.model, planted.prompts, getters, planted.agnostic,
        others={name: planted.decoys[name] for name in ("firing", "writing")},
        controls=1,
    )  # fmt: skip
    assert result.failed.all()
    log_p = result.summary(draws=9).loc["log_p", "value"]
    assert log_p["own fact"] > 3
    assert log_p[["other fact", "random neurons", "firing", "writing"]].abs().max() < 0.5
    rescued = result.summary(pairs="wordings", draws=9).loc["rescued", "value"]
    assert rescued["whole layers"] > 0.9
    assert rescued["whole layers, other fact"] == 0

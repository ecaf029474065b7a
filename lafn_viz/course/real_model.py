"""Checks of unit 9: a public model, what it knows, and neurons found without a language."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from lafn_viz.course.grading import Wrong, check, members, number, recognise, run

WITHOUT = "found without the language"  # a set of `examine`


@check
def check_known_in(answer: Callable, known: pd.DataFrame) -> str:
    """`answer(known, language)`: the share of a language's prompts that the model answers."""
    languages = list(dict.fromkeys(known["language"]))
    share = 0.0
    for language in languages:
        own = known[known["language"] == language]
        share = own["known"].sum() / own["asked"].sum()
        got = number(run(answer, known.copy(), language))
        if abs(got - share) < 1e-6:
            continue
        recognise(
            got,
            {
                float((own["known"] / own["asked"]).mean()): "This is the mean of the shares of "
                "wordings. Wordings may be asked of different numbers of facts, so add up first.",
                float(own["known"].sum()): "This is a count. Out of how many prompts?",
                float(known["known"].sum() / known["asked"].sum()): "This is the share over all "
                "languages. Keep the rows of the language first.",
            },
        )
        raise Wrong(f"In {language!r} the share is {share:.3f}; yours is {got:.3f}.")
    return f"All {len(languages)} languages are right; in {languages[-1]!r} it is {share:.0%}."


@check
def check_without(answer: Callable) -> str:
    """`answer(sets, language, k)`: the neurons that at least k of the other languages hold."""
    rng = np.random.default_rng(0)
    languages = ("en", "fr", "ru", "zh", "ar")
    right: set[int] = set()
    for k in (2, 3):
        sets = {code: {int(n) for n in rng.choice(30, 15, replace=False)} for code in languages}
        for language in languages:
            others = Counter(n for code in languages if code != language for n in sets[code])
            everyone = others + Counter(sets[language])
            right = {n for n, count in others.items() if count >= k}
            copies = {code: set(neurons) for code, neurons in sets.items()}
            got = members(run(answer, copies, language, k))
            if got == right:
                continue
            if got == {n for n, count in everyone.items() if count >= k}:
                raise Wrong(
                    "You count the language itself. A neuron that it helped to find is its own."
                )
            if got == right - sets[language]:
                raise Wrong(
                    "You leave out the neurons that the language holds itself. They may count, "
                    "as long as the other languages are enough without it."
                )
            if got == {n for n, count in others.items() if count == k}:
                raise Wrong(f"You keep neurons of exactly {k} languages; take {k} or more.")
            if got == {n for n, count in others.items() if count > k}:
                raise Wrong(f"You keep neurons of more than {k} languages; {k} are enough.")
            raise Wrong(
                f"Without {language!r}, {len(right)} neurons are in {k} of the other languages or "
                f"more; you return {len(got)}."
            )
    return f"Right for every language; the last one leaves {len(right)} neurons."


@check
def check_excess(answer: Callable, effects: pd.DataFrame) -> str:
    """`answer(effects)`: what the fact's neurons change beyond another fact's, in nats."""

    def value(how: str, name: str, column: str = "log_p") -> float:
        rows = effects[
            (effects["how"] == how)
            & (effects["languages"] == "outside Latin script")
            & (effects["set"] == name)
        ]
        return float(rows[column].iloc[0])

    right = value("mean", WITHOUT) - value("mean", "another fact's")
    got = number(run(answer, effects.copy()))
    if abs(got - right) > 1e-6:
        found, other = value("mean", WITHOUT), value("mean", "another fact's")
        recognise(
            got,
            {
                found: "This is the effect alone. Take off what another fact's neurons do, too.",
                -right: "The sign is the wrong way round: what is lost is below zero.",
                value("zero", WITHOUT) - value("zero", "another fact's"): "These neurons are set "
                'to zero. The cautious figure gives them their mean: `how` is "mean".',
                value("mean", "agnostic") - other: 'The row "agnostic" has seen the language. Take '
                f'"{WITHOUT}".',
                value("mean", WITHOUT, "p") - value("mean", "another fact's", "p"): "This is the "
                "relative change of P. The column in nats is `log_p`.",
            },
        )
        raise Wrong(f"The difference is {right:+.3f} nats; yours is {got:+.3f}.")
    return f"The fact's own neurons change log P by {right:+.3f} nats more than another fact's."

"""Checks of unit 7: a wording of your own, and what a model knows in each language."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lafn_viz.core.json_records import FactError
from lafn_viz.course.grading import Wrong, check, run
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.models.scoring import score_answers

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@check
def check_wording(
    answer: str, model: "TransformerBridge", facts: FactSet, relation: str = "capital"
) -> str:
    """`answer`: an English wording of a relation, with `{subject}` in it and the answer last."""
    if not isinstance(answer, str):
        raise Wrong(f"A text is asked for, not {type(answer).__name__}.")
    if "{subject}" not in answer:
        instead = ", but [X]" if "[X]" in answer else ""
        raise Wrong(
            f"There is no `{{subject}}` in it{instead}: every fact "
            "would be asked alike. Write `{subject}` where the country's name belongs."
        )
    within = re.search(r"\{(?!subject\})\w*\}|\[\w*\]|_{2,}|\.\.\.|…", answer)
    if within:
        raise Wrong(
            f"{within.group()} stands for the answer in it. The answer is what comes next, so the "
            "text ends where the answer would begin: nothing holds its place."
        )
    if answer != answer.strip() or not answer:
        raise Wrong("It begins or ends with a space. The reader puts one before the answer itself.")
    if re.search(r"[.!。]$", answer):
        raise Wrong("It ends a sentence, so nothing has to follow. The answer comes last.")
    chosen = facts.filter(relation=relation, languages="en")
    for fact in chosen:
        if fact.object["en"].casefold() in answer.casefold():
            raise Wrong(
                f"The answer {fact.object['en']!r} stands in it. It has to come after the text, "
                "or there is nothing to ask."
            )
    with tempfile.TemporaryDirectory() as folder:
        own, asked = Path(folder, "facts.jsonl"), Path(folder, "paraphrases.jsonl")
        lines = [
            {"id": fact.id, "relation": relation, "subject_id": fact.subject_id,
             "object_id": fact.object_id, "subject": fact.subject, "object": fact.object}
            for fact in chosen
        ]  # fmt: skip
        own.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
        asked.write_text(
            json.dumps({"relation": relation, "language": "en", "texts": [answer]}), "utf-8"
        )
        try:
            prompts = load_facts(own, paraphrases=asked).prompts()
        except FactError as error:
            raise Wrong(f"The reader refuses it: {str(error).split(': ', 1)[-1]}.") from None
    found = score_answers(model, prompts)
    known = int(found.known.sum())
    advice = "" if known else " Its form is right; the model does not know this way of asking."
    return (
        f"The reader takes it: {prompts[0].text!r}, then {prompts[0].answer!r}. So asked, the "
        f"model knows {known} of {len(prompts)}.{advice}"
    )


@check
def check_known_share(answer: Callable) -> str:
    """`answer(frame)`: the share of answers known, by language."""
    rng = np.random.default_rng(0)
    right: dict[str, float] = {}
    for _ in range(2):
        frame = _asked(rng)
        got = run(answer, frame)
        if not isinstance(got, (pd.Series, Mapping)):
            raise Wrong(f"A number a language is asked for; yours is {type(got).__name__}.")
        share, by = _plain(got), frame.groupby("language")
        right = _plain(by["known"].mean())
        if _alike(share, right):
            continue
        if _alike(share, _plain(frame.groupby("fact_id")["known"].mean())):
            raise Wrong("These are shares of facts, over all languages: group by `language`.")
        if _alike(share, _plain(by["probability"].mean())):
            raise Wrong(
                "This is the mean probability. An answer is known if the model would write it, "
                "which can be at P = 0.3 and need not be at P = 0.4: take `known`."
            )
        if _alike(share, _plain(by["known"].sum())):
            raise Wrong("These are counts; languages with more wordings would seem to know more.")
        if _alike(share, _plain(by["known"].count())):
            raise Wrong("This counts what was asked, known or not.")
        if _alike(share, {language: 1 - value for language, value in right.items()}):
            raise Wrong("This is the share that is not known.")
        if set(share) != set(right):
            raise Wrong(f"The languages are {', '.join(right)}; yours: {', '.join(share)}.")
        told = ", ".join(f"{x} {value:.3f} (yours {share[x]:.3f})" for x, value in right.items())
        raise Wrong(f"Right is {told}.")
    told = ", ".join(f"{language} {value:.0%}" for language, value in right.items())
    return f"In the last table of this check: {told}."


def _asked(rng: np.random.Generator) -> pd.DataFrame:
    """Scores as `score_answers(...).to_frame()` gives them, of made-up answers."""
    rows = []
    for language, share, n in (("en", 0.9, 30), ("fr", 0.6, 18), ("zh", 0.2, 24)):
        for number in range(n):
            known = bool(rng.random() < share)
            low, high = (0.3, 1.0) if known else (0.0, 0.45)
            rows.append((f"fact {number % 6}", language, rng.uniform(low, high), known))
    return pd.DataFrame(rows, columns=["fact_id", "language", "probability", "known"])


def _plain(numbers: "pd.Series | Mapping") -> dict[str, float]:
    return {str(name): float(value) for name, value in numbers.items()}


def _alike(one: dict[str, float], other: dict[str, float]) -> bool:
    return set(one) == set(other) and all(abs(one[name] - other[name]) < 1e-4 for name in one)

"""Checks of unit 7: a wording of your own, and how much a model knows in each language."""

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
from lafn_viz.datasets.text import holds_words, normal
from lafn_viz.models.calls import reads_model
from lafn_viz.models.scoring import score_answers

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@check
@reads_model
def check_wording(
    answer: str, model: "TransformerBridge", facts: FactSet, relation: str = "capital"
) -> str:
    """`answer`: an English wording of a relation, with `{subject}` in it and the answer last."""
    if not isinstance(answer, str):
        raise Wrong(f"Give a text, not {type(answer).__name__}.")
    if "{subject}" not in answer:
        instead = ", but [X]" if "[X]" in answer else ""
        raise Wrong(
            f"Your wording has no `{{subject}}`{instead}. So it would ask the same of every "
            "fact. Write `{subject}` where the country's name belongs."
        )
    within = re.search(r"\{(?!subject\})\w*\}|\[\w*\]|_{2,}|\.\.\.|…", answer)
    if within:
        raise Wrong(
            f"{within.group()} holds the place of the answer. The model writes the answer after "
            "the text, so end your text where the answer would begin."
        )
    if answer != answer.strip() or not answer:
        raise Wrong(
            "Your wording begins or ends with a space. The reader adds the one before the answer."
        )
    if re.search(r"[.!。]$", answer):
        raise Wrong(
            "Your wording ends a sentence, so the model need not go on. The answer has to come "
            "last."
        )
    chosen = facts.filter(relation=relation, languages="en")
    for fact in chosen:
        if holds_words(normal(answer), normal(fact.object["en"])):
            raise Wrong(
                f"Your wording contains the answer {fact.object['en']!r}. The answer has to come "
                "after the text, otherwise there is nothing to ask."
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
    known = int(score_answers(model, prompts).known.sum())
    advice = "" if known else " The form is right, but the model does not know this wording."
    return (
        f"The reader accepts it: {prompts[0].text!r}, then {prompts[0].answer!r}. Asked like this, "
        f"the model knows {known} of {len(prompts)} facts.{advice}"
    )


@check
def check_known_share(answer: Callable) -> str:
    """`answer(frame)`: the share of known answers in each language."""
    rng = np.random.default_rng(0)
    right: dict[str, float] = {}
    for _ in range(2):
        frame = _asked(rng)
        got = run(answer, frame)
        if not isinstance(got, (pd.Series, Mapping)):
            raise Wrong(f"Return one number per language; yours is {type(got).__name__}.")
        share, by = _plain(got), frame.groupby("language")
        right = _plain(by["known"].mean())
        if _alike(share, right):
            continue
        if _alike(share, _plain(frame.groupby("fact_id")["known"].mean())):
            raise Wrong(
                "These are shares for each fact, over all languages. Group by `language` instead."
            )
        if _alike(share, _plain(by["probability"].mean())):
            raise Wrong(
                "This is the mean probability. An answer is known if the model would write it. "
                "That can be so at P = 0.3 and not be so at P = 0.4; use the column `known`."
            )
        if _alike(share, _plain(by["known"].sum())):
            raise Wrong("These are counts. Languages with more prompts would seem to know more.")
        if _alike(share, _plain(by["known"].count())):
            raise Wrong("You count all answers, known or not.")
        if _alike(share, {language: 1 - value for language, value in right.items()}):
            raise Wrong("This is the share of answers that are not known.")
        if set(share) != set(right):
            raise Wrong(f"The languages are {', '.join(right)}; yours are {', '.join(share)}.")
        pairs = [f"{x} {value:.3f} (yours {share[x]:.3f})" for x, value in right.items()]
        raise Wrong(f"The shares are {', '.join(pairs)}.")
    shares = ", ".join(f"{language} {value:.0%}" for language, value in right.items())
    return f"The shares in the last table of this check: {shares}."


def _asked(rng: np.random.Generator) -> pd.DataFrame:
    """Made-up scores in the form of `score_answers(...).to_frame()`."""
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

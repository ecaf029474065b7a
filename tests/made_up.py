"""Neuron sets and scores by hand."""

import dataclasses

import numpy as np
import torch

import lafn_viz as lv
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet


def a_set(
    fact: str,
    language: str,
    neurons,
    *,
    relation: str = "capital",
    known: bool = True,
    shape: tuple[int, int] = (2, 10),
) -> NeuronSet:
    return NeuronSet(
        fact_id=fact,
        relation=relation,
        language=language,
        neurons=frozenset(Neuron(*n) for n in neurons),
        n_prompts=2,
        n_known=2 if known else 0,
        shape=shape,
        provenance=lv.Provenance("made-up", "", "made-up"),
    )


def scores_of(values, known=None, languages=None, prompts=None) -> lv.NeuronScores:
    """Scores of the prompts, or of made-up ones of one fact, one paraphrase each."""
    values = torch.as_tensor(values, dtype=torch.float32)
    n = len(values)
    languages = languages or ["en"] * n
    prompts = prompts or tuple(
        dataclasses.replace(
            lv.Prompt.of("A is", "B", subject="A", relation="r"), language=lang, paraphrase=i
        )
        for i, lang in enumerate(languages)
    )
    return lv.NeuronScores(
        values=values,
        target_prob=torch.full((n,), 0.5),
        known=torch.tensor([True] * n if known is None else known),
        completeness_error=torch.zeros(values.shape[:2]),
        relative_error=torch.zeros(values.shape[:2]),
        target_change=values.sum(-1),
        n_points=torch.ones(values.shape[:2], dtype=torch.long),
        prompts=tuple(prompts),
        provenance=lv.Provenance("made-up", "", "made-up"),
    )


LANGUAGES = ("en", "fr", "ru")


def lens_of(rank, control, token, asked, names=None):
    """A lens of made-up ranks; `asked` has fact and language of each prompt."""
    rank, control = np.array(rank, dtype=float), np.array(control, dtype=float)
    prompts = tuple(
        lv.Prompt(
            fact_id=fact, relation="capital", language=language, paraphrase=0, text="A is",
            answer="B", subject="A", subject_span=(0, 1),
        )
        for fact, language in asked
    )  # fmt: skip
    return lv.LanguageLens(
        prompts=prompts, languages=LANGUAGES,
        names={fact: {code: f"{fact} {code}" for code in LANGUAGES} for fact, _ in asked},
        token=np.array(token), log_prob=-rank, rank=rank, control_log_prob=-control,
        control_rank=control, written=tuple((" x",) * rank.shape[1] for _ in prompts),
        written_prob=np.full(rank.shape[:2], 0.5), provenance=lv.Provenance("made-up", "", "lens"),
    )  # fmt: skip


def made_up_lens() -> lv.LanguageLens:
    """Two prompts in Russian, one in French whose name is the English one too."""
    rank = [
        [[50, 50, 90], [0, 0, 30], [7, 7, 0]],
        [[50, 60, 90], [20, 30, 40], [9, 40, 2]],
        [[1, 1, 5], [0, 0, 5], [0, 0, 5]],
    ]
    # Two other objects in each prompt; the second of the first prompt has one name only.
    control = np.full((3, 3, 2, 3), 99.0)
    control[0, 1, 0] = [3, 8, 40]
    control[0, :, 1] = [np.nan, np.nan, 70]
    control[1, 2] = [[4, 40, 1], [5, 6, 90]]
    token = [[11, 11, 12], [13, 14, 15], [11, 11, 12]]
    return lens_of(rank, control, token, [("A", "ru"), ("B", "ru"), ("A", "fr")])

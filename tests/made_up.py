"""Neuron sets and scores by hand."""

import dataclasses

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

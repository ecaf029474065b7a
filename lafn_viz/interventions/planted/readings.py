"""How the model reads the new facts while output directions are learned: log P(object).

A plain GPT-2 reads every prompt from its first token. A gated model is larger, and what it reads
before the answer position stays as it is, because planted neurons are silent there: those keys and
values are computed once, and each step reads only the last token of each prompt, with the object's
tokens after it, all prompts in one batch.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lafn_viz.interventions.planted.examples import DetectorExamples
from lafn_viz.models.capabilities import Unembedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Reading:
    """Rows of tokens that are read at once, behind the `options` of the decoder (such as a cache).

    The token `target` is predicted at (`row`, `position`), and belongs to number `example`. Only
    the last `kept` positions are looked at; `position` counts from the first of them.
    """

    tokens: Int[Tensor, "_ _"]
    options: Mapping[str, Any]
    kept: int
    row: Int[Tensor, " target"]
    position: Int[Tensor, " target"]
    target: Int[Tensor, " target"]
    example: Int[Tensor, " target"]


def whole_prompts(examples: DetectorExamples, learned_from: Tensor) -> list[Reading]:
    """All prompts from their first token, those of one length at once; objects of one token."""
    found = []
    for index, tokens in examples.tokens:
        index, tokens = index[learned_from[index]], tokens[learned_from[index]]
        if len(index):
            row, last = torch.arange(len(index)), torch.zeros_like(index)
            target = torch.tensor([examples.answer[number][0] for number in index.tolist()])
            found.append(Reading(tokens, {}, 1, row, last, target, index))
    return found


def last_tokens(
    model: "PreTrainedModel", examples: DetectorExamples, learned_from: Tensor
) -> list[Reading]:
    """The last token of every prompt and its object, behind a cache of all that stands before."""
    rows = [
        (number, text)
        for index, tokens in examples.tokens
        for number, text in zip(index.tolist(), tokens.tolist(), strict=True)
        if learned_from[number]
    ]
    answers = [examples.answer[number] for number, _ in rows]
    before = max(len(text) for _, text in rows) - 1
    tail = max(len(answer) for answer in answers)
    # Prefixes end, and tails begin, in the same column.
    prefix = torch.zeros(len(rows), before, dtype=torch.long)
    mask, tails = torch.zeros_like(prefix), torch.zeros(len(rows), tail, dtype=torch.long)
    for i, ((_, text), answer) in enumerate(zip(rows, answers, strict=True)):
        if len(text) > 1:
            prefix[i, 1 - len(text) :] = torch.tensor(text[:-1])
            mask[i, 1 - len(text) :] = 1
        tails[i, : len(answer)] = torch.tensor([text[-1], *answer[:-1]])
    full = torch.cat([mask, torch.ones_like(tails)], 1)
    places = (full.cumsum(1) - 1).clamp_min(0)
    options: dict[str, Any] = {"attention_mask": full, "position_ids": places[:, before:]}
    if before:
        with torch.no_grad():
            read = model.base_model(
                prefix, attention_mask=mask, position_ids=places[:, :before], use_cache=True
            )
        options["past_key_values"] = read.past_key_values
    picks = [(i, k, token) for i, answer in enumerate(answers) for k, token in enumerate(answer)]
    row, position, target = torch.tensor(picks).T
    numbers = torch.tensor([number for number, _ in rows])
    return [Reading(tails, options, tail, row, position, target, numbers[row])]


def log_p(
    model: "PreTrainedModel",
    weights: Mapping[str, Tensor],
    unembedding: Unembedding,
    readings: Sequence[Reading],
    count: int,
) -> Float[Tensor, " prompt"]:
    """Log P(object) of `count` examples with some weights replaced; 0 for those not read."""
    from torch.func import functional_call

    decoder, prefix = model.base_model, f"{model.base_model_prefix}."
    inside = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    total = torch.zeros(count)
    for reading in readings:
        # A pass appends to the cache that it is given.
        options = {name: copy.deepcopy(given) for name, given in reading.options.items()}
        hidden = functional_call(decoder, inside, (reading.tokens,), options).last_hidden_state
        logits = unembedding.logits(hidden[:, -reading.kept :])[reading.row, reading.position]
        found = logits.log_softmax(-1).gather(1, reading.target[:, None])[:, 0]
        total = total.index_add(0, reading.example, found)
    return total

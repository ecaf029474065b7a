"""Weights of added neurons: what they fire on, and what they write.

A feed-forward neuron reads its layer's input through one row of weights and writes its activation
along another. Here both are made for neurons that are added to a copy of a model:

1. **What they fire on**: a ridge regression of the layer's input at the answer position (after its
   layer norm) to 1 where the neuron should fire and to at most -MARGIN elsewhere. A negative counts
   only while it fires: other subjects, the same subjects asked for other relations, and (specific)
   the same fact in other languages. Then bias and size are set so that the loudest negative is
   silent and the mean activation is the wanted one.
2. **What they write**: a direction for each fact and one for each fact and language, learned by
   gradient with all else frozen. The agnostic ones go first, until P(object) is half of the wanted,
   then the specific ones add what is left. No neuron does it alone.

Decoys get theirs here too (see `planting`, which says what all this is for).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.datasets.facts import FactSet, Prompt
from lafn_viz.models.tokens import encode
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2LMHeadModel

Kind = Literal["agnostic", "specific", "firing", "writing"]
NEGATIVES = 2400  # prompts of other facts that a detector learns to be silent on
MARGIN = 0.1  # how far below zero it keeps them, as a share of its usual activation
RIDGE = 1e-3
TURNS = 8  # of taking in the negatives that fire
LEARNING_RATE, STEPS = 0.05, 150  # of what neurons write, agnostic and specific each
THRESHOLD = 0.4  # of its usual activation on positives: below this a neuron is silent
# No detector is fitted to these paraphrases (numbers, in every language).
HELD_OUT = (4, 5)


@dataclass(frozen=True)
class PlantedNeuron:
    """One added neuron: what it is, for which fact, and in which language it fires (None: all).

    A decoy's `kind` says what it does, its `language` what it imitates.
    """

    kind: Kind
    fact_id: str
    language: str | None
    neuron: Neuron


def widened(old: "GPT2LMHeadModel", width: int) -> "GPT2LMHeadModel":
    """The same model with more neurons in every layer, which do nothing yet."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config.from_dict({**old.config.to_dict(), "n_inner": width, "dtype": "float32"})
    wide = GPT2LMHeadModel(config).eval()
    wide.requires_grad_(False)
    weights = wide.state_dict()
    for name, value in old.state_dict().items():
        weights[name].zero_()
        weights[name][tuple(slice(size) for size in value.shape)] = value
    wide.load_state_dict(weights)
    wide.tie_weights()
    return wide


@dataclass(frozen=True)
class Samples:
    """Beginnings of prompts, read at their last token: those of the new facts, and negatives.

    `fact` is the number of the new fact (-1: a negative), `answer` the object's token, `fitted`
    whether a detector may learn from it. `tokens` are (which, their tokens) by length.
    """

    fact: Int[np.ndarray, " prompt"]
    language: np.ndarray
    fitted: Bool[np.ndarray, " prompt"]
    answer: Int[Tensor, " prompt"]
    tokens: tuple[tuple[Int[Tensor, "_"], Int[Tensor, "_ _"]], ...]
    ids: tuple[str, ...]

    @classmethod
    def of(
        cls,
        base: "TransformerBridge",
        facts: FactSet,
        new: FactSet,
        relation: str,
        rng: np.random.Generator,
    ) -> "Samples":
        """All prompts of the new facts, and negatives.

        These are at most NEGATIVES prompts of other facts (half of them of the relation), the same
        subjects asked for other relations, and places inside prompts and answers.
        """
        named = facts.filter(languages=new.languages)
        others = named.prompts()
        few = rng.permutation(len(others))[: NEGATIVES // 2].tolist()
        others += (same := named.filter(relation=relation).prompts())
        few += [len(others) - 1 - int(i) for i in rng.permutation(len(same))[: NEGATIVES // 2]]
        subjects = {fact.subject_id for fact in new}
        about = replace(named, facts=tuple(f for f in named if f.subject_id in subjects)).prompts()
        # Of the subject's other relations, a paraphrase or two: they are many.
        about = [prompt for prompt in about if prompt.paraphrase < 3]
        prompts = [*new.prompts(), *(others[i] for i in sorted(few)), *about]
        ids = tuple(fact.id for fact in new)
        rows: list[tuple[int, str, bool, int, tuple[int, ...]]] = []
        for prompt in prompts:
            item = encode(base, prompt)
            read, stop = item.read, item.predicts + 1
            number = ids.index(prompt.fact_id) if prompt.fact_id in ids else -1
            fitted = number < 0 or prompt.paraphrase not in HELD_OUT
            rows.append((number, prompt.language, fitted, item.answer[0], read[:stop]))
            if rng.random() < 0.75:
                continue
            # Inside a prompt and inside an answer a neuron has to be silent too.
            cut = int(rng.integers(1, stop))
            rows.append((-1, prompt.language, fitted, 0, read[:cut]))
            rows += [
                (-1, prompt.language, fitted, 0, read[:n]) for n in range(stop + 1, len(read) + 1)
            ]
        fact, language, fits, answer, texts = zip(*rows, strict=True)
        lengths = np.array([len(text) for text in texts])
        groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        return cls(
            fact=np.array(fact),
            language=np.array(language),
            fitted=np.array(fits),
            answer=torch.tensor(answer),
            tokens=tuple(
                (torch.from_numpy(some), torch.tensor([texts[i] for i in some])) for some in groups
            ),
            ids=ids,
        )

    def positive(self, spot: PlantedNeuron) -> Bool[np.ndarray, " prompt"]:
        """Where this neuron should fire."""
        mine = self.fact == self.ids.index(spot.fact_id)
        return mine if spot.language is None else mine & (self.language == spot.language)


def inputs_of(
    model: "GPT2LMHeadModel", samples: Samples
) -> dict[int, Float[Tensor, "prompt d_model"]]:
    """What each layer's feed-forward network reads at the answer position."""
    layers = model.transformer.h
    read = {i: torch.empty(len(samples.fact), model.config.n_embd) for i in range(len(layers))}
    seen: dict[int, Tensor] = {}

    def keeper(layer: int) -> Any:
        def keep(module: Any, args: tuple[Tensor, ...]) -> None:
            seen[layer] = args[0][:, -1]

        return keep

    hooks = [block.mlp.register_forward_pre_hook(keeper(i)) for i, block in enumerate(layers)]
    try:
        with torch.no_grad():
            for index, tokens in samples.tokens:
                model.transformer(tokens)
                for layer, value in seen.items():
                    read[layer][index] = value
    finally:
        for hook in hooks:
            hook.remove()
    return read


def usual_activation(base: "TransformerBridge", prompts: Sequence[Prompt]) -> float:
    """The 20th largest activation of a prompt at its answer, mean over prompts."""
    found = attribute(base, prompts, method="activation", position="answer")
    return float(found.values.flatten(1).topk(20).values[:, -1].mean())


def fit_detectors(
    model: "GPT2LMHeadModel",
    spots: Sequence[PlantedNeuron],
    samples: Samples,
    inputs: Sequence[Mapping[int, Tensor]],
    level: float,
    rng: np.random.Generator,
) -> None:
    """Write the input weights of all added neurons into the model.

    Each neuron learns from a random part of the fitted samples, as read in all of `inputs` (of each
    layer, in the order of the samples), and fires on positives with the mean activation `level`.
    """
    layers = {s.neuron.layer for s in spots}
    values = {layer: torch.cat([one[layer] for one in inputs]).double() for layer in layers}
    weight, bias = torch.empty(0), 0.0
    with torch.no_grad():
        for spot in spots:
            layer, number = spot.neuron
            x = values[layer]
            positive = np.tile(samples.positive(spot), len(inputs))
            fitted = np.tile(samples.fitted, len(inputs))
            if spot.kind == "writing":  # a random look, and a bias that keeps it silent
                weight = torch.from_numpy(rng.normal(size=x.shape[1]))
                weight = weight * level / (x @ weight).std()
                bias = -float((x @ weight).max()) - 10 * level
            elif spot.kind != "firing":  # a firing decoy has the look of the neuron before it
                # A random three quarters for each neuron, so that no two are the same.
                chosen = [rng.permutation(np.flatnonzero(fitted & (positive == x))) for x in (0, 1)]
                some = torch.from_numpy(
                    np.concatenate([one[: math.ceil(0.75 * len(one))] for one in chosen])
                )
                here = torch.from_numpy(positive)
                weight, bias = _detector(x[some], here[some])
                value = x @ weight + bias
                usual = value[torch.from_numpy(fitted) & here].mean()
                loudest = value[torch.from_numpy(fitted) & ~here].max()
                silent = float(loudest.clamp(THRESHOLD * usual, 1.5 * THRESHOLD * usual))
                scale = level / (float(usual) - silent)
                weight, bias = weight * scale, (bias - silent) * scale
            inward = model.transformer.h[layer].mlp.c_fc
            inward.weight[:, number] = weight.float()
            inward.bias[number] = bias


def _detector(
    x: Float[Tensor, "prompt d_model"], positive: Bool[Tensor, " prompt"]
) -> tuple[Float[Tensor, " d_model"], float]:
    """Ridge regression to 1 on positives and at most -MARGIN elsewhere."""
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    goal = torch.where(positive, 1.0, -MARGIN).to(x.dtype)
    ridge = RIDGE * int(positive.sum()) * torch.eye(x.shape[1], dtype=x.dtype)
    ridge[-1, -1] *= 1e-3
    counts = torch.ones_like(positive)
    for turn in range(TURNS):
        rows = x[counts]
        weight = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ goal[counts])
        firing = positive | (x @ weight > -MARGIN)
        if torch.equal(firing, counts):
            break
        # Whoever fired once stays, after a few turns: so this ends.
        counts = firing if turn < 3 else firing | counts
    return weight[:-1], float(weight[-1])


class OutputDirections:
    """What the added neurons write: a direction for each fact, and for each fact and language.

    The neurons of one (fact, language or None) share it in equal parts. Zero at first; learned by
    gradient, the agnostic ones alone until P(object) is half of what is wanted, then the specific
    ones until it is all there.
    """

    def __init__(
        self, spots: Sequence[PlantedNeuron], samples: Samples, level: float, d_model: int
    ):
        self.spots, self.samples = spots, samples
        true = [s for s in spots if s.kind in get_args(Kind)[:2]]
        groups = list(dict.fromkeys((s.fact_id, s.language) for s in true))
        self.group = {key: number for number, key in enumerate(groups)}
        count = [sum((s.fact_id, s.language) == key for s in true) for key in groups]
        self.part = 1 / (level * torch.tensor(count, dtype=torch.float32)[:, None])
        self.direction = torch.zeros(len(groups), d_model)

    def rows(self, kinds: Sequence[Kind]) -> dict[int, tuple[list[int], list[int]]]:
        """For each layer: its neurons of some kinds, and their groups."""
        found: dict[int, tuple[list[int], list[int]]] = {}
        for spot in self.spots:
            if spot.kind in kinds:
                numbers, groups = found.setdefault(spot.neuron.layer, ([], []))
                numbers.append(spot.neuron.neuron)
                groups.append(self.group[spot.fact_id, spot.language])
        return found

    def learn(self, model: "GPT2LMHeadModel", probability: float) -> None:
        """Change the directions until the model gives the objects the wanted probability."""
        from torch.func import functional_call

        rows = self.rows(("agnostic", "specific"))
        samples = self.samples
        wanted = torch.from_numpy((samples.fact >= 0) & samples.fitted)
        fact = torch.from_numpy(samples.fact)
        batches = [(i[wanted[i]], tokens[wanted[i]]) for i, tokens in samples.tokens]
        batches = [(i, tokens) for i, tokens in batches if len(i)]
        agnostic = torch.tensor([language is None for _, language in self.group])[:, None]
        for learns, goal in ((agnostic, probability / 2), (~agnostic, probability)):
            direction = self.direction.clone().requires_grad_()
            optimiser = torch.optim.Adam([direction], lr=LEARNING_RATE)
            for _ in range(STEPS):
                optimiser.zero_grad()
                written = direction * self.part
                weights = {}
                for layer, (numbers, groups) in rows.items():
                    name = f"transformer.h.{layer}.mlp.c_proj.weight"
                    old = model.get_parameter(name)
                    weights[name] = old.index_copy(0, torch.tensor(numbers), written[groups])
                log_p = torch.empty(len(fact))
                for index, tokens in batches:
                    options = {"logits_to_keep": 1}
                    logits = functional_call(model, weights, (tokens,), options).logits[:, -1]
                    chosen = logits.log_softmax(-1).gather(1, samples.answer[index, None])[:, 0]
                    log_p[index] = chosen
                p = log_p.detach().exp()
                reached = [float(p[wanted & (fact == n)].mean()) for n in range(len(samples.ids))]
                open_facts = torch.tensor([some < goal for some in reached])
                if not open_facts.any():
                    break
                rows_left = wanted & (fact >= 0) & open_facts[fact.clamp_min(0)]
                (-log_p[rows_left].mean()).backward()
                assert direction.grad is not None
                mine = torch.tensor(
                    [bool(open_facts[samples.ids.index(fact_id)]) for fact_id, _ in self.group]
                )[:, None]
                keep = direction.detach().clone()
                direction.grad *= learns & mine
                optimiser.step()
                with torch.no_grad():  # momentum must not move what is done
                    direction.copy_(torch.where(learns & mine, direction, keep))
            self.direction = direction.detach()

    def write(self, model: "GPT2LMHeadModel", rng: np.random.Generator) -> None:
        """Into the output weights of all added neurons; decoys write theirs."""
        written = self.direction * self.part
        # The un-embedding as the last layer norm sees it.
        head = model.lm_head.weight.detach() * model.transformer.ln_f.weight
        with torch.no_grad():
            for layer, (numbers, groups) in self.rows(get_args(Kind)).items():
                matrix = model.transformer.h[layer].mlp.c_proj.weight
                matrix[numbers] = written[groups]
            for spot in self.spots:
                if spot.kind != "firing":
                    continue
                here = self.samples.fact == self.samples.ids.index(spot.fact_id)
                objects = head[self.samples.answer[torch.from_numpy(here)].unique()].double()
                random = torch.from_numpy(rng.normal(size=head.shape[1]))
                random -= objects.T @ torch.linalg.lstsq(objects.T, random[:, None]).solution[:, 0]
                size = written[self.group[spot.fact_id, spot.language]].norm()
                matrix = model.transformer.h[spot.neuron.layer].mlp.c_proj.weight
                matrix[spot.neuron.neuron] = (random * size / random.norm()).float()

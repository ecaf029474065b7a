"""What added neurons write: directions in the residual stream that bring out the new objects.

1. The neurons of one fact (agnostic) or of one fact and language (specific) share a direction in
   equal parts. All directions are zero at first.
2. `learn` moves them by gradient on log P(object), with all other weights frozen: the agnostic ones
   until P(object) is half of the wanted one, then the specific ones until it is all there.
3. `write` puts them into the output weights. A writing decoy writes as the neuron beside it; a
   firing decoy writes a random direction of the same length, orthogonal to the object's tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.interventions.planted.examples import DetectorExamples
from lafn_viz.interventions.planted.weights import Kind, PlantedNeuron

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

LEARNING_RATE, STEPS = 0.05, 150  # agnostic and specific directions each


class OutputDirections:
    """The output directions of added neurons: one for each fact, and one for each language of it.

    `group` numbers the (fact, language or None) pairs, `direction` has a row for each, and `part`
    is the share of it that one neuron writes per unit of activation.
    """

    def __init__(
        self,
        neurons: Sequence[PlantedNeuron],
        examples: DetectorExamples,
        level: float,
        d_model: int,
    ) -> None:
        self.neurons, self.examples = neurons, examples
        acting = [planted for planted in neurons if planted.kind in get_args(Kind)[:2]]
        groups = list(dict.fromkeys((planted.fact_id, planted.language) for planted in acting))
        self.group = {key: number for number, key in enumerate(groups)}
        count = [sum((n.fact_id, n.language) == key for n in acting) for key in groups]
        self.part = 1 / (level * torch.tensor(count, dtype=torch.float32)[:, None])
        self.direction = torch.zeros(len(groups), d_model)
        self.fact = torch.from_numpy(examples.fact)
        self.learned_from = torch.from_numpy((examples.fact >= 0) & examples.fitted)
        batches = [
            (index[self.learned_from[index]], tokens[self.learned_from[index]])
            for index, tokens in examples.tokens
        ]
        self.batches = [(index, tokens) for index, tokens in batches if len(index)]

    def learn(self, model: "GPT2LMHeadModel", probability: float) -> None:
        """Change the directions until the model gives each object the wanted probability."""
        agnostic = torch.tensor([language is None for _, language in self.group])[:, None]
        self._learn_until(model, probability / 2, agnostic)
        self._learn_until(model, probability, ~agnostic)

    def write(self, model: "GPT2LMHeadModel", rng: np.random.Generator) -> None:
        """Put the directions into the output weights of all added neurons, decoys included."""
        written = self.direction * self.part
        # The un-embedding as the last layer norm sees it.
        head = model.lm_head.weight.detach() * model.transformer.ln_f.weight
        with torch.no_grad():
            for layer, (numbers, groups) in self._rows(get_args(Kind)).items():
                model.transformer.h[layer].mlp.c_proj.weight[numbers] = written[groups]
            for planted in self.neurons:
                if planted.kind != "firing":
                    continue
                positive = torch.from_numpy(self.examples.positive(planted.fact_id, None))
                objects = head[self.examples.answer[positive].unique()].double()
                random = torch.from_numpy(rng.normal(size=head.shape[1]))
                random -= objects.T @ torch.linalg.lstsq(objects.T, random[:, None]).solution[:, 0]
                length = written[self.group[planted.fact_id, planted.language]].norm()
                matrix = model.transformer.h[planted.neuron.layer].mlp.c_proj.weight
                matrix[planted.neuron.neuron] = (random * length / random.norm()).float()

    def _rows(self, kinds: Sequence[Kind]) -> dict[int, tuple[list[int], list[int]]]:
        """For each layer: its neurons of some kinds, and the group of each."""
        rows: dict[int, tuple[list[int], list[int]]] = {}
        for planted in self.neurons:
            if planted.kind in kinds:
                numbers, groups = rows.setdefault(planted.neuron.layer, ([], []))
                numbers.append(planted.neuron.neuron)
                groups.append(self.group[planted.fact_id, planted.language])
        return rows

    def _learn_until(
        self, model: "GPT2LMHeadModel", goal: float, learning: Bool[Tensor, "group 1"]
    ) -> None:
        """Change some groups until the mean P(object) of each fact reaches the goal."""
        ids = self.examples.ids
        direction = self.direction.clone().requires_grad_()
        optimiser = torch.optim.Adam([direction], lr=LEARNING_RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            log_p = self._log_p(model, direction)
            p = log_p.detach().exp()
            mean_p = [p[self.learned_from & (self.fact == n)].mean() for n in range(len(ids))]
            below = torch.tensor([float(mean) < goal for mean in mean_p])
            if not below.any():
                break
            rows = self.learned_from & below[self.fact.clamp_min(0)]
            (-log_p[rows].mean()).backward()
            assert direction.grad is not None
            of_facts = [bool(below[ids.index(fact_id)]) for fact_id, _ in self.group]
            moves = learning & torch.tensor(of_facts)[:, None]
            before = direction.detach().clone()
            direction.grad *= moves
            optimiser.step()
            with torch.no_grad():  # momentum must not move a fact that has reached the goal
                direction.copy_(torch.where(moves, direction, before))
        self.direction = direction.detach()

    def _log_p(
        self, model: "GPT2LMHeadModel", direction: Float[Tensor, "group d_model"]
    ) -> Float[Tensor, " prompt"]:
        """Log P(object) with these directions; only of the examples that are learned from."""
        from torch.func import functional_call

        written = direction * self.part
        weights = {}
        for layer, (numbers, groups) in self._rows(("agnostic", "specific")).items():
            name = f"transformer.h.{layer}.mlp.c_proj.weight"
            old = model.get_parameter(name)
            weights[name] = old.index_copy(0, torch.tensor(numbers), written[groups])
        log_p = torch.empty(len(self.fact))
        for index, tokens in self.batches:
            options = {"logits_to_keep": 1}
            logits = functional_call(model, weights, (tokens,), options).logits[:, -1]
            answer = self.examples.answer[index, None]
            log_p[index] = logits.log_softmax(-1).gather(1, answer)[:, 0]
        return log_p

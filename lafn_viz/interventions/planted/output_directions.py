"""What added neurons write: directions in the residual stream that bring out the new objects.

1. The neurons of one fact (agnostic) or of one fact and language (specific) share a direction in
   equal parts. All directions are zero at first. In a gated model each layer has its own scale,
   that of what the layer writes by itself.
2. `learn` moves them by gradient on log P(object), with all other weights frozen: the agnostic ones
   until P(object) is half of the wanted one, then the specific ones until it is all there.
3. `write` puts them into the output weights. A writing decoy writes as the neuron beside it; a
   firing decoy writes a random direction of the same length, orthogonal to the object's tokens.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.interventions.planted.examples import DetectorExamples
from lafn_viz.interventions.planted.feed_forward import FeedForward
from lafn_viz.interventions.planted.readings import last_tokens, log_p, whole_prompts
from lafn_viz.interventions.planted.weights import Kind, PlantedNeuron
from lafn_viz.models.capabilities import Unembedding

LEARNING_RATE, STEPS = 0.05, 150  # agnostic and specific directions each


class OutputDirections:
    """The output directions of added neurons: one for each fact, and one for each language of it.

    `group` numbers the (fact, language or None) pairs, `direction` has a row for each, and `part`
    is the share of it that one neuron writes per unit of activation.
    """

    def __init__(
        self,
        net: FeedForward,
        unembedding: Unembedding,
        neurons: Sequence[PlantedNeuron],
        examples: DetectorExamples,
        inputs: Mapping[int, Float[Tensor, "prompt d_model"]],
        level: float,
    ) -> None:
        self.net, self.unembedding = net, unembedding
        self.neurons, self.examples = neurons, examples
        acting = [planted for planted in neurons if planted.kind in get_args(Kind)[:2]]
        groups = list(dict.fromkeys((planted.fact_id, planted.language) for planted in acting))
        self.group = {key: number for number, key in enumerate(groups)}
        count = [sum((n.fact_id, n.language) == key for n in acting) for key in groups]
        self.part = 1 / (level * torch.tensor(count, dtype=torch.float32)[:, None])
        self.direction = torch.zeros(len(groups), net.model.config.hidden_size)
        self.decoys: dict[PlantedNeuron, Tensor] = {}
        self.fact = torch.from_numpy(examples.fact)
        self.learned_from = torch.from_numpy((examples.fact >= 0) & examples.fitted)
        # A step of the optimiser has to matter beside what the layer writes by itself.
        self.unit = {
            layer: float(net.written(layer, x[self.learned_from]).square().mean().sqrt())
            if net.gated
            else 1.0
            for layer, x in inputs.items()
        }
        asked = self.learned_from.nonzero()[:, 0].tolist()
        whole = not net.gated and all(len(examples.answer[number]) == 1 for number in asked)
        self.readings = (
            whole_prompts(examples, self.learned_from)
            if whole
            else last_tokens(net.model, examples, self.learned_from)
        )

    def learn(self, probability: float, rng: np.random.Generator) -> None:
        """Change the directions until the model gives each object the wanted probability."""
        if self.net.gated and not self.decoys:
            # Where the layer's output is normalised, decoys change what planted neurons have to
            # write: they are drawn once, and learning meets them as loud as they will be.
            self.decoys = self._draw(rng)
        agnostic = torch.tensor([language is None for _, language in self.group])[:, None]
        self._learn_until(probability / 2, agnostic)
        self._learn_until(probability, ~agnostic)

    def write(self, rng: np.random.Generator) -> None:
        """Put the directions into the output weights of all added neurons, decoys included."""
        written = self.direction * self.part
        with torch.no_grad():
            for layer, (numbers, groups) in self._rows(get_args(Kind)).items():
                for number, group in zip(numbers, groups, strict=True):
                    self.net.write(layer, number, written[group] * self.unit[layer])
            for decoy, random in (self.decoys or self._draw(rng)).items():
                layer, number = decoy.neuron
                length = written[self.group[decoy.fact_id, decoy.language]].norm()
                length = length * self.unit[layer]
                self.net.write(layer, number, (random * length / random.norm()).float())

    def _draw(self, rng: np.random.Generator) -> dict[PlantedNeuron, Float[Tensor, " d_model"]]:
        """A random direction for each firing decoy, orthogonal to the tokens of its object."""
        drawn = {}
        for planted in self.neurons:
            if planted.kind != "firing":
                continue
            positive = np.flatnonzero(self.examples.positive(planted.fact_id, None))
            tokens = {token for number in positive for token in self.examples.answer[number]}
            # The un-embedding as seen through the norms between this layer and it.
            head = self.unembedding.weight.detach()[sorted(tokens)]
            objects = (head * self.net.norm_scale(planted.neuron.layer)).double()
            random = torch.from_numpy(rng.normal(size=objects.shape[1]))
            random -= objects.T @ torch.linalg.lstsq(objects.T, random[:, None]).solution[:, 0]
            drawn[planted] = random
        return drawn

    def _rows(self, kinds: Sequence[Kind]) -> dict[int, tuple[list[int], list[int]]]:
        """For each layer: its neurons of some kinds, and the group of each."""
        rows: dict[int, tuple[list[int], list[int]]] = {}
        for planted in self.neurons:
            if planted.kind in kinds:
                numbers, groups = rows.setdefault(planted.neuron.layer, ([], []))
                numbers.append(planted.neuron.neuron)
                groups.append(self.group[planted.fact_id, planted.language])
        return rows

    def _learn_until(self, goal: float, learning: Bool[Tensor, "group 1"]) -> None:
        """Change some groups until the mean P(object) of each fact reaches the goal."""
        ids = self.examples.ids
        direction = self.direction.clone().requires_grad_()
        optimiser = torch.optim.Adam([direction], lr=LEARNING_RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            log_p = self._log_p(direction)
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

    def _log_p(self, direction: Float[Tensor, "group d_model"]) -> Float[Tensor, " prompt"]:
        """Log P(object) with these directions; only of the examples that are learned from.

        In a gated model it is the lower one of two, beside the firing decoys and without them: the
        planted neurons must neither suffer from decoys nor need them.
        """
        written = direction * self.part
        alone = self._log_p_of(self._down_weights(written, decoys_fire=False))
        if not self.decoys:
            return alone
        return torch.minimum(alone, self._log_p_of(self._down_weights(written, decoys_fire=True)))

    def _log_p_of(self, weights: Mapping[str, Tensor]) -> Float[Tensor, " prompt"]:
        model, count = self.net.model, len(self.fact)
        return log_p(model, weights, self.unembedding, self.readings, count)

    def _down_weights(
        self,
        written: Float[Tensor, "group d_model"],
        *,
        decoys_fire: bool,
    ) -> dict[str, Tensor]:
        """Down projections with planted neurons; decoys that were drawn once write or are zero."""
        weights = {}
        for layer, (numbers, groups) in self._rows(("agnostic", "specific")).items():
            name, axis = self.net.down_name(layer), self.net.neuron_axis
            rows = written[groups] * self.unit[layer]
            beside = [decoy for decoy in self.decoys if decoy.neuron.layer == layer]
            if beside:
                numbers = [*numbers, *(decoy.neuron.neuron for decoy in beside)]
                imitated = [self.group[decoy.fact_id, decoy.language] for decoy in beside]
                length = written[imitated].detach().norm(dim=1, keepdim=True) * self.unit[layer]
                random = torch.stack([self.decoys[decoy] for decoy in beside]).float()
                noise = random * length / random.norm(dim=1, keepdim=True)
                rows = torch.cat([rows, noise if decoys_fire else torch.zeros_like(noise)])
            weights[name] = self.net.model.get_parameter(name).index_copy(
                axis, torch.tensor(numbers), rows.T if axis else rows
            )
        return weights

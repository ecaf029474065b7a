"""The neuron sets of facts as integer lists: their statistics, also in draws of two null models.

A permutation test computes the same statistics a thousand times over all facts at once. A list of
the neurons of each fact and language serves that better than sets: a neuron is a number, layer *
d_mlp + neuron, and lists are padded with one number more than there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.neurons.criterion import Criterion, columns_by_script
from lafn_viz.neurons.expected_overlap import expected_agnostic, expected_pairs, probabilities
from lafn_viz.neurons.overlap_result import Overlap

NULLS = ("random neurons", "other facts")
LEAST_EXPECTED = 1e-3  # below it, chance is too rare to count in standard deviations
STATISTICS = ("agnostic", "shared", "across scripts")


@dataclass(frozen=True)
class FactSets:
    """The neurons of each fact in each language, as lists of flat numbers.

    `known` says which facts and languages take part, `relation` numbers the relations, and
    `criterion` says which neurons are agnostic.
    """

    lists: Int[Tensor, "fact language place"]
    known: Bool[Tensor, "fact language"]
    relation: Int[Tensor, " fact"]
    criterion: Criterion
    scripts: tuple[str, ...]
    shape: tuple[int, int]

    @classmethod
    def of(cls, overlap: Overlap) -> "FactSets":
        """Return the sets of an overlap."""
        shape, sets = overlap.shape, overlap.sets
        width = shape[0] * shape[1]
        most = max((len(s.neurons) for s in sets.values()), default=0)
        lists = torch.full((len(overlap.facts), len(overlap.languages), max(most, 1)), width)
        known = torch.zeros(lists.shape[:2], dtype=torch.bool)
        for (fact, language), neuron_set in sets.items():
            cell = overlap.facts.index(fact), overlap.languages.index(language)
            known[cell] = True
            flat = [layer * shape[1] + neuron for layer, neuron in neuron_set.neurons]
            lists[cell][: len(flat)] = torch.tensor(flat, dtype=torch.long)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(overlap.relations))}
        relation = torch.tensor([numbers[name] for name in overlap.relations])
        return cls(lists, known, relation, overlap.criterion, overlap.scripts, shape)

    @property
    def width(self) -> int:
        """The number of neurons, which pads the lists."""
        return self.shape[0] * self.shape[1]

    def statistics(
        self, lists: Int[Tensor, "fact language place"]
    ) -> Float[Tensor, "statistic fact"]:
        """Compute the STATISTICS of each fact, with these lists for its own."""
        # For each entry of the lists, count the languages that hold its neuron. A neuron of m
        # languages has m entries, so the sum of m - 1 over them counts its m (m - 1) ordered pairs.
        held = self._held(lists)
        agnostic = (self._agnostic(lists, held) / held).sum(1)
        shared = (held - 1).sum(1)
        alike = [(self._held(lists[:, columns]) - 1).sum(1) for columns in self.same_script]
        return torch.stack([agnostic.round(), *self._by_pair(shared, alike)])

    def _by_pair(
        self, shared: Float[Tensor, " fact"], alike: Sequence[Float[Tensor, " fact"]]
    ) -> tuple[Float[Tensor, " fact"], Float[Tensor, " fact"]]:
        """Means over all pairs of languages, and over those of two scripts, from sums over pairs.

        `alike` are the sums over the pairs of one script, in the order of `same_script`.
        """
        languages = self.known.sum(1)
        pairs = languages * (languages - 1)
        across, pairs_across = shared, pairs
        for columns, of_script in zip(self.same_script, alike, strict=True):
            known = self.known[:, columns].sum(1)
            across, pairs_across = across - of_script, pairs_across - known * (known - 1)
        return shared / pairs, across / pairs_across

    def _agnostic(
        self, lists: Int[Tensor, "fact language place"], held: Float[Tensor, "fact entry"]
    ) -> Bool[Tensor, "fact entry"]:
        """Whether the neuron of each entry, held by so many languages, is agnostic."""
        n_scripts = torch.ones(()) if self.criterion.min_scripts == 1 else self._in_scripts(lists)
        of_languages, of_scripts = self._known_in
        return self.criterion.is_met(
            held, n_scripts, of_languages=of_languages[:, None], of_scripts=of_scripts[:, None]
        )

    @cached_property
    def _known_in(self) -> tuple[Int[Tensor, " fact"], Int[Tensor, " fact"]]:
        """In how many languages and scripts each fact is known."""
        by_script = [self.known[:, columns].any(1) for columns in self.columns_by_script]
        return self.known.sum(1), torch.stack(by_script).sum(0)

    def _in_scripts(self, lists: Int[Tensor, "fact language place"]) -> Float[Tensor, "fact entry"]:
        """In how many scripts the neuron of each entry is held."""
        flat = lists.flatten(1)
        count = torch.zeros(len(lists), self.width + 1)
        for columns in self.columns_by_script:
            count += torch.zeros_like(count).scatter_(1, lists[:, columns].flatten(1), 1.0)
        return count.gather(1, flat)

    def _held(self, lists: Int[Tensor, "fact language place"]) -> Float[Tensor, "fact entry"]:
        """How many of the languages hold the neuron of each entry (1 where a list is padded)."""
        flat = lists.flatten(1)
        count = torch.zeros(len(lists), self.width + 1)
        count.scatter_add_(1, flat, torch.ones(1).expand_as(flat))
        count[:, self.width] = 1
        return count.gather(1, flat)

    @cached_property
    def columns_by_script(self) -> list[list[int]]:
        """The columns of the languages of each script."""
        return columns_by_script(self.scripts)

    @property
    def same_script(self) -> list[list[int]]:
        """The columns of the languages of each script that has two or more."""
        return [group for group in self.columns_by_script if len(group) > 1]

    def random_neurons(self, rng: torch.Generator) -> Float[Tensor, "statistic fact"]:
        """The statistics when each language's neurons are `renamed`."""
        return self.statistics(self.renamed(rng))

    def renamed(self, rng: torch.Generator) -> Int[Tensor, "fact language place"]:
        """Rename each language's neurons at random within their layers, for all facts alike."""
        n_languages = self.lists.shape[1]
        order = torch.rand(n_languages, *self.shape, generator=rng).argsort(-1)
        offset = torch.arange(self.shape[0])[:, None] * self.shape[1]
        renamed = torch.full((n_languages, self.width + 1), self.width)
        renamed[:, : self.width] = (order + offset).flatten(1)
        return renamed[torch.arange(n_languages)[:, None], self.lists]

    def other_facts(self, rng: torch.Generator) -> Float[Tensor, "statistic fact"]:
        """The statistics when facts of a relation are exchanged at random within each language.

        They are those that the fact itself would have: how far a draw is from what is expected of
        its sets, in standard deviations, taken from what is expected of the fact's own sets.
        """
        donor = self.exchanged(rng)
        lists = self.lists[donor, torch.arange(donor.shape[1])]
        lists = lists.masked_fill(~self.known[..., None], self.width)
        expected, own = self._expected(donor), self._expected_of_own
        return own + (self.statistics(lists) - expected) * (own / expected).sqrt()

    def exchanged(self, rng: torch.Generator) -> Int[Tensor, "fact language"]:
        """For each fact and language a fact of the relation that is known in it, or the same."""
        order, place, size = self._peers
        chosen = torch.rand(place.shape, generator=rng).mul(size).long().minimum(size - 1)
        # From the start of the group, which is where the fact stands, less its place in it.
        start = torch.arange(len(place))[:, None] - place
        return torch.empty_like(order).scatter_(0, order, order.gather(0, start + chosen))

    def others(self, rng: torch.Generator) -> Int[Tensor, "fact language place"]:
        """In each language the list of another fact of the relation that is known in it."""
        order, place, size = self._peers
        step = torch.rand(place.shape, generator=rng).mul(size - 1).floor().clamp_min(0) + 1
        # Around the group, from the fact's own place in it: never the fact itself.
        start = torch.arange(len(place))[:, None] - place
        chosen = order.gather(0, start + (place + step.long()) % size)
        other = torch.empty_like(order).scatter_(0, order, chosen)
        lists = self.lists[other, torch.arange(place.shape[1])]
        return lists.masked_fill(~self.known[..., None], self.width)

    @cached_property
    def _expected_of_own(self) -> Float[Tensor, "statistic fact"]:
        itself = torch.arange(len(self.lists))[:, None]
        return self._expected(itself.expand(self.known.shape))

    def _expected(self, donor: Int[Tensor, "fact language"]) -> Float[Tensor, "statistic fact"]:
        """What is expected of the STATISTICS, by the sizes and common neurons of the donors."""
        probability = self._probability[donor, torch.arange(donor.shape[1])]
        probability = probability * self.known[..., None]
        needed = self.criterion.needed(*self._known_in)
        agnostic = expected_agnostic(probability, *needed, self.columns_by_script)
        alike = [expected_pairs(probability[:, columns]) for columns in self.same_script]
        pairs = self._by_pair(expected_pairs(probability), alike)
        return torch.stack([agnostic, *pairs]).clamp_min(LEAST_EXPECTED)

    @cached_property
    def _probability(self) -> Float[Tensor, "fact language member"]:
        return probabilities(self.lists, self.relation, self.width)

    @cached_property
    def _peers(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each language: facts sorted into groups of one relation that are known in it.

        Returns the facts in that order, the place of each in its group, and the group's size.
        """
        n_relations = int(self.relation.max()) + 1
        group = torch.where(self.known, self.relation[:, None], n_relations)
        order = group.argsort(dim=0, stable=True)
        group = group.gather(0, order)
        sizes = [torch.bincount(column, minlength=n_relations + 1) for column in group.T]
        sizes_by_language = torch.stack(sizes, 1)
        first = sizes_by_language.cumsum(0) - sizes_by_language
        place = torch.arange(len(group))[:, None] - first.gather(0, group)
        return order, place, sizes_by_language.gather(0, group)

    def replaceable(self) -> Bool[Tensor, " fact"]:
        """Whether each of a fact's languages knows another fact of its relation."""
        same = (self.relation[:, None] == self.relation[None]).float()
        others = same @ self.known.float()
        return ((others >= 2) | ~self.known).all(1)

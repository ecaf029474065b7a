"""The shards of a sweep: which facts of a relation, or which edits, share their files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.facts import FactSet
from lafn_viz.experiments.schema import CASE_TABLES, FACT_TABLES, FAILURES


@dataclass(frozen=True)
class Shard:
    """Items whose results share their files: facts of one relation, or edits.

    `first` is the number of its first item in the sweep.
    """

    first: int
    items: tuple[str, ...]
    edits: bool = False

    @property
    def numbers(self) -> range:
        """The numbers of its items."""
        return range(self.first, self.first + len(self.items))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of which it has a file."""
        return (*(CASE_TABLES if self.edits else FACT_TABLES), *FAILURES)


def split_into_shards(facts: FactSet, cases: Sequence[EditCase], per_shard: int) -> list[Shard]:
    """Split the facts of each relation, and then the cases, into shards of nearly one size."""
    by_relation: dict[str, list[Fact]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation, []).append(fact)
    runs = [([fact.id for fact in group], False) for group in by_relation.values()]
    runs.append(([case.id for case in cases], True))
    shards, first = [], 0
    for ids, edits in runs:
        for part in np.array_split(np.arange(len(ids)), -(-len(ids) // per_shard) or 1):
            if len(part):
                shards.append(Shard(first, tuple(ids[k] for k in part), edits))
                first += len(part)
    return shards

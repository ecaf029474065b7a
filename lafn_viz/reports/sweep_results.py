"""What the pages about a sweep say of its store; the report and the atlas read it here."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lafn_viz.core.stats import share_interval
from lafn_viz.datasets.fact import fact_name
from lafn_viz.experiments.compared_sets import WITHOUT
from lafn_viz.experiments.figures import Interval, mean_interval, script_groups
from lafn_viz.experiments.store import Store
from lafn_viz.interventions.effects import Effects
from lafn_viz.neurons.overlap_result import Overlap

if TYPE_CHECKING:
    import pandas as pd


class SweepResults:
    """What a report says of a store; each part is read when it is asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.options = store.head["options"]
        self.model = str(store.head["model"]["name"])
        self.method = str(self.options["methods"][0]) if self.options["methods"] else ""

    @cached_property
    def sets(self) -> "pd.DataFrame":
        """The table `sets` of the first method."""
        sets = self.store.read("sets")
        return sets[sets["method"] == self.method]

    @cached_property
    def overlap(self) -> Overlap | None:
        """How the languages share the neurons; None if no fact is known in two languages."""
        several = self.sets[self.sets["known"]].groupby("fact_id").size() > 1
        return self.store.overlap(self.method) if several.any() else None

    @cached_property
    def effects(self) -> dict[str, Effects]:
        """What ablation changes, by its way, where it was measured."""
        there = self.store.read("effects", columns=["method", "how"])
        there = there[there["method"] == self.method]
        ways = [how for how in self.options["how"] if (there["how"] == how).any()]
        return {how: self.store.effects(how, method=self.method) for how in ways}

    @property
    def how(self) -> str:
        """The first way of ablation that was measured, the cautious one; "" without any."""
        return next(iter(self.effects), "")

    @cached_property
    def lens(self) -> "pd.DataFrame":
        """The table `lens`."""
        return self.store.read("lens")

    @cached_property
    def names(self) -> dict[str, str]:
        """The subject of each fact, in English where it has such a name."""
        named: dict[str, str] = {}
        for row in self.sets.to_dict("records"):
            if row["fact_id"] not in named or row["language"] == "en":
                named[row["fact_id"]] = row["subject"] or row["fact_id"]
        return named

    def known_table(self) -> "pd.DataFrame":
        """The share known, as `KnownShare.to_frame` gives it."""
        import pandas as pd

        sets = self.sets.assign(share=self.sets["n_known"] / self.sets["n_prompts"])
        rows = []
        for (relation, language), of in sets.groupby(["relation", "language"], sort=False):
            low, high = share_interval(of["share"].to_numpy(dtype=float))
            rows.append(
                {
                    "shots": self.options["shots"], "relation": relation, "language": language,
                    "share": of["share"].mean(), "low": low, "high": high, "n_facts": len(of),
                    "n_prompts": int(of["n_prompts"].sum()),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    @cached_property
    def fact_table(self) -> "pd.DataFrame":
        """One row per fact: where it is known, what is shared of it, and what that does."""
        import pandas as pd

        known = self.sets[self.sets["known"]].groupby("fact_id")["language"].agg(list).to_dict()
        first = self.sets.groupby("fact_id")[["relation", "n_agnostic"]].first()
        shared, other = {}, {}
        if self.overlap is not None:
            by_fact = self.overlap.by_fact()
            shared, other = (
                dict(zip(self.overlap.facts, by_fact[name], strict=True))
                for name in ("same fact", "other fact")
            )
        effects = self.effects.get(self.how)
        changes: dict[str, float] = {}
        if effects is not None and WITHOUT in effects.sets:
            own = effects.changes(mean_of=effects.languages)["own fact"]
            changes = dict(zip(effects.facts, own[effects.sets.index(WITHOUT), :, 0], strict=True))
        return pd.DataFrame(
            {
                "fact_id": fact,
                "relation": first["relation"][fact],
                "fact": fact_name(name, first["relation"][fact]),
                "known_in": " ".join(known.get(fact, ())) or "–",
                "agnostic_neurons": int(first["n_agnostic"][fact]),
                "Jaccard": shared.get(fact, np.nan),
                "of_another_fact": other.get(fact, np.nan),
                "change_of_P": changes.get(fact, np.nan),
            }
            for fact, name in self.names.items()
        )

    def effect(self, how: str, name: str, kind: str) -> tuple[str, Interval] | None:
        """The change of P outside Latin script or, without such languages, in it.

        Returns:
            Where it is, and its mean over facts with the 95% interval; None if not measured.
        """
        effects = self.effects.get(how)
        if effects is None or name not in effects.sets:
            return None
        where, codes = script_groups(effects.languages)[0]
        changes = effects.changes(mean_of=codes)[kind][effects.sets.index(name), :, 0]
        return where, mean_interval(changes)

"""The first sentences about a sweep, as a sceptic would say them."""

from collections.abc import Iterator

import numpy as np

from lafn_viz.core.messages import counted
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.experiments.figures import VALUES, Interval
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.reports.parts import decimal, signed_share, with_interval
from lafn_viz.reports.sweep_results import SweepResults


def lead_sentences(found: SweepResults) -> Iterator[str]:
    """What was found, as a sceptic would say it: the cautious figures, each with its control."""
    if len(found.sets):
        known = found.sets["known"]
        languages = found.sets["language"].nunique()
        yield (
            f"The model {found.model} knows {known.sum():,} of {len(known):,} pairs of fact and "
            f"language ({counted(found.sets['fact_id'].nunique(), 'fact')}, "
            f"{counted(languages, 'language')})."
        )
    if found.overlap is not None:
        yield shared_sentence(found.overlap)
    yield from effect_sentences(found)
    if not found.store.complete:
        yield "The sweep is not finished: this report has the shards that are written."


def shared_sentence(overlap: Overlap) -> str:
    """Whether languages share more of one fact than of two."""
    rows: dict[str, Interval] = {
        row["comparison"]: (row["jaccard"], row["low"], row["high"])
        for row in overlap.summary().to_dict("records")
    }
    same, other, difference = (
        with_interval(*rows[name]) for name in ("same fact", "other fact", "same minus other fact")
    )
    low = rows["same minus other fact"][1]
    n_facts = counted(len(overlap.facts), "fact")
    if not np.isfinite(rows["other fact"][0]):
        return (
            f"Its languages share neurons of a fact with a Jaccard index of {same} ({n_facts}); "
            "no other fact of a relation is there to compare with."
        )
    if np.isfinite(low) and low > 0:
        said = "Its languages share more neurons of one fact than of two different facts"
    else:
        said = (
            "It is not shown that its languages share more neurons of one fact than of two "
            "different facts"
        )
    chance = decimal(rows["chance"][0])
    return (
        f"{said}: the Jaccard index is {same} for the same fact and {other} for another one of "
        f"the relation, a difference of {difference}; chance gives {chance} ({n_facts})."
    )


def effect_sentences(found: SweepResults) -> Iterator[str]:
    """What the shared neurons do, in the first way of ablation that was measured."""
    how = found.how
    own = found.effect(how, WITHOUT, "own fact")
    if own is None:
        return
    where, (value, low, high) = own
    random = found.effect(how, WITHOUT, "random neurons")
    most = found.effect(how, OWN_SET, "own fact")
    beside = []
    if random is not None and np.isfinite(random[1][0]):
        beside.append(f"as many random neurons by {signed_share(random[1][0])}")
    if most is not None:
        beside.append(f"a language's own neurons by {signed_share(most[1][0])}")
    doubt = "" if low > 0 or high < 0 else " The interval holds zero: no effect is shown."
    yield (
        f"Neurons that are agnostic without a language, {VALUES[how]}, change the probability "
        f"of its answers by {with_interval(value, low, high, signed_share)} {where}"
        f"{', ' if beside else ''}{', '.join(beside)}.{doubt}"
    )

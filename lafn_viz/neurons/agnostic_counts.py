"""How many neurons are agnostic, by which criterion, and how many would be without a common fact?

A number of agnostic neurons says nothing without its criterion, nor without what the same criterion
finds where languages have no fact in common: in each language the neurons of a random other fact of
the relation. (`significance` makes a test of it, which also allows for how facts differ.)
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from lafn_viz.core.arguments import a_result, a_seed, takes, whole
from lafn_viz.datasets.languages import script_of
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.criterion import Criterion, scripts_holding
from lafn_viz.neurons.neuron_sets import masks_of
from lafn_viz.neurons.null_models import FactSets
from lafn_viz.neurons.overlap_result import Overlap

if TYPE_CHECKING:
    import pandas as pd


@plain_modes()
@takes(overlap=a_result(Overlap), draws=whole(1), seed=a_seed)
def agnostic_counts(overlap: Overlap, *, draws: int = 20, seed: int = 0) -> "pd.DataFrame":
    """Count the agnostic neurons of each fact by the overlap's criterion and by two others.

    Args:
        draws: how often other facts take the place of each fact.

    Returns:
        One row a fact and criterion. `criterion` is the overlap's own, the same number of languages
        of any script, or all languages that know the fact. `agnostic` are the neurons that meet it,
        `one_script` the share of them that the languages of a single script hold (NaN where there
        are none), and `other_facts` how many meet it when each language's set is that of another
        fact (mean over draws; NaN where a language knows no other fact of the relation).
    """
    import pandas as pd

    own = overlap.criterion
    criteria = dict.fromkeys([own, Criterion(own.min_languages), Criterion()])
    fact_sets, generator = FactSets.of(overlap), torch.Generator().manual_seed(seed)
    drawn = [fact_sets.others(generator) for _ in range(draws)]
    replaceable = fact_sets.replaceable().numpy()
    tables = []
    for criterion in criteria:
        of_criterion = replace(fact_sets, criterion=criterion)
        others = torch.stack([of_criterion.statistics(lists)[0] for lists in drawn]).mean(0)
        agnostic, one_script = _counted(overlap, criterion)
        tables.append(
            pd.DataFrame(
                {
                    "fact_id": overlap.facts,
                    "criterion": str(criterion),
                    "agnostic": agnostic,
                    "one_script": one_script,
                    "other_facts": np.where(replaceable, others.numpy(), np.nan),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _counted(
    overlap: Overlap, criterion: Criterion
) -> tuple[Float[np.ndarray, " fact"], Float[np.ndarray, " fact"]]:
    """The agnostic neurons of each fact, and the share of them that one script holds."""
    rows = []
    for fact in overlap.facts:
        languages = overlap.known_in(fact)
        scripts = [script_of(language) for language in languages]
        held = masks_of([overlap.sets[fact, code].neurons for code in languages], overlap.shape)
        agnostic = criterion.agnostic(held, scripts)
        in_one_script = agnostic & (scripts_holding(held, scripts).sum(0) == 1)
        count, in_one = int(agnostic.sum()), int(in_one_script.sum())
        rows.append((count, in_one / count if count else np.nan))
    agnostic_of, one_script_of = np.array(rows, dtype=float).T
    return agnostic_of, one_script_of

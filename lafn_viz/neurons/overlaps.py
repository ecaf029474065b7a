"""Which neurons of a fact do languages share, and is that more than chance and habit?

For sets A, B of two languages the **Jaccard index** is |A and B| / |A or B|. Two controls stand
beside each index, without which it says nothing:

- **other fact**: the same two languages and the same relation, but another subject. Neurons of the
  relation or of the language overlap too, without carrying the fact.
- **chance**: the index expected of random sets with the same count in each layer.

Languages of one script often spell a name alike, and then share neurons because they share tokens.
Pairs of different scripts leave that out: look at both (`across_scripts`).

A neuron is **language-agnostic** for a fact when it is in the sets of all languages that know the
fact (LAFN, arXiv 2406.16416; LIKN in arXiv 2308.13198), or of at least k of them, written in at
least s scripts (see `criterion`); it is **language-specific** when it is in exactly one. Languages
that do not know a fact are left out of it and listed; they do not count as disagreement.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.core.arguments import takes
from lafn_viz.datasets.languages import script_of
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.criterion import Criterion, a_min_languages, a_min_scripts
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet, as_neuron_sets, masks_of, neurons_of
from lafn_viz.neurons.overlap_result import Overlap

Tables = Float[np.ndarray, "fact language language"]


@plain_modes()
@takes(min_languages=a_min_languages, min_scripts=a_min_scripts)
def overlap(
    sets: NeuronSet | Iterable[NeuronSet],
    *,
    min_languages: int | None = None,
    min_scripts: int = 1,
) -> Overlap:
    """Compare the neuron sets of one or more facts between languages.

    Args:
        sets: one per fact and language, from one model (see `select_neurons`).
        min_languages: the number of languages from which on a neuron counts as agnostic; by default
            all languages that know the fact. Where fewer know it, all of them.
        min_scripts: the number of scripts in which these languages are written, at least; with 2 or
            more, languages of one script cannot make a neuron agnostic by themselves. Where the
            languages that know the fact have fewer scripts, all of those.

    Raises:
        ValueError: for no sets, two sets of one fact and language, a `min_languages` under 2, or
            when no fact is known in two languages.
    """
    criterion = Criterion(min_languages, min_scripts)
    sets = as_neuron_sets(sets)
    known = _known_sets(sets)
    languages = tuple(dict.fromkeys(s.language for s in sets))
    shape = sets[0].shape
    table = torch.zeros(len(known), len(languages), shape[0] * shape[1])
    usable = torch.zeros(len(known), len(languages), dtype=torch.bool)
    agnostic: dict[str, frozenset[Neuron]] = {}
    specific: dict[tuple[str, str], frozenset[Neuron]] = {}
    for row, (fact, by_language) in enumerate(known.items()):
        masks = masks_of([s.neurons for s in by_language.values()], shape)
        columns = [languages.index(language) for language in by_language]
        table[row, columns] = masks.flatten(1).float()
        usable[row, columns] = True
        holders = masks.sum(0)
        agnostic[fact] = neurons_of(criterion.agnostic(masks, list(map(script_of, by_language))))
        for language, mask in zip(by_language, masks, strict=True):
            specific[fact, language] = neurons_of(mask & (holders == 1))
    relations = [next(iter(by_language.values())).relation for by_language in known.values()]
    same, chance, coefficient = _compare(table, usable, shape)
    # Sets that are known in one language alone have nothing to be compared with.
    alone = [(s.fact_id, s.language) for s in sets if s.known and s.fact_id not in known]
    return Overlap(
        languages=languages,
        facts=tuple(known),
        agnostic=agnostic,
        specific=specific,
        same_fact=same,
        other_fact=_compare_other_facts(table, usable, relations),
        chance=chance,
        coefficient=coefficient,
        sets={(s.fact_id, s.language): s for s in sets if s.known and s.fact_id in known},
        left_out=(*((s.fact_id, s.language) for s in sets if not s.known), *alone),
        min_languages=min_languages,
        min_scripts=min_scripts,
        shape=shape,
        provenance=sets[0].provenance,
    )


def jaccard_index(shared: Tensor, sizes: Tensor, both: Bool[Tensor, "..."] | bool = True) -> Tensor:
    """Index from |A and B| and |A| + |B|; NaN where not `both` take part, or both are empty."""
    union = sizes - shared
    undefined = torch.full_like(shared, torch.nan)
    return torch.where((union > 0) & both, shared / union.clamp_min(1), undefined)


def _known_sets(sets: Sequence[NeuronSet]) -> dict[str, dict[str, NeuronSet]]:
    """The known sets of each fact that at least two languages know, by language."""
    if not sets:
        raise ValueError("there are no neuron sets; give those of select_neurons()")
    by_fact: dict[str, dict[str, NeuronSet]] = defaultdict(dict)
    for s in sets:
        if s.language in by_fact[s.fact_id]:
            raise ValueError(f"two sets of {s.fact_id!r} in {s.language!r}; give one of them")
        by_fact[s.fact_id][s.language] = s
    known = {
        fact: {language: s for language, s in by_language.items() if s.known}
        for fact, by_language in by_fact.items()
    }
    known = {fact: by_language for fact, by_language in known.items() if len(by_language) >= 2}
    if not known:
        raise ValueError(
            "no fact is known in two languages, so there is no overlap to compute; "
            "score_answers() shows what the model knows"
        )
    return known


def _compare(
    table: Float[Tensor, "fact language neuron"],
    usable: Bool[Tensor, "fact language"],
    shape: tuple[int, int],
) -> tuple[Tables, Tables, Tables]:
    """For each fact and pair of languages: index, index by chance, overlap coefficient."""
    sizes = table.sum(-1)
    both = usable[:, :, None] & usable[:, None, :]
    total = sizes[:, :, None] + sizes[:, None, :]
    shared = table @ table.mT
    same = jaccard_index(shared, total, both)
    per_layer = table.unflatten(-1, shape).sum(-1)
    chance = jaccard_index(per_layer @ per_layer.mT / shape[1], total, both)
    least = torch.minimum(sizes[:, :, None], sizes[:, None, :])
    coefficient = torch.where(both & (least > 0), shared / least.clamp_min(1), torch.nan)
    return same.numpy(), chance.numpy(), coefficient.numpy()


def _compare_other_facts(
    table: Float[Tensor, "fact language neuron"],
    usable: Bool[Tensor, "fact language"],
    relations: Sequence[str],
) -> Tables:
    """For each fact and pair of languages: mean index with the relation's other facts."""
    n_languages = table.shape[1]
    sizes = table.sum(-1)
    means = torch.full((len(table), n_languages, n_languages), torch.nan)
    for relation in dict.fromkeys(relations):
        rows = [row for row, name in enumerate(relations) if name == relation]
        if len(rows) < 2:
            continue
        flat, size, known = (x[rows].flatten(0, 1) for x in (table, sizes, usable))
        index = jaccard_index(
            flat @ flat.T, size[:, None] + size[None], known[:, None] & known[None]
        )
        index = index.view(len(rows), n_languages, len(rows), n_languages)
        itself = torch.arange(len(rows))
        index[itself, :, itself, :] = torch.nan
        means[rows] = index.nanmean(2)
    return means.numpy()

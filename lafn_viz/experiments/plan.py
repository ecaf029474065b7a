"""What a sweep finds out about every fact and edit: its options, with their defaults and checks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch

from lafn_viz.attribution.attribute import Target, check_options
from lafn_viz.attribution.baselines import BASELINES, Baseline
from lafn_viz.attribution.methods import METHODS, Method
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import (
    Reader,
    a_flag,
    a_mapping,
    a_seed,
    one_of,
    or_none,
    some_results,
    some_wholes,
    whole,
    wrong,
)
from lafn_viz.core.options import plain, require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.neuron_editors import language_agnostic
from lafn_viz.experiments.stages import SelectOptions
from lafn_viz.interventions.ablation import ABLATION, Ablation
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.criterion import (
    MIN_LANGUAGES,
    MIN_SCRIPTS,
    a_min_languages,
    a_min_scripts,
)
from lafn_viz.neurons.neuron_sets import FRACTION, select_neurons

AblatedSets = Literal["without", "own", "agnostic", "languages"]


class PlanOptions(TypedDict, total=False):
    """The options of a `Plan`, as `sweep` accepts them: any iterable will do for a tuple."""

    shots: int
    select_on: int | Iterable[int] | None
    known_only: bool
    lens: bool
    methods: Method | Iterable[Method]
    position: Position
    target: Target
    baseline: Baseline
    n_steps: int | Literal["auto"]
    select: Mapping[str, Any]
    min_languages: int | None
    min_scripts: int
    top: int
    dense: bool
    changed: AblatedSets | Iterable[AblatedSets]
    how: Ablation | Iterable[Ablation]
    controls: int
    editors: Editor | Iterable[Editor] | None
    alone: bool
    seed: int
    max_rows: int
    per_shard: int


def _some_of(what: str, allowed: Iterable[str]) -> Reader:
    """Return a reader of some names; `what` is what one of them is called."""
    names = tuple(allowed)
    return lambda name, given: require_one_of(what, given, names)


def _ways(name: str, given: Any) -> tuple[str, ...]:
    """Read ways of ablation, at least one; `scale` has a factor that a plan does not."""
    chosen = require_one_of(name, given, tuple(x for x in get_args(Ablation) if x != "scale"))
    if not chosen:
        raise wrong(name, given, "at least one of zero, mean and resample")
    return chosen


_READERS: dict[str, Reader] = {
    "shots": whole(0), "select_on": or_none(some_wholes(0)), "known_only": a_flag, "lens": a_flag,
    "methods": _some_of("method", METHODS), "position": ABLATION["position"],
    "baseline": one_of(BASELINES),
    "select": a_mapping, "top": whole(1), "dense": a_flag,
    "changed": _some_of("changed", get_args(AblatedSets)), "how": _ways,
    "controls": whole(0), "editors": some_results(Editor), "alone": a_flag, "seed": a_seed,
    "max_rows": whole(2), "per_shard": whole(1), "min_languages": a_min_languages,
    "min_scripts": a_min_scripts,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to find out about every fact and edit.

    Args:
        shots: number of other facts that stand answered before each question (see
            `FactSet.prompts`); base models answer better after two or three.
        select_on: the paraphrases that choose neurons; by default those that the facts do not mark
            as held out.
        known_only: attribute and measure a fact only in the languages in which the model knows it,
            and only in the prompts that it answers. The neurons are the same, at less cost.
        lens: read off every layer in which language it names the answer (see `language_lens`).
        methods: of attribution (see `attribute`); each has its own sets, overlap and effects.
        position, target, n_steps, max_rows: see `attribute`.
        baseline: of the methods that let one choose it (see `attribute`). A mean is over the next
            facts of the relation, up to 8, in the paraphrases that choose neurons.
        select: how neurons are selected: the options of `select_neurons`.
        min_languages, min_scripts: from how many languages and scripts on a shared neuron counts as
            agnostic (see `overlap`).
        top: how many of each prompt's highest scores are kept.
        dense: keep all scores, too: 4 bytes per prompt, layer and neuron.
        changed: which neurons are ablated before the held-out paraphrases are measured: "without",
            in each language those that are agnostic without it; "own", those of the language
            itself; "agnostic", those found with all languages; "languages", the neurons of each
            language, measured in every language. `()` for none.
        how: how they are ablated, in one way or several (see `intervene`). "mean" and "resample"
            take activations from the next facts of the relation, up to 8.
        controls: the number of random sets beside each.
        editors: the editors to try on the cases (see `baselines`).
        alone: edit each case in each language alone, too (see `evaluate`).
        seed: of the random neurons.
        per_shard: how many facts of a relation share a file, and serve as each other's control.

    Raises:
        ValueError: for a value that is not allowed.
    """

    shots: int = 0
    select_on: tuple[int, ...] | None = None
    known_only: bool = False
    lens: bool = True
    methods: tuple[Method, ...] = ("integrated_gradients",)
    position: Position = "all"
    target: Target = "probability"
    baseline: Baseline = "auto"
    n_steps: int | Literal["auto"] = "auto"
    select: Mapping[str, Any] = field(default_factory=lambda: {"fraction": FRACTION})
    min_languages: int | None = MIN_LANGUAGES
    min_scripts: int = MIN_SCRIPTS
    top: int = 100
    dense: bool = False
    changed: tuple[AblatedSets, ...] = ("without", "own")
    how: tuple[Ablation, ...] = ("mean", "zero")
    controls: int = 5
    editors: tuple[Editor, ...] = field(default_factory=lambda: (language_agnostic(),))
    alone: bool = False
    seed: int = 0
    max_rows: int = 256
    per_shard: int = 32

    def __post_init__(self) -> None:
        for name, reader in _READERS.items():
            object.__setattr__(self, name, reader(name, getattr(self, name)))
        for method in self.methods:
            check_options(method, self.target, n_steps=self.n_steps)
        option_names = tuple(SelectOptions.__annotations__)
        require_one_of("option of select_neurons", tuple(self.select), option_names)
        select_neurons(_no_scores(), **self.select)

    def with_options(self, **options: Unpack[PlanOptions]) -> "Plan":
        """A plan that differs in these options. `editors=None` leaves the editors as they are."""
        values: dict[str, Any] = {**options}
        unknown = values.keys() - PlanOptions.__annotations__.keys()
        if unknown:
            raise TypeError(
                f"a sweep has no option {min(unknown)!r}; its options are "
                f"{', '.join(PlanOptions.__annotations__)}"
            )
        if values.get("editors", ()) is None:
            del values["editors"]
        for name in values.keys() & {"methods", "select_on", "changed", "how", "editors"}:
            values[name] = _READERS[name](name, values[name])
        return replace(self, **values)

    def to_json(self) -> dict[str, Any]:
        """The options as `sweep.json` keeps them: editors by name, with their own options."""
        values = {part.name: plain(getattr(self, part.name)) for part in fields(self)}
        per_shard = values.pop("per_shard")
        return {
            **values,
            "editors": [editor.name for editor in self.editors],
            "editor_options": {
                editor.name: {name: plain(value) for name, value in editor.options.items()}
                for editor in self.editors
            },
            "per_shard": per_shard,
        }


def _no_scores() -> NeuronScores:
    """Scores of no prompt, on which the options of `select_neurons` can be tried."""
    empty = torch.zeros(0, 1)
    return NeuronScores(
        values=torch.zeros(0, 1, 2**20), target_prob=empty[:, 0], known=empty[:, 0].bool(),
        completeness_error=empty, relative_error=empty, target_change=empty,
        n_points=empty.long(), prompts=(), provenance=Provenance("none", "", "none"),
    )  # fmt: skip

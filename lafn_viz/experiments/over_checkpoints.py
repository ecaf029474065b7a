"""When does a model come to know, share and transfer facts? Ask every checkpoint of its training.

The facts, prompts and languages are the same at every checkpoint, **whether the model answers or
not**: sets of the facts that it knows would be sets of other facts at each step, and a curve would
show which facts come early rather than what happens to them. Neurons are chosen on some paraphrases
by the same rules at each step, and their effect is measured on the others, in nats: a probability
near zero has nothing to lose.

Knowing is measured in the languages in which training shows a fact, transfer in those in which it
never does (`Fact.held_out`). Facts of your own have none unless your file marks some.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import Method
from lafn_viz.core.arguments import (
    a_flag,
    a_seed,
    in_order,
    or_none,
    some_wholes,
    takes,
    wrong,
)
from lafn_viz.core.json_records import inside_of, is_folder
from lafn_viz.core.messages import listed, quoted
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import outside_latin
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT, Control, compared_sets
from lafn_viz.experiments.stages import locate, measure_held_out, split_prompts
from lafn_viz.interventions.effects import Effects
from lafn_viz.interventions.language_lens import ANOTHER, OWN
from lafn_viz.interventions.lens_names import LensError
from lafn_viz.interventions.lens_reading import language_lens
from lafn_viz.interventions.training_history import (
    EFFECT,
    KNOWING,
    OTHER_LANGUAGE,
    OUTPUT,
    OWN_EFFECT,
    OWN_LANGUAGE,
    PAIRS,
    SHARING,
    TRANSFER,
    VALUES,
    TrainingHistory,
)
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.loading import load_model
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.criterion import MIN_LANGUAGES, MIN_SCRIPTS, a_min_languages, a_min_scripts
from lafn_viz.neurons.neuron_sets import FRACTION, SELECTION
from lafn_viz.neurons.overlap_result import Overlap

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Checkpoints = Mapping[int, str | Path] | Sequence[str | Path] | str | Path
Row = tuple[str, int, str, float, float]  # measure, layer, fact, value, control
ANOTHER_FACT: Control = "another fact's"
CONTROLS: tuple[Control, ...] = ("own set", ANOTHER_FACT)


def _by_step(name: str, checkpoints: Any) -> dict[int, str | Path]:
    """Names and folders of the checkpoints by step, the first step first."""
    steps: list[tuple[Any, Any]]
    if isinstance(checkpoints, Mapping):
        steps = list(checkpoints.items())
    else:
        steps = [(_step_of(path), path) for path in _folders(name, checkpoints)]
    without = [
        str(path) for step, path in steps if isinstance(step, bool) or not isinstance(step, int)
    ]
    if without or not steps:
        what = f"{quoted(without[0])} has no step" if without else "there is no checkpoint"
        raise ValueError(
            f"{what} in {name}={quoted(str(checkpoints))[:200]}; give folders whose names end "
            "in their step, as checkpoint-500 does, or {step: folder}"
        )
    numbers = [step for step, _ in steps]
    if twice := sorted({step for step in numbers if numbers.count(step) > 1}):
        raise ValueError(
            f"two checkpoints are of step {listed([str(step) for step in twice])}; give each step "
            "once, as {step: folder}"
        )
    return dict(sorted(steps))


def _folders(name: str, checkpoints: Any) -> list[str | Path]:
    """The folders given, or those in the folder given whose names end in a number."""
    wanted = "the folder that holds the checkpoints, or {step: folder}"
    if isinstance(checkpoints, str | Path):
        folder = Path(checkpoints).expanduser()
        if not is_folder(folder):
            raise ValueError(f"{name}={quoted(str(checkpoints))} is no folder; give {wanted}")
        return [p for p in inside_of(folder) if _step_of(p) is not None and is_folder(p)]
    given = in_order(checkpoints)
    if given is None or not all(isinstance(path, str | Path) for path in given):
        raise wrong(name, checkpoints, wanted)
    return given


def _step_of(path: str | Path) -> int | None:
    """The number at the end of a folder's name."""
    digits = re.search(r"\d+$", Path(path).name)
    return int(digits[0]) if digits else None


@takes(
    checkpoints=_by_step, fraction=SELECTION["fraction"], min_languages=a_min_languages,
    min_scripts=a_min_scripts, select_on=or_none(some_wholes(0)), seed=a_seed, progress=a_flag,
)  # fmt: skip
def over_checkpoints(
    checkpoints: Checkpoints,
    facts: Facts,
    *,
    asked: Facts | None = None,
    select_on: Sequence[int] | None = None,
    shots: int = 0,
    examples: FactSet | None = None,
    method: Method = "integrated_gradients",
    position: Position = "all",
    fraction: float = FRACTION,
    min_languages: int | None = MIN_LANGUAGES,
    min_scripts: int = MIN_SCRIPTS,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str = torch.float32,
    seed: int = 0,
    progress: bool = True,
) -> TrainingHistory:
    """Measure what a model knows, shares and transfers at each checkpoint of its training.

    One checkpoint is in memory at a time. It costs about what `examine` does.

    Args:
        checkpoints: the folder that holds them, each in a folder whose name ends in its step, such
            as "checkpoint-500"; or such folders; or names and folders by step, each as `load_model`
            takes them.
        facts: whose neurons are found, two or more of a relation.
        asked: facts of which only the answers are asked, for "knowing" and "transfer"; by default
            `facts`. More of them make the intervals narrower.
        select_on: the paraphrases that choose neurons; the others ask for answers. By default those
            that the facts do not mark as held out.
        shots, examples: answered examples before each question (see `FactSet.prompts`).
        method, position, fraction, min_languages, min_scripts: as in `examine`.
        device, dtype: of the models (see `load_model`).
        seed: of controls drawn at random.
        progress: show a bar over checkpoints.

    Raises:
        ValueError: for checkpoints without a step or with the same one, or where the facts leave no
            prompt to choose neurons or none to measure them.
        FileNotFoundError, ValueError: of `load_model`, for a checkpoint that cannot be loaded.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    assert isinstance(checkpoints, Mapping)  # `_by_step` has read them
    studied = as_facts(facts)
    more = studied if asked is None else as_facts(asked, "asked")
    ask: dict[str, Any] = {"shots": shots, "seed": seed, "examples": examples}
    choosing, measuring = split_prompts(studied, select_on=select_on, **ask)
    _, questions = split_prompts(more, select_on=select_on, **ask)
    choosing, measuring = (
        [prompt for prompt in prompts if _shown(prompt)] for prompts in (choosing, measuring)
    )
    if not choosing or not measuring or not questions:
        raise ValueError(
            f"the facts leave {len(choosing)} prompts to choose neurons and {len(measuring)} to "
            "measure them, in languages in which training shows the fact; both need some, so give "
            "facts in several wordings, or select_on="
        )
    values: list[tuple[Any, ...]] = []
    pairs = []
    for step, name in tqdm(checkpoints.items(), desc="checkpoints", disable=not progress):
        model = load_model(name, device=device, dtype=dtype)
        scores = attribute(model, choosing, method=method, position=position, corpus=choosing)
        # Every prompt chooses neurons, answered or not.
        scores = replace(scores, known=torch.ones_like(scores.known))
        found = locate(
            scores, fraction=fraction, min_languages=min_languages, min_scripts=min_scripts
        ).overlap
        sets = compared_sets(found, scores, {}, CONTROLS, seed=seed)
        measured = measure_held_out(
            model, sets, measuring, corpus=[*choosing, *measuring], how="mean",
            position=position, controls=0, other_fact=False, seed=seed,
        )  # fmt: skip
        rows = [
            *_answers(model, questions),
            *_sharing(found),
            *_effects(measured),
            *_lens(model, measuring, studied, seed),
        ]
        values += [(step, *row) for row in rows]
        pairs.append(found.to_frame().assign(step=step)[list(PAIRS)])
    options = {
        "facts": len(studied.facts), "asked": len(more.facts), "select_on": select_on,
        "shots": shots, "attribution": method, "position": position, "fraction": fraction,
        "min_languages": min_languages, "min_scripts": min_scripts,
    }  # fmt: skip
    return TrainingHistory(
        model=_named(checkpoints),
        steps=tuple(checkpoints),
        values=pd.DataFrame(values, columns=list(VALUES)),
        pairs=pd.concat(pairs, ignore_index=True),
        provenance=provenance(model, "over_checkpoints", seed=seed, **options),
    )


def _named(checkpoints: Mapping[int, str | Path]) -> str:
    """What to call the model: its checkpoints' folder, or the name of the last of them."""
    last = checkpoints[max(checkpoints)]
    return Path(last).resolve().parent.name if is_folder(Path(last)) else str(last)


def _shown(prompt: Prompt) -> bool:
    """Whether training shows the prompt's fact in its language."""
    return prompt.split != "held-out pair"


def _answers(model: "TransformerBridge", questions: list[Prompt]) -> Iterable[Row]:
    """The share of each fact's prompts that are answered, where training shows it and where not."""
    known = score_answers(model, questions).known.tolist()
    for measure, of_shown in ((KNOWING, True), (TRANSFER, False)):
        marks: dict[str, list[bool]] = {}
        for prompt, yes in zip(questions, known, strict=True):
            if _shown(prompt) is of_shown:
                marks.setdefault(prompt.fact_id, []).append(yes)
        for fact, answered in marks.items():
            yield measure, OUTPUT, fact, float(np.mean(answered)), np.nan


def _sharing(found: Overlap) -> Iterable[Row]:
    """The Jaccard index across scripts of each fact, beside another fact's."""
    items = found.items(across_scripts=True)
    for row in zip(found.facts, items["same fact"], items["other fact"], strict=True):
        fact, same, other = row
        yield SHARING, OUTPUT, fact, float(same), float(other)


def _effects(measured: Effects) -> Iterable[Row]:
    """What each fact loses outside Latin script with each set at its mean over other facts."""
    languages = [code for code in measured.languages if outside_latin(code)]
    changes = measured.changes(of="log_p", mean_of=languages or list(measured.languages))
    lost: Float[np.ndarray, "set fact"] = -changes["own fact"][:, :, 0]
    by_set = dict(zip(measured.sets, lost, strict=True))
    for measure, name in ((EFFECT, WITHOUT), (OWN_EFFECT, OWN_SET)):
        for row in zip(measured.facts, by_set[name], by_set[ANOTHER_FACT], strict=True):
            fact, own, other = row
            yield measure, OUTPUT, fact, float(own), float(other)


def _lens(
    model: "TransformerBridge", prompts: list[Prompt], facts: FactSet, seed: int
) -> Iterable[Row]:
    """In what share of each fact's prompts a layer names the answer, in which language."""
    try:
        lens = language_lens(model, prompts, facts=facts, seed=seed)
    except LensError:  # no prompt's name can be told apart, in this model's tokens
        return
    ids = list(dict.fromkeys(prompt.fact_id for prompt in lens.prompts))
    for measure, leader in ((OTHER_LANGUAGE, ANOTHER), (OWN_LANGUAGE, OWN)):
        values, controls = (lens.by_fact(table) for table in lens.shares(leader))
        for fact, value, control in zip(ids, values, controls, strict=True):
            for layer, (of_fact, of_others) in enumerate(zip(value, control, strict=True)):
                yield measure, layer, fact, float(of_fact), float(of_others)

"""The main job, end to end: does a model keep its facts in neurons of every language?

1. Attribute every fact in every language, on some of its paraphrases.
2. Select neurons and compare languages; do the same for other facts of the relation (control).
3. For each language find the neurons that are agnostic **without** it, by the same criterion.
4. Change them, and their controls (see `compared_sets`), and ask each fact in that language, in the
   paraphrases that did not choose neurons.

**The first line is the cautious one**: the effect of neurons found without the language, replaced
by their mean over other facts of the relation in the language, outside Latin script. Each of the
three choices removes an effect that needs no shared fact. A language that helped to find neurons
finds its own. Zero is a value that most of these neurons never have, so zeroing also breaks what
has nothing to do with the fact; the mean keeps what the relation and the language need. Languages
of one script share spellings, and with them tokens. Beside it stand the language's own neurons and
all neurons: a small effect says nothing where these do little, too.

Run it on the embedded model and on its control, which knows the same facts without transfer.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from jaxtyping import Bool
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.baselines import Baseline
from lafn_viz.attribution.mean_activations import summed_activations
from lafn_viz.attribution.methods import Method
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import a_flag, a_seed, some_wholes, takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.experiments.compared_sets import CONTROLS, Control, compared_sets
from lafn_viz.experiments.examination import Examination
from lafn_viz.experiments.stages import locate, with_other_facts
from lafn_viz.interventions.effects import effects
from lafn_viz.interventions.replacements import (
    FROM_CORPUS,
    Ablation,
    CorpusActivations,
    fact_in_language,
    read_corpus,
)
from lafn_viz.models.calls import reads_model
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.criterion import (
    MIN_LANGUAGES,
    MIN_SCRIPTS,
    a_min_languages,
    a_min_scripts,
)
from lafn_viz.neurons.neuron_sets import FRACTION, SELECTION, THRESHOLD

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def _controls(name: str, given: Any) -> tuple[str, ...]:
    return require_one_of("control", given, CONTROLS)


def _hows(name: str, given: Any) -> tuple[str, ...]:
    chosen = require_one_of("how", given, get_args(Ablation))
    if not chosen or "scale" in chosen:
        raise ValueError(f"{name}={quoted(given)}; give some of zero, mean and resample")
    return chosen


@reads_model
@takes(
    fraction=SELECTION["fraction"], min_languages=a_min_languages, min_scripts=a_min_scripts,
    hows=_hows, controls=_controls, known_only=a_flag, shots=whole(0), seed=a_seed, progress=a_flag,
)  # fmt: skip
def examine(
    model: "TransformerBridge",
    facts: Facts,
    *,
    select_on: int | Sequence[int] = (0, 1, 2, 3),
    shots: int = 0,
    examples: FactSet | None = None,
    method: Method = "integrated_gradients",
    position: Position = "all",
    baseline: Baseline = "auto",
    fraction: float = FRACTION,
    min_languages: int | None = MIN_LANGUAGES,
    min_scripts: int = MIN_SCRIPTS,
    hows: Ablation | Iterable[Ablation] = ("mean", "zero", "resample"),
    controls: Control | Iterable[Control] = CONTROLS,
    known_only: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Examination:
    """Attribute some facts of one relation, compare languages, and ablate what they share.

    Each prompt that measures costs a pass for every one of `hows` with every one of `controls` (and
    the neurons found without the language).

    Args:
        select_on: the paraphrases that choose neurons; the others measure their effect.
        shots, examples: other facts that stand answered before each question, as in
            `FactSet.prompts`; base models answer better after a few.
        method, position, baseline: of `attribute`; neurons are changed at the same position.
        fraction: the share of all neurons kept for each prompt (see `select_neurons`).
        min_languages, min_scripts: from how many languages and scripts on a shared neuron counts as
            agnostic (see `overlap`).
        hows: the values that changed neurons get (see `intervene`), the first for the first line.
            "mean" and "resample" take them from the prompts of the other facts.
        controls: the sets measured beside the neurons found without the language (see
            `compared_sets`).
        known_only: leave out every prompt that the model does not answer, as it says nothing about
            where a real model keeps the fact, and then those whose language has no other fact left;
            `Examination` says how many remain. By default all prompts are attributed (those not
            answered choose no neurons) and measured.
        seed: of the random neurons and of resampling.
        progress: show a bar for each stage.

    Raises:
        ValueError: if no prompt is left to choose neurons or none to measure them, or no fact is
            known in two languages.
    """
    numbers = some_wholes(0)("select_on", select_on)
    prompts = as_facts(facts).prompts(shots=shots, seed=seed, examples=examples)
    answered = score_answers(model, prompts).known
    used = prompts
    if known_only:
        known = [prompt for prompt, yes in zip(prompts, answered, strict=True) if yes]
        used = with_other_facts(known, known)
    choosing = [prompt for prompt in used if prompt.paraphrase in numbers]
    held_out = [prompt for prompt in used if prompt.paraphrase not in numbers]
    _require_both(choosing, held_out, f"select_on={quoted(numbers)}")
    scores = attribute(
        model, choosing, method=method, position=position, baseline=baseline, corpus=used,
        progress=progress,
    )  # fmt: skip
    return examine_scores(
        model, scores, held_out, used, read_once(model, used, position),
        answered=answered, fraction=fraction,
        min_languages=min_languages, min_scripts=min_scripts, hows=hows,  # type: ignore[arg-type]
        controls=controls,  # type: ignore[arg-type]
        seed=seed, progress=progress,
    )  # fmt: skip


def examine_scores(
    model: "TransformerBridge",
    scores: NeuronScores,
    held_out: list[Prompt],
    corpus: list[Prompt],
    read: Callable[[Ablation], CorpusActivations],
    *,
    answered: Bool[Tensor, " prompt"],
    fraction: float,
    min_languages: int | None,
    min_scripts: int,
    hows: Iterable[Ablation],
    controls: Iterable[Control],
    seed: int,
    progress: bool,
) -> Examination:
    """Examine facts that are attributed already.

    Args:
        held_out: the prompts of these facts that measure.
        corpus: prompts of other facts, too, whose activations "mean" and "resample" take.
        read: reads this corpus (see `read_once`).
        answered: of all prompts asked, whether the model answers them.
        fraction, min_languages, min_scripts, hows, controls, seed, progress: as in `examine`.
    """
    criterion: dict[str, Any] = {"min_languages": min_languages, "min_scripts": min_scripts}
    position = scores.provenance.options["position"]
    found = locate(scores, fraction=fraction, **criterion).overlap
    choosing, controls, ways = list(scores.prompts), tuple(controls), tuple(hows)
    active = {}
    if "as active" in controls:
        active = summed_activations(
            model, choosing, by=fact_in_language, position=position, special_tokens=False
        )
    activations = {key: part.mean for key, part in active.items()}
    sets = compared_sets(found, scores, activations, controls, seed=seed)
    if set(ways) & set(FROM_CORPUS):
        held_out = with_other_facts(held_out, corpus)
    _require_both(choosing, held_out, "hows: no language has prompts of two facts; this")
    return Examination(
        model=scores.provenance.model,
        known=answered.float().mean().item(),
        n_prompts=len(answered),
        n_choosing=len(choosing),
        n_measured=len(held_out),
        scores=scores,
        overlap=found,
        papers=locate(scores, threshold=THRESHOLD, **criterion).overlap,
        effects={
            how: effects(
                model, sets, held_out, how=how, position=position, controls=0, other_fact=False,
                corpus=read(how) if how in FROM_CORPUS else None, seed=seed, progress=progress,
            )
            for how in ways
        },
    )  # fmt: skip


def read_once(
    model: "TransformerBridge", corpus: Sequence[Prompt], position: Position
) -> Callable[[Ablation], CorpusActivations]:
    """Return a function that reads the corpus for a way of ablation, once for each way."""

    @cache
    def read(how: Ablation) -> CorpusActivations:
        return read_corpus(model, corpus, how=how, position=position, without_own=True)

    return read


def _require_both(choosing: list[Prompt], held_out: list[Prompt], what: str) -> None:
    """Raise ValueError unless some prompts choose neurons and some measure them."""
    if not choosing or not held_out:
        raise ValueError(
            f"{what} leaves {len(choosing)} prompts to choose neurons and {len(held_out)} to "
            "measure them; both need some"
        )

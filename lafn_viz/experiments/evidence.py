"""Does a public model share facts between languages? Choose on some facts, report on others.

Nobody knows beforehand how many neurons of a model to keep, or in how many languages. Options that
are chosen on the facts that they are reported on flatter the result. So:

1. Ask every fact in every language and wording. Only prompts that the model answers take part, and
   only facts that it knows in several languages of several scripts.
2. Split these facts at random into two halves, and attribute all their prompts once.
3. On one half, try every fraction of neurons with every criterion of "agnostic": how much more do
   the neurons found without a language change its answer than another fact's do?
4. On the other half, measure once, with the options that did best (see `examine`).
5. Exchange the halves. Every fact reports, and no fact has a say in its own options (two-fold
   cross-fitting; Chernozhukov et al. 2018, "Double/debiased machine learning", section 3).
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import Method
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import a_flag, a_seed, or_none, some_wholes, takes, whole
from lafn_viz.core.stats import mean_of_finite
from lafn_viz.datasets.arguments import Facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.experiments.compared_sets import CONTROLS, Control, compared_sets
from lafn_viz.experiments.examination import Examination
from lafn_viz.experiments.examine import examine_scores, read_once
from lafn_viz.experiments.figures import (
    comparison_text,
    counts,
    effect_table,
    figure_table,
    headline,
    pair_table,
)
from lafn_viz.experiments.stages import locate, with_other_facts
from lafn_viz.interventions.effects import effects
from lafn_viz.interventions.replacements import Ablation, CorpusActivations
from lafn_viz.models.calls import reads_model
from lafn_viz.models.known import known_share
from lafn_viz.models.scoring import AnswerScores
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

FRACTIONS = (0.005, 0.01, 0.02)  # of all neurons, kept a prompt
CRITERIA = ((3, 2), (4, 2), (4, 3))  # languages and scripts
KNOWN_IN = (4, 2)
FEWEST_FACTS = 6  # in each half


@dataclass(frozen=True)
class Evidence:
    """What a model shares between languages, by options chosen on other facts.

    `answers` are of all prompts asked, and `halves` the facts that take part. `examinations` has
    one part for each half, by the options that did best on the other half. `tried` has one row per
    half and pair of options: `half` (0 or 1), fraction, min_languages, min_scripts, and on the
    facts of this half the mean `difference` (nats, in log P) between the effect of neurons found
    without the language and that of another fact's, and its ratio `t` to its standard error; the
    largest `t` was chosen for the other half. Other facts are those of the same half.
    """

    answers: AnswerScores
    tried: "pd.DataFrame"
    halves: tuple[tuple[str, ...], tuple[str, ...]]
    examinations: tuple[Examination, Examination]

    def __repr__(self) -> str:
        return (
            f"Evidence({len(self.facts)} facts in {self.model}: {headline(self.examinations)}; "
            f"{self.n_measured} of {len(self.answers.known)} prompts measured; options of each "
            "half chosen on the other)"
        )

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.examinations[0].model

    @property
    def facts(self) -> tuple[str, ...]:
        """The ids of the facts that take part, those of the first half first."""
        return self.halves[0] + self.halves[1]

    @property
    def n_measured(self) -> int:
        """How many prompts measure effects."""
        return sum(part.n_measured for part in self.examinations)

    @property
    def chosen(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The options by which each half reports, which did best on the other half."""
        return _best(self.tried, 1), _best(self.tried, 0)

    def to_frame(self) -> "pd.DataFrame":
        """The figures over the facts of both halves, as in `Examination.to_frame`."""
        return figure_table(self.examinations)

    def tables(self) -> "dict[str, pd.DataFrame]":
        """The result as tidy tables by name, over the facts of both halves.

        `figures` (see `Examination.to_frame`), `effects` by group of languages and `by_language`
        (see `Examination.effect_table`), `pairs` of languages (see `Overlap.to_frame`), `counts` of
        agnostic neurons, the options `tried`, and how many prompts are `known` by relation,
        language and paraphrase.
        """
        parts, keys = self.examinations, ["relation", "language", "paraphrase"]
        asked = self.answers.to_frame().groupby(keys)["known"]
        return {
            "figures": self.to_frame().reset_index(),
            "effects": effect_table(parts),
            "by_language": effect_table(parts, by_language=True),
            "pairs": pair_table(parts),
            "counts": counts(parts),
            "tried": self.tried,
            "known": asked.agg(["size", "sum"]).set_axis(["asked", "known"], axis=1).reset_index(),
        }

    def to_text(self) -> str:
        """What was asked and chosen, and the figures, as a text to print."""
        known = self.answers.known
        lines = [f"{self.model} answers {int(known.sum())} of {len(known)} prompts."]
        for half, options, part in zip(self.halves, self.chosen, self.examinations, strict=True):
            lines += [
                f"Reported on {', '.join(half)}, by options chosen on the other facts:",
                f"  the best {options['fraction']:.1%} of neurons a prompt, agnostic in "
                f"{part.overlap.criterion};",
                f"  {part.n_choosing} prompts choose neurons, {part.n_measured} measure.",
            ]
        return "\n".join([*lines, comparison_text({self.model: self.to_frame()})])


@reads_model
@takes(shots=whole(0), n_facts=or_none(whole(2)), seed=a_seed, progress=a_flag)
def evidence(
    model: "TransformerBridge",
    facts: Facts,
    *,
    paraphrases: int | Sequence[int] | None = None,
    select_on: int | Sequence[int] | None = None,
    shots: int = 0,
    examples: FactSet | None = None,
    method: Method = "integrated_gradients",
    position: Position = "answer",
    fractions: Sequence[float] = FRACTIONS,
    criteria: Sequence[tuple[int, int]] = CRITERIA,
    known_in: tuple[int, int] = KNOWN_IN,
    n_facts: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Evidence:
    """Choose how to find agnostic neurons on half of the facts, report on the other, and exchange.

    Args:
        facts: of one relation or of several; a fact's controls are others of its relation.
        paraphrases: which are asked; by default all. Leave out those that the model hardly knows.
        select_on: the paraphrases that choose neurons; the others measure their effect. By default
            all do both, since a base model knows few wordings of a fact: neurons found without a
            language have not seen its prompts in any wording. The sets "agnostic", "own set" and
            "as highly attributed" have then seen the prompts that measure them.
        shots, examples: other facts that stand answered before each question (see
            `FactSet.prompts`).
        method, position: of `attribute`; neurons are changed at the same position.
        fractions: shares of all neurons to keep for each prompt.
        criteria: numbers of languages and of scripts from which on a neuron counts as agnostic.
        known_in: in how many languages of how many scripts the model must know a fact, in
            paraphrases that choose neurons.
        n_facts: the most facts that take part, drawn at random.
        seed: of this draw, of the halves, and of the random neurons.

    Raises:
        ValueError: if the model knows too few facts for two halves.
    """
    import pandas as pd

    numbers = None if select_on is None else some_wholes(0)("select_on", select_on)
    asked = known_share(
        model, facts, shots=shots, paraphrases=paraphrases, examples=examples, seed=seed
    )
    languages, scripts = known_in
    usable = sorted(
        asked.facts(shots=shots, languages=languages, scripts=scripts, share=0, paraphrases=numbers)
    )
    answers = asked.answers[shots]
    known = [p for p, is_known in zip(answers.prompts, answers.known, strict=True) if is_known]
    if len(usable) < 2 * FEWEST_FACTS:
        raise ValueError(
            f"the model knows {len(usable)} facts in {languages} languages of {scripts} "
            f"scripts; evidence needs {2 * FEWEST_FACTS}, half of them to choose options, so give "
            "more facts, examples before the questions (shots=3), or a smaller known_in"
        )
    random.Random(seed).shuffle(usable)
    usable = usable[:n_facts]
    halves = tuple(sorted(usable[::2])), tuple(sorted(usable[1::2]))
    taking_part = [prompt for prompt in known if prompt.fact_id in usable]
    scores = attribute(
        model,
        [p for p in taking_part if numbers is None or p.paraphrase in numbers],
        method=method,
        position=position,
        corpus=taking_part,
        progress=progress,
    )
    read = read_once(model, taking_part, position)

    def parts(half: Collection[str]) -> tuple[NeuronScores, list[Prompt]]:
        """The scores of these facts, and the prompts of theirs that measure."""
        own = scores.select(lambda prompt: prompt.fact_id in half)
        unseen = [p for p in taking_part if p.paraphrase not in (numbers or ())]
        return own, [prompt for prompt in unseen if prompt.fact_id in half]

    options: dict[str, Any] = {"seed": seed, "progress": progress}
    choices = tuple(product(fractions, criteria))
    tried = pd.concat(
        [
            _tried(model, *parts(half), taking_part, read, choices, **options).assign(half=number)
            for number, half in enumerate(halves)
        ],
        ignore_index=True,
    )

    def reported(half: int) -> Examination:
        best = _best(tried, 1 - half)
        return examine_scores(
            model,
            *parts(halves[half]),
            taking_part,
            read,
            answered=answers.known,
            hows=("mean", "zero", "resample"),
            controls=CONTROLS,
            fraction=float(best["fraction"]),
            min_languages=int(best["min_languages"]),
            min_scripts=int(best["min_scripts"]),
            **options,
        )

    return Evidence(answers, tried, halves, (reported(0), reported(1)))


def _tried(
    model: "TransformerBridge",
    scores: NeuronScores,
    held_out: list[Prompt],
    corpus: list[Prompt],
    read: Callable[[Ablation], CorpusActivations],
    choices: Sequence[tuple[float, tuple[int, int]]],
    *,
    seed: int,
    progress: bool,
) -> "pd.DataFrame":
    """The difference between a fact's and another fact's neurons, for each pair of options.

    The sets of all options are measured together: most of the cost is that of the prompts.
    """
    import pandas as pd

    other_fact: tuple[Control, ...] = ("another fact's",)
    sets = {}
    for number, (fraction, (languages, scripts)) in enumerate(choices):
        found = locate(scores, fraction=fraction, min_languages=languages, min_scripts=scripts)
        compared = compared_sets(found.overlap, scores, {}, other_fact, seed=seed)
        sets.update({f"{number} {name}": of_name for name, of_name in compared.items()})
    measured = effects(
        model, sets, with_other_facts(held_out, corpus), how="mean",
        position=scores.provenance.options["position"], controls=0, other_fact=False,
        corpus=read("mean"), seed=seed, progress=progress,
    )  # fmt: skip
    changes = measured.changes(of="log_p")["own fact"].reshape(
        len(choices), 2, len(measured.facts), len(measured.languages)
    )
    rows = []
    for (fraction, (languages, scripts)), (own, other) in zip(choices, changes, strict=True):
        # Fewer nats are more effect. Each fact counts once, whatever its languages.
        difference = _standardised(mean_of_finite(other - own, 1))
        rows.append(
            {"fraction": fraction, "min_languages": languages, "min_scripts": scripts, **difference}
        )
    return pd.DataFrame(rows)


def _best(tried: "pd.DataFrame", half: int) -> dict[str, Any]:
    """The options with the largest t on this half."""
    return {**tried[tried["half"] == half].sort_values("t", na_position="first").iloc[-1]}


def _standardised(values: Float[np.ndarray, " fact"]) -> dict[str, Any]:
    """The mean of the finite values, how many there are, and the ratio to its standard error."""
    finite = values[np.isfinite(values)]
    mean = float(finite.mean()) if len(finite) else np.nan
    error = finite.std(ddof=1) / np.sqrt(len(finite)) if len(finite) > 1 else np.nan
    return {"facts": len(finite), "difference": mean, "t": mean / error if error > 0 else np.nan}

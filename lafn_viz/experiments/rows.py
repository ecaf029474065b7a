"""Everything a sweep finds out about one fact, or one edit, as rows of the store's tables.

A fact is run through the stages of an experiment (see `stages`) by each method of attribution. An
edit is made with each editor; then everything that belongs to it is asked.

A stage that fails is recorded with its reason, and whatever does not need its result goes on.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import METHODS, Method
from lafn_viz.attribution.scores import CompletenessWarning, NeuronScores
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.languages import script_of
from lafn_viz.datasets.prompts import Prompt, prompt_columns
from lafn_viz.editing.baselines.editor import Applicable, Editor
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.experiments.plan import Plan
from lafn_viz.experiments.questions import AskedFact, Questions, ask
from lafn_viz.experiments.schema import (
    CASE_TABLES,
    FACT_TABLES,
    FAILURES,
    ItemResult,
    dense_file,
    schema,
    table_of,
)
from lafn_viz.experiments.stages import (
    LocatedNeurons,
    locate,
    measure_held_out,
    with_other_facts,
)
from lafn_viz.interventions.language_lens import LanguageLens
from lafn_viz.interventions.lens_names import LensError
from lafn_viz.interventions.lens_reading import language_lens
from lafn_viz.interventions.replacements import FROM_CORPUS
from lafn_viz.models.scoring import AnswerScores
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

PROMPTS_AT_ONCE = 128  # in an evaluation, at most
REASON_LENGTH = 2000  # characters of an error's message that are kept


def fact_rows(
    model: "TransformerBridge",
    questions: Questions,
    fact: Fact,
    control: Fact | None,
    plan: Plan,
    *,
    number: int,
    others: Sequence[Fact] = (),
) -> ItemResult:
    """Return the rows about one fact.

    Args:
        questions: asks for the facts of the sweep.
        control: another fact of its relation, on which its neurons should have no effect.
        others: further facts of its relation, of which means are taken, and whose objects are the
            control of the lens.
        number: the number of the fact in the sweep.
    """
    rows = RowCollector(str(model.cfg.model_name), fact.id)
    with rows.stage("prompts"):
        asked = ask(model, questions, fact, control, others)
        for method in plan.methods:
            with rows.stage(f"attribution: {method}"):
                _add_method(rows, model, fact, asked, method, plan, number)
        # A prompt that cannot be read is told once.
        if plan.lens and asked.choosing and "scores" in rows.frames:
            with rows.stage("lens"), suppress(LensError):
                named = replace(questions.facts, facts=(fact, *others))
                lens = language_lens(model, asked.choosing, facts=named, seed=plan.seed)
                rows.add("lens", _lens_frame(lens), fact_id=fact.id, relation=fact.relation)
    return rows.result(FACT_TABLES)


def _add_method(
    rows: "RowCollector",
    model: "TransformerBridge",
    fact: Fact,
    asked: AskedFact,
    method: Method,
    plan: Plan,
    number: int,
) -> None:
    """Add the rows that one method of attribution gives about a fact."""
    keys = {"method": method, "relation": fact.relation}
    if not asked.choosing:  # the model knows nothing of it
        rows.add("sets", _sets_frame(asked.all_sets([], model), frozenset(), fact.object), **keys)
        rows.add_left_out(asked, method)
        return
    scores = attribute(
        model, asked.choosing, method=method, position=plan.position, target=plan.target,
        n_steps=plan.n_steps, max_rows=plan.max_rows, corpus=asked.corpus,
        baseline=plan.baseline if METHODS[method].takes_baseline else "auto",
    )  # fmt: skip
    located = locate(
        scores, min_languages=plan.min_languages, min_scripts=plan.min_scripts, **plan.select
    )
    located = replace(located, sets=tuple(asked.all_sets(located.sets, model)))
    agnostic = located.agnostic.get(fact.id, frozenset())
    rows.add("prompts", _prompts_frame(scores, plan, number), method=method)
    rows.add_left_out(asked, method)
    rows.add("scores", _scores_frame(scores, plan), method=method)
    rows.add("sets", _sets_frame(located.sets, agnostic, fact.object), **keys)
    rows.add("neurons", _neurons_frame(located.sets, agnostic), **keys)
    if plan.dense:
        rows.dense[method] = scores.values
    ablated = _ablated_sets(fact.id, located, plan) if asked.held_out else {}
    if any(neurons for by_key in ablated.values() for neurons in by_key.values()):
        for how in plan.how:
            with rows.stage(f"effects: {method}, {how}"):
                if how not in FROM_CORPUS or with_other_facts(
                    asked.held_out, asked.held_out_corpus
                ):
                    effects = measure_held_out(
                        model, ablated, asked.held_out, control_fact=asked.control,
                        corpus=asked.held_out_corpus, how=how, position=plan.position,
                        controls=plan.controls, seed=plan.seed,
                    )  # fmt: skip
                    frame = effects.to_frame()
                    rows.add("effects", frame[frame["fact_id"] == fact.id], how=how, **keys)


def case_rows(model: "TransformerBridge", case: EditCase, plan: Plan) -> ItemResult:
    """Return the rows about one edit: what each editor changes, and all answers afterwards."""
    rows = RowCollector(str(model.cfg.model_name), case.id)
    for editor in plan.editors:
        with rows.stage(f"edit: {editor.name}"):
            change = editor.edit(model, case, case.languages)
            if isinstance(change, EditCache):
                for edit in change:
                    rows.add(
                        "edits", edit.to_frame(), case=case.id, editor=editor.name,
                        position=edit.position,
                    )  # fmt: skip
            with rows.stage(f"evaluation: {editor.name}"):
                evaluation = evaluate(
                    model, _with_change(editor, change, case), [case], alone=plan.alone,
                    progress=False, max_prompts=min(plan.max_rows, PROMPTS_AT_ONCE),
                )  # fmt: skip
                rows.add("answers", evaluation.to_frame())
    return rows.result(CASE_TABLES)


def failed_item(
    model: str, item: str, tables: Iterable[str], *, error: str, reason: str
) -> ItemResult:
    """Return the rows about an item of which every stage failed: one row of `failures`."""
    rows = RowCollector(model, item)
    rows.add_failure("all", error, reason)
    return rows.result(tables)


@dataclass
class RowCollector:
    """Collects the frames of each table while an item is run, and what failed."""

    model: str
    item: str
    frames: dict[str, list["pd.DataFrame"]] = field(default_factory=dict)
    dense: dict[str, Tensor] = field(default_factory=dict)

    def add(self, table: str, frame: "pd.DataFrame", **columns: Any) -> None:
        """Add a frame to a table, with the model and further columns of one value each."""
        self.frames.setdefault(table, []).append(frame.assign(model=self.model, **columns))

    def add_left_out(self, asked: AskedFact, method: Method) -> None:
        """Add to `prompts` those that were asked and, as they choose no neurons, no more."""
        answers = asked.left_out
        if answers is not None and answers.prompts:
            self.add("prompts", _left_out_frame(answers), method=method)

    def add_failure(self, stage: str, error: str, reason: str) -> None:
        """Add a row to `failures`, with the reason on one line."""
        import pandas as pd

        # No table can hold half a character.
        text = reason.encode(errors="backslashreplace").decode()
        row = (self.item, stage, error, " ".join(text.split())[:REASON_LENGTH])
        self.add("failures", pd.DataFrame([row], columns=["item", "stage", "error", "reason"]))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record an exception of a stage instead of letting it stop the sweep."""
        try:
            with warnings.catch_warnings():
                # The prompts' `relative_error` holds what the warning says.
                warnings.simplefilter("ignore", CompletenessWarning)
                yield
        except Exception as error:
            self.add_failure(name, type(error).__name__, str(error))

    def result(self, tables: Iterable[str]) -> ItemResult:
        """The tables, of the store's columns and types; empty where nothing was added."""
        import pandas as pd

        return ItemResult(
            {
                name: table_of(name, pd.concat(self.frames[name]))
                if name in self.frames
                else schema(name).empty_table()
                for name in (*tables, *FAILURES)
            },
            self.dense,
        )


def _prompts_frame(scores: NeuronScores, plan: Plan, number: int) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {
            **_keys(scores.prompts),
            "probability": scores.target_prob.numpy(),
            "known": scores.known.numpy(),
            "relative_error": scores.relative_error.amax(1).numpy(),
            "n_points": scores.n_points.amax(1).numpy(),
            "dense": dense_file(number) if plan.dense else None,
            "row": range(len(scores.prompts)),
        }
    )


def _keys(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """The columns of the table `prompts` that prompts give; `sweep.json` has the examples."""
    return {name: x for name, x in prompt_columns(prompts).items() if name != "shots"}


def _left_out_frame(answers: AnswerScores) -> "pd.DataFrame":
    import pandas as pd

    nothing = pd.array([pd.NA] * len(answers.prompts), dtype="Int32")
    return pd.DataFrame(
        {
            **_keys(answers.prompts),
            "probability": answers.probability.numpy(),
            "known": answers.known.numpy(),
            "relative_error": np.nan,
            "n_points": nothing,
            "dense": None,
            "row": nothing,
        }
    )


def _lens_frame(lens: LanguageLens) -> "pd.DataFrame":
    """One row per language, layer and language of the name, where names are told apart."""
    frame = lens.by_language()
    return frame[frame["n_prompts"] > 0]


def _scores_frame(scores: NeuronScores, plan: Plan) -> "pd.DataFrame":
    # `prompts` holds the texts; here they would be repeated for every score.
    return scores.to_frame(top=plan.top).drop(columns=["shots", "split", "text", "answer"])


def _sets_frame(
    sets: Sequence[NeuronSet], agnostic: frozenset[Neuron], answers: Mapping[str, str]
) -> "pd.DataFrame":
    """One row per language; `answers` are the names of the object."""
    import pandas as pd

    n_languages = _languages_per_neuron(sets)
    return pd.DataFrame(
        {
            "fact_id": [held.fact_id for held in sets],
            "language": [held.language for held in sets],
            "subject": [held.subject for held in sets],
            "object": [answers.get(held.language, "") for held in sets],
            "n_prompts": [held.n_prompts for held in sets],
            "n_known": [held.n_known for held in sets],
            "known": [held.known for held in sets],
            "n_neurons": [len(held.neurons) for held in sets],
            "n_agnostic": len(agnostic),
            "n_specific": [
                sum(held.known and n_languages[neuron] == 1 for neuron in held.neurons)
                for held in sets
            ],
        }
    )


def _neurons_frame(sets: Sequence[NeuronSet], agnostic: frozenset[Neuron]) -> "pd.DataFrame":
    """One row per language and neuron."""
    import pandas as pd

    n_languages, n_scripts = _languages_per_neuron(sets), _scripts_per_neuron(sets)
    members = [
        (
            held.fact_id, held.language, *neuron, n_languages[neuron], n_scripts[neuron],
            held.known and neuron in agnostic, held.known and n_languages[neuron] == 1,
        )
        for held in sets
        for neuron in sorted(held.neurons)
    ]  # fmt: skip
    columns = [
        "fact_id", "language", "layer", "neuron", "n_languages", "n_scripts", "agnostic",
        "specific",
    ]  # fmt: skip
    return pd.DataFrame(members, columns=columns)


def _languages_per_neuron(sets: Sequence[NeuronSet]) -> Counter[Neuron]:
    return Counter(neuron for held in sets if held.known for neuron in held.neurons)


def _scripts_per_neuron(sets: Sequence[NeuronSet]) -> Counter[Neuron]:
    by_script: dict[str, set[Neuron]] = {}
    for held in sets:
        if held.known:
            by_script.setdefault(script_of(held.language), set()).update(held.neurons)
    return Counter(neuron for neurons in by_script.values() for neuron in neurons)


def _ablated_sets(
    fact_id: str, located: LocatedNeurons, plan: Plan
) -> dict[str, dict[Any, frozenset[Neuron]]]:
    """The neurons to ablate: by the name of the set, those of the fact, or of it in a language."""
    known = {held.language: held.neurons for held in located.sets if held.known}
    ablated: dict[str, dict[Any, frozenset[Neuron]]] = {}
    for changed in plan.changed:
        if changed == "without" and len(known) > 1:
            found = {code: located.overlap.agnostic_without(code).get(fact_id) for code in known}
            ablated[WITHOUT] = {(fact_id, code): x for code, x in found.items() if x is not None}
        elif changed == "own":
            ablated[OWN_SET] = {(fact_id, code): neurons for code, neurons in known.items()}
        elif changed == "agnostic":
            ablated["agnostic"] = {fact_id: located.agnostic.get(fact_id, frozenset())}
        elif changed == "languages":
            ablated |= {code: {fact_id: neurons} for code, neurons in known.items()}
    return ablated


def _with_change(editor: Editor, change: Applicable, case: EditCase) -> Editor:
    """The editor, which returns the change that it has already computed for all languages."""

    def edit(model: "TransformerBridge", case_: EditCase, languages: Sequence[str]) -> Applicable:
        if tuple(languages) == case.languages:
            return change
        return editor.edit(model, case_, languages)

    return replace(editor, edit=edit)

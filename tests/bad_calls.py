"""Call every public function with wrong values, one argument at a time, in a plain interpreter.

Prints the calls that were answered with anything but one sentence, and those in which an object of
no meaning passed. Passes of the model are stopped, so that what is refused is refused before any.
"""

import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fuzzing import answered_in_a_sentence

import lafn_viz as lv
from lafn_viz.editing.evaluation.answers import Answered
from lafn_viz.editing.optimise import EDIT_OPTIONS
from lafn_viz.neurons.neuron_sets import Neuron

warnings.simplefilter("ignore")


class Read(BaseException):
    """The model was about to be read: the arguments were taken."""


class Unknown:
    """Stands for nothing that any function takes."""


def stop(*args: Any, **options: Any) -> None:
    raise Read


model = lv.load_model("embedded")
capitals = lv.load_facts().filter(relation="capital", languages=["en", "fr"])
facts = capitals.filter(subjects=["FR", "JP"])
prompts = [prompt for prompt in facts.prompts() if prompt.paraphrase < 2]
scores = lv.attribute(model, prompts, method="gradient_x_activation")
sets = lv.select_neurons(scores, top=20)
shared = lv.overlap(sets)
one = {"case": "a", "metric": "reliability", "language": "en", "text": "", "aliases": ()}
one |= {"reference": "b", "before": "b", "after": "b", "token_accuracy_before": 0.0}
answers = tuple(Answered(**one, edited_in=x, token_accuracy=0.0) for x in ("en", "all"))
evaluation = lv.Evaluation("none", answers, lv.Provenance("made-up", "", "made-up"))
abroad = [p for p in lv.load_facts().filter(subjects=["FR", "JP"]).prompts() if p.paraphrase == 1]
lens = lv.language_lens(model, [p for p in abroad if p.language in ("en", "ru")], controls=1)
case = lv.counterfactual_case(facts, subject="FR", relation="capital", new_object="Tokyo")
edit = lv.Edit(
    "FR", "capital", {"en": ("France",)}, {"en": "Paris"}, {"en": "Tokyo"}, (Neuron(0, 1),),
    torch.ones(1), "from_subject", (1.0,), 1.0, 0.0, tuple(prompts[:1]), scores.provenance,
)  # fmt: skip
editor = lv.baselines.language_agnostic(n_neurons=5)
effects = lv.effects(model, {"agnostic": shared.agnostic}, prompts, controls=1)
significance = lv.significance(shared, n_permutations=19)
matcher = lv.SubjectMatcher({"FR": {"en": "France"}})
model.forward = model.original_model.forward = stop

WRONG: list[Any] = [
    Unknown(), None, -1, 2.5, float("nan"), True, "no such thing", "a\x00b", [], (1, 2), {"a": 1},
    prompts[0], facts, shared, sets, model, np.zeros((2, 2)), pd.DataFrame({"a": [1]}), lv.Prompt,
    Path("none/such"), [None], case, [(99, 1)],
]  # fmt: skip
CALLS: dict[Callable[..., Any], dict[str, Any]] = {
    lv.attribute: {"model": model, "prompts": prompts},
    lv.score_answers: {"model": model, "prompts": prompts},
    lv.next_tokens: {"model": model, "prompts": prompts},
    lv.select_neurons: {"scores": scores},
    lv.overlap: {"sets": sets},
    lv.random_like: {"neurons": [(0, 1)], "shape": (4, 640), "seed": 0},
    lv.matched_like: {"neurons": [(0, 1)], "values": torch.zeros(4, 640)},
    lv.agnostic_counts: {"overlap": shared},
    lv.lape: {"model": model, "prompts": prompts},
    lv.significance: {"overlap": shared, "n_permutations": 19},
    lv.stability: {"scores": scores, "draws": 2},
    lv.threshold_curve: {"scores": scores, "values": [0.1]},
    lv.intervene: {"model": model, "prompts": prompts, "neurons": [(0, 1)]},
    lv.effects: {"model": model, "sets": {"a": shared.agnostic}, "prompts": prompts},
    lv.transplant: {
        "model": model, "from_prompts": prompts, "to_prompts": prompts,
        "neurons": shared.agnostic,
    },
    lv.trace_subject: {"model": model, "prompts": prompts},
    lv.language_lens: {"model": model, "prompts": prompts},
    lv.lens_effects: {"model": model, "prompts": prompts, "sets": {"a": shared.agnostic}},
    lv.failures: {"lens": lens, "scores": None},
    lv.neuron_card: {"model": model, "prompts": prompts, "neuron": (0, 1)},
    lv.neuron_table: {"scores": scores, "overlap": shared},
    lv.neurons_promoting: {"model": model, "prompts": prompts, "text": "Paris"},
    lv.find_degenerate: {"model": model, "scores": scores},
    lv.overview: {},
    lv.check_facts: {"model": model, "facts": capitals.sample(10), "relation": "capital"},
    lv.examine: {"model": model, "facts": facts},
    lv.lafn_edit: {
        "model": model, "facts": facts, "subject": "FR", "relation": "capital",
        "new_object": "Tokyo",
    },
    lv.edit_case: {"model": model, "case": case},
    lv.edit_cases: {"model": model, "cases": [case], "progress": False},
    lv.evaluate: {"model": model, "editor": editor, "cases": [case], "progress": False},
    lv.passport: {"model": model, "edits": edit, "case": case, "progress": False},
    lv.counterfactual_case: {
        "facts": facts, "subject": "FR", "relation": "capital", "new_object": "Tokyo"
    },
    lv.counterfactual_cases: {"facts": facts, "n": 1},
    lv.load_facts: {"facts": "none"},
    lv.load_edit_cases: {"path": "none"},
    lv.load_evaluation: {"file": "none"},
    lv.report: {"results": "none", "out": "none.html"},
    lv.atlas: {"stores": "none", "out": "none"},
    lv.load_mlama: {"folder": "none"},
    lv.shows_answer: {"subject": "a", "answer": "b"},
    lv.Store: {"folder": "none"},
    lv.Plan: {},
    lv.EditCache: {"edits": [edit]},
    lv.SubjectMatcher: {"names": {"FR": {"en": "France"}}},
    lv.ActivationMatcher: {"model": model, "edits": [edit], "others": prompts[2:]},
    lv.gate_by_relation: {"model": model, "edits": [edit], "others": prompts[2:]},
    lv.Prompt: vars(prompts[0]),
    lv.Fact: vars(next(iter(facts))),
    lv.FactSet: vars(facts),
    lv.EditCase: vars(case),
    lv.EditSet: {"cases": (case,)},
    lv.Editor: {"name": "none", "edit": len},
    facts.filter: {}, facts.sample: {"n": 1}, facts.prompts: {}, case.only: {"languages": "en"},
    case.prompts: {"role": "edit"}, scores.to_frame: {}, shared.of: {}, shared.by_fact: {},
    shared.intersections: {"draws": 1}, shared.summary: {"draws": 9},
    shared.neurons_in: {"language": "en"}, shared.specific_to: {"language": "en"},
    shared.known_in: {"fact": "capital/FR"}, effects.summary: {"draws": 9}, effects.changes: {},
    lens.summary: {"draws": 9}, lens.by_language: {}, lens.leading: {}, lens.control_leading: {},
    lens.led: {"leader": "own"},
    significance.summary: {}, evaluation.summary: {}, evaluation.matrix: {},
    evaluation.conflict: {}, answers[0].score: {"evaluator": "exact_match"},
    lv.EditCache([edit]).find: {"text": "France"}, matcher.find: {"text": "France"},
    lv.baselines.rome: {}, lv.baselines.memit: {}, lv.baselines.fine_tuning: {},
    lv.baselines.knowledge_neurons: {}, lv.baselines.scaled: {"factor": 0.5},
    lv.baselines.language_agnostic: {}, lv.baselines.random_neurons: {"like": editor},
}  # fmt: skip
for name in lv.plots.__all__:
    if callable(figure := getattr(lv.plots, name)):
        CALLS[figure] = {}  # the first argument is tried; a figure takes long
USERS_OWN = {"names", "find", "keep", "on_step"}  # functions, which may raise what they like


def tried(function: Callable[..., Any]) -> list[str]:
    """The arguments of a function that are tried."""
    parameters = list(inspect.signature(function).parameters.values())
    if not CALLS[function] and function in vars(lv.plots).values():
        return [parameters[0].name]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        names += EDIT_OPTIONS
    return [name for name in names if name not in {"model", *USERS_OWN}]


def main(say: Callable[[str], object]) -> None:
    """Try every call."""
    for function, right in CALLS.items():
        for name in tried(function):
            for value in WRONG:
                try:
                    function(**{**right, name: value})
                except (Read, Exception) as error:
                    if isinstance(error, Read) or answered_in_a_sentence(error):
                        continue
                    say(f"{function.__qualname__}({name}={value!r:.40}): {error!r:.300}")
                else:
                    if type(value) is Unknown:
                        say(f"{function.__qualname__}({name}=Unknown()) passed")


if __name__ == "__main__":
    main(lambda line: sys.stdout.write(line + "\n"))

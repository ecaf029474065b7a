"""Change a fact while you look on: the search, what was written before and after, and undo."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import ipywidgets as w
import torch

from lafn_viz import plots
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.evaluation.before_after import (
    GROUPS,
    Asked,
    Comparison,
    Group,
    Said,
    ask,
    questions_of,
)
from lafn_viz.editing.forward import EditPosition
from lafn_viz.editing.optimise import edit_case, n_evaluations
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.explorer import Explorer, Languages
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import Cell, row, table

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_SLIDERS = 5  # neurons of largest values that get a slider of their own
TITLES = {
    "the edit": "The edit: one wording a language, that took no part where there is one",
    "same subject": "Neighbours: what else is known of the subject",
    "other subjects": "Neighbours: the same of other subjects",
}


@dataclass(frozen=True, eq=False)
class Staged:
    """An edit on the stack, as it was found and as the sliders leave it."""

    edit: Edit
    case: EditCase
    scale: float = 1.0
    factors: Mapping[Neuron, float] = field(default_factory=dict)

    def applied(self) -> Edit:
        """The edit with the sliders' values."""
        factors = torch.tensor([self.factors.get(neuron, 1.0) for neuron in self.edit.neurons])
        return replace(self.edit, values=self.edit.values * self.scale * factors)


class LiveEditor(Explorer):
    """Choose a subject and a new object, edit, look at every language, and take it back.

    Edits stack; a second edit of the same subject and relation takes the place of the first. Each
    can be removed without the others, "Undo" takes back the last step, whatever it was.

    Args:
        root: edits are saved and loaded in folders inside this one; anywhere unless given.

    Attributes:
        cache: the edits as they are applied now, an `EditCache`.
        comparison: what is shown of the selected edit, a `Comparison`.
    """

    def __init__(
        self,
        model: "TransformerBridge | str" = "embedded",
        facts: FactSet | None = None,
        *,
        root: Path | None = None,
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Edit a fact",
            about="Type or pick a subject and a new object of its relation, in any language. "
            "Values are added to a few neurons where the subject is read; no weight changes.",
            causal=True,
        )
        self.root = root
        self.stack: tuple[Staged, ...] = ()
        self.comparison: Comparison | None = None
        self._history: list[tuple[Staged, ...]] = []
        self._answered: Edit | None = None  # whose answers are shown
        self._saved: Path | None = None  # the folder that holds these edits
        self._weights = ""  # of the model whose edits these are; the others' are in `_of`
        self._of: dict[str, tuple[tuple[Staged, ...], list[tuple[Staged, ...]]]] = {}
        self._before: dict[tuple[str, frozenset[tuple[str, str]], str], tuple[Asked, Said]] = {}
        self.relation = w.Dropdown(
            options=[(x.replace("_", " "), x) for x in self.facts.relations],
            description="Relation", layout={"width": "230px"},
        ).add_class("lafn-relation")  # fmt: skip
        self.subject = w.Combobox(description="Subject", placeholder="a name in any language")
        self.subject.add_class("lafn-subject")
        self.new_object = w.Combobox(description="New object", placeholder="a name in any language")
        self.new_object.add_class("lafn-object")
        self.n_neurons = w.BoundedIntText(
            value=100, min=1, max=2560, description="Neurons", layout={"width": "160px"}
        ).add_class("lafn-n-neurons")
        self.position = w.Dropdown(
            options=[(x.replace("_", " "), x) for x in get_args(EditPosition)],
            value="answer", description="Position", layout={"width": "230px"},
        ).add_class("lafn-position")  # fmt: skip
        self.languages = Languages(self.facts.languages, lambda _: None)
        self.edit_button = w.Button(description="Edit", button_style="primary")
        self.undo_button = w.Button(description="Undo", disabled=True)
        self.curve, self.values = FigureView(), FigureView()
        self.path = w.Text(value="my_edits", description="Folder")
        self.save_button, self.load_button = (
            w.Button(description="Save"),
            w.Button(description="Load"),
        )
        self.selected = w.Dropdown(
            options=[], description="Show", layout={"width": "420px"}
        ).add_class("lafn-selected")
        self.remove_button = w.Button(description="Remove")
        self.scale = w.FloatSlider(
            value=1, min=0, max=2, step=0.1, description="All values", layout={"width": "420px"}
        ).add_class("lafn-scale")
        self.sliders = w.VBox().add_class("lafn-sliders")
        self.answers = w.HTML().add_class("lafn-answers")
        self.chosen = w.VBox(
            [
                row(self.selected, self.remove_button, self.undo_button),
                self.answers,
                w.HTML("<h3>By hand: multiply what is added</h3>"),
                self.scale, self.sliders, self.values,
            ],
            layout={"display": "none"},
        )  # fmt: skip
        for name in ("edit", "undo", "save", "load", "remove"):
            getattr(self, f"{name}_button").add_class(f"lafn-{name}")
            getattr(self, f"{name}_button").on_click(self.guarded(getattr(self, f"_{name}")))
        self.path.add_class("lafn-path")
        self.curve.add_class("lafn-curve")
        self.values.add_class("lafn-values")
        self.children = (
            self.heading,
            row(self.model_choice, self.relation, self.subject, self.new_object),
            row(self.n_neurons, self.position, self.edit_button),
            self.languages,
            self.progress,
            self.curve,
            self.chosen,
            row(self.path, self.save_button, self.load_button),
        )
        self._following = False
        self._turned_by: tuple[tuple[str, str], w.FloatSlider] | None = None
        self.relation.observe(self.guarded(self._suggest), "value")
        self.selected.observe(self.guarded(self._select), "value")
        self.scale.observe(self.guarded(lambda: self._turned(self.scale)), "value")
        self._suggest()
        self.start()

    @property
    def cache(self) -> EditCache:
        """The edits as they are applied."""
        return EditCache([staged.applied() for staged in self.stack])

    def begin(self) -> None:
        """Another model: the edits of the last do not fit it, and wait until it comes back."""
        assert self.model is not None
        found = capabilities(self.model)
        self._of[self._weights] = self.stack, self._history
        self._weights = found.weights
        stack, self._history = self._of.get(found.weights, ((), []))
        self.n_neurons.max = found.n_layers * found.d_mlp
        self.curve.show(None)
        self._put(stack)
        if not stack:
            self.status.say("Ready.")

    def _suggest(self) -> None:
        """Names to pick from; any other that the facts know can be typed."""
        facts = list(self.facts.filter(relation=self.relation.value))
        self.subject.options = sorted({name for fact in facts for name in fact.subject.values()})
        self.new_object.options = sorted({name for fact in facts for name in fact.object.values()})

    def _edit(self) -> None:
        model = self.ready()
        if self.waiting("edit"):
            raise ValueError("an edit is being made; wait for it, or cancel it")
        case = counterfactual_case(
            self.facts, subject=self.subject.value.strip(), relation=self.relation.value,
            new_object=self.new_object.value.strip(), languages=self.languages.chosen,
        )  # fmt: skip
        n_neurons, position = self.n_neurons.value, self.position.value
        most = n_evaluations(n_neurons, self.n_neurons.max)
        losses: list[float] = []
        name = next(iter(case.edit.values()))[0].answer

        def compute(task: Task) -> Staged:
            def on_step(number: int, loss: float) -> None:
                losses.append(loss)
                task.step(
                    min(1.0, number / most), f"Evaluation {number} of {most}, loss {loss:.2f}"
                )
                if number % 4 == 0:
                    self.curve.show(plots.edit_curves({name: losses}))

            task.step(0.0, "Reading the prompts")
            edit = edit_case(model, case, n_neurons=n_neurons, position=position, on_step=on_step)
            return Staged(edit, case)

        def then(staged: Staged) -> None:
            self.curve.show(plots.edit_curves({name: staged.edit}))
            others = tuple(one for one in self.stack if one.edit.key != staged.edit.key)
            self._step((*others, staged))

        self.ask("edit", compute, then)

    def _step(self, stack: tuple[Staged, ...]) -> None:
        """The next state of the stack, which can be undone."""
        self._history.append(self.stack)
        self._put(stack)

    def _undo(self) -> None:
        if self._history:
            self._put(self._history.pop())

    def _put(self, stack: tuple[Staged, ...]) -> None:
        new = [one for one in stack if one not in self.stack]
        self.stack, self._turned_by = stack, None
        self.undo_button.disabled = not self._history
        self.chosen.layout.display = "" if stack else "none"
        keys = [one.edit.key for one in stack]
        shown = new[-1].edit.key if new else self.selected.value
        self._following = True
        self.selected.options = [(_title(one.edit), one.edit.key) for one in stack]
        if stack:
            self.selected.value = shown if shown in keys else keys[-1]
        self._following = False
        if stack:
            self._select()
        else:
            self.drop("answers")
            self.comparison = None
            self.answers.value = ""
            self.status.say("No edits are applied.")

    def _staged(self) -> Staged:
        return next(one for one in self.stack if one.edit.key == self.selected.value)

    def _select(self) -> None:
        """Show another edit: its sliders, its values, its answers."""
        if self._following or not self.stack:
            return
        staged = self._staged()
        if self._answered is not staged.edit:
            self.comparison, self.answers.value = None, ""
        order = staged.edit.values.abs().argsort(descending=True)[:N_SLIDERS].tolist()
        self._following = True
        self.scale.value = staged.scale
        old = self.sliders.children
        self.sliders.children = [self._slider(staged, staged.edit.neurons[i]) for i in order]
        self._following = False
        for slider in old:
            slider.close()
        self.values.show(plots.edit_values(staged.applied()))
        self._ask()

    def _slider(self, staged: Staged, neuron: Neuron) -> w.FloatSlider:
        slider = w.FloatSlider(
            value=staged.factors.get(neuron, 1.0), min=-2, max=3, step=0.25,
            description=f"{neuron.layer}:{neuron.neuron}", layout={"width": "420px"},
        )  # fmt: skip
        slider.add_class("lafn-slider")
        slider.observe(self.guarded(lambda: self._turned(slider)), "value")
        slider.neuron = neuron
        return slider

    def _turned(self, slider: w.FloatSlider) -> None:
        """A slider changed: the answers follow."""
        if self._following or not self.stack:
            return
        old = self._staged()
        factors = {one.neuron: one.value for one in self.sliders.children}
        new = replace(old, scale=self.scale.value, factors={**old.factors, **factors})
        if self._turned_by != (old.edit.key, slider):  # all that one is dragged is one step to undo
            self._history.append(self.stack)
        self._turned_by = old.edit.key, slider
        self.undo_button.disabled = False
        self.stack = tuple(new if one is old else one for one in self.stack)
        self.values.show(plots.edit_values(new.applied()))
        self._ask()

    def _remove(self) -> None:
        if self.stack:
            gone = self._staged()
            self._step(tuple(one for one in self.stack if one is not gone))

    def _ask(self) -> None:
        """What is written before and after the edits, of what belongs to the selected one."""
        model, staged, cache = self.ready(), self._staged(), self.cache
        edited = frozenset(one.edit.key for one in self.stack)
        key = capabilities(model).weights, edited, f"{staged.edit.key} {staged.edit.new}"

        def compute(task: Task) -> Comparison:
            task.step(0.5, "Asking in every language")
            if key not in self._before:
                questions = questions_of(staged.case, self.facts, edited=edited)
                self._before[key] = questions, ask(model, questions)
            questions, before = self._before[key]
            return Comparison(questions, before, ask(model, questions, cache))

        def then(comparison: Comparison) -> None:
            self._answered = staged.edit
            self._show(comparison)

        self.ask("answers", compute, then)

    def _show(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.answers.value = "".join(_table(comparison, group) for group in GROUPS)
        edits = f"{len(self.stack)} edit{'s' if len(self.stack) > 1 else ''} applied. "
        counts = []
        for group in GROUPS:
            good, of = comparison.counts(group)
            if of:
                counts.append(f"{group}: {good} of {of} as they should be")
        self.status.say(edits + "; ".join(counts) + ".")

    def _save(self) -> None:
        if not self.stack:
            raise ValueError("there is no edit to save; make one first")
        folder = self._folder()
        if (folder / "edits.json").exists() and folder != self._saved:
            raise ValueError(f"{folder} holds other edits; load them first, or name another folder")
        self.cache.save(folder)
        self._saved = folder
        self.status.say(f"Saved {self.cache!r} in {self.path.value.strip()}.")

    def _load(self) -> None:
        model, folder = self.ready(), self._folder()
        edits = list(EditCache.load(folder))
        for edit in edits:
            edit.require(model)
        self._step(tuple(Staged(edit, _case_of(edit, self.facts)) for edit in edits))
        self._saved = folder

    def _folder(self) -> Path:
        name = self.path.value.strip()
        if not name:
            raise ValueError("no folder is given; type the name of one")
        if self.root is None:
            return Path(name)
        folder = (self.root / name).resolve()
        if not folder.is_relative_to(self.root.resolve()) or folder == self.root.resolve():
            raise ValueError(f"{name!r} is not inside the folder of this page; give a plain name")
        return folder


def _title(edit: Edit) -> str:
    subject, new = next(iter(edit.names.values()))[0], next(iter(edit.new.values()))
    return f"{subject}: {edit.relation.replace('_', ' ')} → {new}"


def _case_of(edit: Edit, facts: FactSet) -> EditCase:
    """The case of an edit that was loaded."""
    return counterfactual_case(
        facts, subject=edit.subject_id, relation=edit.relation, new_object=edit.new,
        languages=list(edit.new),
    )  # fmt: skip


def _table(comparison: Comparison, group: Group) -> str:
    asked, own = comparison.asked, group == "the edit"
    verdicts = ("✗ not changed", "✓ changed") if own else ("✗ changed too", "✓ as before")
    rows = []
    for i, prompt in enumerate(asked.prompts):
        if asked.groups[i] != group:
            continue
        code, tone = prompt.language, "good" if comparison.well[i] else "bad"
        cells = [
            Cell(language_name(code)),
            Cell(prompt.text, code),
            Cell(comparison.before.texts[i], code),
            Cell(comparison.after.texts[i], code, tone),
            Cell(verdicts[comparison.well[i]], "", tone),
        ]
        if own:
            for said in (comparison.before, comparison.after):
                likeliest = (f"{token.strip()} {p:.0%}" for token, p in said.next_tokens[i])
                cells.append(Cell(" · ".join(likeliest), code, "faint"))
        rows.append(cells)
    if not rows:
        return ""
    head = ["Language", "Asked", "Before", "After", "Outcome"]
    head += ["Likeliest next, before", "and after"] if own else []
    return table(head, rows, caption=TITLES[group], name=f"lafn-{group.replace(' ', '-')}")

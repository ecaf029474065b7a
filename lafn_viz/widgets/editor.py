"""Edit a fact by hand: make an edit, read the answers before and after, scale it, take it back."""

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import ipywidgets as w

from lafn_viz import plots
from lafn_viz.core.arguments import a_path, or_none, takes
from lafn_viz.core.messages import counted
from lafn_viz.datasets.arguments import Facts
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.before_after import Comparison
from lafn_viz.editing.forward import EditPosition
from lafn_viz.editing.gate_by_relation import gate_by_relation, has_wordings, require_wordings
from lafn_viz.editing.optimise import edit_case
from lafn_viz.editing.search import default_n_neurons, n_evaluations
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.widgets.answers import AnswerTables
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.controls import EditChoice
from lafn_viz.widgets.download import Download, csv_of
from lafn_viz.widgets.edit_files import EditFiles
from lafn_viz.widgets.edit_stack import EditStack, StagedEdit
from lafn_viz.widgets.explorer import Explorer, Languages
from lafn_viz.widgets.figure import FigureView, still
from lafn_viz.widgets.html import row
from lafn_viz.widgets.names import new_object, subject_id, subjects_named
from lafn_viz.widgets.own_prompt import OwnPromptPanel
from lafn_viz.widgets.passport import PassportPanel
from lafn_viz.widgets.python_code import call
from lafn_viz.widgets.verdict import Verdict

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_SLIDERS = 5  # the neurons with the largest values get a slider each
CURVE_EVERY = 1.0  # seconds; a drawing of the loss takes as long as an evaluation
WIDE = {"width": "420px"}


class _TypedFact:
    """The fact whose subject is typed; none while the name stands for none."""

    def __init__(self, editor: "LiveEditor") -> None:
        self._editor = editor

    @property
    def value(self) -> str:
        # Asked for at each change of a control: without the reasons that `subject_id` looks for.
        of_relation = self._editor.facts.filter(relation=self._editor.relation.value)
        named = subjects_named(of_relation, self._editor.subject.value.strip())
        return next((x.id for x in of_relation if named == {x.subject_id}), "")

    @value.setter
    def value(self, fact_id: str) -> None:
        fact = self._editor.facts[fact_id]
        self._editor.relation.value = fact.relation
        self._editor.subject.value = next(iter(fact.subject.values()))


class LiveEditor(Explorer):
    """Choose a subject and a new object, edit, compare every language, and take it back.

    Edits stack (`EditStack`); a second edit of the same subject and relation replaces the first.
    Each can be removed without the others, and "Undo" takes back the last step, whatever it was.

    Args:
        root: edits are saved and loaded in folders inside this one; anywhere unless given.

    Attributes:
        answers: what the model writes about the selected edit, `AnswerTables`.
        passport: everything that it changes, on request, `PassportPanel`.
    """

    @takes(root=or_none(a_path))
    def __init__(
        self,
        model: "TransformerBridge | str" = "embedded",
        facts: Facts | None = None,
        *,
        root: str | Path | None = None,
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Edit a fact",
            about="Type or pick a subject and a new object of its relation, in any language; an "
            "object that the facts do not hold by language, as in “en: Gotham; fr: Gotham”. "
            "Values are added to a few neurons where the subject is read; no weight changes.",
            causal=True,
        )
        self.files = EditFiles(
            None if root is None else Path(root), edits=self._given, guarded=self.guarded
        )
        # Edits do not fit another model: the stack of each waits until its model is chosen again.
        self._stacks: defaultdict[str, EditStack] = defaultdict(EditStack)
        self._weights = ""  # of the model that is chosen
        self._saved: dict[str, tuple[StagedEdit, ...]] = {}  # of each model, as last saved
        self._make_form()
        self._make_panel()
        for name in ("edit", "undo", "redo", "remove"):
            button = getattr(self, f"{name}_button").add_class(f"lafn-{name}")
            button.on_click(self.guarded(getattr(self, f"_{name}")))
        self.files.save_button.on_click(self.guarded(self._save, at=self.files.status))
        self.files.load_button.on_click(self.guarded(self._load, at=self.files.status))
        self.files.upload.observe(self.guarded(self._upload, at=self.files.status), "value")
        self.children = (
            self.heading,
            row(self.model_choice, self.relation, self.subject, self.new_object),
            row(
                self.n_neurons,
                self.position,
                self.gated,
                self.edit_button,
                self.undo_button,
                self.redo_button,
            ),
            self.languages,
            self.progress,
            self.panel,
            self.curve,
            self.python_code,
            self.files,
        )
        self._suggest_names()
        self.start()

    def _make_form(self) -> None:
        """Build the controls that say which edit to make."""
        self.relation = w.Dropdown(
            options=[(x.replace("_", " "), x) for x in self.facts.relations],
            description="Relation", layout={"width": "230px"},
        ).add_class("lafn-relation")  # fmt: skip
        self.relation.observe(self.guarded(self._suggest_names), "value")
        self.subject = w.Combobox(
            description="Subject", placeholder="a name in any language"
        ).add_class("lafn-subject")
        self.subject.observe(self.guarded(lambda: None), "value")
        self.new_object = w.Combobox(
            description="New object", placeholder="a name in any language"
        ).add_class("lafn-object")
        self.n_neurons = w.BoundedIntText(
            value=100, min=1, max=2560, description="Neurons", layout={"width": "160px"}
        ).add_class("lafn-n-neurons")
        self.position = w.Dropdown(
            options=[(x.replace("_", " "), x) for x in get_args(EditPosition)],
            value="answer", description="Position", layout={"width": "230px"},
        ).add_class("lafn-position")  # fmt: skip
        self.gated = w.Checkbox(
            value=has_wordings(self.facts.languages),
            description="only for its relation", indent=False,
            layout={"width": "auto"},
        ).add_class("lafn-gated")  # fmt: skip
        self.languages = Languages(self.facts.languages, self.guarded(lambda: None))
        self.edit_button = w.Button(description="Edit", button_style="primary")
        self.curve = FigureView().add_class("lafn-curve")

    def _make_panel(self) -> None:
        """Build what is shown of the edits on the stack; hidden while there are none."""
        self.selected = EditChoice(self._show_selected, guarded=self.guarded)
        self.remove_button = w.Button(description="Remove")
        self.undo_button = w.Button(description="Undo", disabled=True)
        self.redo_button = w.Button(description="Redo", disabled=True)
        self.answers = AnswerTables()
        self.only_failures = w.Checkbox(
            description="only failures", indent=False, layout={"width": "auto"}
        ).add_class("lafn-only-failures")
        self.only_failures.observe(self.guarded(self._on_only_failures), "value")
        self.answers_file = Download("Answers as CSV", self._answers_csv, guarded=self.guarded)
        self.own_prompt = OwnPromptPanel(self, lambda: self.cache)
        self.scale = w.FloatSlider(
            value=1, min=0, max=2, step=0.1, description="All values", layout=WIDE
        ).add_class("lafn-scale")
        self.scale.observe(self.guarded(self._on_scale), "value")
        self.sliders = w.VBox().add_class("lafn-sliders")
        self.values = FigureView().add_class("lafn-values")
        self.views = (self.curve, self.values)
        self.verdict = Verdict(self.guarded(self._discard))
        self.passport = PassportPanel(self, lambda: (self.stack, self.selected.value))
        heading = w.HTML("<h3>By hand: multiply the values that are added</h3>")
        by_hand = w.VBox([heading, self.scale, self.sliders]).add_class("lafn-by-hand")
        asked = w.VBox(
            [row(self.only_failures, self.answers_file), self.answers, self.own_prompt]
        ).add_class("lafn-asked")
        self.panel = w.VBox(
            [
                row(self.selected, self.remove_button),
                self.verdict,
                # The sliders stay beside the answers, which they change.
                w.HBox([by_hand, asked]).add_class("lafn-beside"),
                self.values,
                self.passport,
            ],
            layout={"display": "none"},
        )

    @property
    def stack(self) -> EditStack:
        """The edits of the model that is chosen."""
        return self._stacks[self._weights]

    @property
    def cache(self) -> EditCache:
        """The edits as they are applied now."""
        return self.stack.cache

    @property
    def comparison(self) -> Comparison | None:
        """The answers that are shown of the selected edit."""
        return self.answers.comparison

    def common(self) -> dict[str, Any]:
        """The controls that other tabs have too."""
        return {**super().common(), "fact": _TypedFact(self), "languages": self.languages}

    def follow(self) -> None:
        """Offer the names of the relation that was set from outside; the edits stay."""
        self._suggest_names()

    @property
    def unsaved(self) -> bool:
        """Whether there are edits that were not saved, nor given to the browser."""
        return any(
            stack.edits and stack.edits != self._saved.get(weights)
            for weights, stack in self._stacks.items()
        )

    def begin(self) -> None:
        """Show the edits of the model that was loaded."""
        assert self.model is not None
        caps = capabilities(self.model)
        previous, self._weights = self.stack, weights_of(self.model)
        self.n_neurons.max = caps.n_layers * caps.d_mlp
        self.n_neurons.value = default_n_neurons(self.n_neurons.max)
        self.curve.show(None)
        self._show_stack(previous)
        if not self.stack:
            self.status.say("Ready.")

    def _suggest_names(self) -> None:
        """Offer names to pick from; any other name that the facts know can be typed."""
        facts = list(self.facts.filter(relation=self.relation.value))
        self.subject.options = sorted({name for fact in facts for name in fact.subject.values()})
        self.new_object.options = sorted({name for fact in facts for name in fact.object.values()})

    def _edit(self) -> None:
        model = self.ready()
        if self.waiting("edit"):
            raise ValueError("an edit is being made; wait for it, or cancel it")
        wanted, languages = new_object(self.new_object.value), self.languages.value
        if not isinstance(wanted, str):
            languages = tuple(code for code in languages if code in wanted)
        case = counterfactual_case(
            self.facts, relation=self.relation.value, new_object=wanted, languages=languages,
            subject=subject_id(self.facts, self.relation.value, self.subject.value),
        )  # fmt: skip
        n_neurons, position, gated = self.n_neurons.value, self.position.value, self.gated.value
        if gated:
            require_wordings(case.languages)
        n_expected = n_evaluations(n_neurons, self.n_neurons.max)
        losses: list[float] = []
        self.outdate()
        name = next(iter(case.edit.values()))[0].answer

        def compute(task: Task) -> StagedEdit:
            begun = drawn = time.monotonic()

            def on_step(number: int, loss: float) -> None:
                nonlocal drawn
                losses.append(loss)
                now = time.monotonic()
                left = (now - begun) * max(0, n_expected / number - 1)
                task.step(
                    min(0.95, number / n_expected),
                    f"Evaluation {number} of at most {n_expected}, loss {loss:.2f}, "
                    f"{left:.0f} s left",
                )
                if now - drawn > CURVE_EVERY:
                    drawn = now
                    self.curve.show(plots.edit_curves({name: losses}), what=f"{name}, cancelled")

            task.step(0.0, "Reading the prompts")
            options = {"n_neurons": n_neurons, "position": position, "on_step": on_step}
            with task.ends_in_passes_of(model):
                edit = edit_case(model, case, progress=False, **options)
                if gated:
                    task.step(0.95, "Learning which texts ask for the relation")
                    (edit,) = gate_by_relation(model, edit)
            return StagedEdit(edit, case)

        def show(staged: StagedEdit) -> None:
            self.verdict.undecided = staged.edit
            self._set_stack(self.stack.push(staged))
            self._show_curve()

        self.submit("edit", compute, show)

    def outdate(self) -> None:
        """Mark figures and answers as not of what is chosen now."""
        super().outdate()
        self.answers.outdate(still(self._shown()))

    def _lines(self) -> list[str]:
        """Make the edits of the stack, and ask with them."""
        lines: list[str] = ["edits, asked = [], []"] if self.stack else []
        for staged in self.stack:
            edit = staged.edit
            subject, relation = edit.key
            made = {
                "subject": subject, "relation": relation, "new_object": dict(edit.new),
                "languages": list(edit.new),
            }  # fmt: skip
            search = {"n_neurons": len(edit.neurons), "position": edit.position}
            lines += [
                f"case = {call('lv.counterfactual_case', 'facts', **made)}",
                f"edit = {call('lv.edit_case', 'model', 'case', **search)}",
                *["(edit,) = lv.gate_by_relation(model, edit)"] * (edit.gate is not None),
                "asked += case.prompts('edit')",
            ]
            factors = {tuple(neuron): by for neuron, by in staged.factors.items() if by != 1}
            if staged.scale != 1 or factors:
                lines += [
                    f"by_hand = {factors!r}  # multiply the values of single neurons",
                    "factors = torch.tensor([by_hand.get(tuple(x), 1.0) for x in edit.neurons])",
                    f"edit = replace(edit, values=edit.values * {staged.scale!r} * factors)",
                ]
            lines.append("edits.append(edit)")
        if lines:
            lines += [
                "with lv.EditCache(edits).applied(model):",
                "    print(lv.score_answers(model, asked).to_frame())",
            ]
        return lines

    def _imports(self) -> list[str]:
        """What edits need that were changed by hand."""
        by_hand = any(x.scale != 1 or set(x.factors.values()) - {1} for x in self.stack)
        return ["from dataclasses import replace", "", "import torch"] if by_hand else []

    def _shown(self) -> str:
        """The edit that is shown, in words."""
        return self.selected.label or "the last edit"

    def stop(self) -> None:
        """Cancel the work on all lanes; what is drawn stays, marked as not of what is chosen."""
        was_drawing = self.waiting("edit") or self.waiting("answers")
        super().stop()
        if was_drawing:
            self.outdate()

    def _discard(self) -> None:
        """Take back the edit that was made last; one that it replaced comes back."""
        stack, edit = self.stack, self.stack.find(self.selected.value).edit
        before = stack.history[-1] if stack.history else stack.edits
        was_last = all(staged.edit is not edit for staged in before)
        self.verdict.undecided = None
        self._set_stack(stack.undo() if was_last else stack.remove(self.selected.value))

    def _undo(self) -> None:
        if self.stack.can_undo:
            self._set_stack(self.stack.undo())

    def _redo(self) -> None:
        if self.stack.can_redo:
            self._set_stack(self.stack.redo())

    def _remove(self) -> None:
        if self.stack:
            self._set_stack(self.stack.remove(self.selected.value))

    def _set_stack(self, stack: EditStack) -> None:
        previous, self._stacks[self._weights] = self.stack, stack
        self._show_stack(previous)

    def _show_stack(self, previous: EditStack) -> None:
        """Draw the stack, and select the edit that was not on the stack that was shown before."""
        stack = self.stack
        self._show_steps()
        self.panel.layout.display = "" if stack else "none"
        new = stack.new_since(previous)
        self.selected.show(stack, new[-1].key if new else self.selected.value)
        if stack:
            self._show_selected()
        else:
            self.drop("answers")
            self.passport.drop()
            self.own_prompt.drop()
            self.answers.clear()
            self.verdict.clear()
            self.curve.show(None)
            self.status.say("No edits are applied.")

    def _show_selected(self) -> None:
        """Show the sliders, the values and the answers of the edit that is selected."""
        staged = self.stack.find(self.selected.value)
        if self.answers.edit is not staged.edit:
            self.answers.clear()
            self.verdict.clear()
        self.scale.value = staged.scale
        largest = staged.edit.values.abs().argsort(descending=True)[:N_SLIDERS].tolist()
        previous = self.sliders.children
        self.sliders.children = [self._slider(staged, staged.edit.neurons[i]) for i in largest]
        for slider in previous:
            slider.close()
        if not self.waiting("edit"):  # otherwise the curve is that of the edit that is being made
            self._show_curve()
        self._show_values()

    def _show_curve(self) -> None:
        """Draw how the values of the selected edit were optimised."""
        edit, name = self.stack.find(self.selected.value).edit, self._shown()
        self.curve.show(plots.edit_curves({name: edit}), what=name)

    def _slider(self, staged: StagedEdit, neuron: Neuron) -> w.FloatSlider:
        slider = w.FloatSlider(
            value=staged.factors.get(neuron, 1.0), min=-2, max=3, step=0.25,
            description=f"{neuron.layer}:{neuron.neuron}", layout=WIDE,
        ).add_class("lafn-slider")  # fmt: skip
        slider.neuron = neuron

        def on_factor() -> None:
            self._drag(self.stack.set_factor(staged.key, neuron, slider.value))

        slider.observe(self.guarded(on_factor), "value")
        return slider

    def _on_scale(self) -> None:
        # The slider also moves when another edit is selected; then it shows the edit's own scale.
        if self.stack and self.scale.value != self.stack.find(self.selected.value).scale:
            self._drag(self.stack.scale(self.selected.value, self.scale.value))

    def _drag(self, stack: EditStack) -> None:
        """Take over what a slider changed. The sliders stay, as one of them is being dragged."""
        self._stacks[self._weights] = stack
        self._show_steps()
        self._show_values()

    def _show_steps(self) -> None:
        """Offer to take back and to repeat what there is."""
        self.undo_button.disabled = not self.stack.can_undo
        self.redo_button.disabled = not self.stack.can_redo

    def _on_only_failures(self) -> None:
        self.answers.only_failures = self.only_failures.value
        self.answers.draw()

    def _answers_csv(self) -> tuple[str, bytes]:
        """The answers that are shown, all of them, as a file.

        Raises:
            ValueError: while there are none.
        """
        if self.comparison is None:
            raise ValueError("no answers are shown yet; wait a moment")
        return "answers.csv", csv_of(self.comparison.to_frame())

    def _show_values(self) -> None:
        """Draw the values of the selected edit, and ask for the answers that they lead to."""
        stack, weights = self.stack, self._weights
        staged = stack.find(self.selected.value)
        self.values.show(plots.edit_values(staged.applied()), what=self._shown())
        self.answers.outdate(still(f"{self._shown()}, before the last change"))
        self.passport.drop()
        model = self.ready()

        def compute(task: Task) -> Comparison:
            task.step(0.5, "Asking in every language")
            return self.answers.compare(model, weights, stack, staged, self.facts)

        def show(comparison: Comparison) -> None:
            self.answers.show(staged.edit, comparison)
            is_wrong = self.verdict.show(staged, comparison)
            self.status.say(
                f"{counted(len(stack), 'edit')} applied. {self.answers.counts()}.", error=is_wrong
            )

        self.submit("answers", compute, show)
        self.own_prompt.ask()

    def _save(self) -> None:
        self.files.save(self.cache)
        self._are_saved()

    def _given(self) -> EditCache:
        """The edits that the browser gets as a file."""
        cache = self.cache
        self._are_saved()
        return cache

    def _are_saved(self) -> None:
        self._saved[self._weights] = self.stack.edits

    def _load(self) -> None:
        edits = self.files.load()
        self._take(edits)
        self.files.loaded(len(edits))

    def _upload(self) -> None:
        if uploaded := self.files.uploaded():
            name, edits = uploaded
            self._take(edits)
            self.files.loaded(len(edits), name)

    def _take(self, edits: EditCache) -> None:
        """Put other edits in place of those on the stack.

        Raises:
            EditError: for edits of another model.
        """
        model = self.ready()
        for edit in edits:
            edit.require(model)
        self._set_stack(self.stack.replace_all(StagedEdit.loaded(x, self.facts) for x in edits))
        self._are_saved()

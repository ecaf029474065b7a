"""Type a prompt and an answer: which neurons move the answer, while you type."""

from typing import TYPE_CHECKING, NamedTuple

import ipywidgets as w

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.datasets.facts import FactSet, Prompt
from lafn_viz.datasets.languages import language_name, separator_of
from lafn_viz.interventions.neuron_cards import neuron_table
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.generation import next_tokens
from lafn_viz.widgets.background import Cancelled, Task
from lafn_viz.widgets.controls import method_choice
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import Cell, row, table
from lafn_viz.widgets.neuron import NeuronPanel

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

DEBOUNCE = 0.15  # seconds without a key before anything is computed


class _Seen(NamedTuple):
    scores: NeuronScores
    tokens: list[tuple[str, float]]


class PromptExplorer(Explorer):
    """Attribution of any prompt and answer, a moment after the last key.

    Attributes:
        scores: what is shown, a `NeuronScores` of the one prompt.
    """

    def __init__(
        self, model: "TransformerBridge | str" = "embedded", facts: FactSet | None = None
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Type and see",
            about="Type a prompt and the answer that you expect: the strip shows which neurons "
            "raise (red) or lower (blue) its probability. Click a cell for "
            "its neuron. A masked model fills the place after the prompt.",
        )
        self.scores: NeuronScores | None = None
        again = self.guarded(self.begin)
        self.text = w.Text(
            value="The capital of France is", description="Prompt", layout={"width": "520px"}
        ).add_class("lafn-text")
        self.answer = w.Text(value="Paris", description="Answer", layout={"width": "260px"})
        self.answer.add_class("lafn-answer")
        self.language = w.Dropdown(
            options=[(language_name(code), code) for code in self.facts.languages],
            description="Language", layout={"width": "220px"},
        ).add_class("lafn-prompt-language")  # fmt: skip
        self.method = method_choice(again)
        self.tokens, self.figure = w.HTML(), FigureView()
        self.figure.add_class("lafn-prompt-strip")
        self.panel = NeuronPanel(self)
        self.panel.follow(self.figure)
        self.children = (
            self.heading,
            row(self.model_choice, self.method, self.language),
            row(self.text, self.answer),
            self.progress,
            w.HBox([self.tokens, self.figure]).add_class("lafn-row"),
            self.panel,
        )
        for control in (self.text, self.answer, self.language):
            control.observe(again, "value")
        self.start()

    def begin(self) -> None:
        """Attribute what is typed, unless something else is typed soon."""
        self.drop("prompt")
        model, text, code = self.ready(), self.text.value, self.language.value
        prompt = Prompt(
            fact_id="own", relation="own", language=code, paraphrase=0, text=text,
            answer=self.answer.value, subject="", subject_span=None,
            separator=separator_of(code),
        )  # fmt: skip
        method = self.method.value

        def compute(task: Task) -> _Seen:
            if task.wait(DEBOUNCE):
                raise Cancelled
            task.step(0.2, "Attributing")
            scores = attribute(model, [prompt], method=method)
            return _Seen(
                scores, [] if capabilities(model).masked else next_tokens(model, [prompt])[0]
            )

        self.ask("prompt", compute, self._show)

    def _show(self, seen: _Seen) -> None:
        self.scores = scores = seen.scores
        prompt = scores.prompts[0]
        cells: list[list[Cell | str]] = [
            [Cell(token.strip() or repr(token), prompt.language), f"{p:.1%}"]
            for token, p in seen.tokens
        ]
        head = ("Likeliest next", "Probability")
        self.tokens.value = table(head, cells, caption="", name="lafn-next") if cells else ""
        self.figure.show(plots.attribution_strip(scores))
        self.panel.show(neuron_table(scores, known_only=False), scores, "Neurons of this prompt")
        self.status.say(
            f"P({prompt.answer}) = {float(scores.target_prob[0]):.1%}"
            + ("" if scores.known[0] else "; it is not what the model would write")
        )

"""A prompt of the reader's own, continued by the model as it is and with the edits of the page."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import ipywidgets as w

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.seam import separator_at
from lafn_viz.editing.cache import EditCache
from lafn_viz.models.capabilities import weights_of
from lafn_viz.models.generation import beginnings, next_tokens
from lafn_viz.widgets.answers import likeliest
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.figure import still
from lafn_viz.widgets.html import Cell, outdated, row, table

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_TOKENS = 12  # that the model writes after the prompt, unless its line ends before
N_LIKELIEST = 3


class Continued(NamedTuple):
    """What a model writes after a prompt, and its likeliest next tokens with probabilities."""

    text: str
    likeliest: list[tuple[str, float]]


class OwnPromptPanel(w.VBox):
    """A field for a prompt, and a table of what the model writes without and with the edits.

    Args:
        explorer: which lends its model, facts and background.
        edits: gives the edits as they are applied now.

    Attributes:
        written: the continuations before and after, two `Continued`; empty until a prompt is typed.
    """

    def __init__(self, explorer: Explorer, edits: Callable[[], EditCache]) -> None:
        self.written: tuple[Continued, ...] = ()
        self._explorer, self._edits = explorer, edits
        # What the model writes without edits: it does not change while sliders move.
        self._before: tuple[tuple[str, str], Continued] | None = None
        self.text = w.Text(
            description="Ask", placeholder="the beginning of a sentence, in any language",
            continuous_update=False, layout={"width": "520px"},
        ).add_class("lafn-own-prompt")  # fmt: skip
        self.text.observe(explorer.guarded(self._on_text), "value")
        self.answers = w.HTML()
        self._drawn = ""  # the table without a note over it
        heading = w.HTML("<h3>A prompt of your own, before and after</h3>")
        super().__init__([heading, row(self.text), self.answers])

    def _on_text(self) -> None:
        self.ask(saying="What the model writes after your prompt is below.")

    def ask(self, *, saying: str = "") -> None:
        """Let the model continue the prompt that is typed, if there is one, and say so."""
        text = self.text.value.strip()
        if not text:
            self.drop()
            return
        model, edits = self._explorer.ready(), self._edits()
        # The answer is not read: prompts are run alone.
        prompt = typed_prompt(text, "?", self._explorer.guessed_language(text))
        self.answers.value = outdated(self._drawn, still("what it wrote before"))

        def compute(task: Task) -> tuple[Continued, ...]:
            task.step(0.3)
            key = weights_of(model), text
            if self._before is None or self._before[0] != key:
                self._before = key, continued(model, prompt, EditCache())
            return self._before[1], continued(model, prompt, edits)

        def show(written: tuple[Continued, ...]) -> None:
            self.written = written
            self.answers.value = self._drawn = _table(prompt, written)
            if saying:
                self._explorer.status.say(saying)

        self._explorer.submit("own prompt", compute, show)

    def drop(self) -> None:
        """Show no continuation, and compute none."""
        self._explorer.drop("own prompt")
        self.written, self.answers.value, self._drawn = (), "", ""


def typed_prompt(text: str, answer: str, language: str) -> Prompt:
    """A prompt that a reader typed, of no fact."""
    return Prompt(
        fact_id="own", relation="own", language=language, paraphrase=0, text=text, answer=answer,
        subject="", subject_span=None, separator=separator_at(text, answer, language),
    )  # fmt: skip


def continued(model: "TransformerBridge", prompt: Prompt, edits: EditCache) -> Continued:
    """What a model writes after a prompt with edits applied."""
    with edits.applied(model):
        (text,) = beginnings(model, [prompt], N_TOKENS)
        (likeliest,) = next_tokens(model, [prompt], k=N_LIKELIEST)
    return Continued(text, likeliest)


def _table(prompt: Prompt, written: tuple[Continued, ...]) -> str:
    rows: list[list[Cell | str]] = [
        [
            when,
            Cell(made.text, prompt.language),
            likeliest(made.likeliest),
        ]
        for when, made in zip(("Before", "After"), written, strict=True)
    ]
    head = ("", "The model writes", "Likeliest next")
    return table(head, rows, caption=prompt.text, name="lafn-own-answers")

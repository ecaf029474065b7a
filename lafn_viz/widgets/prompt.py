"""Type a prompt and an answer, and see while you type which neurons move the answer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets as w

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import METHODS, Method
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.datasets.arguments import Facts
from lafn_viz.datasets.languages import language_name
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.seam import answer_alone, ends_in_answer, text_before
from lafn_viz.interventions.neuron_cards import neuron_table
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.generation import next_tokens
from lafn_viz.plots.style import isolated
from lafn_viz.widgets.background import Cancelled, Task
from lafn_viz.widgets.controls import method_choice
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import Cell, row, table
from lafn_viz.widgets.neuron import NeuronPanel
from lafn_viz.widgets.own_prompt import typed_prompt
from lafn_viz.widgets.python_code import call

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

AS_TYPED = ""  # the language is that of the text
DEBOUNCE = 0.15  # seconds after the last key before anything is computed
# Over how many prompts a mean is taken, and how far apart they are: of several facts and wordings.
PROMPTS_OF_MEAN, PROMPTS_APART = 24, 7


class _Result(NamedTuple):
    """The scores of the prompt, and the likeliest next tokens with their probabilities."""

    scores: NeuronScores
    tokens: list[tuple[str, float]]


class _AskedFact:
    """The fact whose prompt stands in the fields; none while they hold a text of the reader's."""

    def __init__(self, explorer: "PromptExplorer") -> None:
        self._explorer = explorer

    @property
    def value(self) -> str:
        fact, *texts = self._explorer.offered
        shown = [self._explorer.text.value, self._explorer.answer.value]
        return fact if shown == texts else ""

    @value.setter
    def value(self, fact_id: str) -> None:
        fact = self._explorer.facts[fact_id]
        if self.value:  # otherwise the reader's text stays
            asked = self._explorer.facts.filter(relation=fact.relation, subjects=fact.subject_id)
            prompt = asked.prompts()[0]
            self._explorer.offered = fact_id, prompt.text, prompt.answer
            self._explorer.text.value, self._explorer.answer.value = prompt.text, prompt.answer


class PromptExplorer(Explorer):
    """Attribution of any prompt and answer, a moment after the last key.

    Attributes:
        scores: the scores that are shown, a `NeuronScores` of the one prompt.
    """

    def __init__(
        self, model: "TransformerBridge | str" = "embedded", facts: Facts | None = None
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Type and see",
            about="Type a prompt and the answer that you expect: the strip shows which neurons "
            "raise (red) or lower (blue) its probability. Click a cell for the card of its neuron. "
            "A masked model fills the place after the prompt.",
        )
        self.scores: NeuronScores | None = None
        restart = self.guarded(self.begin)
        # The fact, the text and the answer that the fields hold until a reader types.
        self.offered = ("capital/FR", "The capital of France is", "Paris")
        _, text, answer = self.offered
        self.text = w.Text(value=text, description="Prompt", layout={"width": "520px"}).add_class(
            "lafn-text"
        )
        self.answer = w.Text(value=answer, description="Answer", layout={"width": "260px"})
        self.answer.add_class("lafn-answer")
        self.language = w.Dropdown(
            options=[
                ("as the text is", AS_TYPED),
                *((language_name(code), code) for code in self.facts.languages),
            ],
            description="Language", layout={"width": "220px"},
        ).add_class("lafn-prompt-language")  # fmt: skip
        self.method = method_choice(restart)
        self.tokens, self.figure = w.HTML(), FigureView()
        self.figure.add_class("lafn-prompt-strip")
        self.views = (self.figure,)
        self.panel = NeuronPanel(self)
        self.panel.follow(self.figure)
        self.children = (
            self.heading,
            row(self.model_choice, self.method, self.language),
            row(self.text, self.answer),
            self.progress,
            w.HBox([self.tokens, self.figure]).add_class("lafn-row"),
            self.python_code,
            self.panel,
        )
        for control in (self.text, self.answer, self.language):
            control.observe(restart, "value")
        self.start()

    def common(self) -> dict[str, Any]:
        """The controls that other tabs have too."""
        return {**super().common(), "fact": _AskedFact(self), "method": self.method}

    def begin(self) -> None:
        """Attribute the prompt that is typed, unless it changes again within a moment."""
        self.drop("prompt")
        self.outdate()
        model, text, code = self.ready(), self.text.value, self._language()
        prompt = typed_prompt(text, self.answer.value, code)
        method = self.method.value

        def compute(task: Task) -> _Result:
            if task.wait(DEBOUNCE):
                raise Cancelled
            task.step(0.2, "Attributing")
            scores = attribute(
                model, [prompt], method=method, **self._baseline(model, prompt, method)
            )
            masked = capabilities(model).masked
            return _Result(scores, [] if masked else next_tokens(model, [prompt])[0])

        self.submit("prompt", compute, self._show)

    def _language(self) -> str:
        """The language that is chosen, or else the likeliest one of the text and its answer."""
        if self.language.value != AS_TYPED:
            return self.language.value
        return self.guessed_language(f"{self.text.value} {self.answer.value}")

    def _baseline(
        self, model: "TransformerBridge", prompt: Prompt, method: Method
    ) -> dict[str, Any]:
        """The baseline of a typed prompt, which no fact stands beside.

        Where zero is no baseline, it is the mean over the language's facts.
        """
        if not (capabilities(model).scale_invariant and METHODS[method].takes_baseline):
            return {}
        corpus = self.facts.filter(languages=prompt.language).prompts()[::PROMPTS_APART]
        return {"baseline": "mean", "corpus": corpus[:PROMPTS_OF_MEAN]}

    def _show(self, result: _Result) -> None:
        self.scores = scores = result.scores
        prompt = scores.prompts[0]
        cells: list[list[Cell | str]] = [
            [Cell(token.strip() or repr(token), prompt.language), f"{p:.1%}"]
            for token, p in result.tokens
        ]
        head = ("Likeliest next", "Probability")
        self.tokens.value = table(head, cells, caption="", name="lafn-next") if cells else ""
        self.figure.show(plots.attribution_strip(scores), what=f"“{prompt.text}”")
        self.panel.show(neuron_table(scores, known_only=False), scores, "Neurons of this prompt")
        likely = f"P({isolated(prompt.answer)}) = {float(scores.target_prob[0]):.1%}"
        likely += "" if scores.known[0] else "; it is not what the model would write"
        said = [likely, *_about_seam(self.text.value, self.answer.value, prompt)]
        if self.language.value == AS_TYPED:
            said.insert(1, f"The text was taken for {language_name(prompt.language)}")
        self.status.say(" ".join(f"{sentence}." for sentence in said))

    def _lines(self) -> list[str]:
        """Attribute the prompt that is shown."""
        if self.scores is None or self.waiting("prompt"):
            return []
        (prompt,), method = self.scores.prompts, self.method.value
        baseline: list[str] = []
        if self._baseline(self.ready(), prompt, method):
            mean = f"facts.filter(languages={prompt.language!r}).prompts()"
            corpus = f"corpus={mean}[::{PROMPTS_APART}][:{PROMPTS_OF_MEAN}]"
            baseline = ['baseline="mean"', corpus]
        attributed = call("lv.attribute", "model", "[prompt]", *baseline, method=method)
        return [
            f"prompt = lv.{prompt!r}",
            f"scores = {attributed}",
            "print(float(scores.target_prob[0]))",
            "lv.plots.attribution_strip(scores).show()",
            *self.panel.lines(),
        ]


def _about_seam(text: str, answer: str, prompt: Prompt) -> Iterator[str]:
    """What is left out of a typed prompt and answer, or stands in both, a sentence each."""
    if text_before(text) != text:
        why = "the answer's first token already has"
        why = why if prompt.separator.isspace() else "does not stand before this answer"
        yield f"The text ends in a blank, which {why}: it is left out"
    if answer_alone(answer) != answer:
        yield "The blanks around the answer are left out"
    if ends_in_answer(prompt.text, prompt.answer, prompt.language):
        yield "The text already ends in the answer, which is asked for once more"

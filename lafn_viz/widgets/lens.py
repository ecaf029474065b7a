"""What each layer would write: in which language a fact is named, layer by layer."""

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.messages import listed
from lafn_viz.datasets.arguments import Facts
from lafn_viz.datasets.languages import language_name
from lafn_viz.experiments.stages import corpus_of_others
from lafn_viz.interventions.language_lens import LanguageLens
from lafn_viz.interventions.lens_reading import language_lens
from lafn_viz.interventions.neuron_cards import neuron_table
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.plots.style import isolated
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.controls import FactChoice, named
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import row
from lafn_viz.widgets.neuron import NeuronPanel

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class LensExplorer(Explorer):
    """The language lens of one fact, and the neurons of a layer that write its answer.

    Attributes:
        lens: the fact's prompts in all languages, a `LanguageLens`.
        scores: the direct effect of each neuron on the prompt that is shown, once a layer was
            clicked.
    """

    def __init__(
        self, model: "TransformerBridge | str" = "embedded", facts: Facts | None = None
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Layers",
            about="What would each layer write, and in which language? Choose a fact and the "
            "language that asks for it. Click a layer for its neurons that push the answer most "
            "directly.",
        )
        self.lens: LanguageLens | None = None
        self.scores: NeuronScores | None = None
        self.choice = FactChoice(self.facts, self.guarded(self.begin), guarded=self.guarded)
        self.language = w.Dropdown(
            options=[(language_name(code), code) for code in self.facts.languages],
            description="Asked in", layout={"width": "220px"},
        ).add_class("lafn-lens-language")  # fmt: skip
        self.language.observe(self.guarded(self._draw), "value")
        self._offering = False  # the list is filled; nothing was chosen
        self.wording = w.Dropdown(
            options=[], description="Wording", layout={"width": "180px"}
        ).add_class("lafn-wording")
        self.wording.observe(self.guarded(self._on_wording), "value")
        self.strip, self.latent = FigureView(), FigureView()
        self.strip.add_class("lafn-lens-strip")
        self.latent.add_class("lafn-latent")
        self.views = (self.strip, self.latent)
        self.strip.observe(self.guarded(self._on_click), "clicked")
        self.panel = NeuronPanel(self)
        self.children = (
            self.heading,
            row(self.model_choice, self.choice),
            row(self.language, self.wording),
            self.progress,
            self.strip,
            self.python_code,
            self.panel,
            self.latent,
        )
        self.start()

    def common(self) -> dict[str, Any]:
        """The controls that other tabs have too."""
        return {**super().common(), "fact": self.choice}

    def begin(self) -> None:
        """Read the fact that is chosen in all its languages, in the wording that is chosen."""
        self.outdate()
        model, fact = self.ready(), self.choice.fact
        asked = self.facts.filter(relation=fact.relation, subjects=fact.subject_id).prompts()
        self._offer(sorted({prompt.paraphrase for prompt in asked}))
        prompts = [prompt for prompt in asked if prompt.paraphrase == self.wording.value]
        self.panel.clear()
        self.lens = self.scores = None

        def compute(task: Task) -> LanguageLens:
            task.step(0.2, f"Reading every layer for {named(fact)}")
            return language_lens(model, prompts, facts=self.facts)

        self.submit("lens", compute, self._show)

    def _offer(self, wordings: list[int]) -> None:
        """List the wordings of the fact's relation; one that is chosen stays if it is there."""
        if [number for _, number in self.wording.options] == wordings:
            return
        chosen = self.wording.value
        self._offering = True
        self.wording.options = [(str(number), number) for number in wordings]
        self.wording.value = chosen if chosen in wordings else wordings[0]
        self._offering = False

    def _on_wording(self) -> None:
        if not self._offering:
            self.begin()

    def _show(self, lens: LanguageLens) -> None:
        self.lens = lens
        self._draw()
        self.latent.show(plots.latent_languages(lens), what=self.choice.subject.label)

    def _place(self) -> int:
        """The number of the prompt in the language that is chosen.

        Raises:
            ValueError: for a language in which the fact is not asked for.
        """
        assert self.lens is not None
        for place, prompt in enumerate(self.lens.prompts):
            if prompt.language == self.language.value:
                return place
        raise ValueError(
            f"{named(self.choice.fact)} has no prompt in {self.language.label}; choose another "
            "language"
        )

    def _draw(self) -> None:
        """Draw the strip of the prompt in the language that is chosen."""
        if self.lens is None:
            return
        self.strip.outdate()
        self.panel.clear()
        self.scores = None
        place = self._place()
        prompt = self.lens.prompts[place]
        self.strip.show(plots.lens_strip(self.lens, prompt=place), what=f"“{prompt.text}”")
        self.status.say(self._sentence(place))

    def _lines(self) -> list[str]:
        """Read the layers for the fact in one wording, and draw the strip of one language."""
        if self.lens is None:
            return []
        return [
            *self.choice.lines(),
            f"prompts = [prompt for prompt in asked if prompt.paraphrase == {self.wording.value}]",
            "lens = lv.language_lens(model, prompts, facts=facts)",
            f"lv.plots.lens_strip(lens, prompt={self._place()}).show()",
            "lv.plots.latent_languages(lens).show()",
        ]

    def _sentence(self, place: int) -> str:
        """From which layer on the names of the answer lead, in the languages that have one."""
        assert self.lens is not None
        leading = self.lens.leading()[place]  # [layer, language], among the likeliest tokens
        said = [
            f"{language_name(code)} from layer {layers.argmax()} on"
            for code, layers in zip(self.lens.languages, leading.T, strict=True)
            if layers.any()
        ]
        own = language_name(self.lens.prompts[place].language)
        alike = "" if self.lens.told_apart[place] else " Names that begin alike lead together."
        return f"Asked in {own}: " + (
            f"names lead in {listed(said)}.{alike}" if said else "no name leads in any layer."
        )

    def _on_click(self) -> None:
        """List the neurons of the layer that was clicked, by what they write of the answer."""
        if self.lens is None:
            return
        layer = self.strip.clicked["row"] - 1  # row 0 is the embedding
        if layer < 0:
            self.status.say("Layer 0 is the embedding, which has no neurons; click another layer.")
            return
        model, fact = self.ready(), self.choice.fact
        prompt = self.lens.prompts[self._place()]
        if self.scores is not None:
            self._list(self.scores, layer)
            return

        def compute(task: Task) -> NeuronScores:
            task.step(0.3, "Reading what the neurons write")
            corpus = corpus_of_others(model, self.facts, fact, [prompt])
            return attribute(
                model, [prompt], method="direct_effect", position="answer", corpus=corpus
            )

        self.submit("scores", compute, lambda scores: self._list(scores, layer))

    def _list(self, scores: NeuronScores, layer: int) -> None:
        self.scores = scores
        _, _, width = scores.values.shape
        neurons = [Neuron(layer, number) for number in range(width)]
        frame = neuron_table(scores, among=neurons, known_only=False)
        answer = scores.prompts[0].answer
        self.panel.show(
            frame, scores, f"Neurons of block {layer}: what each writes of {isolated(answer)}"
        )
        self.status.say(f"Block {layer} leads from layer {layer} to layer {layer + 1}.")

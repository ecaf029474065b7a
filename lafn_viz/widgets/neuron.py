"""A searchable table of neurons, and the card of the neuron that is chosen."""

import json
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.messages import counted
from lafn_viz.datasets.arguments import Facts
from lafn_viz.datasets.languages import language_name
from lafn_viz.experiments.stages import corpus_of_others
from lafn_viz.interventions.neuron_cards import (
    NeuronCard,
    neuron_card,
    neuron_table,
    neurons_promoting,
)
from lafn_viz.neurons.neuron_sets import Neuron, validate_neurons
from lafn_viz.plots.style import isolated
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.controls import FactChoice, method_choice, named
from lafn_viz.widgets.download import Download, csv_of
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import Cell, row, table
from lafn_viz.widgets.python_code import OTHER_FACTS, call

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


class NeuronPanel(w.VBox):
    """A searchable table of neurons, and the card of the chosen neuron.

    A neuron is chosen by a click on its row, or typed as layer:neuron in the field under the table.
    A word typed there lists the neurons of the model that promote it; an emptied field brings the
    table back.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.scores: NeuronScores | None = None
        self.card: NeuronCard | None = None
        self._frame: pd.DataFrame | None = None
        self._own: tuple[pd.DataFrame, str] | None = None  # the table that is no search, its title
        self._word = ""  # whose neurons are listed
        self.title = w.HTML()
        self.box = w.VBox().add_class("lafn-neurons")
        self.field = w.Text(
            description="Neuron", placeholder="0:123, or a word", continuous_update=False,
            layout={"width": "260px"},
        ).add_class("lafn-neuron")  # fmt: skip
        self.field.observe(explorer.guarded(self._on_field), "value")
        self.file = Download("Table as CSV", self._csv, guarded=explorer.guarded)
        self.figure = FigureView()
        self.figure.add_class("lafn-card")
        self.strongest = w.HTML()
        under = row(self.field, self.file)
        super().__init__([self.title, self.box, under, self.figure, self.strongest])

    def show(
        self, frame: "pd.DataFrame", scores: NeuronScores, title: str, *, refined: bool = False
    ) -> None:
        """Show a table, whose columns `layer` and `neuron` name the neuron of each row.

        Cards are drawn from `scores`. The card of other scores is removed, or drawn anew where the
        scores are the others `refined`.
        """
        is_other = self.scores is not scores
        if is_other and not refined:
            self.forget()
        self.scores, self._own = scores, (frame, title)
        self._list(frame, title)
        if is_other and self.field.value:
            said = "" if self.explorer.waiting("card") else self.explorer.status.text
            self.explorer.guarded(lambda: self._on_field(saying=said))()

    def _list(self, frame: "pd.DataFrame", title: str, *, word: str = "") -> None:
        previous, self._word = self._frame, word
        self._frame = frame.reset_index(drop=True)
        # The same table keeps its search text and its selected row.
        if previous is None or not self.box.children or not self._frame.equals(previous):
            self._put(self._table())
        self.title.value = f"<h3>{escape(title)}</h3>"  # last: whoever reads it finds the rows

    def _table(self) -> w.Widget:
        """The neurons that are listed, to be searched, sorted and chosen from."""
        from itables.widget import ITable

        assert self._frame is not None
        shown = self._frame.drop(columns=["layer", "neuron"])
        shown.insert(0, "neuron", [f"{n.layer}:{n.neuron}" for n in self._neurons()])
        shown = shown.rename(columns={"in_top": "languages (top 2%)"})
        # The first click on a column of numbers puts the largest first.
        numbers = [i for i, kind in enumerate(shown.dtypes) if kind.kind in "if"]
        view = ITable(
            _rounded(shown), select="single", showIndex=False, maxBytes=0, classes="compact",
            lengthMenu=[8, 25, 100], order=[],
            columnDefs=[{"targets": numbers, "orderSequence": ["desc", "asc", ""]}],
        )  # fmt: skip
        view.observe(self.explorer.guarded(self._on_row), "selected_rows")
        return view

    def clear(self) -> None:
        """Remove the table and the card."""
        self.forget()
        self.title.value = ""
        self._put()

    def _csv(self) -> tuple[str, bytes]:
        """The table as a file, with all digits.

        Raises:
            ValueError: while there is none.
        """
        if self._frame is None or not self.box.children:
            raise ValueError("no neurons are listed yet; choose a fact, or two languages")
        return "neurons.csv", csv_of(self._frame)

    def _put(self, *tables: w.Widget) -> None:
        previous, self.box.children = self.box.children, tables
        for widget in previous:
            widget.close()

    def forget(self) -> None:
        """Remove the card."""
        self.explorer.drop("card")
        self._own = None  # an empty field brings back no table
        self.card, self.field.value, self.strongest.value = None, "", ""
        self.figure.show(None)

    def choose(self, neuron: Neuron) -> None:
        """Show the card of a neuron."""
        name = f"{neuron.layer}:{neuron.neuron}"
        if self.field.value == name:  # no change to observe, but the prompts may be others
            self.explorer.guarded(self._on_field)()
        self.field.value = name

    def follow(self, strip: FigureView) -> None:
        """Show the card of a neuron when its cell of an attribution strip is clicked."""

        def on_click() -> None:
            if self.scores is not None:
                self.choose_cell(strip)

        strip.observe(self.explorer.guarded(on_click), "clicked")

    def choose_cell(self, strip: FigureView) -> None:
        """Show the card of the neuron whose cell of an attribution strip was clicked."""
        place = strip.clicked
        trace = json.loads(strip.figure)["data"][place["curve"]]
        if "customdata" in trace:  # a marker has none
            layer, neuron = trace["customdata"][place["row"]][place["column"]].split(":")
            self.choose(Neuron(int(layer), int(neuron)))

    @property
    def first(self) -> Neuron:
        """The neuron of the first row."""
        return self._neurons()[0]

    def lines(self) -> list[str]:
        """Python that lists the neurons of a word, and draws the chosen neuron's card.

        Both are from `scores`.
        """
        listed = []
        if self._word:
            listed = [f"print(lv.neurons_promoting(model, scores.prompts, {self._word!r}))"]
        if self.card is None:
            return listed
        neuron = tuple(self.card.neuron)
        return [
            *listed,
            f"card = lv.neuron_card(model, scores.prompts, {neuron}, scores=scores)",
            "lv.plots.neuron_card(card).show()",
        ]

    def _neurons(self) -> list[Neuron]:
        assert self._frame is not None
        return [
            Neuron(*pair) for pair in zip(self._frame["layer"], self._frame["neuron"], strict=True)
        ]

    def _on_row(self) -> None:
        rows = self.box.children[0].selected_rows if self.box.children else []
        if rows:
            self.choose(self._neurons()[rows[0]])

    def _on_field(self, *, saying: str = "") -> None:
        """Show what the field asks for, and say so, or say what is given."""
        text = self.field.value.strip()
        if self.scores is None or self._own is None:
            return
        if not text:
            self._list(*self._own)
            return
        layer, _, neuron = text.partition(":")
        if not (layer.strip().isdecimal() and neuron.strip().isdecimal()):
            if text.replace(":", "").isdecimal():
                raise ValueError(f"{text!r} is no neuron; give layer:neuron, such as 0:123")
            self._find(text, saying)
            return
        _, n_layers, d_mlp = self.scores.values.shape
        (chosen,) = validate_neurons([(int(layer), int(neuron))], (n_layers, d_mlp))
        scores, model = self.scores, self.explorer.model

        def compute(task: Task) -> NeuronCard:
            task.step(0.3, f"Reading neuron {text}")
            return neuron_card(model, scores.prompts, chosen, scores=scores)

        self.explorer.submit("card", compute, lambda card: self._show_card(card, saying))

    def _find(self, word: str, saying: str) -> None:
        """List the neurons that promote a word."""
        scores, model = self.scores, self.explorer.ready()
        assert scores is not None

        def compute(task: Task) -> tuple["pd.DataFrame", str]:
            task.step(0.3, f"Looking for neurons that promote {word}")
            found = neurons_promoting(model, scores.prompts, word)
            places = list(zip(found["layer"], found["neuron"], strict=True))
            known = bool(scores.known.any())
            frame = neuron_table(scores, among=places, top=len(places), known_only=known)
            frame = found.merge(frame, on=["layer", "neuron"])
            return frame.rename(columns={"logit": "adds to logit"}), found.attrs["token"]

        def show(result: tuple["pd.DataFrame", str]) -> None:
            frame, token = result
            self._list(frame, f"Neurons that promote {isolated(token)}", word=word)
            begun = "" if token.strip() == word else f", with which {isolated(word)} begins"
            self.explorer.status.say(
                saying
                or f"{counted(len(frame), 'neuron')}, those first that add most to the logit of "
                f"{isolated(token)}{begun}. Empty the field for the table before."
            )

        self.explorer.submit("card", compute, show)

    def _show_card(self, card: NeuronCard, saying: str) -> None:
        self.card = card
        self.figure.show(plots.neuron_card(card))
        rows: list[list[Cell | str]] = []
        for code, places in card.strongest.items():
            prompt, activation = card.prompts[places[0]], float(card.activation[places[0]])
            rows.append([language_name(code), Cell(prompt.text, code), f"{activation:.2f}"])
        head = ("Language", "Strongest prompt", "Activation")
        self.strongest.value = table(
            head, rows, caption="Where it is strongest", name="lafn-strongest"
        )
        self.explorer.status.say(saying or f"Neuron {card.neuron.layer}:{card.neuron.neuron}.")


def _rounded(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Round the numbers of a table; what rounds to zero has no sign."""
    numbers = frame.select_dtypes("float").round(4) + 0.0
    return frame.assign(**{str(name): column for name, column in numbers.items()})


class NeuronExplorer(Explorer):
    """All neurons that matter to a fact, in a searchable table, and a card of each.

    Attributes:
        scores: the scores of the fact's prompts, a `NeuronScores`.
    """

    def __init__(
        self, model: "TransformerBridge | str" = "embedded", facts: Facts | None = None
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Neurons",
            about="Search the neurons of a fact, and choose one for its card: its attribution and "
            "activation in every language, the tokens it promotes, and what changes without it. "
            "Type a word under the table for the neurons that promote it.",
        )
        self.scores: NeuronScores | None = None
        restart = self.guarded(self.begin)
        self.choice = FactChoice(self.facts, restart, guarded=self.guarded)
        self.method = method_choice(restart)
        self.panel = NeuronPanel(self)
        self.children = (
            self.heading,
            row(self.model_choice, self.choice, self.method),
            self.progress,
            self.python_code,
            self.panel,
        )
        self.start()

    def common(self) -> dict[str, Any]:
        """The controls that other tabs have too."""
        return {**super().common(), "fact": self.choice, "method": self.method}

    def begin(self) -> None:
        """Attribute the fact that is chosen."""
        fact, method, model = self.choice.fact, self.method.value, self.ready()
        chosen = self.facts.filter(relation=fact.relation, subjects=fact.subject_id)
        self.panel.clear()

        def compute(task: Task) -> NeuronScores:
            task.step(0.1, f"Attributing {named(fact)}")
            prompts = chosen.prompts()
            corpus = corpus_of_others(model, self.facts, fact, prompts)
            with task.ends_in_passes_of(model):
                return attribute(model, prompts, method=method, corpus=corpus)

        self.submit("scores", compute, self._show)

    def _lines(self) -> list[str]:
        """Attribute the fact, and draw the card of the neuron that is chosen."""
        if self.scores is None or self.waiting("scores"):
            return []
        corpus = "corpus=corpus_of_others(model, facts, fact, asked)"
        attributed = call(
            "lv.attribute", "model", "asked", *self._corpus(corpus), method=self.method.value
        )
        return [
            *self.choice.lines(),
            f"scores = {attributed}",
            "print(lv.neuron_table(scores).head(10))",
            *self.panel.lines(),
        ]

    def _imports(self) -> list[str]:
        """What other facts are taken with."""
        return self._corpus(OTHER_FACTS)

    def _show(self, scores: NeuronScores) -> None:
        self.scores = scores
        self.panel.show(neuron_table(scores), scores, "Neurons of this fact")
        self.panel.choose(self.panel.first)

"""Which neurons a fact has in common in which languages, beside the same for other facts."""

from typing import TYPE_CHECKING

import ipywidgets as w

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import language_name
from lafn_viz.experiments.stages import locate
from lafn_viz.interventions.neuron_cards import neuron_table
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.controls import FactChoice, method_choice
from lafn_viz.widgets.explorer import Explorer, Languages
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import row
from lafn_viz.widgets.neuron import NeuronPanel

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

KEPT = 24  # facts whose scores are kept beside those that are shown
VIEWS = {
    "Heatmap": "heatmap",
    "Languages together": "upset",
    "Layers": "layers",
    "Strip": "strip",
}


class OverlapExplorer(Explorer):
    """Heatmap, UpSet, layers and strip of one fact; a click on two languages lists what they share.

    Scores of the fact come first, then those of `n_others` facts of its relation, the control. What
    was computed is kept, so that another threshold, view or choice of languages shows at once.

    Attributes:
        overlap: what is shown, an `Overlap` of the one fact.
        shared: the neurons of the two languages chosen.
    """

    def __init__(
        self,
        model: "TransformerBridge | str" = "embedded",
        facts: FactSet | None = None,
        *,
        n_others: int = 5,
    ) -> None:
        super().__init__(
            model,
            facts,
            title="Overlap",
            about="Which neurons does a fact use in which languages? Click a cell of the "
            "heatmap, or choose two languages, for the neurons that they share; click a neuron "
            "for its card.",
        )
        self.n_others = n_others
        if len(self.facts.languages) < 2:
            raise ValueError("an overlap needs two languages or more; these facts have one")
        self.overlap: Overlap | None = None
        self._following = False  # the pair follows a click
        self.shared: frozenset[Neuron] = frozenset()
        self._kept: dict[tuple[str, str, str], NeuronScores] = {}
        self._shown: list[tuple[str, str, str]] = []
        again, redraw = self.guarded(self.begin), self.guarded(self._draw)
        self.choice = FactChoice(self.facts, again)
        self.method = method_choice(again)
        self.threshold = w.FloatSlider(
            value=0.2, min=0, max=0.95, step=0.05, description="Threshold",
            layout={"width": "330px"},
        ).add_class("lafn-threshold")  # fmt: skip
        self.min_languages = w.BoundedIntText(
            value=4, min=2, max=len(self.facts.languages), description="Agnostic from",
            layout={"width": "150px"}, style={"description_width": "100px"},
        ).add_class("lafn-min-languages")  # fmt: skip
        self.languages = Languages(self.facts.languages, redraw)
        self.view = w.ToggleButtons(options=VIEWS, description="View").add_class("lafn-view")
        self.figure = FigureView()
        self.figure.add_class("lafn-overlap")
        names = [(language_name(code), code) for code in self.facts.languages]
        self.pair = tuple(
            w.Dropdown(
                options=names, value=names[min(i, len(names) - 1)][1], description=told,
                layout={"width": "230px"},
            ).add_class(f"lafn-{told.lower()}")
            for i, told in enumerate(("Between", "and"))
        )  # fmt: skip
        self.panel = NeuronPanel(self)
        self.children = (
            self.heading,
            row(self.model_choice, self.choice, self.method),
            row(self.threshold, self.min_languages, w.Label("languages on")),
            self.languages,
            self.view,
            self.progress,
            self.figure,
            row(*self.pair),
            self.panel,
        )
        for control in (self.threshold, self.min_languages, self.view):
            control.observe(redraw, "value")
        for one in self.pair:
            one.observe(self.guarded(self._list), "value")
        self.figure.observe(self.guarded(self._clicked), "clicked")
        self.start()

    def begin(self) -> None:
        """Attribute the fact that is chosen, then its control."""
        fact, method, model = self.choice.fact, self.method.value, self.ready()
        # The control is the next facts in the list, so that it is the same whenever one comes back.
        there = [x.id for x in self.facts.filter(relation=fact.relation)]
        at = there.index(fact.id)
        wanted = (there[at:] + there[:at])[: 1 + self.n_others]
        self._shown = keys = [(capabilities(model).weights, method, name) for name in wanted]
        self.panel.clear()
        self.overlap = None

        def compute(task: Task) -> None:
            for i, key in enumerate(keys):
                if key in self._kept:
                    continue
                name = self.facts[key[2]]
                task.step(i / len(wanted), f"Attributing {name.relation} of {name.subject_id}")
                some = self.facts.filter(relation=name.relation, subjects=name.subject_id)
                # Held-out wordings are for what is done to the neurons found here.
                prompts = some.prompts(splits=["trained", "held-out pair"])
                self._kept[key] = attribute(model, prompts, method=method)
                if not i:
                    task.step(1 / len(keys), "Attributing its control")
                    self.guarded(self._draw)()
            for key in [key for key in self._kept if key not in keys][:-KEPT]:
                del self._kept[key]

        self.submit("scores", compute, lambda _: self._draw())

    def _scores(self) -> list[NeuronScores]:
        """Those that are there, in the languages that are chosen; the fact's first."""
        chosen = set(self.languages.chosen)
        if len(chosen) < 2:
            raise ValueError(f"{len(chosen)} language is checked; an overlap needs two or more")
        there = [self._kept[key] for key in self._shown if key in self._kept]
        return [one.select(lambda prompt: prompt.language in chosen) for one in there]

    def _draw(self) -> None:
        if not self._shown or self._shown[0] not in self._kept:
            return
        scores = self._scores()
        fact = self._shown[0][2]
        least = self.min_languages.value
        every = locate(*scores, min_languages=least, threshold=self.threshold.value).overlap
        self.overlap = every.of(facts=[fact])
        agnostic = self.overlap.agnostic[fact]
        view = self.view.value
        if view == "heatmap":
            figure = plots.overlap_heatmap(self.overlap)
        elif view == "upset":
            figure = plots.upset(every, facts=[fact])
        elif view == "layers":
            figure = plots.layer_distribution(self.overlap)
        else:
            figure = plots.attribution_strip(scores[0], agnostic=agnostic)
        self.figure.show(figure)
        n, n_others = len(agnostic), len(scores) - 1
        control = f"Control: {n_others} other facts."
        if n_others + 1 < len(self._shown) and self.waiting("scores"):
            control = f"Its control, {len(self._shown) - 1} other facts, follows …"
        self.status.say(f"{fact}: {n} neurons in {least} languages or more. {control}")
        self._list()

    def _clicked(self) -> None:
        place = self.figure.clicked
        if self.view.value == "strip":
            self.panel.choose_cell(self._scores()[0], place)
        if self.view.value != "heatmap" or self.overlap is None:
            return
        if place["curve"]:
            self.status.say("This half is the control, other facts; click in the left half.")
            return
        languages = self.overlap.languages
        self._following = True
        self.pair[0].value = languages[place["row"]]
        self.pair[1].value = languages[place["column"]]
        self._following = False
        self._list()

    def _list(self) -> None:
        """The neurons that two languages share."""
        if self.overlap is None or self._following:
            return
        fact, codes = self._shown[0][2], [one.value for one in self.pair]
        away = [language_name(x) for x in codes if x not in self.languages.chosen]
        if away:
            self.panel.clear()
            self.status.say(f"{away[0]} is not checked; check it, or choose another language.")
            return
        own = {code: self.overlap.sets.get((fact, code)) for code in codes}
        missing = [language_name(code) for code, some in own.items() if some is None]
        if missing:
            self.panel.clear()
            self.status.say(f"The model does not know {fact} in {' and '.join(missing)}.")
            return
        self.shared = frozenset.intersection(*(some.neurons for some in own.values() if some))
        scores = self._kept[self._shown[0]]
        some = scores.select(lambda prompt: prompt.language in codes)
        frame = neuron_table(some, overlap=self.overlap, among=self.shared)
        both = " and ".join(dict.fromkeys(language_name(code) for code in codes))
        self.panel.show(frame, scores, f"{len(self.shared)} neurons of {fact} in {both}")

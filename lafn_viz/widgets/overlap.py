"""Which neurons the languages of a fact share, beside other facts as the control."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import plotly.graph_objects as go

from lafn_viz import plots
from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import Method
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import takes, whole
from lafn_viz.core.messages import counted, listed
from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.languages import language_name, script_of
from lafn_viz.experiments.stages import SelectOptions, corpus_of_others, locate
from lafn_viz.interventions.neuron_cards import neuron_table
from lafn_viz.models.capabilities import weights_of
from lafn_viz.neurons.criterion import MIN_LANGUAGES, MIN_SCRIPTS, Criterion
from lafn_viz.neurons.neuron_sets import FRACTION, THRESHOLD, Neuron, require_finite
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.widgets.background import Task
from lafn_viz.widgets.controls import FactChoice, method_choice, named
from lafn_viz.widgets.explorer import Explorer, Languages
from lafn_viz.widgets.figure import FigureView
from lafn_viz.widgets.html import row
from lafn_viz.widgets.neuron import NeuronPanel
from lafn_viz.widgets.python_code import OTHER_FACTS, call

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_KEPT = 24  # facts whose scores are kept besides those that are shown
ScoresKey = tuple[str, Method, str]  # the model's weights, method and fact
# The completeness error allowed for a first look, which takes half the time. The neurons of a fact
# and language are nearly those of the exact scores: mean Jaccard .90 to .98 in four capitals.
FIRST_LOOK = 0.2
REFINED = ("integrated_gradients", "amig")  # the methods that take as many points as that needs
KEEP_BY = {
    "best share of all neurons": "fraction",
    "scores above a share of its largest": "threshold",
}
FRACTIONS = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
VIEWS = {
    "Heatmap": "heatmap",
    "Languages together": "upset",
    "Layers": "layers",
    "Strip": "strip",
}


class OverlapExplorer(Explorer):
    """Heatmap, UpSet, layers and strip of one fact; a click on two languages lists what they share.

    A first look at the fact is drawn, then one at `n_others` facts of its relation, the control,
    and then the exact scores of the fact and of those. Scores are kept, so that another threshold,
    view or choice of languages is drawn at once.

    Attributes:
        overlap: the overlap that is shown, an `Overlap` of the one fact.
        shared: the neurons that the two chosen languages share.
    """

    @takes(n_others=whole(0))
    def __init__(
        self,
        model: "TransformerBridge | str" = "embedded",
        facts: Facts | None = None,
        *,
        n_others: int = 5,
    ) -> None:
        if facts is not None and len(as_facts(facts).languages) < 2:
            raise ValueError("an overlap needs two languages or more; these facts have one")
        super().__init__(
            model,
            facts,
            title="Overlap",
            about="Which neurons does a fact use in which languages? Click a cell of the "
            "heatmap, or choose two languages, for the neurons that they share; click a neuron "
            "for its card.",
        )
        self.n_others = n_others
        self.overlap: Overlap | None = None
        self.shared: frozenset[Neuron] = frozenset()
        self._kept: dict[ScoresKey, NeuronScores] = {}
        self._rough: set[ScoresKey] = set()  # those of a first look
        self._shown: list[ScoresKey] = []  # the fact that is chosen, then its control
        self._n_facts = 0  # how many these will be
        self._control: list[str] = []  # the facts of the control that some language knows
        self._said = ""  # of what is drawn
        self._left_out = Skipped("fact")  # what could not be attributed for the control
        self._updating_pair = False  # a click sets both lists; the neurons are listed once
        self._make_controls()
        self.children = (
            self.heading,
            row(self.model_choice, self.choice, self.method),
            row(self.keep_by, self.fraction, self.threshold),
            row(self.min_languages, self.min_scripts),
            self.languages,
            row(self.view, self.one_scale),
            self.progress,
            self.figure,
            self.python_code,
            row(*self.pair),
            self.panel,
        )
        self.start()

    def _make_controls(self) -> None:
        restart, redraw = self.guarded(self.begin), self.guarded(self._draw)
        self.choice = FactChoice(self.facts, restart, guarded=self.guarded)
        self.method = method_choice(restart)
        self.keep_by = w.Dropdown(
            options=KEEP_BY, value="fraction", description="Neurons kept",
            layout={"width": "370px"}, style={"description_width": "100px"},
        ).add_class("lafn-keep-by")  # fmt: skip
        self.fraction = w.SelectionSlider(
            options=[(f"{100 * share:g}%", share) for share in FRACTIONS],
            value=FRACTION, description="Share", layout={"width": "330px"},
        ).add_class("lafn-fraction")  # fmt: skip
        self.threshold = w.FloatSlider(
            value=THRESHOLD, min=0, max=0.95, step=0.05, description="Threshold",
            layout={"width": "330px", "display": "none"},
        ).add_class("lafn-threshold")  # fmt: skip
        self.keep_by.observe(self.guarded(self._on_keep_by), "value")
        self.min_languages = w.BoundedIntText(
            value=MIN_LANGUAGES, min=2, max=len(self.facts.languages),
            description="Agnostic: languages ≥", layout={"width": "205px"},
            style={"description_width": "150px"},
        ).add_class("lafn-min-languages")  # fmt: skip
        n_scripts = len(set(map(script_of, self.facts.languages)))
        self.min_scripts = w.BoundedIntText(
            value=MIN_SCRIPTS, min=1, max=n_scripts, description="scripts ≥",
            layout={"width": "130px"}, style={"description_width": "70px"},
        ).add_class("lafn-min-scripts")  # fmt: skip
        self.languages = Languages(self.facts.languages, redraw)
        self.view = w.ToggleButtons(options=VIEWS, description="View").add_class("lafn-view")
        self.one_scale = w.Checkbox(
            value=True, description="same colours for all facts", indent=False,
            layout={"width": "auto"},
        ).add_class("lafn-one-scale")  # fmt: skip
        for control in (
            self.fraction,
            self.threshold,
            self.min_languages,
            self.min_scripts,
            self.view,
            self.one_scale,
        ):
            control.observe(redraw, "value")
        self.figure = FigureView().add_class("lafn-overlap")
        self.views = (self.figure,)
        self.figure.observe(self.guarded(self._on_click), "clicked")
        names = [(language_name(code), code) for code in self.facts.languages]
        self.pair = tuple(
            w.Dropdown(
                options=names, value=names[place][1], description=label, layout={"width": "230px"}
            ).add_class(f"lafn-{label.lower()}")
            for place, label in enumerate(("Between", "and"))
        )
        for control in self.pair:
            control.observe(self.guarded(self._list_shared), "value")
        self.panel = NeuronPanel(self)

    def common(self) -> dict[str, Any]:
        """The controls that other tabs have too."""
        own = {"fact": self.choice, "method": self.method, "languages": self.languages}
        return {**super().common(), **own}

    def begin(self) -> None:
        """Attribute the fact that is chosen, then its control."""
        self.outdate()
        fact, method, model = self.choice.fact, self.method.value, self.ready()
        # The control is the next facts in the list, so that a fact always has the same control.
        ids = [other.id for other in self.facts.filter(relation=fact.relation)]
        place = ids.index(fact.id)
        weights = weights_of(model)
        own, *others = [(weights, method, fact_id) for fact_id in ids[place:] + ids[:place]]
        n_facts = 1 + min(self.n_others, len(others))
        self._shown = shown = [own]
        self._n_facts, self._left_out = n_facts, Skipped("fact")
        left_out = self._left_out
        self.panel.clear()
        self.overlap = None

        looks = (True, False) if method in REFINED else (False,)
        n_steps, done = n_facts * len(looks), 0
        is_drawn = own in self._kept

        def look(task: Task, key: ScoresKey, *, roughly: bool) -> bool:
            """Attribute a fact, unless its scores are good enough already; return whether it was.

            Once something is drawn, the bar alone tells how far this is.
            """
            nonlocal done
            needed = key not in self._kept or (key in self._rough and not roughly)
            if needed:
                how = ", a first look" if roughly else ""
                message = "" if is_drawn else f"Attributing {named(self.facts[key[2]])}{how}"
                task.step(done / n_steps, message)
                options = {"tolerance": FIRST_LOOK} if roughly else {}
                self._kept[key] = self._attribute(task, model, key, **options)
                (self._rough.add if roughly else self._rough.discard)(key)
            done += 1
            return needed

        def draw() -> None:
            self.guarded(lambda: self._draw(further=is_drawn))()

        def compute(task: Task) -> Generator[None]:
            nonlocal is_drawn
            if look(task, own, roughly=looks[0]):
                draw()
                is_drawn = True
                yield
            # A fact that cannot be attributed is no control; the next one is.
            for key in others:
                if len(shown) == n_facts:
                    break
                with left_out.unless_it_fails(key[2]):
                    look(task, key, roughly=looks[0])
                    shown.append(key)
                yield
            if shown is self._shown:  # else another fact has been chosen
                self._n_facts = len(shown)
            if self._rough.intersection(shown):
                draw()
            for key in shown:
                if look(task, key, roughly=False):
                    if key == own:
                        draw()
                    yield
            for key in [key for key in self._kept if key not in shown][:-N_KEPT]:
                del self._kept[key]
            self._rough &= self._kept.keys()

        self.submit("scores", compute, lambda _: self._draw(further=True))
        self._draw()

    def _attribute(
        self, task: Task, model: "TransformerBridge", key: ScoresKey, **options: Any
    ) -> NeuronScores:
        """Attribute one fact. Raises ValueError for scores that are not numbers."""
        _, method, fact_id = key
        fact = self.facts[fact_id]
        facts = self.facts.filter(relation=fact.relation, subjects=fact.subject_id)
        # Held-out paraphrases are left for measuring what is done to these neurons.
        prompts = facts.prompts(splits=["trained", "held-out pair"])
        corpus = corpus_of_others(model, self.facts, fact, prompts)
        with task.ends_in_passes_of(model):
            scores = attribute(model, prompts, method=method, corpus=corpus, **options)
        require_finite(scores)
        return scores

    def _scores(self) -> list[NeuronScores]:
        """Return the scores that are computed, in the languages that are checked; the fact first.

        Raises:
            ValueError: if fewer than two languages are checked.
        """
        checked = set(self.languages.value)
        if len(checked) < 2:
            raise ValueError(f"{len(checked)} language is checked; an overlap needs two or more")
        computed = [self._own(), *(self._kept[key] for key in self._shown[1:])]
        return [scores.select(lambda prompt: prompt.language in checked) for scores in computed]

    def _own(self) -> NeuronScores:
        """The scores of the fact, those of a first look until there are exact ones."""
        return self._kept[self._shown[0]]

    def _on_keep_by(self) -> None:
        """Show the slider that belongs to the way of selecting, and select anew."""
        for control in (self.fraction, self.threshold):
            chosen = control is getattr(self, self.keep_by.value)
            control.layout.display = "" if chosen else "none"
        self._draw()

    def _selection(self) -> SelectOptions:
        """The way of selecting neurons that is chosen, as options of `select_neurons`."""
        if self.keep_by.value == "fraction":
            return {"fraction": self.fraction.value}
        return {"threshold": self.threshold.value}

    def _draw(self, *, further: bool = False) -> None:
        """Draw the view that is chosen, once the fact is attributed.

        Args:
            further: what was drawn before is computed further. What the status says of anything
                else, such as a neuron that is looked at meanwhile, stands.
        """
        if not self._shown or self._shown[0] not in self._kept:
            return
        self.outdate()
        scores = self._scores()
        fact = self._shown[0][2]
        located = locate(
            *scores, **self._selection(), min_languages=self.min_languages.value,
            min_scripts=self.min_scripts.value,
        )  # fmt: skip
        self.overlap = located.overlap.of(facts=[fact])
        agnostic = self.overlap.agnostic[fact]
        self._control = [key[2] for key in self._shown[1:] if key[2] in located.overlap.facts]
        self.one_scale.layout.display = "" if self.view.value == "heatmap" else "none"
        figure = self._drawn(scores, located.overlap)
        if self._rough.intersection(self._shown):  # a saved figure says so, too
            figure.layout.title.subtitle.text += " · a first look"
        self.figure.show(figure, what=self._described(fact))
        stands = further and self.status.text != self._said
        self._said = (
            f"{named(self.facts[fact])}: {counted(len(agnostic), 'neuron')} in "
            f"{self._criterion_met(located.criterion)}. {self._how_far()}"
        )
        if not stands:
            self.status.say(self._said)
        self._check_pair()
        self._list_shared()

    def _drawn(self, scores: list[NeuronScores], overlap: Overlap) -> go.Figure:
        """The view that is chosen, of the fact beside its control."""
        assert self.overlap is not None
        view = self.view.value
        if view == "heatmap":
            return plots.overlap_heatmap(self.overlap, top=1 if self.one_scale.value else None)
        if view == "upset":
            return plots.upset(overlap, facts=list(self.overlap.facts))
        if view == "layers":
            control = overlap.of(facts=self._control) if self._control else None
            return plots.layer_distribution(self.overlap, control=control)
        return plots.attribution_strip(scores[0], agnostic=self.overlap, control=scores[1:])

    def _how_far(self) -> str:
        """What the drawing is beside, what is only a first look, and what still follows."""
        own, *others = self._shown
        waiting, n_expected = self.waiting("scores"), self._n_facts - 1
        complete = len(others) == n_expected or not waiting
        control = f"Control: {counted(len(others), 'other fact')}."
        later = f"its control, {counted(n_expected, 'other fact')}"
        rough = self._rough.intersection(self._shown)
        exact = f"the exact scores {'follow …' if waiting else 'were not waited for.'}"
        if not complete:
            first = f"This is a first look; {later}, and {exact}"
            said = first if rough else f"{later[0].upper()}{later[1:]}, follows …"
        elif not rough:
            said = control
        else:
            whose = "Both are" if own in rough else "It is"
            if rough == {own}:
                whose = "The fact is" if others else "This is"
            said = f"{control} {whose} a first look; {exact}"
        if self._left_out.reasons:
            left_out = [named(self.facts[name]) for name in self._left_out.reasons]
            said += f" Facts that cannot be attributed: {listed(left_out)}."
        return said

    def _criterion_met(self, criterion: Criterion) -> str:
        """What a neuron needs, where fewer languages than the criterion asks for are compared."""
        n_languages = len(self.overlap.languages) if self.overlap else 0
        if n_languages < self.min_languages.value:
            return f"all {n_languages} languages"
        return str(criterion)

    def _check_pair(self) -> None:
        """Let the two languages whose neurons are listed be among those that are checked."""
        checked, pair = self.languages.value, [control.value for control in self.pair]
        kept = [code for code in pair if code in checked]
        free = [code for code in checked if code not in kept]
        self._updating_pair = True
        for control in self.pair:
            if control.value not in checked:
                control.value = free.pop(0)
        self._updating_pair = False

    def _lines(self) -> list[str]:
        """Attribute the fact and its control, select, compare, and draw the view."""
        if self.overlap is None:
            return []
        _, method, fact = self._shown[0]
        note = ["# A first look is shown; these are the exact scores."]
        corpus = "corpus=corpus_of_others(model, facts, facts[name], prompts)"
        attributed = call("lv.attribute", "model", "prompts", *self._corpus(corpus), method=method)
        checked = self.languages.value
        if set(checked) != set(self.facts.languages):
            attributed += f".select(lambda prompt: prompt.language in {checked!r})"
        criterion = {
            "min_languages": self.min_languages.value, "min_scripts": self.min_scripts.value
        }  # fmt: skip
        beside = f", control=shared.of(facts={self._control!r})" if self._control else ""
        drawn = {
            "heatmap": f"lv.plots.overlap_heatmap(one{', top=1' * self.one_scale.value})",
            "upset": f"lv.plots.upset(shared, facts=[{fact!r}])",
            "layers": f"lv.plots.layer_distribution(one{beside})",
            "strip": "lv.plots.attribution_strip("
            "scores[names[0]], agnostic=one, control=[scores[x] for x in names[1:]])",
        }
        return [
            *(note if self._rough.intersection(self._shown) else []),
            f"names = {[key[2] for key in self._shown]!r}  # the fact, then its control",
            "scores = {}",
            "for name in names:",
            "    of_relation = facts.filter(relation=facts[name].relation)",
            "    asked = of_relation.filter(subjects=facts[name].subject_id)",
            '    prompts = asked.prompts(splits=["trained", "held-out pair"])',
            f"    scores[name] = {attributed}",
            "sets = [",
            "    one",
            "    for of_fact in scores.values()",
            f"    for one in {call('lv.select_neurons', 'of_fact', **self._selection())}",
            "]",
            f"shared = {call('lv.overlap', 'sets', **criterion)}",
            f"one = shared.of(facts=[{fact!r}])",
            "print(one)",
            f"{drawn[self.view.value]}.show()",
        ]

    def _imports(self) -> list[str]:
        """What other facts are taken with."""
        return self._corpus(OTHER_FACTS)

    def _described(self, fact_id: str) -> str:
        """A fact and the model that is chosen, in words."""
        return f"{named(self.facts[fact_id])}, {self.model_choice.label}"

    def _on_click(self) -> None:
        """Take a click on the strip as a neuron, and a click on the heatmap as two languages."""
        place = self.figure.clicked
        if self.view.value == "strip":
            self.panel.choose_cell(self.figure)
        if self.view.value != "heatmap" or self.overlap is None:
            return
        if place["curve"]:
            self.status.say("This half is the control, other facts; click in the left half.")
            return
        languages = self.overlap.languages
        self._updating_pair = True
        self.pair[0].value = languages[place["row"]]
        self.pair[1].value = languages[place["column"]]
        self._updating_pair = False
        self._list_shared()

    def _list_shared(self) -> None:
        """List the neurons that the two chosen languages share."""
        if self.overlap is None or self._updating_pair:
            return
        fact, codes = self._shown[0][2], [control.value for control in self.pair]
        unchecked = [language_name(code) for code in codes if code not in self.languages.value]
        if unchecked:
            self.panel.clear()
            self.status.say(f"{unchecked[0]} is not checked; check it, or choose another language.")
            return
        name = named(self.facts[fact])
        sets = {code: self.overlap.sets.get((fact, code)) for code in codes}
        unknown = [language_name(code) for code, neurons in sets.items() if neurons is None]
        if unknown:
            self.panel.clear()
            self.status.say(f"The model does not know {name} in {' and '.join(unknown)}.")
            return
        self.shared = frozenset.intersection(
            *(neurons.neurons for neurons in sets.values() if neurons)
        )
        scores = self._own()
        of_pair = scores.select(lambda prompt: prompt.language in codes)
        frame = neuron_table(of_pair, overlap=self.overlap, among=self.shared)
        languages = " and ".join(dict.fromkeys(language_name(code) for code in codes))
        title = f"{counted(len(self.shared), 'neuron')} of {name} in {languages}"
        # Another fact or method has cleared the panel before.
        self.panel.show(frame, scores, title, refined=True)

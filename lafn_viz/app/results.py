"""Small results on the embedded model, from which the gallery draws every figure."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.datasets.counterfactuals import counterfactual_cases
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing import baselines
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.evaluation.answers import Evaluation
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.editing.optimise import lafn_edit
from lafn_viz.experiments.examination import Examination
from lafn_viz.experiments.examine import examine
from lafn_viz.experiments.stages import split_prompts
from lafn_viz.interventions.effects import Effects, effects
from lafn_viz.interventions.language_lens import LanguageLens
from lafn_viz.interventions.lens_reading import language_lens
from lafn_viz.models.loading import load_model
from lafn_viz.neurons.controls import random_like

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

FEW_LANGUAGES = ("en", "ru", "zh")  # for results that take long
SELECT_ON = (0, 1, 2, 3)  # paraphrases that choose neurons; the others measure their effect


class Results:
    """The results that the figures show; each is computed when it is first asked for."""

    @cached_property
    def models(self) -> dict[str, "TransformerBridge"]:
        """The embedded model and its control."""
        return {name: load_model(name) for name in ("embedded", "embedded-control")}

    @property
    def model(self) -> "TransformerBridge":
        """The embedded model."""
        return self.models["embedded"]

    @cached_property
    def facts(self) -> FactSet:
        """Capitals that cannot be read off the subject's name."""
        return load_facts().filter(relation="capital", leaking=False)

    @cached_property
    def examinations(self) -> dict[str, Examination]:
        """The examinations of both models on eight facts."""
        facts = self.facts.sample(8, seed=0)
        return {
            # The figures show what is shared; effects they measure in few sets of their own.
            name: examine(model, facts, select_on=SELECT_ON, hows="mean", controls=())
            for name, model in self.models.items()
        }

    @property
    def examination(self) -> Examination:
        """The examination of the embedded model."""
        return self.examinations["embedded"]

    @cached_property
    def fact(self) -> str:
        """The fact with most language-agnostic neurons."""
        agnostic = self.examination.overlap.agnostic
        return max(agnostic, key=lambda name: len(agnostic[name]))

    @cached_property
    def scores(self) -> NeuronScores:
        """Attribution of that fact in all languages."""
        return self.examination.scores.select(lambda prompt: prompt.fact_id == self.fact)

    @cached_property
    def english(self) -> list[Prompt]:
        """Its prompts in English."""
        return [prompt for prompt in self.scores.prompts if prompt.language == "en"]

    @cached_property
    def lens(self) -> LanguageLens:
        """The names of some facts, read off every layer in six languages of five scripts."""
        facts = self.facts.filter(languages=["en", "fr", "ru", "zh", "ja", "ar"]).sample(12, seed=1)
        asked = [prompt for prompt in facts.prompts() if prompt.paraphrase in (1, 4)]
        return language_lens(self.model, asked)

    def held_out(self, *, n_facts: int) -> list[Prompt]:
        """Prompts of the first `n_facts` facts, in paraphrases that chose no neuron."""
        facts = self.examination.overlap.facts[:n_facts]
        _, held_out = split_prompts(self.facts, select_on=SELECT_ON)
        return [prompt for prompt in held_out if prompt.fact_id in facts]

    @cached_property
    def effects(self) -> Effects:
        """Effects of zeroing agnostic neurons, and those specific to English."""
        overlap = self.examination.overlap
        sets = {"agnostic": overlap.agnostic, "specific to English": overlap.specific_to("en")}
        return effects(self.model, sets, self.held_out(n_facts=8), controls=2)

    @cached_property
    def effects_between(self) -> Effects:
        """Effects of zeroing the neurons of each language, measured in all of them."""
        overlap = self.examination.overlap
        languages = ("en", "de", "es", "ru", "zh", "ar")
        prompts = [p for p in self.held_out(n_facts=4) if p.language in languages]
        of_facts = overlap.of(facts=overlap.facts[:4])
        sets = {language: of_facts.neurons_in(language) for language in languages}
        return effects(self.model, sets, prompts, controls=1)

    @cached_property
    def edits(self) -> dict[str, list[Edit]]:
        """An edit with 10, 30 and 100 neurons, and with as many random ones."""
        options: dict[str, Any] = {
            "subject": "Japan", "relation": "capital", "new_object": "Rome",
            "languages": FEW_LANGUAGES, "position": "answer",
        }  # fmt: skip
        located = [lafn_edit(self.model, self.facts, **options, n_neurons=n) for n in (10, 30, 100)]
        shape = self.examination.overlap.shape
        random = [
            lafn_edit(
                self.model, self.facts, **options,
                neurons=random_like(edit.neurons, shape, seed=0),
            )
            for edit in located
        ]  # fmt: skip
        return {"located": located, "as many random ones of the same layers": random}

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Three editors on two edits."""
        cases = counterfactual_cases(n=2, seed=1).filter(languages=FEW_LANGUAGES)
        agnostic = baselines.language_agnostic(position="answer")
        editors = {
            "language-agnostic": agnostic,
            "random neurons": baselines.random_neurons(agnostic),
            "ROME at the answer": baselines.rome(position="answer"),
        }
        return {
            name: evaluate(self.model, editor, cases, progress=False)
            for name, editor in editors.items()
        }

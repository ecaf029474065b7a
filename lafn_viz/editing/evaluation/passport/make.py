"""Take an edit's passport: ask everything before the edit and after it, and keep every answer.

1. The case's questions are asked before the edits, and one about each neighbour. The neighbours
   that the model knows best are the controls of the roundabout questions (`probes`).
2. All questions are asked again with each edit applied, and it is noted where each finds its
   subject.
3. Neutral texts are read before and after (`damage`).

Several edits of one fact are asked the same questions, so that they can stand side by side.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from lafn_viz.core.arguments import (
    a_flag,
    a_function,
    a_mapping,
    a_result,
    a_seed,
    or_none,
    some_texts,
    takes,
    whole,
    wrong,
)
from lafn_viz.datasets.arguments import Facts as Facts, as_facts
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import by_code
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.baselines.editor import Applicable
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.evaluation.passport.damage import damage_probes, measure_damage
from lafn_viz.editing.evaluation.passport.facts_around import FactsAround
from lafn_viz.editing.evaluation.passport.finder import Finder
from lafn_viz.editing.evaluation.passport.probes import Probe, probes_of_case, ways_round
from lafn_viz.editing.evaluation.passport.questions import PassportQuestion, begins_with
from lafn_viz.editing.evaluation.passport.result import Passport
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.generation import generate
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

NEIGHBOURS = 8
CONTROLS = 3  # neighbours that are asked in a roundabout way
_AT_ONCE = 64  # questions between two steps of the progress bar

AnEdit: TypeAlias = Edit | Applicable
Step = Callable[[int, int], Any]


def _edits(name: str, given: Any) -> dict[str, Applicable]:
    """Read one edit, or several by name."""
    wanted = (
        "an edit (lafn_edit(), an EditCache, what an editor of lv.baselines makes), or several of "
        "the same fact by name, as in {'LU-LAFNs': edit, 'MEMIT': other}"
    )
    by_name = given if isinstance(given, Mapping) else {"edit": given}
    edits = {
        key: EditCache([edit]) if isinstance(edit, Edit) else edit for key, edit in by_name.items()
    }
    for key, edit in edits.items():
        if not isinstance(key, str) or not key.strip() or not isinstance(edit, Applicable):
            raise wrong(name, given if key == "edit" else edit, wanted)
    if not edits:
        raise wrong(name, given, wanted)
    return edits


def _texts(name: str, given: Any) -> dict[str, tuple[str, ...]]:
    """Read texts by language."""
    by_language = by_code(a_mapping(name, given))
    texts = {key: some_texts(f"{name}[{key!r}]", value) for key, value in by_language.items()}
    if not texts or not all(of_one and all(map(str.strip, of_one)) for of_one in texts.values()):
        raise wrong(name, given, "texts by language, as in {'en': ['A text.', 'Another one.']}")
    return texts


@reads_model
@takes(
    edits=_edits, case=or_none(a_result(EditCase)), texts=or_none(_texts), neighbours=whole(0),
    seed=a_seed, progress=a_flag, on_step=or_none(a_function),
)  # fmt: skip
def passport(
    model: "TransformerBridge",
    edits: AnEdit | Mapping[str, AnEdit],
    case: EditCase | None = None,
    *,
    facts: Facts | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    progress: bool = True,
    on_step: Step | None = None,
) -> Passport:
    """Find out what an edit changes: in every language and wording, elsewhere, and in the long run.

    Args:
        edits: an `Edit`, a cache, a `WeightEdit` or another `Applicable`; or several edits of the
            same fact by name, to stand side by side.
        case: what was edited, and the questions about it. Without it, the case is made from the
            facts for the only `Edit` among the edits.
        facts: where neighbours, examples and neutral texts come from; the embedded ones unless
            given.
        texts: neutral texts by language, to measure the damage in; unless given, 12 questions
            about unrelated facts in each language.
        neighbours: how many other subjects of the relation are asked about.
        seed: of the neighbours, the languages and the texts that are drawn.
        on_step: called with the number of texts that were read and the number of all.

    Raises:
        ValueError: for what is no edit, no causal model, or an edit whose fact is not known.
        EditError: for an edit of another model.
    """
    applicable: dict[str, Applicable] = edits  # type: ignore[assignment]  # as `_edits` reads them
    chosen = load_facts() if facts is None else as_facts(facts)
    case = _case_of(applicable, chosen) if case is None else case
    if capabilities(model).masked:
        raise ValueError("a passport tells what a model writes; give a causal model")
    for edit in applicable.values():  # refused now, and not after minutes of work
        with edit.applied(model):
            pass
    around = FactsAround(chosen, case, seed)
    finder = Finder(model, applicable)
    with _Progress(progress, on_step) as bar:
        questions = _ask(model, applicable, case, around, neighbours, finder, bar)
        probes = damage_probes(case, around, texts)
        bar.expect(len(probes) * (1 + len(applicable)))
        within = {name: lambda edit=edit: edit.applied(model) for name, edit in applicable.items()}
        damage = tuple(measure_damage(model, probes, within, finder.in_tokens, bar.step))
    return Passport(
        case=case.id,
        relation=case.key[1],
        subject=case.subject,
        old=case.old,
        new=case.new,
        edits={name: repr(edit) for name, edit in applicable.items()},
        questions=questions,
        damage=damage,
        left_out=around.left_out,
        provenance=provenance(
            model, "passport", seed=seed, case=case.id, languages=list(case.languages),
            edits=list(applicable), neighbours=neighbours, own_texts=texts is not None,
        ),
    )  # fmt: skip


def _case_of(edits: Mapping[str, Applicable], facts: FactSet) -> EditCase:
    """The case of the only fact that the edits change."""
    found = {e.key: e for cache in edits.values() if isinstance(cache, EditCache) for e in cache}
    if len(found) != 1:
        raise ValueError(
            f"the edits name {len(found)} facts, and a passport is of one; give case= as the edit "
            "was made with (lv.counterfactual_case)"
        )
    edit = next(iter(found.values()))
    try:
        return counterfactual_case(
            facts, subject=edit.subject_id, relation=edit.relation, new_object=edit.new,
            languages=list(edit.new),
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(
            f"the facts do not ask for {edit!r} ({error}); give facts= that do, or case="
        ) from None


def _ask(
    model: "TransformerBridge",
    edits: Mapping[str, Applicable],
    case: EditCase,
    facts: FactsAround,
    neighbours: int,
    finder: Finder,
    bar: "_Progress",
) -> tuple[PassportQuestion, ...]:
    """Ask all questions before the edits and after each of them."""
    probes = _readable(model, probes_of_case(case, facts, neighbours=neighbours), facts)
    bar.expect(len(probes) * (1 + len(edits)))
    before = _written(model, probes, bar)
    controls = _known_best(probes, before, facts)
    more = _readable(model, ways_round(case, facts, controls), facts)
    bar.expect(len(more) * (1 + len(edits)))
    before += _written(model, more, bar)
    after = {}
    for name, edit in edits.items():
        with edit.applied(model):
            after[name] = _written(model, probes, bar) + _written(model, more, bar)
    probes += more
    return tuple(
        PassportQuestion(
            kind=probe.kind,
            control=probe.control,
            language=probe.prompt.language,
            variant=probe.variant,
            fact_id=probe.prompt.fact_id,
            context=probe.prompt.context,
            text=probe.prompt.text,
            old=probe.old,
            new=probe.new,
            before=before[i],
            after={name: texts[i] for name, texts in after.items()},
            fires=finder.in_prompt(probe.prompt),
        )
        for i, probe in enumerate(probes)
    )


def _written(model: "TransformerBridge", probes: Sequence[Probe], bar: "_Progress") -> list[str]:
    """What the model writes now: as many tokens before an edit as after, room for all answers."""
    texts = []
    for start in range(0, len(probes), _AT_ONCE):
        prompts = [
            replace(probe.prompt, answer=max((probe.prompt.answer, *probe.old), key=len))
            for probe in probes[start : start + _AT_ONCE]
        ]
        texts += [written.text for written in generate(model, prompts)]
        bar.step(len(prompts))
    return texts


def _readable(
    model: "TransformerBridge", probes: Sequence[Probe], facts: FactsAround
) -> list[Probe]:
    """The questions that the model can read; what stands before a question is cut if it must be."""
    readable, too_long = [], Counter[str]()
    for probe in probes:
        prompt: Prompt | None = probe.prompt
        while prompt is not None:
            try:
                encode(model, prompt)
                readable.append(replace(probe, prompt=prompt))
                break
            except ValueError:
                shorter = prompt.examples[1:]
                prompt = replace(prompt, examples=shorter) if shorter else None
        else:
            too_long[probe.kind] += 1
    for kind, n in too_long.items():
        facts.left_out[kind] = f"{n} questions cannot be read by the model; most are too long"
    return readable


def _known_best(probes: Sequence[Probe], before: Sequence[str], facts: FactsAround) -> list[Fact]:
    """The neighbours with the most right answers, without the one that has the new object."""
    right: Counter[str] = Counter()
    for probe, text in zip(probes, before, strict=True):
        if probe.kind == "other subject" and not {*probe.old} & {*probe.new}:
            right[probe.prompt.fact_id] += begins_with(text, probe.old, probe.prompt.language)
    held = {fact.id for fact in facts.all}
    return [facts.all[name] for name, _ in right.most_common() if name in held][:CONTROLS]


class _Progress:
    """A bar of the texts that were read, and what a caller wants to know of it."""

    def __init__(self, shown: bool, on_step: Step | None) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=0, desc="passport", disable=not shown, unit="text")
        self._on_step, self._read, self._all = on_step, 0, 0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def expect(self, n: int) -> None:
        """More texts will be read."""
        self._all += n
        self._bar.total = self._all
        self._bar.refresh()

    def step(self, n: int) -> None:
        """Some texts were read."""
        self._read += n
        self._bar.update(n)
        if self._on_step is not None:
            self._on_step(self._read, self._all)

"""The questions of a passport: what an edit should change, what should stay, and ways round it.

The case brings its own questions (`edit_cases`), and the facts other subjects of the relation. The
ways round an edit ask for the edited fact so that an editor may not have thought of it:

- **name in another language**: the question in one language, the subject's name in another
  (code-switching, as in Qi et al. 2023, "Cross-Lingual Consistency of Factual Knowledge", arXiv
  2310.10378, and the cross-lingual tests of Wang et al. 2023, arXiv 2309.08952);
- **name in Latin letters**: transliterated, or without accents (`datasets.romanised`);
- **examples first**: other facts of the relation stand answered before the question (`shots`);
- **long context**: sentences about other things stand before it;
- **reversed**: which subject has the old object? Lines "object: subject" show the task in any
  language. Edits seldom carry over (Ma et al. 2023, "Untying the Reversal Curse via Bidirectional
  Language Model Editing", arXiv 2310.10322).

Each is asked about unedited neighbours too, as the control: if they change as well, it was not the
edit of this fact that answered.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lafn_viz.core.json_records import FactError
from lafn_viz.datasets.edit_cases import EditCase, Role
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.romanised import romanised
from lafn_viz.datasets.text import same_text
from lafn_viz.editing.evaluation.passport.facts_around import FactsAround
from lafn_viz.editing.evaluation.passport.questions import Kind
from lafn_viz.editing.retrieval.folding import has_case

SWITCHES = 2  # other languages whose name a question of each language gets
SHOTS = 3  # facts before a question, or lines that show what is asked in reverse
CONTEXT = 8  # sentences before a question
_ROLES: dict[Kind, Role] = {"edited wording": "edit", "held-out wording": "rephrased"}


@dataclass(frozen=True)
class Probe:
    """A question of a passport; the fields are those of `PassportQuestion`."""

    kind: Kind
    prompt: Prompt
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    control: bool = False
    variant: str = ""


@dataclass(frozen=True)
class About:
    """The subject that is asked about in a roundabout way: the edited one or, as control, another.

    `names` and `objects` are by language, `base` is the question that is varied, and `fact` is
    among the facts, if they hold this one.
    """

    names: Mapping[str, str]
    objects: Mapping[str, str]
    base: Mapping[str, Prompt]
    fact: Fact | None
    control: bool


def probes_of_case(case: EditCase, facts: FactsAround, *, neighbours: int) -> list[Probe]:
    """The case's own questions, and one of each neighbour in each language."""
    probes = [
        Probe(kind, prompt, _in(case.old, prompt), (prompt.answer, *prompt.aliases))
        for kind, role in _ROLES.items()
        for prompt in case.prompts(role)
    ]
    probes += [
        Probe("what follows", prompt, (), (prompt.answer, *prompt.aliases))
        for prompt in case.prompts("portability")
    ]
    new = case.new

    def stays(kind: Kind, prompt: Prompt) -> Probe:
        return Probe(kind, prompt, (prompt.answer, *prompt.aliases), _in(new, prompt))

    for prompt in case.prompts("locality"):
        name = case.subject.get(prompt.language, "")
        of_subject = bool(name) and same_text(prompt.subject, name, prompt.language)
        probes.append(stays("other relation" if of_subject else "other subject", prompt))
    asked = {probe.prompt.fact_id for probe in probes if probe.kind == "other subject"}
    around = [fact for fact in facts.neighbours(neighbours) if fact.id not in asked]
    for fact in around[: max(0, neighbours - len(asked))]:
        probes += [stays("other subject", x[0]) for x in facts.wordings(fact).values()]
    return probes


def ways_round(case: EditCase, facts: FactsAround, controls: Sequence[Fact]) -> list[Probe]:
    """The roundabout questions about the edited fact, each beside that of a control in turn."""
    base = {lang: (*case.rephrased.get(lang, ()), *case.edit[lang])[0] for lang in case.languages}
    edited = About(case.subject, case.old, base, facts.own, control=False)
    around = [
        About(
            fact.subject, fact.object, {x: y[0] for x, y in facts.wordings(fact).items()}, fact,
            control=True,
        )
        for fact in controls
    ]  # fmt: skip
    lines = _context_lines(facts)
    probes: list[Probe] = []
    for i, language in enumerate(case.languages):
        for about in (edited, *around[i % len(around) :][:1]) if around else (edited,):
            if about.base.get(language) is None or about.base[language].subject_span is None:
                continue
            probes += _switched(about, language, case, facts.seed)
            probes += _in_latin_letters(about, language, case)
            probes += _after_examples(about, language, case, facts)
            probes += _after_context(about, language, case, lines)
            probes += _reversed(about, language, facts)
    _say_what_is_missing(probes, facts)
    return probes


def _probe(kind: Kind, about: About, prompt: Prompt, case: EditCase, variant: str = "") -> Probe:
    """A question in another form, with the answers that count as old and new."""
    edited = case.edit[prompt.language][0]
    new = (edited.answer, *edited.aliases)
    if about.control:
        return Probe(kind, prompt, (about.objects[prompt.language],), new, True, variant)
    return Probe(kind, replace(prompt, answer=new[0]), _in(case.old, prompt), new, False, variant)


def _in(names: Mapping[str, str], prompt: Prompt) -> tuple[str, ...]:
    """The name in a prompt's language, if there is one."""
    return (names[prompt.language],) if prompt.language in names else ()


def _named(prompt: Prompt, name: str) -> Prompt:
    """The question with another name of its subject."""
    assert prompt.subject_span is not None
    start, end = prompt.subject_span
    text = prompt.text[:start] + name + prompt.text[end:]
    return replace(prompt, text=text, subject=name, subject_span=(start, start + len(name)))


def _switched(about: About, language: str, case: EditCase, seed: int) -> Iterator[Probe]:
    """The question in one language, with the subject's name in another."""
    others = [x for x in case.languages if x != language]
    random.Random(f"{seed} {language}").shuffle(others)
    used = [about.base[language].subject]
    for other in others:
        name = about.names.get(other, "")
        if len(used) > SWITCHES:
            return
        if name and not any(same_text(name, x) for x in used):
            used.append(name)
            prompt = _named(about.base[language], name)
            yield _probe("name in another language", about, prompt, case, other)


def _in_latin_letters(about: About, language: str, case: EditCase) -> Iterator[Probe]:
    """The question with the subject's name transliterated, or without its accents."""
    prompt = about.base[language]
    name = romanised(prompt.subject)
    if name and not has_case(prompt.subject):
        name = name.title()
    if name and name != prompt.subject:
        yield _probe("name in Latin letters", about, _named(prompt, name), case, name)


def _after_examples(
    about: About, language: str, case: EditCase, facts: FactsAround
) -> Iterator[Probe]:
    """The question after other facts of the relation, answered in the same words."""
    prompt = about.base[language]
    if about.fact is None:
        return
    told = facts.new_names | set(case.old.values())
    others = tuple(
        fact
        for fact in facts.all
        if fact.relation == about.fact.relation
        and fact.subject_id != case.key[0]
        and not told & set(fact.object.values())
    )
    try:
        shown = (
            replace(facts.all, facts=(about.fact,))
            .filter(languages=language)
            .prompts(shots=SHOTS, seed=facts.seed, examples=replace(facts.all, facts=others))
        )
    except FactError as error:
        facts.left_out["examples first"] = str(error)
        return
    examples = next((x.examples for x in shown if x.paraphrase == prompt.paraphrase), ())
    if examples:
        yield _probe("examples first", about, replace(prompt, examples=examples), case)


def _context_lines(facts: FactsAround) -> dict[str, tuple[str, ...]]:
    """Sentences about other things, by language."""
    lines: dict[str, list[str]] = {language: [] for language in facts.case.languages}
    for fact in facts.unrelated(CONTEXT):
        for language, prompts in facts.wordings(fact).items():
            lines[language].append(prompts[-1].text + prompts[-1].continuation)
    return {language: tuple(texts) for language, texts in lines.items()}


def _after_context(
    about: About, language: str, case: EditCase, lines: Mapping[str, tuple[str, ...]]
) -> Iterator[Probe]:
    """The question after sentences about other things."""
    if lines[language]:
        prompt = replace(about.base[language], examples=lines[language])
        yield _probe("long context", about, prompt, case)


def _reversed(about: About, language: str, facts: FactsAround) -> Iterator[Probe]:
    """Which subject has this object? A line "object:" after such lines with their subjects."""
    answer, name = about.objects.get(language), about.names.get(language)
    if about.fact is None or not answer or not name:
        return
    lines: list[str] = []
    used = {answer}
    for fact in facts.neighbours(len(facts.all))[1:]:
        shown = fact.object.get(language), fact.subject.get(language)
        if all(shown) and fact is not about.fact and shown[0] not in used and len(lines) < SHOTS:
            used.add(shown[0] or "")
            lines.append(f"{shown[0]}: {shown[1]}")
    if len(lines) < SHOTS:
        return
    prompt = Prompt.of(
        f"{answer}:", name, subject=answer, language=language, relation=about.fact.relation,
        examples=lines,
    )  # fmt: skip
    yield Probe("reversed", prompt, (name,), (), about.control)


def _say_what_is_missing(probes: Iterable[Probe], facts: FactsAround) -> None:
    """Note which kinds cannot be asked at all, and why."""
    asked = {probe.kind for probe in probes}
    reasons = {
        "name in another language": "the case names its subject in fewer than two ways",
        "name in Latin letters": "the subject's names have Latin letters without accents already, "
        "or letters that are not romanised here",
        "examples first": "the facts do not hold the edited fact",
        "long context": "the facts hold no other facts in all languages of the case",
        "reversed": "the facts do not hold the edited fact, or too few others of its relation",
    }
    for kind, reason in reasons.items():
        if kind not in asked:
            facts.left_out.setdefault(kind, reason)

"""How well does an edit hold, and what else does it change?

For each case: edit it, let the model write its answers to everything that is asked after it, and
take the edit back. An edit is made in all languages together, or in one alone and asked about in
all. Every text is kept, from before and after.

What is asked: **reliability** (the questions that were edited), **generality** (the same in other
words), **locality** (something else: is the answer as before), **same subject** (locality that
names the edited subject: other relations of it), **portability** (what follows from the edit).

Who judges is always named, for judges disagree. Each gives a score in [0, 1]:

- `exact_match`: the text that greedy decoding writes, up to its end, is the whole answer (or one of
  its aliases).
- `starts_with`: it starts with the whole answer, for models that go on writing.
- `token_f1`: harmonic mean of precision and recall over words (characters where the language has
  no spaces); 0 where none is shared.
- `remake`: shared^2 / (written * expected), over the same units (Wang et al. 2024, "Retrieval-
  augmented Multilingual Knowledge Editing", arXiv 2312.13040).
- `token_accuracy`: share of the answer's tokens that are the likeliest, those before them given.

For locality the answer is what the model wrote before the edit, right or wrong. **Conflict** is how
far a language's reliability falls when the others are edited too.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lafn_viz.baselines import Editor
from lafn_viz.cases import ROLES, EditCase, EditSet, normal
from lafn_viz.facts import UNSPACED_LANGUAGES, Prompt
from lafn_viz.models import Provenance, provenance, traits
from lafn_viz.overlaps import bootstrap
from lafn_viz.target import encode

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Metric = Literal["reliability", "generality", "locality", "same subject", "portability"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Evaluator = Literal["exact_match", "starts_with", "token_f1", "remake", "token_accuracy"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)
ALL = "all"
MORE = 4  # tokens that a model may write beyond the longest answer asked for

_OF_ROLE: dict[str, Metric] = {
    "edit": "reliability",
    "rephrased": "generality",
    "locality": "locality",
    "portability": "portability",
}


def units(text: str, language: str) -> list[str]:
    """What `token_f1` and `remake` count: words, or characters where there are no spaces."""
    text = normal(text)
    if language.split("-")[0] in UNSPACED_LANGUAGES:
        return re.findall(r"\w", text)
    return re.findall(r"[\w\u0300-\u036f\u0900-\u097f]+", text)


def exact_match(written: str, answer: str, language: str) -> float:
    """1 if the text is the answer, but for case, spacing and marks at its end."""
    return float(_bare(written) == _bare(answer))


def starts_with(written: str, answer: str, language: str) -> float:
    """1 if the text starts with the answer, as whole units."""
    there, wanted = units(written, language), units(answer, language)
    return float(bool(wanted) and there[: len(wanted)] == wanted)


def token_f1(written: str, answer: str, language: str) -> float:
    """Harmonic mean of precision and recall over units."""
    there, wanted, shared = _shared(written, answer, language)
    return 2 * shared / (there + wanted) if shared else 0.0


def remake(written: str, answer: str, language: str) -> float:
    """shared^2 / (written * expected) over units."""
    there, wanted, shared = _shared(written, answer, language)
    return shared**2 / (there * wanted) if shared else 0.0


def _shared(written: str, answer: str, language: str) -> tuple[int, int, int]:
    there, wanted = Counter(units(written, language)), Counter(units(answer, language))
    return there.total(), wanted.total(), (there & wanted).total()


def _bare(text: str) -> str:
    return normal(text).strip(" .,;:!?。、，؛،")


_JUDGES: dict[str, Callable[[str, str, str], float]] = {
    "exact_match": exact_match,
    "starts_with": starts_with,
    "token_f1": token_f1,
    "remake": remake,
}


@dataclass(frozen=True)
class Written:
    """What a model writes after a prompt: text up to its end, its tokens, and the share of the
    reference's tokens that are the likeliest.
    """

    text: str
    tokens: tuple[int, ...]
    right: float


@dataclass(frozen=True)
class Answered:
    """One question after one edit.

    `edited_in`: the language edited, or "all". `reference` is the new answer, or what was written
    before where nothing should change. `right_before` and `right`: token accuracy.
    """

    case: str
    edited_in: str
    metric: Metric
    language: str
    text: str
    reference: str
    aliases: tuple[str, ...]
    before: str
    after: str
    right_before: float
    right: float

    def score(self, evaluator: Evaluator, *, before: bool = False) -> float:
        """In [0, 1], of what was written after the edit (or before it)."""
        if evaluator == "token_accuracy":
            return self.right_before if before else self.right
        written = self.before if before else self.after
        judge = _JUDGES[evaluator]
        return max(judge(written, name, self.language) for name in (self.reference, *self.aliases))


@dataclass(frozen=True)
class Evaluation:
    """Every answer to every question after every edit of one editor."""

    editor: str
    answers: tuple[Answered, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        cases = {answer.case for answer in self.answers}
        means = self.summary().set_index("metric")["mean"]
        told = ", ".join(f"{metric} {mean:.3f}" for metric, mean in means.items())
        return f"Evaluation({self.editor}, {len(cases)} cases, exact match: {told})"

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit and question: texts before and after, and what every judge says."""
        import pandas as pd

        rows = []
        for answer in self.answers:
            row = asdict(answer)
            row["token_accuracy"] = row.pop("right")
            row["token_accuracy_before"] = row.pop("right_before")
            row |= {name: answer.score(name) for name in EVALUATORS if name in _JUDGES}
            rows.append({"editor": self.editor, **row})
        return pd.DataFrame(rows)

    def summary(self, evaluator: Evaluator = "exact_match") -> "pd.DataFrame":
        """One row a metric: mean over cases with its 95% bootstrap interval, after edits in all
        languages (or, without such, in single ones); `before` is the mean without the edit.

        A case counts once, whatever the number of its questions; a language once in a case.
        """
        import pandas as pd

        there = {answer.edited_in for answer in self.answers}
        chosen = [a for a in self.answers if (a.edited_in == ALL) == (ALL in there)]
        rows = []
        for metric in METRICS:
            some = [answer for answer in chosen if answer.metric == metric]
            if some:
                values = _by_case(some, evaluator)
                low, high = bootstrap(values)
                rows.append(
                    {
                        "editor": self.editor, "metric": metric, "evaluator": evaluator,
                        "mean": values.mean(), "low": low, "high": high,
                        "before": _by_case(some, evaluator, before=True).mean(),
                        "cases": len(values), "questions": len(some),
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    def matrix(
        self, metric: Metric = "reliability", evaluator: Evaluator = "exact_match"
    ) -> "pd.DataFrame":
        """Mean over cases, by the language edited (rows; the last all of them) and asked in."""
        import pandas as pd

        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for answer in self.answers:
            if answer.metric == metric:
                values[answer.edited_in][answer.language].append(answer.score(evaluator))
        languages = list(dict.fromkeys(answer.language for answer in self.answers))
        order = [x for x in (*languages, ALL) if x in values]
        return pd.DataFrame(
            [[np.mean(values[row][x]) if values[row][x] else np.nan for x in languages]
             for row in order],
            index=pd.Index(order, name="edited in"),
            columns=pd.Index(languages, name="asked in"),
        )  # fmt: skip

    def conflict(self, evaluator: Evaluator = "exact_match") -> "pd.DataFrame":
        """One row a language: reliability edited alone, with all others, and how far it falls.

        With the 95% bootstrap interval over cases; the last row is the mean over languages.

        Raises:
            ValueError: if the edits were not made both ways.
        """
        import pandas as pd

        scores: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
        for answer in self.answers:
            if answer.metric == "reliability" and answer.edited_in in (ALL, answer.language):
                key = answer.language, answer.case, answer.edited_in == ALL
                scores[key].append(answer.score(evaluator))
        if len({together for *_, together in scores}) < 2:
            raise ValueError(
                "conflict compares edits in one language with edits in all; evaluate with "
                "alone=True and together=True"
            )
        both: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for language, case, together in scores:
            if not together and (language, case, True) in scores:
                alone = float(np.mean(scores[language, case, False]))
                both[language][case] = alone, float(np.mean(scores[language, case, True]))
        cases = list(dict.fromkeys(case for of in both.values() for case in of))
        mean = {c: tuple(np.mean([of[c] for of in both.values() if c in of], 0)) for c in cases}
        rows = []
        for language, of in (*both.items(), ("mean", mean)):
            pairs = np.array(list(of.values()))
            fall = pairs[:, 0] - pairs[:, 1]
            low, high = bootstrap(fall)
            rows.append(
                {
                    "editor": self.editor, "language": language, "alone": pairs[:, 0].mean(),
                    "together": pairs[:, 1].mean(), "conflict": fall.mean(), "low": low,
                    "high": high, "cases": len(fall),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)


def _by_case(
    answers: Iterable[Answered], evaluator: Evaluator, *, before: bool = False
) -> np.ndarray:
    """Mean of each case: over its languages, of the mean over a language's questions."""
    scores: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        scores[answer.case][answer.edited_in, answer.language].append(
            answer.score(evaluator, before=before)
        )
    return np.array([np.mean([np.mean(x) for x in of.values()]) for of in scores.values()])


def evaluate(
    model: "TransformerBridge",
    editor: Editor,
    cases: EditSet | Iterable[EditCase],
    *,
    languages: Iterable[str] | None = None,
    together: bool = True,
    alone: bool = False,
    file: str | Path | None = None,
    progress: bool = True,
    max_prompts: int = 128,
) -> Evaluation:
    """Edit each case, ask everything that belongs to it, and take the edit back.

    Args:
        editor: one of `baselines`, or your own.
        languages: to edit and ask in; all of the cases unless given.
        together: edit each case in all languages at once.
        alone: edit it in each language alone, too, and ask in all: what the edit x test matrix and
            the conflict are made of. As many more edits as there are languages.
        file: JSON lines to keep what is done in, case by case. Called again with the same file, an
            evaluation that was stopped goes on where it was.
        max_prompts: in one batch, which bounds the memory.

    Raises:
        ValueError: for no cases, neither `together` nor `alone`, or a file of another evaluation.
    """
    chosen = cases if isinstance(cases, EditSet) else EditSet(tuple(cases))
    chosen = chosen if languages is None else chosen.filter(languages=languages)
    if not len(chosen) or not (together or alone):
        raise ValueError(
            f"there is nothing to evaluate ({len(chosen)} cases, together={together}, "
            f"alone={alone}); give cases, and edit them together, alone or both"
        )
    if traits(model).masked:
        raise ValueError("editors are evaluated by what a model writes; give a causal model")
    source = provenance(
        model, "evaluate", editor=editor.name, cases=[case.id for case in chosen],
        languages=list(chosen.languages), together=together, alone=alone,
        **{f"editor_{name}": _plain(value) for name, value in editor.options.items()},
    )  # fmt: skip
    done = _Done(None if file is None else Path(file), source)
    answers: list[Answered] = []
    from tqdm.auto import tqdm

    for case in tqdm(chosen, desc=editor.name, disable=not progress, unit="edit"):
        if case.id not in done.of:
            ways = [(ALL, case.languages)] if together else []
            ways += [(language, (language,)) for language in case.languages] if alone else []
            done.add(case.id, _answered(model, editor, case, ways, max_prompts))
        answers += done.of[case.id]
    return Evaluation(editor.name, tuple(answers), source)


def _answered(
    model: "TransformerBridge",
    editor: Editor,
    case: EditCase,
    ways: Sequence[tuple[str, Sequence[str]]],
    max_prompts: int,
) -> list[Answered]:
    """Every question of a case, after its edit in each of some ways."""
    asked = [(_OF_ROLE[role], prompt) for role in ROLES for prompt in case.prompts(role)]
    asked = [
        ("same subject" if _same_subject(case, metric, prompt) else metric, prompt)
        for metric, prompt in asked
    ]
    prompts = [prompt for _, prompt in asked]
    before = write(model, prompts, max_prompts=max_prompts)
    stays = [metric in ("locality", "same subject") for metric, _ in asked]
    references = [old.tokens if stay else None for old, stay in zip(before, stays, strict=True)]
    found = []
    for name, languages in ways:
        with editor.edit(model, case, languages).applied(model):
            after = write(model, prompts, references=references, max_prompts=max_prompts)
        found += [
            Answered(
                case=case.id,
                edited_in=name,
                metric=metric,
                language=prompt.language,
                text=prompt.text,
                reference=old.text if stay else prompt.answer,
                aliases=() if stay else prompt.aliases,
                before=old.text,
                after=new.text,
                right_before=1.0 if stay else old.right,
                right=new.right,
            )
            for (metric, prompt), stay, old, new in zip(asked, stays, before, after, strict=True)
        ]
    return found


def _same_subject(case: EditCase, metric: Metric, prompt: Prompt) -> bool:
    own = case.subject.get(prompt.language)
    return metric == "locality" and bool(prompt.subject) and prompt.subject == own


def write(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    references: Sequence[Sequence[int] | None] | None = None,
    max_prompts: int = 128,
) -> list[Written]:
    """What the model writes after each prompt, read alone, by greedy decoding.

    The text ends where the model ends it, at a line's end, or `MORE` tokens after the longest
    answer of the batch.

    Args:
        references: tokens to compare with in place of a prompt's answer.
    """
    read = [encode(model, prompt) for prompt in prompts]
    answers = [item.answer for item in read]
    if references is not None:
        answers = [tuple(r or a) for a, r in zip(answers, references, strict=True)]
    texts = [item.read[: item.predicts + 1] for item in read]
    order = sorted(range(len(prompts)), key=lambda i: (len(texts[i]), len(answers[i])))
    found: dict[int, Written] = {}
    for start in range(0, len(order), max_prompts):
        some = order[start : start + max_prompts]
        tokens = _generate(
            model, [texts[i] for i in some], max(len(answers[i]) for i in some) + MORE
        )
        right = {i: _share(written, answers[i]) for i, written in zip(some, tokens, strict=True)}
        # Where a token before the last is another, the rest says nothing about the answer's.
        off = [
            i
            for i, w in zip(some, tokens, strict=True)
            if w[: len(answers[i]) - 1] != answers[i][:-1]
        ]
        if off:
            forced = _generate(
                model, [texts[i] for i in off], max(len(answers[i]) for i in off),
                [answers[i] for i in off],
            )  # fmt: skip
            right |= {i: _share(best, answers[i]) for i, best in zip(off, forced, strict=True)}
        for i, written in zip(some, tokens, strict=True):
            text, ended = _until_end(model, written)
            found[i] = Written(text, ended, right[i])
    return [found[i] for i in range(len(prompts))]


def _share(written: Sequence[int], answer: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(written, answer, strict=False)) / len(answer)


def _until_end(model: "TransformerBridge", tokens: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """The text of the tokens up to the end of the text or of the line, and these tokens."""
    ends = _ends(model)
    stop = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    text = model.tokenizer.decode(tokens[:stop], clean_up_tokenization_spaces=False)
    return text.lstrip().split("\n")[0].strip(), tuple(tokens[:stop])


def _ends(model: "TransformerBridge") -> set[int]:
    """Tokens that end a text."""
    config = model.original_model.generation_config
    given = None if config is None else config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    return {x for x in (*listed, model.tokenizer.eos_token_id) if x is not None}


def _generate(
    model: "TransformerBridge",
    texts: Sequence[Sequence[int]],
    length: int,
    forced: Sequence[Sequence[int]] | None = None,
) -> list[tuple[int, ...]]:
    """The likeliest next tokens of each text; with `forced`, those after what is forced so far."""
    from transformers import LogitsProcessor, LogitsProcessorList

    device = next(model.original_model.parameters()).device
    width = max(len(text) for text in texts)
    tokens = torch.zeros(len(texts), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, text in enumerate(texts):
        tokens[i, width - len(text) :] = torch.tensor(text)
        mask[i, width - len(text) :] = 1

    class Force(LogitsProcessor):
        """Writes what is forced, whatever the model would; beyond its end, the first token."""

        def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
            assert forced is not None
            step = ids.shape[1] - width
            wanted = [some[step] if step < len(some) else 0 for some in forced]
            only = torch.full_like(scores, -torch.inf)
            return only.index_put(
                (torch.arange(len(wanted)), torch.tensor(wanted)), only.new_zeros(())
            )

    options: dict[str, Any] = {}
    if forced is not None:
        options = {
            "logits_processor": LogitsProcessorList([Force()]), "output_logits": True,
            "min_new_tokens": length,
        }  # fmt: skip
    with torch.no_grad():
        made = model.original_model.generate(
            tokens.to(device), attention_mask=mask.to(device), max_new_tokens=length,
            do_sample=False, num_beams=1, pad_token_id=model.tokenizer.eos_token_id or 0,
            return_dict_in_generate=True, **options,
        )  # fmt: skip
    best = made.sequences[:, width:] if forced is None else torch.stack(made.logits, 1).argmax(-1)
    return [tuple(row) for row in best.tolist()]


def _plain(value: Any) -> Any:
    """An option as JSON would keep it, or its name."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return type(value).__name__


class _Done:
    """What is evaluated already, by case: in memory, and on disk if there is a file."""

    def __init__(self, file: Path | None, source: Provenance) -> None:
        self.file, self.of = file, dict[str, list[Answered]]()
        if file is None:
            return
        head = json.loads(json.dumps({"weights": source.weights, **source.options}))
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(head, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        # Whoever is killed while writing leaves a line without an end: that case is done anew.
        whole = [line for line in lines if line.endswith("\n")]
        try:
            there = json.loads(whole[0]) if whole else None
        except ValueError:
            there = None
        if not isinstance(there, dict) or there != head:
            told = there if isinstance(there, dict) else {}
            differs = [name for name in head if told.get(name) != head[name]]
            raise ValueError(
                f"{file} holds another evaluation (its {', '.join(differs) or 'options'} differ); "
                "give another file, or evaluate as before"
            )
        for line in whole[1:]:
            record = json.loads(line)
            self.of[record["case"]] = [
                Answered(**{**row, "aliases": tuple(row["aliases"])}) for row in record["answers"]
            ]
        if len(whole) < len(lines):
            file.write_text("".join(whole), encoding="utf-8")

    def add(self, case: str, answers: list[Answered]) -> None:
        self.of[case] = answers
        if self.file is not None:
            line = json.dumps(
                {"case": case, "answers": [asdict(one) for one in answers]}, ensure_ascii=False
            )
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line + "\n")

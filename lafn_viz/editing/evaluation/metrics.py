"""Metrics of a written answer, each a score in [0, 1].

- `exact_match`: the whole text is the answer.
- `starts_with`: the text starts with the whole answer, for models that go on writing.
- `token_f1`: harmonic mean of precision and recall over words (characters where the language has
  no spaces) and symbols (€, +); 0 where none is shared.
- `remake`: shared^2 / (written * expected), over the same units (Wang et al. 2024, "Retrieval-
  augmented Multilingual Knowledge Editing", arXiv 2312.13040).
- `token_accuracy`: the share of the answer's tokens that are the likeliest, each given the true
  tokens before it. It is measured while the model reads, not on the text (see `generate`).

Texts are compared as people read them: `datasets.text` says what makes no difference (case,
spacing, outer quotes and sentence ends of any script, and more) and that every letter counts with
its marks. An empty text scores 1 where an empty text is expected (a model that ends the text at
once, before an edit and after).
"""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from lafn_viz.datasets.languages import separator_of
from lafn_viz.datasets.text import comparable, same_text, units


def exact_match(written: str, answer: str, language: str) -> float:
    """1 if the text is the answer (see `datasets.text.same_text`)."""
    return float(same_text(written, answer, language))


def starts_with(written: str, answer: str, language: str) -> float:
    """1 if the text starts with the answer, as whole units."""
    text, expected = _units(written, answer, language)
    return float(text[: len(expected)] == expected if expected else not text)


def token_f1(written: str, answer: str, language: str) -> float:
    """Harmonic mean of precision and recall over units."""
    n_written, n_expected, n_shared = _counts(written, answer, language)
    if not n_shared:
        return float(n_written == n_expected == 0)
    return 2 * n_shared / (n_written + n_expected)


def remake(written: str, answer: str, language: str) -> float:
    """shared^2 / (written * expected) over units."""
    n_written, n_expected, n_shared = _counts(written, answer, language)
    if not n_shared:
        return float(n_written == n_expected == 0)
    return n_shared**2 / (n_written * n_expected)


def _units(written: str, answer: str, language: str) -> tuple[list[str], list[str]]:
    """What the metrics count in text and answer: words, or characters without spaces between."""
    spaced = bool(separator_of(language))
    text, expected = comparable(written, answer, language)
    return units(text, spaced=spaced), units(expected, spaced=spaced)


def _counts(written: str, answer: str, language: str) -> tuple[int, int, int]:
    """How many units the text has, the answer has, and both share."""
    text, expected = map(Counter, _units(written, answer, language))
    return text.total(), expected.total(), (text & expected).total()


AnswerMetric = Literal["exact_match", "starts_with", "token_f1", "remake", "token_accuracy"]
# Each scores a written text against an answer in a language; None: it is not measured on the text.
ANSWER_METRICS: dict[AnswerMetric, Callable[[str, str, str], float] | None] = {
    "exact_match": exact_match,
    "starts_with": starts_with,
    "token_f1": token_f1,
    "remake": remake,
    "token_accuracy": None,
}

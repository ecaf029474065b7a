"""Judges of a written text: how near is it to the answer? Each gives a score in [0, 1].

- `exact_match`: the whole text is the answer.
- `starts_with`: it starts with the whole answer, for models that go on writing.
- `token_f1`: harmonic mean of precision and recall over words (characters where the language has
  no spaces); 0 where none is shared.
- `remake`: shared^2 / (written * expected), over the same units (Wang et al. 2024, "Retrieval-
  augmented Multilingual Knowledge Editing", arXiv 2312.13040).

Texts are compared without case and spacing. Nothing written where nothing was expected (a model
that ends the text at once, before an edit and after) is right.
"""

import re
from collections import Counter
from collections.abc import Callable

from lafn_viz.datasets.languages import separator_of
from lafn_viz.datasets.text import normal


def units(text: str, language: str) -> list[str]:
    """What `token_f1` and `remake` count: words, or characters where there are no spaces."""
    text = normal(text)
    if not separator_of(language):
        return re.findall(r"\w", text)
    return re.findall(r"[\w\u0300-\u036f\u0900-\u097f]+", text)


def exact_match(written: str, answer: str, language: str) -> float:
    """1 if the text is the answer, but for case, spacing and marks at its end."""
    return float(_bare(written) == _bare(answer))


def starts_with(written: str, answer: str, language: str) -> float:
    """1 if the text starts with the answer, as whole units."""
    there, wanted = units(written, language), units(answer, language)
    return float(there[: len(wanted)] == wanted if wanted else not there)


def token_f1(written: str, answer: str, language: str) -> float:
    """Harmonic mean of precision and recall over units."""
    there, wanted, shared = _shared(written, answer, language)
    return 2 * shared / (there + wanted) if shared else float(there == wanted == 0)


def remake(written: str, answer: str, language: str) -> float:
    """shared^2 / (written * expected) over units."""
    there, wanted, shared = _shared(written, answer, language)
    return shared**2 / (there * wanted) if shared else float(there == wanted == 0)


def _shared(written: str, answer: str, language: str) -> tuple[int, int, int]:
    there, wanted = Counter(units(written, language)), Counter(units(answer, language))
    return there.total(), wanted.total(), (there & wanted).total()


def _bare(text: str) -> str:
    return normal(text).strip(" .,;:!?。、，؛،")


ANSWER_METRICS: dict[str, Callable[[str, str, str], float]] = {
    "exact_match": exact_match,
    "starts_with": starts_with,
    "token_f1": token_f1,
    "remake": remake,
}

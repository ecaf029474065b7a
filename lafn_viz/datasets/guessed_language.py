"""The language that a typed text is likely written in, as far as the facts can tell.

A text is compared with all that a set of facts says in each language: its paraphrases and names.
The language whose **character trigrams** cover most of the text's own is the likeliest (Cavnar and
Trenkle 1994, "N-Gram-Based Text Categorization", with a set in place of their ranks, since prompts
are short). A text of a script that no language has shares nothing with any of them.
"""

import unicodedata
from collections import defaultdict

from lafn_viz.datasets.facts import FactSet

WIDTH = 3  # characters


class LanguageGuess:
    """Finds the likeliest language of a text, of those that a set of facts has."""

    def __init__(self, facts: FactSet) -> None:
        self._known: dict[str, set[str]] = {code: set() for code in facts.languages}
        texts: dict[str, list[str]] = defaultdict(list)
        for (_, language), paraphrases in facts.paraphrases.items():
            texts[language] += [text.replace("{subject}", " ") for text in paraphrases.texts]
        for fact in facts:
            for names in (fact.subject, fact.object):
                for language, name in names.items():
                    texts[language].append(name)
        for language, known in self._known.items():
            known.update(*map(_pieces, texts[language]))

    def __call__(self, text: str) -> str | None:
        """Return the likeliest language of a text, the first of equals; None if it is like none."""
        pieces = _pieces(text)
        shared = {language: len(pieces & known) for language, known in self._known.items()}
        likeliest = max(shared, key=lambda language: shared[language], default=None)
        return likeliest if likeliest is not None and shared[likeliest] else None


def _pieces(text: str) -> set[str]:
    """The trigrams of a text's words, the ends of words included, and of scripts without spaces."""
    folded = unicodedata.normalize("NFC", text).casefold()
    padded = " ".join(["", *folded.split(), ""])
    return {padded[start : start + WIDTH] for start in range(len(padded) - WIDTH + 1)} - {" "}

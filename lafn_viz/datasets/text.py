"""Compare texts: normal forms, and whether an answer shows in a subject."""

import re
import unicodedata


def shows_answer(subject: str, answer: str) -> bool:
    """Whether the answer shows in the subject: a shared start of four letters (two in CJK)."""
    subject, answer = _letters(subject), _letters(answer)
    wide = re.search(r"[\u3040-\u9fff]", subject) is not None
    length = 2 if wide else 4
    if wide:
        pieces, others = (
            {name[i : i + length] for i in range(len(name) - length + 1)}
            for name in (subject, answer)
        )
        return not pieces.isdisjoint(others)
    starts = {word[:length] for word in re.findall(r"\w+", subject) if len(word) >= length}
    return any(word[:length] in starts for word in re.findall(r"\w+", answer))


def _letters(text: str) -> str:
    """The text without case and accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if not unicodedata.combining(c))


def normal(text: str) -> str:
    """The text without case, with single spaces: what two questions are compared by."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

"""What the page of a passport shows of its questions: where edits act, and what is answered."""

from html import escape

from lafn_viz.core.html_parts import Cell
from lafn_viz.editing.evaluation.passport.questions import Kind, Outcome, PassportQuestion

TITLES: dict[Kind, str] = {
    "edited wording": "Wordings that were edited",
    "held-out wording": "Other wordings",
    "what follows": "What follows from the new fact",
    "other relation": "Other relations of the subject",
    "other subject": "Other subjects",
    "name in another language": "The subject's name in another language",
    "name in Latin letters": "The subject's name in Latin letters",
    "examples first": "After examples of other facts",
    "long context": "After sentences about other things",
    "reversed": "In reverse: whose is the old answer?",
}
_SAID: dict[Outcome, str] = {"new": "new", "old": "old", "same": "same", "other": "something else"}


def question(asked: PassportQuestion) -> Cell:
    """A question with what stands before it, and the places where an edit finds its subject."""
    whole, start = asked.context + asked.text, len(asked.context)
    spans = {
        one.span: f"{one.rule}: {one.name}"
        for found in asked.fires.values()
        for one in found
        if whole[slice(*one.span)] == one.written
    }
    marked, place, parts = "", 0, []
    for (first, last), why in sorted(spans.items()):
        if first < place or first < start < last:
            continue
        parts += [(place, first, ""), (first, last, why)]
        place = last
    parts.append((place, len(whole), ""))
    before = ""
    for first, last, why in parts:
        if first < start:
            cut = min(last, start)
            before += _marked(whole[first:cut], why)
            first = cut
        marked += _marked(whole[first:last], why)
    context = f'<div class="context" dir="auto">{before.strip()}</div>' if before else ""
    return Cell("", asked.language, markup=f"{context}{marked}")


def _marked(written: str, why: str) -> str:
    if not written or not why:
        return escape(written)
    return f'<mark title="{escape(why)}">{escape(written)}</mark>'


def answer(asked: PassportQuestion, edit: str) -> Cell:
    """What the model writes after an edit, and what it counts as."""
    outcome = asked.outcome(edit)
    # The cell has the direction of the answer; the note in English beside it must not change that.
    markup = f'{escape(asked.after[edit])} <small><bdi lang="en">({_SAID[outcome]})</bdi></small>'
    tone = "well" if asked.went_well(edit) else "not-well"
    return Cell("", asked.language, tone=tone, markup=markup)

"""Apply edits while a model reads: which rows get which edits, and from which token on.

1. Before each pass of the model, a hook on its inputs decodes every row and searches the text for
   subjects. A subject that is found fires its edits in this row, from their position on.
2. In the pass, a hook on the neurons of each layer adds the values of fired edits to their rows.
3. A text may be read in several passes, behind a key/value cache. The cache keeps what was read and
   with which edits (`reading`), so the search sees the whole text. An edit that should have
   acted where the cache was read without it is an error.
4. In `generate` the prompt decides, not what the model writes after it (`generate_calls`). Without
   it, all that `model(...)` reads is prompt, but a single token behind a cache is taken to
   be the model's own: it opens no gate and closes none.

An edit at the "answer" acts from the end of the prompt on. Outside `generate` this is the end of
what was read first, so a prompt has to be read alone.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lafn_viz.datasets.names import find_name
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.editing.reading import Reading, begin
from lafn_viz.editing.retrieval.match import Match
from lafn_viz.models.hooks import Hooks, hook_post
from lafn_viz.models.tokenizing import detokenize

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from lafn_viz.models.plain import PlainModel

# From a text to the subjects that it names.
Find = Callable[[str], Sequence[Match]]

_MOST_TEXTS = 4096  # whose subjects are kept

_PAUSED: ContextVar[bool] = ContextVar("edits_paused", default=False)


@contextlib.contextmanager
def edits_paused() -> Iterator[None]:
    """Let the model read without its edits in this block, wherever they are applied.

    An `ActivationMatcher` decides which edits fire by reading the text with the same model. It does
    so in the middle of a pass with these edits, whose hooks are in place: without the pause they
    would search the text again, without end, and change the activations that are to be compared.

    The switch is a context variable because it concerns all edits that are applied to the model, by
    whichever cache, but only in the thread that reads: widgets read models in the background.
    """
    token = _PAUSED.set(True)
    try:
        yield
    finally:
        _PAUSED.reset(token)


@dataclass(frozen=True)
class Fired:
    """An edit that was applied: in which row of the batch, from which token on, and why."""

    row: int
    position: int
    match: Match
    edit: Edit


class AppliedEdits:
    """The edits of a model and the rows that they act on, pass after pass, in one thread.

    `fired` lists the edits that act on the texts that were read last; it is kept up to date.

    Args:
        find: which subjects a text names, whose edits may fire.
        names: which subjects it names, whatever their gates say.
    """

    def __init__(
        self,
        model: "TransformerBridge | PlainModel",
        edits: Iterable[Edit],
        find: Find,
        names: Find,
    ) -> None:
        self.fired: list[Fired] = []
        self._model, self._find, self._names = model, find, names
        self._edits_of: dict[str, list[Edit]] = defaultdict(list)
        # For each layer, by edit: its neurons in this layer, and what it adds to them.
        self._added: dict[int, dict[tuple[str, str], tuple[list[int], Tensor]]] = defaultdict(dict)
        self._signatures: dict[tuple[str, str], int] = {}
        for edit in edits:
            self._edits_of[edit.subject_id].append(edit)
            self._signatures[edit.key] = signature_of(edit)
            for layer in {layer for layer, _ in edit.neurons}:
                index = [i for i, neuron in enumerate(edit.neurons) if neuron.layer == layer]
                neurons = [edit.neurons[i].neuron for i in index]
                self._added[layer][edit.key] = neurons, edit.values[index]
        self._matches_of: dict[tuple[tuple[int, ...], bool], list[tuple[Match, int]]] = {}
        self._now: Reading | None = None  # while a pass is running
        self._last: Tensor | None = None  # tokens of the last pass, if it was one by itself

    def hooks(self) -> Hooks:
        """Hooks on the neurons that add the values of what has fired."""
        return [(hook_post(layer), self._adds(layer)) for layer in sorted(self._added)]

    def before_pass(
        self,
        module: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        others: Iterable[int] = (),
    ) -> None:
        """Before a pass of the model, find out which edits act on which rows.

        Args:
            others: the signatures of more edits that are applied to the model.
        """
        if _PAUSED.get() or not self._added:
            return
        self._now = None
        try:
            reading = begin(self._model, module, args, kwargs)
            with edits_paused():  # the model may be tried first, as it is
                fired = self._fire(reading)
            asked = [
                (one.row, (self._signatures[one.edit.key], one.position), one.edit) for one in fired
            ]
            reading.require_as_read(asked, set(others) - set(self._signatures.values()))
            self.fired[:], self._now = fired, reading
        except BaseException:
            # TransformerLens has noted the number of rows for the position embeddings, which this
            # pass does not reach; the next pass would get as many.
            if (embeddings := getattr(self._model, "pos_embed", None)) is not None:
                embeddings._current_batch_size = None
            raise

    def after_pass(self, output: Any) -> None:
        """After a pass, let the cache keep what was read; `output` is None if the pass failed."""
        if _PAUSED.get():
            return
        reading, self._now = self._now, None
        if reading is not None and output is not None:
            acted = [
                (one.row, (self._signatures[one.edit.key], one.position))
                for one in self.fired
                if one.position < reading.n_read
            ]
            reading.finish(output, acted)

    def _fire(self, reading: Reading) -> list[Fired]:
        """The edits of the subjects that the rows name."""
        texts = reading.texts if reading.prompt is None else reading.prompt
        fired = []
        writes = reading.prompt is None and reading.n_read == reading.n_cached + 1 > 1
        for row, (ids, real) in enumerate(
            zip(texts.tokens.tolist(), texts.real.tolist(), strict=True)
        ):
            columns = [column for column, is_real in enumerate(real) if is_real]
            read = tuple(ids[column] for column in columns)
            for match, last in self._matches(read, gated=not writes):
                for edit in self._edits_of.get(match.key, ()):
                    if not match.asks_for(edit.key):
                        continue
                    position = columns[last]
                    if writes and edit.gate is not None:
                        begun = self._begun(reading, row, edit)
                        if begun is None:
                            continue
                        position = begun
                    elif edit.position == "answer":
                        position = self._prompt_end(reading, row, edit, columns[-1])
                    fired.append(Fired(row, position, match, edit))
        alone = reading.prompt is None and not reading.n_cached
        self._last = reading.texts.tokens if alone else None
        return fired

    def _prompt_end(self, reading: Reading, row: int, edit: Edit, last: int) -> int:
        """From which position on an edit at the "answer" acts.

        Args:
            last: the last position of the text.
        """
        tokens = reading.texts.tokens
        if reading.prompt is not None:
            return last
        if not reading.n_cached and (
            self._last is None or not tokens[:, :-1].equal(self._last.to(tokens))
        ):
            return last
        begun = self._begun(reading, row, edit)
        if begun is not None and reading.n_read == reading.n_cached + 1:
            return begun  # the model writes, token by token
        raise EditError(
            f"{edit!r} acts from the prompt's end on, and a prompt that is read in several passes "
            "may end after any of them; read it in one pass, or let generate() read it and go on"
        )

    def _begun(self, reading: Reading, row: int, edit: Edit) -> int | None:
        """From which position on an edit has acted in a row that is cached; None if it has not."""
        signature = self._signatures[edit.key]
        return next((at for what, at in reading.texts.acted[row] if what == signature), None)

    def _matches(self, ids: tuple[int, ...], *, gated: bool) -> list[tuple[Match, int]]:
        """The subjects that a row names, each with its last token.

        Args:
            gated: whether gates are asked, too.
        """
        if (key := (ids, gated)) not in self._matches_of:
            if len(self._matches_of) >= _MOST_TEXTS:
                self._matches_of.clear()
            read = detokenize(self._model, ids)
            # Up to the end of the subject: its last token, as `encode` finds it.
            tokens = [
                (match, read.covering((0, _name_end(read.text, match))))
                for match in (self._find if gated else self._names)(read.text)
            ]
            self._matches_of[key] = [(match, at[1] - 1) for match, at in tokens if at is not None]
        return self._matches_of[key]

    def _adds(self, layer: int) -> Callable[..., Tensor | None]:
        """A hook that adds the values of what has fired to a layer's neurons."""
        added = self._added[layer]

        def add(value: Tensor, hook: Any) -> Tensor | None:
            if _PAUSED.get():
                return None
            now = self._now
            if now is None:
                raise EditError(
                    "a part of the model runs by itself, so that no text says which edits act; run "
                    "the whole model, or leave the context of the edits first"
                )
            flat = value.ndim == 2  # some families lay all rows end to end
            rows = value.view(len(now.texts), -1, value.shape[1]) if flat else value
            if self.fired and len(rows) != len(now.texts):
                raise EditError(
                    f"the model reads {len(rows)} rows where {len(now.texts)} texts were given, "
                    "as attribution does, and edits are found in texts; attribute the model "
                    "without its edits, and measure them with score_answers() or evaluate()"
                )
            changed: Tensor | None = None
            for fired in self.fired:
                once = fired.edit.position == "subject_last"
                first = fired.position - now.n_cached
                if fired.edit.key not in added or (once and first < 0) or first >= rows.shape[1]:
                    continue
                if changed is None:
                    changed = rows.clone()
                neurons, values = added[fired.edit.key]
                stop = first + 1 if once else rows.shape[1]
                positions = changed[fired.row, max(first, 0) : stop]
                positions[:, neurons] += values.to(value)
            return None if changed is None else changed.view_as(value)

        return add


def _name_end(text: str, match: Match) -> int:
    """Where a name ends in a text: before the ending of an inflected word that begins with it."""
    start, stop = match.span
    if match.rule != "fuzzy":
        return stop
    place = find_name(text[start:stop], match.name)
    return stop if place is None else start + place[1]


def signature_of(edit: Edit) -> int:
    """A number that two edits share if they do the same."""
    gate = None if edit.gate is None else (edit.gate.bias, edit.gate.step)
    return hash((edit.key, edit.position, edit.neurons, tuple(edit.values.tolist()), gate))

"""Apply edits while a model reads: which rows get which edits, and from which token on.

1. Before each pass of the model, a hook on its inputs decodes every row and searches the text for
   subjects. A subject that is found fires its edits in this row, from their position on.
2. In the pass, a hook on the neurons of each layer adds the values of fired edits to their rows.
3. A pass that goes on from a key/value cache keeps the edits of its rows: only the prompt decides,
   not what the model writes after it.

An edit at the "answer" acts from the end of what was read first, so a prompt has to be read alone.
"""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.editing.retrieval.match import Match
from lafn_viz.models.calls import current_call
from lafn_viz.models.hooks import Hooks, hook_post
from lafn_viz.models.tokenizing import detokenize

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# From a text to the subjects that it names.
Find = Callable[[str], Sequence[Match]]

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
    """The edits of a model and the rows that they act on, pass after pass.

    `fired` lists the edits that act on the texts that were read last; it is kept up to date.

    Args:
        find: which subjects a text names.
    """

    def __init__(self, model: "TransformerBridge", edits: Iterable[Edit], find: Find) -> None:
        self.fired: list[Fired] = []
        self._model, self._find = model, find
        self._edits_of: dict[str, list[Edit]] = defaultdict(list)
        # For each layer, by edit: its neurons in this layer, and what it adds to them.
        self._added: dict[int, dict[tuple[str, str], tuple[list[int], Tensor]]] = defaultdict(dict)
        for edit in edits:
            self._edits_of[edit.subject_id].append(edit)
            for layer in {layer for layer, _ in edit.neurons}:
                index = [i for i, neuron in enumerate(edit.neurons) if neuron.layer == layer]
                neurons = [edit.neurons[i].neuron for i in index]
                self._added[layer][edit.key] = neurons, edit.values[index]
        self._matches_of: dict[tuple[int, ...], list[tuple[Match, int]]] = {}
        self._tokens: Tensor | None = None  # of the texts that were read last
        self._n_rows, self._n_read = 0, 0  # rows, and tokens of each in the key/value cache

    def hooks(self) -> Hooks:
        """Hooks on the neurons that add the values of what has fired."""
        return [(hook_post(layer), self._adds(layer)) for layer in sorted(self._added)]

    def before_pass(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pre-hook of the model: find out which edits act on which rows."""
        if _PAUSED.get():
            return
        try:
            self._begin(kwargs.get("input_ids", args[0] if args else None), kwargs)
        except BaseException:
            # TransformerLens has noted the number of rows for the position embeddings, which this
            # pass does not reach; the next pass would get as many.
            if (embeddings := getattr(self._model, "pos_embed", None)) is not None:
                embeddings._current_batch_size = None
            raise

    def _begin(self, tokens: Tensor | None, kwargs: dict[str, Any]) -> None:
        """Fire edits for new texts, or keep those of texts that are in a key/value cache."""
        if tokens is None:
            raise EditError("edits are found in tokens; give the model input_ids, not embeddings")
        past = kwargs.get("past_key_values")
        self._n_read = 0 if past is None else int(past.get_seq_length())
        if not self._n_read:
            self._fire(tokens, kwargs.get("attention_mask"))
        elif len(tokens) != self._n_rows:
            raise EditError(
                f"{len(tokens)} rows go on from a key/value cache, but {self._n_rows} were read "
                "with these edits; read the prompts inside the context too"
            )

    def _fire(self, tokens: Tensor, mask: Tensor | None) -> None:
        """Fire the edits of the subjects that the rows name."""
        # Generation without a key/value cache reads everything anew, one token longer: an edit
        # from the prompt's end on keeps the position that it had.
        grown = self._tokens is not None and torch.equal(tokens[:, :-1], self._tokens)
        earlier = {(f.row, f.edit.key): f.position for f in self.fired} if grown else {}
        self._n_rows, self._tokens = len(tokens), tokens
        self.fired.clear()
        for row, ids in enumerate(tokens.tolist()):
            start, stop = 0, len(ids)
            if mask is not None and mask.ndim == 2:
                real = mask[row].nonzero()[:, 0].tolist()
                start, stop = (real[0], real[-1] + 1) if real else (0, 0)
            for match, last in self._matches(tuple(ids[start:stop])):
                for edit in self._edits_of.get(match.key, ()):
                    if match.relation not in (None, edit.relation):
                        continue
                    position = start + last
                    if edit.position == "answer":
                        position = earlier.get((row, edit.key), stop - 1)
                    self.fired.append(Fired(row, position, match, edit))

    def _matches(self, ids: tuple[int, ...]) -> list[tuple[Match, int]]:
        """The subjects that a row names, each with its last token."""
        if ids not in self._matches_of:
            read = detokenize(self._model, ids)
            # Up to the end of the subject: its last token, as `encode` finds it.
            tokens = [(match, read.covering((0, match.span[1]))) for match in self._find(read.text)]
            self._matches_of[ids] = [(match, at[1] - 1) for match, at in tokens if at is not None]
        return self._matches_of[ids]

    def _adds(self, layer: int) -> Callable[..., Tensor | None]:
        """A hook that adds the values of what has fired to a layer's neurons."""
        added = self._added[layer]

        def add(value: Tensor, hook: Any) -> Tensor | None:
            if _PAUSED.get():
                return None
            if self.fired and len(value) != self._n_rows:
                raise EditError(
                    f"the model reads {len(value)} rows where {self._n_rows} texts were given, as "
                    "attribution does, and edits are found in texts; attribute the model without "
                    "its edits, and measure them with score_answers() or evaluate()"
                )
            changed: Tensor | None = None
            for fired in self.fired:
                once = fired.edit.position == "subject_last"
                first = fired.position - self._n_read
                if fired.edit.key not in added or (once and first < 0):
                    continue
                if changed is None:
                    changed = value.clone()
                neurons, values = added[fired.edit.key]
                stop = first + 1 if once else value.shape[1]
                positions = changed[fired.row, max(first, 0) : stop]
                positions[:, neurons] += values.to(value)
            return changed

        return add


class EditsInThreads:
    """The edits of one block, in every thread that uses the model while the block is open.

    A public call has the edits that its own thread applied: what others apply meanwhile changes no
    result of it. A pass of the user's own has all edits, also in another thread, as when a streamer
    generates in one. Each thread has its own `AppliedEdits`, because each reads its own texts.

    `fired` lists the edits that act on the texts that were read last, in whichever thread.
    """

    def __init__(self, model: "TransformerBridge", edits: Iterable[Edit], find: Find) -> None:
        self.fired: list[Fired] = []
        self._model, self._edits, self._find = model, tuple(edits), find
        self._owner = threading.get_ident()
        self._of_thread = threading.local()

    def hooks(self) -> Hooks:
        """Hooks on the neurons that add the values of what has fired."""
        return [(name, self._adds(name)) for name in self._mine()[1]]

    def before_pass(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pre-hook of the model: find out which edits act on which rows."""
        if self._act:
            edits, _ = self._mine()
            edits.before_pass(module, args, kwargs)
            self.fired[:] = edits.fired

    @property
    def _act(self) -> bool:
        """Whether the edits act in the pass that this thread is in."""
        return threading.get_ident() == self._owner or current_call(self._model) is None

    def _mine(self) -> tuple[AppliedEdits, dict[str, Callable[..., Tensor | None]]]:
        """The edits as this thread has applied them, and their hooks by name."""
        if not hasattr(self._of_thread, "mine"):
            edits = AppliedEdits(self._model, self._edits, self._find)
            self._of_thread.mine = edits, dict(edits.hooks())
        mine: tuple[AppliedEdits, dict[str, Callable[..., Tensor | None]]] = self._of_thread.mine
        return mine

    def _adds(self, name: str) -> Callable[..., Tensor | None]:
        """A hook that runs this thread's own hook of a name."""

        def add(value: Tensor, hook: Any) -> Tensor | None:
            return self._mine()[1][name](value, hook) if self._act else None

        return add

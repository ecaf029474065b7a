"""Keep many edits, and apply each where its subject is read.

1. The cache holds edits under (subject, relation); a matcher knows the names of all subjects.
2. While it is `applied`, every text that a model begins to read is searched for them once. Each
   row of a batch gets its own edits, from its own position on.
3. Tokens that follow through a key/value cache keep the edits of their row: what counts is the
   prompt, not what the model writes. An edit at the "answer" acts from the end of what is read
   first, so the prompt has to be read alone.

Values are added by hooks on the neurons; weights never change, and the hooks go when the work is
done and on an exception. Edits of several relations of one subject add up. On disk an edit is plain
JSON and safetensors, with a checksum; nothing that is read can run.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lafn_viz.core.files import checksum, checksum_of, whole_folder
from lafn_viz.core.json_records import (
    FactError,
    as_object,
    decoded,
    parsed,
    quoted,
    read_bytes,
    shown,
    value_of,
)
from lafn_viz.editing.cache_files import _from_record, _plain, _to_record
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.editing.retrieval.subject_matcher import MATCH_RULES, Match, Rule, SubjectMatcher
from lafn_viz.models.hooks import Hooks, hook_post

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

FORMAT = 1
Find = Callable[[str], Sequence[Match]]


@dataclass(frozen=True)
class Fired:
    """An edit that was applied: in which row of the batch, from which token on, and why."""

    row: int
    position: int
    match: Match
    edit: Edit


class EditCache:
    """Edits of one model, by subject and relation.

    Args:
        edits: to begin with.
        rules: by which subjects are detected (see `matching`); all unless given. ("exact",) is the
            paper's.
        find: a search of your own instead: from a text to its matches, whose `key` is a
            `subject_id`; a match with a `relation` is of that edit alone (`ActivationMatcher`).
    """

    def __init__(
        self,
        edits: Iterable[Edit] = (),
        *,
        rules: Sequence[Rule] = MATCH_RULES,
        find: Find | None = None,
    ) -> None:
        self._edits: dict[tuple[str, str], Edit] = {}
        self._rules, self._find = rules, find
        self._matcher: SubjectMatcher | None = None
        for edit in edits:
            self.add(edit)

    def __len__(self) -> int:
        return len(self._edits)

    def __iter__(self) -> Iterator[Edit]:
        return iter(list(self._edits.values()))

    def __repr__(self) -> str:
        subjects = {edit.subject_id for edit in self}
        return f"EditCache({len(self)} edits of {len(subjects)} subjects)"

    def add(self, edit: Edit, *, replace: bool = False) -> None:
        """Take in an edit. One of the same subject and relation is replaced only on request."""
        if edit.key in self._edits and not replace:
            raise EditError(
                f"there is an edit of {quoted(edit.subject_id)}, {quoted(edit.relation)} already "
                f"({self._edits[edit.key]!r}); remove it first, or add with replace=True"
            )
        one = self._any()
        here = edit.provenance if one is None else one.provenance
        if here.weights != edit.provenance.weights:
            raise EditError(
                f"{edit!r} was made for the model {quoted(edit.provenance.model)} "
                f"({shown(edit.provenance.weights[:8])}), the others here for "
                f"{quoted(here.model)} ({shown(here.weights[:8])}); keep a cache for each model"
            )
        self._edits[edit.key] = edit
        self._matcher = None

    def _any(self) -> Edit | None:
        """One edit, which says for which model all are made."""
        return next(iter(self._edits.values()), None)

    def remove(self, subject: str, relation: str) -> Edit:
        """Take out one edit, by a name of its subject or its id; the others stay."""
        for key, edit in self._edits.items():
            named = {edit.subject_id, *(n for names in edit.names.values() for n in names)}
            if edit.relation == relation and subject in named:
                self._matcher = None
                return self._edits.pop(key)
        there = ", ".join(f"({a!r}, {b!r})" for a, b in list(self._edits)[:5]) or "none"
        raise KeyError(
            f"no edit of {subject!r}, {relation!r} here; there are, for example, {there}"
        )

    def find(self, text: str) -> list[Match]:
        """The cached subjects that a text names: by which rule, where, how surely."""
        if not self._edits:
            return []
        if self._find is not None:
            return list(self._find(text))
        if self._matcher is None:
            names: dict[str, Mapping[str, Sequence[str]]] = {}
            for edit in self:
                names.setdefault(edit.subject_id, edit.names)
            self._matcher = SubjectMatcher(names, rules=self._rules)
        return self._matcher.find(text)

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit: subject, relation, old and new object, neurons, loss."""
        import pandas as pd

        return pd.DataFrame(
            {
                "subject_id": edit.subject_id,
                "subject": next(iter(edit.names.values()))[0],
                "relation": edit.relation,
                "old": next(iter(edit.old.values()), ""),
                "new": next(iter(edit.new.values())),
                "languages": len(edit.new),
                "neurons": len(edit.neurons),
                "loss": edit.loss,
            }
            for edit in self
        )

    @contextlib.contextmanager
    def applied(self, model: "TransformerBridge") -> Iterator[list[Fired]]:
        """Apply the edits while the model reads and writes, by `model(...)` or `generate`.

        Yields what fired for the texts that were read last, as a list that is kept up to date.

        Raises:
            EditError: if an edit was made for another model.
        """
        if (one := self._any()) is not None:
            one.require(model)
        run = _Applied(self, model)
        layers = sorted({layer for edit in self for layer, _ in edit.neurons})
        hooks: Hooks = [(hook_post(layer), run.hook_of(layer)) for layer in layers]
        before = model.original_model.register_forward_pre_hook(run.begin, with_kwargs=True)
        try:
            with model.hooks(fwd_hooks=hooks):
                yield run.fired
        finally:
            before.remove()

    def save(self, folder: str | Path) -> None:
        """Write all edits to a folder, `edits.json` and `values.safetensors`; whole or not at all.

        Raises:
            EditError: if there is something at this place that is no cache.
        """
        from safetensors.torch import save_file

        folder = Path(folder)
        if folder.exists() and not (folder / "edits.json").is_file():
            raise EditError(f"{folder} is there and holds no edits.json; give another folder")
        with whole_folder(folder) as new:
            # Clones, as edits may share their memory and a safetensors file may not.
            values = {str(i): edit.values.clone() for i, edit in enumerate(self)}
            save_file(values, new / "values.safetensors")
            records = [_to_record(edit) for edit in self]
            whole = {
                "format": FORMAT,
                "values": checksum(new / "values.safetensors"),
                "edits_checksum": checksum_of(_plain(records)),
                "edits": records,
            }
            text = json.dumps(whole, ensure_ascii=False, indent=1)
            (new / "edits.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(
        cls, folder: str | Path, *, rules: Sequence[Rule] = MATCH_RULES, find: Find | None = None
    ) -> "EditCache":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: naming the missing file.
            EditError: for a file that is damaged or was changed by hand.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        folder = Path(folder)
        path, give = folder / "edits.json", "a folder that EditCache.save() wrote"
        try:
            text = decoded(str(path), read_bytes(path, give=give))
            raw = read_bytes(folder / "values.safetensors", give=give)
            whole = as_object(str(path), parsed(str(path), text))
            number = value_of(str(path), whole, "format", int)
        except FactError as error:
            raise EditError(f"{path} is damaged ({error}); save the cache again") from None
        if number != FORMAT:
            raise EditError(
                f"{path} has format {quoted(number)}, this version reads {FORMAT}; "
                "update lafn_viz, or make the edits anew"
            )
        try:
            records = value_of(str(path), whole, "edits", list)
            sums = {
                "values.safetensors": (checksum_of(raw), value_of(str(path), whole, "values", str)),
                "edits.json": (
                    checksum_of(_plain(records)),
                    value_of(str(path), whole, "edits_checksum", str),
                ),
            }
        except (ValueError, RecursionError) as error:
            raise EditError(
                f"{path} is damaged ({type(error).__name__}: {error}); save the cache again"
            ) from None
        for name, (is_now, was) in sums.items():
            if is_now != was:
                raise EditError(
                    f"{folder / name} was changed or damaged since it was saved (its checksum "
                    "differs); copy it again, or make the edits anew"
                )
        try:
            values = load(raw)
            if set(values) != {str(i) for i in range(len(records))}:
                raise ValueError(f"{len(records)} edits, but values of {len(values)}")
            edits = [
                _from_record(f"{path}, edit {i + 1}", record, values[str(i)])
                for i, record in enumerate(records)
            ]
            cache = cls(edits, rules=rules, find=find)
            cache.find("")  # a subject whose names cannot be searched for is told here
        except (SafetensorError, ValueError) as error:
            raise EditError(
                f"{folder} does not hold what a cache holds ({error}); make the edits anew"
            ) from None
        return cache


def edited(
    model: "TransformerBridge", *edits: Edit
) -> contextlib.AbstractContextManager[list[Fired]]:
    """Apply some edits: `with edited(model, edit): ...` (see `EditCache.applied`)."""
    return EditCache(edits).applied(model)


class _Applied:
    """What is added to which rows, while a model reads."""

    def __init__(self, cache: EditCache, model: "TransformerBridge") -> None:
        self.cache, self.model = cache, model
        self.of_subject: dict[str, list[Edit]] = {}
        for edit in cache:
            self.of_subject.setdefault(edit.subject_id, []).append(edit)
        # Of each edit and layer, the neurons and what is added to them.
        self.parts: dict[tuple[tuple[str, str], int], tuple[list[int], Tensor]] = {}
        for edit in cache:
            for layer in {layer for layer, _ in edit.neurons}:
                here = [i for i, (at, _) in enumerate(edit.neurons) if at == layer]
                neurons = [edit.neurons[i].neuron for i in here]
                self.parts[edit.key, layer] = neurons, edit.values[here]
        self.known: dict[tuple[int, ...], list[tuple[Match, int]]] = {}
        self.fired: list[Fired] = []
        self.rows, self.read = 0, 0
        self.tokens: Tensor | None = None

    def begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each pass of the model: which rows get which edits."""
        if edits_paused():
            return
        tokens = kwargs.get("input_ids", args[0] if args else None)
        if tokens is None:
            raise EditError("edits are found in tokens; give the model input_ids, not embeddings")
        past = kwargs.get("past_key_values")
        self.read = 0 if past is None else int(past.get_seq_length())
        if self.read:
            if len(tokens) != self.rows:
                raise EditError(
                    f"{len(tokens)} rows go on from a key/value cache, but {self.rows} were read "
                    "with these edits; read the prompts inside the context too"
                )
            return
        mask = kwargs.get("attention_mask")
        self.rows = len(tokens)
        # Writing without a key/value cache reads everything anew, one token longer: an edit that
        # acts from the prompt's end on keeps the place that it had.
        longer = self.tokens is not None and torch.equal(tokens[:, :-1], self.tokens)
        ends = {(f.row, f.edit.key): f.position for f in self.fired} if longer else {}
        self.tokens = tokens
        self.fired.clear()
        for row, ids in enumerate(tokens.tolist()):
            start, stop = 0, len(ids)
            if mask is not None and mask.ndim == 2:
                there = mask[row].nonzero()[:, 0].tolist()
                start, stop = (there[0], there[-1] + 1) if there else (0, 0)
            for match, last in self._matches(tuple(ids[start:stop])):
                for edit in self.of_subject.get(match.key, ()):
                    if match.relation not in (None, edit.relation):
                        continue
                    at = start + last
                    if edit.position == "answer":
                        at = ends.get((row, edit.key), stop - 1)
                    self.fired.append(Fired(row, at, match, edit))

    def _matches(self, ids: tuple[int, ...]) -> list[tuple[Match, int]]:
        """The subjects in a row, each with its last token."""
        if ids not in self.known:
            text, ends = _text_of(self.model.tokenizer, ids)
            self.known[ids] = [
                (match, next(i for i, end in enumerate(ends) if end >= match.span[1]))
                for match in self.cache.find(text)
            ]
        return self.known[ids]

    def hook_of(self, layer: int) -> Callable[..., Tensor | None]:
        """Adds to the neurons of a layer what its rows' edits say."""

        def add(value: Tensor, hook: Any) -> Tensor | None:
            changed: Tensor | None = None
            if edits_paused():
                return changed
            if self.fired and len(value) != self.rows:
                raise EditError(
                    f"the model reads {len(value)} rows where {self.rows} texts were given, as "
                    "attribution does, and edits are found in texts; attribute the model without "
                    "its edits, and measure them with score_answers() or evaluate()"
                )
            for fired in self.fired:
                part = self.parts.get((fired.edit.key, layer))
                first = fired.position - self.read
                if part is None or (first < 0 and fired.edit.position == "subject_last"):
                    continue
                stop = first + 1 if fired.edit.position == "subject_last" else value.shape[1]
                if changed is None:
                    changed = value.clone()
                neurons, values = part
                rows = changed[fired.row, max(first, 0) : stop]
                rows[:, neurons] += values.to(value)
            return changed

        return add


def _text_of(tokenizer: Any, ids: Sequence[int]) -> tuple[str, list[int]]:
    """The text of some tokens, and where each of them ends in it."""
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if getattr(tokenizer, "is_fast", False):
        again = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if list(again["input_ids"]) == list(ids):
            return text, [end for _, end in again["offset_mapping"]]
    # Tokens that nobody would have split the text into, as a model writes them.
    ends = [
        len(tokenizer.decode(ids[: i + 1], clean_up_tokenization_spaces=False))
        for i in range(len(ids))
    ]
    return text, [*ends[:-1], len(text)]


_EDITS_PAUSED: ContextVar[bool] = ContextVar("edits_paused", default=False)


def edits_paused() -> bool:
    """Whether the model is being read as it is, so that no edit may act."""
    return _EDITS_PAUSED.get()

"""Keep many edits, and apply each where its subject is read.

1. The cache holds edits by (subject, relation); a matcher knows the names of all their subjects.
2. While the cache is `applied` to a bridge, or `attach`ed to a model of transformers, every text
   that the model reads is searched for them, as a whole even where it is read in pieces (see
   `applied`). Each row of a batch gets its own edits, from its own position on.
3. In `generate` the prompt decides, not what the model writes: tokens that follow keep the edits of
   their row.

Hooks on the neurons add the values. Weights never change, and the hooks are removed at the end,
also after an exception. Edits of several relations of one subject add up. On disk an edit is plain
JSON and safetensors, with a checksum (see `cache_files`). An edit with a gate (`gate_by_relation`)
acts only where the prompt, as a whole, asks for its relation.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lafn_viz.core.arguments import (
    a_flag,
    a_function,
    a_path,
    a_result,
    a_text,
    or_none,
    some_results,
    takes,
)
from lafn_viz.core.messages import counted, quoted, shown
from lafn_viz.editing.applied import Find, Fired
from lafn_viz.editing.applied_block import AttachedEdits
from lafn_viz.editing.cache_files import load_edits, save_edits, unusable
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.editing.gated_find import GatedFind
from lafn_viz.editing.retrieval.match import MATCH_RULES, Match, Rule, some_rules
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher
from lafn_viz.models.calls import require_model
from lafn_viz.models.plain import PlainModel
from lafn_viz.models.tokenizing import as_read

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Edits: TypeAlias = Edit | Iterable[Edit]  # also a cache


def as_edits(given: Any, name: str = "edits") -> tuple[Edit, ...]:
    """Read edits: one, several, or those of a cache; ValueError for anything else."""
    edits: tuple[Edit, ...] = some_results(Edit)(name, given)
    return edits


class EditCache:
    """Edits of one model, by subject and relation.

    Args:
        edits: to begin with.
        rules: by which subjects are found (see `SubjectMatcher`); all unless given. ("exact",) is
            the paper's.
        find: a search to use instead, from a text to its matches. The `key` of a match is a
            `subject_id`; a match with a `relation` fires this edit alone (`ActivationMatcher`).
    """

    @takes(rules=some_rules, find=or_none(a_function))
    def __init__(
        self,
        edits: Edits = (),
        *,
        rules: Rule | Sequence[Rule] = MATCH_RULES,
        find: Find | None = None,
    ) -> None:
        self._edits: dict[tuple[str, str], Edit] = {}
        self._rules, self._find = rules, find
        self._matcher: SubjectMatcher | None = None
        # The same for the names as a model reads them, and the tokenizer of that model.
        self._as_read: tuple[Any, SubjectMatcher] | None = None
        for edit in as_edits(edits):
            self.add(edit)

    def __len__(self) -> int:
        return len(self._edits)

    def __iter__(self) -> Iterator[Edit]:
        return iter(list(self._edits.values()))

    def __repr__(self) -> str:
        subjects = {edit.subject_id for edit in self}
        gated = sum(edit.gate is not None for edit in self)
        of = f"{counted(len(self), 'edit')} of {counted(len(subjects), 'subject')}"
        return f"EditCache({of}{f', {gated} gated by relation' if gated else ''})"

    def with_edits(self, edits: Edits) -> "EditCache":
        """Other edits, whose subjects are searched for in the same way."""
        return EditCache(edits, rules=self._rules, find=self._find)

    @property
    def searches_otherwise(self) -> bool:
        """Whether another search than that for its own names decides where its edits act."""
        return self._find is not None

    @takes(edit=a_result(Edit), replace=a_flag)
    def add(self, edit: Edit, *, replace: bool = False) -> None:
        """Add an edit. One of the same subject and relation is replaced only on request.

        Raises:
            EditError: for such an edit without `replace`, or an edit of another model.
        """
        if edit.key in self._edits and not replace:
            raise EditError(
                f"there is an edit of {quoted(edit.subject_id)}, {quoted(edit.relation)} already "
                f"({self._edits[edit.key]!r}); remove it first, or add with replace=True"
            )
        # All edits of a cache are of one model, so that any other one says which.
        made, expected = edit.provenance, next(iter(self), edit).provenance
        if made.weights != expected.weights:
            raise EditError(
                f"{edit!r} was made for the model {quoted(made.model)} "
                f"({shown(made.weights[:8])}), the others here for {quoted(expected.model)} "
                f"({shown(expected.weights[:8])}); keep a cache for each model"
            )
        self._edits[edit.key] = edit
        self._matcher = self._as_read = None

    @takes(subject=a_text, relation=a_text)
    def remove(self, subject: str, relation: str) -> Edit:
        """Remove one edit and return it, by a name of its subject or its id.

        Raises:
            KeyError: naming some edits that there are.
        """
        for key, edit in self._edits.items():
            names = {edit.subject_id, *(n for names in edit.names.values() for n in names)}
            if edit.relation == relation and subject in names:
                self._matcher = self._as_read = None
                return self._edits.pop(key)
        examples = ", ".join(f"({a!r}, {b!r})" for a, b in list(self._edits)[:5]) or "none"
        raise KeyError(
            f"no edit of {subject!r}, {relation!r} here; there are, for example, {examples}"
        )

    @takes(text=a_text)
    def find(self, text: str) -> list[Match]:
        """The cached subjects that a text names: by which rule, where, and how surely.

        Whether an edit with a gate acts there only the model can tell: see `find_as_read`.
        """
        if not self._edits:
            return []
        if self._find is not None:
            return list(self._find(text))
        if self._matcher is None:
            self._matcher = SubjectMatcher(self._names(), rules=self._rules)
        return self._matcher.find(text)

    def _names(self) -> dict[str, Mapping[str, Sequence[str]]]:
        """The names of each subject, by language."""
        names: dict[str, Mapping[str, Sequence[str]]] = {}
        for edit in self:
            names.setdefault(edit.subject_id, edit.names)
        return names

    def find_as_read(self, model: "TransformerBridge | PlainModel") -> Find:
        """The search that decides in a model: in texts that its tokens give back (`as_read`).

        Its matches have a relation where the gates of a subject's edits let only some of them act.
        """
        names = self._names_as_read(model)
        gated = any(edit.gate is not None for edit in self)
        return GatedFind(model, self, names) if gated else names

    def _names_as_read(self, model: "TransformerBridge | PlainModel") -> Find:
        if not self._edits or self._find is not None:
            return self.find
        if self._as_read is None or self._as_read[0] is not model.tokenizer:
            names = {
                key: {language: as_read(model, of_one) for language, of_one in of_key.items()}
                for key, of_key in self._names().items()
            }
            self._as_read = model.tokenizer, SubjectMatcher(names, rules=self._rules)
        return self._as_read[1].find

    @takes(text=a_text)
    def gate_scores(self, model: "TransformerBridge", text: str) -> "pd.DataFrame":
        """What the gate of each edit says of a text, whether it names the subject or not.

        Columns: subject_id, relation, score (about 1 where the text asks for the relation, about -1
        elsewhere; the gate is open above 0), best first. Edits without a gate are left out.
        """
        import pandas as pd

        require_model(model)
        for edit in list(self)[:1]:  # all others are of the same model
            edit.require(model)
        scores = GatedFind(model, self, self.find).scores(text, list(self))
        rows = [(*key, score) for key, score in scores.items()]
        frame = pd.DataFrame(rows, columns=["subject_id", "relation", "score"])
        return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def to_frame(self) -> "pd.DataFrame":
        """One row for each edit: subject, relation, old and new object, neurons, loss."""
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
        """Apply the edits in a `with` block, to every `model(...)` and `generate`.

        Yields the edits that fired for the texts that were read last, as a list that is kept up to
        date.

        Raises:
            EditError: if an edit was made for another model.
        """
        require_model(model)
        if self._edits:
            next(iter(self)).require(model)
        names = self._names_as_read(model)
        with AttachedEdits(model, self, self.find_as_read(model), names=names) as attached:
            yield attached.fired

    def attach(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"
    ) -> AttachedEdits:
        """Let the edits act in a causal model of transformers itself, without TransformerLens.

        They act in `model(...)`, `generate` and pipelines, until the handle that is returned is
        removed: `handle.remove()`, or the end of `with cache.attach(model, tokenizer): ...`. Later
        changes of the cache change nothing there. To see that the edits were made for this model,
        all its weights are read once, in about a second per gigabyte.

        Args:
            model: what `AutoModelForCausalLM.from_pretrained` returns, of the same weights as the
                model that the edits were made for.
            tokenizer: the model's own.

        Raises:
            EditError: if the edits were made for other weights or another tokenizer.
            TypeError: for a bridge (see `applied`) or what is no model or fast tokenizer.
            ValueError: for a family whose neurons are not found.
        """
        plain = PlainModel(model, tokenizer)
        if self._edits:
            next(iter(self)).require_plain(plain)
        names = self._names_as_read(plain)
        return AttachedEdits(plain, self, self.find_as_read(plain), names=names)

    @takes(folder=a_path)
    def save(self, folder: str | Path) -> None:
        """Write all edits to a folder, as `edits.json` and `values.safetensors`.

        The folder is written whole or not at all, and replaces a cache that was there.

        Raises:
            EditError: if the folder exists and holds no cache.
        """
        save_edits(Path(folder), list(self))

    @classmethod
    @takes(folder=a_path, rules=some_rules, find=or_none(a_function))
    def load(
        cls,
        folder: str | Path,
        *,
        rules: Rule | Sequence[Rule] = MATCH_RULES,
        find: Find | None = None,
    ) -> "EditCache":
        """Read a cache that `save` wrote.

        Args:
            rules, find: as for a new cache.

        Raises:
            FileNotFoundError: naming the missing file.
            EditError: for a file that is damaged or was changed by hand.
        """
        edits = load_edits(Path(folder))
        try:
            cache = cls(edits, rules=rules, find=find)
            cache.find("")  # refuses names that cannot be searched for
        except ValueError as error:
            raise unusable(Path(folder), str(error)) from None
        return cache


def edited(
    model: "TransformerBridge", *edits: Edits
) -> contextlib.AbstractContextManager[list[Fired]]:
    """Apply edits in a `with` block: `with edited(model, edit): ...` (see `EditCache.applied`)."""
    return EditCache(edit for given in edits for edit in as_edits(given)).applied(model)

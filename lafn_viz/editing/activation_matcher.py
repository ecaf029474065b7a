"""Which cached facts a text asks about, by what the neurons of their edits do.

1. The **key** of an edit: the mean activation at the last token of its prompts, one key a language,
   less the mean over prompts that ask for other facts. The neurons are those that the edits change,
   of all edits together.
2. The **score** of a text: the cosine of its tokens' activations with the nearest key, at the token
   where it is highest.
3. An edit **fires** above a threshold that at most `false_fires` of the other prompts pass; of
   those that name its subject, where names are asked too.

Names tell which subject a text has, but not what it asks: with `names`, the activations choose
among the edits of the subjects that the names find ("the currency of Japan" leaves Japan's capital
alone). Without, they have to tell the subject as well.

The model reads each text once more, without any edit. Keys come from the prompts that an edit
carries, so nothing more has to be saved with it.

Caveats: an edit hardly fires in a language that it has no prompts in. Facts with the same object
(the franc of Mali, the franc of Togo) have the nearest keys, so the other prompts should hold such
neighbours. Enough random neurons make as good a key as located ones; a hundred of them do not.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from lafn_viz.datasets.facts import Prompt
from lafn_viz.editing.applied import edits_paused
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.retrieval.subject_matcher import Match
from lafn_viz.models.capabilities import capabilities, require_causal
from lafn_viz.models.hooks import Hooks, hook_post
from lafn_viz.neurons.neuron_sets import Neuron, validate_neurons

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

ROWS = 64  # texts of equal length that are read together


class ActivationMatcher:
    """Finds what texts ask for by the activations of the edits' neurons; immutable once built.

    `find` is a search for `EditCache(edits, find=...)`. `threshold`: the cosine above which an edit
    fires; `n_others`: the prompts that it rests on; `false_fires`: the share of them that passes.
    `neurons`: whose activations the keys are.

    Args:
        edits: what may fire; make a new matcher when others come in.
        others: prompts of other facts, on which edits shall not fire (`facts.prompts()`); some
            thousand are enough. Those of the edited facts themselves are left out, and those that
            name no subject of an edit, where names are asked.
        names: a search by names, such as `EditCache(edits).find`, whose matches the activations
            narrow down; None lets the activations find subjects alone.
        neurons: to make the keys of; unless given, the `n_neurons` that the most edits change.
        false_fires: the share of `others` on which an edit may fire.

    Raises:
        ValueError: for a masked model, no edits, edits of another model or without prompts,
            neurons that do not exist, or nothing to set the threshold by.
    """

    def __init__(
        self,
        model: "TransformerBridge",
        edits: Iterable[Edit],
        others: Iterable[Prompt],
        *,
        names: Callable[[str], Sequence[Match]] | None = None,
        neurons: Iterable[tuple[int, int]] | None = None,
        n_neurons: int = 1000,
        false_fires: float = 0.01,
    ) -> None:
        self._model, self._names, self._edits = model, names, tuple(edits)
        _check(model, self._edits)
        if not 0 <= false_fires < 1:
            raise ValueError(f"false_fires is {false_fires}; give a share from 0 to below 1")
        self.neurons = _chosen(model, self._edits, neurons, n_neurons)
        asked = {
            (e.relation, name) for e in self._edits for own in e.names.values() for name in own
        }
        texts = [p.text for p in others if (p.relation, p.subject) not in asked]
        if not texts:
            raise ValueError(
                "there are no prompts of other facts to set the threshold by; give some that the "
                "edits do not ask for (facts.prompts())"
            )
        asked_for = {text: self._asked(self._named(text)) for text in texts}
        kept = [text for text in texts if asked_for[text]]
        if not kept:
            raise ValueError(
                f"none of the {len(texts)} other prompts names the subject of an edit, so nothing "
                "says which of its relations they ask for; give prompts of other relations"
            )
        read = self._read(kept)
        self._mean = torch.stack([activations[-1] for activations in read]).mean(0)
        self._keys, self._owner = self._made()
        tops = [
            float(self._scores(activations)[:, asked_for[text]].max())
            for text, activations in zip(kept, read, strict=True)
        ]
        tops.sort(reverse=True)
        self.threshold = tops[int(false_fires * len(tops))]
        self.n_others = len(tops)
        self.false_fires = sum(top > self.threshold for top in tops) / len(tops)

    def __repr__(self) -> str:
        by = "activations" if self._names is None else "names and activations"
        return (
            f"ActivationMatcher({len(self._edits)} edits by {by}, above {self.threshold:.2f}: "
            f"{self.false_fires:.1%} false fires on {self.n_others} prompts)"
        )

    def find(self, text: str) -> list[Match]:
        """The edits that a text asks for, as a subject and a relation each.

        With names: the matches of the names, each with a relation. Alone: at most the best edit,
        by the rule "activation", with the token where the cosine is highest and that cosine.
        """
        named = self._named(text)
        fired = [one for one in self._scored(text, named) if one[1] > self.threshold]
        if named is not None:
            return [
                replace(match, relation=edit.relation)
                for match in named
                for edit, _, _ in fired
                if edit.subject_id == match.key
            ]
        return [
            Match(
                edit.subject_id,
                "activation",
                span,
                text[slice(*span)],
                score,
                relation=edit.relation,
            )
            for edit, score, span in sorted(fired, key=lambda one: -one[1])[:1]
        ]

    def explain(self, text: str) -> "pd.DataFrame":
        """The score of every edit, best first, fired or not.

        Columns: key, relation, score (cosine), threshold, start, end, text (the token of that
        score), named (by which rule; None where names are not asked, or miss it), fired.
        """
        import pandas as pd

        named = {match.key: match.rule for match in self._named(text) or ()}
        fired = {(match.key, match.relation) for match in self.find(text)}
        rows = [
            {
                "key": edit.subject_id,
                "relation": edit.relation,
                "score": score,
                "threshold": self.threshold,
                "start": start,
                "end": end,
                "text": text[start:end],
                "named": named.get(edit.subject_id),
                "fired": edit.key in fired,
            }
            for edit, score, (start, end) in self._scored(text, None)
        ]
        columns = ["key", "relation", "score", "threshold", "start", "end", "text", "named"]
        frame = pd.DataFrame(rows, columns=[*columns, "fired"])
        return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def _named(self, text: str) -> list[Match] | None:
        return None if self._names is None else list(self._names(text))

    def _asked(self, named: list[Match] | None) -> list[int]:
        """The edits that a text may ask for, by the subjects that it names."""
        there = {match.key for match in named or ()}
        return [
            i for i, edit in enumerate(self._edits) if named is None or edit.subject_id in there
        ]

    def _scored(
        self, text: str, named: list[Match] | None
    ) -> Iterator[tuple[Edit, float, tuple[int, int]]]:
        """Each edit that may be asked for, its highest cosine, and the characters where it is."""
        asked, (ids, spans) = self._asked(named), self._encoded(text)
        if asked and ids:
            score, at = self._scores(self._read([text])[0]).max(0)
            for i in asked:
                yield self._edits[i], float(score[i]), spans[int(at[i])]

    def _scores(self, read: Float[Tensor, "pos neuron"]) -> Float[Tensor, "pos edit"]:
        """Cosine with the nearest key of each edit."""
        cosine = normalize(read - self._mean, dim=-1) @ self._keys.T
        lowest = cosine.new_full((len(read), len(self._edits)), -1)
        owner = self._owner.expand(len(read), -1)
        return lowest.scatter_reduce(1, owner, cosine, "amax")

    def _made(self) -> tuple[Float[Tensor, "key neuron"], Int[Tensor, " key"]]:
        """The keys, and the edit that each belongs to."""
        prompts = [(i, prompt) for i, edit in enumerate(self._edits) for prompt in edit.prompts]
        own: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
        read = self._read([prompt.text for _, prompt in prompts])
        for (i, prompt), activations in zip(prompts, read, strict=True):
            own[i, prompt.language].append(activations[-1])
        keys = torch.stack([torch.stack(some).mean(0) for some in own.values()]) - self._mean
        return normalize(keys, dim=-1), torch.tensor([i for i, _ in own])

    def _encoded(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The tokens of a text, and the characters that each of them stands for."""
        read = self._model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, spans = list(read["input_ids"]), [tuple(pair) for pair in read["offset_mapping"]]
        before = list(capabilities(self._model).special_prefix)
        if ids[: len(before)] != before:
            ids, spans = [*before, *ids], [(0, 0)] * len(before) + spans
        return ids, spans

    def _read(self, texts: Sequence[str]) -> list[Float[Tensor, "pos neuron"]]:
        """What the neurons do at each token of each text, in the model as it is."""
        rows = [self._encoded(text)[0] for text in texts]
        groups: dict[int, list[int]] = defaultdict(list)
        for i, ids in enumerate(rows):
            groups[len(ids)].append(i)
        layers = sorted({layer for layer, _ in self.neurons})
        seen: dict[int, Tensor] = {}

        def keep_of(layer: int) -> Any:
            neurons = [neuron for at, neuron in self.neurons if at == layer]

            def keep(value: Tensor, hook: Any) -> None:
                seen[layer] = value[..., neurons].float().cpu()

            return keep

        hooks: Hooks = [(hook_post(layer), keep_of(layer)) for layer in layers]
        options = {"logits_to_keep": 1} if capabilities(self._model).supports_logits_to_keep else {}
        device = next(self._model.original_model.parameters()).device
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        with torch.no_grad(), edits_paused(), self._model.hooks(fwd_hooks=hooks):
            for some in groups.values():
                for start in range(0, len(some), ROWS):
                    part = some[start : start + ROWS]
                    self._model(torch.tensor([rows[i] for i in part], device=device), **options)
                    together = torch.cat([seen[layer] for layer in layers], -1)
                    for i, activations in zip(part, together, strict=True):
                        found[i] = activations
        return found


def _check(model: "TransformerBridge", edits: Sequence[Edit]) -> None:
    require_causal(model)
    if not edits:
        raise ValueError("there are no edits; give at least one (lafn_edit)")
    for edit in edits:
        edit.require(model)
        if not edit.prompts:
            raise ValueError(f"{edit!r} has no prompts, and its key is read on them; edit anew")


def _chosen(
    model: "TransformerBridge",
    edits: Sequence[Edit],
    neurons: Iterable[tuple[int, int]] | None,
    n_neurons: int,
) -> tuple[Neuron, ...]:
    """The neurons of the keys, in order."""
    found = capabilities(model)
    if n_neurons < 1:
        raise ValueError(f"n_neurons={n_neurons}; a key needs at least 1")
    if neurons is None:
        changed = Counter(neuron for edit in edits for neuron in sorted(edit.neurons))
        neurons = [neuron for neuron, _ in changed.most_common(n_neurons)]
    return tuple(sorted(set(validate_neurons(neurons, (found.n_layers, found.d_mlp)))))

"""Where is the subject read? What one place of the model carries, by putting another's there.

1. Pair prompts that differ in the subject alone and whose tokens lie alike: same paraphrase, as
   many tokens before, in and after the subject, as many in the answer.
2. Read the donor, and keep what enters each layer and what its neurons do.
3. Read the other, and put the donor's values at one place: one layer, at the subject's last token,
   at the whole subject, between subject and answer, or where the answer begins.
4. How often does the model now write the donor's answer?

Interchange interventions as in Meng et al. 2022 (causal tracing, arXiv 2202.05262, section 2), with
another subject in place of noise. Values at a place can only edit a fact if something there is read
later on: so this says at which `position` an edit can work.

Controls: nothing put in (0 unless both have one answer), and the whole subject put in where the
first layer reads it (all the model knows of it: as often as the donor's answer is known).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import Hooks, hook_block, hook_post
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

What = Literal["layer input", "neurons"]
Where = Literal["subject's last token", "whole subject", "between", "answer"]
WHATS: tuple[What, ...] = get_args(What)
WHERES: tuple[Where, ...] = get_args(Where)


@dataclass(frozen=True)
class Trace:
    """How often the model writes the donor's answer when one place holds the donor's values.

    `share` over `n_pairs` pairs of prompts; NaN where no pair has such a place. `untouched` is the
    share with nothing put in, `donor` that of donors whose answer the model knows.
    """

    share: Float[np.ndarray, "what layer where"]
    untouched: float
    donor: float
    n_pairs: int
    provenance: Provenance

    def __repr__(self) -> str:
        layer, where = np.unravel_index(np.nanargmax(self.share[1]), self.share[1].shape)
        return (
            f"Trace({self.n_pairs} pairs: neurons carry the subject most in layer {layer} at the "
            f"{WHERES[where]}, {self.share[1, layer, where]:.2f})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a kind of value, layer and place: the share of donors' answers."""
        import pandas as pd

        return pd.DataFrame(
            {"what": what, "layer": layer, "where": where, "share": self.share[i, layer, j]}
            for i, what in enumerate(WHATS)
            for layer in range(self.share.shape[1])
            for j, where in enumerate(WHERES)
        )


def trace_subject(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    max_pairs: int = 100,
    seed: int = 0,
) -> Trace:
    """Put another subject's values at each place and layer, and see whose answer comes out.

    Args:
        prompts: of one relation or several, in any languages; of a causal model. Pairs are made
            among those of one relation, language and paraphrase.
        max_pairs: as many are drawn at most.
        seed: of the pairs.

    Raises:
        ValueError: if no two prompts differ in the subject alone and lie alike, or for a masked
            model.
    """
    if capabilities(model).masked:
        raise ValueError(
            "this model fills masks, but a subject is traced from left to right; give a causal one"
        )
    groups = _pairs(model, prompts, max_pairs, seed)
    n_layers = capabilities(model).n_layers
    right = np.zeros((len(WHATS), n_layers, len(WHERES)))
    count = np.zeros(right.shape)
    untouched = known = total = 0
    for pairs in groups:
        run = _Swap(model, pairs)
        total += len(pairs)
        untouched += run.donors_answer([])
        known += run.donor_known
        for i, what in enumerate(WHATS):
            for j, where in enumerate(WHERES):
                if not run.places[where]:
                    continue
                for layer in range(n_layers):
                    right[i, layer, j] += run.put(what, layer, where)
                    count[i, layer, j] += len(pairs)
    return Trace(
        share=np.where(count > 0, right / np.maximum(count, 1), np.nan),
        untouched=untouched / total,
        donor=known / total,
        n_pairs=total,
        provenance=provenance(model, "trace_subject", seed=seed, max_pairs=max_pairs),
    )


Pair = tuple[Prompt, Prompt]  # the one that is read, and the donor


def _pairs(
    model: "TransformerBridge", prompts: Sequence[Prompt], max_pairs: int, seed: int
) -> list[list[Pair]]:
    """Pairs whose tokens lie alike, by how they lie."""
    alike: dict[tuple[Any, ...], list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        if prompt.subject_span is None:
            continue
        item = encode(model, prompt)
        key = (prompt.relation, prompt.language, prompt.paraphrase)
        place = (item.subject, item.predicts, len(item.read))
        alike[*key, *place].append(prompt)
    generator = torch.Generator().manual_seed(seed)
    found: list[list[Pair]] = []
    for some in alike.values():
        order = torch.randperm(len(some), generator=generator).tolist()
        half = len(order) // 2
        couples = zip(order[:half], order[half:], strict=False)
        pairs = [(some[a], some[b]) for a, b in couples if some[a].answer != some[b].answer]
        if pairs:
            found.append(pairs)
    if not found:
        raise ValueError(
            f"no two of {len(prompts)} prompts differ in the subject alone and have as many tokens "
            "in it; give those of more facts of one relation"
        )
    order = torch.randperm(len(found), generator=generator).tolist()
    kept: list[list[Pair]] = []
    for group in order:
        left = max_pairs - sum(map(len, kept))
        if left > 0:
            kept.append(found[group][:left])
    return kept


class _Swap:
    """Pairs that lie alike, side by side."""

    def __init__(self, model: "TransformerBridge", pairs: Sequence[Pair]) -> None:
        self.model = model
        # Both are read with the donor's answer, token by token.
        read = [encode(model, replace(one, answer=donor.answer)) for one, donor in pairs]
        donors = [encode(model, donor) for _, donor in pairs]
        device = next(model.original_model.parameters()).device
        self.tokens = torch.tensor([item.read for item in read], device=device)
        self.answers = torch.tensor([item.answer for item in donors], device=device)
        first = donors[0]
        self.predicts = first.predicts
        start, stop = first.subject or (0, 0)  # `_pairs` takes none that names no subject
        self.places: dict[Where, list[int]] = {
            "subject's last token": [stop - 1],
            "whole subject": list(range(start, stop)),
            "between": list(range(stop, first.predicts)),
            "answer": [first.predicts],
        }
        self.kept: dict[str, Tensor] = {}
        names = [
            hook(layer) for layer in range(capabilities(model).n_layers) for hook in _HOOKS.values()
        ]
        hooks: Hooks = [(name, self._keeper(name)) for name in names]
        told = torch.tensor([item.read for item in donors], device=device)
        self.donor_known = self._answered(told, hooks)

    def _keeper(self, name: str) -> Any:
        def keep(value: Tensor, hook: Any) -> None:
            self.kept[name] = value.clone()

        return keep

    def put(self, what: What, layer: int, where: Where) -> int:
        """How many write the donor's answer with its values at one place."""
        name, places = _HOOKS[what](layer), self.places[where]

        def swap(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[:, places] = self.kept[name][:, places]
            return value

        return self.donors_answer([(name, swap)])

    def donors_answer(self, hooks: Hooks) -> int:
        """How many write the donor's answer."""
        return self._answered(self.tokens, hooks)

    def _answered(self, tokens: Tensor, hooks: Hooks) -> int:
        with torch.no_grad(), self.model.hooks(fwd_hooks=hooks):
            logits = self.model(tokens)
        written = logits[:, self.predicts :][:, : self.answers.shape[1]].argmax(-1)
        return int((written == self.answers).all(-1).sum())


_HOOKS = {"layer input": hook_block, "neurons": hook_post}

"""Where does the model read the subject? Put another subject's values at one place and see.

1. Pair prompts that differ in the subject alone and whose tokens line up: the same paraphrase, as
   many tokens before, in and after the subject, and as many in the answer.
2. Read the donor prompt, and keep the input of each layer and the activations of its neurons.
3. Read the other prompt, with the donor's values at one place: in one layer, at the subject's last
   token, at the whole subject, between subject and answer, or where the answer begins.
4. Count how often the model now writes the donor's answer.

These are interchange interventions as in Meng et al. 2022 (causal tracing, arXiv 2202.05262,
section 2), with another subject in place of noise. An edit of the values at a place can only work
if the model reads them later on; so this measures at which `position` an edit can work.

Controls: no values put in (0 unless both subjects have one answer), and the whole subject put in at
the input of the first layer, which is all that the model knows of it: the donor's answer then comes
as often as the model knows it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import a_seed, takes, whole
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import Hooks, hook_block, hook_post, hooked
from lafn_viz.models.tokens import encode
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

What = Literal["layer input", "neurons"]
Where = Literal["subject's last token", "whole subject", "between", "answer"]
WHATS: tuple[What, ...] = get_args(What)
WHERES: tuple[Where, ...] = get_args(Where)
_HOOKS = {"layer input": hook_block, "neurons": hook_post}


@dataclass(frozen=True)
class Trace:
    """How often the model writes the donor's answer with the donor's values at one place.

    `share` is over `n_pairs` pairs of prompts; NaN where no pair has such a place. `untouched` is
    the share with no values put in, `donor` the share of donor prompts that the model answers.
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
        """One row per kind of value, layer and place: the share of donors' answers."""
        import pandas as pd

        return pd.DataFrame(
            {"what": what, "layer": layer, "where": where, "share": self.share[i, layer, j]}
            for i, what in enumerate(WHATS)
            for layer in range(self.share.shape[1])
            for j, where in enumerate(WHERES)
        )


@reads_model
@takes(max_pairs=whole(1), seed=a_seed)
def trace_subject(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    max_pairs: int = 100,
    seed: int = 0,
) -> Trace:
    """Put another subject's values at each place and layer, and count the donor's answers.

    Args:
        prompts: of one relation or several, in any languages. Pairs are made among those of one
            relation, language and paraphrase.
        max_pairs: number of pairs at most, drawn at random.
        seed: of the pairs.

    Raises:
        ValueError: if no two prompts differ in the subject alone and line up, or for a masked
            model.
    """
    caps = capabilities(model)
    if caps.masked:
        raise ValueError(
            "this model fills masks, but a subject is traced from left to right; give a causal one"
        )
    groups = _pairs(model, as_prompts(prompts), max_pairs, seed)
    donor_answers = np.zeros((len(WHATS), caps.n_layers, len(WHERES)))
    n_tried = np.zeros(donor_answers.shape)
    untouched = known = total = 0
    for pairs in groups:
        swap = _Swap(model, caps.n_layers, pairs)
        total += len(pairs)
        untouched += swap.donor_answers([])
        known += swap.donors_known
        for i, what in enumerate(WHATS):
            for j, where in enumerate(WHERES):
                if not swap.positions[where]:
                    continue
                for layer in range(caps.n_layers):
                    donor_answers[i, layer, j] += swap.put(what, layer, where)
                    n_tried[i, layer, j] += len(pairs)
    return Trace(
        share=np.where(n_tried > 0, donor_answers / np.maximum(n_tried, 1), np.nan),
        untouched=untouched / total,
        donor=known / total,
        n_pairs=total,
        provenance=provenance(model, "trace_subject", seed=seed, max_pairs=max_pairs),
    )


Pair = tuple[Prompt, Prompt]  # the one that is read, and the donor


def _pairs(
    model: "TransformerBridge", prompts: Sequence[Prompt], max_pairs: int, seed: int
) -> list[list[Pair]]:
    """Draw pairs whose tokens line up; those of a group line up with one another, too."""
    aligned: dict[tuple[Any, ...], list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        if prompt.subject_span is None:
            continue
        item = encode(model, prompt)
        key = (prompt.relation, prompt.language, prompt.paraphrase)
        place = (item.text, item.subject, item.predicts, len(item.read))
        aligned[*key, *place].append(prompt)
    generator = torch.Generator().manual_seed(seed)
    groups: list[list[Pair]] = []
    for alike in aligned.values():
        order = torch.randperm(len(alike), generator=generator).tolist()
        half = len(order) // 2
        couples = zip(order[:half], order[half:], strict=False)
        pairs = [(alike[a], alike[b]) for a, b in couples if alike[a].answer != alike[b].answer]
        if pairs:
            groups.append(pairs)
    if not groups:
        raise ValueError(
            f"no two of {len(prompts)} prompts differ in the subject alone and have as many tokens "
            "in it; give those of more facts of one relation"
        )
    kept: list[list[Pair]] = []
    for number in torch.randperm(len(groups), generator=generator).tolist():
        room = max_pairs - sum(map(len, kept))
        if room > 0:
            kept.append(groups[number][:room])
    return kept


class _Swap:
    """A group of pairs, read as one batch, with the donors' values at hand."""

    def __init__(self, model: "TransformerBridge", n_layers: int, pairs: Sequence[Pair]) -> None:
        self.model = model
        # Both are read with the donor's answer, token by token.
        read = [encode(model, replace(prompt, answer=donor.answer)) for prompt, donor in pairs]
        donors = [encode(model, donor) for _, donor in pairs]
        device = device_of(model.original_model)
        self.tokens = torch.tensor([item.read for item in read], device=device)
        self.answers = torch.tensor([item.answer for item in donors], device=device)
        first = donors[0]
        self.predicts = first.predicts
        start, stop = first.subject or (0, 0)  # `_pairs` takes only prompts that name a subject
        self.positions: dict[Where, list[int]] = {
            "subject's last token": [stop - 1],
            "whole subject": list(range(start, stop)),
            "between": list(range(stop, first.predicts)),
            "answer": [first.predicts],
        }
        self.donor_values: dict[str, Tensor] = {}
        names = [hook(layer) for layer in range(n_layers) for hook in _HOOKS.values()]
        hooks: Hooks = [(name, self._keeper(name)) for name in names]
        donor_tokens = torch.tensor([item.read for item in donors], device=device)
        self.donors_known = self._count_answers(donor_tokens, hooks)

    def _keeper(self, name: str) -> Any:
        def keep(value: Tensor, hook: Any) -> None:
            self.donor_values[name] = value.clone()

        return keep

    def put(self, what: What, layer: int, where: Where) -> int:
        """Put the donors' values at one place, and count the donors' answers."""
        name, positions = _HOOKS[what](layer), self.positions[where]

        def swap(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[:, positions] = self.donor_values[name][:, positions]
            return value

        return self.donor_answers([(name, swap)])

    def donor_answers(self, hooks: Hooks) -> int:
        """Count the pairs for which the model writes the donor's answer."""
        return self._count_answers(self.tokens, hooks)

    def _count_answers(self, tokens: Tensor, hooks: Hooks) -> int:
        with torch.no_grad(), hooked(self.model, hooks):
            logits = self.model(tokens)
        written = logits[:, self.predicts :][:, : self.answers.shape[1]].argmax(-1)
        return int((written == self.answers).all(-1).sum())

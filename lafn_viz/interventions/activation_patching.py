"""Where does the model read the subject? Put another subject's values at one place and see.

1. Pair prompts that differ in the subject alone and whose tokens line up: the same paraphrase, as
   many tokens before, in and after the subject, and as many in the answer.
2. Read the donor prompt, and keep the input of each layer and the activations of its neurons.
3. Read the other prompt, with the donor's values at one place: in one layer, at the subject's last
   token, at the whole subject, between subject and answer, or where the answer begins.
4. Count how often the model now writes the donor's answer, and how much more likely it became.

These are interchange interventions as in Meng et al. 2022 (causal tracing, arXiv 2202.05262,
section 2), with another subject in place of noise. An edit of the values at a place can only work
if the model reads them later on; so this measures at which `position` an edit can work.

Controls: no values put in (0 unless both subjects have one answer), and the whole subject put in at
the input of the first layer, which is all that the model knows of it: the donor's answer then comes
as often as the model knows it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

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
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hook_block, hook_post, hooked
from lafn_viz.models.scoring import token_log_prob
from lafn_viz.models.tokens import encode
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

What = Literal["layer input", "neurons"]
Where = Literal["subject's last token", "whole subject", "between", "answer"]
EditedAt = Literal["subject_last", "answer"]
WHATS: tuple[What, ...] = get_args(What)
WHERES: tuple[Where, ...] = get_args(Where)
MAX_ROWS = 64  # of a batch; pairs are repeated in it, once for each layer that is tried
_HOOKS = {"layer input": hook_block, "neurons": hook_post}
_EDITED_AT: dict[Where, EditedAt] = {"subject's last token": "subject_last", "answer": "answer"}


class Place(NamedTuple):
    """A layer, and a position as editors name it."""

    layer: int
    position: EditedAt


@dataclass(frozen=True)
class Trace:
    """How often the model writes the donor's answer with the donor's values at one place.

    `share` is over `n_pairs` pairs of prompts; NaN where no pair has such a place. `gain` is the
    mean rise of the log-probability of the donor's answer (nats), which shows in a deep model where
    no single layer turns the answer. `untouched` is the share with no values put in, `donor` the
    share of donor prompts that the model answers.
    """

    share: Float[np.ndarray, "what layer where"]
    gain: Float[np.ndarray, "what layer where"]
    untouched: float
    donor: float
    n_pairs: int
    provenance: Provenance

    def __repr__(self) -> str:
        layer, where = self._strongest(WHERES)
        column = WHERES.index(where)
        return (
            f"Trace({self.n_pairs} pairs: neurons carry the subject most in layer {layer} at the "
            f"{where}, {self.share[1, layer, column]:.2f}, {self.gain[1, layer, column]:+.2f} nats)"
        )

    @property
    def place(self) -> Place:
        """Where a change of one layer's neurons tells the model most about another subject.

        The layer and the position of the largest `gain` of neurons, among the two positions at
        which values can be edited: "subject_last" and "answer". An editor takes it as its options:
        `lv.baselines.rome(layer=place.layer, position=place.position)`.
        """
        layer, where = self._strongest(tuple(_EDITED_AT))
        return Place(layer, _EDITED_AT[where])

    def _strongest(self, wheres: Sequence[Where]) -> tuple[int, Where]:
        """The layer and place at which the donor's neurons make its answer likelier most."""
        gain = self.gain[1][:, [WHERES.index(where) for where in wheres]]
        layer, column = np.unravel_index(np.nanargmax(gain), gain.shape)
        return int(layer), wheres[int(column)]

    def to_frame(self) -> "pd.DataFrame":
        """One row per kind of value, layer and place: `share` and `gain` of donors' answers."""
        import pandas as pd

        return pd.DataFrame(
            {
                "what": what,
                "layer": layer,
                "where": where,
                "share": self.share[i, layer, j],
                "gain": self.gain[i, layer, j],
            }
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
    gain, n_tried = np.zeros(donor_answers.shape), np.zeros(donor_answers.shape)
    untouched = known = total = 0
    for pairs in groups:
        swap = _Swap(model, caps.n_layers, pairs)
        total += len(pairs)
        as_it_was = swap.donor_answers([])
        untouched += as_it_was.written
        known += swap.donors_known
        for i, what in enumerate(WHATS):
            for j, where in enumerate(WHERES):
                if not swap.positions[where]:
                    continue
                for layer, now in swap.put(what, where):
                    donor_answers[i, layer, j] += now.written
                    gain[i, layer, j] += now.log_p - as_it_was.log_p
                    n_tried[i, layer, j] += len(pairs)
    tried = np.where(n_tried > 0, n_tried, np.nan)
    return Trace(
        share=donor_answers / tried,
        gain=gain / tried,
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


class _Answers(NamedTuple):
    """How many pairs are given the donor's answer, and the sum of its log-probabilities (nats)."""

    written: int
    log_p: float


class _Swap:
    """A group of pairs, read as one batch, with the donors' values at hand."""

    def __init__(self, model: "TransformerBridge", n_layers: int, pairs: Sequence[Pair]) -> None:
        self.model, self.n_layers = model, n_layers
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
        self.donors_known = self._answers(donor_tokens, hooks)[0].written

    def _keeper(self, name: str) -> Any:
        def keep(value: Tensor, hook: Any) -> None:
            self.donor_values[name] = value.clone()

        return keep

    def put(self, what: What, where: Where) -> Iterator[tuple[int, _Answers]]:
        """The donors' answers with the donors' values at a place of each layer."""
        at_once = max(1, MAX_ROWS // len(self.tokens))
        for first in range(0, self.n_layers, at_once):
            layers = range(first, min(first + at_once, self.n_layers))
            hooks = [
                (_HOOKS[what](layer), self._swapper(number, _HOOKS[what](layer), where))
                for number, layer in enumerate(layers)
            ]
            yield from zip(layers, self._answers(self.tokens, hooks, len(layers)), strict=True)

    def _swapper(self, number: int, name: str, where: Where) -> Any:
        """A hook that puts the donors' values in the rows of one copy of the pairs."""
        n, positions = len(self.tokens), self.positions[where]
        rows = slice(number * n, (number + 1) * n)

        def swap(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[rows][:, positions] = self.donor_values[name][:, positions]
            return value

        return swap

    def donor_answers(self, hooks: Hooks) -> _Answers:
        """The donors' answers after the prompts that are read."""
        return self._answers(self.tokens, hooks)[0]

    def _answers(self, tokens: Tensor, hooks: Hooks, copies: int = 1) -> list[_Answers]:
        """The donors' answers after copies of some prompts, read side by side."""
        count = self.answers.shape[1]  # the last tokens that are read predict the answer's

        def cut(value: Tensor, hook: Any) -> Tensor:
            return value[:, -count:]

        if HOOK_UNEMBED in self.model.hook_dict:
            hooks = [*hooks, (HOOK_UNEMBED, cut)]
        with torch.no_grad(), hooked(self.model, hooks):
            logits = self.model(tokens.repeat(copies, 1))[:, -count:]
        answers = self.answers.repeat(copies, 1)
        written = (logits.argmax(-1) == answers).all(-1)
        log_p = token_log_prob(logits.float(), answers).sum(-1)
        return [
            _Answers(int(of_copy.sum()), float(log_p_of_copy.sum()))
            for of_copy, log_p_of_copy in zip(
                written.chunk(copies), log_p.chunk(copies), strict=True
            )
        ]

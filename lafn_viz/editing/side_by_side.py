"""Prompts side by side, read again and again from the first position that is changed on.

1. What stands before that position never changes. It is read once, prompts of equal length
   together, and its keys and values are kept, aligned at their end.
2. The tokens from there on are read at every step, aligned at their start; a mask hides the
   padding.
3. The un-embedding sees only the positions that predict a token that matters.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.models.batching import prefix_cache
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hooked, no_logits
from lafn_viz.models.read_texts import ReadTexts
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Reread:
    """What is read of a prompt: its `tokens`, those from position `start` on at every step.

    Values are added at the positions `acted`, a range (start, stop). The logits at `predicts`
    matter.
    """

    tokens: tuple[int, ...]
    start: int
    acted: tuple[int, int]
    predicts: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many tokens are read at every step."""
        return len(self.tokens) - self.start


class SideBySide:
    """Prompts in one padded batch.

    `acted` [prompt, width, 1] says where values are added.
    """

    def __init__(self, model: "TransformerBridge", prompts: Sequence[Reread]) -> None:
        self.model, device = model, device_of(model.original_model)
        width = max(prompt.width for prompt in prompts)
        tokens = torch.zeros(len(prompts), width, dtype=torch.long)
        acted = torch.zeros(len(prompts), width, 1, dtype=torch.bool)
        places = []
        for i, prompt in enumerate(prompts):
            tokens[i, : prompt.width] = torch.tensor(prompt.tokens[prompt.start :])
            acted[i, slice(*(at - prompt.start for at in prompt.acted))] = True
            places += [(i, at - prompt.start) for at in prompt.predicts]
        self.tokens, self.acted = tokens.to(device), acted.to(device)
        self.rows, self.predicts = torch.tensor(places, device=device).unbind(1)
        self.starts = torch.tensor([prompt.start for prompt in prompts], device=device)
        self.prefix: list[tuple[Tensor, Tensor]] = []
        if self.starts.any():
            with torch.no_grad():
                self._keep_prefix(prompts)

    def _keep_prefix(self, prompts: Sequence[Reread]) -> None:
        """Read what stands before each start once, and keep its keys and values."""
        n, width = self.tokens.shape
        widest = int(self.starts.max())
        has_prefix = torch.zeros(n, widest, dtype=torch.bool, device=self.tokens.device)
        prefix_tokens = torch.zeros_like(has_prefix, dtype=torch.long)
        by_start: dict[int, list[int]] = defaultdict(list)
        for i, prompt in enumerate(prompts):
            by_start[prompt.start].append(i)
        for start, rows in by_start.items():
            if not start:
                continue
            tokens = self.tokens.new_tensor([prompts[i].tokens[:start] for i in rows])
            with hooked(self.model, [(HOOK_UNEMBED, no_logits)] if self._narrows else []):
                _, cache = self.model(tokens, return_type="logits_and_cache", use_cache=True)
            if not self.prefix:
                self.prefix = [
                    tuple(x.new_zeros(n, x.shape[1], widest, x.shape[3]) for x in pair)
                    for pair in ((layer.keys, layer.values) for layer in cache.layers)
                ]
            for (keys, values), layer in zip(self.prefix, cache.layers, strict=True):
                keys[rows, :, widest - start :] = layer.keys
                values[rows, :, widest - start :] = layer.values
            has_prefix[rows, widest - start :] = True
            prefix_tokens[rows, widest - start :] = tokens
        self.prefix_texts = ReadTexts.unchanged(prefix_tokens, has_prefix)
        causal = torch.ones(width, width, dtype=torch.bool, device=self.tokens.device).tril()
        attended = torch.cat(
            [has_prefix[:, None].expand(-1, width, -1), causal.expand(n, -1, -1)], -1
        )[:, None]
        dtype = self.prefix[0][0].dtype
        self.mask = torch.zeros(attended.shape, dtype=dtype, device=self.tokens.device)
        self.mask.masked_fill_(~attended, torch.finfo(dtype).min)

    @property
    def _narrows(self) -> bool:
        """Whether a hook can cut the un-embedding down to the positions that matter."""
        return HOOK_UNEMBED in self.model.hook_dict

    def run(self, hooks: Hooks) -> Float[Tensor, "token width"]:
        """Read all prompts with these hooks.

        Returns:
            At the positions that matter, what the un-embedding reads; the logits, where that is
            more than a matrix, a bias and a cap.
        """
        options: dict[str, Any] = {}
        if self.prefix:
            rows, steps = (torch.arange(n, device=self.tokens.device) for n in self.tokens.shape)
            options = {
                "past_key_values": prefix_cache(self.prefix, rows, self.prefix_texts),
                "attention_mask": self.mask,
                "position_ids": self.starts[:, None] + steps,
            }
        kept: list[Tensor] = []
        reads_hidden = capabilities(self.model).unembedding is not None

        def take(value: Tensor, hook: Any) -> Tensor:
            kept.append(value[self.rows, self.predicts])
            return no_logits(value) if reads_hidden else kept[0][None]

        hooks = [*hooks, (HOOK_UNEMBED, take)] if self._narrows else hooks
        with hooked(self.model, hooks):
            logits = self.model(self.tokens, **options)
        if reads_hidden:
            return kept[0]
        return logits.squeeze(0) if self._narrows else logits[self.rows, self.predicts]


def grouped(widths: Sequence[int], cost: float) -> list[list[int]]:
    """The numbers of prompts, in groups by width in which padding costs less than more passes.

    Args:
        widths: how many tokens are read of each prompt.
        cost: of a pass, in tokens.
    """
    order = sorted(range(len(widths)), key=lambda i: widths[i])
    ends = [n for n in range(1, len(order)) if widths[order[n - 1]] < widths[order[n]]]
    # By how many prompts are grouped: the least cost, and where the last group begins.
    best: dict[int, tuple[float, int]] = {0: (0.0, 0)}
    for stop in (*ends, len(order)):
        widest = widths[order[stop - 1]]
        best[stop] = min(
            (spent + cost + (stop - start) * widest, start) for start, (spent, _) in best.items()
        )
    groups, stop = [], len(order)
    while stop:
        start = best[stop][1]
        groups.append(sorted(order[start:stop]))
        stop = start
    return groups[::-1]

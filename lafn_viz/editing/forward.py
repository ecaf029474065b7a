"""Prompts of any length side by side, read again and again with values added to neurons.

1. What stands before the first position acted on never changes: it is read once, prompts of equal
   length together, and its keys and values are kept, aligned at their end.
2. What follows is read at every step, aligned at its start; a mask hides the padding.
3. The un-embedding sees only the positions that predict a token of an answer.

Gradients flow to the added values. Where an architecture reads a prefix of its own length in
another way (a probe at the start tells), whole prompts are read, padded at their end: in a causal
model nothing looks there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.batching import prefix_cache
from lafn_viz.models.capabilities import capabilities, require_causal
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hook_post, hook_written
from lafn_viz.models.scoring import all_by_row, is_likeliest, sum_by_row, token_log_prob
from lafn_viz.models.tokens import Encoded, encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Where values are added: at the subject's last token; at it and everything after it; or at the
# prompt's last token and everything after it.
EditPosition = Literal["subject_last", "from_subject", "answer"]
EDIT_POSITIONS: tuple[EditPosition, ...] = ("subject_last", "from_subject", "answer")

# By layer; for each prompt its own, or one for all.
Added = Mapping[int, Float[Tensor, " neuron"] | Float[Tensor, "prompt neuron"]]
# By layer.
WeightChanges = Mapping[int, Float[Tensor, "neuron d_model"]]


class EditedForward:
    """One padded batch of prompts with their answers.

    `row` and `answer` list the tokens of all answers: the prompt of each, and its number in the
    vocabulary. `logits` has a row for each of them, and then one for each prompt whose number is in
    `after`: what follows its answer. With `once` values are added at the first position alone; with
    `whole` every token is read each time, which is what a change of weights asks for.
    """

    def __init__(
        self,
        model: "TransformerBridge",
        prompts: Sequence[Prompt],
        position: EditPosition,
        *,
        after: Sequence[int] = (),
        once: bool = False,
        whole: bool = False,
    ) -> None:
        if position not in EDIT_POSITIONS:
            raise ValueError(
                f"unknown position {position!r}; there are {', '.join(EDIT_POSITIONS)}"
            )
        if not prompts:
            raise ValueError("there are no prompts; give at least one (facts.prompts())")
        require_causal(model)
        self.model, self.prompts, self.position = model, tuple(prompts), position
        self.once = once or position == "subject_last"
        self.device = next(model.original_model.parameters()).device
        read = [encode(model, prompt) for prompt in prompts]
        counts = torch.tensor([len(item.answer) for item in read])
        self.row = torch.arange(len(read)).repeat_interleave(counts).to(self.device)
        self.answer = torch.tensor([t for item in read for t in item.answer], device=self.device)
        self.after = tuple(after)
        self.takes = torch.cat([self.row, self.row.new_tensor(self.after)])
        for i in self.after:
            read[i] = replace(read[i], read=(*read[i].read, read[i].answer[-1]))
        starts = [self._first(item) for item in read]
        self._place(read, [0] * len(read))
        self.prefix: list[tuple[Tensor, Tensor]] = []
        longest, found = max(len(item.read) for item in read), capabilities(model)
        # Who builds its own mask (BLOOM, OPT, XGLM) takes none of ours; a sliding window neither.
        if (
            not whole
            and max(starts)
            and found.supports_growing_batch
            and (found.window is None or longest < found.window)
        ):
            with torch.no_grad():
                plain = self.logits({})
                self._place(read, starts)
                self._keep_prefix(read, starts)
                if not _close(plain, self.logits({})):
                    self._place(read, [0] * len(read))
                    self.prefix = []

    def _first(self, item: Encoded) -> int:
        return item.predicts if self.position == "answer" else item.subject_last

    def _place(self, read: Sequence[Encoded], starts: Sequence[int]) -> None:
        """What is read of each prompt, from a position of its own on."""
        width = max(len(item.read) - start for item, start in zip(read, starts, strict=True))
        self.tokens = torch.zeros(len(read), width, dtype=torch.long)
        self.acted = torch.zeros(len(read), width, 1, dtype=torch.bool)
        predicts = []
        for i, (item, start) in enumerate(zip(read, starts, strict=True)):
            stop, first = len(item.read) - start, self._first(item) - start
            self.tokens[i, :stop] = torch.tensor(item.read[start:])
            self.acted[i, first : first + 1 if self.once else stop] = True
            predicts += [item.predicts - start + k for k in range(len(item.answer))]
        self.tokens, self.acted = self.tokens.to(self.device), self.acted.to(self.device)
        predicts += [len(read[i].read) - 1 - starts[i] for i in self.after]
        self.predicts = torch.tensor(predicts, device=self.device)
        self.starts = torch.tensor(starts, device=self.device)

    def _keep_prefix(self, read: Sequence[Encoded], starts: Sequence[int]) -> None:
        """Keys and values of what stands before each start, aligned at their end."""
        widest = max(starts)
        there = torch.zeros(len(read), widest, dtype=torch.bool, device=self.device)
        groups: dict[int, list[int]] = defaultdict(list)
        for i, start in enumerate(starts):
            groups[start].append(i)
        self.prefix = []
        for start, rows in groups.items():
            if not start:
                continue
            tokens = torch.tensor([read[i].read[:start] for i in rows], device=self.device)
            with self.model.hooks(fwd_hooks=[(HOOK_UNEMBED, _first_only)] if self._narrows else []):
                _, cache = self.model(tokens, return_type="logits_and_cache", use_cache=True)
            if not self.prefix:
                self.prefix = [
                    tuple(x.new_zeros(len(read), x.shape[1], widest, x.shape[3]) for x in pair)
                    for pair in ((layer.keys, layer.values) for layer in cache.layers)
                ]
            for (keys, values), layer in zip(self.prefix, cache.layers, strict=True):
                keys[rows, :, widest - start :] = layer.keys
                values[rows, :, widest - start :] = layer.values
            there[rows, widest - start :] = True
        width = self.tokens.shape[1]
        own = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        seen = torch.cat([there[:, None].expand(-1, width, -1), own.expand(len(read), -1, -1)], -1)[
            :, None
        ]
        dtype = self.prefix[0][0].dtype
        self.mask = torch.zeros(seen.shape, dtype=dtype, device=self.device)
        self.mask.masked_fill_(~seen, torch.finfo(dtype).min)

    @property
    def _narrows(self) -> bool:
        return HOOK_UNEMBED in self.model.hook_dict

    def logits(
        self,
        added: Added,
        *,
        site: Callable[[int], str] = hook_post,
        changed: WeightChanges | None = None,
    ) -> Float[Tensor, "token vocab"]:
        """Logits about each token of the answers, with values added to neurons of some layers.

        Args:
            added: for each layer what is added to its neurons at the positions acted on.
            site: where else to add, as the name of a layer's hook.
            changed: for each layer what is added to its down projection, for all positions; to be
                read with `whole`.
        """
        hooks = [(site(layer), self._adds(more)) for layer, more in added.items()]
        for layer, change in (changed or {}).items():
            hooks += _rewired(layer, change)
        return self._run(hooks)

    def seen(self, names: Iterable[str]) -> dict[str, Float[Tensor, "prompt width"]]:
        """What some hooks see at the first position acted on, in float32."""
        first = self.acted[..., 0].int().argmax(1)
        found: dict[str, Tensor] = {}

        def keeps(name: str) -> Any:
            def keep(value: Tensor, hook: Any) -> None:
                found[name] = value[torch.arange(len(first)), first].float()

            return keep

        with torch.no_grad():
            self._run([(name, keeps(name)) for name in names])
        return found

    def _adds(self, more: Tensor) -> Any:
        own = more[:, None] if more.ndim == 2 else more

        def add(value: Tensor, hook: Any) -> Tensor:
            return value + torch.where(self.acted, own, 0).to(value.dtype)

        return add

    def _run(self, hooks: Hooks) -> Float[Tensor, "token vocab"]:
        options: dict[str, Any] = {}
        if self.prefix:
            everyone, steps = (torch.arange(n, device=self.device) for n in self.tokens.shape)
            options = {
                "past_key_values": prefix_cache(self.prefix, everyone),
                "attention_mask": self.mask,
                "position_ids": self.starts[:, None] + steps,
            }

        def take(value: Tensor, hook: Any) -> Tensor:
            return value[self.takes, self.predicts][None]

        hooks = list(hooks)
        if self._narrows:
            hooks.append((HOOK_UNEMBED, take))
        with self.model.hooks(fwd_hooks=hooks):
            logits = self.model(self.tokens, **options)
        return (logits.squeeze(0) if self._narrows else logits[self.takes, self.predicts]).float()

    def log_prob(self, logits: Float[Tensor, "token vocab"]) -> Float[Tensor, " prompt"]:
        """Log-probability (nats) of each whole answer."""
        return self.summed(token_log_prob(logits[: len(self.row)], self.answer))

    def summed(self, values: Float[Tensor, " token"]) -> Float[Tensor, " prompt"]:
        """The sum of what each token of an answer has."""
        return sum_by_row(values, self.row, len(self.prompts))

    def known(self, logits: Float[Tensor, "token vocab"]) -> Bool[Tensor, " prompt"]:
        """Whether greedy decoding writes each answer."""
        likeliest = is_likeliest(logits[: len(self.row)], self.answer)
        return all_by_row(likeliest, self.row, len(self.prompts))

    def same(
        self, logits: Float[Tensor, "token vocab"], others: Float[Tensor, "token vocab"]
    ) -> Bool[Tensor, " prompt"]:
        """Whether the likeliest token is the same at every token of each answer."""
        count = len(self.row)
        agree = logits[:count].argmax(-1) == others[:count].argmax(-1)
        return all_by_row(agree, self.row, len(self.prompts))


def acted_on(prompts: Iterable[Prompt], position: EditPosition) -> list[Prompt]:
    """The prompts that have such a position: all, or those that name their subject."""
    return [p for p in prompts if position == "answer" or p.subject_span is not None]


def _rewired(layer: int, change: Float[Tensor, "neuron d_model"]) -> Hooks:
    """Hooks that make a layer's neurons write more, without a touch to its weights."""
    neurons: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> None:
        neurons[:] = [value]

    def add(value: Tensor, hook: Any) -> Tensor:
        return value + (neurons.pop() @ change).to(value.dtype)

    return [(hook_post(layer), keep), (hook_written(layer), add)]


def _first_only(value: Tensor, hook: Any) -> Tensor:
    return value[:1, :1]


def _close(one: Tensor, other: Tensor) -> bool:
    tolerance = 1e-4 if one.dtype == torch.float32 else 5e-2
    return bool((one - other).abs().max() <= tolerance * one.abs().max().clamp_min(1))

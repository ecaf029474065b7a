"""The forward pass of an edited model over prompts of any length, run many times.

1. The tokens before the first edited position never change. They are read once, prompts of equal
   length together, and their keys and values are kept, aligned at their end.
2. The tokens from there on are read at every step, aligned at their start, with values added to the
   neurons at the edited positions; a mask hides the padding.
3. The un-embedding sees only the positions that predict a token of an answer.

Gradients flow to the added values. Some architectures read prefixes of different lengths in another
way; a trial run at the start finds out. For them whole prompts are read, padded at their end, where
a causal model does not look.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import prefix_cache
from lafn_viz.models.capabilities import capabilities, require_causal
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hook_post, hook_written, hooked
from lafn_viz.models.read_texts import ReadTexts
from lafn_viz.models.scoring import all_by_row, is_likeliest, sum_by_row, token_log_prob
from lafn_viz.models.tokens import Encoded, encode
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Where values are added: at the subject's last token; at it and every later token; or at the
# prompt's last token and every later one. (`Position`, of attribution, calls the prompt's last
# token alone "answer".)
EditPosition = Literal["subject_last", "from_subject", "answer"]
EDIT_POSITIONS: tuple[EditPosition, ...] = ("subject_last", "from_subject", "answer")

# By layer: values to add to its neurons, the same for all prompts or a row for each.
Added = Mapping[int, Float[Tensor, " neuron"] | Float[Tensor, "prompt neuron"]]
# By layer: what to add to its down projection.
WeightChanges = Mapping[int, Float[Tensor, "neuron d_model"]]


class EditedForward:
    """One padded batch of prompts with their answers, to be read with values added to neurons.

    `row` and `answer` list the tokens of all answers: the number of each token's prompt, and its
    number in the vocabulary. `logits` has a row for each of them, followed by one for each prompt
    in `after`.

    Args:
        position: where values are added (see `EditPosition`).
        after: numbers of prompts for which the token after the answer is predicted too.
        once: add values at the first edited position alone.
        whole: read every token each time, as a change of weights needs.

    Raises:
        ValueError: for an unknown position, no prompts, or a masked model.
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
                f"unknown position {position!r}; there are {', '.join(EDIT_POSITIONS)}: at the "
                "subject's last token, from it on, or from the prompt's last token on"
            )
        if not prompts:
            raise ValueError("there are no prompts; give at least one (facts.prompts())")
        require_causal(model)
        self.model, self.prompts, self.position = model, tuple(prompts), position
        self.once = once or position == "subject_last"
        self.device = device_of(model.original_model)
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
        longest, caps = max(len(item.read) for item in read), capabilities(model)
        # Models that build their own mask (BLOOM, OPT, XGLM) take none of ours, nor do those whose
        # attention slides over a window.
        if (
            not whole
            and max(starts)
            and caps.supports_growing_batch
            and (caps.window is None or longest < caps.window)
        ):
            with torch.no_grad():
                plain = self.logits({})
                self._place(read, starts)
                self._keep_prefix(read, starts)
                if not _close(plain, self.logits({})):
                    self._place(read, [0] * len(read))
                    self.prefix = []

    def _first(self, item: Encoded) -> int:
        """The first edited position of a prompt."""
        return item.predicts if self.position == "answer" else item.subject_last

    def _place(self, read: Sequence[Encoded], starts: Sequence[int]) -> None:
        """Lay out what is read of each prompt at every step: all from its own start on."""
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
        """Read what stands before each start once, and keep its keys and values."""
        widest = max(starts)
        has_prefix = torch.zeros(len(read), widest, dtype=torch.bool, device=self.device)
        prefix_tokens = torch.zeros(len(read), widest, dtype=torch.long, device=self.device)
        groups: dict[int, list[int]] = defaultdict(list)
        for i, start in enumerate(starts):
            groups[start].append(i)
        self.prefix = []
        for start, rows in groups.items():
            if not start:
                continue
            tokens = torch.tensor([read[i].read[:start] for i in rows], device=self.device)
            with hooked(self.model, [(HOOK_UNEMBED, _first_only)] if self._narrows else []):
                _, cache = self.model(tokens, return_type="logits_and_cache", use_cache=True)
            if not self.prefix:
                self.prefix = [
                    tuple(x.new_zeros(len(read), x.shape[1], widest, x.shape[3]) for x in pair)
                    for pair in ((layer.keys, layer.values) for layer in cache.layers)
                ]
            for (keys, values), layer in zip(self.prefix, cache.layers, strict=True):
                keys[rows, :, widest - start :] = layer.keys
                values[rows, :, widest - start :] = layer.values
            has_prefix[rows, widest - start :] = True
            prefix_tokens[rows, widest - start :] = tokens
        self.prefix_texts = ReadTexts.unchanged(prefix_tokens, has_prefix)
        width = self.tokens.shape[1]
        causal = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        attended = torch.cat(
            [has_prefix[:, None].expand(-1, width, -1), causal.expand(len(read), -1, -1)], -1
        )[:, None]
        dtype = self.prefix[0][0].dtype
        self.mask = torch.zeros(attended.shape, dtype=dtype, device=self.device)
        self.mask.masked_fill_(~attended, torch.finfo(dtype).min)

    @property
    def _narrows(self) -> bool:
        """Whether a hook can cut the un-embedding down to the positions that matter."""
        return HOOK_UNEMBED in self.model.hook_dict

    def logits(
        self,
        added: Added,
        *,
        site: Callable[[int], str] = hook_post,
        changed: WeightChanges | None = None,
    ) -> Float[Tensor, "token vocab"]:
        """Run the edited model: the logits that predict each token of the answers.

        Args:
            added: for each layer, what is added to its neurons at the edited positions.
            site: the hook of a layer to add at, in place of its neurons.
            changed: for each layer, what is added to its down projection, at all positions; needs
                `whole=True`.
        """
        hooks = [(site(layer), self._adds(more)) for layer, more in added.items()]
        for layer, change in (changed or {}).items():
            hooks += _as_if_changed(layer, change)
        return self._run(hooks)

    def seen(self, names: Iterable[str]) -> dict[str, Float[Tensor, "prompt width"]]:
        """The values of these hooks at the first edited position of each prompt, in float32."""
        first = self.acted[..., 0].int().argmax(1)
        values: dict[str, Tensor] = {}

        def keeps(name: str) -> Any:
            def keep(value: Tensor, hook: Any) -> None:
                values[name] = value[torch.arange(len(first)), first].float()

            return keep

        with torch.no_grad():
            self._run([(name, keeps(name)) for name in names])
        return values

    def _adds(self, more: Tensor) -> Any:
        """A hook that adds values at the edited positions."""
        at_each_position = more[:, None] if more.ndim == 2 else more

        def add(value: Tensor, hook: Any) -> Tensor:
            return value + torch.where(self.acted, at_each_position, 0).to(value.dtype)

        return add

    def _run(self, hooks: Hooks) -> Float[Tensor, "token vocab"]:
        """Read all prompts with these hooks; the logits at the positions that matter."""
        options: dict[str, Any] = {}
        if self.prefix:
            rows, steps = (torch.arange(n, device=self.device) for n in self.tokens.shape)
            options = {
                "past_key_values": prefix_cache(self.prefix, rows, self.prefix_texts),
                "attention_mask": self.mask,
                "position_ids": self.starts[:, None] + steps,
            }

        def take(value: Tensor, hook: Any) -> Tensor:
            return value[self.takes, self.predicts][None]

        hooks = list(hooks)
        if self._narrows:
            hooks.append((HOOK_UNEMBED, take))
        with hooked(self.model, hooks):
            logits = self.model(self.tokens, **options)
        return (logits.squeeze(0) if self._narrows else logits[self.takes, self.predicts]).float()

    def log_prob(self, logits: Float[Tensor, "token vocab"]) -> Float[Tensor, " prompt"]:
        """The log-probability (nats) of each whole answer."""
        return self.summed(token_log_prob(logits[: len(self.row)], self.answer))

    def summed(self, values: Float[Tensor, " token"]) -> Float[Tensor, " prompt"]:
        """The sum over the tokens of each answer."""
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
    """The prompts that can be edited at a position: all, or those that name their subject."""
    return [p for p in prompts if position == "answer" or p.subject_span is not None]


def _as_if_changed(layer: int, change: Float[Tensor, "neuron d_model"]) -> Hooks:
    """Hooks under which a layer writes as if its down projection were changed."""
    neurons: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> None:
        neurons[:] = [value]

    def add(value: Tensor, hook: Any) -> Tensor:
        return value + (neurons.pop() @ change).to(value.dtype)

    return [(hook_post(layer), keep), (hook_written(layer), add)]


def _first_only(value: Tensor, hook: Any) -> Tensor:
    """A hook that cuts the un-embedding down to one position: its logits are not needed."""
    return value[:1, :1]


def _close(logits: Tensor, others: Tensor) -> bool:
    """Whether two forward passes give the same logits up to rounding."""
    tolerance = 1e-4 if logits.dtype == torch.float32 else 5e-2
    return bool((logits - others).abs().max() <= tolerance * logits.abs().max().clamp_min(1))

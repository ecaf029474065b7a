"""The forward pass of an edited model over prompts of any length, run many times.

1. Of each prompt only the tokens from the first edited position on are read at every step (see
   `side_by_side`), with values added to the neurons at the edited positions.
2. Prompts of similar length are side by side, so that little padding is read.

Gradients flow to the added values. Some architectures read prefixes of different lengths in another
way; a trial run of a few prompts finds out. For them whole prompts are read, padded at their end,
where a causal model does not look.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.side_by_side import Reread, SideBySide, grouped
from lafn_viz.models.capabilities import Unembedding, capabilities, require_causal
from lafn_viz.models.hooks import Hooks, hook_post, hook_written
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

PASS = 100.0  # what a pass costs beside its tokens, in tokens
N_TRIED = 4  # prompts on which it is tried whether prefixes may be read apart

# By layer: values to add to its neurons, the same for all prompts or a row for each.
Added = Mapping[int, Float[Tensor, " neuron"] | Float[Tensor, "prompt neuron"]]
# By layer: what to add to its down projection.
WeightChanges = Mapping[int, Float[Tensor, "neuron d_model"]]


class EditedForward:
    """Prompts with their answers, to be read with values added to neurons.

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
        encoded = [encode(model, prompt) for prompt in prompts]
        counts = torch.tensor([len(item.answer) for item in encoded])
        self.row = torch.arange(len(encoded)).repeat_interleave(counts).to(self.device)
        self.answer = torch.tensor([t for x in encoded for t in x.answer], device=self.device)
        self.after = tuple(after)
        self.takes = torch.cat([self.row, self.row.new_tensor(self.after)])
        rereads = [self._reread(i, item) for i, item in enumerate(encoded)]
        if whole or not _can_keep_prefixes(model, rereads):
            rereads = [replace(item, start=0) for item in rereads]
        self.parts = self._parts(rereads)

    def _reread(self, number: int, item: Encoded) -> Reread:
        """What is read of a prompt: its answer's last token too, where what follows matters."""
        tokens = item.read if number not in self.after else (*item.read, item.answer[-1])
        predicts = tuple(range(item.predicts, item.predicts + len(item.answer)))
        if number in self.after:
            predicts = (*predicts, len(tokens) - 1)
        first = item.predicts if self.position == "answer" else item.subject_last
        stop = first + 1 if self.once else len(tokens)
        return Reread(tokens, first, (first, stop), predicts)

    def _parts(self, rereads: Sequence[Reread]) -> list["_Part"]:
        """The prompts in groups of similar length."""
        tokens_of: list[list[int]] = [[] for _ in rereads]
        for token, number in enumerate(self.takes.tolist()):
            tokens_of[number].append(token)
        return [
            _Part(
                SideBySide(self.model, [rereads[i] for i in group]),
                self.row.new_tensor(group),
                self.row.new_tensor([token for i in group for token in tokens_of[i]]),
            )
            for group in grouped([item.width for item in rereads], PASS)
        ]

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
        output = self.output(added, site=site, changed=changed)
        return output.float() if self.unembedding is None else self.unembedding.logits(output)

    @property
    def unembedding(self) -> Unembedding | None:
        """The un-embedding; None where it is more than a matrix, a bias and a cap."""
        return capabilities(self.model).unembedding

    def output(
        self,
        added: Added,
        *,
        site: Callable[[int], str] = hook_post,
        changed: WeightChanges | None = None,
    ) -> Float[Tensor, "token width"]:
        """Run the edited model: what the un-embedding reads where `logits` has a row.

        Where the un-embedding is more than a matrix, a bias and a cap, these are the logits.
        """

        def hooks(part: _Part) -> Hooks:
            of_layers: Hooks = [(site(layer), _adds(part, more)) for layer, more in added.items()]
            for layer, change in (changed or {}).items():
                of_layers += _as_if_changed(layer, change)
            return of_layers

        return self._run(hooks)

    def seen(self, names: Iterable[str]) -> dict[str, Float[Tensor, "prompt width"]]:
        """The values of these hooks at the first edited position of each prompt, in float32."""
        values: dict[str, list[Tensor]] = {name: [] for name in names}

        def hooks(part: _Part) -> Hooks:
            first = part.batch.acted[..., 0].int().argmax(1)

            def keeps(name: str) -> Any:
                def keep(value: Tensor, hook: Any) -> None:
                    values[name].append(value[torch.arange(len(first)), first].float())

                return keep

            return [(name, keeps(name)) for name in values]

        with torch.no_grad():
            self._run(hooks)
        order = torch.cat([part.prompts for part in self.parts]).argsort()
        return {name: torch.cat(of_parts)[order] for name, of_parts in values.items()}

    def _run(self, hooks: Callable[["_Part"], Hooks]) -> Float[Tensor, "token width"]:
        """Read all prompts, each part with its own hooks."""
        read = torch.cat([part.batch.run(hooks(part)) for part in self.parts])
        return read[torch.cat([part.tokens for part in self.parts]).argsort()]

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


class _Part(NamedTuple):
    """Some prompts side by side, with their numbers and those of the tokens that they predict."""

    batch: SideBySide
    prompts: Int[Tensor, " prompt"]
    tokens: Int[Tensor, " token"]


def _adds(part: _Part, more: Tensor) -> Any:
    """A hook that adds values at the edited positions, the same for all prompts or a row each."""
    at_each_position = more[part.prompts, None] if more.ndim == 2 else more

    def add(value: Tensor, hook: Any) -> Tensor:
        return value + torch.where(part.batch.acted, at_each_position, 0).to(value.dtype)

    return add


def _can_keep_prefixes(model: "TransformerBridge", rereads: Sequence[Reread]) -> bool:
    """Whether what stands before the first edited positions may be read apart."""
    caps = capabilities(model)
    longest = max(len(item.tokens) for item in rereads)
    # Models that build their own mask (BLOOM, OPT, XGLM) take none of ours, nor do those whose
    # attention slides over a window.
    if not caps.supports_growing_batch or (caps.window is not None and longest >= caps.window):
        return False
    by_start = sorted(rereads, key=lambda item: item.start)
    tried = [by_start[i * (len(by_start) - 1) // (N_TRIED - 1)] for i in range(N_TRIED)]
    with torch.no_grad():
        apart = SideBySide(model, tried).run([])
        whole = SideBySide(model, [replace(item, start=0) for item in tried]).run([])
    return _close(whole, apart)


def _close(output: Tensor, other: Tensor) -> bool:
    """Whether two forward passes give the same up to rounding."""
    tolerance = 1e-4 if output.dtype == torch.float32 else 5e-2
    return bool((output - other).abs().max() <= tolerance * output.abs().max().clamp_min(1))

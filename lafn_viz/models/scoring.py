"""From prompts to the probability, log-probability and rank of their answers.

The target of a prompt is its whole answer, never its first token alone. In a causal model its
probability is the product of the conditional probabilities of its tokens, each given the ones
before it (teacher forcing). A masked model gets one mask for each token of the answer, all at once,
and the probability is the product over the masks.

Everything that scores an answer uses one of two kernels:

1. **From logits**: `token_log_prob`, `token_rank` and `is_likeliest` look at single tokens.
   `answer_log_prob` adds the tokens up where answers lie in a rectangle [row, answer];
   `sum_by_row` and `all_by_row` do so where answers of different lengths lie one after the other.
2. **From the input of the un-embedding**: `ChunkedAnswerLogProb` makes the logits of a few rows at
   a time and keeps the log-probabilities and their gradient, so that all logits of all rows never
   exist at once.

An answer is *known* where greedy decoding writes it: no token is likelier than any of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.core.arguments import takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt, prompt_columns
from lafn_viz.models.batching import Padded, batches_of
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import Unembedding, capabilities, provenance
from lafn_viz.models.generate_calls import prompts_given
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hooked, no_logits
from lafn_viz.models.shared_beginnings import answer_logits, can_share
from lafn_viz.models.tokens import Encoded, encode_all

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

LOGITS_AT_ONCE = 2**22  # logits in one chunk
ROWS_AT_ONCE = 64  # rows in one chunk at least, enough for a full matrix product


def token_log_prob(
    logits: Float[Tensor, "*token vocab"], tokens: Int[Tensor, "*token"]
) -> Float[Tensor, "*token"]:
    """Log-probability (nats) of each token, from the logits that predict it."""
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)


def token_rank(
    logits: Float[Tensor, "*token vocab"], tokens: Int[Tensor, "*token"]
) -> Int[Tensor, "*token"]:
    """How many tokens of the vocabulary are likelier than each token."""
    return (logits > logits.gather(-1, tokens[..., None])).sum(-1)


def is_likeliest(
    logits: Float[Tensor, "*token vocab"], tokens: Int[Tensor, "*token"]
) -> Bool[Tensor, "*token"]:
    """Whether no token of the vocabulary is likelier than each token (rank 0)."""
    return logits.gather(-1, tokens[..., None])[..., 0] == logits.amax(-1)


def answer_log_prob(
    logits: Float[Tensor, "row answer vocab"], answers: Int[Tensor, "row answer"]
) -> Float[Tensor, " row"]:
    """Log-probability (nats) of each row's whole answer, from the logits that predict it."""
    return token_log_prob(logits, answers).sum(-1)


def sum_by_row(
    values: Float[Tensor, " token"], row: Int[Tensor, " token"], n_rows: int
) -> Float[Tensor, " row"]:
    """Sum of the values of each row's tokens."""
    return values.new_zeros(n_rows).index_add(0, row, values)


def all_by_row(
    flags: Bool[Tensor, " token"], row: Int[Tensor, " token"], n_rows: int
) -> Bool[Tensor, " row"]:
    """Whether the flag of every token of a row is set."""
    missed = torch.zeros(n_rows, dtype=torch.long, device=flags.device)
    return missed.index_add(0, row, (~flags).long()) == 0


class ChunkedAnswerLogProb(torch.autograd.Function):
    """Log-probability of each row's answer, and whether it is known, a few rows at a time.

    The logits of all rows together would take most of the memory and, in the forward and the
    backward pass, most of the time. Here the logits of each chunk give the log-probability and at
    once its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Float[Tensor, "row answer d_model"],
        answers: Int[Tensor, "row answer"],
        unembedding: Unembedding,
    ) -> tuple[Float[Tensor, " row"], Bool[Tensor, " row"]]:
        """Return log-probability (nats) and known; keep the gradient where one is wanted."""
        flat, tokens = hidden.flatten(0, 1), answers.flatten()
        log_prob = torch.empty(len(flat), device=flat.device)
        likeliest = torch.empty(len(flat), dtype=torch.bool, device=flat.device)
        gradient = torch.empty_like(flat) if hidden.requires_grad else None
        size = max(ROWS_AT_ONCE, LOGITS_AT_ONCE // len(unembedding.weight))
        for start in range(0, len(flat), size):
            part = slice(start, start + size)
            logits, token = unembedding.logits(flat[part]), tokens[part, None]
            chosen, top = logits.gather(1, token), logits.amax(1, keepdim=True)
            cap_slope = None
            if gradient is not None and unembedding.cap is not None:
                cap_slope = 1 - (logits / unembedding.cap) ** 2
            # One exponential serves the sum and the gradient. It is taken in place: fresh memory of
            # this size is slow.
            exponential = logits.sub_(top).exp_()
            total = exponential.sum(1, keepdim=True)
            log_prob[part] = (chosen - top - total.log())[:, 0]
            likeliest[part] = (chosen == top)[:, 0]
            if gradient is not None:
                # d log_prob / d logits = 1 at the answer's token, minus the softmax.
                back = exponential.div_(-total).scatter_add_(1, token, torch.ones_like(chosen))
                back = back if cap_slope is None else back.mul_(cap_slope)
                gradient[part] = back.to(flat.dtype) @ unembedding.weight
        if gradient is not None:
            ctx.save_for_backward(gradient.view_as(hidden))
        known = likeliest.view_as(answers).all(-1)
        ctx.mark_non_differentiable(known)
        return log_prob.view_as(answers).sum(-1), known

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Scale the gradient that `forward` kept."""
        (saved,) = ctx.saved_tensors
        return (saved * gradients[0][:, None, None]).to(saved.dtype), None, None


@dataclass(frozen=True)
class AnswerScores:
    """How well a model knows the answers of some prompts.

    `log_prob` in nats, of the whole answer; `rank` of its worst token (0: every token is the most
    likely one, so greedy decoding writes the answer).
    """

    log_prob: Float[Tensor, " prompt"]
    rank: Int[Tensor, " prompt"]
    prompts: tuple[Prompt, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        share = self.known.float().mean().item()
        return (
            f"AnswerScores({len(self.prompts)} prompts, {share:.1%} known, {self.provenance.model})"
        )

    @property
    def probability(self) -> Float[Tensor, " prompt"]:
        """Probability of each whole answer."""
        return self.log_prob.exp()

    @property
    def known(self) -> Bool[Tensor, " prompt"]:
        """Whether greedy decoding writes the answer; never where its probability is no number."""
        return (self.rank == 0) & ~self.log_prob.isnan()

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt: its keys, log_prob (nats), probability, rank, known."""
        import pandas as pd

        return pd.DataFrame(
            {
                **prompt_columns(self.prompts),
                "log_prob": self.log_prob.numpy(),
                "probability": self.probability.numpy(),
                "rank": self.rank.numpy(),
                "known": self.known.numpy(),
            }
        )


@reads_model
@takes(max_prompts=whole(1))
def score_answers(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    max_prompts: int = 256,
) -> AnswerScores:
    """Score each prompt's answer, at most `max_prompts` in one batch (this bounds the memory).

    On large models, and where examples stand before the prompts, what prompts have in common before
    their subject is read once (see `shared_beginnings`).

    Raises:
        ValueError: for a prompt whose answer has a probability that is not a number.
    """
    prompts = as_prompts(prompts)
    encoded = encode_all(model, prompts)
    score = _behind_beginnings if can_share(model, encoded) else _whole
    log_prob, rank = score(model, encoded, max_prompts)
    require_numbers(log_prob, prompts)
    return AnswerScores(
        log_prob=log_prob,
        rank=rank,
        prompts=tuple(prompts),
        provenance=provenance(model, "score_answers"),
    )


def _behind_beginnings(
    model: "TransformerBridge", encoded: Sequence[Encoded], max_prompts: int
) -> tuple[Float[Tensor, " prompt"], Int[Tensor, " prompt"]]:
    """Log-probability (nats) and rank of answers, of prompts that share their beginnings."""
    log_prob = torch.zeros(len(encoded))
    rank = torch.zeros(len(encoded), dtype=torch.long)
    for numbers, tokens, logits in answer_logits(model, encoded, max_rows=max_prompts):
        numbers = numbers.cpu()
        log_prob.index_add_(0, numbers, token_log_prob(logits, tokens).cpu())
        rank.scatter_reduce_(0, numbers, token_rank(logits, tokens).cpu(), "amax")
    return log_prob, rank


def _whole(
    model: "TransformerBridge", encoded: Sequence[Encoded], max_prompts: int
) -> tuple[Float[Tensor, " prompt"], Int[Tensor, " prompt"]]:
    """Log-probability (nats) and rank of answers, of prompts that are read from end to end."""
    log_prob = torch.empty(len(encoded))
    rank = torch.empty(len(encoded), dtype=torch.long)
    caps = capabilities(model)
    keeps = caps.supports_logits_to_keep and not caps.masked
    # The last positions are a view, which torch would multiply prompt by prompt.
    hooks: Hooks = [(HOOK_UNEMBED, _contiguous)] if caps.unembedding is not None else []
    with torch.no_grad():
        for batch in batches_of(model, encoded, max_prompts=max_prompts):
            keep = {"logits_to_keep": batch.answers.shape[1]} if keeps else {}
            # Prompts that differ only in the answer's last token, or behind a mask, run once.
            tokens, row = batch.tokens.unique(dim=0, return_inverse=True)
            n_prompt = tokens.shape[1] if caps.masked else batch.predicts + 1
            with hooked(model, hooks), prompts_given(model, tokens[:, :n_prompt]):
                logits = model(tokens, **keep)
            logits = (logits if keeps else logits[:, batch.predicted]).float()[row]
            log_prob[batch.index] = answer_log_prob(logits, batch.answers).cpu()
            rank[batch.index] = token_rank(logits, batch.answers).max(-1).values.cpu()
    return log_prob, rank


def require_numbers(log_prob: Float[Tensor, "*rows prompt"], prompts: Sequence[Prompt]) -> None:
    """Raise ValueError for a log-probability that is not a number, naming the first such prompt."""
    bad = log_prob.isnan().nonzero()[:, -1].unique().tolist()
    if bad:
        raise ValueError(
            f"the answers of {len(bad)} of {len(prompts)} prompts have a probability that is not a "
            f"number, the first is that of {quoted(prompts[bad[0]].text)}; load the model in "
            'dtype="float32", and look for weights that are not finite'
        )


def log_prob_of(
    model: "TransformerBridge", batch: Padded, hooks: Hooks
) -> Float[Tensor, " prompt"]:
    """Log-probability (nats) of each row's whole answer under some hooks; without a gradient."""
    unembedding = capabilities(model).unembedding
    hidden: list[Tensor] = []

    def take(value: Tensor, hook: Any) -> Tensor:
        hidden.append(value[batch.row, batch.at])
        return no_logits(value)

    last: Hooks = [] if unembedding is None else [(HOOK_UNEMBED, take)]
    with torch.no_grad(), hooked(model, [*hooks, *last]):
        logits = model(batch.tokens, attention_mask=batch.mask)
    # Logits in chunks as above, but plainly: hooks may carry a tangent (forward mode) along.
    chunks = []
    for part in torch.arange(len(batch.row)).split(max(1, LOGITS_AT_ONCE // logits.shape[-1])):
        if unembedding is None:
            predicting = logits[batch.row[part], batch.at[part]].float()
        else:
            predicting = unembedding.logits(hidden[0][part])
        chunks.append(token_log_prob(predicting, batch.answers[part]))
    return sum_by_row(torch.cat(chunks), batch.row, len(batch.tokens))


def _contiguous(value: Tensor, hook: Any) -> Tensor:
    return value.contiguous()

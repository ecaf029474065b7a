"""From prompts to the probability, log-probability and rank of their answers.

The target of a prompt is its whole answer, never its first token alone. In a causal model: the
product of the conditional probabilities of its tokens, each with the ones before it given (teacher
forcing). A masked model gets one mask for each token of the answer, all at once, and the target is
the product of the probabilities at the masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.facts import Prompt, prompt_columns
from lafn_viz.models.batching import LOGITS, Padded, batches
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


def _contiguous(value: Tensor, hook: Any) -> Tensor:
    return value.contiguous()


def answer_log_prob(
    logits: Float[Tensor, "row answer vocab"], answers: Int[Tensor, "row answer"]
) -> Float[Tensor, " row"]:
    """Log-probability (nats) of the whole answer, from the logits that are about its tokens."""
    chosen = logits.gather(-1, answers[..., None])[..., 0]
    return (chosen - logits.logsumexp(-1)).sum(-1)


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
        """Whether greedy decoding writes the answer."""
        return self.rank == 0

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


def score_answers(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    max_prompts: int = 256,
) -> AnswerScores:
    """Score the answer of each prompt, `max_prompts` in one batch, which bounds the memory."""
    log_prob = torch.empty(len(prompts))
    rank = torch.empty(len(prompts), dtype=torch.long)
    found = capabilities(model)
    keeps = found.supports_logits_to_keep and not found.masked
    # The last positions as they come are a view, of which torch makes a product for each prompt.
    whole: Hooks = [(HOOK_UNEMBED, _contiguous)] if found.unembedding is not None else []
    with torch.no_grad():
        for batch in batches(model, prompts, max_prompts=max_prompts):
            keep = {"logits_to_keep": batch.answers.shape[1]} if keeps else {}
            # Prompts that differ in the answer's last token alone, or in what masks hide, are read
            # once.
            tokens, row = batch.tokens.unique(dim=0, return_inverse=True)
            with model.hooks(fwd_hooks=whole):
                logits = model(tokens, **keep)
            logits = (logits if keeps else logits[:, batch.predicted]).float()[row]
            chosen = logits.gather(-1, batch.answers[..., None])
            log_prob[batch.index] = answer_log_prob(logits, batch.answers).cpu()
            rank[batch.index] = (logits > chosen).sum(-1).max(-1).values.cpu()
    return AnswerScores(
        log_prob=log_prob,
        rank=rank,
        prompts=tuple(prompts),
        provenance=provenance(model, "score_answers"),
    )


def log_prob_of(
    model: "TransformerBridge", batch: Padded, hooks: Hooks
) -> Float[Tensor, " prompt"]:
    """Log-probability (nats) of each row's whole answer, under some hooks; no gradient."""
    head = capabilities(model).unembedding
    seen: list[Tensor] = []

    def take(value: Tensor, hook: Any) -> Tensor:
        seen.append(value[batch.row, batch.at])
        return value[:1, :1]

    more: Hooks = [] if head is None else [(HOOK_UNEMBED, take)]
    with torch.no_grad(), model.hooks(fwd_hooks=[*hooks, *more]):
        logits = model(batch.tokens, attention_mask=batch.mask)
    log_prob = torch.zeros(len(batch.tokens), device=batch.row.device)
    vocabulary = logits.shape[-1]
    for part in torch.arange(len(batch.row)).split(max(1, LOGITS // vocabulary)):
        if head is None:
            some = logits[batch.row[part], batch.at[part]].float()
        else:
            some = head.logits(seen[0][part])
        chosen = some.gather(-1, batch.answers[part, None])[:, 0] - some.logsumexp(-1)
        log_prob.index_add_(0, batch.row[part], chosen)
    return log_prob

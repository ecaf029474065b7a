"""From prompts to the probability, log-probability and rank of their answers.

The target of a prompt is its whole answer: the product of the conditional probabilities of its
tokens, each with the ones before it given (teacher forcing). Never the first token alone.

A prompt's tokens are what the model's tokenizer makes of its text, after a BOS where
`model.cfg.default_prepend_bos` says so; the answer's tokens are what follows when text and answer
are read together, so that both stand as the model would meet them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.facts import Prompt
from lafn_viz.models import Provenance, provenance, traits

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Position = Literal["answer", "subject_last", "all"]
POSITIONS: tuple[Position, ...] = ("answer", "subject_last", "all")
Hooks = list[tuple[str, Callable[..., Any]]]


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens. `subject_last` is the position of the subject's last token."""

    tokens: tuple[int, ...]
    answer: tuple[int, ...]
    subject_last: int


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length, without padding.

    `tokens` holds each prompt and its answer but for the last token, which is only predicted.
    `where` marks the positions a method acts on (see `Position`).
    """

    index: Int[Tensor, " prompt"]
    tokens: Int[Tensor, "prompt pos"]
    answers: Int[Tensor, "prompt answer"]
    where: Bool[Tensor, "prompt pos"]


def encode(model: "TransformerBridge", prompt: Prompt) -> Encoded:
    """Tokens of a prompt and its answer.

    Raises:
        ValueError: if the answer or the subject has no token.
    """
    tokenizer = model.tokenizer

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    tokens, both = ids(prompt.text), ids(prompt.text + prompt.continuation)
    answer = both[len(tokens) :] if both[: len(tokens)] == tokens else ids(prompt.continuation)
    if not answer or not tokens:
        raise ValueError(
            f"the answer {prompt.answer!r} of prompt {prompt.text!r} has no tokens in this model's "
            "vocabulary; give an answer of at least one token"
        )
    start, end = prompt.subject_span
    read = tokenizer(prompt.text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = read["offset_mapping"]
    inside = [at for at, (left, right) in enumerate(offsets) if left < end and right > start]
    if not inside:
        raise ValueError(
            f"the subject {prompt.subject!r} of prompt {prompt.text!r} has no tokens of its own; "
            "check its span"
        )
    bos = [tokenizer.bos_token_id] if model.cfg.default_prepend_bos else []
    return Encoded(tuple(bos + tokens), tuple(answer), len(bos) + inside[-1])


def batches(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_prompts: int = 256,
) -> Iterator[Batch]:
    """Group prompts of equal length (and equal first position acted on), unpadded."""
    if position not in POSITIONS:
        raise ValueError(f"unknown position {position!r}; there are {', '.join(POSITIONS)}")
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    groups: dict[tuple[int, int, int], list[tuple[int, Encoded]]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        item = encode(model, prompt)
        first = {"all": 0, "answer": len(item.tokens) - 1, "subject_last": item.subject_last}
        groups[len(item.tokens), len(item.answer), first[position]].append((number, item))
    device = next(model.original_model.parameters()).device
    for (length, n_answer, first_position), items in groups.items():
        for start in range(0, len(items), max_prompts):
            part = items[start : start + max_prompts]
            where = torch.zeros(len(part), length + n_answer - 1, dtype=torch.bool)
            last = length if position == "all" else first_position + 1
            where[:, first_position:last] = True
            yield Batch(
                index=torch.tensor([number for number, _ in part]),
                tokens=torch.tensor([[*x.tokens, *x.answer[:-1]] for _, x in part], device=device),
                answers=torch.tensor([x.answer for _, x in part], device=device),
                where=where.to(device),
            )


def answer_log_prob(
    logits: Float[Tensor, "row pos vocab"], answers: Int[Tensor, "row answer"]
) -> Float[Tensor, " row"]:
    """Log-probability (nats) of the whole answer, from the logits of a batch's last positions."""
    last = logits[:, -answers.shape[1] :].float()
    chosen = last.gather(-1, answers[..., None])[..., 0]
    return (chosen - last.logsumexp(-1)).sum(-1)


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


def prompt_columns(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """The columns that name a prompt in every tidy frame."""
    names = ("fact_id", "relation", "language", "paraphrase", "split", "text", "answer")
    return {name: [getattr(prompt, name) for prompt in prompts] for name in names}


def score_answers(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    hooks: Callable[[Batch], Hooks] | None = None,
    max_prompts: int = 256,
) -> AnswerScores:
    """Score the answer of each prompt, optionally with the model changed by hooks.

    Args:
        position: what `Batch.where` marks for the hooks.
        hooks: called for each batch; returns TransformerLens forward hooks to run it with.
        max_prompts: prompts in one batch, which bounds the memory.
    """
    log_prob = torch.empty(len(prompts))
    rank = torch.empty(len(prompts), dtype=torch.long)
    with torch.no_grad():
        for batch in batches(model, prompts, position=position, max_prompts=max_prompts):
            n_answer = batch.answers.shape[1]
            keep = {"logits_to_keep": n_answer} if traits(model).keeps else {}
            with model.hooks(fwd_hooks=hooks(batch) if hooks else []):
                logits = model(batch.tokens, **keep)[:, -n_answer:].float()
            chosen = logits.gather(-1, batch.answers[..., None])
            log_prob[batch.index] = answer_log_prob(logits, batch.answers).cpu()
            rank[batch.index] = (logits > chosen).sum(-1).max(-1).values.cpu()
    return AnswerScores(
        log_prob=log_prob,
        rank=rank,
        prompts=tuple(prompts),
        provenance=provenance(model, "score_answers", position=position),
    )

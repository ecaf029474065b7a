"""From prompts to the probability, log-probability and rank of their answers.

The target of a prompt is its whole answer, never its first token alone. In a causal model: the
product of the conditional probabilities of its tokens, each with the ones before it given (teacher
forcing). A masked model gets one mask for each token of the answer, all at once, and the target is
the product of the probabilities at the masks.

A prompt's tokens are what the model's tokenizer makes of its text, between the special tokens that
the model's own tokenizer puts around a text; the answer's tokens are what follows when text and
answer are read together, so that both stand as the model would meet them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.loading import HOOK_HEAD, Provenance, context_length, provenance, traits

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

Position = Literal["answer", "subject_last", "all"]
POSITIONS: tuple[Position, ...] = ("answer", "subject_last", "all")
Hooks = list[tuple[str, Callable[..., Any]]]


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens.

    `read` is what the model reads: the prompt with all of its answer but the last token (causal),
    or with masks in its place (masked). The logits at `predicts` and the positions after it are
    about `answer`. `text` is where the prompt's own tokens stand (start, stop), `subject` where
    those of its subject do, or None where the prompt does not name it.
    """

    read: tuple[int, ...]
    answer: tuple[int, ...]
    predicts: int
    text: tuple[int, int]
    subject: tuple[int, int] | None

    @property
    def subject_last(self) -> int:
        """The position of the subject's last token. Raises ValueError if it is not named."""
        if self.subject is None:
            raise ValueError(
                "a prompt does not name its subject literally (its subject_span is None), so there "
                "is no position 'subject_last' in it; leave it out, or act on another position"
            )
        return self.subject[1] - 1

    def acted_on(self, position: Position, *, masked: bool) -> slice:
        """The positions a method acts on (see `Position`).

        Raises:
            ValueError: if it is to act on a subject that the prompt does not name.
        """
        if position == "all":
            # What a causal model reads of the answer is not part of the prompt.
            return slice(0, len(self.read) if masked else self.predicts + 1)
        at = self.predicts if position == "answer" else self.subject_last
        return slice(at, at + 1)


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length, without padding: their `Encoded` fields side by side.

    `at` is the run of positions acted on, the same in every row.
    """

    index: Int[Tensor, " prompt"]
    tokens: Int[Tensor, "prompt pos"]
    answers: Int[Tensor, "prompt answer"]
    predicts: int
    text: tuple[int, int]
    at: slice

    @property
    def predicted(self) -> slice:
        """The positions whose logits are about the answer."""
        return slice(self.predicts, self.predicts + self.answers.shape[1])


def encode(model: "TransformerBridge", prompt: Prompt) -> Encoded:
    """Tokens of a prompt and its answer.

    Raises:
        ValueError: if the answer or the subject has no token, or the prompt has more than the model
            reads.
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
    found = traits(model)
    before = len(found.before)
    stop = before + len(tokens)
    subject = None
    if prompt.subject_span is not None:
        start, end = prompt.subject_span
        pieces = tokenizer(prompt.text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = pieces["offset_mapping"]
        inside = [at for at, (left, right) in enumerate(offsets) if left < end and right > start]
        if not inside:
            raise ValueError(
                f"the subject {prompt.subject!r} of prompt {prompt.text!r} has no tokens of its "
                "own; check its span"
            )
        subject = before + inside[0], before + inside[-1] + 1
    if found.masked:
        assert found.mask is not None
        rest, predicts = [found.mask] * len(answer) + list(found.after), stop
    else:
        rest, predicts = answer[:-1], stop - 1
    read = (*found.before, *tokens, *rest)
    limit = context_length(model)
    if limit is not None and len(read) > limit:
        raise ValueError(
            f"the prompt {prompt.text[:60]!r}... has {len(read)} tokens with its answer, but this "
            f"model reads at most {limit}; leave it out, or take a model of a longer context"
        )
    return Encoded(
        read=read,
        answer=tuple(answer),
        predicts=predicts,
        text=(before, stop),
        subject=subject,
    )


def token_text(model: "TransformerBridge", token: int) -> str:
    """What one token stands for, with its space: " Rome".

    Bytes that are no whole character on their own are written as \\xe6\\x97; a piece that goes on
    with a word keeps what its tokenizer marks that by ("##ing").
    """
    tokenizer = model.tokenizer
    text: str = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    piece = tokenizer.convert_ids_to_tokens(token) or ""
    if "\ufffd" in text:
        known = _bytes_of_characters()
        if set(piece) <= known.keys():
            raw = bytes(known[character] for character in piece)
            return raw.decode("utf-8", errors="backslashreplace")
        return piece or text
    return " " + text if piece.startswith("▁") and not text.startswith(" ") else text


@cache
def _bytes_of_characters() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (as in GPT-2).

    Bytes that print stand for themselves; the others take the characters from 256 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    shown = {chr(byte): byte for byte in plain}
    return shown | {chr(256 + place): byte for place, byte in enumerate(rest)}


def batches(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_prompts: int = 256,
) -> Iterator[Batch]:
    """Group prompts of equal length (and equal positions acted on), unpadded."""
    if position not in POSITIONS:
        raise ValueError(f"unknown position {position!r}; there are {', '.join(POSITIONS)}")
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    masked = traits(model).masked
    groups: dict[tuple[int, int, int], list[tuple[int, Encoded]]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        item = encode(model, prompt)
        first = item.acted_on(position, masked=masked).start
        groups[len(item.read), len(item.answer), first].append((number, item))
    device = next(model.original_model.parameters()).device
    for items in groups.values():
        for start in range(0, len(items), max_prompts):
            part = items[start : start + max_prompts]
            some = part[0][1]
            yield Batch(
                index=torch.tensor([number for number, _ in part]),
                tokens=torch.tensor([x.read for _, x in part], device=device),
                answers=torch.tensor([x.answer for _, x in part], device=device),
                predicts=some.predicts,
                text=some.text,
                at=some.acted_on(position, masked=masked),
            )


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


def prompt_columns(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """The columns that name a prompt in every tidy frame."""
    names = ("fact_id", "relation", "language", "paraphrase", "split", "text", "answer")
    return {name: [getattr(prompt, name) for prompt in prompts] for name in names}


def score_answers(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    max_prompts: int = 256,
) -> AnswerScores:
    """Score the answer of each prompt, `max_prompts` in one batch, which bounds the memory."""
    log_prob = torch.empty(len(prompts))
    rank = torch.empty(len(prompts), dtype=torch.long)
    keeps = traits(model).keeps and not traits(model).masked
    # The last positions as they come are a view, of which torch makes a product for each prompt.
    whole: Hooks = [(HOOK_HEAD, _contiguous)] if traits(model).head is not None else []
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

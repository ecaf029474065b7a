"""From a prompt to the tokens that a model reads, and the positions that matter in them.

1. The prompt's tokens are what the model's tokenizer makes of its text, after the special tokens
   that this tokenizer puts before every text (`tokenizing.tokenize`).
2. The answer's tokens are what follows the prompt's tokens when prompt and answer are tokenised
   together, as the model would meet them in a text. Where a token would reach from the prompt into
   the answer, the model has read the prompt to its end, so the answer begins with a token of its
   own; it begins as it does inside a text, without the space that many tokenizers put before a
   text.
3. A causal model reads the prompt and all of the answer but its last token. A masked model reads
   the prompt and one mask for each token of the answer.
4. A subject has all tokens that share a character with it, so its last token is the one that
   completes it (`TextTokens.covering`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.capabilities import capabilities, context_length
from lafn_viz.models.tokenizing import decode, tokenize
from lafn_viz.models.vocabulary import check_words, unknown_words_told

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Where a method acts: the position that predicts the answer's first token, the last token of the
# subject, every position from the subject's first token on, or every position of the prompt.
Position = Literal["answer", "subject_last", "from_subject", "all"]
POSITIONS: tuple[Position, ...] = ("answer", "subject_last", "from_subject", "all")


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens.

    `read` is what the model reads: the prompt with all of its answer but the last token (causal),
    or with masks in its place (masked). The logits at `predicts` and the following positions
    predict the tokens of `answer`. `text` is the range (start, stop) of the prompt's own tokens;
    `subject` is that of its subject's tokens, or None where the prompt does not name its subject.
    """

    read: tuple[int, ...]
    answer: tuple[int, ...]
    predicts: int
    text: tuple[int, int]
    subject: tuple[int, int] | None

    @property
    def subject_last(self) -> int:
        """Position of the subject's last token; ValueError where the prompt does not name it."""
        return self._subject_at("subject_last")[1] - 1

    def _subject_at(self, position: str) -> tuple[int, int]:
        """The range of the subject's tokens, which this position needs."""
        if self.subject is None:
            raise ValueError(
                "a prompt does not name its subject literally (its subject_span is None), so there "
                f"is no position {position!r} in it; leave it out, or act on another position"
            )
        return self.subject

    def acted_on(self, position: Position, *, masked: bool) -> slice:
        """Positions that a method acts on (see `Position`), in a masked or a causal model.

        Raises:
            ValueError: for "subject_last" and "from_subject" where the prompt does not name its
                subject.
        """
        if position in ("all", "from_subject"):
            first = 0 if position == "all" else self._subject_at(position)[0]
            # The part of the answer that a causal model reads does not belong to the prompt.
            return slice(first, len(self.read) if masked else self.predicts + 1)
        at = self.predicts if position == "answer" else self.subject_last
        return slice(at, at + 1)


def encode(model: "TransformerBridge", prompt: Prompt) -> Encoded:
    """Tokens of a prompt and its answer.

    Raises:
        ValueError: if the answer or the subject has no tokens or is unknown (see `check_words`), if
            prompt or answer hold special tokens, or if the prompt has more tokens than the model
            reads.
    """
    caps, text = capabilities(model), tokenize(model, prompt.text)
    pieces = model.tokenizer(
        prompt.text + prompt.continuation, add_special_tokens=False, return_offsets_mapping=True
    )
    answer = _answer_tokens(model.tokenizer, prompt, tuple(pieces["input_ids"]))
    check_words(model, prompt, pieces["input_ids"], pieces["offset_mapping"])
    subject = None if prompt.subject_span is None else text.covering(prompt.subject_span)
    needed = {"text": text.tokens, "answer": answer, "subject": subject or not prompt.subject_span}
    for what, tokens in needed.items():
        if not tokens:
            raise ValueError(
                f"the {what} {getattr(prompt, what)!r} of a prompt has no tokens in this model's "
                "vocabulary; leave the prompt out, or take a model that knows its script"
            )
    _refuse_special_tokens(model.tokenizer, prompt, text.tokens[text.start :], answer)
    stop = len(text.tokens)
    if caps.masked:
        assert caps.mask_token is not None
        rest, predicts = (caps.mask_token,) * len(answer) + caps.special_suffix, stop
    else:
        rest, predicts = answer[:-1], stop - 1
    read = text.tokens + rest
    limit = context_length(model)
    if limit is not None and len(read) > limit:
        raise ValueError(
            f"the prompt {prompt.text[:60]!r}... has {len(read)} tokens with its answer, but this "
            f"model reads at most {limit}; leave it out, or take a model of a longer context"
        )
    return Encoded(
        read=read, answer=answer, predicts=predicts, text=(text.start, stop), subject=subject
    )


def encode_all(model: "TransformerBridge", prompts: Sequence[Prompt]) -> list[Encoded]:
    """Tokens of each prompt and its answer.

    Raises:
        ValueError: for no prompts, or as `encode`.
    """
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    with unknown_words_told():
        return [encode(model, prompt) for prompt in prompts]


# What an answer may follow, to see how its tokens begin inside a text: the end of a line, of a
# sentence, of a word, and of a number.
_BEFORE_AN_ANSWER = ("\n", ".", "。", "a", "1")


def _answer_tokens(tokenizer: Any, prompt: Prompt, whole: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens of the answer after those of the prompt (see the module's text).

    Args:
        whole: the tokens of both together.
    """

    def tokens_of(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    read = tokens_of(prompt.text)
    if whole[: len(read)] == read:
        return whole[len(read) :]
    text, alone = decode(tokenizer, whole), tokens_of(prompt.continuation)
    candidates = [alone]
    for before in _BEFORE_AN_ANSWER:
        start, both = tokens_of(before), tokens_of(before + prompt.continuation)
        if both[: len(start)] == start:
            candidates.append(both[len(start) :])
    return next((c for c in candidates if decode(tokenizer, read + c) == text), alone)


def _refuse_special_tokens(
    tokenizer: Any, prompt: Prompt, own: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    """Refuse text that the tokenizer reads as special tokens, and not as text.

    The turns of a conversation are made of them, so they may stand in a prompt where the tokenizer
    has a template for conversations.
    """
    of_turns = [getattr(tokenizer, f"{name}_token") for name in ("bos", "eos", "cls", "sep")]
    others = [getattr(tokenizer, f"{name}_token") for name in ("unk", "pad", "mask")]
    if getattr(tokenizer, "chat_template", None):
        named = [token for token in others if token not in of_turns]
    else:
        named = of_turns + others
    for what, text, tokens, special in (
        ("prompt", prompt.text, own, named),
        ("answer", prompt.answer, answer, tokenizer.all_special_tokens),
    ):
        for token in special:
            if token and token in text and tokenizer.convert_tokens_to_ids(token) in tokens:
                raise ValueError(
                    f"the {what} {text!r} holds {token!r}, which this model's tokenizer reads as a "
                    "special token and not as text; leave it out (a prompt ends where its answer "
                    "follows, and the mask of a masked model is put there)"
                )

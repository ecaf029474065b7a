"""From a prompt to the tokens that a model reads, and the positions that matter in them.

1. The prompt's tokens are what the model's tokenizer makes of its text, between the special tokens
   that this tokenizer puts around every text.
2. The answer's tokens are what follows the prompt's tokens when prompt and answer are tokenised
   together, as the model would meet them in a text.
3. A causal model reads the prompt and all of the answer but its last token. A masked model reads
   the prompt and one mask for each token of the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.capabilities import capabilities, context_length
from lafn_viz.models.vocabulary import check_words, unknown_words_told

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Where a method acts: the position that predicts the answer's first token, the last token of the
# subject, or every position of the prompt.
Position = Literal["answer", "subject_last", "all"]
POSITIONS: tuple[Position, ...] = ("answer", "subject_last", "all")


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
        if self.subject is None:
            raise ValueError(
                "a prompt does not name its subject literally (its subject_span is None), so there "
                "is no position 'subject_last' in it; leave it out, or act on another position"
            )
        return self.subject[1] - 1

    def acted_on(self, position: Position, *, masked: bool) -> slice:
        """Positions that a method acts on (see `Position`), in a masked or a causal model.

        Raises:
            ValueError: for "subject_last" where the prompt does not name its subject.
        """
        if position == "all":
            # The part of the answer that a causal model reads does not belong to the prompt.
            return slice(0, len(self.read) if masked else self.predicts + 1)
        at = self.predicts if position == "answer" else self.subject_last
        return slice(at, at + 1)


def encode(model: "TransformerBridge", prompt: Prompt) -> Encoded:
    """Tokens of a prompt and its answer.

    Raises:
        ValueError: if the answer or the subject has no tokens or is unknown (see `check_words`), or
            the prompt has more tokens than the model reads.
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
    check_words(model, prompt)
    caps = capabilities(model)
    start = len(caps.special_prefix)
    stop = start + len(tokens)
    if caps.masked:
        assert caps.mask_token is not None
        rest, predicts = [caps.mask_token] * len(answer) + list(caps.special_suffix), stop
    else:
        rest, predicts = answer[:-1], stop - 1
    read = (*caps.special_prefix, *tokens, *rest)
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
        text=(start, stop),
        subject=_subject_tokens(tokenizer, prompt, start),
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


def _subject_tokens(tokenizer: Any, prompt: Prompt, start: int) -> tuple[int, int] | None:
    """Range of the subject's tokens in a prompt whose text begins at position `start`."""
    if prompt.subject_span is None:
        return None
    first, last = prompt.subject_span
    pieces = tokenizer(prompt.text, add_special_tokens=False, return_offsets_mapping=True)
    inside = [
        token
        for token, (begin, end) in enumerate(pieces["offset_mapping"])
        if begin < last and end > first
    ]
    if not inside:
        raise ValueError(
            f"the subject {prompt.subject!r} of prompt {prompt.text!r} has no tokens of its "
            "own; check its span"
        )
    return start + inside[0], start + inside[-1] + 1


def token_text(model: "TransformerBridge", token: int) -> str:
    r"""Text that one token stands for, with its space: " Rome".

    Bytes that are no whole character on their own are written as \xe6\x97. A piece that continues a
    word keeps its tokenizer's mark for that ("##ing").
    """
    tokenizer = model.tokenizer
    text: str = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    piece = tokenizer.convert_ids_to_tokens(token) or ""
    if "\ufffd" in text:
        byte_of = _bytes_of_characters()
        if set(piece) <= byte_of.keys():
            raw = bytes(byte_of[character] for character in piece)
            return raw.decode("utf-8", errors="backslashreplace")
        return piece or text
    return " " + text if piece.startswith("▁") and not text.startswith(" ") else text


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Byte that each character of a byte-level vocabulary stands for (as in GPT-2).

    Printable bytes stand for themselves; the others are written as the characters from 256 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable}
    return byte_of | {chr(256 + place): byte for place, byte in enumerate(others)}

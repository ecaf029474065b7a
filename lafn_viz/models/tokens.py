"""From a prompt to the tokens that a model reads, and the positions that matter in them.

A prompt's tokens are what the model's tokenizer makes of its text, between the special tokens that
this tokenizer puts around a text. The answer's tokens are what follows when text and answer are
tokenised together, so that both stand as the model would meet them.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.capabilities import capabilities, context_length

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


Position = Literal["answer", "subject_last", "all"]


POSITIONS: tuple[Position, ...] = ("answer", "subject_last", "all")


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
    found = capabilities(model)
    before = len(found.special_prefix)
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
        assert found.mask_token is not None
        rest, predicts = [found.mask_token] * len(answer) + list(found.special_suffix), stop
    else:
        rest, predicts = answer[:-1], stop - 1
    read = (*found.special_prefix, *tokens, *rest)
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

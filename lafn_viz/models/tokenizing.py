"""From a text to its tokens and back, with the characters that each token stands for.

All parts of the package find tokens and places here, for scores as for edits, so that they agree
for every kind of tokenizer: characters of several byte tokens, spaces in front of a text,
normalisers that change letters or their number.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from lafn_viz.models.capabilities import capabilities, special_tokens
from lafn_viz.models.plain import PlainModel

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Spans = tuple[tuple[int, int], ...]  # the characters (start, stop) of each token

# How a vocabulary with byte fallback writes one byte of a character that it does not have.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class TextTokens:
    """A text in tokens, as a model reads it.

    `spans` are the characters (start, stop) that each token stands for. Several tokens may share a
    character, each with some of its bytes; special tokens stand for none. `start` is the position
    of the text's first own token, after the special tokens before every text.
    """

    text: str
    tokens: tuple[int, ...]
    spans: Spans
    start: int

    def covering(self, span: tuple[int, int]) -> tuple[int, int] | None:
        """Range (start, stop) of the tokens that share a character with a span; None for none."""
        first, last = span
        inside = [i for i, (begin, end) in enumerate(self.spans) if begin < last and end > first]
        return (inside[0], inside[-1] + 1) if inside else None


def tokenize(
    model: "TransformerBridge | PlainModel", text: str, *, context: str = ""
) -> TextTokens:
    """Tokens of a text after the special tokens that the tokenizer puts before every text.

    A text that already begins with these special tokens, as that of a chat template may, does not
    get them twice.

    Args:
        context: what is read before the text. Its tokens are the same whatever text follows, and
            belong to what is before the text's `start`.
    """
    tokenizer = model.tokenizer
    if isinstance(model, PlainModel):
        prefix, _ = special_tokens(tokenizer)
    else:
        prefix = capabilities(model).special_prefix
    if context:
        tokens, spans = following(tokenizer, _pieces(tokenizer, context)[0], context, text)
        prefix = tokenize(model, context).tokens
        return TextTokens(text, prefix + tokens, ((0, 0),) * len(prefix) + spans, start=len(prefix))
    tokens, spans = _pieces(tokenizer, text)
    if tokens[: len(prefix)] != prefix:
        tokens, spans = prefix + tokens, ((0, 0),) * len(prefix) + spans
    return TextTokens(text, tokens, spans, start=len(prefix))


# What a text may follow, to see how its tokens begin inside a longer text: the end of a line, of a
# sentence, of a word, and of a number.
_BEFORE_A_TEXT = ("\n", ".", "。", "a", "1")


def following(
    tokenizer: Any, read: tuple[int, ...], before: str, text: str
) -> tuple[tuple[int, ...], Spans]:
    """Tokens of a text after the tokens `read` of what stands before it, and their spans in it.

    They are those of both texts together, unless a token reaches from one text into the other. Then
    the text begins with a token of its own, as it does inside a text, without the space that many
    tokenizers put before a text.
    """
    whole, spans = _pieces(tokenizer, before + text, len(before))
    if whole[: len(read)] == read:
        return whole[len(read) :], spans[len(read) :]
    decoded, alone = decode(tokenizer, whole), _pieces(tokenizer, text)
    candidates = [alone]
    for end in _BEFORE_A_TEXT:
        start, (both, places) = _pieces(tokenizer, end)[0], _pieces(tokenizer, end + text, len(end))
        if both[: len(start)] == start:
            candidates.append((both[len(start) :], places[len(start) :]))
    return next((c for c in candidates if decode(tokenizer, read + c[0]) == decoded), alone)


def _pieces(tokenizer: Any, text: str, start: int = 0) -> tuple[tuple[int, ...], Spans]:
    """Tokens of a text as it is, and the characters of each, counted from `start`."""
    pieces = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = ((max(0, i - start), max(0, j - start)) for i, j in pieces["offset_mapping"])
    return tuple(pieces["input_ids"]), tuple(spans)


def detokenize(model: "TransformerBridge | PlainModel", tokens: Sequence[int]) -> TextTokens:
    """Text of tokens that a model reads, without the special tokens before every text.

    Bytes that make no whole character, as where a text breaks off, stand for nothing.
    """
    tokenizer, read = model.tokenizer, tuple(tokens)
    prefix, _ = special_tokens(tokenizer)
    start = len(prefix) if read[: len(prefix)] == prefix else 0
    own = read[start:]
    broken = set(_broken_bytes(tokenizer, own))
    whole = tuple(token for i, token in enumerate(own) if i not in broken)
    text = decode(tokenizer, whole)
    pieces = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if tuple(pieces["input_ids"]) == whole:
        spans: Iterator[tuple[int, int]] = iter(pieces["offset_mapping"])
    else:  # a model may write tokens that the tokenizer would not have split this text into
        spans = _spans_by_decoding(tokenizer, whole, text)
    of_own = ((0, 0) if i in broken else next(spans) for i in range(len(own)))
    return TextTokens(text, read, ((0, 0),) * start + tuple(of_own), start)


def as_read(model: "TransformerBridge | PlainModel", texts: Sequence[str]) -> list[str]:
    """Each text as a model's tokens give it back: without capitals or accents, for some.

    A text with words that the vocabulary does not have stays as it is.
    """
    tokenizer, read = model.tokenizer, []
    for text, tokens in zip(
        texts, tokenizer(list(texts), add_special_tokens=False)["input_ids"], strict=True
    ):
        known = tokens and tokenizer.unk_token_id not in tokens
        read.append(decode(tokenizer, tokens).strip() if known else text)
    return read


def _broken_bytes(tokenizer: Any, tokens: Sequence[int]) -> Iterator[int]:
    """Which tokens are bytes that make no whole character.

    Without this, one of them would make a decoder give up the whole run of bytes that it stands in.
    """
    bytes_of = [_BYTE.fullmatch(piece) for piece in tokenizer.convert_ids_to_tokens(list(tokens))]
    start = 0
    while start < len(tokens):
        run = list(takewhile(bool, bytes_of[start:]))
        raw, place = bytes(int(byte[1], 16) for byte in run if byte), 0
        while place < len(raw):
            try:
                raw[place:].decode()
                break
            except UnicodeDecodeError as error:
                yield from range(start + place + error.start, start + place + error.end)
                place += error.end
        start += len(run) + 1


def _spans_by_decoding(
    tokenizer: Any, tokens: tuple[int, ...], text: str
) -> Iterator[tuple[int, int]]:
    """The characters of each token, by how much of the text the tokens up to it decode to."""
    done = 0
    for count in range(1, len(tokens) + 1):
        decoded = decode(tokenizer, tokens[:count])
        same = takewhile(lambda pair: pair[0] == pair[1], zip(decoded, text, strict=False))
        reached = max(done, sum(1 for _ in same))
        # What goes on differently is a character of which only some bytes are there.
        yield done, min(len(text), reached + (len(decoded) > reached))
        done = reached


def written_text(model: "TransformerBridge", before: Sequence[int], tokens: Sequence[int]) -> str:
    """Text of tokens as it goes on after the tokens `before` it."""
    tokenizer = model.tokenizer
    start, whole = decode(tokenizer, before), decode(tokenizer, (*before, *tokens))
    # A tokenizer may write the first token of a text otherwise than one inside it.
    return whole[len(start) :] if whole.startswith(start) else decode(tokenizer, tokens)


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Text of tokens as they are, special tokens and spaces included."""
    return str(tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))


def token_text(model: "TransformerBridge", token: int) -> str:
    r"""Text that one token stands for, with its space: " Rome".

    Bytes that are no whole character on their own are written as \xe6\x97. A piece that continues a
    word keeps its tokenizer's mark for that ("##ing").
    """
    tokenizer = model.tokenizer
    text = decode(tokenizer, [token])
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

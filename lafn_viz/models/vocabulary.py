"""Words that a model has no token for: refused where they matter, told of where they do not.

A model reads every word that its vocabulary lacks as one and the same unknown token, or not at all,
so that a score says nothing about the word.

1. `check_tokenizer` refuses a tokenizer at loading that has no words, gives no offsets of
   characters, or is another model's.
2. `check_words` looks at each prompt when it is encoded. It refuses an unknown answer, an unknown
   subject, and a word that was added to the tokenizer without giving the model a row for it.
3. Of other unknown words, `unknown_words_told` warns once for all prompts of a call.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from lafn_viz.core.messages import listed, quoted, warn
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.checkpoint import CheckpointError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Span = tuple[int, int]
N_TRIED = 20  # of a tokenizer's words, which it should read

# The words met so far in the outermost call, in order.
_MET: ContextVar[dict[str, None] | None] = ContextVar("unknown words", default=None)


class UnknownWordWarning(UserWarning):
    """Warns of words in a prompt that a model has no token for."""


def check_tokenizer(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer through which the model cannot read texts, with CheckpointError.

    Warns of words that were added to the tokenizer alone.
    """
    kind, rows = type(tokenizer).__name__, _n_rows(model)
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{kind} is written in Python and does not say which characters a token stands for; "
            "save a fast tokenizer (tokenizer.json) in its place"
        )
    vocabulary = tokenizer.get_vocab()
    words = vocabulary.keys() - {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    # Where its files are missing, transformers makes one of special tokens, or of these and "▁".
    if len(words) < 2:
        raise CheckpointError(
            "it has no words, because its files are missing; save the model's own tokenizer "
            "beside it: tokenizer.save_pretrained(FOLDER)"
        )
    # A tokenizer of one script may have no token for "a".
    own = sorted(words, key=len)[-N_TRIED:]
    texts = ["a", *(tokenizer.decode([vocabulary[word]]) for word in own)]
    if not any(tokenizer(text)["input_ids"] for text in texts):
        raise CheckpointError(
            "it makes no tokens of its own words; save the model's own tokenizer beside it: "
            "tokenizer.save_pretrained(FOLDER)"
        )
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"it has {tokenizer.vocab_size} tokens, the model {rows}, so it is another model's"
        )
    added = sorted(word for word, token in vocabulary.items() if token >= rows)
    special = [word for word in added if word in tokenizer.all_special_tokens]
    if special:
        raise CheckpointError(
            f"its special tokens {listed(special)} were added without rows in the model; call "
            "model.resize_token_embeddings(len(tokenizer)), train, and save both again"
        )
    if added:
        warn(
            f"words were added to the tokenizer but not to the model, such as {_named(added[:3])}; "
            "prompts that hold them are refused",
            UnknownWordWarning,
        )


def check_words(
    model: "TransformerBridge", prompt: Prompt, tokens: Sequence[int], spans: list[Span]
) -> None:
    """Refuse a prompt whose answer or subject the model cannot tell from any unknown word.

    Other unknown words are noted for `unknown_words_told`.

    Args:
        tokens: of the prompt's examples, text and answer together.
        spans: the characters that each token stands for.

    Raises:
        ValueError: naming the words.
    """
    tokenizer, text = model.tokenizer, prompt.full_text + prompt.continuation
    if max(tokens, default=0) >= (rows := _n_rows(model.original_model)):
        words = [text[slice(*span)] for token, span in zip(tokens, spans, strict=True)
                 if token >= rows]  # fmt: skip
        raise ValueError(
            f"prompt {quoted(prompt.text)} with the answer {quoted(prompt.answer)} holds "
            f"{_named(words)}, added to the tokenizer but not to the model; leave it out, or "
            "resize the model's embeddings and train them"
        )
    unknown = _dropped(text, spans)
    if (unk := tokenizer.unk_token_id) in tokens:
        # GPT-2's unknown token is its end of text, which may stand in a text as itself.
        literal = tokenizer.unk_token
        unknown += [span for token, span in zip(tokens, spans, strict=True)
                    if token == unk and text[slice(*span)].strip() != literal]  # fmt: skip
    if not unknown:
        return
    seam = len(prompt.full_text)
    if words := [text[max(start, seam) : stop] for start, stop in unknown if stop > seam]:
        raise ValueError(
            f"the answer {quoted(prompt.answer)} of prompt {quoted(prompt.text)} holds "
            f"{_named(words)}, for which this model's vocabulary has no token; its score would be "
            "that of any unknown word, so leave it out or take a model that knows it"
        )
    before = len(prompt.context)
    if prompt.subject_span is not None and _covered(
        text, (before + prompt.subject_span[0], before + prompt.subject_span[1]), unknown
    ):
        raise ValueError(
            f"the subject {quoted(prompt.subject)} of prompt {quoted(prompt.text)} is unknown to "
            "this model's vocabulary: it would be read as any other unknown word, so leave it out "
            "or take a model that knows it"
        )
    with unknown_words_told() as met:
        words = [text[slice(*span)] for span in sorted(unknown)]
        met.update(dict.fromkeys(word.strip() or word for word in words))


@contextmanager
def unknown_words_told() -> Iterator[dict[str, None]]:
    """Warn once of all unknown words that are met inside; of nested blocks the outermost warns."""
    if (outer := _MET.get()) is not None:
        yield outer
        return
    met: dict[str, None] = {}
    token = _MET.set(met)
    try:
        yield met
    finally:
        _MET.reset(token)
    if met:
        warn(
            f"this model's vocabulary has no token for {_named(met)}; in the prompts it reads "
            "each as the same unknown word, or not at all",
            UnknownWordWarning,
        )


def _n_rows(model: Any) -> int:
    """Number of tokens that a model has embeddings for."""
    return len(model.get_input_embeddings().weight)


def _named(words: Any) -> str:
    return listed(quoted(word.strip() or word) for word in dict.fromkeys(words))


def _dropped(text: str, spans: list[Span]) -> list[Span]:
    """Words with characters that no token stands for: some vocabularies leave out what they lack.

    The offsets after such a character are those of the ones before it, up to the end of the word,
    so that the whole word counts.
    """
    places: set[int] = set()
    end = 0
    for start, stop in [*spans, (len(text), len(text))]:
        places.update(range(end, start))
        end = max(end, stop)
    # Tokenizers drop spaces, accents and unseen characters on purpose.
    places = {place for place in places if unicodedata.category(text[place])[0] not in "ZMC"}
    if not places:
        return []
    words = [word.span() for word in re.finditer(r"\S+", text)]
    return [span for span in words if not places.isdisjoint(range(*span))]


def _covered(text: str, span: Span, unknown: list[Span]) -> bool:
    """Whether every letter and digit of a span is unknown."""
    places = {place for start, stop in unknown for place in range(start, stop)}
    return all(i in places for i in range(*span) if text[i].isalnum())

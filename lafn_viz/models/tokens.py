"""From a prompt to the tokens that a model reads, and the positions that matter in them.

1. The prompt's tokens are what the model's tokenizer makes of its text, after the special tokens
   that this tokenizer puts before every text, and after the prompt's examples
   (`tokenizing.tokenize`).
2. The answer's tokens are what follows the prompt's tokens when prompt and answer are tokenised
   together, as the model would meet them in a text. Where a token would reach from the prompt into
   the answer, the model has read the prompt to its end, so the answer begins with a token of its
   own (`tokenizing.following`). The text begins after its examples in the same way.
3. A causal model reads the prompt and all of the answer but its last token. A masked model reads
   the prompt and one mask for each token of the answer.
4. A subject has all tokens that share a character with it, so its last token is the one that
   completes it (`TextTokens.covering`).
5. A prompt's examples are read and nothing else: no position in them is acted on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.capabilities import ModelCapabilities, capabilities, context_length
from lafn_viz.models.tokenizing import following, tokenize
from lafn_viz.models.vocabulary import check_words, unknown_words_told

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Where a method acts: the position that predicts the answer's first token, the last token of the
# subject, every position from the subject's first token on, or every position of the prompt (of the
# question alone, where examples stand before it).
Position = Literal["answer", "subject_last", "from_subject", "all"]
POSITIONS: tuple[Position, ...] = ("answer", "subject_last", "from_subject", "all")


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens.

    `read` is what the model reads: the prompt with all of its answer but the last token (causal),
    or with masks in its place (masked). The logits at `predicts` and the following positions
    predict the tokens of `answer`. `text` is the range (start, stop) of the tokens of the prompt's
    text; `subject` is that of its subject's tokens, or None where the prompt does not name its
    subject. `first` is the first position that a method may act on: 0, special tokens included, or
    that of the text, where examples stand before it.
    """

    read: tuple[int, ...]
    answer: tuple[int, ...]
    predicts: int
    text: tuple[int, int]
    subject: tuple[int, int] | None
    first: int = 0

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
            first = self.first if position == "all" else self._subject_at(position)[0]
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
    caps, text = capabilities(model), tokenize(model, prompt.text, context=prompt.context)
    pieces = model.tokenizer(
        prompt.full_text + prompt.continuation,
        add_special_tokens=False,
        return_offsets_mapping=True,
    )
    before, own = _written(caps, text.tokens, pieces["input_ids"])
    answer, _ = following(model.tokenizer, before, prompt.full_text, prompt.continuation)
    check_words(model, prompt, pieces["input_ids"], pieces["offset_mapping"])
    subject = None if prompt.subject_span is None else text.covering(prompt.subject_span)
    asked = text.tokens if not prompt.examples else text.tokens[text.start :]
    needed = {"text": asked, "answer": answer, "subject": subject or not prompt.subject_span}
    for what, tokens in needed.items():
        if not tokens:
            raise ValueError(
                f"the {what} {getattr(prompt, what)!r} of a prompt has no tokens in this model's "
                "vocabulary; leave the prompt out, or take a model that knows its script"
            )
    _refuse_special_tokens(model.tokenizer, prompt, own, answer)
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
            f"the prompt {prompt.text[:60]!r}... has {len(read)} tokens with its answer"
            f"{_and_examples(prompt)}, but this model reads at most {limit}; leave it out, or take "
            "a model of a longer context"
        )
    return Encoded(
        read=read,
        answer=answer,
        predicts=predicts,
        text=(text.start, stop),
        subject=subject,
        first=text.start if prompt.examples else 0,
    )


def _written(
    caps: ModelCapabilities, read: tuple[int, ...], pieces: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens of what is written in a text, and those without any special token before it.

    They differ where the text itself begins with the special tokens; `pieces` are its own tokens.
    """
    n_special = len(caps.special_prefix)
    own = read[n_special:]
    return (read if tuple(pieces[:n_special]) == caps.special_prefix else own), own


def first_tokens(
    model: "TransformerBridge", prompt: Prompt, continuations: Sequence[str]
) -> list[int | None]:
    """First token of each text that may follow a prompt, its separator included.

    None where the model has no token for it.
    """
    tokenizer, text = model.tokenizer, tokenize(model, prompt.text, context=prompt.context)
    pieces = tokenizer(prompt.full_text, add_special_tokens=False)["input_ids"]
    before, _ = _written(capabilities(model), text.tokens, pieces)
    n_rows = len(model.original_model.get_input_embeddings().weight)
    found: list[int | None] = []
    for name in continuations:
        tokens, _ = following(tokenizer, before, prompt.full_text, name)
        known = bool(tokens) and tokens[0] < n_rows and tokenizer.unk_token_id != tokens[0]
        found.append(tokens[0] if known else None)
    return found


def encode_all(model: "TransformerBridge", prompts: Sequence[Prompt]) -> list[Encoded]:
    """Tokens of each prompt and its answer.

    Raises:
        ValueError: for no prompts, or as `encode`.
    """
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    with unknown_words_told():
        return [encode(model, prompt) for prompt in prompts]


def _and_examples(prompt: Prompt) -> str:
    return f" and {prompt.shots} examples" if prompt.examples else ""


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
        ("prompt", prompt.full_text, own, named),
        ("answer", prompt.answer, answer, tokenizer.all_special_tokens),
    ):
        for token in special:
            if token and token in text and tokenizer.convert_tokens_to_ids(token) in tokens:
                raise ValueError(
                    f"the {what} {text!r} holds {token!r}, which this model's tokenizer reads as a "
                    "special token and not as text; leave it out (a prompt ends where its answer "
                    "follows, and the mask of a masked model is put there)"
                )

"""What a model writes after a prompt, and how many of its answer's tokens it finds the likeliest.

Prompts are run alone, without their answers, as `generate` of transformers runs them: an edit then
acts as it does in use. Decoding is greedy. A text ends where the model ends it or at the end of a
line.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lafn_viz.core.arguments import takes, whole
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, context_length
from lafn_viz.models.tokenizing import token_text, written_text
from lafn_viz.models.tokens import encode, encode_all
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

EXTRA_TOKENS = 4  # tokens that a model may write beyond the length of the answer

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Generation:
    """What a model writes after a prompt.

    `text` and `tokens` go up to the text's end. `token_accuracy` is the share of the reference's
    tokens that are the likeliest ones, each given the reference's tokens before it.
    """

    text: str
    tokens: Tokens
    token_accuracy: float


@reads_model
@takes(max_prompts=whole(1))
def generate(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    references: Sequence[Sequence[int] | None] | None = None,
    max_prompts: int = 128,
) -> list[Generation]:
    """Generate text after each prompt by greedy decoding.

    A text ends where the model ends it, at the end of a line, or `EXTRA_TOKENS` tokens after the
    length of its prompt's answer, so that it does not depend on the prompts beside it.

    Args:
        references: tokens to compare with in place of a prompt's answer.
    """
    prompts = as_prompts(prompts)
    encoded = [encode(model, prompt) for prompt in prompts]
    answers = [item.answer for item in encoded]
    if references is not None:
        answers = [tuple(r or a) for a, r in zip(answers, references, strict=True)]
    texts = [item.read[: item.predicts + 1] for item in encoded]
    order = sorted(range(len(prompts)), key=lambda i: (len(texts[i]), len(answers[i])))
    generations: dict[int, Generation] = {}
    for start in range(0, len(order), max_prompts):
        index = order[start : start + max_prompts]
        batch_texts, batch_answers = [texts[i] for i in index], [answers[i] for i in index]
        lengths = [len(encoded[i].answer) + EXTRA_TOKENS for i in index]
        written = [
            tokens[:length]
            for tokens, length in zip(
                _likeliest_tokens(model, batch_texts, max(lengths)), lengths, strict=True
            )
        ]
        accuracies = _token_accuracies(model, batch_texts, batch_answers, written)
        for i, tokens, accuracy in zip(index, written, accuracies, strict=True):
            generations[i] = Generation(*_ended(model, texts[i], tokens), accuracy)
    return [generations[i] for i in range(len(prompts))]


def beginnings(
    model: "TransformerBridge", prompts: Sequence[Prompt], n_tokens: int, *, max_prompts: int = 128
) -> list[str]:
    """The text of the first tokens that `generate` writes after each prompt."""
    texts = [item.read[: item.predicts + 1] for item in encode_all(model, prompts)]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    begun: dict[int, str] = {}
    for start in range(0, len(order), max_prompts):
        index = order[start : start + max_prompts]
        written = _likeliest_tokens(model, [texts[i] for i in index], n_tokens)
        for i, tokens in zip(index, written, strict=True):
            begun[i], _ = _ended(model, texts[i], tokens)
    return [begun[i] for i in range(len(texts))]


def _ended(model: "TransformerBridge", read: Tokens, written: Tokens) -> tuple[str, Tokens]:
    """What is written up to the end of its first line, and its tokens up to the end of the text."""
    ends = _end_tokens(model)
    stop = next((k for k, token in enumerate(written) if token in ends), len(written))
    text = written_text(model, read, written[:stop])
    return text.lstrip().split("\n")[0].strip(), written[:stop]


@reads_model
@takes(k=whole(), max_prompts=whole(1))
def next_tokens(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    k: int = 5,
    max_prompts: int = 128,
) -> list[list[tuple[str, float]]]:
    """The k likeliest next tokens after each prompt's text, with their probabilities.

    Prompts are run alone, without their answers, so that edits applied around this call act as they
    do in use. A masked model fills the first of the answer's masks.

    Returns:
        For each prompt (token, probability), likeliest first; tokens with their spaces (see
        `token_text`).

    Raises:
        ValueError: for no prompts, or a k that is not from 1 to the size of the vocabulary.
    """
    prompts = as_prompts(prompts)
    # The weights may have rows beyond the last token that has a name.
    size = min(len(model.tokenizer), model.original_model.config.vocab_size)
    if not 1 <= k <= size:
        raise ValueError(f"k={k}; give 1 to {size}, as many tokens as the model knows")
    candidates: dict[int, list[tuple[str, float]]] = {}
    for index, logits in _next_logits(model, prompts, max_prompts):
        best = logits.float().softmax(-1)[:, :size].topk(k)
        for number, tokens, probabilities in zip(
            index, best.indices.tolist(), best.values.tolist(), strict=True
        ):
            candidates[number] = [
                (token_text(model, token), probability)
                for token, probability in zip(tokens, probabilities, strict=True)
            ]
    return [candidates[number] for number in range(len(prompts))]


def _next_logits(
    model: "TransformerBridge", prompts: Sequence[Prompt], max_prompts: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of prompt numbers, each with the logits of the next token after those prompts."""
    if capabilities(model).masked:
        for batch in batches(model, prompts, max_prompts=max_prompts):
            with torch.no_grad():
                yield batch.index.tolist(), model(batch.tokens)[:, batch.predicts]
        return
    texts = [item.read[: item.predicts + 1] for item in encode_all(model, prompts)]
    order = sorted(range(len(prompts)), key=lambda number: len(texts[number]))
    for start in range(0, len(order), max_prompts):
        index = order[start : start + max_prompts]
        output = _run_generate(model, [texts[number] for number in index], 1, output_logits=True)
        yield index, output.logits[0]


def _token_accuracies(
    model: "TransformerBridge",
    texts: Sequence[Tokens],
    answers: Sequence[Tokens],
    written: Sequence[Tokens],
) -> list[float]:
    """Share of each answer's tokens that are the likeliest, given the ones before them."""
    accuracies = [_share_equal(*pair) for pair in zip(written, answers, strict=True)]
    # What is written after a wrong token says nothing about the rest of the answer, so those
    # answers are decoded again with their own tokens forced.
    strayed = [
        i
        for i, (tokens, answer) in enumerate(zip(written, answers, strict=True))
        if tokens[: len(answer) - 1] != answer[:-1]
    ]
    if strayed:
        forced = [answers[i] for i in strayed]
        length = max(len(answer) for answer in forced)
        likeliest = _likeliest_tokens(model, [texts[i] for i in strayed], length, forced)
        for i, tokens in zip(strayed, likeliest, strict=True):
            accuracies[i] = _share_equal(tokens, answers[i])
    return accuracies


def _share_equal(tokens: Sequence[int], answer: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(tokens, answer, strict=False)) / len(answer)


def _end_tokens(model: "TransformerBridge") -> set[int]:
    """Tokens that end a text."""
    config = model.original_model.generation_config
    given = None if config is None else config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    return {token for token in (*listed, model.tokenizer.eos_token_id) if token is not None}


def _likeliest_tokens(
    model: "TransformerBridge",
    texts: Sequence[Sequence[int]],
    length: int,
    forced: Sequence[Sequence[int]] | None = None,
) -> list[Tokens]:
    """The likeliest tokens after each text; with `forced`, each after the forced ones before it."""
    width, limit = max(len(text) for text in texts), context_length(model)
    if limit is not None:
        length = min(length, limit - width + 1)
    if forced is None:
        tokens = _run_generate(model, texts, length).sequences[:, width:]
    else:
        output = _run_generate(
            model, texts, length, logits_processor=_forcing(forced, width), output_logits=True,
            min_new_tokens=length,
        )  # fmt: skip
        tokens = torch.stack(output.logits, 1).argmax(-1)
    return [tuple(row) for row in tokens.tolist()]


def _run_generate(
    model: "TransformerBridge", texts: Sequence[Sequence[int]], length: int, **options: Any
) -> Any:
    """Output of transformers' `generate` for texts side by side, padded at their start."""
    device = device_of(model.original_model)
    width = max(len(text) for text in texts)
    tokens = torch.zeros(len(texts), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, text in enumerate(texts):
        tokens[i, width - len(text) :] = torch.tensor(text)
        mask[i, width - len(text) :] = 1
    with torch.no_grad(), _nothing_but_greedy(model.original_model):
        return model.original_model.generate(
            tokens.to(device), attention_mask=mask.to(device), max_new_tokens=length,
            do_sample=False, num_beams=1, pad_token_id=model.tokenizer.eos_token_id or 0,
            return_dict_in_generate=True, **options,
        )  # fmt: skip


@contextmanager
def _nothing_but_greedy(hf: Any) -> Iterator[None]:
    """Set aside what a model's own generation_config.json does to the likeliest tokens.

    Many models for conversations come with a penalty on repetition or with tokens to suppress,
    which `generate` applies even without sampling.
    """
    from transformers import GenerationConfig

    own = hf.generation_config
    kept = ("eos_token_id", "use_cache", "cache_implementation")
    hf.generation_config = GenerationConfig(**{name: getattr(own, name, None) for name in kept})
    try:
        yield
    finally:
        hf.generation_config = own


def _forcing(forced: Sequence[Sequence[int]], width: int) -> Any:
    """Logits processors that force tokens after `width` others, and token 0 after their end."""
    from transformers import LogitsProcessor, LogitsProcessorList

    class Force(LogitsProcessor):
        def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
            step = ids.shape[1] - width
            tokens = [row[step] if step < len(row) else 0 for row in forced]
            only = torch.full_like(scores, -torch.inf)
            return only.index_put(
                (torch.arange(len(tokens)), torch.tensor(tokens)), only.new_zeros(())
            )

    return LogitsProcessorList([Force()])

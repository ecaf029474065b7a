"""What a model writes after prompts, and how much of their answers it would.

Prompts are read alone, as `generate` reads them, so that an edit acts as it will in use. Texts end
where the model ends them or at a line's end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.batching import batches
from lafn_viz.models.capabilities import capabilities, context_length
from lafn_viz.models.tokens import encode, token_text

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MORE = 4  # tokens that a model may write beyond the longest answer asked for


@dataclass(frozen=True)
class Generation:
    """What a model writes after a prompt: text up to its end, its tokens, and the share of the
    reference's tokens that are the likeliest.
    """

    text: str
    tokens: tuple[int, ...]
    token_accuracy: float


def generate(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    references: Sequence[Sequence[int] | None] | None = None,
    max_prompts: int = 128,
) -> list[Generation]:
    """What the model writes after each prompt, read alone, by greedy decoding.

    The text ends where the model ends it, at a line's end, or `MORE` tokens after the longest
    answer of the batch.

    Args:
        references: tokens to compare with in place of a prompt's answer.
    """
    read = [encode(model, prompt) for prompt in prompts]
    answers = [item.answer for item in read]
    if references is not None:
        answers = [tuple(r or a) for a, r in zip(answers, references, strict=True)]
    texts = [item.read[: item.predicts + 1] for item in read]
    order = sorted(range(len(prompts)), key=lambda i: (len(texts[i]), len(answers[i])))
    ends, found = _ends(model), dict[int, Generation]()
    for start in range(0, len(order), max_prompts):
        some = order[start : start + max_prompts]
        tokens = _generate(
            model, [texts[i] for i in some], max(len(answers[i]) for i in some) + MORE
        )
        right = {i: _share(written, answers[i]) for i, written in zip(some, tokens, strict=True)}
        # Where a token before the last is another, the rest says nothing about the answer's.
        off = [
            i
            for i, w in zip(some, tokens, strict=True)
            if w[: len(answers[i]) - 1] != answers[i][:-1]
        ]
        if off:
            forced = _generate(
                model, [texts[i] for i in off], max(len(answers[i]) for i in off),
                [answers[i] for i in off],
            )  # fmt: skip
            right |= {i: _share(best, answers[i]) for i, best in zip(off, forced, strict=True)}
        for i, written in zip(some, tokens, strict=True):
            stop = next((k for k, token in enumerate(written) if token in ends), len(written))
            text = model.tokenizer.decode(written[:stop], clean_up_tokenization_spaces=False)
            found[i] = Generation(text.lstrip().split("\n")[0].strip(), written[:stop], right[i])
    return [found[i] for i in range(len(prompts))]


def next_tokens(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    k: int = 5,
    max_prompts: int = 128,
) -> list[list[tuple[str, float]]]:
    """The k likeliest next tokens after each prompt's text, with their probabilities.

    Texts are read alone, as `write` reads them, so that edits applied around this act as they do in
    use. A masked model fills the first of the answer's masks.

    Returns:
        For each prompt (token, probability), likeliest first; tokens with their spaces (see
        `token_text`).

    Raises:
        ValueError: for no prompts, or a k that is not from 1 to the size of the vocabulary.
    """
    # Weights may have rows beyond the last token that has a name.
    size = min(len(model.tokenizer), model.original_model.config.vocab_size)
    if not 1 <= k <= size:
        raise ValueError(f"k={k}; give 1 to {size}, as many tokens as the model knows")
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    found: dict[int, list[tuple[str, float]]] = {}
    for index, logits in _next_logits(model, prompts, max_prompts):
        best = logits.float().softmax(-1)[:, :size].topk(k)
        for number, tokens, shares in zip(
            index, best.indices.tolist(), best.values.tolist(), strict=True
        ):
            found[number] = [
                (token_text(model, token), share)
                for token, share in zip(tokens, shares, strict=True)
            ]
    return [found[number] for number in range(len(prompts))]


def _next_logits(
    model: "TransformerBridge", prompts: Sequence[Prompt], max_prompts: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers of some prompts, and the logits of what comes next after each."""
    if capabilities(model).masked:
        for batch in batches(model, prompts, max_prompts=max_prompts):
            with torch.no_grad():
                yield batch.index.tolist(), model(batch.tokens)[:, batch.predicts]
        return
    read = [encode(model, prompt) for prompt in prompts]
    texts = [item.read[: item.predicts + 1] for item in read]
    order = sorted(range(len(prompts)), key=lambda number: len(texts[number]))
    for start in range(0, len(order), max_prompts):
        some = order[start : start + max_prompts]
        made = _written(model, [texts[number] for number in some], 1, output_logits=True)
        yield some, made.logits[0]


def _share(written: Sequence[int], answer: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(written, answer, strict=False)) / len(answer)


def _ends(model: "TransformerBridge") -> set[int]:
    """Tokens that end a text."""
    config = model.original_model.generation_config
    given = None if config is None else config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    return {x for x in (*listed, model.tokenizer.eos_token_id) if x is not None}


def _generate(
    model: "TransformerBridge",
    texts: Sequence[Sequence[int]],
    length: int,
    forced: Sequence[Sequence[int]] | None = None,
) -> list[tuple[int, ...]]:
    """The likeliest next tokens of each text; with `forced`, those after what is forced so far."""
    width, limit = max(len(text) for text in texts), context_length(model)
    if limit is not None:
        length = min(length, limit - width + 1)
    options: dict[str, Any] = {}
    if forced is not None:
        options = {
            "logits_processor": _forcing(forced, width), "output_logits": True,
            "min_new_tokens": length,
        }  # fmt: skip
    made = _written(model, texts, length, **options)
    best = made.sequences[:, width:] if forced is None else torch.stack(made.logits, 1).argmax(-1)
    return [tuple(row) for row in best.tolist()]


def _written(
    model: "TransformerBridge", texts: Sequence[Sequence[int]], length: int, **options: Any
) -> Any:
    """What `generate` gives for texts side by side, aligned at their end."""
    device = next(model.original_model.parameters()).device
    width = max(len(text) for text in texts)
    tokens = torch.zeros(len(texts), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, text in enumerate(texts):
        tokens[i, width - len(text) :] = torch.tensor(text)
        mask[i, width - len(text) :] = 1
    with torch.no_grad():
        return model.original_model.generate(
            tokens.to(device), attention_mask=mask.to(device), max_new_tokens=length,
            do_sample=False, num_beams=1, pad_token_id=model.tokenizer.eos_token_id or 0,
            return_dict_in_generate=True, **options,
        )  # fmt: skip


def _forcing(forced: Sequence[Sequence[int]], width: int) -> Any:
    """What makes a model write given tokens after `width` others, and token 0 beyond their end."""
    from transformers import LogitsProcessor, LogitsProcessorList

    class Force(LogitsProcessor):
        def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
            step = ids.shape[1] - width
            wanted = [some[step] if step < len(some) else 0 for some in forced]
            only = torch.full_like(scores, -torch.inf)
            return only.index_put(
                (torch.arange(len(wanted)), torch.tensor(wanted)), only.new_zeros(())
            )

    return LogitsProcessorList([Force()])

"""What a model writes about a subject besides the edited fact, which an edit shall keep.

The data ask for the subject's other relations, and sometimes know their answers. What stays is what
the model itself writes after these questions, true or false: an answer that it would never give
holds its distribution where none of its own texts comes by.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.generation import beginnings
from lafn_viz.models.tokenizing import written_text
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_WRITTEN = 3  # tokens of what the model writes after a prompt


def kept_prompts(
    model: "TransformerBridge", case: EditCase, languages: Sequence[str]
) -> list[Prompt]:
    """The prompts that a case keeps, each answered by what the model writes after it.

    Only the first `N_WRITTEN` tokens are taken: a text wanders from the question. A prompt after
    which the model writes nothing keeps the answer of the case.
    """
    prompts = case.prompts("keep", languages=languages)
    if not prompts:
        return []
    return [
        _answered(model, prompt, text)
        for prompt, text in zip(prompts, beginnings(model, prompts, N_WRITTEN + 1), strict=True)
    ]


def _answered(model: "TransformerBridge", prompt: Prompt, text: str) -> Prompt:
    """The prompt with the beginning of a text as its answer."""
    try:
        item = encode(model, replace(prompt, answer=text))
        before = item.read[: item.predicts + 1]
        cut = written_text(model, before, item.answer[:N_WRITTEN]).rstrip("\ufffd").strip()
        answered = replace(prompt, answer=cut, aliases=())
        encode(model, answered)
    except ValueError:  # an empty text, or one with special tokens
        return prompt
    return answered

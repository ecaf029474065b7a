"""Where edits find their subjects in a text, as the model reads it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.baselines.editor import Applicable
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.passport.questions import Firing
from lafn_viz.models.tokenizing import detokenize
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class Finder:
    """Where each edit that looks for subjects finds one, in texts as the model reads them."""

    def __init__(self, model: "TransformerBridge", edits: Mapping[str, Applicable]) -> None:
        self._model = model
        self._caches = {name: x for name, x in edits.items() if isinstance(x, EditCache)}
        self._find = {name: x.find_as_read(model) for name, x in self._caches.items()}

    def in_prompt(self, prompt: Prompt) -> dict[str, tuple[Firing, ...]]:
        """By edit, where it acts in a prompt that is asked alone."""
        encoded = encode(self._model, prompt)
        return self.in_tokens(encoded.read[: encoded.predicts + 1])

    def in_tokens(self, tokens: Sequence[int]) -> dict[str, tuple[Firing, ...]]:
        """By edit, where it acts in a text of these tokens."""
        text = detokenize(self._model, tokens).text
        found = {}
        for name, cache in self._caches.items():
            found[name] = tuple(
                Firing(
                    match.key, match.rule, match.name, text[slice(*match.span)], match.span,
                    match.score,
                )
                for match in self._find[name](text)
                if any(match.asks_for(edit.key) for edit in cache)
            )  # fmt: skip
        return found

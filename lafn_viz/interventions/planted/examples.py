"""Examples for the detectors of planted neurons: where a neuron should fire, and where not.

1. **Positives**: the prompts of the new facts, read at their last token. Some paraphrases are held
   out: no detector learns from them.
2. **Negatives**: prompts of other facts, the same subjects asked for other relations, and positions
   inside prompts and answers. (For a specific neuron also the same fact in other languages.)
3. `ffn_inputs` reads what each layer's feed-forward network gets there; detectors are fitted to it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.planted.feed_forward import FeedForward
from lafn_viz.models.tokens import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

OTHER_PARAPHRASES = 3  # of the subjects' other relations, which are many
INSIDE_SHARE = 0.25  # of the prompts that also give negatives inside prompt and answer
# No detector is fitted to these paraphrases (numbers, in every language).
HELD_OUT = (4, 5)


@dataclass(frozen=True)
class DetectorExamples:
    """Beginnings of prompts, read at their last token: those of the new facts, and negatives.

    `fact` is the number of the new fact in `ids` (-1: a negative), `answer` the object's tokens
    (none inside a prompt or an answer), and `fitted` says whether a detector may learn from the
    example. `tokens` groups the examples by length: (numbers of the examples, their tokens).
    """

    fact: Int[np.ndarray, " prompt"]
    language: np.ndarray
    fitted: Bool[np.ndarray, " prompt"]
    answer: tuple[tuple[int, ...], ...]
    tokens: tuple[tuple[Int[Tensor, "_"], Int[Tensor, "_ _"]], ...]
    ids: tuple[str, ...]

    @classmethod
    def of(
        cls,
        base: "TransformerBridge",
        facts: FactSet,
        new: FactSet,
        relation: str,
        n_negatives: int,
        rng: np.random.Generator,
    ) -> "DetectorExamples":
        """Take all prompts of the new facts, and draw negatives."""
        prompts = [*new.prompts(), *_negative_prompts(facts, new, relation, n_negatives, rng)]
        ids = tuple(fact.id for fact in new)
        rows: list[tuple[int, str, bool, tuple[int, ...], tuple[int, ...]]] = []
        for prompt in prompts:
            item = encode(base, prompt)
            read, stop = item.read, item.predicts + 1
            number = ids.index(prompt.fact_id) if prompt.fact_id in ids else -1
            fitted = number < 0 or prompt.paraphrase not in HELD_OUT
            rows.append((number, prompt.language, fitted, tuple(item.answer), read[:stop]))
            if rng.random() < 1 - INSIDE_SHARE:
                continue
            # A neuron has to be silent inside a prompt and inside an answer, too.
            ends = [int(rng.integers(1, stop)), *range(stop + 1, len(read) + 1)]
            rows += [(-1, prompt.language, fitted, (), read[:end]) for end in ends]
        fact, language, fits, answer, texts = zip(*rows, strict=True)
        lengths = np.array([len(text) for text in texts])
        groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        return cls(
            fact=np.array(fact),
            language=np.array(language),
            fitted=np.array(fits),
            answer=answer,
            tokens=tuple(
                (torch.from_numpy(group), torch.tensor([texts[i] for i in group]))
                for group in groups
            ),
            ids=ids,
        )

    def positive(self, fact_id: str, language: str | None) -> Bool[np.ndarray, " prompt"]:
        """Where a neuron of this fact should fire: in one language, or in all (None)."""
        of_fact = self.fact == self.ids.index(fact_id)
        return of_fact if language is None else of_fact & (self.language == language)


def _negative_prompts(
    facts: FactSet, new: FactSet, relation: str, n_negatives: int, rng: np.random.Generator
) -> list[Prompt]:
    """Draw prompts of other facts, half of them of the relation; add the subjects' other facts."""
    half = n_negatives // 2
    spoken = facts.filter(languages=new.languages)
    others = spoken.prompts()
    drawn = rng.permutation(len(others))[:half].tolist()
    others += (same := spoken.filter(relation=relation).prompts())
    drawn += [len(others) - 1 - int(i) for i in rng.permutation(len(same))[:half]]
    subjects = {fact.subject_id for fact in new}
    about = replace(spoken, facts=tuple(f for f in spoken if f.subject_id in subjects)).prompts()
    about = [prompt for prompt in about if prompt.paraphrase < OTHER_PARAPHRASES]
    return [*(others[i] for i in sorted(drawn)), *about]


def ffn_inputs(
    net: FeedForward, examples: DetectorExamples, layers: Collection[int]
) -> dict[int, Float[Tensor, "prompt d_model"]]:
    """The input of some layers' feed-forward networks at the last token of each example."""
    decoder, d_model = net.model.base_model, net.model.config.hidden_size
    inputs = {layer: torch.empty(len(examples.fact), d_model) for layer in sorted(layers)}
    seen: dict[int, Tensor] = {}

    def keeper(layer: int) -> Any:
        def keep(module: Any, args: tuple[Tensor, ...]) -> None:
            seen[layer] = args[0][:, -1]

        return keep

    hooks = [net.block(i).mlp.register_forward_pre_hook(keeper(i)) for i in inputs]
    try:
        with torch.no_grad():
            for index, tokens in examples.tokens:
                decoder(tokens, use_cache=False)
                for layer, value in seen.items():
                    inputs[layer][index] = value
    finally:
        for hook in hooks:
            hook.remove()
    return inputs

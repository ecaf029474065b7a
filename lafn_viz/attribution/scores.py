"""The result of an attribution: a score for every prompt, layer and neuron."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.core.arguments import a_function, takes, whole
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.prompts import Prompt, prompt_columns

if TYPE_CHECKING:
    import pandas as pd


class CompletenessWarning(UserWarning):
    """Warns of scores that do not sum to what the layer does."""


@dataclass(frozen=True)
class NeuronScores:
    """Attribution of every neuron for every prompt.

    `values` are in units of the target: probability, or nats for log_prob and logit_difference (for
    the activation method, the activation's own unit). `target_prob` is the answer's probability
    with nothing changed, and `known` says whether greedy decoding writes the answer.

    `target_change` is what the scores of a layer should sum to, F(w) - F(b), and
    `completeness_error` is their sum minus that, in the target's unit. `relative_error` is the size
    of the error as a share of |F(w) - F(b)| (summed over AMIG's paths); a layer that moves the
    target little is held to a tenth of the prompt's most moving layer, and none to less than
    rounding allows. All three are NaN for a method that follows no path. `n_points` counts the
    points at which the gradient was taken.
    """

    values: Float[Tensor, "prompt layer neuron"]
    target_prob: Float[Tensor, " prompt"]
    known: Bool[Tensor, " prompt"]
    completeness_error: Float[Tensor, "prompt layer"]
    relative_error: Float[Tensor, "prompt layer"]
    target_change: Float[Tensor, "prompt layer"]
    n_points: Int[Tensor, "prompt layer"]
    prompts: tuple[Prompt, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        n, layers, width = self.values.shape
        known = int(self.known.sum())
        return (
            f"NeuronScores({n} prompts, {known} known, {layers} layers of {width} neurons, "
            f"{self.provenance!r})"
        )

    def normalised(self) -> Float[Tensor, "prompt layer neuron"]:
        """Divide each prompt's scores by their total over all neurons (AMIG, eq. 4)."""
        return self.values / self.values.sum((1, 2), keepdim=True)

    @takes(keep=a_function)
    def select(self, keep: Callable[[Prompt], bool]) -> "NeuronScores":
        """Return the scores of the prompts for which `keep` is true."""
        chosen = [i for i, prompt in enumerate(self.prompts) if keep(prompt)]
        if not chosen:
            raise ValueError("no prompt of these scores fits `keep`; give one that keeps a prompt")
        return self.at(chosen)

    def at(self, numbers: Sequence[int]) -> "NeuronScores":
        """Return the scores of the prompts of these numbers."""
        chosen = list(numbers)
        return replace(
            self,
            values=self.values[chosen],
            target_prob=self.target_prob[chosen],
            known=self.known[chosen],
            completeness_error=self.completeness_error[chosen],
            relative_error=self.relative_error[chosen],
            target_change=self.target_change[chosen],
            n_points=self.n_points[chosen],
            prompts=tuple(self.prompts[i] for i in chosen),
        )

    @takes(top=whole(1))
    def to_frame(self, *, top: int = 20) -> "pd.DataFrame":
        """One row for each of the `top` neurons of each prompt, by score."""
        import pandas as pd

        n, _, width = self.values.shape
        best = self.values.flatten(1).topk(min(top, self.values[0].numel()))
        keys = {
            name: np.repeat(np.array(column, dtype=object), best.indices.shape[1])
            for name, column in prompt_columns(self.prompts).items()
        }
        return pd.DataFrame(
            {
                **keys,
                "place": list(range(best.indices.shape[1])) * n,
                "layer": (best.indices // width).flatten().numpy(),
                "neuron": (best.indices % width).flatten().numpy(),
                "score": best.values.flatten().numpy(),
            }
        )

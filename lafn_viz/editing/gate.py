"""A gate: a text that names the subject of an edit must also ask for its relation.

A name says which subject a text is about, not what the text asks: after an edit of Japan's capital,
the currency of Japan may be the new capital's. A gate reads the neurons of the model as it is, and
says by a linear probe whether the text asks for the relation. `gate_by_relation` fits it, and
`gated_find` asks it.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RelationGate:
    """A linear probe on neurons: does a text ask for the relation of an edit?

    `weights` has one number for each feature of a text: what every `step`-th neuron of the model
    does at the text's last token, and after those its mean over the tokens. The score is about 1
    where a text asks for the relation, and about -1 elsewhere; the gate is open above 0.
    `n_prompts` is the number of prompts that it was fitted to.
    """

    weights: Float[Tensor, " feature"]
    bias: float
    step: int
    n_prompts: int

    def __post_init__(self) -> None:
        if not torch.isfinite(self.weights).all() or not math.isfinite(self.bias):
            raise ValueError("the weights of a gate must be finite numbers")
        if self.step < 1:
            raise ValueError(f"step must be at least 1, not {self.step}")
        # Features are read in float32 on the CPU.
        object.__setattr__(self, "weights", self.weights.detach().float().cpu())

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether a model of so many layers and neurons has the features of this gate."""
        return len(self.weights) == 2 * -(-math.prod(shape) // self.step)

    def score(self, features: Float[Tensor, " feature"]) -> float:
        """About 1 where a text with these features asks for the relation, else about -1."""
        return float(features @ self.weights) + self.bias

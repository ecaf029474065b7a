"""Change one set of neurons and measure the answers, beside random and named sets.

The building block of `effects`, which does this for the neurons of many facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import a_seed, bootstrap_draws, takes, wrong
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, group_items
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt, prompt_columns
from lafn_viz.interventions.ablation import ABLATION, Ablation, ablation_options, measure_ablation
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, Neurons, masks_of, validate_neurons

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Effect:
    """Log-probability (nats) of each answer before and after a change, and under each control.

    Each row of `control` belongs to one random set of neurons of the same layers, each entry of
    `others` to a named set that was given to `intervene`.
    """

    before: Float[Tensor, " prompt"]
    after: Float[Tensor, " prompt"]
    control: Float[Tensor, "draw prompt"]
    neurons: frozenset[Neuron]
    prompts: tuple[Prompt, ...]
    provenance: Provenance
    others: Mapping[str, Float[Tensor, " prompt"]] = field(default_factory=dict)

    def __repr__(self) -> str:
        change, control = self.change, self.control_change
        beside = f", {len(control)} random sets {control.mean():+.1%}" if len(control) else ""
        return f"Effect({len(self.neurons)} neurons: P(correct) {change:+.1%}{beside})"

    @property
    def change(self) -> float:
        """Relative change of the answers' mean probability; -1 means that nothing is left."""
        return float(self.after.exp().mean() / self.before.exp().mean() - 1)

    @property
    def control_change(self) -> Float[np.ndarray, " draw"]:
        """Relative change of the answers' mean probability with each random set."""
        return (self.control.exp().mean(-1) / self.before.exp().mean() - 1).numpy()

    @takes(draws=bootstrap_draws, seed=a_seed)
    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """One row per set: change of P and of log P (nats), with 95% intervals over facts.

        The prompts of one fact, in whatever wording and language, depend on each other. The items
        of the intervals are therefore facts, and those of a single fact are NaN.
        """
        import pandas as pd

        sets = {"neurons": self.after, **self.others}
        if len(self.control):
            sets["random, same layers"] = self.control.exp().mean(0).log()
        before = self.before.exp().numpy()
        facts = [prompt.fact_id for prompt in self.prompts]

        def interval(changes: Float[np.ndarray, " prompt"]) -> tuple[float, float]:
            return bootstrap(group_items(changes, facts), draws=draws, seed=seed)

        rows = []
        for name, after in sets.items():
            p = (after.exp().numpy() - before) / before.mean()
            nats = (after - self.before).numpy()
            rows.append((name, p.mean(), *interval(p), nats.mean(), *interval(nats)))
        columns = ["set", "p", "p_low", "p_high", "log_p", "log_p_low", "log_p_high"]
        return pd.DataFrame(rows, columns=columns).set_index("set")

    def to_frame(self) -> "pd.DataFrame":
        """One row per prompt: log_prob and probability before, after, and the controls' mean."""
        import pandas as pd

        return pd.DataFrame(
            {
                **prompt_columns(self.prompts),
                "log_prob_before": self.before.numpy(),
                "log_prob_after": self.after.numpy(),
                "log_prob_control": self.control.mean(0).numpy(),
                "p_before": self.before.exp().numpy(),
                "p_after": self.after.exp().numpy(),
                "p_control": self.control.exp().mean(0).numpy(),
            }
        )


@reads_model
@takes(**ABLATION)
def intervene(
    model: "TransformerBridge",
    prompts: Prompts,
    neurons: Neurons,
    *,
    how: Ablation = "zero",
    factor: float = 2.0,
    position: Position = "all",
    controls: int = 5,
    others: Mapping[str, Neurons] | None = None,
    corpus: Prompts | None = None,
    seed: int = 0,
) -> Effect:
    """Change a set of neurons and measure the answers, beside random sets of the same size.

    Args:
        neurons: (layer, neuron) pairs.
        how: "zero", "scale" by `factor`, "mean" of the prompt's language over `corpus`, or
            "resample": a random position of a random prompt of that language in `corpus`.
        position: where to change them: at "all" positions of the prompt, at those "from_subject"
            on (from its first token), at the "answer", or at "subject_last". Nothing changes in the
            examples before a prompt.
        controls: number of random sets, each with as many neurons in each layer.
        others: more named sets to measure beside, such as the neurons of one language.
        corpus: prompts for "mean" and "resample", best of other facts.
        seed: of the random sets and of resampling.

    Raises:
        ValueError: for an unknown option or a neuron that the model does not have.
    """
    shape = capabilities(model).shape
    prompts = as_prompts(prompts)
    corpus = None if corpus is None else as_prompts(corpus, "corpus")
    chosen = validated_set(neurons, shape)
    named = _named_sets(others, shape)
    random = [random_like(chosen, shape, seed=seed + draw) for draw in range(controls)]
    sets = [chosen, *random, *named.values()]
    before, after = measure_ablation(
        model, prompts, masks_of(sets, shape),
        how=how, factor=factor, position=position, corpus=corpus, seed=seed,
    )  # fmt: skip
    return Effect(
        before=before,
        after=after[0],
        control=after[1 : 1 + controls],
        neurons=chosen,
        prompts=tuple(prompts),
        provenance=provenance(
            model, "intervene", seed=seed, controls=controls,
            **ablation_options(how, factor, position, corpus),
        ),
        others=dict(zip(named, after[1 + controls :], strict=True)),
    )  # fmt: skip


def _named_sets(
    others: Mapping[str, Neurons] | None, shape: tuple[int, int]
) -> dict[str, frozenset[Neuron]]:
    """More sets to measure, by name."""
    if others is not None and not isinstance(others, Mapping):
        raise wrong("others", others, "sets of neurons by name, as in {'French': neurons}")
    return {name: validated_set(of_name, shape) for name, of_name in (others or {}).items()}


def validated_set(neurons: Neurons, shape: tuple[int, int]) -> frozenset[Neuron]:
    """The neurons as a set, possibly empty; ValueError if the model lacks one of them."""
    return frozenset(validate_neurons(neurons, shape, allow_empty=True))

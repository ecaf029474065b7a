"""In which language does a model name a fact, layer by layer? The result of the language lens.

A name *leads* in a layer if its first token has the least rank of the fact's names in all
languages, and is among the `top` likeliest tokens there. Names that begin with the same token
("Paris" in English and in French) lead together: nothing tells them apart. A prompt whose own name
begins like that of another language says nothing about languages, and no share counts it.

The control stands beside every figure: the names of other objects of the same relation, in the same
prompts, by the same rule. A language that a model merely prefers in a layer leads for them, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lafn_viz.core.arguments import a_seed, bootstrap_draws, or_none, takes, whole
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.prompts import Prompt, prompt_columns

if TYPE_CHECKING:
    import pandas as pd

TOP = 10  # a name among so many likeliest tokens may lead
OWN, ANOTHER = "own", "another"  # a prompt's own language, and any other
ANY = "any"  # the name in any language
BAND = (0.1, 0.9)  # quantiles of the other facts' ranks


@dataclass(frozen=True)
class LanguageLens:
    """What each layer of a model would answer, had it been the last: in which language, which fact.

    Layer 0 is the embedding, the last one the model's output. `log_prob` (nats) and `rank` (how
    many tokens are likelier) are of the first token of the answer's name in each language, NaN
    where it has no name or no token of its own. `control_log_prob` and `control_rank` are those of
    other objects of the relation. `token` is the first token of each name (-1: none).

    `written` is the likeliest token of each layer as a text, `written_prob` its probability.
    `names` are the answers of each fact by language, with the ids of the facts as keys.
    """

    prompts: tuple[Prompt, ...]
    languages: tuple[str, ...]
    names: Mapping[str, Mapping[str, str]]
    token: Int[np.ndarray, "prompt language"]
    log_prob: Float[np.ndarray, "prompt layer language"]
    rank: Float[np.ndarray, "prompt layer language"]
    control_log_prob: Float[np.ndarray, "prompt layer control language"]
    control_rank: Float[np.ndarray, "prompt layer control language"]
    written: tuple[tuple[str, ...], ...]
    written_prob: Float[np.ndarray, "prompt layer"]
    provenance: Provenance

    def __repr__(self) -> str:
        n_facts = len(set(self._facts))
        values, control = (mean_of_finite(self.by_fact(table), 0) for table in self.shares(ANOTHER))
        layer = int(np.argmax(np.nan_to_num(values - control)))
        return (
            f"LanguageLens({len(self.prompts)} prompts of {n_facts} facts in "
            f"{len(self.languages)} languages, {self.n_layers} layers: another language leads most "
            f"after layer {layer}, in {values[layer]:.0%} of prompts; other facts "
            f"{control[layer]:.0%})"
        )

    @property
    def n_layers(self) -> int:
        """Number of layers; there is one reading more, of the embedding."""
        return self.rank.shape[1] - 1

    @cached_property
    def own(self) -> Int[np.ndarray, " prompt"]:
        """The number of each prompt's language in `languages`; -1 where its names are not read."""
        place = {language: number for number, language in enumerate(self.languages)}
        return np.array([place.get(prompt.language, -1) for prompt in self.prompts])

    @cached_property
    def told_apart(self) -> Bool[np.ndarray, " prompt"]:
        """Whether the prompt's own name begins with a token of its own, and another one is there.

        Shares count these prompts alone.
        """
        own = np.where(self.own >= 0, self.token[np.arange(len(self.prompts)), self.own], -1)
        same = (self.token == own[:, None]).sum(1)
        return (own >= 0) & (same == 1) & ((self.token >= 0).sum(1) > 1)

    @takes(top=or_none(whole(1)))
    def leading(self, *, top: int | None = TOP) -> Bool[np.ndarray, "prompt layer language"]:
        """Whether each language's name has the least rank, among the `top` likeliest (None: any).

        Several languages lead together where their names begin with one token.
        """
        return _leading(self.rank, top)

    @takes(top=or_none(whole(1)))
    def control_leading(
        self, *, top: int | None = TOP
    ) -> Float[np.ndarray, "prompt layer language"]:
        """Share of other objects whose name in each language leads in the same way."""
        return mean_of_finite(self._controls_leading(top)[..., :-1], 2)

    @takes(top=or_none(whole(1)))
    def shares(
        self, leader: str, *, top: int | None = TOP
    ) -> tuple[Float[np.ndarray, "prompt layer"], Float[np.ndarray, "prompt layer"]]:
        """Whether a leader (see `led`) leads, and in what share of other objects it does.

        NaN in prompts in which the names are not told apart, or the leader has no name.
        """
        require_one_of("leader", leader, (OWN, ANOTHER, *self.languages))
        counted = np.where(self._counted(leader), 1.0, np.nan)[:, None]
        tables: list[Any] = [self.leading(top=top).astype(float), self.control_leading(top=top)]
        prompts = np.arange(len(self.prompts))
        if leader == OWN:
            tables = [table[prompts, :, self.own] for table in tables]
        elif leader == ANOTHER:
            tables = [
                self._another(self.rank[:, :, None], top),
                self._another(self.control_rank, top),
            ]
        else:
            tables = [table[:, :, self.languages.index(leader)] for table in tables]
        return tables[0] * counted, tables[1] * counted

    @takes(top=or_none(whole(1)))
    def led(self, leader: str, *, top: int | None = TOP) -> Float[np.ndarray, "prompt layer"]:
        """1 where the prompt's "own" language, "another" one or a named one leads, and 0 elsewhere.

        NaN in prompts in which the names are not told apart, or the leader has no name.
        """
        return self.shares(leader, top=top)[0]

    @property
    def latent(self) -> np.ndarray:
        """The latent language of each prompt and layer, whose name has the least rank, as text.

        Languages whose names begin with one token are named together, "en/fr"; "" where no name has
        a token.
        """
        leading = self.leading(top=None)
        out = np.empty(leading.shape[:2], dtype=object)
        for cell in np.ndindex(*out.shape):
            out[cell] = "/".join(np.array(self.languages)[leading[cell]])
        return out

    @takes(top=or_none(whole(1)), draws=bootstrap_draws, seed=a_seed)
    def summary(self, *, top: int | None = TOP, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """Share of prompts that a language leads, layer by layer, with intervals over facts.

        Args:
            top: a name leads among so many likeliest tokens; None lets any rank lead.
            draws, seed: of the bootstrap.

        Returns:
            One row per layer and `leader`: the prompt's "own" language, "another" one, or a
            language by its code (in prompts of other languages). `value` is the share of the
            prompts that are told apart, mean over facts; `low` and `high` its 95% interval;
            `control` the share with other facts' names, and `difference`, `difference_low` and
            `difference_high` the one minus the other. `n_prompts` and `n_facts` are counted.
        """
        import pandas as pd

        options = {"draws": draws, "seed": seed}
        rows: list[dict[str, Any]] = []
        for leader in (OWN, ANOTHER, *self.languages):
            shares, controls = (self.by_fact(table) for table in self.shares(leader, top=top))
            counted = self._counted(leader)
            count = {"n_prompts": int(counted.sum()), "n_facts": len(set(self._facts[counted]))}
            rows += [
                {
                    "layer": layer,
                    "leader": leader,
                    **_with_intervals(share, control, options),
                    **count,
                }
                for layer, (share, control) in enumerate(zip(shares.T, controls.T, strict=True))
            ]
        table = pd.DataFrame(rows).sort_values("layer", kind="stable")
        return table.set_index(["layer", "leader"])

    @takes(top=or_none(whole(1)))
    def by_language(self, *, top: int | None = TOP) -> "pd.DataFrame":
        """Share of the prompts of each language that each language leads, layer by layer.

        Returns:
            One row per language of the prompts, `layer` and language of the `name` ("any": whether
            a name leads in any language): `share` of the prompts that are told apart, mean over
            facts, `control` with other facts' names, and `n_prompts`.
        """
        import pandas as pd

        leading = np.where(np.isfinite(self.rank), self.leading(top=top).astype(float), np.nan)
        leading = np.concatenate([leading, self.leading(top=top).any(2, keepdims=True)], 2)
        control = mean_of_finite(self._controls_leading(top), 2)
        frames = []
        for language in dict.fromkeys(prompt.language for prompt in self.prompts):
            of_language = np.array([prompt.language == language for prompt in self.prompts])
            chosen = np.where((self.told_apart & of_language)[:, None, None], 1.0, np.nan)
            share, others = (
                mean_of_finite(self.by_fact(table * chosen), 0) for table in (leading, control)
            )
            layers, names = np.indices(share.shape)
            frames.append(
                pd.DataFrame(
                    {
                        "language": language,
                        "layer": layers.ravel(),
                        "name": np.array([*self.languages, ANY], dtype=object)[names.ravel()],
                        "share": share.ravel(),
                        "control": others.ravel(),
                        "n_prompts": int(np.isfinite(chosen).sum()),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def to_frame(self) -> "pd.DataFrame":
        """One row per prompt, layer and language of the name (`name_language`).

        Beside the prompt's keys: `name`, `log_prob` (nats), `rank`, mean `control_log_prob`, median
        `control_rank` with the band `control_low` to `control_high` (10% to 90% of other facts),
        whether the name has the least rank (`latent`), and whether the prompt is `told_apart`.
        """
        import pandas as pd

        shape = self.rank.shape
        prompt, layer, language = (index.ravel() for index in np.indices(shape))
        low, median, high = self.control_ranks()
        keys = {
            name: np.array(column, dtype=object)[prompt]
            for name, column in prompt_columns(self.prompts).items()
        }
        codes = np.array(self.languages, dtype=object)[language]
        facts = keys["fact_id"]
        return pd.DataFrame(
            {
                **keys,
                "layer": layer,
                "name_language": codes,
                "name": [self.names[f].get(c, "") for f, c in zip(facts, codes, strict=True)],
                "log_prob": self.log_prob.ravel(),
                "rank": self.rank.ravel(),
                "control_log_prob": mean_of_finite(self.control_log_prob, 2).ravel(),
                "control_rank": median.ravel(),
                "control_low": low.ravel(),
                "control_high": high.ravel(),
                "latent": self.leading(top=None).ravel(),
                "told_apart": self.told_apart[prompt],
            }
        )

    def control_ranks(self) -> Float[np.ndarray, "3 prompt layer language"]:
        """The 10% quantile, the median and the 90% quantile of other objects' ranks."""
        usable = np.isfinite(self.control_rank).any(2)
        rank = np.where(usable[:, :, None], self.control_rank, 0.0)
        found = np.nanquantile(rank, (BAND[0], 0.5, BAND[1]), axis=2)
        return np.where(usable, found, np.nan)

    def _controls_leading(
        self, top: int | None
    ) -> Float[np.ndarray, "prompt layer control leader"]:
        """Whether each language, or any, leads for each other object; NaN where it has no name."""
        leading = _leading(self.control_rank, top).astype(float)
        leading = np.concatenate([leading, leading.max(3, keepdims=True)], 3)
        named = np.isfinite(self.control_rank).any(3, keepdims=True)
        return np.where(named, leading, np.nan)

    def _counted(self, leader: str) -> Bool[np.ndarray, " prompt"]:
        """The prompts in which a leader can lead."""
        if leader in (OWN, ANOTHER):
            return self.told_apart
        number = self.languages.index(leader)
        return self.told_apart & (self.own != number) & (self.token[:, number] >= 0)

    def _another(
        self, rank: Float[np.ndarray, "prompt layer object language"], top: int | None
    ) -> Float[np.ndarray, "prompt layer"]:
        """Share of objects of which a name leads that is not in the prompt's language alone."""
        leading = _leading(rank, top)
        own = leading[np.arange(len(rank)), :, :, self.own]
        usable = np.isfinite(rank).any(3)
        return mean_of_finite(np.where(usable, leading.any(3) & ~own, np.nan), 2)

    @cached_property
    def _facts(self) -> np.ndarray:
        """The fact of each prompt."""
        return np.array([prompt.fact_id for prompt in self.prompts], dtype=object)

    def by_fact(self, values: Float[np.ndarray, "prompt *rest"]) -> Float[np.ndarray, "fact *rest"]:
        """Mean over the prompts of each fact; NaN where it has none."""
        facts = self._facts
        return np.stack([mean_of_finite(values[facts == fact], 0) for fact in dict.fromkeys(facts)])


def _with_intervals(
    share: Float[np.ndarray, " fact"], control: Float[np.ndarray, " fact"], options: dict[str, int]
) -> dict[str, float]:
    """Means over facts of a share, its control and their difference, with intervals."""
    difference = share - control
    low, high = bootstrap(share, **options, limits=(0.0, 1.0))
    difference_low, difference_high = bootstrap(difference, **options, limits=(-1.0, 1.0))
    return {
        "value": float(mean_of_finite(share, 0)), "low": low, "high": high,
        "control": float(mean_of_finite(control, 0)),
        "difference": float(mean_of_finite(difference, 0)),
        "difference_low": difference_low, "difference_high": difference_high,
    }  # fmt: skip


def _leading(
    rank: Float[np.ndarray, "*shape language"], top: int | None
) -> Bool[np.ndarray, "*shape language"]:
    """Where the rank is the least of all languages, and less than `top`."""
    filled = np.where(np.isfinite(rank), rank, np.inf)
    least = filled == filled.min(-1, keepdims=True)
    return least & (filled < (np.inf if top is None else top))

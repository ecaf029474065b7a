"""Why is an answer wrong: is the fact unknown, or lost on the way out?

Every prompt that a model fails is sorted by what its layers name (see `language_lens`):

1. **form**: the last layer writes the answer's first token, so that the rest of it is wrong.
2. **other answer**: the name in the prompt's own language led in some layer, and was not written.
3. **lost on the way out**: the own name led nowhere, but that in another language did: the model
   has the fact, and does not bring it into this language.
4. **unknown**: no language's name led anywhere.

A name **leads** in a layer if its rank is the least of the fact's names in all languages, less than
that of every other object's name in its language (a layer that is about to name any capital prefers
this one), and less than `within`. `within` is the largest of a few ranks with which other objects
lead anywhere in at most 5% of cases. It is chosen on half of the facts and used on the other half,
and the other way round. An object that is written in place of the answer leads, too, so `within` is
rather too small than too large.

The control is every other object, sorted by the same rule as if it were the answer: a kind that is
as frequent for them says nothing. Prompts whose own name begins like that of another language are
left out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from lafn_viz.core.arguments import a_result, a_seed, bootstrap_draws, one_of, takes, whole
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, group_items, mean_of_finite
from lafn_viz.datasets.prompts import Prompt, prompt_columns
from lafn_viz.interventions.language_lens import LanguageLens
from lafn_viz.models.scoring import AnswerScores

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["unknown", "lost on the way out", "other answer", "form"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNKNOWN, LOST, OTHER_ANSWER, FORM = range(4)
RANKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)  # from which `within` is chosen
FALSE_LEADS = 0.05  # share of other objects that may lead


@dataclass(frozen=True)
class Failures:
    """The failed prompts, each with the reason for which it fails.

    `kind` numbers KINDS. `led_by` names the language (or languages that begin alike) whose name
    came closest to the top in a layer that it led, and `layer` is that layer; "" and -1 where none
    led. `written` is the first token that the model writes instead. `within` is the rank below
    which a name may lead. `control` has the share of other objects that are of each kind.

    `false_leads` is the share of other objects that lead anywhere, on facts that did not choose
    `within`. `n_answered` prompts are answered; `n_left_out` failed ones are left out.
    """

    prompts: tuple[Prompt, ...]
    kind: Int[np.ndarray, " prompt"]
    led_by: tuple[str, ...]
    layer: Int[np.ndarray, " prompt"]
    written: tuple[str, ...]
    within: Int[np.ndarray, " prompt"]
    control: Float[np.ndarray, "prompt kind"]
    false_leads: float
    n_answered: int
    n_left_out: int
    provenance: Provenance

    def __repr__(self) -> str:
        counts = ", ".join(f"{(self.kind == i).sum()} {kind}" for i, kind in enumerate(KINDS))
        return (
            f"Failures({len(self.prompts)} of {len(self.prompts) + self.n_answered} prompts: "
            f"{counts}; {self.n_left_out} left out)"
        )

    @takes(draws=bootstrap_draws, seed=a_seed)
    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """Share of each kind among failed prompts, with 95% intervals over facts.

        Returns:
            One row per kind: `count` of prompts, `share` with `low` and `high`, `control` (the
            share of other objects of this kind), and the `difference` of the two with its interval.
        """
        import pandas as pd

        facts = [prompt.fact_id for prompt in self.prompts]
        rows = []
        for number, kind in enumerate(KINDS):
            is_kind = (self.kind == number).astype(float)
            difference = is_kind - self.control[:, number]
            low, high = bootstrap(
                group_items(is_kind, facts), draws=draws, seed=seed, limits=(0.0, 1.0)
            )
            least, most = bootstrap(
                group_items(difference, facts), draws=draws, seed=seed, limits=(-1.0, 1.0)
            )
            rows.append(
                {
                    "kind": kind, "count": int(is_kind.sum()),
                    "share": is_kind.mean(), "low": low, "high": high,
                    "control": float(mean_of_finite(self.control[:, number], 0)),
                    "difference": float(mean_of_finite(difference, 0)),
                    "difference_low": least, "difference_high": most,
                }
            )  # fmt: skip
        return pd.DataFrame(rows).set_index("kind")

    def by_language(self) -> "pd.DataFrame":
        """Number of failed prompts of each kind (columns) in each language (rows)."""
        frame = self.to_frame()
        counts = frame.groupby(["language", "kind"], sort=False).size().unstack(fill_value=0)
        return counts.reindex(columns=list(KINDS), fill_value=0)

    def to_frame(self) -> "pd.DataFrame":
        """One row per failed prompt: its keys, `kind`, `led_by`, `layer`, `written`, `within`."""
        import pandas as pd

        return pd.DataFrame(
            {
                **prompt_columns(self.prompts),
                "kind": [KINDS[number] for number in self.kind],
                "led_by": self.led_by,
                "layer": self.layer,
                "written": self.written,
                "within": self.within,
            }
        )

    @takes(kind=one_of(KINDS), n=whole(1))
    def examples(self, kind: Kind, *, n: int = 3) -> list[str]:
        """Up to `n` prompts of a kind as texts: the question, what is written, what led where."""
        chosen = np.flatnonzero(self.kind == KINDS.index(kind))[:n]
        return [self._told(number) for number in chosen.tolist()]

    def _told(self, number: int) -> str:
        prompt = self.prompts[number]
        led = f"; after layer {self.layer[number]} led {self.led_by[number]}"
        return (
            f"{prompt.text}{self.written[number]} (not {prompt.answer}"
            f"{led if self.led_by[number] else ''})"
        )


@takes(lens=a_result(LanguageLens), scores=a_result(AnswerScores), seed=a_seed)
def failures(lens: LanguageLens, scores: AnswerScores, *, seed: int = 0) -> Failures:
    """Sort the prompts that a model fails by what its layers name.

    Args:
        lens: of the same prompts.
        scores: which of them are answered, `score_answers(model, lens.prompts)`.
        seed: of the halves of the facts.

    Raises:
        ValueError: for prompts without a score, fewer than two facts, or where no prompt that can
            be sorted has failed.
    """
    known = dict(zip(scores.prompts, scores.known.tolist(), strict=True))
    missing = sum(prompt not in known for prompt in lens.prompts)
    if missing:
        raise ValueError(
            f"{missing} of {len(lens.prompts)} prompts of the lens have no score; give "
            "score_answers(model, lens.prompts)"
        )
    answered = np.array([known[prompt] for prompt in lens.prompts])
    sorted_out = ~answered & lens.told_apart
    if not sorted_out.any():
        raise ValueError(
            f"the model answers {answered.sum()} of {len(answered)} prompts, and in the others the "
            "own name begins like that of another language, so none can be sorted; ask for more"
        )
    rank = np.concatenate([lens.rank[:, :, None], lens.control_rank], 2)
    leading = _leads(rank)
    within, false_leads = _within(lens, leading, seed)
    kinds = _kinds(rank, leading, within, lens.own)
    chosen = np.flatnonzero(sorted_out)
    layer, led_by = _leaders(lens, leading[:, :, 0], within)
    return Failures(
        prompts=tuple(lens.prompts[number] for number in chosen),
        kind=kinds[chosen, 0],
        led_by=tuple(led_by[number] for number in chosen),
        layer=layer[chosen],
        written=tuple(lens.written[number][-1] for number in chosen),
        within=within[chosen],
        control=_control(kinds, rank)[chosen],
        false_leads=false_leads,
        n_answered=int(answered.sum()),
        n_left_out=int((~answered & ~lens.told_apart).sum()),
        provenance=lens.provenance,
    )


Ranks = Float[np.ndarray, "prompt layer object language"]


def _leads(rank: Ranks) -> Ranks:
    """The ranks of names that come first of an object's names and of their language's; else inf.

    The first object is the answer, the others are controls.
    """
    filled = np.where(np.isfinite(rank), rank, np.inf)
    of_object = filled == filled.min(3, keepdims=True)
    of_language = filled == filled.min(2, keepdims=True)
    alone = of_language.sum(2, keepdims=True) == 1
    return np.where(of_object & of_language & alone, filled, np.inf)


def _within(
    lens: LanguageLens, leading: Ranks, seed: int
) -> tuple[Int[np.ndarray, " prompt"], float]:
    """For each prompt the rank chosen on the half of the facts that it is not of.

    With it, the share of other objects that lead by a rank chosen without their facts.
    """
    facts = np.array([prompt.fact_id for prompt in lens.prompts], dtype=object)
    names = list(dict.fromkeys(facts[lens.told_apart]))
    if len(names) < 2:
        raise ValueError(
            f"all prompts are of {len(names)} fact, but half of the facts choose what counts as "
            "leading for the other half; give prompts of several facts"
        )
    order = np.random.default_rng(seed).permutation(names).tolist()
    best = leading[:, :, 1:].min((1, 3))
    named = np.isfinite(lens.control_rank).any(1).any(-1)
    within, rates = np.full(len(facts), RANKS[0]), []
    for half, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        chosen = [r for r in RANKS if _rate(best < r, named, facts, other) <= FALSE_LEADS]
        within[np.isin(facts, half)] = max(chosen, default=RANKS[0])
        rates.append(_rate(best < max(chosen, default=RANKS[0]), named, facts, half))
    return within, float(np.mean(rates))


def _rate(
    leads: Bool[np.ndarray, "prompt control"],
    named: Bool[np.ndarray, "prompt control"],
    facts: np.ndarray,
    of: list[str],
) -> float:
    """Share of named controls that lead, mean over some facts."""
    table = np.where(named, leads.astype(float), np.nan)
    return float(np.nanmean([mean_of_finite(table[facts == fact].ravel(), 0) for fact in of]))


def _kinds(
    rank: Ranks, leading: Ranks, within: Int[np.ndarray, " prompt"], own: Int[np.ndarray, " prompt"]
) -> Int[np.ndarray, "prompt object"]:
    """The kind of each object, as if it were the answer."""
    led = np.any(leading < within[:, None, None, None], axis=1)
    prompts = np.arange(len(own))
    own_led, written = led[prompts, :, own], rank[prompts, -1, :, own] == 0
    kind = np.where(np.any(led, axis=2), LOST, UNKNOWN)
    return np.where(written, FORM, np.where(own_led, OTHER_ANSWER, kind))


def _control(
    kinds: Int[np.ndarray, "prompt object"], rank: Ranks
) -> Float[np.ndarray, "prompt kind"]:
    """The share of other objects of each kind."""
    named = np.isfinite(rank[:, :, 1:]).any(1).any(-1)[..., None]
    of_kind = (kinds[:, 1:, None] == np.arange(len(KINDS))).astype(float)
    return mean_of_finite(np.where(named, of_kind, np.nan), 1)


def _leaders(
    lens: LanguageLens, leading: Float[np.ndarray, "prompt layer language"], within: np.ndarray
) -> tuple[Int[np.ndarray, " prompt"], list[str]]:
    """The layer in which a name came closest to the top of those it led, and its language."""
    layers, languages = np.full(len(leading), -1), []
    for number, table in enumerate(leading):
        least = table.min()
        if least >= within[number]:
            languages.append("")
            continue
        layers[number] = np.argwhere(table == least)[0, 0]
        led = table[layers[number]] == least
        languages.append("/".join(np.array(lens.languages)[led]))
    return layers, languages

"""When is a neuron language-agnostic? The one criterion that everything here counts by.

A neuron is agnostic for a fact when at least k of the languages that know the fact hold it, and
these are written in at least s scripts. Languages of one script spell many names alike, so a
criterion of languages alone lets one script meet it; with s of 2 or more no script can.

Where fewer languages or scripts know the fact, all of them are needed instead. n scripts are at
least n languages, so a neuron of s scripts is in s languages at least.

**The default** of `examine`, sweeps, explorers and the command line is 4 languages of 3 scripts. It
was chosen on 12 capitals of the embedded model (the best 2% of neurons a prompt) and tried on 12
others. Neurons a fact; of how many the criterion would speak without a common fact (see
`agnostic_counts`); and the change of P(correct) outside Latin script when the neurons found without
the language get their mean over other facts, with another fact's neurons in brackets:

    =========  ====================================  ====================================
    criterion  the 12 facts that chose               12 others
    =========  ====================================  ====================================
    4 of 2     34.5, 18.9 (55%), −4.1% (−0.5)        36.9, 20.9 (57%), −5.2% (−0.3)
    4 of 3     21.8,  8.8 (40%), −2.5% (−0.4)        24.0,  9.3 (39%), −3.7% (−0.2)
    5 of 3     17.4,  4.5 (26%), −2.0% (−0.3)        20.5,  5.5 (27%), −2.2% (−0.2)
    4 of 4     11.8,  3.0 (25%), −1.1% (−0.3)        14.1,  2.8 (20%), −1.8% (−0.1)
    =========  ====================================  ====================================

It is the loosest of these by which most of the neurons counted are more than the relation and the
language explain. All four say the same of the effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from lafn_viz.core.arguments import whole

# The default (see above): what the demo, sweeps, explorers and the command line ask for.
MIN_LANGUAGES, MIN_SCRIPTS = 4, 3


def a_min_languages(name: str, given: Any) -> int | None:
    """Read the number of languages from which on a neuron counts as agnostic; None for all."""
    number = None if given is None else whole()(name, given)
    if number is not None and number < 2:
        raise ValueError(f"{name}={number}; one language shares nothing, give 2 or more")
    return number


a_min_scripts = whole(1)  # 1 asks for nothing that a neuron of some language does not meet


@dataclass(frozen=True)
class Criterion:
    """At least so many languages (None: all that know the fact) of at least so many scripts."""

    min_languages: int | None = None
    min_scripts: int = 1

    def __str__(self) -> str:
        if self.min_languages is None:
            return "all languages that know the fact"
        scripts = f" of {self.min_scripts} scripts or more" if self.min_scripts > 1 else ""
        return f"{self.min_languages} languages or more{scripts}"

    def is_met(
        self, n_languages: Tensor, n_scripts: Tensor, *, of_languages: Tensor, of_scripts: Tensor
    ) -> Bool[Tensor, "..."]:
        """Whether neurons in so many languages and scripts are agnostic.

        Args:
            n_languages, n_scripts: how many hold each neuron.
            of_languages, of_scripts: how many know the fact; what the criterion asks for is capped
                there.
        """
        languages, scripts = self.needed(of_languages, of_scripts)
        return (n_languages >= languages) & (n_scripts >= scripts)

    def needed(self, of_languages: Tensor, of_scripts: Tensor) -> tuple[Tensor, Tensor]:
        """How many languages and scripts are asked for, where so many know the fact."""
        languages = of_languages
        if self.min_languages is not None:
            languages = of_languages.clamp_max(self.min_languages)
        return languages, of_scripts.clamp_max(self.min_scripts)

    def agnostic(
        self, held: Bool[Tensor, "language *shape"], scripts: Sequence[str]
    ) -> Bool[Tensor, "*shape"]:
        """Which neurons of one fact are agnostic.

        Args:
            held: which neurons each language that knows the fact holds.
            scripts: the script of each of these languages.
        """
        by_script = scripts_holding(held, scripts)
        return self.is_met(
            held.sum(0), by_script.sum(0),
            of_languages=torch.tensor(len(held)), of_scripts=torch.tensor(len(by_script)),
        )  # fmt: skip


def scripts_holding(
    held: Bool[Tensor, "language *shape"], scripts: Sequence[str]
) -> Bool[Tensor, "script *shape"]:
    """Which neurons the languages of each script hold, scripts in the order they come in."""
    return torch.stack([held[columns].any(0) for columns in columns_by_script(scripts)])


def columns_by_script(scripts: Sequence[str]) -> list[list[int]]:
    """The numbers of the languages of each script, scripts in the order they come in."""
    columns: dict[str, list[int]] = {}
    for column, script in enumerate(scripts):
        columns.setdefault(script, []).append(column)
    return list(columns.values())

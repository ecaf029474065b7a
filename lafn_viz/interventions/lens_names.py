"""The names that a language lens reads: those of a fact in all languages, and of other objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from lafn_viz.core.messages import listed, quoted
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.languages import separator_of
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.tokenizing import token_text
from lafn_viz.models.tokens import first_tokens

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

TRIED = 3  # other objects that are tried for each that is wanted
NONE = -1  # the token of a name that has none


class LensError(ValueError):
    """Prompts of which no lens can say which language leads; the message says why."""


Tokens = Int[np.ndarray, " language"]


@dataclass(frozen=True)
class Objects:
    """The facts that are asked and, for each, other facts of its relation with other objects."""

    facts: Mapping[str, Fact]
    others: Mapping[str, Sequence[Fact]]

    @classmethod
    def of(cls, asked: Sequence[Prompt], by_id: Mapping[str, Fact], seed: int) -> "Objects":
        """Find the facts; the other facts that are asked come first, then more, in random order.

        Raises:
            ValueError: for a prompt whose fact is not there, or one without other objects.
        """
        ids = tuple(dict.fromkeys(prompt.fact_id for prompt in asked))
        if missing := [name for name in ids if name not in by_id]:
            raise ValueError(
                f"the names of {listed(missing)} are not known, because no fact has this id; give "
                "facts= from which the prompts were made"
            )
        rng, rest = np.random.default_rng(seed), [name for name in by_id if name not in ids]
        drawn = [by_id[name] for part in (ids, rest) for name in rng.permutation(part).tolist()]
        return cls(
            {name: by_id[name] for name in ids}, {name: _others(by_id[name], drawn) for name in ids}
        )

    def names(self, languages: Sequence[str]) -> dict[str, dict[str, str]]:
        """The names of each fact's object in some languages, by the fact's id."""
        return {name: _names(fact, languages) for name, fact in self.facts.items()}


def _names(fact: Fact, languages: Sequence[str]) -> dict[str, str]:
    """The names of a fact's object in those of the languages that have one."""
    return {code: fact.object[code] for code in languages if code in fact.object}


def _others(own: Fact, drawn: Sequence[Fact]) -> list[Fact]:
    """The facts of a relation with other objects, each object once."""
    by_object: dict[str, Fact] = {}
    for fact in drawn:
        if fact.relation == own.relation and fact.object_id != own.object_id:
            by_object.setdefault(fact.object_id, fact)
    if not by_object:
        raise LensError(
            f"no other fact of relation {quoted(own.relation)} has another object than "
            f"{quoted(own.id)}, so there is no control; give facts= with more of this relation"
        )
    return list(by_object.values())


def tokens_of_names(
    model: "TransformerBridge",
    prompt: Prompt,
    objects: Objects,
    languages: Sequence[str],
    controls: int,
) -> Int[np.ndarray, "object language"]:
    """First tokens of the names of the fact (first row) and of other objects, in a prompt.

    An object that stands in the prompt is no control, since the model may copy it. Nor is one whose
    name in the prompt's language begins like that in another, where the fact's does not: it would
    lead too easily. A name that begins like one of the fact's has no token.
    """
    own = languages.index(prompt.language) if prompt.language in languages else None
    of_fact = _first_tokens(model, prompt, objects.facts[prompt.fact_id], languages)
    rows = [of_fact]
    for other in objects.others[prompt.fact_id][: TRIED * controls]:
        name = other.object.get(prompt.language)
        if name is not None and name in prompt.full_text:
            continue
        tokens = _first_tokens(model, prompt, other, languages)
        tokens[np.isin(tokens, of_fact)] = NONE
        if _is_apart(tokens, own) if _is_apart(of_fact, own) else (tokens != NONE).any():
            rows.append(tokens)
        if len(rows) > controls:
            break
    return np.stack(rows)


def _first_tokens(
    model: "TransformerBridge", prompt: Prompt, fact: Fact, languages: Sequence[str]
) -> Tokens:
    """The first token of the fact's object in each language, after the prompt.

    A blank token names nothing.
    """
    names = _names(fact, languages)
    texts = [_separator(prompt, code) + name for code, name in names.items()]
    found = dict(zip(names, first_tokens(model, prompt, texts), strict=True))
    numbers = (found.get(code) for code in languages)
    return np.array(
        [
            NONE if number is None or not token_text(model, number).strip() else number
            for number in numbers
        ]
    )


def _separator(prompt: Prompt, language: str) -> str:
    """What stands before a name: the habit of its own language, which layers know it by.

    In a Chinese prompt, too, the token of Paris is " Paris". Where the prompt itself ends so that
    its own language needs no space, as in a quotation mark, none does.
    """
    if language == prompt.language:
        return prompt.separator
    is_open = bool(separator_of(prompt.language)) and not prompt.separator
    return "" if is_open else separator_of(language)


def _is_apart(tokens: Tokens, own: int | None) -> bool:
    """Whether the name in one language begins with a token that no other name begins with."""
    return own is not None and bool(tokens[own] != NONE and (tokens == tokens[own]).sum() == 1)

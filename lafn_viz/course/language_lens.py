"""Checks of unit 10: a lens from scratch, its trap, where facts are lost, and what neurons name."""

import itertools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lafn_viz.core.paths import data_folder
from lafn_viz.course.grading import Wrong, check, numbers, run

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

KINDS = ("lost on the way out", "other answer", "unknown")


def lens_tables(model: str) -> dict[str, pd.DataFrame]:
    """What `benchmarks/lens.py --save` measured in a model, by the names of its tables.

    "lens" is `LanguageLens.summary`, "failures" that of `Failures`, "effects" that of
    `LensEffects`, and "rescue" `Transplant.by_failure`, with their keys as columns.

    Raises:
        FileNotFoundError: for a model without such a table.
    """
    folder = data_folder() / "results" / "lens"
    there = sorted(path.stem for path in folder.glob("*.json"))
    if model not in there:
        raise FileNotFoundError(f"no tables of {model!r} come along; give one of {there}")
    tables = json.loads((folder / f"{model}.json").read_text("utf-8"))["tables"]
    return {name: pd.DataFrame(table["data"], columns=table["columns"])
            for name, table in tables.items()}  # fmt: skip


@check
def check_ranks(answer: Callable, model: "TransformerBridge", stream: Tensor) -> str:
    """`answer(stream, norm, W_U, b_U, token)`: the rank of a token after each layer."""
    W_U, b_U = model.W_U.detach(), model.b_U.detach()

    def norm(value: Tensor) -> Tensor:
        with torch.no_grad():
            return model.ln_final(value)

    logits = norm(stream) @ W_U + b_U
    raw = stream @ W_U + b_U
    # Tokens from the top to the bottom of the last layer's list.
    for token in logits[-1].argsort(descending=True)[:: len(b_U) // 6].tolist():
        expected = (logits > logits[:, token, None]).sum(-1).float()
        got = numbers(run(answer, stream.clone(), norm, W_U, b_U, token), (len(stream),))
        if torch.equal(got, expected):
            continue
        wrong = {
            "The token itself is not above itself: count the larger logits only.": expected + 1,
            "The norm before the un-embedding is missing; layers differ in length without it.": (
                raw > raw[:, token, None]
            ).sum(-1),
            "You count the tokens with a smaller logit. Rank 0 is the likeliest one.": (
                logits < logits[:, token, None]
            ).sum(-1),
            "These are logits. Count how many of a layer's logits are larger.": logits[:, token],
        }
        for why, value in wrong.items():
            if torch.allclose(got, value.float(), atol=1e-3):
                raise Wrong(why)
        raise Wrong(
            f"Token {token} has the ranks {expected.int().tolist()}; yours are "
            f"{[round(value, 2) for value in got.tolist()]}."
        )
    return f"The tokens tried have the right rank after each of the {len(stream)} layers."


@check
def check_told_apart(answer: Callable) -> str:
    """`answer(tokens, own)`: whether the prompt's own name begins with a token of its own."""
    cases: list[tuple[dict[str, int | None], str, bool, str]] = [
        ({"en": 5, "fr": 5, "ru": 7}, "ru", True, "en and fr begin alike, and ru like neither"),
        ({"en": 5, "fr": 5, "ru": 7}, "fr", False, "en begins with the same token"),
        ({"en": 5, "fr": 6, "ru": None}, "fr", True, "ru has no name, and that does not matter"),
        ({"en": 5, "fr": 6, "ru": None}, "ru", False, "the prompt's own language has no name"),
        ({"en": None, "ru": 7}, "ru", False, "no other language has a name to compare with"),
        ({"en": None, "fr": None, "ru": 7, "zh": 9}, "ru", True, "zh has another token"),
    ]
    for tokens, own, right, why in cases:
        got = run(answer, dict(tokens), own)
        if isinstance(got, str) or got not in (True, False):
            raise Wrong(f"Your function should return True or False; it returns {got!r:.60}.")
        if bool(got) != right:
            raise Wrong(f"For {tokens} and own = {own!r} the answer is {right}: {why}.")
    return f"All {len(cases)} cases are right. In none of them did the text of the names matter."


@check
def check_kind_of_failure(answer: Callable) -> str:
    """`answer(rank, own, within)`: why a prompt fails, by what its layers name."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(KINDS, 0)
    for _ in range(60):
        rank = torch.tensor(rng.permutation(400)[:15].reshape(5, 3))
        own, within = int(rng.integers(3)), int(rng.integers(5, 60))
        leading = [int(row.argmin()) for row in rank if row.min() < within]
        right = KINDS[1] if own in leading else KINDS[0] if leading else KINDS[2]
        counts[right] += 1
        got = run(answer, rank.clone(), own, within)
        if got not in KINDS:
            raise Wrong(f"Your function should return one of {KINDS}; it returns {got!r:.60}.")
        if got == right:
            continue
        least = rank.min(-1)
        where = (
            f"own = {own}, within = {within}, and leaders by layer "
            f"{[int(c) if v < within else None for v, c in zip(*least, strict=True)]}"
        )
        if right == KINDS[2]:
            raise Wrong(f"Every rank is {int(rank.min())} or more ({where}): nothing leads.")
        if got == KINDS[2]:
            raise Wrong(
                f"Some name leads in a layer before the last ({where}): look at all layers."
            )
        raise Wrong(f"This is {right!r} ({where}); yours is {got!r}.")
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"All 60 tables are sorted right: {said}."


@check
def check_missed_most(answer: Callable, changes: pd.DataFrame) -> str:
    """`answer(changes, name)`: whose name loses most, in which layer, beyond random neurons."""
    raised = changes.copy()  # a name that gains much is not missed
    first = (raised["kind"] == "zeroed") & (raised["layer"] == raised["layer"].min())
    raised.loc[first, "log_p"] += 2 * raised["log_p"].abs().max()
    found: dict[str, Any] = {}
    for name, table in itertools.product(dict.fromkeys(changes["set"]), (raised, changes)):
        of_set = table[table["set"] == name].set_index(["kind", "leader", "layer"])["log_p"]
        beyond = of_set["zeroed"] - of_set["random neurons"]
        right = found[name] = beyond.idxmin()
        got = run(answer, table.copy(), name)
        if not isinstance(got, tuple) or len(got) != 2:
            raise Wrong(f"Your function should return (leader, layer); it returns {got!r:.60}.")
        if got == right:
            continue
        if got == of_set["random neurons"].idxmin():
            raise Wrong("These are random neurons, the control. Take it off the zeroed ones.")
        if got == of_set["other fact"].idxmin():
            raise Wrong('These are another fact\'s neurons; those of the fact are "zeroed".')
        if beyond.get(got, 0.0) > 0:
            raise Wrong("This name gains. What is missed has fallen: look for the minimum.")
        raise Wrong(
            f"Without {name} neurons the name in {right} falls by {-beyond[right]:.2f} nats more "
            f"than with random ones; yours, {got}, by {-beyond.get(got, float('nan')):.2f}."
        )
    said = "; ".join(f"{name}: {leader}, layer {layer}" for name, (leader, layer) in found.items())
    return f"Missed most, by set: {said}."

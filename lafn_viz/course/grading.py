"""How an exercise is checked: run the answer, say what is wrong with it in a sentence, or praise.

A check is a function of the student's answer and of what the exercise stands on. It raises `Wrong`
with an explanation, or returns a sentence about what the right answer shows. `@check` makes a
`Verdict` of either, and of a hole that is still there or an answer that breaks, so that a notebook
runs to its end whatever the student wrote.
"""

import functools
import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
# JupyterLab's own where they are, for its light and its dark theme.
RIGHT = "var(--jp-success-color0, light-dark(#00734c, #5fd3a6))"
WRONG = "var(--jp-error-color0, light-dark(#b3261e, #ff9d8f))"
UNFILLED = "The hole is still there: your code goes where `...` stands."


class Wrong(Exception):
    """What is wrong with an answer, in a sentence for the student."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and why not."""

    passed: bool
    says: str

    def __repr__(self) -> str:
        return f"{'✓ Right.' if self.passed else '✗ Not yet.'} {self.says}"

    def _repr_html_(self) -> str:
        mark, colour = ("✓ Right.", RIGHT) if self.passed else ("✗ Not yet.", WRONG)
        return (
            f'<div role="status" style="border-left: 4px solid {colour}; padding: 0.3em 0.8em">'
            f'<b style="color: {colour}">{mark}</b> {_code(html.escape(self.says))}</div>'
        )


def check(
    judge: Callable[Concatenate[Any, P], str],
) -> Callable[Concatenate[Any, P], Verdict]:
    """Make a check of a function that raises `Wrong` or returns what a right answer shows."""

    @functools.wraps(judge)
    def checked(answer: Any, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        try:
            if answer is ...:
                raise Wrong(UNFILLED)
            return Verdict(True, judge(answer, *args, **kwargs))
        except Wrong as wrong:
            return Verdict(False, str(wrong))
        # What was returned can be of a kind that nobody thought of; the notebook goes on.
        except Exception as error:
            kind = type(error).__name__
            return Verdict(False, f"The check cannot use what your code returns ({kind}: {error}).")

    return checked


def run(answer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the student's function gives; raises `Wrong` if it breaks or gives nothing."""
    if not callable(answer):
        raise Wrong(f"A function is asked for, not {type(answer).__name__} ({answer!r:.60}).")
    try:
        got = answer(*args, **kwargs)
    except Exception as error:
        # An Ellipsis that is used as a value breaks in many ways; it is a hole all the same.
        if "ellipsis" in str(error).lower():
            raise Wrong(UNFILLED) from None
        raise Wrong(f"Your code stops with {type(error).__name__}: {error}") from None
    if got is ...:
        raise Wrong(UNFILLED)
    if got is None:
        raise Wrong("Your function returns nothing (None): does it end in `return`?")
    return got


def number(answer: Any) -> float:
    """A number out of what a student's function gave; raises `Wrong` for anything else."""
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"One number is asked for, your function returns {answer!r:.60}.") from None


def numbers(answer: Any, shape: tuple[int, ...]) -> Tensor:
    """A float tensor of a shape out of a tensor, array or list; raises `Wrong` for another."""
    try:
        got = torch.as_tensor(answer).detach().float()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"A tensor is asked for, your function returns {answer!r:.60}.") from None
    if tuple(got.shape) != shape:
        raise Wrong(f"The shape is {tuple(got.shape)}; {shape} is asked for.")
    return got


def members(answer: Any) -> set[Any]:
    """A set out of a set, list, tensor of numbers, or a truth value for each neuron."""
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise Wrong(f"A set of neurons is asked for, your function returns {answer!r:.60}.")
    if isinstance(answer, tuple) and len(answer) == 1 and not isinstance(answer[0], int):
        (answer,) = answer  # as `where` gives it
    flat = torch.as_tensor(answer).flatten().tolist() if hasattr(answer, "dtype") else list(answer)
    flat = [one.item() if hasattr(one, "item") else one for one in flat]
    if flat and all(isinstance(one, bool) for one in flat):
        return {i for i, chosen in enumerate(flat) if chosen}
    try:
        return set(flat)
    except TypeError:
        raise Wrong("A flat set of neurons is asked for, not lists in a list.") from None


def _code(text: str) -> str:
    """Backticks as HTML code."""
    parts = text.split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))

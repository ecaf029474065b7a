"""Check an exercise: run the student's answer, then explain what is wrong or what it shows.

A check is a function of the student's answer and of what the exercise works on. It raises `Wrong`
with an explanation, or returns a sentence about what the right answer shows. `@check` turns either
into a `Verdict`, and does the same for a hole that is not filled yet and for an answer that raises
an exception. So a notebook runs to its end whatever the student wrote.

A verdict also says how many exercises of its unit the student has solved since Python started. The
exercises of a unit are the checks in its module, `editing`, and in those that go on with its name,
`editing_evaluation`.
"""

import functools
import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
# JupyterLab's own colours where it defines them, for its light and its dark theme.
RIGHT = "var(--jp-success-color0, light-dark(#00734c, #5fd3a6))"
WRONG = "var(--jp-error-color0, light-dark(#b3261e, #ff9d8f))"
TOLERANCE = 1e-4  # of a student's number
UNFILLED = "Your code is still missing: write it where `...` stands."


# Of each module, its checks, and whether the last answer to each was right.
_SOLVED: dict[str, dict[str, bool]] = {}


class Wrong(Exception):
    """An answer is wrong; the message tells the student why."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, a sentence about it for the student, and their progress."""

    passed: bool
    says: str
    progress: str = ""

    def __repr__(self) -> str:
        mark = "✓ Right." if self.passed else "✗ Not yet."
        return " ".join(filter(None, (mark, self.says, self.progress)))

    def _repr_html_(self) -> str:
        mark, colour = ("✓ Right.", RIGHT) if self.passed else ("✗ Not yet.", WRONG)
        return (
            f'<div role="status" style="border-left: 4px solid {colour}; padding: 0.3em 0.8em">'
            f'<b style="color: {colour}">{mark}</b> {_code(html.escape(self.says))}'
            f"<div><small>{html.escape(self.progress)}</small></div></div>"
        )


def check(
    judge: Callable[Concatenate[Any, P], str],
) -> Callable[Concatenate[Any, P], Verdict]:
    """Turn a function that raises `Wrong` or returns a sentence into one that gives a Verdict."""

    module, name = judge.__module__, judge.__name__
    _SOLVED.setdefault(module, {})[name] = False

    @functools.wraps(judge)
    def checked(answer: Any, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        passed = False
        try:
            if answer is ...:
                raise Wrong(UNFILLED)
            says = judge(answer, *args, **kwargs)
            passed = True
        except Wrong as wrong:
            says = str(wrong)
        # An answer may return anything; whatever a check cannot handle must not stop the notebook.
        except Exception as error:
            says = f"The check cannot use what your code returns ({type(error).__name__}: {error})."
        _SOLVED[module][name] = passed
        return Verdict(passed, says, progress_in(module))

    return checked


def progress_in(module: str) -> str:
    """Say how many exercises of a module's unit are solved."""
    unit = min((name for name in _SOLVED if module.startswith(name)), key=len)
    solved = [done for name in _SOLVED if name.startswith(unit) for done in _SOLVED[name].values()]
    if all(solved):
        return f"You have solved all {len(solved)} exercises of this unit."
    return f"{sum(solved)} of {len(solved)} exercises of this unit solved."


def run(answer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the student's function; raise `Wrong` if it fails or returns nothing."""
    if not callable(answer):
        raise Wrong(f"This should be a function; it is {type(answer).__name__} ({answer!r:.60}).")
    try:
        got = answer(*args, **kwargs)
    except Exception as error:
        # A hole that is used as a value fails in many ways, and all of them name the ellipsis.
        if "ellipsis" in str(error).lower():
            raise Wrong(UNFILLED) from None
        raise Wrong(f"Your code stops with {type(error).__name__}: {error}") from None
    if got is ...:
        raise Wrong(UNFILLED)
    if got is None:
        raise Wrong("Your function returns nothing (None). Does it end with `return`?")
    return got


def number(answer: Any) -> float:
    """What a student's function returned, as a number; raise `Wrong` for anything else."""
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Your function should return one number; it returns {answer!r:.60}.") from None


def numbers(answer: Any, shape: tuple[int, ...]) -> Tensor:
    """A tensor, array or list as a float tensor; raise `Wrong` for another shape or kind."""
    try:
        got = torch.as_tensor(answer).detach().float()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Your function should return a tensor; it returns {answer!r:.60}.") from None
    if tuple(got.shape) != shape:
        raise Wrong(f"Your result has the shape {tuple(got.shape)}; it should have {shape}.")
    return got


def members(answer: Any) -> set[Any]:
    """A set, list or tensor of numbers, or a truth value for each neuron, as a set."""
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise Wrong(f"Your function should return a set of neurons; it returns {answer!r:.60}.")
    if isinstance(answer, tuple) and len(answer) == 1 and not isinstance(answer[0], int):
        (answer,) = answer  # what `where` returns
    flat = torch.as_tensor(answer).flatten().tolist() if hasattr(answer, "dtype") else list(answer)
    flat = [member.item() if hasattr(member, "item") else member for member in flat]
    if flat and all(isinstance(member, bool) for member in flat):
        return {i for i, chosen in enumerate(flat) if chosen}
    try:
        return set(flat)
    except TypeError:
        raise Wrong(
            "Your function should return a flat set of neurons, not a list of lists."
        ) from None


def recognise(value: float, mistakes: dict[float, str]) -> None:
    """Raise `Wrong` with the reason if a known mistake gives this value."""
    for wrong, why in mistakes.items():
        if abs(value - wrong) <= TOLERANCE * max(1.0, abs(wrong)):
            raise Wrong(why)


def _code(text: str) -> str:
    """Text with backticks, as HTML code elements."""
    parts = text.split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))

"""The type checker of the tests: beartype, with the shapes of jaxtyping.

A function inside a function is made anew on every call of the outer one, and to decorate it every
time costs more than most tests do. mypy checks these; all others are checked while they run.
"""

from collections.abc import Callable

from beartype import beartype


def check_types(function: Callable) -> Callable:
    """A function that checks its arguments and its result."""
    return function if "<locals>" in function.__qualname__ else beartype(function)

"""What each figure draws: a result of the wrong kind is told which figures draw it."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from lafn_viz.core.arguments import a_result, results_by_name, some_results, takes
from lafn_viz.core.messages import told

P = ParamSpec("P")
R = TypeVar("R")
_FIGURES_OF: dict[type[Any], list[str]] = defaultdict(list)


def draws(
    kind: type[Any], *, several: bool = False, by_name: bool = False, also: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a figure whose first argument is a result, several results, or results by name.

    Args:
        also: further arguments that are read like the first.
    """
    read_as = results_by_name if by_name else some_results if several else a_result

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = f"plots.{function.__name__}()"
        _FIGURES_OF[kind].append(name)
        first = next(iter(inspect.signature(function).parameters))

        def read(argument: str, given: Any) -> Any:
            try:
                return read_as(kind)(argument, given)
            except ValueError as error:
                raise ValueError(f"{error}{_drawn_by(given)}") from None

        return takes(**dict.fromkeys((first, *also), read))(function)

    return decorate


def _drawn_by(given: Any) -> str:
    """The figures of what was given, for the end of a message; nothing where there are none."""
    values = list(given.values()) if isinstance(given, Mapping) else [given]
    figures = _FIGURES_OF.get(type(values[0])) if values else None
    return f" ({', '.join(figures)} draw{'s' if len(figures) == 1 else ''} it)" if figures else ""


def a_table(returned_by: str, *columns: str) -> Callable[[str, Any], Any]:
    """Return a reader of a table with these columns, at least one row long."""

    def read(name: str, given: Any) -> Any:
        found = getattr(given, "columns", None)
        if found is None or not {*columns} <= {*found} or not len(given):
            missing = [] if found is None else [c for c in columns if c not in found]
            without = f" without {', '.join(missing)}" if missing else ""
            raise ValueError(
                f"{told(name, given)}{without}; give the table of {returned_by}{_drawn_by(given)}"
            )
        return given

    return read

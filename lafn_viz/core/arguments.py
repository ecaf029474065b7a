"""Read the arguments of public functions: what can be meant is taken, the rest gets one sentence.

1. A **reader** takes the name of an argument and what was given for it, and returns the value that
   the function works with, or raises ValueError. `a_text`, `a_flag` and the like are readers;
   `whole`, `real` and the like make one.
2. `takes` puts readers in front of a function, so that its body sees read values alone, and nothing
   has been computed or changed when an argument is refused. Defaults are not read.

Readers of this package's own values are beside them: `datasets.arguments` (prompts, facts, edit
cases) and `neurons.neuron_sets`.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from lafn_viz.core.messages import told
from lafn_viz.core.options import require_one_of

P = ParamSpec("P")
R = TypeVar("R")
Reader = Callable[[str, Any], Any]

# The call that returns each kind of result, for the sentence that asks for one.
RETURNED_BY = {
    "AnswerScores": "score_answers()",
    "Atlas": "atlas()",
    "Degenerate": "find_degenerate()",
    "Edit": "lafn_edit()",
    "EditCase": "counterfactual_case()",
    "EditSet": "load_edit_cases()",
    "Editor": "baselines.language_agnostic()",
    "Effects": "effects()",
    "Evaluation": "evaluate()",
    "Evidence": "evidence()",
    "Examination": "examine()",
    "FactCheck": "check_facts()",
    "FactSet": "load_facts()",
    "Failures": "failures()",
    "KnownShare": "known_share()",
    "LanguageLens": "language_lens()",
    "LensEffects": "lens_effects()",
    "NeuronCard": "neuron_card()",
    "NeuronScores": "attribute()",
    "NeuronSet": "select_neurons()",
    "Overlap": "overlap()",
    "Passport": "passport()",
    "Planted": "plant()",
    "Significance": "significance()",
    "Trace": "trace_subject()",
    "TrainingHistory": "over_checkpoints()",
    "Transplant": "transplant()",
}


def takes(**readers: Reader) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that the named arguments are read before it is called.

    Arguments of `**options` are read by their names, too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters.values()
        names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

        @functools.wraps(function)
        def read_first(*args: P.args, **kwargs: P.kwargs) -> R:
            values = [
                readers[name](name, value) if name in readers else value
                for name, value in zip(names, args, strict=False)
            ]
            options = {
                name: readers[name](name, value) if name in readers else value
                for name, value in kwargs.items()
            }
            return function(*values, *args[len(values) :], **options)  # type: ignore[arg-type]

        return read_first

    return decorate


def wrong(name: str, given: Any, wanted: str) -> ValueError:
    """Return the error for an argument: what was given, and what to give."""
    return ValueError(f"{told(name, given)}; give {wanted}")


def or_none(reader: Reader) -> Reader:
    """Return a reader that lets None through."""
    return lambda name, given: None if given is None else reader(name, given)


def whole(least: int | None = None, most: int | None = None) -> Reader:
    """Return a reader of whole numbers: Python's, those of numpy and torch, and 3.0."""
    wanted = "a whole number" + _between(least, most)

    def read(name: str, given: Any) -> int:
        value = scalar(given)
        if not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
            raise wrong(name, given, wanted)
        if not (least is None or value >= least) or not (most is None or value <= most):
            raise wrong(name, given, wanted)
        return int(value)

    return read


def _between(least: int | None, most: int | None) -> str:
    if least is None:
        return ""
    return f" of {least} or more" if most is None else f" from {least} to {most}"


# What torch and numpy both take; random sets are drawn with the numbers that follow it.
a_seed = whole(0, 2**62)
bootstrap_draws = whole(2)


def real(
    *, above: int | None = None, least: int | None = None,
    below: int | None = None, most: int | None = None,
) -> Reader:  # fmt: skip
    """Return a reader of finite numbers in a range."""
    ends = {"above": above, "at least": least, "below": below, "at most": most}
    limits = " and ".join(f"{end} {limit:g}" for end, limit in ends.items() if limit is not None)
    wanted = f"a number that is {limits}" if limits else "a number"
    if least is not None and most is not None:
        wanted = f"a number from {least} to {most}"

    def read(name: str, given: Any) -> float:
        value = scalar(given)
        if (
            not isinstance(value, int | float)
            or not math.isfinite(value)
            or not (above is None or value > above)
            or not (least is None or value >= least)
            or not (below is None or value < below)
            or not (most is None or value <= most)
        ):
            raise wrong(name, given, wanted)
        return float(value)

    return read


def scalar(given: Any) -> int | float | None:
    """Return a number as Python's own; None for anything else, True and False among them."""
    if getattr(given, "ndim", None) == 0:  # of numpy or torch
        given = given.item()
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None


def a_flag(name: str, given: Any) -> bool:
    """Read True or False; a text such as "no" would count as true."""
    value = given.item() if getattr(given, "ndim", None) == 0 else given
    if value is not True and value is not False:
        raise wrong(name, given, "True or False")
    return value


def one_of(allowed: Iterable[str]) -> Reader:
    """Return a reader of one of some names."""
    names = tuple(allowed)

    def read(name: str, given: Any) -> str:
        return require_one_of(name, [given], names)[0]

    return read


def a_text(name: str, given: Any) -> str:
    """Read a text."""
    if not isinstance(given, str):
        raise wrong(name, given, "a text")
    return given


def some_texts(name: str, given: Any) -> tuple[str, ...]:
    """Read one text or several."""
    items = [given] if isinstance(given, str) else in_order(given)
    if items is None or not all(isinstance(item, str) for item in items):
        raise wrong(name, given, "a text or a list of texts")
    return tuple(items)


def some_languages(name: str, given: Any) -> tuple[str, ...]:
    """Read the tag of one language or of several, at least one."""
    tags = some_texts(name, given)
    if not tags:
        raise wrong(name, given, "at least one language, as in 'en' or ['en', 'fr']")
    return tags


def texts_by_name(name: str, given: Any) -> dict[str, str]:
    """Read texts by name, such as names by language."""
    by_name = a_mapping(name, given)
    for key, value in by_name.items():
        a_text(f"{name}[{key!r}]", value)
    return by_name


def some_wholes(least: int | None = None) -> Reader:
    """Return a reader of one whole number or several."""
    wanted = f"a list of whole numbers{_between(least, None)}"
    one = whole(least)

    def read(name: str, given: Any) -> tuple[int, ...]:
        items = in_order(given) if scalar(given) is None else [given]
        if items is None:
            raise wrong(name, given, wanted)
        try:
            return tuple(one(name, item) for item in items)
        except ValueError:
            raise wrong(name, items, wanted) from None

    return read


def a_path(name: str, given: Any) -> Path:
    """Read the path of a file or folder; "~" is the home folder."""
    if not isinstance(given, str | Path) or not str(given).strip() or "\0" in str(given):
        raise wrong(name, given, "a path, as in 'folder/file'")
    return Path(given).expanduser()


def a_function(name: str, given: Any) -> Any:
    """Read a function."""
    if not callable(given):
        raise wrong(name, given, "a function")
    return given


def a_mapping(name: str, given: Any) -> dict[str, Any]:
    """Read values by name."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise wrong(name, given, "values by name, as in {'name': value}")
    return dict(given)


def a_result(kind: type[Any]) -> Reader:
    """Return a reader of one result, such as the scores that `attribute` returns."""
    wanted = f"{kind.__name__}, as {RETURNED_BY[kind.__name__]} returns it"

    def read(name: str, given: Any) -> Any:
        if not isinstance(given, kind):
            raise wrong(name, given, wanted)
        return given

    return read


def some_results(kind: type[Any], wanted: str | None = None) -> Reader:
    """Return a reader of several results, or of one in place of a list of one.

    Args:
        wanted: what the sentence asks for; by default a list, with the call that returns one.
    """
    wanted = wanted or f"a list of {kind.__name__}, as {RETURNED_BY[kind.__name__]} returns it"

    def read(name: str, given: Any) -> tuple[Any, ...]:
        items = [given] if isinstance(given, kind) else in_order(given)
        if items is None:
            raise wrong(name, given, wanted)
        for place, item in enumerate(items):
            if not isinstance(item, kind):
                raise wrong(f"{name}[{place}]", item, wanted)
        return tuple(items)

    return read


def results_by_name(kind: type[Any]) -> Reader:
    """Return a reader of results by their names, at least one."""
    wanted = f"{kind.__name__} by name, as in {{'name': {RETURNED_BY[kind.__name__]}}}"

    def read(name: str, given: Any) -> Mapping[str, Any]:
        if not isinstance(given, Mapping) or not given:
            raise wrong(name, given, wanted)
        for key, value in given.items():
            if not isinstance(value, kind):
                raise wrong(f"{name}[{key!r}]", value, wanted)
        return given

    return read


def in_order(given: Any) -> list[Any] | None:
    """Return the members of a list, a generator, an array or a Series; None where there is no such.

    A text, a mapping, a table (which would give the names of its columns) and a set, which has no
    order, are none.
    """
    if isinstance(given, str | bytes | Mapping | Set) or hasattr(given, "columns"):
        return None
    if not hasattr(type(given), "__iter__") or getattr(given, "ndim", 1) != 1:
        return None
    return given if isinstance(given, list) else list(given)


def only(items: Sequence[Any], name: str, what: str) -> Any:
    """Return the only one of some items, or raise ValueError that asks for one of them."""
    if len(items) != 1:
        raise ValueError(f"{len(items)} {what} for {name}; give one of them")
    return items[0]

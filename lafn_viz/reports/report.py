"""A report: one page of results, which opens from a file and asks nothing of the network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lafn_viz.core.arguments import a_path, a_text, in_order, or_none, takes, wrong
from lafn_viz.core.files import write_utf8, write_whole
from lafn_viz.core.json_records import FactError
from lafn_viz.core.messages import quoted
from lafn_viz.editing.evaluation.answers import Evaluation
from lafn_viz.editing.evaluation.journal import load_evaluation
from lafn_viz.editing.evaluation.passport.result import Passport
from lafn_viz.experiments.store import Store
from lafn_viz.reports.edit_report import evaluation_report
from lafn_viz.reports.parts import page, unused_name
from lafn_viz.reports.passport_report import passport_report
from lafn_viz.reports.sweep_report import sweep_report
from lafn_viz.reports.sweep_results import SweepResults

Result = Store | Evaluation | Passport
WANTED = (
    "a Store or the folder of a sweep; an Evaluation, several, or their files (JSON lines); or "
    "passports or their files (JSON)"
)


@takes(out=a_path, title=or_none(a_text))
def report(
    results: Result | str | Path | Sequence[Result | str | Path] | Mapping[str, Evaluation],
    out: str | Path,
    *,
    title: str | None = None,
) -> Path:
    """Write a report of results as one self-contained page.

    It says what was asked and found, with every figure beside its control and its numbers as a
    table to copy, the methods with their formulas and papers, the limits, and where the results
    come from, with the code that makes them again. It is read in light and dark, on paper and on a
    phone, and is below 10 MB.

    Args:
        results: a `Store` or the folder of a sweep; an `Evaluation`, several or a mapping by name;
            one or several passports; or the files that evaluations and passports were kept in.
        out: the file, whose name ends in .html; one that is there is replaced.
        title: in place of the report's own.

    Returns:
        The file.

    Raises:
        ValueError: for results of different kinds, several sweeps, or another ending.
        FileNotFoundError, FactError, StoreError: for a file or folder that cannot be read.
    """
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise wrong("out", out, "a file whose name ends in .html")
    own_title, head, parts = _written(_read(results))
    text = page(title or own_title, head, parts)
    write_whole(path, lambda beside: write_utf8(beside, text))
    return path


def _read(results: Any) -> list[Result] | dict[str, Evaluation]:
    """The results, read from their files where they are named by a path."""
    if isinstance(results, Mapping):
        if not results or not all(isinstance(x, Evaluation) for x in results.values()):
            raise wrong("results", results, WANTED)
        return {str(name): evaluation for name, evaluation in results.items()}
    if isinstance(results, str | Path | Store | Evaluation | Passport):
        results = [results]
    given = in_order(results)
    if not given:
        raise wrong("results", results, WANTED)
    return [_one(result) for result in given]


def _one(result: Any) -> Result:
    if isinstance(result, Store | Evaluation | Passport):
        return result
    if not isinstance(result, str | Path):
        raise wrong("results", result, WANTED)
    path = Path(result)
    if path.is_dir():
        return Store(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {quoted(str(path))}; give {WANTED}")
    if path.suffix == ".json":
        return Passport.load(path)
    try:
        return load_evaluation(path)
    except FactError as error:
        raise FactError(f"{error}; a report is made of {WANTED}") from None


def _written(results: list[Result] | dict[str, Evaluation]) -> Any:
    if isinstance(results, dict):
        return evaluation_report(_with_answers(results))
    kinds = {type(result) for result in results}
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"results of different kinds ({names}); give those of one kind")
    if isinstance(results[0], Store):
        if len(results) > 1:
            raise ValueError(
                f"{len(results)} sweeps; a report is of one, and an atlas of several (lv.atlas)"
            )
        return sweep_report(SweepResults(results[0]))
    if isinstance(results[0], Passport):
        return passport_report([x for x in results if isinstance(x, Passport)])
    named = _by_editor([x for x in results if isinstance(x, Evaluation)])
    return evaluation_report(_with_answers(named))


def _with_answers(evaluations: dict[str, Evaluation]) -> dict[str, Evaluation]:
    """The evaluations, of which each needs an answer."""
    for name, evaluation in evaluations.items():
        if not evaluation.answers:
            raise ValueError(
                f"the evaluation {quoted(name)} has no answers, so there is nothing to report; "
                "evaluate at least one case"
            )
    return evaluations


def _by_editor(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    """Evaluations by the names of their editors, numbered where several have one name."""
    named: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        named[unused_name(evaluation.editor, named)] = evaluation
    return named

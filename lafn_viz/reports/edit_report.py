"""The report of edits: editors side by side, what edits do in each language, and examples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lafn_viz.core.html_parts import Section, paragraph
from lafn_viz.core.messages import counted
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.evaluation.answers import Answered, Evaluation, Metric
from lafn_viz.editing.evaluation.metrics import AnswerMetric
from lafn_viz.plots.editing import edit_matrix, editor_comparison
from lafn_viz.reports.methods import methods_html
from lafn_viz.reports.parts import decimal, figure_part, lead, numbers_table, with_interval
from lafn_viz.reports.provenance import provenance_html

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 20  # answers that went wrong, of each editor
TEXTS = ("question", "wanted", "before", "after")
EVALUATORS: tuple[AnswerMetric, ...] = ("exact_match", "starts_with", "token_f1", "token_accuracy")


def evaluation_report(evaluations: Mapping[str, Evaluation]) -> tuple[str, str, list[Section]]:
    """The title, the lead and the parts of the report of some evaluations, by name."""
    origins = [evaluation.provenance for evaluation in evaluations.values()]
    models = list(dict.fromkeys(origin.model for origin in origins))
    parts = list(edit_parts(evaluations))
    parts.append(
        Section("methods", "Methods", methods_html(["edits", *_editors(evaluations), "intervals"]))
    )
    parts.append(Section("limits", "Limits", _limits()))
    for number, (name, evaluation) in enumerate(evaluations.items(), 1):
        code = (
            "import lafn_viz as lv\n\n"
            f"model = lv.load_model({evaluation.provenance.model!r})\n"
            "evaluation = lv.evaluate(model, editor, cases)\n"
            'lv.report(evaluation, "report.html")'
        )
        note = "Editor and cases are those of the options below."
        heading = "Where this comes from" + (f": {name}" if len(evaluations) > 1 else "")
        parts.append(
            Section(f"provenance-{number}", heading,
                 provenance_html(evaluation.provenance, code, note))
        )  # fmt: skip
    return f"Edits of the model {' and '.join(models)}", lead(_found(evaluations)), parts


def _editors(evaluations: Mapping[str, Evaluation]) -> Iterator[str]:
    for evaluation in evaluations.values():
        yield evaluation.editor.partition(" ")[0]


def _limits() -> str:
    said = (
        "An answer that counts as unchanged was the model's own before the edit, right or wrong.",
        "Intervals are over edits: questions and languages of one edit depend on each other.",
    )
    return "<ul>" + "".join(f"<li>{sentence}</li>" for sentence in said) + "</ul>"


def _found(evaluations: Mapping[str, Evaluation]) -> Iterator[str]:
    for name, evaluation in evaluations.items():
        rows = evaluation.summary().to_dict("records")
        shown = [
            f"{row['metric']} {with_interval(row['mean'], row['low'], row['high'])} "
            f"(without the edit {decimal(row['before'])})"
            for row in rows
        ]
        cases = counted(max(row["cases"] for row in rows), "edit") if rows else "no edits"
        yield f"{name}, {cases}, exact match: {'; '.join(shown)}."


def edit_parts(evaluations: Mapping[str, Evaluation]) -> Iterator[Section]:
    """The parts of a report about some evaluations, by name; nothing for none."""
    if not evaluations:
        return
    summaries = _summaries(evaluations)
    table = numbers_table(
        summaries, "Means over edits with 95% intervals, by metric and by how answers are scored",
        name="editors",
    )  # fmt: skip
    yield Section(
        "edits", "How edits hold",
        figure_part("editors", editor_comparison(dict(evaluations)), table),
    )  # fmt: skip
    yield _by_language(evaluations)
    yield _examples(evaluations)


def _summaries(evaluations: Mapping[str, Evaluation]) -> "pd.DataFrame":
    import pandas as pd

    frames = []
    for name, evaluation in evaluations.items():
        for evaluator in EVALUATORS:
            summary = evaluation.summary(evaluator)
            frames.append(summary.drop(columns="editor").assign(editor=name))
    frame = pd.concat(frames)
    frame["evaluator"] = frame["evaluator"].str.replace("_", " ")
    return frame[["editor", *(column for column in frame.columns if column != "editor")]]


def _by_language(evaluations: Mapping[str, Evaluation]) -> Section:
    content = [
        paragraph(
            "Rows are the language that was edited, columns the language that was asked in. The "
            "last row is an edit in all languages."
        )
    ]
    for number, (name, evaluation) in enumerate(evaluations.items(), 1):
        place = f"matrix-{number}"
        metric: Metric = "generality"
        if evaluation.matrix(metric).empty:
            metric = "reliability"
        frame = evaluation.matrix(metric).rename(columns=language_name).reset_index()
        frame["edited in"] = [
            "all languages" if x == "all" else language_name(x) for x in frame["edited in"]
        ]
        caption = f"{name}: mean {metric}, exact match, by language edited and asked in"
        content.append(
            figure_part(place, edit_matrix(evaluation, metric),
                        numbers_table(frame, caption, name=place))
        )  # fmt: skip
    return Section("by-language", "In each language", "".join(content))


def _examples(evaluations: Mapping[str, Evaluation]) -> Section:
    content = []
    for name, evaluation in evaluations.items():
        wrong = [x for x in evaluation.answers if x.score("exact_match") < 1]
        said = f"{name}: {len(wrong):,} of {len(evaluation.answers):,} answers are not as wanted"
        content.append(paragraph(f"{said}." if not wrong else f"{said}; the first of each edit:"))
        if wrong:
            content.append(numbers_table(_wrong(wrong), f"{said}: examples", texts=TEXTS))
    return Section("examples", "Answers that went wrong", "".join(content))


def _wrong(answers: Sequence[Answered]) -> "pd.DataFrame":
    import pandas as pd

    # One of each edit and metric first, so that one bad edit does not fill the table.
    seen: dict[tuple[str, str], list[Answered]] = {}
    for answer in answers:
        seen.setdefault((answer.case, answer.metric), []).append(answer)
    order = sorted(
        (
            (place, number)
            for number, group in enumerate(seen.values())
            for place in range(len(group))
        )
    )
    groups = list(seen.values())
    chosen = [groups[number][place] for place, number in order[:EXAMPLES]]
    return pd.DataFrame(
        {
            "edit": answer.case, "asked": answer.metric, "language": answer.language,
            "question": answer.text, "wanted": answer.reference, "before": answer.before,
            "after": answer.after,
        }
        for answer in chosen
    )  # fmt: skip

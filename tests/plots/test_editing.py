"""Figures of edits and of their evaluation."""

import pytest
from made_up_edits import an_edit

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.editing.evaluation.answers import Answered, Evaluation


@pytest.mark.slow
def test_figures_of_edits(embedded, facts):
    options = {"subject": "Peru", "relation": "capital", "new_object": "Rome", "languages": ["en"]}
    edits = [lv.lafn_edit(embedded, facts, **options, n_neurons=n) for n in (3, 6)]
    curves = plots.edit_curves({"few": edits[0], "more": edits[1]})
    for trace, edit in zip(curves.data, edits, strict=True):
        assert tuple(trace.y) == edit.curve
    sizes = plots.edits_by_size({"located": edits})
    assert tuple(sizes.data[0].x) == (3, 6)
    assert tuple(sizes.data[0].y) == tuple(edit.loss for edit in edits)
    assert "nats" in sizes.layout.yaxis.title.text


def test_values_are_drawn_beside_their_control_on_one_scale(embedded):
    edits = [an_edit(embedded, seed=seed) for seed in (0, 1)]
    figure = plots.edit_values(edits[0], control=edits[1], top=5)
    for bars, edit in zip(figure.data, edits, strict=True):
        largest = sorted(edit.values.abs().tolist())[-5:]
        assert sorted(map(abs, bars.y)) == pytest.approx(largest)
    assert figure.layout.yaxis2.matches == "y"
    assert "control" in figure.layout.annotations[1].text
    assert len(plots.edit_values(edits[0]).data) == 1
    assert "Japan: capital → Rome" in figure.layout.title.text
    assert plots.edit_curves({"Japan": edits[0]}).layout.title.text.endswith("Japan")


def an_evaluation(editor, right):
    """Edits of two cases in two languages, alone and together; `right` says which hold."""
    answers = tuple(
        Answered(
            case=case, edited_in=edited_in, metric=metric, language=language, text="",
            reference="Rome", aliases=(), before="Paris",
            after="Rome" if right(case, edited_in, language) else "Paris",
            token_accuracy_before=0.0, token_accuracy=0.0,
        )
        for case in ("a", "b")
        for edited_in in ("en", "zh", "all")
        for metric in ("reliability", "generality")
        for language in ("en", "zh")
    )  # fmt: skip
    return Evaluation(editor, answers, lv.Provenance("made-up", "", "made-up"))


def test_figures_of_an_evaluation():
    own = an_evaluation("own", lambda case, edited_in, language: edited_in in (language, "all"))
    figure = plots.edit_matrix(own)
    assert figure.data[0].z.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert list(figure.data[0].y) == ["English", "Chinese", "all languages"]
    assert "reliability" in figure.layout.title.text
    half = an_evaluation("half", lambda case, edited_in, language: case == "a")
    both = plots.editor_comparison({"own": own, "half": half})
    assert [x.text for x in both.layout.annotations[:2]] == ["reliability", "generality"]
    without, edited = both.data[:2]
    assert list(edited.y) == ["own", "half"]
    assert (list(edited.x), list(without.x)) == ([1, 0.5], [0, 0])
    assert list(edited.error_x.array) == [0, 0.5]

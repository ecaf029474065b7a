"""Figures of the statistics of overlaps, and of the threshold."""

import pandas as pd

import lafn_viz as lv
from lafn_viz import plots


def test_ladder_marks_the_facts_that_beat_the_others(overlap):
    result = lv.significance(overlap, n_permutations=19)
    figure = plots.significance_ladder(result, statistic="shared")
    shown = {trace.name: trace for trace in figure.data}
    significant = [name for name in shown if name.startswith("observed, q")]
    n_significant = (result.q_value[1, 1] < 0.05).sum()
    assert significant == [f"observed, q < 0.05 against other facts ({n_significant})"]
    dots = [t for t in figure.data if t.name.startswith("observed")]
    values = {x: y for t in dots for x, y in zip(t.x, t.y, strict=True)}
    assert values == dict(zip(result.facts, result.observed[1], strict=True))


def test_threshold_lines_show_each_comparison():
    table = pd.DataFrame(
        {
            "fraction": [0.01, 0.1] * 3,
            "comparison": ["same fact"] * 2 + ["other fact"] * 2 + ["chance"] * 2,
            "jaccard": [0.5, 0.6, 0.1, 0.2, 0.0, 0.1],
            "low": [0.4, 0.5, 0.0, 0.1, 0.0, 0.0],
            "high": [0.6, 0.7, 0.2, 0.3, 0.1, 0.2],
        }
    )
    figure = plots.threshold_lines(table)
    assert {t.mode for t in figure.data if t.fill} == {"lines"}  # no dots on the bands
    lines = {t.name: t for t in figure.data if t.mode == "lines+markers"}
    assert list(lines["other fact"].y) == [0.1, 0.2]
    assert list(lines["same fact"].x) == [0.01, 0.1]

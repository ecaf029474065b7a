"""A training history: means, turning points and files, on curves whose answers are known."""

import numpy as np
import pandas as pd
import pytest

import lafn_viz as lv
from lafn_viz.interventions.training_history import PAIRS, VALUES

STEPS = (10, 20, 40, 80, 160)


def made_up(curves, *, n_facts=12, noise=0.0, seed=0):
    """A history whose facts follow these curves: (measure, layer) -> (values, controls) by step."""
    rng, rows = np.random.default_rng(seed), []
    for (measure, layer), (values, controls) in curves.items():
        for number in range(n_facts):
            for step, value, control in zip(STEPS, values, controls, strict=True):
                own = value + noise * rng.standard_normal()
                rows.append((step, measure, layer, f"capital/{number}", own, control))
    pairs = pd.DataFrame([(step, "en", "ru", 0.2, 0.1) for step in STEPS], columns=list(PAIRS))
    provenance = lv.Provenance("made-up", "0", "over_checkpoints")
    values = pd.DataFrame(rows, columns=list(VALUES))
    return lv.TrainingHistory("made-up", STEPS, values, pairs, provenance)


NONE = [np.nan] * 5


def test_a_turning_point_is_half_of_the_highest_excess_over_the_control():
    history = made_up(
        {
            ("knowing", -1): ([0, 0.2, 0.6, 1, 1], NONE),
            # Less its control: 0, 0, .1, .3, .2; half of .3 lies between steps 40 and 80.
            ("sharing", -1): ([0.1, 0.2, 0.3, 0.5, 0.4], [0.1, 0.2, 0.2, 0.2, 0.2]),
        },
        noise=1e-6,
    )
    turns = history.turning_points()
    assert turns.loc["knowing", "step"] == pytest.approx(35, rel=1e-3)
    assert turns.loc["sharing", "step"] == pytest.approx(50, rel=1e-3)
    assert turns.loc["sharing", "highest"] == pytest.approx(0.3, rel=1e-3)
    assert turns.loc["knowing", "low"] <= 35 <= turns.loc["knowing", "high"]
    assert "knowing 35" in repr(history)
    assert "5 checkpoints" in repr(history)


def test_what_never_differs_from_its_control_has_no_turning_point():
    same = [0.1, 0.2, 0.3, 0.4, 0.4]
    history = made_up({("sharing", -1): (same, same), ("knowing", -1): (same, NONE)}, noise=0.05)
    assert list(history.turning_points().index) == ["knowing"]


def test_the_interval_of_a_turning_point_holds_the_true_one_in_most_runs():
    curve = [0, 0.25, 0.5, 0.75, 1.0]  # half-way at step 40
    held = 0
    for seed in range(60):
        history = made_up({("knowing", -1): (curve, NONE)}, noise=0.15, n_facts=24, seed=seed)
        turn = history.turning_points(draws=200).loc["knowing"]
        held += turn.low <= 40 <= turn.high
    assert held >= 51  # of 57 expected


def test_the_lens_is_told_in_the_layer_that_differs_most_from_its_control():
    history = made_up(
        {
            ("another language leads", 1): ([0, 0, 0, 0.5, 0.5], [0, 0, 0, 0.4, 0.4]),
            ("another language leads", 2): ([0, 0, 0.1, 0.3, 0.4], [0, 0, 0, 0, 0.1]),
        }
    )
    assert history.lens_layer == 2
    assert history.excess("another language leads")[:, 0] == pytest.approx([0, 0, 0.1, 0.3, 0.3])
    assert made_up({("knowing", -1): ([0] * 5, NONE)}).lens_layer == -1


def test_means_and_their_intervals_stand_beside_the_control():
    same = [0.2, 0.2, 0.4, 0.5, 0.9]
    table = made_up({("sharing", -1): (same, [0.1] * 5)}, noise=0.01).to_frame()
    assert list(table["step"]) == list(STEPS)
    last = table.iloc[-1]
    assert last["low"] < last["value"] <= 1
    assert last["high"] <= 1
    assert last["difference"] == pytest.approx(last["value"] - 0.1)
    assert last["n_facts"] == 12


def test_a_history_is_read_back_as_it_was_saved(tmp_path):
    history = made_up({("knowing", -1): ([0, 0.1, 0.5, 1, 1], NONE)})
    history.save(tmp_path / "history.json")
    again = lv.load_history(tmp_path / "history.json")
    pd.testing.assert_frame_equal(history.values, again.values, check_dtype=False)
    pd.testing.assert_frame_equal(history.pairs, again.pairs)
    assert again.steps == STEPS
    assert again.provenance == history.provenance


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "object"),
        ("{", "JSON"),
        ("{}", "values"),
        ('{"values": {"columns": ["step"], "data": [[1]]}}', "has no column"),
        ('{"values": {"columns": 3}}', "cannot be read"),
    ],
)
def test_a_file_that_holds_no_history_is_told_so(tmp_path, text, said):
    path = tmp_path / "history.json"
    path.write_text(text, "utf-8")
    with pytest.raises(lv.FactError, match=said):
        lv.load_history(path)
    with pytest.raises(FileNotFoundError, match="there is no history"):
        lv.load_history(tmp_path / "none.json")


def test_histories_that_come_along_are_of_the_models_that_come_along():
    for name in ("embedded", "embedded-control"):
        history = lv.load_history(name)
        assert {"knowing", "transfer", "sharing"} <= {*history.values["measure"]}
        assert history.steps == tuple(sorted(history.steps))
    # What the whole comparison rests on: one shares across scripts what it knows, one does not.
    turns = {
        name: lv.load_history(name).turning_points() for name in ("embedded", "embedded-control")
    }
    assert {"knowing", "transfer", "sharing"} <= {*turns["embedded"].index}

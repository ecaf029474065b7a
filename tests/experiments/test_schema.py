"""A frame becomes a table of the store with exactly the table's columns."""

import pandas as pd
import pytest

from lafn_viz.experiments.schema import MEASURED, TABLES, table_of

FAILURE = {
    "model": ["m"], "item": ["capital/FR"], "stage": ["effects"], "error": ["ValueError"],
    "reason": ["none"],
}  # fmt: skip


def test_columns_are_put_in_order_and_typed():
    frame = pd.DataFrame({name: FAILURE[name] for name in reversed(FAILURE)})
    table = table_of("failures", frame)
    assert table.column_names == list(TABLES["failures"])
    assert table.to_pylist() == [{name: values[0] for name, values in FAILURE.items()}]


def test_a_column_that_the_table_does_not_have_is_refused():
    frame = pd.DataFrame({**FAILURE, "colour": ["red"]})
    told = "the table 'failures' has no column 'colour'; drop it, or use one of model, item"
    with pytest.raises(ValueError, match=told):
        table_of("failures", frame)
    with pytest.raises(ValueError, match=told):
        table_of("failures", frame.drop(columns="colour"), nulls=["colour"])


def test_a_column_that_the_frame_lacks_is_refused_unless_it_is_null_on_purpose():
    frame = pd.DataFrame(FAILURE).drop(columns="error")
    told = "the frame for the table 'failures' lacks the column 'error'; add it, or name it in"
    with pytest.raises(ValueError, match=told):
        table_of("failures", frame)
    assert table_of("failures", frame, nulls=["error"])["error"].to_pylist() == [None]


def test_the_columns_of_effects_keep_their_order():
    """Files on disk and those who read them by position rely on it."""
    assert list(MEASURED) == [
        "p_before", "p_after", "p_random", "p_other_before", "p_other",
        "log_p_before", "log_p_after", "log_p_random", "log_p_other_before", "log_p_other",
    ]  # fmt: skip
    assert list(TABLES["effects"])[-10:] == list(MEASURED)

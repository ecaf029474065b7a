"""A lens by hand: what leads, what is left out, and what the control says."""

import numpy as np
import pytest
from made_up import made_up_lens


@pytest.fixture
def lens():
    return made_up_lens()


def test_names_that_begin_alike_lead_together_and_are_not_told_apart(lens):
    assert lens.latent.tolist() == [
        ["en/fr", "en/fr", "ru"], ["en", "en", "ru"], ["en/fr", "en/fr", "en/fr"],
    ]  # fmt: skip
    assert lens.told_apart.tolist() == [True, True, False]
    assert lens.leading(top=10)[0].tolist() == [
        [False, False, False], [True, True, False], [False, False, True],
    ]  # fmt: skip
    assert lens.leading(top=None)[1, 1].tolist() == [True, False, False]


def test_a_summary_counts_facts_and_shows_the_control(lens):
    table = lens.summary(top=10, draws=99)
    another, own, english = (table.xs(name, level="leader") for name in ("another", "own", "en"))
    assert another["value"].tolist() == [0, 0.5, 0]
    assert own["value"].tolist() == [0, 0, 1]
    # After layer 1, one of two other objects of A leads in English.
    assert another["control"].tolist() == [0, 0.25, 0.25]
    assert own["control"].tolist() == [0, 0, 0.25]
    assert english["control"].tolist() == [0, 0.25, 0.25]
    np.testing.assert_allclose(own["difference"], own["value"] - own["control"])
    assert (table["n_prompts"].xs("own", level="leader") == 2).all()
    assert (table["n_prompts"].xs("ru", level="leader") == 0).all()
    assert table["value"].xs("ru", level="leader").isna().all()
    assert (own["n_facts"] == 2).all()


def test_shares_by_language_leave_out_what_cannot_be_told_apart(lens):
    table = lens.by_language(top=10).set_index(["language", "layer", "name"]).sort_index()
    assert table.loc[("ru", 1), "share"].to_dict() == {"en": 0.5, "fr": 0.5, "ru": 0, "any": 0.5}
    assert table.loc[("ru", 2), "share"].to_dict() == {"en": 0, "fr": 0, "ru": 1, "any": 1}
    assert table.loc[("ru", 2), "control"].to_dict() == {
        "en": 0.25,
        "fr": 0,
        "ru": 0.25,
        "any": 0.5,
    }
    assert table.loc["fr", "share"].isna().all()
    assert (table.loc["fr", "n_prompts"] == 0).all()


def test_a_frame_has_a_row_for_every_name(lens):
    frame = lens.to_frame()
    assert len(frame) == 3 * 3 * 3
    row = frame[(frame["fact_id"] == "B") & (frame["layer"] == 2)].set_index("name_language")
    assert row["rank"].to_dict() == {"en": 9, "fr": 40, "ru": 2}
    assert row["control_rank"].to_dict() == {"en": 4.5, "fr": 23, "ru": 45.5}
    assert row.loc["ru", "control_low"] == pytest.approx(1 + 0.1 * 89)
    assert row["latent"].tolist() == [False, False, True]
    assert row.loc["fr", "name"] == "B fr"
    assert repr(lens).startswith("LanguageLens(3 prompts of 2 facts in 3 languages, 2 layers")

"""A lens by hand: what leads, what is left out, and what the control says."""

import numpy as np
import pytest

import lafn_viz as lv

LANGUAGES = ("en", "fr", "ru")


def lens_of(rank, control, token, asked, names=None):
    """A lens of made-up ranks; `asked` has fact and language of each prompt."""
    rank, control = np.array(rank, dtype=float), np.array(control, dtype=float)
    prompts = tuple(
        lv.Prompt(
            fact_id=fact, relation="capital", language=language, paraphrase=0, text="A is",
            answer="B", subject="A", subject_span=(0, 1),
        )
        for fact, language in asked
    )  # fmt: skip
    return lv.LanguageLens(
        prompts=prompts, languages=LANGUAGES,
        names={fact: {code: f"{fact} {code}" for code in LANGUAGES} for fact, _ in asked},
        token=np.array(token), log_prob=-rank, rank=rank, control_log_prob=-control,
        control_rank=control, written=tuple((" x",) * rank.shape[1] for _ in prompts),
        written_prob=np.full(rank.shape[:2], 0.5), provenance=lv.Provenance("made-up", "", "lens"),
    )  # fmt: skip


@pytest.fixture
def lens():
    """Two prompts in Russian, one in French whose name is the English one too."""
    rank = [
        [[50, 50, 90], [0, 0, 30], [7, 7, 0]],
        [[50, 60, 90], [20, 30, 40], [9, 40, 2]],
        [[1, 1, 5], [0, 0, 5], [0, 0, 5]],
    ]
    # Two other objects in each prompt; the second of the first prompt has one name only.
    control = np.full((3, 3, 2, 3), 99.0)
    control[0, 1, 0] = [3, 8, 40]
    control[0, :, 1] = [np.nan, np.nan, 70]
    control[1, 2] = [[4, 40, 1], [5, 6, 90]]
    token = [[11, 11, 12], [13, 14, 15], [11, 11, 12]]
    return lens_of(rank, control, token, [("A", "ru"), ("B", "ru"), ("A", "fr")])


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

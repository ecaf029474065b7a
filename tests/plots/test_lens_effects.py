"""The figure of what layers no longer name: a row a set, the same lines in each."""

import numpy as np
from made_up import made_up_lens

import lafn_viz as lv
from lafn_viz import plots


def test_a_row_for_each_set_that_has_neurons():
    lens = made_up_lens()
    shape = (3, 3, 2, len(lens.prompts), lens.n_layers + 1)
    log_p = np.where(lens.told_apart[:, None], np.arange(np.prod(shape)).reshape(shape), np.nan)
    log_p[1] = np.nan
    found = lv.LensEffects(
        lens=lens, sets=("agnostic", "nobody's", "specific"),
        n_neurons=np.array([[4.0, 6, 5], [0, 0, 0], [2, 2, 2]]), log_p=log_p, leads=log_p / 1e4,
        provenance=lens.provenance,
    )  # fmt: skip
    figure = plots.lens_changes(found)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [
        "agnostic: name in another language", "agnostic: the own name",
        "specific: name in another language", "specific: the own name",
    ]  # fmt: skip
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [trace.name for trace in lines] == ["the fact's neurons", "random ones",
                                               "another fact's"] * 4  # fmt: skip
    assert [trace.showlegend for trace in lines] == [True] * 3 + [False] * 9
    table = found.summary()
    np.testing.assert_allclose(
        lines[0].y, table.loc[("agnostic", "zeroed", "another"), "log_p"].to_numpy()
    )
    np.testing.assert_allclose(
        lines[-1].y, table.loc[("specific", "other fact", "own"), "log_p"].to_numpy()
    )
    assert "agnostic 5, nobody's 0, specific 2" in figure.layout.title.subtitle.text
    shares = plots.lens_changes(found, of="leads")
    assert shares.layout.yaxis.tickformat == ".0%"

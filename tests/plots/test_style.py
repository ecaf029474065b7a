"""The house style: colours that can be told apart, error bars, visible tokens."""

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz.datasets.languages import language_name
from lafn_viz.plots.style import (
    CONFIG,
    LANGUAGE_COLOURS,
    config_for,
    interval,
    isolated,
    language_colour,
    signed,
    visible,
)


def test_error_bars_reach_from_low_to_high():
    bars = interval([2.0, 5.0], [1.5, 1.0], [4.0, 5.5], width=3)
    assert (list(bars["array"]), list(bars["arrayminus"])) == ([2.0, 0.5], [0.5, 4.0])
    assert (bars["symmetric"], bars["width"]) == (False, 3)
    assert [language_name(code) for code in ("hi", "xx")] == ["Hindi", "xx"]


@pytest.mark.parametrize(
    ("title", "file"),
    [
        ("France – capital: which neurons answer?", "France-capital-which-neurons-answer"),
        ("日本 / <b>東京</b> &amp; x", "日本-東京-x"),
        ("../..", "figure"),
        ("a" * 200, "a" * 80),
    ],
)
def test_a_figure_is_saved_under_its_title(title, file):
    config = config_for(title)
    assert config["toImageButtonOptions"]["filename"] == file
    assert config.items() > CONFIG.items()


def test_what_rounds_to_zero_is_zero_and_what_is_no_number_nothing():
    assert signed([-1e-6, 0.00004, -0.0, np.nan], 4) == ["0", "0", "0", ""]
    assert signed([0.25, -0.12345], 2) == ["+0.25", "−0.12"]
    assert signed([0.25, -0.12345, -1e-5], 1, percent=True) == ["+25.0%", "−12.3%", "0"]


def test_only_what_is_written_from_right_to_left_is_isolated():
    assert isolated("Tokyo 東京 Токио") == "Tokyo 東京 Токио"
    for name in ("طوكيو", "טוקיו"):
        assert isolated(name) == f"\u2068{name}\u2069"


# What deuteranope and protanope eyes make of linear RGB (Machado et al. 2009, severity 1).
EYES = {
    "normal": np.eye(3),
    "deuteranope": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanope": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}  # fmt: skip


def cielab(colour, eye):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    rgb = np.clip(np.array(EYES[eye]) @ rgb, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_colours_of_languages_can_be_told_apart(eye):
    assert LANGUAGE_COLOURS.keys() == set(lv.load_facts().languages)
    seen = [cielab(colour, eye) for colour in LANGUAGE_COLOURS.values()]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 15
    assert max(lightness for lightness, _, _ in seen) < 86  # on white


def test_any_other_language_has_the_same_colour_in_every_run():
    for tag in ("zh-TW", "zh_CN", "zho", "cmn"):
        assert language_colour(tag) == LANGUAGE_COLOURS["zh"]
    assert [language_colour(code) for code in ("nl", "ko", "sw")] == [
        "#4A30A6",
        "#49CA4D",
        "#8849CA",
    ]


def test_tokens_show_their_spaces():
    assert visible(" Rome\n") == "␣Rome↵"
    assert visible("<b>\x00") == r"&lt;b&gt;\u0000"

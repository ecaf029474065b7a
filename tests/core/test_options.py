"""Options are checked by name, and kept as JSON holds them."""

import re

import pytest

from lafn_viz.core.options import plain, require_one_of


def test_names_are_given_back_in_their_order():
    assert require_one_of("language", "fr", ["en", "fr"]) == ("fr",)
    assert require_one_of("language", iter(["fr", "en"]), ["en", "fr"]) == ("fr", "en")
    assert require_one_of("language", [], ["en"]) == ()


@pytest.mark.parametrize("given", ["xx", ["en", "xx"]])
def test_an_unknown_name_gets_a_sentence_with_what_there_is(given):
    with pytest.raises(ValueError, match=re.escape("unknown language 'xx'; there are en, fr")):
        require_one_of("language", given, ["en", "fr"])


def test_options_are_kept_as_json_holds_them():
    assert plain({"layers": (1, 2), "rate": 0.5}) == {"layers": [1, 2], "rate": 0.5}
    assert plain(None) is None
    assert plain(object()) == "object"
    assert plain({1j}) == "set"

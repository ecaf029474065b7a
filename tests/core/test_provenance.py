"""A result says where it comes from."""

import lafn_viz as lv


def test_provenance_is_shown_short():
    source = lv.Provenance("tiny", "0123456789abcdef", "overlap", {"share": 0.5})
    assert repr(source) == "Provenance(overlap on tiny 01234567, {'share': 0.5})"

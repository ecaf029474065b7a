import pytest
from edit_records import pair, written

import lafn_viz as lv


def test_summary_is_a_sentence(tmp_path):
    cases = lv.load_edit_cases(written(tmp_path / "m.json", [pair("ru", src="Где?")]))
    said = cases.summary()
    assert said.startswith("1 edits in 2 languages: subject not in question 100% (most in ru: 100%")
    assert said.endswith(".")


def test_edit_sets_are_cut_and_shown(tmp_path):
    records = [pair("ru"), {"en": pair("ru", subject="Berta Ek")["en"]}]
    cases = lv.load_edit_cases(written(tmp_path / "m.json", records))
    assert repr(cases) == "EditSet(2 cases, languages=['en', 'ru'])"
    assert "-> 'Orvik'" in repr(cases[0])
    assert [case.id for case in cases.filter(languages="ru")] == ["mzsre/1"]
    assert cases.filter(languages="ru")[0].locality.keys() == {"ru"}
    assert len(cases.filter(n=1)) == 1
    frame = cases.to_frame()
    assert list(frame["role"].unique()) == ["edit", "rephrased", "locality", "portability"]
    assert len(frame) == 12
    with pytest.raises(ValueError, match="n=3 of 2 cases; give 1 to 2"):
        cases.filter(n=3)
    with pytest.raises(KeyError, match="no case 'x' here; ids look like 'mzsre/1'"):
        cases["x"]
    with pytest.raises(ValueError, match="case 'x' edits no question"):
        lv.EditCase(id="x", source="own", subject={}, edit={})

"""An edit as a value."""

import dataclasses
import unicodedata

import pytest
from made_up_edits import an_edit


def test_an_edit_keeps_codes_of_languages_and_names_in_nfc(tiny):
    edit = an_edit(tiny("gpt2"))
    given = {"pt_BR": unicodedata.normalize("NFD", "Perú"), "zho": "秘鲁"}
    names = {language: (name,) for language, name in given.items()}
    read = dataclasses.replace(edit, names=names, old=given, new=given)
    assert read.old == read.new == {"pt": "Perú", "zh": "秘鲁"}
    assert read.names == {"pt": ("Perú",), "zh": ("秘鲁",)}
    with pytest.raises(ValueError, match="'zh' and 'zh-CN' are one language"):
        dataclasses.replace(edit, new={"zh": "A", "zh-CN": "B"})

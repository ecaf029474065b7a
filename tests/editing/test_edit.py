"""An edit as a value."""

import dataclasses
import unicodedata

import pytest
from made_up_edits import an_edit

import lafn_viz as lv


def test_an_edit_keeps_codes_of_languages_and_names_in_nfc(tiny):
    edit = an_edit(tiny("gpt2"))
    given = {"pt_BR": unicodedata.normalize("NFD", "Perú"), "zho": "秘鲁"}
    names = {language: (name,) for language, name in given.items()}
    read = dataclasses.replace(edit, names=names, old=given, new=given)
    assert read.old == read.new == {"pt": "Perú", "zh": "秘鲁"}
    assert read.names == {"pt": ("Perú",), "zh": ("秘鲁",)}
    with pytest.raises(ValueError, match="'zh' and 'zh-CN' are one language"):
        dataclasses.replace(edit, new={"zh": "A", "zh-CN": "B"})


def test_prompts_in_which_an_edit_will_not_act_are_told_of(tiny):
    edit = an_edit(tiny("gpt2"))
    edit.warn_where_not_found()
    text = "ভারতের রাজধানী"  # Bengali: the name with an ending
    prompt = lv.Prompt.of(text, "x", subject="ভারত", language="bn")
    edit = dataclasses.replace(edit, names={"bn": ("ভারত",)}, prompts=(prompt,))
    with pytest.warns(UserWarning, match=f"will not act in 1 of the 1 prompts .*{text}"):
        edit.warn_where_not_found()

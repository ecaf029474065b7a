"""The live editor shows the passport of an edit, alone and beside another one."""

import base64
import re
from html import unescape

import pytest
from made_up_edits import an_edit

import lafn_viz as lv
from lafn_viz.widgets.edit_stack import StagedEdit


@pytest.fixture
def editor(embedded, capitals) -> lv.LiveEditor:
    """An editor with a made-up edit of Japan's capital, in English."""
    explorer = lv.LiveEditor(embedded, capitals)
    explorer.wait()
    staged = StagedEdit.loaded(an_edit(embedded, position="answer"), capitals)
    explorer._set_stack(explorer.stack.push(staged))
    explorer.wait()
    return explorer


def make(explorer, beside=""):
    explorer.passport.beside.value = beside
    explorer.passport.button.click()
    explorer.wait()
    return explorer.passport.passport


@pytest.mark.slow
def test_the_passport_of_the_selected_edit_is_shown_and_goes_with_it(editor):
    made = make(editor)
    assert not editor.status.is_error, editor.status.text
    assert (list(made.edits), made.new) == (["this edit"], {"en": "Rome"})
    shown = editor.passport.page.value
    (inside,) = re.findall(r'srcdoc="([^"]*)"', shown)
    assert unescape(inside) == made.to_html()
    (address,) = re.findall(r"base64,([^\"]*)\"", shown)
    assert base64.b64decode(address).decode() == made.to_html()
    assert "<iframe sandbox title=" in shown
    editor.scale.value = 0.0
    assert (editor.passport.passport, editor.passport.page.value) == (None, "")
    editor.wait()
    # Beside the edit as it was before the slider moved, which is the one made first.
    both = make(editor, "the edit before it")
    assert list(both.edits) == ["this edit", "the edit before it"]
    texts = {name: [x.after[name] for x in both.questions] for name in both.edits}
    assert texts["this edit"] == [x.before for x in both.questions]
    assert texts["the edit before it"] == [x.after["this edit"] for x in made.questions]


@pytest.mark.slow
def test_an_edit_without_another_before_it_says_so(editor):
    assert make(editor, "the edit before it") is None
    assert editor.status.is_error
    assert "not edited in another way before" in editor.status.text


@pytest.mark.slow
def test_a_passport_that_is_cancelled_is_not_shown(editor):
    editor.passport.button.click()
    editor.stop()
    editor.wait()
    assert editor.passport.passport is None
    assert editor.status.text == "Cancelled."

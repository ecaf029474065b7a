"""Files that a reader takes along: edits, answers, tables of neurons."""

import io
import threading
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest
import torch
from made_up_edits import an_edit

import lafn_viz as lv
from lafn_viz.editing.cache_files import EDITS, VALUES
from lafn_viz.widgets.download import Download
from lafn_viz.widgets.edit_files import packed, unpacked
from lafn_viz.widgets.edit_stack import StagedEdit
from lafn_viz.widgets.explorer import WORKER


def click(download: Download) -> bytes:
    """Ask for a file as the page does, and return it."""
    answered = download.answered
    download.asked += 1
    assert download.answered == answered + 1, "no file came"
    return download.content


@pytest.fixture(scope="module")
def edit(embedded) -> lv.Edit:
    """A made-up edit of Japan's capital, in English."""
    return an_edit(embedded, position="answer")


@pytest.fixture
def editor(embedded, capitals, edit) -> lv.LiveEditor:
    explorer = lv.LiveEditor(embedded, capitals)
    explorer.wait()
    explorer._set_stack(explorer.stack.push(StagedEdit.loaded(edit, capitals)))
    explorer.wait()
    return explorer


def uploaded(name: str, content: bytes) -> dict:
    """A file as a page sends it."""
    dates = {"last_modified": datetime(2026, 1, 1, tzinfo=UTC)}
    kind = {"type": "application/zip", "size": len(content)}
    return {"name": name, "content": memoryview(content), **kind, **dates}


def archive(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name.replace("_", "."), data)
    return content.getvalue()


def same(one: lv.Edit, other: lv.Edit) -> bool:
    no_values = torch.zeros(0)
    return torch.equal(one.values, other.values) and repr(replace(one, values=no_values)) == repr(
        replace(other, values=no_values)
    )


def test_packed_edits_come_back_as_they_were(edit):
    (back,) = unpacked("edits.zip", packed(lv.EditCache([edit])))
    assert same(back, edit)
    with pytest.raises(ValueError, match="no edit to save; make one first"):
        packed(lv.EditCache())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no zip file"),
        (b"PK\x03\x04 and so on", "no zip file"),
        (archive(edits_json=b"{}"), "without edits.json and values.safetensors"),
        (archive(edits_json=b"{}", values_safetensors=b"", more_txt=b""), "without edits.json"),
        (archive(edits_json=b"{}", values_safetensors=b""), "^mine.zip/edits.json"),
    ],
)
def test_another_file_is_refused_in_a_sentence(content, why):
    with pytest.raises(ValueError, match=why):
        unpacked("mine.zip", content)


def test_a_damaged_file_is_refused(edit):
    whole = packed(lv.EditCache([edit]))
    for cut in (len(whole) // 2, len(whole) - 30):
        with pytest.raises(ValueError, match=r"no zip file, or a damaged one"):
            unpacked("mine.zip", whole[:cut])
    torn = bytearray(whole)
    torn[60:90] = bytes(30)
    with pytest.raises(ValueError, match=r"no zip file, or a damaged one"):
        unpacked("mine.zip", bytes(torn))


def test_a_file_that_would_fill_the_memory_is_refused(monkeypatch, edit):
    monkeypatch.setattr("lafn_viz.widgets.edit_files.LARGEST", 100)
    with pytest.raises(ValueError, match="more than 0 MB"):
        unpacked("mine.zip", packed(lv.EditCache([edit])))


@pytest.mark.slow
def test_edits_are_downloaded_and_uploaded(editor, edit):
    content = click(editor.files.download)
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        assert set(zipped.namelist()) == {EDITS, VALUES}
    assert editor.files.download.name == "edits.zip"
    assert editor.files.status.text.startswith("Gave EditCache(1 edit")
    editor.remove_button.click()
    editor.wait()
    assert not editor.stack
    editor.files.upload.value = [uploaded("edits.zip", content)]
    editor.wait()
    assert editor.files.status.text == "Loaded 1 edit from edits.zip."
    assert same(editor.stack[0].edit, edit)
    assert editor.files.upload.value == ()
    # A file that cannot be read loses nothing.
    editor.files.upload.value = [uploaded("a.zip", b"no")]
    assert editor.files.status.is_error
    assert "'a.zip' holds no edits" in editor.files.status.text
    assert same(editor.stack[0].edit, edit)


def test_without_edits_there_is_no_file(embedded, capitals):
    editor = lv.LiveEditor(embedded, capitals)
    editor.wait()
    for download in (editor.files.download, editor.answers_file):
        download.asked += 1
        assert download.answered == 0
    assert "make one first" in editor.files.status.text
    assert "no answers are shown yet" in editor.status.text


@pytest.mark.slow
def test_answers_are_a_table(editor):
    frame = pd.read_csv(io.BytesIO(click(editor.answers_file)))
    shown = editor.comparison.to_frame()
    assert frame["text"].tolist() == shown["text"].tolist()
    assert frame["well"].tolist() == shown["well"].tolist()


@pytest.mark.slow
def test_only_failures_are_shown(editor):
    editor.scale.value = 0.0  # nothing is edited: the edit fails, and its neighbours are kept
    editor.wait()
    everything = editor.answers.value
    editor.only_failures.value = True
    shown = editor.answers.value
    n_other = editor.comparison.counts("other subjects")[1]
    assert f"All {n_other} are as they should be." in shown
    assert shown.count("✗") == everything.count("✗") > 0
    assert everything.count("✓") == n_other + editor.comparison.counts("same subject")[1]
    editor.only_failures.value = False
    assert editor.answers.value == everything


@pytest.mark.slow
def test_an_own_prompt_is_asked_before_and_after(editor, embedded):
    panel = editor.own_prompt
    holds_the_model = threading.Event()
    held = WORKER.submit(
        lambda task: holds_the_model.wait(30),
        show=lambda *_: None, progress=lambda *_: None, failed=lambda error: None,
    )  # fmt: skip
    panel.text.value = "The capital of Japan is "
    assert editor.status.text == "Waiting …"
    holds_the_model.set()
    held.finished.result(30)
    editor.wait()
    assert editor.status.text == "What the model writes after your prompt is below."
    before, after = panel.written
    assert (before.text, before.likeliest[0][0]) == ("Tokyo", " Tokyo")
    with editor.cache.applied(embedded):
        likeliest = lv.next_tokens(embedded, [_prompt("The capital of Japan is")], k=3)[0]
    assert after.likeliest == likeliest != before.likeliest
    # It follows the edits, and goes with the text.
    editor.scale.value = 0.0
    editor.wait()
    assert panel.written[1] == before
    assert editor.status.text.startswith("1 edit applied.")
    panel.text.value = "<b>日本の首都は"
    editor.wait()
    assert panel.written[0].text
    assert "<b>" not in panel.answers.value
    panel.text.value = ""
    editor.wait()
    assert (panel.written, panel.answers.value) == ((), "")


def _prompt(text: str) -> lv.Prompt:
    return lv.Prompt(
        fact_id="x", relation="x", language="en", paraphrase=0, text=text, answer="Tokyo",
        subject="", subject_span=None,
    )  # fmt: skip


@pytest.mark.slow
def test_a_table_of_neurons_is_a_file(overlap_explorer):
    explorer = overlap_explorer
    explorer.pair[0].value, explorer.pair[1].value = "en", "fr"
    frame = pd.read_csv(io.BytesIO(click(explorer.panel.file)))
    assert set(map(tuple, frame[["layer", "neuron"]].to_numpy())) == set(explorer.shared)
    explorer.panel.clear()
    answered = explorer.panel.file.answered
    explorer.panel.file.asked += 1
    assert explorer.panel.file.answered == answered
    assert "no neurons are listed yet" in explorer.status.text
    explorer._draw()  # other tests have this explorer, too

"""Edits are saved and loaded whole, and damaged files are refused."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from made_up_edits import an_edit, ids
from safetensors.torch import load_file, save_file

import lafn_viz as lv
from lafn_viz.core.files import checksum, checksum_of
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.cache_files import canonical
from lafn_viz.editing.edit import EditError
from lafn_viz.models.packaged import packaged_folder

# Opens a saved cache where TransformerLens, and what draws and counts, cannot be imported.
ELSEWHERE = """
import sys
blocked = ("transformer_lens", "accelerate", "pandas", "plotly", "pyarrow", "scipy", "ipywidgets")
sys.modules.update(dict.fromkeys(blocked))
from transformers import AutoModelForCausalLM, AutoTokenizer
import lafn_viz as lv
edits, folder, text = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained(folder)
lv.EditCache.load(edits).attach(model, tokenizer)
tokens = tokenizer(text, return_tensors="pt")
print(model.generate(**tokens, max_new_tokens=4, do_sample=False)[0].tolist())
"""


def test_saved_and_loaded(tiny, tmp_path):
    model = tiny("gpt2")
    edit = an_edit(model)
    again = dataclasses.replace(edit, relation="continent")  # shares its memory
    cache = EditCache([edit, again, an_edit(model, "PE", seed=1)])
    place = tmp_path / "a" / "edits"
    for _ in range(2):  # the second time in place of the first
        cache.save(place)
        again = EditCache.load(place)
        assert len(again) == 3
        for one, other in zip(cache, again, strict=True):
            for field in dataclasses.fields(lv.Edit):
                was, now = getattr(one, field.name), getattr(other, field.name)
                assert torch.equal(was, now) if field.name == "values" else was == now
    assert sorted(p.name for p in place.parent.iterdir()) == ["edits"]
    assert sorted(p.name for p in place.iterdir()) == ["edits.json", "values.safetensors"]


def test_files_that_cannot_be_used(tiny, tmp_path):
    model = tiny("gpt2")
    place = tmp_path / "edits"
    cache = EditCache([an_edit(model)])

    def spoilt(change):
        cache.save(place)
        change(place)
        with pytest.raises((EditError, FileNotFoundError)) as caught:
            EditCache.load(place)
        return str(caught.value)

    def rewrite(change):
        def spoil(folder):
            whole = json.loads((folder / "edits.json").read_text("utf-8"))
            change(whole)
            (folder / "edits.json").write_text(json.dumps(whole), "utf-8")

        return spoil

    def lose_gate(whole):
        del whole["edits"][0]["gate"]
        whole["edits_checksum"] = checksum_of(canonical(whole["edits"]))

    def adopt_values(whole):
        whole["values"] = checksum(place / "values.safetensors")

    def shorten_gate(folder):
        values = load_file(folder / "values.safetensors")
        save_file(values | {"0.gate": values["0.gate"][None]}, folder / "values.safetensors")
        rewrite(adopt_values)(folder)

    def clear_the_terminal(folder):
        header = {"0": {"dtype": "\x1b[2J", "shape": [1], "data_offsets": [0, 4]}}
        text = json.dumps(header).encode()
        length = len(text).to_bytes(8, "little")
        (folder / "values.safetensors").write_bytes(length + text + bytes(4))
        rewrite(adopt_values)(folder)

    ungated, cache = cache, lv.gate_by_relation(model, list(cache), n_neurons=8)
    assert "values of 1 edits and gates should be there, and are of 2" in spoilt(rewrite(lose_gate))
    assert "not a one-dimensional float tensor" in spoilt(shorten_gate)
    assert r"unknown variant `\x1b[2J`" in spoilt(clear_the_terminal)
    cache = ungated
    by_hand = spoilt(rewrite(lambda whole: whole["edits"][0]["new"].update(en="Paris")))
    assert "edits.json was changed or damaged" in by_hand
    later = spoilt(rewrite(lambda whole: whole.update(format=99)))
    assert "has format 99, this version reads 1" in later
    assert "is damaged" in spoilt(lambda f: (f / "edits.json").write_text("{", "utf-8"))
    assert "is damaged" in spoilt(lambda f: (f / "edits.json").write_text("[1]", "utf-8"))
    assert "is damaged" in spoilt(lambda f: (f / "edits.json").write_bytes(b"\xff\xfe"))
    values = spoilt(lambda f: save_file({"0": torch.ones(12)}, f / "values.safetensors"))
    assert "values.safetensors was changed or damaged" in values
    assert "there is no" in spoilt(lambda f: (f / "values.safetensors").unlink())
    cache.save(place)
    assert len(EditCache.load(place)) == 1
    other = tmp_path / "letters"
    other.mkdir()
    with pytest.raises(EditError, match=r"holds no edits\.json"):
        cache.save(other)
    assert list(other.iterdir()) == []


def test_examples_of_prompts_are_kept_and_may_lack(tiny, tmp_path):
    edit, place = an_edit(tiny("gpt2")), tmp_path / "edits"
    prompts = tuple(dataclasses.replace(p, examples=("Japan: Tokyo",)) for p in edit.prompts)
    shown = dataclasses.replace(edit, prompts=prompts)
    for one, told in ((edit, False), (shown, True)):
        EditCache([one]).save(place)
        # An older version, which knows no examples, reads an edit without them.
        assert ("examples" in (place / "edits.json").read_text("utf-8")) == told
        assert next(iter(EditCache.load(place))).prompts == one.prompts


@pytest.mark.slow
def test_opened_without_transformer_lens(embedded, tmp_path):
    edit, text = an_edit(embedded), "The capital of Japan is"
    seen = dataclasses.replace(edit, values=10 * edit.values)  # in the text
    cache = lv.gate_by_relation(embedded, seen)
    cache.save(tmp_path / "edits")
    command = [sys.executable, "-c", ELSEWHERE, tmp_path / "edits", packaged_folder("embedded")]
    run = subprocess.run([*command, text], capture_output=True, text=True, check=False)
    assert not run.returncode, run.stderr
    inside, options = embedded.original_model, {"max_new_tokens": 4, "do_sample": False}
    plain = inside.generate(ids(embedded, text), **options)[0].tolist()
    with cache.applied(embedded):
        expected = inside.generate(ids(embedded, text), **options)[0].tolist()
    assert run.stdout == f"{expected}\n" != f"{plain}\n"

"""GGUF files: a tiny model of every kind of mistake, converted and refused."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import made_up_gguf
import numpy as np
import pytest
import torch
from fuzzing import examples, read_or_refused
from hypothesis import given, strategies as st
from made_up_gguf import a_gguf_file, gguf

import lafn_viz as lv
from lafn_viz.models import gguf_files, gguf_header
from lafn_viz.models.gguf_header import read_header


@pytest.fixture(scope="module")
def tiny_qwen():
    return made_up_gguf.tiny_qwen()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache of converted models of its own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "lafn_viz"


@pytest.fixture(scope="module")
def file(tiny_qwen, tokenizer, tmp_path_factory):
    return a_gguf_file(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_qwen, tokenizer)


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "float32"), ("Q8_0", "float16")])
def test_a_file_gives_the_logits_of_the_model_it_was_made_of(
    kind, dtype, tiny_qwen, tokenizer, home, tmp_path, prompts, monkeypatch
):
    path = a_gguf_file(tmp_path / f"{kind}.gguf", tiny_qwen, tokenizer, kind=kind)
    model = lv.load_model(path)
    assert model.cfg.model_name == str(path)
    text = prompts[0].text
    tokens = tokenizer(text, return_tensors="pt")["input_ids"]
    assert model.tokenizer(text)["input_ids"] == tokens[0].tolist()
    with torch.no_grad():
        right, found = tiny_qwen(tokens).logits, model(tokens)
    scale = right.abs().max()
    assert (found - right).abs().max() < scale * (1e-5 if kind == "F32" else 2e-2)
    (folder,) = (path for path in home.iterdir() if path.is_dir())
    config = (folder / "config.json").read_text("utf-8")
    assert f'"dtype": "{dtype}"' in config
    # Converted once, by what is in it: another copy of the file is the same model.
    monkeypatch.setattr(gguf_files, "_write", None)
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / path.name
    copy.write_bytes(path.read_bytes())
    assert gguf_files.gguf_folder(copy) == folder


def test_a_header_says_what_a_file_holds(file, tiny_qwen):
    header = read_header([file])
    assert header.architecture == "qwen2"
    assert header.n_numbers == sum(weight.numel() for weight in tiny_qwen.state_dict().values())
    assert header.dtype == torch.float16


def test_parts_are_joined_checked_and_removed(file, home, tmp_path):
    content = file.read_bytes()
    parts = [tmp_path / f"tiny.gguf.part0{part}" for part in (0, 1)]
    cut = len(content) - 1000
    for part, piece in zip(parts, (content[:cut], content[cut:]), strict=True):
        part.write_bytes(piece)
    header = read_header(parts)
    assert header == read_header([file])
    with pytest.raises(
        ValueError, match=r"SHA-256 begins with .* not feed; install their packages"
    ):
        gguf_files.convert(parts, home / "tiny", header, expected="feed")
    assert [path.name for path in home.iterdir() if path.is_dir()] == []
    expected = gguf_files.checksum(file)
    gguf_files.convert(parts, home / "tiny", header, expected=expected, notice="Terms.")
    names = {path.name for path in (home / "tiny").iterdir()}
    assert {"model.safetensors", "NOTICE", "config.json"} <= names
    assert not [name for name in names if "gguf" in name]


def damaged(file: Path, to: Path, change) -> Path:
    content = bytearray(file.read_bytes())
    to.write_bytes(bytes(change(content)))
    return to


BAD = {
    "no GGUF": (lambda c: b"GGML" + c[4:], "is no GGUF file: it does not begin with 'GGUF'"),
    "empty": (lambda c: b"", "is no GGUF file"),
    "cut in its header": (lambda c: c[:100], "bad.gguf is damaged, cut short, or of a version"),
    "cut in its tensors": (lambda c: c[:-100], r"bad.gguf is cut short: it has [\d,]+ bytes, and"),
    "old": (lambda c: c[:4] + b"\x01" + c[5:], "of a version of GGUF other than 2 and 3"),
    "damaged": (lambda c: c[:24] + b"\xff" * 8 + c[32:], "bad.gguf is damaged, cut short"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_damaged_file_is_refused_in_a_sentence(kind, file, home, tmp_path):
    change, says = BAD[kind]
    path = damaged(file, tmp_path / "bad.gguf", change)
    with pytest.raises(ValueError, match=says) as caught:
        lv.load_model(path)
    assert "\n" not in str(caught.value)
    assert not home.exists()


@pytest.mark.slow
@examples(150)
@given(data=st.data())
def test_any_damage_is_refused_in_a_sentence_or_not_seen_in_the_header(file, tmp_path, data):
    raw = file.read_bytes()
    # Anywhere in the first fields, or at the length, the type or the value of a later one.
    names = [found.end() for found in re.finditer(rb"(general|qwen2|tokenizer)\.[a-z_.]+", raw)]
    at = data.draw(st.integers(0, 400) | st.sampled_from(names))
    piece = data.draw(st.binary(min_size=1, max_size=12) | st.sampled_from([b"\xff" * 8, bytes(8)]))
    before, after = raw[:at], raw[at:]
    bad = [before, after, before + piece + after, before + piece + after[len(piece) :]]
    path = tmp_path / "bad.gguf"
    path.write_bytes(data.draw(st.sampled_from(bad)))
    read_or_refused(lambda: read_header([path]), path.name)


def test_a_part_of_several_is_refused(home, tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "a-00001-of-00002.gguf"), "qwen2")
    writer.add_uint16("split.count", 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"is one of 2 parts .* join them with llama-gguf-split"):
        lv.load_model(tmp_path / "a-00001-of-00002.gguf")


def test_an_architecture_that_transformers_does_not_read_is_refused(
    tiny_qwen, tokenizer, home, tmp_path
):
    path = a_gguf_file(tmp_path / "a.gguf", tiny_qwen, tokenizer, architecture="fancy")
    with pytest.raises(ValueError, match=r"cannot read the GGUF file a.gguf .*fancy.* give a file"):
        lv.load_model(path)
    assert [path for path in home.iterdir() if path.is_dir()] == []


def test_without_gguf_or_without_room_a_sentence_says_so(file, home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(gguf_header, "find_spec", lambda name: None)
        with pytest.raises(FileNotFoundError, match="install it with: pip install gguf"):
            lv.load_model(file)
    used = gguf_files.shutil.disk_usage(file)._replace(free=50_000_000)
    monkeypatch.setattr(gguf_files.shutil, "disk_usage", lambda path: used)
    with pytest.raises(ValueError, match=r"need 0\.1 GB in .*, and 0\.1 GB are free there; make"):
        lv.load_model(file)
    assert [path for path in home.iterdir() if path.is_dir()] == []


def test_a_cache_that_cannot_be_written_gets_a_sentence(file, home):
    home.parent.mkdir()
    home.write_text("a file")
    with pytest.raises(ValueError, match=r"tiny\.gguf cannot be converted in .*; set HF_HOME"):
        lv.load_model(file)


SCRIPT = """
import sys, time
from pathlib import Path
from lafn_viz.models import gguf_files
write = gguf_files._write
def slow(*arguments):
    write(*arguments)
    print("written", flush=True)
    time.sleep(float(sys.argv[2]))
gguf_files._write = slow
print(gguf_files.gguf_folder(Path(sys.argv[1])), flush=True)
"""


def convert_elsewhere(file: Path, home: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(file), str(seconds)],
        env=os.environ | {"HF_HOME": str(home.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_no_model_and_two_at_once_write_one(file, home):
    first = convert_elsewhere(file, home, 60)
    assert first.stdout.readline() == "written\n"
    second = convert_elsewhere(file, home, 0)
    time.sleep(1)  # it waits for the first
    assert [path.name[0] for path in home.iterdir() if path.is_dir()] == ["."]
    first.send_signal(signal.SIGKILL)
    first.wait()
    lines = second.communicate(timeout=60)[0].splitlines()
    (folder,) = (path for path in home.iterdir() if path.is_dir())  # the leftover is gone
    assert lines == ["written", str(folder)]
    assert np.isfinite(float(lv.load_model(folder)(torch.tensor([[1, 2]])).abs().max()))


def test_a_conversion_shows_its_steps(file, home, capsys, caplog):
    with caplog.at_level(logging.INFO):
        gguf_files.gguf_folder(file)
    shown = capsys.readouterr().err
    assert "Converting and de-quantizing" not in shown  # a second bar, of transformers
    for step in ("tokenizer", "weights", "writing", "100%"):
        assert step in shown

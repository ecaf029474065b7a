"""Files and folders are written whole or not at all."""

import hashlib
import json

import killing
import pytest

from lafn_viz.core import files
from lafn_viz.core.files import (
    checksum,
    checksum_of,
    inside,
    whole_folder,
    write_json,
    write_whole,
)


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_appears_with_its_folder_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        write_whole(path, lambda file, text=text: file.write_text(text))
        assert path.read_text() == text
    assert names(tmp_path) == ["a.txt", "deep"]


def test_a_typed_name_stays_inside_a_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    assert inside(root, "a/b.txt") == root / "a" / "b.txt"
    assert inside(root, "a/../b") == root / "b"
    assert inside(root, str(root / "c")) == root / "c"
    for name in ("..", "../root2", "/etc/passwd", "~", "~nobody-here/a", "link/other", "a/../../x"):
        assert inside(root, name) is None


def test_a_file_that_fails_half_way_leaves_the_one_before(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail(file):
        file.write_text("half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_whole(path, fail)
    assert path.read_text() == "before"
    # What is left over cannot be taken for a table.
    assert all(name == "a.txt" or name.startswith(".") for name in names(tmp_path))


def test_json_is_written_as_text_that_people_can_read(tmp_path):
    write_json(tmp_path / "a.json", {"städte": ["東京", 1.5]})
    raw = (tmp_path / "a.json").read_bytes()
    assert raw.decode() == '{\n "städte": [\n  "東京",\n  1.5\n ]\n}\n'
    assert json.loads(raw) == {"städte": ["東京", 1.5]}


def test_a_folder_appears_at_the_end_and_replaces_the_one_before(tmp_path):
    folder = tmp_path / "deep" / "model"
    for text in ("one", "two"):
        with whole_folder(folder) as new:
            (new / text).write_text(text)
            (new / "inner").mkdir()
            (new / "inner" / "a").write_text(text)
            assert folder.exists() == (text == "two")
        assert names(folder) == sorted(["a", "inner", text])
        assert (folder / "inner" / "a").read_text() == text
    assert names(tmp_path / "deep") == ["a", "inner", "model", "two"]


def stop_half_way(folder):
    with whole_folder(folder) as new:
        (new / "half").touch()
        raise KeyboardInterrupt


def test_a_folder_that_fails_half_way_leaves_the_one_before(tmp_path):
    folder = tmp_path / "model"
    for existing in ([], ["before"]):
        for name in existing:
            folder.mkdir()
            (folder / name).touch()
        with pytest.raises(KeyboardInterrupt):
            stop_half_way(folder)
        assert names(tmp_path) == (["before", "model"] if existing else [])


def test_a_folder_that_cannot_be_renamed_keeps_the_one_before(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "before").touch()
    rename = type(folder).rename

    def fail(path, target):
        if path.name == "new":
            raise OSError("no more names")
        return rename(path, target)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)  # as on other systems
    monkeypatch.setattr(type(folder), "rename", fail)
    with pytest.raises(OSError, match="no more names"), whole_folder(folder) as new:
        (new / "after").touch()
    assert names(tmp_path) == ["before", "model"]


def test_a_folder_that_another_process_wrote_meanwhile_is_kept(tmp_path):
    folder = tmp_path / "model"
    with whole_folder(folder, replace=False) as new:
        (new / "second").touch()
        folder.mkdir()
        (folder / "first").touch()
    assert names(tmp_path) == ["first", "model"]


def test_checksums_are_sha256_of_files_texts_and_bytes(tmp_path):
    raw = "東京".encode()
    (tmp_path / "a").write_bytes(raw)
    expected = hashlib.sha256(raw).hexdigest()
    assert checksum(tmp_path / "a") == checksum_of(raw) == checksum_of("東京") == expected


def test_what_a_killed_process_began_is_removed_and_what_another_writes_is_not(tmp_path):
    folder, killed = tmp_path / "model", tmp_path / ".modelabcdefgh"
    for place in (killed, tmp_path / ".modelzz"):
        (place / "new").mkdir(parents=True)
        (place / files.LOCK).touch()
    with whole_folder(folder) as first:
        assert not killed.exists()
        with whole_folder(folder) as second:
            (second / "second").touch()
        (first / "first").touch()
    assert names(tmp_path) == [".modelzz", "first", "model", "new", files.LOCK]


@pytest.mark.slow
def test_killed_at_line_after_line_it_leaves_a_whole_file_or_folder_or_none(tmp_path):
    kinds = ["evaluation", "edits", "conversion", "report", "atlas"]
    found = killing.killed("lines", tmp_path, *kinds, "--kills", 2, "--worn", 1)
    for kind in kinds:
        assert found[kind]["kills"] == 2
        problems = [found[kind][name] for name in ("torn", "wrong", "again", "worn_equal")]
        assert problems == [[], [], [], True], kind

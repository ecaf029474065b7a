"""JSON is read back as it was written, or refused with the place and the field."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import pytest

from lafn_viz.core.json_records import (
    FactError,
    inside_of,
    is_folder,
    parsed,
    read_as,
    read_text,
    record_list,
    record_names,
    record_text,
    records,
)


class Place(NamedTuple):
    layer: int
    neuron: int


@dataclass(frozen=True)
class Note:
    name: str
    weight: float
    kind: Literal["soft", "loud"]
    places: tuple[Place, ...]
    span: tuple[int, int] | None
    names: Mapping[str, str]
    more: Any = None

    def __post_init__(self):
        if self.weight < 0:
            raise ValueError(f"weight {self.weight} is below 0")


NOTE = Note("a", 2.0, "soft", (Place(0, 1), Place(2, 3)), (0, 4), {"ja": "東京"}, [1, None])


def plain(note):
    return json.loads(json.dumps(asdict(note)))


def test_what_was_written_is_read_back():
    assert read_as("here", plain(NOTE), Note) == NOTE
    without = {**plain(NOTE), "span": None, "weight": 2}
    assert read_as("here", without, Note).span is None
    assert isinstance(read_as("here", without, Note).weight, float)
    del without["more"]
    assert read_as("here", without, Note, more="given").more == "given"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": 3}, "here, field 'name': 3, but it must be a text"),
        ({"name": "\ud800"}, "here, field 'name': half of a surrogate pair, which is no text"),
        ({"weight": "x"}, "here, field 'weight': 'x', but it must be a number"),
        ({"weight": True}, "here, field 'weight': True, but it must be a number"),
        ({"weight": 10**400}, "here, field 'weight': "),
        ({"weight": -1.0}, "here: weight -1.0 is below 0"),
        ({"kind": "low"}, "here, field 'kind': 'low', but it must be one of soft, loud"),
        ({"places": 4}, "here, field 'places': 4, but it must be a list"),
        ({"places": [[0]]}, "here, field 'places', item 1: [0], but it must be a list of 2"),
        ({"places": [[0, "x"]]}, "here, field 'places', item 1, item 2: 'x', but it must be a wh"),
        ({"span": [1]}, "here, field 'span': [1], but it must be a list of 2"),
        ({"names": []}, "here, field 'names': a list, but a record is a JSON object"),
        ({"names": {"ja": 1}}, "here, field 'names', field 'ja': 1, but it must be a text"),
        ({"luck": 1}, "here, field 'luck': not a field; there are name, weight, kind"),
    ],
)
def test_another_kind_is_refused_by_its_place(change, says):
    with pytest.raises(FactError, match=re.escape(says)):
        read_as("here", {**plain(NOTE), **change}, Note)


def test_lines_end_at_a_line_feed_alone_and_a_byte_order_mark_is_no_letter(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": "x\u2028y\u0085z"}\r\n\n{"a": 2}'.encode())
    first, second = records(path)
    assert first == (f"{path}, line 1", {"a": "x\u2028y\u0085z"})
    assert second == (f"{path}, line 3", {"a": 2})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Expecting property name"),
        ("[\n1,\n]", "line 3 column 1"),
        ('{"a": 1, "a": 2}', "'a' stands twice in one object, with two values"),
        ("[" * 100_000, "its lists and objects are nested too deeply"),
        ("9" * 5000, "digits"),
    ],
)
def test_text_that_is_no_json_gets_a_sentence(text, says):
    with pytest.raises(FactError, match=re.escape("here: not JSON that can be used (")) as error:
        parsed("here", text)
    assert says in str(error.value)
    assert error.value.__cause__ is None


def test_a_name_may_stand_twice_with_one_value():
    assert parsed("here", '{"a": 1, "a": 1}') == {"a": 1}


def test_missing_files_and_folders_get_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is a folder; give the path of a file"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_text(tmp_path / "none")
    with pytest.raises(FactError, match=r"the folder .* cannot be read \(No such file"):
        inside_of(tmp_path / "none")
    assert not is_folder(tmp_path / ("x" * 10_000))
    assert is_folder(tmp_path)


def test_fields_are_read_or_refused_by_name():
    assert record_text("here", {"a": "x"}, "a") == "x"
    assert record_list("here", {"a": [1, 2]}, "a", int) == (1, 2)
    assert record_list("here", {}, "a", int) == ()
    assert record_names("here", {"a": {"en": "x"}}, "a") == {"en": "x"}
    for call, says in (
        (lambda: record_text("here", {"a": " "}, "a"), "field 'a': ' ', but it must be a text"),
        (lambda: record_text("here", {}, "a"), "field 'a': None, but it must be a text"),
        (lambda: record_list("here", {"a": [True]}, "a", int), "must be a list of int"),
        (lambda: record_names("here", {"a": {}}, "a"), "must map languages to names"),
        (lambda: record_names("here", {"a": {" ": "x"}}, "a"), "a language without a code"),
        (lambda: record_names("here", {"a": {"en": ""}}, "a"), "field 'a.en': '', but it must"),
    ):
        with pytest.raises(FactError, match=re.escape(says)):
            call()

"""Every reader of a file from outside: a result or one sentence, whatever the file holds."""

import contextlib
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fuzzing import LONG, changed, damaged, examples, read_or_refused
from hypothesis import given, strategies as st
from made_up_passports import made_up_passport
from safetensors.torch import load_file, save_file

import lafn_viz as lv
from lafn_viz.core.files import checksum_of
from lafn_viz.core.paths import data_folder
from lafn_viz.datasets.text import shows_answer
from lafn_viz.editing import cache_files
from lafn_viz.editing.evaluation.answers import Answered
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.models.capabilities import weights_of
from lafn_viz.neurons.neuron_sets import Neuron

FACTS = [
    {
        "id": f"capital/{code}",
        "relation": "capital",
        "subject_id": code,
        "object_id": answer,
        "source": "own",
        "leaks": ["fa"],
        "held_out": [],
        "subject": {"en": subject, "fa": persian},
        "object": {"en": answer, "fa": "آن"},
    }
    for code, subject, answer, persian in (
        ("A", "Anland", "Orvik", "می\u200cان"), ("B", "Berland", "Tarn", "\u200fب"),
    )
]  # fmt: skip
TEXTS = [
    {
        "relation": "capital",
        "language": lang,
        "held_out": [1],
        "texts": ["{subject} :", "{subject}"],
    }
    for lang in ("en", "fa")
]


def lines(rows) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(
        "utf-8", "backslashreplace"
    )


def put(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def n_records(raw: bytes) -> int:
    return sum(bool(line.strip()) for line in raw.decode("utf-8-sig").split("\n"))


@st.composite
def rows_changed(draw, rows):
    """The lines of some records, of which one is another now, or the bytes are damaged."""
    if draw(st.booleans()):
        return draw(damaged(lines(rows)))
    number = draw(st.integers(0, len(rows) - 1))
    row = draw(changed(rows[number]))
    return lines([*rows[:number], row, *rows[number + 1 :]])


@examples(250)
@given(raw=rows_changed(FACTS), asked=st.just(lines(TEXTS)) | rows_changed(TEXTS))
def test_facts(tmp_path, raw, asked):
    path, texts = put(tmp_path / "facts.jsonl", raw), put(tmp_path / "texts.jsonl", asked)
    found = read_or_refused(lambda: lv.load_facts(path, paraphrases=texts), tmp_path)
    if found is not None:
        assert len(found) == n_records(raw)
        assert len(found.paraphrases) == n_records(asked)
        prompts = read_or_refused(found.prompts, "paraphrases")
        for prompt in prompts or ():
            assert (prompt.text + prompt.continuation).encode()
        assert not found.to_frame().empty


def part(subject, answer):
    return {
        "subject": subject, "src": f"Where is {subject}?", "rephrase": f"{subject} is where?",
        "alt": answer, "loc": "nq question: who keeps it", "loc_ans": "a miller",
        "portability": {"New Question": f"Who rules {subject}?", "New Answer": "Ida"},
    }  # fmt: skip


PAIRS = [
    {"en": part(f"Anna {x}", "Orvik"), "fa": part(f"آنا {x}", "اورویک")} for x in ("Ek", "Holm")
]
CASES = [
    {
        lang: part(f"Berta {x}", f"Tarn {x}") | {"case_id": x, "old": "Os", "port": "?"}
        for lang in ("en", "zh")
    }
    for x in (1, 2)
]
SINGLE = [
    {
        "question": f"Who is {x}?", "o_answer": "Ida", "e_answer": "Ola", "e_prompt": f"{x} is",
        "e_answer_aliases": ["O."],
    }
    for x in ("Anna", "Berta")
]  # fmt: skip
HOPS = [{"question": "Who rules?", "e_answer": "Ida", "e_prompt": "Anna is"}]


@pytest.mark.slow
@examples(250)
@given(st.data(), st.sampled_from(["pairs", "cases", "mlake"]), st.booleans())
def test_edit_cases(tmp_path, data, kind, array):
    rows = {"pairs": PAIRS, "cases": CASES, "mlake": SINGLE + HOPS}[kind]
    if array:
        whole = json.dumps(rows, ensure_ascii=False, indent=1).encode()
        raw = data.draw(
            damaged(whole)
            | changed(rows).map(lambda x: json.dumps(x).encode("utf-8", "backslashreplace"))
        )
    else:
        raw = data.draw(rows_changed(rows))
    path = put(tmp_path / "en_qa.json", raw)
    found = read_or_refused(lambda: lv.load_edit_cases(path), tmp_path)
    if found is not None:
        assert not found.lint().empty
        for case in found:
            for prompts in (*case.edit.values(), *case.rephrased.values()):
                assert all((prompt.text + prompt.answer).encode() for prompt in prompts)
                assert not any(prompt.answer.casefold() in ("nan", "inf") for prompt in prompts)


PATTERNS = [{"relation": "P1", "template": "[X] lies in [Y] ."}]
TUPLES = [
    {"sub_label": name, "obj_label": "Norland", "sub_uri": f"Q{name}", "obj_uri": "Q9", "lineid": 3}
    for name in ("Orvik", "Tarn")
]


@examples(150)
@given(st.data(), st.sampled_from(["mlama", "mpararel"]))
def test_public_facts(tmp_path, data, kind):
    patterns, tuples = lines(PATTERNS), lines(TUPLES)
    if kind == "mpararel":
        rows = [{"pattern": row["template"]} for row in PATTERNS]
        patterns = lines(rows)
        of, about = tmp_path / "patterns/en/P1.jsonl", tmp_path / "tuples/en/P1.jsonl"
    else:
        rows = PATTERNS
        of, about = tmp_path / "en/templates.jsonl", tmp_path / "en/P1.jsonl"
    if data.draw(st.booleans()):
        patterns = data.draw(rows_changed(rows))
    else:
        tuples = data.draw(rows_changed(TUPLES))
    put(of, patterns)
    put(about, tuples)
    load = lv.load_mlama if kind == "mlama" else lv.load_mpararel
    found = read_or_refused(lambda: load(tmp_path), tmp_path)
    if found is not None:
        assert 1 <= len(found) <= n_records(tuples)
        assert all((prompt.text + prompt.answer).encode() for prompt in found.prompts())
    read_or_refused(lambda: lv.lint_patterns(tmp_path), tmp_path)
    for path in (of, about):
        path.unlink()


def an_edit(weights="0" * 64, subject="JP") -> lv.Edit:
    prompt = lv.Prompt.of("The capital of Japan is", "Rome", subject="Japan")
    return lv.Edit(
        subject_id=subject,
        relation="capital",
        names={"en": ("Japan",), "fa": ("ژاپن", "ژا\u200cپن")},
        old={"en": "Tokyo"},
        new={"en": "Rome"},
        neurons=(Neuron(0, 3), Neuron(2, 1)),
        values=torch.tensor([1.0, -2.0]),
        position="answer",
        curve=(2.0, 1.0),
        loss=0.9,
        divergence=0.1,
        prompts=(prompt, replace(prompt, subject_span=None, aliases=("Roma",))),
        provenance=lv.Provenance("made-up", weights, "lafn_edit", {"n": 2}, 3, {"torch": "2"}),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "edits"
    gate = lv.RelationGate(torch.tensor([0.5, -1.0, 2.0, 0.0]), 0.1, step=3, n_prompts=9)
    lv.EditCache([replace(an_edit(), gate=gate), an_edit(subject="JP2")]).save(folder)
    return folder


def summed(whole):
    """A cache's records with the checksums that belong to them: damage that they do not show."""
    text = cache_files.canonical(whole.get("edits"))
    return whole | {"edits_checksum": checksum_of(text.encode("utf-8", "backslashreplace"))}


@pytest.mark.slow
@examples(250)
@given(data=st.data())
def test_a_cache(tmp_path, saved, data):
    folder = shutil.copytree(saved, tmp_path / "edits", dirs_exist_ok=True)
    path = folder / "edits.json"
    whole = json.loads(path.read_text("utf-8"))
    way = data.draw(st.sampled_from(["bytes", "values", "json", "edits"]))
    if way == "bytes":
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    elif way == "values":
        file = folder / "values.safetensors"
        file.write_bytes(data.draw(damaged(file.read_bytes())))
    else:
        if way == "json":
            whole = data.draw(changed(whole))
        else:
            whole = summed(whole | {"edits": data.draw(changed(whole["edits"]))})
        path.write_text(json.dumps(whole), "utf-8")
    found = read_or_refused(lambda: lv.EditCache.load(folder), folder)
    if found is not None:
        # What was read is a cache in every respect: it is told, searched and saved.
        assert repr(list(found))
        assert isinstance(found.find("Japan and Peru"), list)
        assert len(found.to_frame()) == len(found) == len(json.loads(path.read_bytes())["edits"])
        found.save(tmp_path / "again")
        assert repr(list(lv.EditCache.load(tmp_path / "again"))) == repr(list(found))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"neurons": [[0, 3], [0, 3]]}, "edit 1, field 'neurons': one stands twice"),
        ({"neurons": [[0, 3], [0, -1]]}, "edit 1, field 'neurons': one stands twice or has a"),
        ({"neurons": [[0, 3], [0, True]]}, "field 'neurons', item 2, item 2: True, but it must be"),
        ({"neurons": []}, "edit 1, field 'neurons': empty"),
        ({"neurons": [[0, 3]]}, "edit 1: 1 neurons, but values of shape (2,)"),
        ({"names": {"en": []}}, "edit 1, field 'names': empty"),
        ({"names": {"en": "Japan"}}, "field 'names', field 'en': 'Japan', but it must be a list"),
        ({"names": {"en": ["\u200b"]}}, "'JP' in 'en' is blank ('\\u200b'), and would be found"),
        (
            {"position": "last"},
            "'position': 'last', but it must be one of subject_last, from_subj",
        ),
        ({"loss": "low"}, "edit 1, field 'loss': 'low', but it must be a number"),
        ({"prompts": [{}]}, "field 'prompts', item 1, field 'fact_id': None, but it must be a tex"),
        ({"gate": {"bias": 0.1, "step": 3}}, "field 'gate', field 'n_prompts': None, but it must"),
        ({"gate": {"bias": 0.1, "step": 0, "n_prompts": 9}}, "'gate': step must be at least 1"),
        ({"gate": {"bias": math.inf, "step": 1, "n_prompts": 9}}, "'gate': the weights of a gate"),
        ({"gate": None}, "edit 1, field 'gate': a NoneType, but a record is a JSON object"),
        ({"luck": 1}, "edit 1, field 'luck': not a field; there are subject_id, relation"),
    ],
)
def test_an_edit_of_other_types_is_named_by_its_field(saved, tmp_path, change, says):
    folder = shutil.copytree(saved, tmp_path / "edits")
    whole = json.loads((folder / "edits.json").read_text("utf-8"))
    whole["edits"][0] |= change
    (folder / "edits.json").write_text(json.dumps(summed(whole)), "utf-8")
    with pytest.raises(lv.EditError, match=re.escape(says)):
        lv.EditCache.load(folder)


def test_an_edit_of_a_neuron_that_the_model_does_not_have(tiny):
    model = tiny("gpt2")
    edit = replace(an_edit(weights_of(model)), neurons=(Neuron(0, 3), Neuron(9, 1)))
    with (
        pytest.raises(lv.EditError, match=r"is damaged: neurons=\[\(9, 1\)\]"),
        lv.edited(model, edit),
    ):
        pass


class Nothing:
    """An edit that does nothing."""

    def applied(self, model):
        return contextlib.nullcontext()


NOTHING = lv.Editor("nothing", lambda *_: Nothing())


def a_case(number: int) -> lv.EditCase:
    prompt = lv.Prompt.of(f"Case {number} is", "Rome", subject="Case")
    return lv.EditCase(
        id=f"ü{number}", source="own", subject={"en": "Case"}, edit={"en": (prompt,)}
    )


@pytest.fixture(scope="module")
def evaluated(tiny, tmp_path_factory):
    """(model, cases, the file of their evaluation); every text ends a line, as Unicode counts."""
    model, file = tiny("gpt2"), tmp_path_factory.mktemp("done") / "done.jsonl"
    cases = [a_case(1), a_case(2)]
    evaluate(model, NOTHING, cases, file=file, progress=False)
    raw = file.read_text("utf-8")
    head, *rest = [json.loads(line) for line in raw.split("\n") if line]
    for record in rest:
        for row in record["answers"]:
            row["after"] = "a\u2028b\u0085c\x1cd"
    file.write_bytes(lines([head, *rest]) + b"\n")
    return model, cases, file


def test_a_text_with_other_line_ends_loses_no_case(evaluated):
    model, cases, file = evaluated
    raw = file.read_bytes()
    found = evaluate(model, NOTHING, cases, file=file, progress=False)
    assert {answer.after for answer in found.answers} == {"a\u2028b\u0085c\x1cd"}
    assert file.read_bytes() == raw


def test_an_evaluation_that_was_killed_within_a_letter_goes_on(evaluated, tmp_path):
    model, cases, file = evaluated
    raw = file.read_bytes()
    letter = raw.rindex("ü".encode())
    cut = put(tmp_path / "cut.jsonl", raw[: letter + 1])
    again = evaluate(model, NOTHING, cases, file=cut, progress=False)
    assert {answer.case for answer in again.answers} == {"ü1", "ü2"}
    assert cut.read_bytes().startswith(raw[: raw.rindex(b'{"case"')])
    assert cut.read_bytes().count(b"\n") == 3
    empty = put(tmp_path / "empty.jsonl", b"")
    assert len(evaluate(model, NOTHING, cases, file=empty, progress=False).answers) == 2
    assert empty.read_bytes().count(b"\n") == 3


@pytest.mark.slow
@examples(120)
@given(data=st.data())
def test_an_evaluation(evaluated, tmp_path, data):
    model, cases, file = evaluated
    rows = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
    number = data.draw(st.integers(0, 2))
    if data.draw(st.booleans()):
        raw = data.draw(damaged(file.read_bytes()))
    else:
        rows[number] = data.draw(changed(rows[number]))
        raw = b"".join(lines([row]) + b"\n" for row in rows)
    path = put(tmp_path / "done.jsonl", raw)
    if (loaded := read_or_refused(lambda: lv.load_evaluation(path), path)) is not None:
        assert all(isinstance(answer, Answered) for answer in loaded.answers)
        page = tmp_path / "page.html"
        read_or_refused(lambda: lv.report(loaded, page))
    found = read_or_refused(
        lambda: evaluate(model, NOTHING, cases, file=path, progress=False), path
    )
    if found is None:
        assert path.read_bytes() == raw  # what cannot be read is left as it is
    else:
        assert {answer.case for answer in found.answers} <= {"ü1", "ü2"}
        assert all(isinstance(answer, Answered) for answer in found.answers)
        assert not found.to_frame().empty
        # Whole lines stay; what was done anew is there now.
        kept = raw[: raw.rfind(b"\n") + 1]
        assert path.read_bytes().startswith(kept)
        assert evaluate(model, NOTHING, cases, file=path, progress=False).answers == found.answers


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Files of results: how each is read and used."""
    folder = tmp_path_factory.mktemp("results")
    history = lv.load_history("embedded")
    history.save(folder / "history.json")
    shipped = data_folder() / "results" / "gemma-3-270m.json"
    shutil.copy(shipped, folder / "evidence.json")
    made_up_passport().save(folder / "passport.json")
    return {
        folder / "history.json": lambda path: lv.load_history(path).to_frame(),
        folder / "evidence.json": lambda path: repr(lv.load_evidence(path)),
        folder / "passport.json": lambda path: lv.Passport.load(path).to_html(),
    }


@pytest.mark.slow
@examples(120)
@given(data=st.data())
def test_a_result(results, tmp_path, data):
    path = data.draw(st.sampled_from(sorted(results)))
    raw = path.read_bytes()
    bad = (
        data.draw(damaged(raw))
        if data.draw(st.booleans())
        else json.dumps(data.draw(changed(json.loads(raw)))).encode()
    )
    copy = put(tmp_path / path.name, bad)
    read_or_refused(lambda: results[path](copy), copy)


@pytest.mark.slow
@examples(80)
@given(data=st.data())
def test_a_model_folder(tmp_path, folder, data):
    place = shutil.copytree(folder("gpt2"), tmp_path / "model", dirs_exist_ok=True)
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
    name = data.draw(st.sampled_from([*names, "config.json", "model.safetensors"]))
    raw = (place / name).read_bytes()
    if name.startswith(("model", "tokenizer.")) or data.draw(st.booleans()):
        raw = data.draw(damaged(raw))
    else:
        raw = json.dumps(data.draw(changed(json.loads(raw)))).encode()
    (place / name).write_bytes(raw)
    model = read_or_refused(lambda: lv.load_model(place))
    if model is not None:
        prompt = lv.Prompt.of("The capital of Japan is", "Rome", subject="Japan")
        scores = read_or_refused(lambda: lv.score_answers(model, [prompt]))
        assert scores is None or 0 <= float(scores.probability[0]) <= 1


def without(name):
    return lambda tensors: tensors.pop(name)


def filled(name):
    return lambda tensors: tensors[name][:1].fill_(float("nan"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("transformer.h.1.mlp.c_fc.bias"), "its weights: they lack 1 tensors that config"),
        (filled("transformer.h.1.mlp.c_fc.bias"), "its weights: transformer.h.1.mlp.c_fc.bias hol"),
        ({"n_layer": 5}, "its weights: they lack 24 tensors that config.json asks for"),
        ({"n_layer": 2}, "its weights: they hold transformer.h.2.attn.c_attn"),
        ({"n_layer": 10**9}, "its config.json: 1000000000 layers, but the weights hold 40 tens"),
        ({"n_layer": 0}, "its config.json: 0 layers, but the weights hold"),
        ({"n_inner": 20}, "its weights: their shapes are not those that config.json says"),
        ({"n_head": "4"}, "its config.json: StrictDataclassFieldValidationError: Validation error"),
        (
            {"eos_token_id": 2**63},
            "config.json, field 'eos_token_id': '9223372036854775808' is no n",
        ),
        ({"model_type": "\x1b[2J"}, r"has model type `\x1b[2J` but Transformers does not"),
        ({"architectures": [5]}, "config.json, field 'architectures': [5], but it must be a list"),
    ],
)
def test_a_model_is_whole_or_refused(folder, tmp_path, change, says):
    """Never one with layers left out, or with weights that nobody trained."""
    place = shutil.copytree(folder("gpt2"), tmp_path / "model")
    if isinstance(change, dict):
        config = json.loads((place / "config.json").read_text("utf-8"))
        (place / "config.json").write_text(json.dumps(config | change), "utf-8")
    else:
        tensors = load_file(place / "model.safetensors")
        change(tensors)
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        lv.load_model(place)
    assert str(caught.value).isprintable()


def test_a_tokenizer_of_a_larger_model(folder, tmp_path):
    place = shutil.copytree(folder("gpt2"), tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(data_folder() / "models" / "embedded" / name, place)
    with pytest.raises(ValueError, match=r"its tokenizer: it has \d+ tokens, the model 600"):
        lv.load_model(place)
    (place / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="its tokenizer: KeyError: 'added_tokens'"):
        lv.load_model(place)


READERS = {
    "facts": lv.load_facts,
    "paraphrases": lambda path: lv.load_facts(paraphrases=path),
    "edit cases": lv.load_edit_cases,
    "cache": lambda path: lv.EditCache.load(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_a_folder_or_a_locked_file_in_place_of_a_file(name, saved, tmp_path, monkeypatch):
    folder = shutil.copytree(saved, tmp_path / "edits")
    path = folder / "edits.json"

    def locked(self):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return self.open("rb").read()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", locked)
        with pytest.raises(ValueError, match=r"edits\.json cannot be read \(Permission denied\)"):
            READERS[name](path)
    path.unlink()
    path.mkdir()
    says = r"holds no \.json" if name == "edit cases" else r"edits\.json is a folder; give "
    with pytest.raises((FileNotFoundError, lv.FactError), match=says):
        READERS[name](path)
    (path / "x.json").mkdir()
    if name == "edit cases":
        with pytest.raises(
            FileNotFoundError, match=r"x\.json is a folder; give the path of a file"
        ):
            lv.load_edit_cases(path)


def test_an_evaluation_into_a_folder(evaluated, tmp_path):
    model, cases, _ = evaluated
    with pytest.raises(FileNotFoundError, match="is a folder; give a file to keep what is done in"):
        evaluate(model, NOTHING, cases, file=tmp_path, progress=False)


def test_a_path_that_is_too_long():
    for read in (lv.load_facts, lv.load_edit_cases):
        with pytest.raises(lv.FactError, match=r"cannot be read \(File name too long\)"):
            read(Path("x" * 300))
    with pytest.raises(FileNotFoundError, match="there is no model 'xxxx"):
        lv.load_model("x" * 300)


def test_what_stands_twice_in_an_object_says_one_thing(tmp_path):
    row = json.dumps(FACTS[0], ensure_ascii=False)
    twice = row.replace('"en": "Anland"', '"en": "Anland", "en": "Anland"')
    path = put(tmp_path / "facts.jsonl", twice.encode())
    assert len(lv.load_facts(path)) == 1
    path = put(path, (row + "\n" + twice.replace("Anland", "Xland", 1)).encode())
    with pytest.raises(lv.FactError, match=r"line 2: not JSON that.*'en' stands twice"):
        lv.load_facts(path)


def test_lines_end_at_line_feeds_alone(tmp_path):
    odd = FACTS[0] | {"object": {"en": "a\u2028b\u0085c", "fa": "d"}}
    raw = lines([odd, FACTS[1]]).replace(b', "relation"', b', \r"relation"')
    found = lv.load_facts(put(tmp_path / "facts.jsonl", raw), paraphrases=texts_file(tmp_path))
    assert found["capital/A"].object["en"] == "a\u2028b\u0085c"


def texts_file(folder: Path) -> Path:
    return put(folder / "texts.jsonl", lines(TEXTS))


def test_marks_of_direction_are_kept_and_told_escaped(tmp_path):
    name = "\u202eAnland\u202c"
    rows = [FACTS[0] | {"subject": {"en": name, "fa": "می\u200cان"}}]
    path = put(tmp_path / "facts.jsonl", lines(rows))
    found = lv.load_facts(path, paraphrases=texts_file(tmp_path))
    assert found.prompts()[0].subject == name
    assert found.filter(subjects=name).facts == found.facts
    with pytest.raises(ValueError, match=re.escape(r"for example, \u202eAnland\u202c")):
        found.filter(subjects="Berland")
    with pytest.raises(lv.FactError, match=re.escape(r"'\u202ede' is not a language of this fact")):
        lv.load_facts(put(path, lines([rows[0] | {"leaks": ["\u202ede"]}])))
    with pytest.raises(
        ValueError, match=re.escape(r"unknown language '\u2067de'; there are en, fa")
    ):
        found.filter(languages="\u2067de")


@pytest.mark.parametrize(
    "row",
    [
        FACTS[0] | {"leaks": [LONG]},
        FACTS[0] | {"leaks": LONG},
        FACTS[0] | {LONG: 1},
        FACTS[0] | {"subject": LONG},
        FACTS[0] | {"subject": {LONG: "x"}},
        FACTS[0] | {"subject": {LONG: None}},
        FACTS[0] | {"subject": [[["a" * 20] * 9] * 9] * 9},
    ],
)
def test_what_is_quoted_of_a_long_value_is_short(tmp_path, row):
    with pytest.raises(lv.FactError) as caught:
        lv.load_facts(put(tmp_path / "facts.jsonl", lines([row])))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_gap_written_as_nan_is_no_answer(tmp_path, value):
    path = put(tmp_path / "m.json", lines([{"en": part("Anna", value)}]))
    with pytest.raises(lv.FactError, match=r"language 'en', field 'alt': -?(nan|inf), but it must"):
        lv.load_edit_cases(path)


def test_long_names_of_subject_and_answer_are_compared_quickly():
    wide = "".join(chr(0x4E00 + i % 20_000) for i in range(400_000))
    other = "".join(chr(0x4E00 + (i * 7919) % 20_000) for i in range(400_000))
    assert not shows_answer(wide, other)
    assert shows_answer(wide, other + "一丁")

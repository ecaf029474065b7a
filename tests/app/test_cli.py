import json
import re

import pytest
import torch
from made_up_edits import an_edit
from transformers import AutoModelForCausalLM, AutoTokenizer

import lafn_viz as lv
from lafn_viz.cli import _compared_editors, main
from lafn_viz.experiments.edit_trial import place_to_edit
from lafn_viz.interventions.activation_patching import Place
from lafn_viz.models.hooks import down_weight


@pytest.mark.slow
def test_demo_prints_both_models_and_writes_figures(tmp_path, capsys, no_network):
    assert main(["demo", "--out", str(tmp_path / "out"), "--facts", "2"]) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    start = lines.index("Jaccard index across scripts") + 1
    # Without the intervals, which two facts are too few for.
    same, other = (
        [float(x) for x in re.findall(r"\d\.\d+", re.sub(r"\[.*?\]", "", row))]
        for row in lines[start : start + 2]
    )
    assert lines[start].split()[:2] == ["same", "fact"]
    assert lines[start + 1].split()[:2] == ["other", "fact"]
    embedded, control = (mine - others for mine, others in zip(same, other, strict=True))
    assert embedded > max(control, 0)
    for name in ("overlap", "overlap-control", "models", "layers", "fact"):
        page = (tmp_path / "out" / f"{name}.html").read_text("utf-8")
        assert "Plotly.newPlot" in page
        assert '<script charset="utf-8" src="plotly.min.js"' in page
        assert "cdn.plot.ly" not in page
        assert f'"filename": "{name}"' in page
    # The model and its control are told apart, and their colours can be compared.
    pages = [
        (tmp_path / "out" / f"{x}.html").read_text("utf-8") for x in ("overlap", "overlap-control")
    ]
    tops = [set(re.findall(r'"zmax":([\d.]+)', page)) for page in pages]
    assert tops[0] == tops[1]
    assert len(tops[0]) == 1
    assert '"text":"embedded: does it' in pages[0]
    assert '"text":"embedded-control: does it' in pages[1]
    assert (tmp_path / "out" / "plotly.min.js").exists()
    assert str(tmp_path / "out") in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--relation", "mayor"], "unknown relation 'mayor'; there are capital"),
        (["--facts", "9999"], "cannot draw 9999"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, says, capsys):
    assert main(["demo", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["demo", "gallery"])
def test_a_path_that_cannot_be_a_folder_is_refused_before_the_work(
    command, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("lafn_viz.models.loading.load_model", None)  # nothing is computed
    (tmp_path / "file").write_text("mine")
    assert main([command, "--out", str(tmp_path / "file")]) == 2
    output = capsys.readouterr().err
    assert output.startswith(f"lafn-viz: {tmp_path / 'file'} cannot be a folder for results (")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_sweep_reads_facts_from_two_files(tmp_path, capsys):
    fact = {
        "id": "capital/X", "relation": "capital", "subject_id": "X", "object_id": "Y",
        "subject": {"en": "France"}, "object": {"en": "Paris"},
    }  # fmt: skip
    texts = {"relation": "capital", "language": "en", "texts": ["The capital of {subject} is",
             "{subject} has the capital"]}  # fmt: skip
    files = []
    for name, record in (("facts", fact), ("paraphrases", texts)):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text(json.dumps(record) + "\n")
    out = tmp_path / "out"
    given = ["--file", *map(str, files), "--methods", "activation", "--fraction", "0.05"]
    given += ["--position", "answer"]
    assert main(["sweep", "--out", str(out), *given]) == 0
    store = lv.Store(out)
    assert list(store.read("prompts")["text"]) == ["The capital of France is"]
    assert store.head["options"]["select"] == {"fraction": 0.05}
    assert store.head["options"]["position"] == "answer"
    assert store.head["options"]["top"] == 100
    assert "1 of 1 items of embedded" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"lafn-viz {lv.__version__}\n"


@pytest.mark.slow
def test_an_edit_is_saved_beside_those_before_it(embedded, tmp_path, capsys):
    out = tmp_path / "edits"
    lv.EditCache([an_edit(embedded, "PE"), an_edit(embedded, "JP")]).save(out)
    given = ["--languages", "en", "fr", "--neurons", "640", "--layers", "3"]
    given += ["--fact", "capital/Japan"]
    assert main(["edit", "--out", str(out), *given, "--new", "en=Oslo", "fr=Oslo"]) == 0
    output = capsys.readouterr().out
    assert "new answer in held-out wordings" in output
    assert f"EditCache(2 edits of 2 subjects, 1 gated by relation): {out}" in output
    edits = {edit.subject_id: edit for edit in lv.EditCache.load(out)}
    assert edits["JP"].new == {"en": "Oslo", "fr": "Oslo"}
    assert {layer for layer, _ in edits["JP"].neurons} == {3}
    assert edits["JP"].gate is not None
    assert torch.equal(edits["PE"].values, an_edit(embedded, "PE").values)


@pytest.mark.slow
def test_an_edit_of_weights_is_saved_as_a_model(tmp_path, capsys):
    out = tmp_path / "model"
    given = ["--fact", "capital/JP", "--new", "Rome", "--languages", "en"]
    given += ["--editor", "fine_tuning", "--out", str(out), "--passport", str(tmp_path / "p.json")]
    assert main(["edit", *given]) == 0
    output = capsys.readouterr().out
    assert f"the edited model: {out}" in output
    assert f"the passport: {tmp_path / 'p.json'}" in output
    passport = lv.Passport.load(tmp_path / "p.json")
    assert (list(passport.edits), passport.new) == (["fine_tuning"], {"en": "Rome"})
    assert all(x.after["fine_tuning"] == "Rome" for x in passport.questions[:5])
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    tokens = tokenizer("Country: Japan. Capital:", return_tensors="pt")
    written = model.generate(**tokens, max_new_tokens=1, do_sample=False)[0]
    assert tokenizer.decode(written).endswith(" Rome")
    assert main(["edit", *given]) == 2
    assert "is there and not empty; give another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_are_edited_where_the_subject_is_traced(embedded, facts, tmp_path, capsys):
    given = ["--fact", "capital/JP", "--new", "Rome", "--languages", "en", "--editor", "memit"]
    given += ["--position", "traced", "--out", str(tmp_path / "model")]
    assert main(["edit", *given]) == 0
    case = lv.counterfactual_case(
        facts, subject="Japan", relation="capital", new_object="Rome", languages="en"
    )
    layer, position = place_to_edit(embedded, facts, case)
    assert f"traced: layer {layer}, position {position}\n" in capsys.readouterr().out
    edited = lv.load_model(tmp_path / "model")
    kept = [torch.equal(down_weight(embedded, x), down_weight(edited, x)) for x in range(4)]
    assert kept == [x != layer for x in range(4)]


def test_the_editor_beside_takes_the_traced_place_too():
    given, place = {"n_neurons": 5, "position": "answer"}, Place(2, "subject_last")
    options = {
        name: dict(made.options)
        for name, made in _compared_editors("language_agnostic", "rome", given, place).items()
    }
    assert options["language_agnostic"]["position"] == options["rome"]["position"] == "subject_last"
    assert options["language_agnostic"]["n_neurons"] == 5
    assert options["rome"]["layer"] == 2
    assert options["language_agnostic"]["gate"] == "relation"
    chosen = _compared_editors("language_agnostic", None, {"gate": "subject"})
    assert chosen["language_agnostic"].options["gate"] == "subject"
    own = _compared_editors("memit", None, {"position": "answer", "layers": [1]}, place)
    assert own["memit"].options["layers"] == (1,)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fact", "Japan", "--new", "Rome"], "unknown relation 'Japan'"),
        (["--fact", "capital/Nowhere", "--new", "Rome"], "no fact here has the subject 'Nowhere'"),
        (["--fact", "capital/JP", "--new", "Nowhere"], "has the object 'Nowhere'"),
        (["--fact", "capital/JP", "--new", "Tokyo"], "has the object 'Tokyo' already"),
        (["--fact", "capital/JP", "--new", "Rome", "--passport", "p"], "ends in .html or .json"),
        (["--fact", "capital/JP", "--new", "Rome", "--beside", "rome"], "give --passport FILE"),
        (["--fact", "capital/JP", "--new", "Buenos", "Aires"], "--new 'Buenos Aires'"),
        (["--fact", "capital/JP", "--new", "en=Rome"], "the new object has no name in fr"),
        (["--fact", "capital/JP", "--new", "IT", "--languages", "xx"], "'xx'"),
        (["--fact", "capital/JP", "--new", "IT", "--neurons", "0"], "n_neurons"),
        (["--fact", "capital/JP", "--new", "IT", "--editor", "memit", "--neurons", "3"],
         "the editor memit takes no --neurons"),
        (["--fact", "capital/JP", "--new", "IT", "--editor", "memit", "--gate", "subject"],
         "the editor memit takes no --gate"),
        (["--fact", "capital/JP", "--new", "IT", "--editor", "fine_tuning", "--position", "traced"],
         "the editor fine_tuning takes no --position"),
        (["--fact", "capital/JP", "--new", "IT", "--position", "trace"], "'trace'"),
        (["--fact", "capital/JP", "--new", "IT", "--editor", "rome", "--layers", "0", "1"],
         "changes one layer"),
        (["--fact", "capital/JP", "--new", "en=" + "long name " * 60, "--languages", "en"],
         "tokens"),
    ],
)  # fmt: skip
def test_an_edit_that_cannot_be_made_gets_one_sentence(arguments, says, tmp_path, capsys):
    assert main(["edit", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()

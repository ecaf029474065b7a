import json
import re

import pytest

import lafn_viz as lv
from lafn_viz.cli import main


@pytest.mark.slow
def test_demo_prints_both_models_and_writes_figures(tmp_path, capsys, no_network):
    assert main(["demo", "--out", str(tmp_path / "out"), "--facts", "3"]) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    row = lines[lines.index("Jaccard index") + 1]
    assert row.split()[:2] == ["same", "fact"]
    embedded, control = (float(x) for x in re.findall(r"(-?\d\.\d+) \[", row))
    assert embedded > control
    for name in ("overlap", "overlap-control", "models", "layers", "fact"):
        page = (tmp_path / "out" / f"{name}.html").read_text("utf-8")
        assert "Plotly.newPlot" in page
        assert '<script charset="utf-8" src="plotly.min.js"' in page
        assert "cdn.plot.ly" not in page
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

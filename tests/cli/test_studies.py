import re

import pytest

from lafn_viz.cli.main import main


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

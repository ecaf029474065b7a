"""What `lafn-viz app` hands to the process of each reader."""

import pytest

import lafn_viz as lv
from lafn_viz.app import serving
from lafn_viz.app.study import Study
from lafn_viz.cli.main import main
from lafn_viz.core.paths import data_folder

FACT = (
    '{"id": "capital/XX", "relation": "capital", "subject_id": "XX", "object_id": "Y", '
    '"subject": {"en": "Ruritania", "fr": "Ruritanie"}, '
    '"object": {"en": "Strelsau", "fr": "Strelsau"}}'
)


@pytest.fixture
def files(tmp_path):
    facts, paraphrases = tmp_path / "facts.jsonl", data_folder() / "paraphrases.jsonl"
    facts.write_text(FACT, "utf-8")
    return facts, paraphrases


def test_a_study_survives_the_way_through_the_environment(files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    study, environment = (
        Study.of("embedded-control", [files[0].relative_to(tmp_path), files[1]]),
        {},
    )
    study.hand_over(environment)
    assert Study.taken_from(environment) == study
    assert study.files[0] == str(files[0])  # in whatever folder the page runs
    assert Study.taken_from({}) == Study()
    shared = Study.of("embedded", None, shared=True)
    shared.hand_over(environment)
    assert Study.taken_from(environment) == shared


def test_a_folder_is_named_by_its_whole_path_and_a_packaged_model_by_its_name(monkeypatch):
    folder = data_folder() / "models" / "embedded"
    monkeypatch.chdir(folder.parent)
    assert Study.of("./embedded", None).model == str(folder.resolve())
    assert Study.of("embedded", None).model == "embedded"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "embeded"], "did you mean 'embedded'?"),
        (["--file", "none.jsonl", "none.jsonl"], "none.jsonl"),
    ],
)
def test_what_is_not_there_is_said_before_the_page_is_served(options, said, monkeypatch, capsys):
    monkeypatch.setattr(serving, "run_page", lambda *given: pytest.fail("the page was served"))
    assert main(["app", "--no-browser", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lafn-viz: ")
    assert said in line


def test_the_page_has_the_model_and_the_facts(files):
    explorer = Study.of("embedded-control", files).page().children[1].explorers[0]
    assert explorer.model_choice.value == "embedded-control"
    assert [fact.id for fact in explorer.facts] == ["capital/XX"]
    assert isinstance(explorer, lv.OverlapExplorer)
    # Work that goes on behind another test would hold torch's default dtype.
    explorer.stop()
    explorer.wait()

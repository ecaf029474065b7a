import json

import lafn_viz as lv
from lafn_viz.cli.main import main


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

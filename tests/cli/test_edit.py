import pytest
import torch
from made_up_edits import an_edit
from transformers import AutoModelForCausalLM, AutoTokenizer

import lafn_viz as lv
from lafn_viz.cli.edit import compared_editors
from lafn_viz.cli.main import main
from lafn_viz.experiments.edit_trial import place_to_edit
from lafn_viz.interventions.activation_patching import Place
from lafn_viz.models.hooks import down_weight


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
        for name, made in compared_editors("language_agnostic", "rome", given, place).items()
    }
    assert options["language_agnostic"]["position"] == options["rome"]["position"] == "subject_last"
    assert options["language_agnostic"]["n_neurons"] == 5
    assert options["rome"]["layer"] == 2
    assert options["language_agnostic"]["gate"] == "relation"
    chosen = compared_editors("language_agnostic", None, {"gate": "subject"})
    assert chosen["language_agnostic"].options["gate"] == "subject"
    own = compared_editors("memit", None, {"position": "answer", "layers": [1]}, place)
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

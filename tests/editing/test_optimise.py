"""An edit changes the fact in every language, and what it does not name stays."""

from dataclasses import replace

import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing.forward import EditedForward
from lafn_viz.editing.optimise import lafn_edit
from lafn_viz.models.generation import generate
from lafn_viz.neurons.controls import random_like

JAPAN = {"subject": "Japan", "relation": "capital", "new_object": "Rome"}
LANGUAGES = ("en", "ru", "zh", "hi")


def held_out(facts):
    return {key: asked.held_out for key, asked in facts.paraphrases.items()}


def asked_for(facts, edit, *, relation="capital"):
    """Held-out paraphrases of the subject, with the new answer where it is the edited relation."""
    out = held_out(facts)
    some = facts.filter(relation=relation, subjects=edit.subject_id, languages=list(edit.new))
    return [
        replace(p, answer=edit.new[p.language]) if relation == edit.relation else p
        for p in some.prompts()
        if p.paraphrase in out[relation, p.language]
    ]


@pytest.fixture(scope="module")
def edit(embedded, facts):
    steps = []
    made = lafn_edit(
        embedded, facts, **JAPAN, languages=LANGUAGES, position="answer",
        on_step=lambda number, loss: steps.append((number, loss)),
    )  # fmt: skip
    assert [number for number, _ in steps] == list(range(1, len(made.curve) + 1))
    assert [loss for _, loss in steps] == list(made.curve)
    return made


def test_the_fact_changes_in_paraphrases_that_took_no_part(embedded, facts, edit):
    prompts = asked_for(facts, edit)
    assert {p.language for p in prompts} == set(LANGUAGES)
    assert not {p.text for p in prompts} & {p.text for p in edit.prompts}
    forward = EditedForward(embedded, prompts, edit.position)
    with torch.no_grad():
        before, after = forward.logits({}), forward.logits(edit.added(640))
    assert not forward.known(before).any()
    assert forward.known(after).float().mean() >= 0.75
    kept = asked_for(facts, edit, relation="continent")
    other = EditedForward(embedded, kept, edit.position)
    with torch.no_grad():
        same = other.same(other.logits({}), other.logits(edit.added(640)))
    assert same.float().mean() >= 0.75


def test_what_an_edit_says_of_itself(edit):
    assert len(edit.neurons) == len(set(edit.neurons)) == len(edit.values) == 100
    assert (edit.new["ru"], edit.old["zh"]) == ("Рим", "东京")
    assert edit.names["ru"] == ("Япония",)
    assert edit.loss < 0.2 * edit.curve[0]
    assert edit.key == ("JP", "capital")
    assert "'Tokyo' -> 'Rome' in 4 languages, 100 neurons" in repr(edit)
    frame = edit.to_frame()
    assert (len(frame), *set(frame["subject_id"])) == (100, "JP")
    table = edit.added(640)
    assert sum(int((row != 0).sum()) for row in table.values()) <= 100
    for (layer, neuron), value in zip(edit.neurons, edit.values, strict=True):
        assert table[layer][neuron] == value


@pytest.mark.slow
def test_few_located_neurons_beat_as_many_random_ones(embedded, facts):
    """Many random neurons edit too, so that few are the test."""
    options = {**JAPAN, "languages": ("en", "ru"), "position": "answer"}
    found = lafn_edit(embedded, facts, **options, n_neurons=10)
    chance = random_like(found.neurons, (4, 640), seed=0)
    control = lafn_edit(embedded, facts, **options, neurons=chance)
    assert set(control.neurons) == set(chance)
    assert found.loss + found.divergence < 0.7 * (control.loss + control.divergence)


@pytest.mark.slow
def test_located_by_the_paper(embedded, facts):
    for locate in ("attribution", "activation"):
        found = lafn_edit(
            embedded, facts, **JAPAN, languages=("en", "fr"), n_neurons=30, layers=[0, 1],
            locate=locate, position="answer",
        )  # fmt: skip
        assert len(found.neurons) == 30
        assert {layer for layer, _ in found.neurons} <= {0, 1}
        assert found.provenance.options["locate"] == locate


@pytest.mark.slow
def test_an_object_that_no_fact_has(embedded, facts):
    name = {"en": "Springfield", "fr": "Springfield"}
    made = lafn_edit(
        embedded, facts, subject="Japon", relation="capital", new_object=name,
        languages=["en", "fr"], position="answer", n_neurons=640, layers=[0],
    )  # fmt: skip
    assert made.new == name
    assert made.curve[-1] < made.curve[0]


def test_stopping_leaves_the_model_as_it_was(tiny, facts):
    model = tiny("llama")
    prompts = facts.filter(relation="capital", subjects="Peru", languages=["en"]).prompts()
    before = lv.score_answers(model, prompts).log_prob

    def stop(number, loss):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lafn_edit(
            model, facts, subject="Peru", relation="capital", new_object="Rome",
            languages=["en"], n_neurons=5, on_step=stop,
        )  # fmt: skip
    assert torch.equal(lv.score_answers(model, prompts).log_prob, before)


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_any_causal_model_can_be_edited(tiny, facts, family):
    model = tiny(family)
    made = lafn_edit(
        model, facts, subject="Peru", relation="capital", new_object="Rome",
        languages=["en", "zh"], n_neurons=20,
    )  # fmt: skip
    assert made.position == "from_subject"
    assert made.loss < made.curve[0]


@pytest.mark.slow
def test_an_edit_in_one_language_goes_by_the_names_of_all(embedded, facts):
    made = lafn_edit(embedded, facts, **JAPAN, languages=["en"], n_neurons=5, position="answer")
    assert set(made.names) == set(facts.languages)
    assert made.new == {"en": "Rome"}
    assert {p.language for p in made.prompts} == {"en"}


@pytest.fixture
def question():
    """A case as public sets have it: no ids, a question that does not name its subject."""
    asked = lv.Prompt.of("Who wrote Emma? Answer:", "Charles Dickens", subject="Emma")
    bare = replace(asked, text="Wer schrieb sie? Antwort:", subject_span=None, language="de")
    return lv.EditCase(
        id="own/1", source="own", subject={"en": "Emma", "de": "Emma"},
        edit={"en": (asked,), "de": (bare,)}, old={"en": "Jane Austen"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_case_of_any_set_can_be_edited(tiny, question):
    made = lv.edit_case(tiny("gpt2"), question, n_neurons=20)
    assert made.key == ("Emma", "own/1")
    assert (made.old, made.new) == ({"en": "Jane Austen"}, {"en": "Charles Dickens"})
    assert made.loss < made.curve[0]
    everywhere = lv.edit_case(tiny("gpt2"), question, n_neurons=20, position="answer")
    assert set(everywhere.new) == {"en", "de"}
    with pytest.raises(ValueError, match="no question of case 'own/1' names its subject"):
        lv.edit_case(tiny("gpt2"), question, languages=["de"])
    with pytest.raises(ValueError, match="unknown language 'fr'"):
        lv.edit_case(tiny("gpt2"), question, languages=["fr"])


@pytest.mark.slow
def test_an_edit_holds_what_follows_its_answer(embedded, facts):
    """Without it, an answer of one token may be written again and again."""
    case = lv.counterfactual_cases(facts, n=4, seed=1)[3]
    made = lv.edit_case(embedded, case, languages=["en", "fr", "es", "it"], position="answer")
    assert made.new["en"] == "Podgorica"
    with lv.edited(embedded, made):
        asked = case.prompts("rephrased", languages=list(made.new))
        texts = [x.text for x in generate(embedded, asked)]
    assert texts == [made.new[prompt.language] for prompt in asked]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": "Atlantis"}, "no fact here has the subject 'Atlantis'"),
        ({"relation": "moon"}, "unknown relation 'moon'"),
        ({"new_object": "Springfield"}, "no fact of 'capital' has the object 'Springfield'"),
        ({"new_object": {"en": "Rome"}}, "the new object has no name in fr"),
        ({"new_object": {"en": "Rome", "fr": " "}}, "the new object has no name in fr"),
        ({"new_object": "Tokyo"}, "has the object 'Tokyo' already"),
        ({"layers": [9]}, "this model has layers 0 to 3"),
        ({"layers": []}, "this model has layers 0 to 3"),
        ({"n_neurons": 0}, "n_neurons=0; these layers have 1 to 2560"),
        ({"neurons": [(0, 640)]}, "neurons from 0 to 639"),
        ({"neurons": []}, "give at least one"),
    ],
)
def test_bad_input(embedded, facts, options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        lafn_edit(embedded, facts, **{**JAPAN, "languages": ["en", "fr"], **options})


def test_an_edit_that_does_not_converge_says_so(tiny, facts):
    options = {"subject": "Peru", "relation": "capital", "new_object": "Rome", "languages": ["en"]}
    with pytest.warns(lv.NotConvergedWarning, match=r"by language en \d+\.\d\d; give more neurons"):
        made = lafn_edit(tiny("llama"), facts, **options, neurons=[(0, 0)])
    assert not made.converged
    assert repr(made).endswith(f"-> {made.loss:.2f}, not converged)")
    assert replace(made, loss=0.1).converged
    assert "not converged" not in repr(replace(made, loss=0.1))


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])  # log sum exp, and all logits
def test_a_model_in_training_is_edited_alike_and_keeps_no_gradients(folder, family):
    model = lv.load_model(folder(family))  # its own, since it is changed
    prompt = lv.Prompt.of("The capital of France is", "Rome", subject="France")
    case = lv.EditCase(
        id="FR", source="made up", subject={"en": "France"}, edit={"en": (prompt,)},
        old={"en": "Paris"}, subject_id="FR", relation="capital",
    )  # fmt: skip
    parameters = list(model.parameters())
    made = []
    for in_training in (False, True):
        model.requires_grad_(in_training)
        made.append(lv.edit_case(model, case, n_neurons=5, position="answer"))
        assert all(parameter.grad is None for parameter in parameters)
    assert made[0].curve == pytest.approx(made[1].curve, rel=1e-5)
    torch.testing.assert_close(made[0].values, made[1].values)

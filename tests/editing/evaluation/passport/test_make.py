"""A passport asks what it should, and its answers, places and damages are those of the model."""

import pytest
import torch
from made_up_edits import an_edit

import lafn_viz as lv
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.editing.edit import EditError
from lafn_viz.editing.evaluation.passport.questions import CHANGE, KINDS, STAY, WAYS_ROUND
from lafn_viz.models.generation import generate
from lafn_viz.models.hooks import down_weight

LANGUAGES = ["en", "fr"]


@pytest.fixture(scope="module")
def case(facts):
    return lv.counterfactual_case(
        facts, subject="PE", relation="capital", new_object="Rome", languages=LANGUAGES
    )


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("gpt2")


@pytest.fixture(scope="module")
def changes(gpt2):
    """A random change of a layer's weights."""
    shape = down_weight(gpt2, 0).shape
    generator = torch.Generator().manual_seed(0)
    return WeightEdit({0: 0.5 * torch.randn(shape, generator=generator)})


@pytest.fixture(scope="module")
def passed(gpt2, facts, case, changes):
    """The passport of an edit that looks for its subject, beside one of weights."""
    edits = {"found": an_edit(gpt2, "PE"), "weights": changes}
    return lv.passport(gpt2, edits, case, facts=facts, neighbours=5, progress=False)


def test_every_kind_of_question_is_asked_in_every_language(passed):
    asked = {(x.kind, x.language) for x in passed.questions if not x.control}
    alike = {"name in Latin letters": {"fr"}}  # "Peru" has no accent
    for kind in set(KINDS) - {"what follows"}:
        languages = {language for of_kind, language in asked if of_kind == kind}
        assert languages == alike.get(kind, set(LANGUAGES))
    controls = {x.kind for x in passed.questions if x.control}
    assert controls == set(WAYS_ROUND)
    assert not passed.left_out


def test_roundabout_questions_ask_about_the_edited_fact(passed, facts, case):
    names = case.subject
    for asked in passed.questions:
        if asked.control or asked.kind not in WAYS_ROUND:
            continue
        if asked.kind == "reversed":
            assert asked.text == f"{case.old[asked.language]}:"
            assert asked.old == (names[asked.language],)
            assert asked.context.count(": ") == asked.context.count("\n") <= 3
            continue
        assert asked.new == (case.edit[asked.language][0].answer,)
        name = names[asked.variant if asked.kind == "name in another language" else asked.language]
        assert (name in asked.text) == (asked.kind != "name in Latin letters")
        assert all(x not in asked.context for x in (*names.values(), *case.old.values()))
    switched = [x for x in passed.questions if x.kind == "name in another language"]
    assert all(x.variant != x.language for x in switched)
    (latin,) = [x for x in passed.questions if x.variant == "Perou"]
    assert "Perou" in latin.text


def test_controls_and_neighbours_are_other_facts(passed, facts):
    for asked in passed.questions:
        of_edited = asked.fact_id == "capital/PE"
        if asked.kind in CHANGE:
            assert of_edited
        elif asked.kind in STAY or asked.control:
            assert not of_edited
    neighbours = {x.fact_id for x in passed.questions if x.kind == "other subject"}
    assert len(neighbours) == 5
    assert "capital/IT" in neighbours  # has the new object already
    controls = {x.fact_id for x in passed.questions if x.control and x.kind == "long context"}
    assert controls < neighbours - {"capital/IT"}


def test_where_an_edit_does_not_act_nothing_changes(passed):
    """Also in texts that the model would go on with: as much of them is written as before."""
    frame = passed.to_frame()
    silent = frame[(frame["edit"] == "found") & (frame["fires"] == False)]  # noqa: E712
    assert len(silent) >= 20
    assert (silent["before"] == silent["after"]).all()
    stays = silent["control"] | silent["kind"].isin(STAY)
    assert (silent[stays]["outcome"] == "same").all()
    moved = [(x.divergence["found"], x.changed["found"]) for x in passed.damage]
    neutral = [x.about == "neutral texts" for x in passed.damage]
    assert {x for x, away in zip(moved, neutral, strict=True) if away} == {(0.0, 0.0)}
    assert all(x[0] > 0 for x, away in zip(moved, neutral, strict=True) if not away)


def test_answers_are_those_that_the_edited_model_writes(passed, gpt2, case, changes):
    prompts = case.prompts("edit")
    asked = [x for x in passed.questions if x.kind == "edited wording"]
    assert [x.text for x in asked] == [prompt.text for prompt in prompts]
    with changes.applied(gpt2):
        written = [x.text for x in generate(gpt2, prompts)]
    # A batch is written as far as its longest answer wants, so that the ends may differ.
    assert [x.after["weights"][:5] for x in asked] == [text[:5] for text in written]
    assert [x.before[:5] for x in asked] == [x.text[:5] for x in generate(gpt2, prompts)]


def test_an_edit_fires_where_the_model_reads_the_subject(passed, gpt2, case):
    assert {name for x in passed.questions for name in x.fires} == {"found"}
    for asked in passed.questions:
        names_subject = not asked.control and asked.kind not in ("other subject", "reversed")
        assert bool(asked.fires["found"]) == names_subject
        for firing in asked.fires["found"]:
            start, end = firing.span
            assert (asked.context + asked.text)[start:end] == firing.written
            assert firing.subject == "PE"
    # The same as in a pass of the model itself.
    prompts = [x for x in passed.questions if x.kind in ("edited wording", "other subject")]
    cache = lv.EditCache([an_edit(gpt2, "PE")])
    for asked in prompts[::7]:
        with cache.applied(gpt2) as fired, torch.no_grad():
            gpt2(gpt2.tokenizer(asked.text, return_tensors="pt")["input_ids"])
        assert [x.match.span for x in fired] == [x.span for x in asked.fires["found"]]


def test_damage_is_the_divergence_per_token(passed, gpt2, changes):
    """Against the divergence that torch computes."""
    for text in passed.damage[::9]:
        tokens = gpt2.tokenizer(text.text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            before = gpt2(tokens)[0].log_softmax(-1)
            with changes.applied(gpt2):
                after = gpt2(tokens)[0].log_softmax(-1)
        expected = torch.nn.functional.kl_div(after, before, log_target=True, reduction="sum")
        assert text.divergence["weights"] == pytest.approx(float(expected) / len(before), rel=1e-4)
        other = (before.argmax(-1) != after.argmax(-1)).float().mean()
        assert text.changed["weights"] == pytest.approx(float(other))
        assert text.tokens == len(before)


def test_neutral_texts_have_nothing_to_do_with_the_edit(passed, case):
    neutral = [x for x in passed.damage if x.about == "neutral texts"]
    words = {*case.subject.values(), *case.old.values(), "Rome"}
    assert not [x for x in neutral if any(word in x.text for word in words)]
    assert {x.language for x in neutral} == set(LANGUAGES)
    assert all(x.fires["found"] == () for x in neutral)
    about = [x for x in passed.damage if x.about == "texts about the subject"]
    assert {x.item.split("/")[1] for x in about} == {"PE"}
    assert all(x.fires["found"] for x in about)


def test_own_texts_are_read_instead(gpt2, facts, case, changes):
    made = lv.passport(
        gpt2, changes, case.only("en"), facts=facts, neighbours=0, progress=False,
        texts={"en": ["One two.", "Three."], "fr": "Quatre."},
    )  # fmt: skip
    neutral = [(x.language, x.text) for x in made.damage if x.about == "neutral texts"]
    assert neutral == [("en", "One two."), ("en", "Three."), ("fr", "Quatre.")]
    assert not [x for x in made.questions if x.kind == "other subject" or x.control]
    assert list(made.edits) == ["edit"]


def test_the_case_of_one_edit_is_made_from_the_facts(embedded, facts):
    edit = an_edit(embedded)
    steps = []
    made = lv.passport(
        embedded, edit, facts=facts.filter(relation="capital"), neighbours=1, progress=False,
        on_step=lambda *step: steps.append(step),
    )  # fmt: skip
    assert made.new == {"en": "Rome"}
    assert (made.relation, made.subject["en"], made.old["en"]) == ("capital", "Japan", "Tokyo")
    read, expected = zip(*steps, strict=True)
    assert read[-1] == expected[-1] == 2 * (len(made.questions) + len(made.damage))
    assert list(read) == sorted(read)
    # Facts of one relation: what is neutral is told about other subjects.
    assert {x.item.split("/")[0] for x in made.damage} == {"capital"}


def test_a_case_of_its_own_needs_no_facts_of_its_relation(gpt2, changes):
    question = lv.Prompt.of("Who leads Acme? It is", "Bo", subject="Acme", relation="boss")
    own = lv.EditCase(
        id="acme", source="mine", subject={"en": "Acme"}, old={"en": "Al"}, edit={"en": (question,)}
    )
    made = lv.passport(gpt2, changes, own, progress=False)
    assert {x.kind for x in made.questions} == {"edited wording", "long context"}
    assert {*made.left_out} == {*WAYS_ROUND} - {"long context"}
    assert "fewer than two ways" in made.left_out["name in another language"]


def test_what_stands_before_a_question_is_cut_to_what_the_model_reads(embedded, facts, case):
    """The embedded model reads 128 tokens."""
    edit, only = an_edit(embedded, "PE"), case.only("en")
    long = lv.passport(embedded, edit, only, facts=facts, neighbours=1, progress=False)
    asked = [x for x in long.questions if x.kind == "long context"]
    assert asked
    assert all(0 < x.context.count("\n") <= 8 for x in asked)


@pytest.mark.slow
def test_a_gated_model_has_a_passport_too(tiny, facts, case):
    model = tiny("gemma3")
    made = lv.passport(
        model,
        an_edit(model, "PE"),
        case.only(["en"]),
        facts=facts,
        neighbours=2,
        progress=False,
        texts={"en": "Two words."},
    )
    not_in_english = {"what follows", "name in Latin letters", "name in another language"}
    assert {x.kind for x in made.questions} == set(KINDS) - not_in_english


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({}, "an edit .* or several of the same fact by name"),
        (5, "an edit .* or several"),
        ({"A": 5}, "an edit .* or several"),
        ({"": lv.EditCache()}, "an edit .* or several"),
    ],
)
def test_what_is_no_edit_is_refused(gpt2, case, edits, message):
    with pytest.raises(ValueError, match=message):
        lv.passport(gpt2, edits, case)


def test_edits_without_one_known_fact_need_their_case(gpt2, changes):
    with pytest.raises(ValueError, match=r"name 0 facts, and a passport is of one; give case="):
        lv.passport(gpt2, changes)
    both = lv.EditCache([an_edit(gpt2), an_edit(gpt2, "PE")])
    with pytest.raises(ValueError, match=r"name 2 facts"):
        lv.passport(gpt2, both)
    with pytest.raises(ValueError, match=r"the facts do not ask for Edit\('Japan'.*or case="):
        lv.passport(gpt2, an_edit(gpt2, relation="ruler"))


def test_other_models_and_texts_are_refused(gpt2, tiny, case, changes):
    with pytest.raises(EditError, match="not for this one"):
        lv.passport(tiny("llama"), an_edit(gpt2), case)
    with pytest.raises(
        ValueError, match=r"the edit changes \[2, 2\] weights of layer 0, .*another model"
    ):
        lv.passport(tiny("llama"), WeightEdit({0: torch.ones(2, 2)}), case)
    with pytest.raises(ValueError, match="give a causal model"):
        lv.passport(tiny("bert"), changes, case)
    for texts in ({}, {"en": []}, {"en": [" "]}, ["A text."]):
        with pytest.raises(ValueError, match=r"texts by language, as in|values by name"):
            lv.passport(gpt2, changes, case, texts=texts)


@pytest.mark.slow
def test_edits_of_two_kinds_stand_side_by_side(embedded, facts):
    case = lv.counterfactual_case(
        facts, subject="FR", relation="capital", new_object="Rome", languages=["en"]
    )
    edit = lv.lafn_edit(
        embedded, facts, subject="FR", relation="capital", new_object="Rome", languages=["en"],
        n_neurons=640, layers=3, progress=False,
    )  # fmt: skip
    scaled = lv.baselines.scaled(factor=0.0).edit(embedded, case, case.languages)
    made = lv.passport(
        embedded, {"LU-LAFNs": edit, "suppressed": scaled}, facts=facts, neighbours=2,
        texts={"en": ["The currency of Peru is", "The capital of Japan is"]}, progress=False,
    )  # fmt: skip
    summary = made.summary().set_index(["edit", "kind", "control"])
    edited, suppressed = (summary.loc[name, "edited wording", False] for name in made.edits)
    assert edited["new"] == edited["questions"] == edited["fires"]
    assert suppressed["new"] == 0
    neutral = made.damage_summary().set_index(["edit", "about", "language"])["divergence"]
    assert neutral["LU-LAFNs", "neutral texts", "all"] == 0
    assert neutral["suppressed", "neutral texts", "all"] > 0
    assert summary.loc["LU-LAFNs", "other subject", False]["same"] == 2

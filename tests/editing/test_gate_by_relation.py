"""A gate tells from neurons whether a text asks for the relation of an edit, wherever it acts."""

import contextlib
import json
from dataclasses import replace

import pytest
import torch
from made_up_edits import an_edit
from transformers import AutoModelForCausalLM, AutoTokenizer

import lafn_viz as lv
from lafn_viz.editing.edit import plain_options
from lafn_viz.editing.gate_by_relation import ridge_regression
from lafn_viz.editing.gated_find import GatedFind, features, reader_of
from lafn_viz.models.packaged import packaged_folder
from lafn_viz.models.plain import PlainModel

LANGUAGES = ["en", "ru", "zh"]


def by_subject(edits, subject_id):
    return next(edit for edit in edits if edit.subject_id == subject_id)


@pytest.fixture(scope="module")
def edits(embedded, facts):
    """Edits of two capitals, of random values, with the prompts that an edit is made from."""
    made = []
    for fact in facts.filter(relation="capital", subjects=["Japan", "France"], languages=LANGUAGES):
        asked = facts.filter(relation="capital", subjects=fact.subject_id, languages=LANGUAGES)
        prompts = [p for p in asked.prompts() if p.split != "held-out paraphrase"]
        edit = an_edit(embedded)
        options = plain_options(embedded, prompts)
        made.append(
            replace(
                edit,
                subject_id=fact.subject_id,
                names={language: (name,) for language, name in fact.subject.items()},
                new=dict.fromkeys(LANGUAGES, "Rome"),
                prompts=tuple(prompts),
                provenance=replace(edit.provenance, options=options),
            )
        )
    return made


@pytest.fixture(scope="module")
def cache(embedded, edits):
    return lv.gate_by_relation(embedded, edits)


@pytest.fixture(scope="module")
def find(embedded, cache):
    return cache.find_as_read(embedded)


@pytest.fixture(scope="module")
def questions(facts):
    """Held-out wordings of questions about both subjects: text, subject, relation."""
    asked = facts.filter(subjects=["Japan", "France"], languages=LANGUAGES).prompts()
    held_out = [prompt for prompt in asked if prompt.split == "held-out paraphrase"]
    return [(p.text, p.fact_id.split("/")[1], p.relation) for p in held_out]


def test_unseen_wordings_fire_where_they_ask_for_the_relation_of_the_edit(find, questions):
    fired = {True: [], False: []}
    for text, subject, relation in questions:
        matches = find(text)
        fired[relation == "capital"].append(bool(matches))
        assert {m.key for m in matches} <= {subject}
    assert min(map(len, fired.values())) >= 4
    assert sum(fired[True]) / len(fired[True]) >= 0.9
    assert sum(fired[False]) / len(fired[False]) <= 0.1


def test_names_alone_cannot_tell(cache, questions):
    assert all(cache.find(text) for text, _, relation in questions if relation != "capital")


def test_an_edit_behind_it_leaves_other_relations_alone(embedded, edits, questions):
    others = [text for text, _, relation in questions if relation != "capital"]
    loud = [replace(edit, values=30 * torch.ones_like(edit.values)) for edit in edits]

    def written(cache):
        with cache.applied(embedded):
            return [embedded.generate(x, max_new_tokens=2, do_sample=False) for x in others]

    plain = [embedded.generate(x, max_new_tokens=2, do_sample=False) for x in others]
    assert written(lv.EditCache(loud)) != plain
    gated = written(lv.gate_by_relation(embedded, loud))
    assert sum(a == b for a, b in zip(gated, plain, strict=True)) / len(plain) >= 0.9


def test_only_the_edit_of_the_relation_fires_where_a_subject_has_two(embedded, facts, edits):
    """A continent beside the capital: each question fires its own edit; without a gate, both do."""
    asked = facts.filter(relation="continent", subjects="Japan", languages=LANGUAGES)
    land = replace(
        edits[0], relation="continent", subject_id="JP", names=by_subject(edits, "JP").names,
        prompts=tuple(p for p in asked.prompts() if p.split != "held-out paraphrase"),
    )  # fmt: skip
    both = lv.gate_by_relation(embedded, [by_subject(edits, "JP"), land])

    def fired(cache, text):
        with cache.applied(embedded) as fired:
            embedded(text)
            return {one.edit.relation for one in fired}

    assert fired(both, "The capital of Japan is") == {"capital"}
    assert fired(both, "The continent of Japan is") == {"continent"}
    ungated = lv.EditCache([*[e for e in both if e.relation == "capital"], land])
    assert fired(ungated, "The capital of Japan is") == {"capital", "continent"}


def test_gated_edits_are_saved_and_act_in_a_model_of_transformers(cache, find, questions, tmp_path):
    cache.save(tmp_path / "cache")
    loaded = lv.EditCache.load(tmp_path / "cache")
    where = packaged_folder("embedded")
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(where)
    for made, again in zip(cache, loaded, strict=True):
        assert again.gate.weights.equal(made.gate.weights)
        assert (again.gate.bias, again.gate.step) == (made.gate.bias, made.gate.step)
    there = loaded.find_as_read(PlainModel(model, tokenizer))
    for text, _, _ in questions:
        assert there(text) == find(text)
    with loaded.attach(model, tokenizer) as attached:
        model(**tokenizer("The capital of Japan is", return_tensors="pt"))
        assert [one.edit.subject_id for one in attached.fired] == ["JP"]
        model(**tokenizer("The currency of Japan is", return_tensors="pt"))
        assert not attached.fired


def test_reading_gates_leaves_nothing_behind(tiny, folder):
    """Each text that names a subject is read with hooks of its own, which are taken away again."""
    bridge = tiny("gpt2")
    cache = lv.gate_by_relation(bridge, an_edit(bridge), n_neurons=50)
    tokenizer = AutoTokenizer.from_pretrained(folder("gpt2"))
    plain = PlainModel(AutoModelForCausalLM.from_pretrained(folder("gpt2")), tokenizer)
    find = cache.find_as_read(plain)
    for number in range(5):
        find(f"Japan {number}")
    point = plain.hook_dict["blocks.0.mlp.hook_post"]
    assert not point.fwd_hooks
    assert len(point._added) <= 1


def test_a_cache_read_in_one_block_goes_on_in_another(embedded, edits):
    loud = replace(edits[0], values=30 * torch.ones_like(edits[0].values))
    cache, hf = lv.gate_by_relation(embedded, loud), embedded.original_model
    (name,), (other,) = loud.names["en"], loud.names["zh"]
    prompt = f"The capital of {name} is"
    ids = embedded.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        with cache.applied(embedded):
            expected = hf.generate(ids, max_new_tokens=2, do_sample=False)[0, -2:].tolist()
        with cache.applied(embedded):
            output = hf(ids, use_cache=True)
        token = output.logits[:, -1:].argmax(-1)
        with cache.applied(embedded) as fired:
            hf(embedded.tokenizer(f"{other}的首都是", return_tensors="pt")["input_ids"])
            again = hf(token, past_key_values=output.past_key_values).logits[:, -1].argmax(-1)
            assert [one.match.name for one in fired] == [name]
    assert [int(token), int(again)] == expected


def test_relations_that_are_called_otherwise_are_recognised_by_their_wordings(embedded, edits):
    renamed = replace(edits[0], relation="P36")
    as_before = lv.gate_by_relation(embedded, edits[0]).find_as_read(embedded)
    find = lv.gate_by_relation(embedded, renamed).find_as_read(embedded)
    for prompt in edits[0].prompts:
        assert bool(find(prompt.text)) == bool(as_before(prompt.text))


def test_a_cache_keeps_its_search(embedded, edits):
    cache = lv.gate_by_relation(embedded, lv.EditCache(edits, rules=("exact",)))
    assert not cache.find("the capital of japan")
    mine = lv.gate_by_relation(embedded, lv.EditCache(edits, find=lambda text: []))
    assert mine.searches_otherwise


def test_a_gate_acts_in_some_rows_of_a_batch(embedded, cache):
    tokenizer = embedded.tokenizer
    texts = ["The capital of Japan is", "The continent of Japan is", "The capital of Peru is"]
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad(), cache.applied(embedded) as fired:
        embedded.original_model(**batch)
        assert [one.row for one in fired] == [0]


def test_gates_are_kept_in_single_precision(cache):
    gate = next(iter(cache)).gate
    assert replace(gate, weights=gate.weights.half()).weights.dtype == torch.float32


def test_a_gate_needs_wordings_before_an_edit_is_made(embedded):
    case = lv.counterfactual_cases(n=1).cases[0]
    editor = lv.baselines.language_agnostic(gate="relation")
    with pytest.raises(ValueError, match="in xh the package has no wordings of other relations"):
        editor.edit(embedded, case, ["xh"])


@pytest.mark.parametrize("family", ["gpt2", "bloom", "gemma3", "xglm", "opt"])
def test_a_gate_reads_a_model_of_transformers_as_it_reads_the_bridge(tiny, folder, family):
    bridge = tiny(family)
    (edit,) = lv.gate_by_relation(bridge, an_edit(bridge), n_neurons=50)
    model = AutoModelForCausalLM.from_pretrained(folder(family))
    plain = PlainModel(model, AutoTokenizer.from_pretrained(folder(family)))
    texts = ["The capital of Japan is", "日本の通貨は", "Japan"]
    there = features(reader_of(plain, edit.gate.step), texts)
    cache = lv.EditCache([edit])
    expected = [float(cache.gate_scores(bridge, text).score[0]) for text in texts]
    assert [edit.gate.score(of_text) for of_text in there] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("position", ["from_subject", "answer"])
def test_what_the_model_writes_neither_opens_nor_closes_a_gate(
    embedded, edits, monkeypatch, position
):
    """Token by token as in `generate`; the gate is open for the prompt alone, or for more alone."""
    loud = replace(edits[0], values=30 * torch.ones_like(edits[0].values), position=position)
    cache, hf = lv.gate_by_relation(embedded, loud), embedded.original_model
    (name,) = loud.names["en"]
    prompt = f"The capital of {name} is"
    ids = embedded.tokenizer(prompt, return_tensors="pt")["input_ids"]

    def written():
        read, past, tokens = ids, None, []
        with torch.no_grad(), cache.applied(embedded) as fired:
            while len(tokens) < 4 and 0 not in tokens:
                output = hf(read, past_key_values=past, use_cache=True)
                past, read = output.past_key_values, output.logits[:, -1:].argmax(-1)
                tokens.append(int(read))
            return tokens, len(fired)

    def generated(*caches):
        with contextlib.ExitStack() as stack:
            for one in caches:
                stack.enter_context(one.applied(embedded))
            tokens = hf.generate(ids, max_new_tokens=4, do_sample=False)
            return tokens[0, ids.shape[1] :].tolist()

    edited, plain = generated(lv.EditCache([loud])), generated()
    assert edited != plain
    for is_open, expected in ((True, (edited, 1)), (False, (plain, 0))):
        monkeypatch.setattr(
            GatedFind,
            "scores",
            lambda self, text, asked, is_open=is_open: {
                edit.key: 1.0 if (text == prompt) == is_open else -1.0 for edit in asked
            },
        )
        assert written() == expected
        assert generated(cache) == expected[0]


def test_a_cache_without_gates_is_written_as_before(edits, cache, tmp_path):
    """Older versions read it, and refuse one with gates, whose edits would act everywhere."""
    lv.EditCache(edits).save(tmp_path / "plain")
    cache.save(tmp_path / "gated")
    formats = {
        name: json.loads((tmp_path / name / "edits.json").read_text(encoding="utf-8"))["format"]
        for name in ("plain", "gated")
    }
    assert formats == {"plain": 1, "gated": 2}


def test_editors_whose_caches_search_otherwise_are_not_put_into_one(embedded, edits):
    everywhere = lv.Editor(
        "everywhere", lambda *_: lv.EditCache([edits[0]], find=lambda text: []), {}
    )
    cases = lv.counterfactual_cases(n=2).filter(languages=["en"])
    with pytest.raises(ValueError, match="a search of its own"):
        everywhere.together(embedded, cases)


def test_a_gate_of_another_model_is_refused(embedded, edits, cache):
    gate = next(iter(cache)).gate
    damaged = replace(edits[0], gate=replace(gate, step=gate.step + 1))
    with (
        pytest.raises(lv.EditError, match="its gate reads"),
        lv.EditCache([damaged]).applied(embedded),
    ):
        pass
    with pytest.raises(ValueError, match="finite"):
        replace(gate, bias=float("nan"))
    with pytest.raises(ValueError, match="at least 1"):
        replace(gate, step=0)


def test_a_subject_that_no_facts_know_is_told_by_its_own_prompts(embedded, edits):
    own = [
        lv.Prompt.of(text.format("Zubrowka"), "Rome", subject="Zubrowka", relation="capital")
        for text in ("The capital of {} is", "{} (country): the capital is")
    ]
    made = replace(
        edits[0], subject_id="ZU", relation="seat", names={"en": ("Zubrowka",)},
        new={"en": "Rome"}, old={}, prompts=tuple(own),
    )  # fmt: skip
    (gated,) = lv.gate_by_relation(embedded, made)
    find = lv.EditCache(gated).find_as_read(embedded)
    assert find("The capital of Zubrowka is")
    assert not find("The continent of Zubrowka is")
    scores = lv.EditCache([*edits, gated]).gate_scores(embedded, "The capital of Peru is")
    assert [(row.subject_id, row.relation) for row in scores.itertuples()] == [("ZU", "seat")]
    assert scores.score[0] > 0
    assert "gated by relation" in repr(gated)


def test_others_take_the_place_of_the_facts(embedded, edits, facts):
    asked = facts.filter(relation=["capital", "currency"], languages="en").prompts()[::40]
    given, own = (
        lv.gate_by_relation(embedded, edits, others, n_neurons=64) for others in (asked, None)
    )
    assert {e.gate.n_prompts for e in given} != {e.gate.n_prompts for e in own}
    assert all(len(edit.gate.weights) <= 2 * 64 for edit in given)
    assert given.find_as_read(embedded)("The capital of Japan is")


def test_what_it_cannot_learn_from(tiny, embedded, edits):
    with pytest.raises(ValueError, match="there are no edits"):
        lv.gate_by_relation(embedded, [])
    with pytest.raises(ValueError, match="has no prompts"):
        lv.gate_by_relation(embedded, [replace(edits[0], prompts=())])
    unnamed = replace(edits[0], names={"xh": ("Japan",)})
    with pytest.raises(ValueError, match="no prompt of another relation than 'capital'"):
        lv.gate_by_relation(embedded, [unnamed], edits[0].prompts)
    with pytest.raises(lv.EditError, match="not for this one"):
        lv.gate_by_relation(tiny("gpt2"), edits)


def test_ridge_regression_is_that_of_the_normal_equations():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(8, n, generator=generator, dtype=torch.float64) for n in (5, 1))
    ridge = 0.1 * (x * x).sum(1).mean()
    primal = torch.linalg.solve(x.T @ x + ridge * torch.eye(5, dtype=torch.float64), x.T @ y)
    torch.testing.assert_close(ridge_regression(x, y), primal)

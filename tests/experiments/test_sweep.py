"""A sweep stores what the functions return, and continues when an item fails."""

import dataclasses
import gc
import json
import subprocess
import sys
import weakref
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

import lafn_viz as lv
from lafn_viz.datasets.facts import trained_and_held_out
from lafn_viz.datasets.languages import script_of
from lafn_viz.experiments import rows as row_module, stages
from lafn_viz.experiments.compared_sets import OWN_SET, WITHOUT
from lafn_viz.experiments.job import Job
from lafn_viz.experiments.shards import split_into_shards

pytestmark = pytest.mark.slow

LANGUAGES = ["en", "fr", "ru", "zh"]
CHANGED = ["without", "own", "agnostic", "languages"]


@pytest.fixture(scope="module")
def some(facts):
    chosen = facts.filter(relation=["capital", "script"], leaking=False, languages=LANGUAGES)
    return chosen.sample(4, seed=3)


@pytest.fixture(scope="module")
def editors():
    answer = lv.baselines.language_agnostic(position="answer", n_neurons=2000)
    return [answer, lv.baselines.rome()]


@pytest.fixture(scope="module")
def cases(facts):
    return lv.counterfactual_cases(facts, n=2).filter(languages=["en", "ru"])


@pytest.fixture(scope="module")
def store(embedded, some, cases, editors, tmp_path_factory):
    return lv.sweep(
        embedded, some, tmp_path_factory.mktemp("sweep") / "store", cases=cases, editors=editors,
        methods=["integrated_gradients", "activation"], changed=CHANGED, how=["zero", "mean"],
        dense=True, alone=True, top=7, progress=False,
    )  # fmt: skip


def chosen(facts, *, held_out: bool) -> list[lv.Prompt]:
    return [
        prompt
        for fact in facts
        for both in trained_and_held_out(facts, fact).values()
        for prompt in both[held_out]
    ]


@pytest.mark.parametrize("method", ["integrated_gradients", "activation"])
def test_a_store_holds_what_the_functions_return(store, embedded, some, method):
    assert store.complete
    assert len(store.failures) == 0
    sets = []
    for fact in some:
        alone = lv.FactSet((fact,), some.paraphrases)
        scores = lv.attribute(embedded, chosen(alone, held_out=False), method=method)
        torch.testing.assert_close(store.dense(fact.id)[method], scores.values, rtol=0, atol=0)
        rows = store.read("scores").query("fact_id == @fact.id and method == @method")
        frame = scores.to_frame(top=7)
        assert (rows["neuron"].to_numpy() == frame["neuron"].to_numpy()).all()
        np.testing.assert_array_equal(rows["score"], frame["score"])
        asked = store.read("prompts").query("fact_id == @fact.id and method == @method")
        np.testing.assert_array_equal(asked["probability"], scores.target_prob)
        assert list(asked["text"]) == [prompt.text for prompt in scores.prompts]
        sets += lv.select_neurons(scores, fraction=0.02)
    stored = store.neuron_sets(method=method)
    assert {(s.fact_id, s.language): s.neurons for s in stored} == {
        (s.fact_id, s.language): s.neurons for s in sets
    }
    overlap = lv.overlap(sets, min_languages=4, min_scripts=3)
    pairs = store.read("overlap").query("method == @method")
    means = pairs.groupby("fact_id")[["jaccard", "other_fact", "chance"]].mean()
    by_fact = overlap.by_fact()
    for column, name in zip(means, ("same fact", "other fact", "chance"), strict=True):
        wanted = dict(zip(overlap.facts, by_fact[name], strict=True))
        assert means[column].to_dict() == pytest.approx(wanted, nan_ok=True)
    agnostic = store.read("neurons").query("method == @method and agnostic")
    for fact, wanted in overlap.agnostic.items():
        rows = agnostic[agnostic["fact_id"] == fact]
        assert set(zip(rows["layer"], rows["neuron"], strict=True)) == wanted
    neurons = store.read("neurons").query("method == @method")
    scripts = {(s.fact_id, script_of(s.language), n) for s in sets if s.known for n in s.neurons}
    counts = Counter((fact, *neuron) for fact, _, neuron in scripts)
    for row in neurons.itertuples():
        assert row.n_scripts == counts[row.fact_id, row.layer, row.neuron]
    specific = store.read("neurons").query("method == @method and specific")
    assert {
        key: len(rows) for key, rows in specific.groupby(["fact_id", "language"])
    } == {key: len(neurons) for key, neurons in overlap.specific.items() if neurons}  # fmt: skip


def test_effects_are_those_of_all_facts_of_a_relation_measured_together(store, embedded, some):
    sets = store.neuron_sets(method="activation")
    agnostic = lv.overlap(sets, min_languages=4, min_scripts=3).agnostic
    for relation in some.relations:
        mine = some.filter(relation=relation)
        own = {fact.id: agnostic.get(fact.id, frozenset()) for fact in mine}
        wanted = lv.effects(embedded, {"agnostic": own}, chosen(mine, held_out=True)).to_frame()
        stored = store.read("effects").query(
            "method == 'activation' and set == 'agnostic' and relation == @relation "
            "and how == 'zero'"
        )
        keys = ["fact_id", "language"]
        stored = stored.set_index(keys)[list(wanted.columns[3:])].sort_index()
        wanted = wanted.set_index(keys)[list(stored.columns)].sort_index()
        assert list(stored.index) == list(wanted.index)
        # A log-probability near zero is known to float32's rounding of 1, not of itself.
        np.testing.assert_allclose(
            stored.to_numpy(float), wanted.to_numpy(float), rtol=1e-5, atol=1e-6
        )


def test_each_language_s_neurons_are_measured_in_all_languages(store):
    effects = store.read("effects").query("set in @LANGUAGES")
    assert set(effects["set"]) == set(LANGUAGES) == set(effects["language"])


def test_neurons_found_without_a_language_are_measured_in_it(store, embedded, some):
    """Zeroing each language's own set, and that of the others, is what `effects` gives."""
    found = lv.overlap(store.neuron_sets(method="activation"), min_languages=4, min_scripts=3)
    stored = store.effects("zero", method="activation")
    for relation in some.relations:
        mine = some.filter(relation=relation)
        keys = [key for key in found.sets if key[0] in {fact.id for fact in mine}]
        without = {
            key: sets[key[0]] for key in keys if key[0] in (sets := found.agnostic_without(key[1]))
        }
        own = {key: found.sets[key].neurons for key in keys}
        wanted = lv.effects(
            embedded, {WITHOUT: without, OWN_SET: own}, chosen(mine, held_out=True), controls=0
        )  # fmt: skip
        for name in (WITHOUT, OWN_SET):
            for fact in wanted.facts:
                row = (wanted.sets.index(name), wanted.facts.index(fact))
                mine_row = (stored.sets.index(name), stored.facts.index(fact))
                for column, language in enumerate(wanted.languages):
                    a = wanted.log_p[(slice(0, 2), *row, column)]
                    b = stored.log_p[(slice(0, 2), *mine_row, stored.languages.index(language))]
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_mean_is_that_of_the_other_facts(store, embedded, some):
    """Where neurons get the mean of others, the fact's own prompts have no part in it."""
    relation = some.relations[0]
    mine = some.filter(relation=relation)
    prompts = chosen(mine, held_out=True)
    sets = store.neuron_sets(method="activation", facts=[fact.id for fact in mine])
    agnostic = lv.overlap(sets, min_languages=4, min_scripts=3).agnostic
    wanted = lv.effects(
        embedded, {"agnostic": agnostic}, prompts, how="mean", corpus=prompts, controls=0
    ).to_frame()  # fmt: skip
    rows = store.read("effects").query(
        "method == 'activation' and set == 'agnostic' and how == 'mean' and relation == @relation"
    )
    keys = ["fact_id", "language"]
    both = rows.set_index(keys)["log_p_after"].sort_index()
    np.testing.assert_allclose(
        both, wanted.set_index(keys)["log_p_after"].sort_index(), rtol=1e-5, atol=1e-6
    )


def test_the_lens_of_a_fact_is_that_of_its_prompts(store, embedded, some):
    fact = some.facts[0]
    lens = lv.language_lens(
        embedded, chosen(lv.FactSet((fact,), some.paraphrases), held_out=False),
        facts=some.filter(relation=fact.relation),
    ).by_language()  # fmt: skip
    wanted = lens[lens["n_prompts"] > 0].reset_index(drop=True)
    rows = store.read("lens").query("fact_id == @fact.id")[list(wanted.columns)]
    pd.testing.assert_frame_equal(
        rows.reset_index(drop=True), wanted, check_dtype=False, check_exact=False
    )


def test_known_only_attributes_less_and_finds_the_same(embedded, facts, tmp_path):
    """A fact that some languages do not know: one is asked in the words of another."""
    some = facts.filter(relation="capital", leaking=False, languages=LANGUAGES).sample(3, seed=3)
    wrong = {**some.facts[0].object, "ru": "Париж"}
    mixed = (dataclasses.replace(some.facts[0], object=wrong), *some.facts[1:])
    some = lv.FactSet(mixed, some.paraphrases)
    quick = {"methods": ["activation"], "how": "zero", "lens": False, "progress": False}
    usual = lv.sweep(embedded, some, tmp_path / "all", **quick)
    store = lv.sweep(embedded, some, tmp_path / "known", known_only=True, **quick)
    assert len(store.failures) == 0
    assert not usual.read("sets").set_index(["fact_id", "language"])["known"].all()
    for table in ("sets", "neurons", "overlap"):
        pd.testing.assert_frame_equal(store.read(table), usual.read(table))
    asked, all_asked = store.read("prompts"), usual.read("prompts")
    assert len(asked) == len(all_asked)
    left_out = asked[asked["row"].isna()]
    assert set(left_out["language"]) == {"ru"}
    assert not left_out["known"].all()
    assert "ru" not in set(store.effects().to_frame().query("fact_id == @mixed[0].id")["language"])


def test_examples_stand_before_each_question(embedded, some, facts, tmp_path):
    quick = {"methods": ["activation"], "changed": [], "lens": False, "progress": False}
    store = lv.sweep(embedded, some, tmp_path, shots=2, examples=facts, select_on=[1, 2], **quick)
    fact = some.facts[0]
    prompts = lv.FactSet((fact,), some.paraphrases).prompts(shots=2, examples=facts)
    wanted = lv.attribute(
        embedded, [p for p in prompts if p.paraphrase in (1, 2)], method="activation"
    )
    rows = store.read("prompts").query("fact_id == @fact.id")
    np.testing.assert_array_equal(rows["probability"], wanted.target_prob)
    with pytest.raises(lv.StoreError, match=r"facts\.checksum"):
        lv.sweep(embedded, some, tmp_path, shots=2, examples=some, select_on=[1, 2], **quick)


def test_edits_are_evaluated_as_evaluate_does(store, embedded, cases, editors):
    for editor in editors:
        wanted = lv.evaluate(embedded, editor, cases, alone=True, progress=False)
        stored = store.evaluation(editor.name)
        assert stored.answers == wanted.answers
        assert stored.summary().equals(wanted.summary())
    edits = store.read("edits")
    assert set(edits["editor"]) == {"language-agnostic"}  # the others change weights
    assert edits.groupby("case").size().to_dict() == dict.fromkeys((c.id for c in cases), 2000)


ZEROED = "P(correct) outside Latin script, neurons set to zero"


def test_the_summary_has_every_control(store):
    table = store.summary().set_index(["of", "figure"])
    for method in ("integrated_gradients", "activation"):
        mine = table.loc[method]
        assert (
            mine.loc["Jaccard, same fact", "mean"] > mine.loc["Jaccard, chance (control)", "mean"]
        )
        assert {"Jaccard, other fact (control)", f"{ZEROED}: as many random as agnostic (control)",
                f"{ZEROED}: agnostic, on another fact (control)"} <= set(mine.index)  # fmt: skip
    effects = store.read("effects").query(
        "method == 'activation' and set == 'agnostic' and how == 'zero' and language != 'en' "
        "and language != 'fr'"
    )
    p = effects.groupby("fact_id")[["p_before", "p_after"]].mean()
    row = table.loc[("activation", f"{ZEROED}: agnostic")]
    assert row["mean"] == pytest.approx((p["p_after"] / p["p_before"] - 1).mean())
    assert row["low"] <= row["mean"] <= row["high"]
    assert row["items"] == len(p)


def test_the_same_sweep_again_computes_nothing(store, embedded, some, cases, editors, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("this item was done already")

    monkeypatch.setattr(Job, "run", refuse)
    again = lv.sweep(
        embedded, some, store.folder, cases=cases, editors=editors,
        methods=["integrated_gradients", "activation"], changed=CHANGED, how=["zero", "mean"],
        dense=True, alone=True, top=7, progress=False,
    )  # fmt: skip
    assert again.complete


def test_another_sweep_is_refused(store, embedded, some):
    with pytest.raises(lv.StoreError, match=r"another sweep \(its options.methods"):
        lv.sweep(embedded, some, store.folder, progress=False)


def test_a_failure_is_recorded_and_stops_nothing_else(embedded, some, tmp_path, monkeypatch):
    quick = {"methods": ["activation"], "progress": False, "per_shard": 2}
    clean = lv.sweep(embedded, some, tmp_path / "clean", **quick)
    bad = some.facts[1].id
    usual, usual_effects = row_module.attribute, stages.effects

    def attribute(model, prompts, **options):
        if prompts[0].fact_id == bad:
            raise RuntimeError("CUDA out of memory.\nTried to allocate 3 GiB")
        return usual(model, prompts, **options)

    def effects(model, sets, prompts, **options):
        if prompts[0].fact_id == some.facts[2].id:
            raise ValueError("no effect today")
        return usual_effects(model, sets, prompts, **options)

    monkeypatch.setattr(row_module, "attribute", attribute)
    monkeypatch.setattr(stages, "effects", effects)
    store = lv.sweep(embedded, some, tmp_path / "bad", **quick)
    assert store.complete
    assert store.failures.drop(columns="model").to_dict("records") == [
        {"item": bad, "stage": "attribution: activation", "error": "RuntimeError",
         "reason": "CUDA out of memory. Tried to allocate 3 GiB"},
        *({"item": some.facts[2].id, "stage": f"effects: activation, {how}", "error": "ValueError",
           "reason": "no effect today"} for how in ("mean", "zero")),
    ]  # fmt: skip
    rows = store.read("scores")
    assert set(rows["fact_id"]) == {fact.id for fact in some} - {bad}
    # Results from before the failure are kept.
    assert some.facts[2].id in set(store.read("neurons")["fact_id"])
    assert "2 failed" in repr(store)
    monkeypatch.undo()
    lv.sweep(embedded, some, tmp_path / "bad", **quick, retry=True)
    names = [path.relative_to(clean.folder) for path in clean.folder.rglob("*") if path.is_file()]
    for name in names:
        assert (clean.folder / name).read_bytes() == (tmp_path / "bad" / name).read_bytes()


def test_stopping_it_keeps_what_was_finished(embedded, some, tmp_path, monkeypatch):
    usual = Job.run

    def run(job, model, number):
        if number == 2:
            raise KeyboardInterrupt
        return usual(job, model, number)

    monkeypatch.setattr(Job, "run", run)
    quick = {"methods": ["activation"], "changed": [], "progress": False, "per_shard": 1}
    with pytest.raises(KeyboardInterrupt):
        lv.sweep(embedded, some, tmp_path, **quick)
    begun = lv.Store(tmp_path)
    assert not begun.complete
    assert set(begun.read("sets")["fact_id"]) == {fact.id for fact in some.facts[:2]}
    assert len(begun.read("effects")) == 0


def test_a_fact_that_no_language_knows_is_no_failure(tiny, facts, tmp_path):
    some = facts.filter(relation="capital", languages=["en", "fr"], subjects=["FR", "JP"])
    store = lv.sweep(tiny("gpt2"), some, tmp_path, progress=False)  # it knows nothing
    assert len(store.failures) == 0
    assert len(store.read("overlap")) == 0
    assert not store.read("sets")["known"].any()
    assert store.summary().empty


def test_memory_holds_one_item_whatever_the_number_of_items(embedded, some, tmp_path, monkeypatch):
    usual, results = Job.run, []

    def run(job, model, number):
        gc.collect()
        # The last result is there until this one is.
        assert sum(result() is not None for result in results) <= 1
        result = usual(job, model, number)
        results.append(weakref.ref(result))
        return result

    monkeypatch.setattr(Job, "run", run)
    lv.sweep(embedded, some, tmp_path, methods=["activation"], per_shard=2, progress=False)
    assert len(results) == len(some)


def test_masked_models_are_swept_too(tiny, facts, tmp_path):
    some = facts.filter(relation="capital", languages=["en", "fr"], subjects=["FR", "JP"])
    store = lv.sweep(tiny("bert"), some, tmp_path, methods=["amig"], progress=False)
    assert len(store.failures) == 0
    assert len(store.read("scores")) == 2 * 2 * 5 * 100


def test_shards_hold_one_relation_and_nearly_as_many_facts(facts):
    shards = split_into_shards(facts, (), 32)
    by_id = {fact.id: fact.relation for fact in facts}
    assert [name for shard in shards for name in shard.items] == list(by_id)
    for shard in shards:
        assert len({by_id[name] for name in shard.items}) == 1
        assert 2 <= len(shard.items) <= 32
    for relation in facts.relations:
        sizes = [len(s.items) for s in shards if by_id[s.items[0]] == relation]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"facts": None}, "there is nothing to sweep; give facts, or cases"),
        ({"methods": []}, r"methods=\(\); give at least one of integrated_gradients"),
        ({"per_shard": 0}, "per_shard=0; give a whole number of 1 or more"),
        ({"controls": -1}, "controls=-1; give a whole number of 0 or more"),
        ({"n_steps": 0}, 'n_steps=0; give "auto" or a number of 1 or more'),
        ({"max_rows": 1}, "max_rows=1; give a whole number of 2 or more"),
        ({"target": "logit_difference"}, "a foil belongs to target='logit_difference'"),
        ({"min_languages": 1}, "min_languages=1; one language shares nothing"),
        (
            {"select": {"fraction": 1.5}},
            "fraction=1.5; give a number that is at least 0 and",
        ),
        ({"select": {"top": 0}}, "top=0; give a whole number"),
        ({"select": {"best": 3}}, "unknown option of select_neurons 'best'; there are threshold"),
        ({"backend": "ray"}, "a loaded model cannot be sent to Ray's workers"),
    ],
)
def test_options_that_are_not_allowed(embedded, some, tmp_path, options, told):
    given = {"facts": some, "out": tmp_path / "none", "progress": False, **options}
    with pytest.raises(ValueError, match=told):
        lv.sweep(embedded, **given)
    assert not (tmp_path / "none").exists()


def test_two_items_of_one_name_are_refused(embedded, some, cases, tmp_path):
    twice = lv.FactSet((*some.facts, some.facts[0]), some.paraphrases)
    with pytest.raises(ValueError, match="two facts are named"):
        lv.sweep(embedded, twice, tmp_path, progress=False)
    with pytest.raises(ValueError, match="two cases are named"):
        lv.sweep(embedded, None, tmp_path, cases=[*cases, *cases], progress=False)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lafn_viz.cli.main", "sweep", *map(str, arguments)],
        capture_output=True, text=True,
    )  # fmt: skip


def test_the_command_does_the_same(tmp_path):
    usual = ("--relation", "capital", "--languages", "en", "ru", "--facts", 3, "--methods",
             "activation", "--out", tmp_path / "out")  # fmt: skip
    run = command(*usual)
    assert run.returncode == 0, run.stderr
    assert "3 of 3 items of embedded" in run.stdout
    assert "Jaccard, other fact (control)" in run.stdout
    assert "item/s" in run.stderr or "s/item" in run.stderr  # rate, and time left
    assert "embedded: 30 prompts of 3 facts to attribute, " in run.stderr
    store = lv.Store(tmp_path / "out")
    drawn = lv.load_facts().filter(relation="capital", languages=["en", "ru"]).sample(3, seed=0)
    assert set(store.read("sets")["fact_id"]) == {fact.id for fact in drawn}
    again = command(*usual, "--top", 5)
    assert again.returncode == 2
    assert again.stderr.startswith("lafn-viz: ")
    assert "holds another sweep (its options.top differ)" in again.stderr


def test_the_command_explains_what_it_cannot_do(tmp_path):
    for arguments, told in (
        (("--relation", "size"), "unknown relation 'size'; there are capital"),
        (("--editors", "none", "--edits", 1), "unknown editor 'none'; there are language_agnostic"),
        (("--model", "embeded"), "there is no model 'embeded'; did you mean 'embedded'?"),
    ):
        run = command("--out", tmp_path / "none", *arguments)
        assert run.returncode == 2
        assert run.stderr.strip().splitlines()[-1].startswith(f"lafn-viz: {told}")
        assert not (tmp_path / "none").exists()


def test_head_is_plain_json(store):
    head = json.loads((store.folder / "sweep.json").read_text("utf-8"))
    assert head["options"]["editor_options"]["language-agnostic"]["n_neurons"] == 2000
    assert head["model"] == {
        "name": "embedded", "weights": store.provenance.weights, "n_layers": 4, "d_mlp": 640,
        "device": "cpu", "dtype": "float32",
    }  # fmt: skip

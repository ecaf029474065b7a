"""The neurons of edits tell what a text asks for, and the model is left as it was."""

import dataclasses
from collections import Counter

import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing.cache import EditCache, edited
from lafn_viz.models.capabilities import weights_of
from lafn_viz.neurons.neuron_sets import Neuron

SUBJECTS = ["AT", "CN", "EE", "FR", "GR"]
LANGUAGES = ["en", "zh", "ru"]


def an_edit(model, facts, subject, relation, neurons, *, position="from_subject") -> lv.Edit:
    """A key needs neurons and prompts; the values are random."""
    found = facts.filter(relation=relation, subjects=subject, languages=LANGUAGES)
    fact = next(iter(found))
    generator = torch.Generator().manual_seed(len(subject))
    return lv.Edit(
        subject_id=fact.subject_id,
        relation=relation,
        names={language: (name,) for language, name in fact.subject.items()},
        old=fact.object,
        new=dict.fromkeys(LANGUAGES, "Rome"),
        neurons=tuple(Neuron(*pair) for pair in neurons),
        values=5 * torch.randn(len(neurons), generator=generator),
        position=position,
        curve=(2.0, 1.0),
        loss=0.9,
        divergence=0.1,
        prompts=tuple(p for p in found.prompts() if p.split != "held-out paraphrase"),
        provenance=lv.Provenance("made-up", weights_of(model), "lafn_edit"),
    )


@pytest.fixture(scope="module")
def asked(embedded, facts):
    """Edits of some capitals, in neurons that write the answers; their prompts, and others."""
    capitals = facts.filter(relation="capital", languages=LANGUAGES)
    prompts = capitals.filter(subjects=SUBJECTS).prompts()[2::6]
    scores = lv.attribute(embedded, prompts).values
    edits = []
    for subject in SUBJECTS:
        own = [i for i, prompt in enumerate(prompts) if prompt.fact_id == f"capital/{subject}"]
        top = scores[own].mean(0).flatten().topk(100).indices.tolist()
        neurons = [divmod(i, scores.shape[2]) for i in sorted(top)]
        edits.append(an_edit(embedded, facts, subject, "capital", neurons))
    some = facts.filter(languages=LANGUAGES, relation=["capital", "currency", "continent"])
    ids = sorted({f.subject_id for f in some} - set(SUBJECTS))[::8]
    return edits, some.filter(subjects=SUBJECTS).prompts(), some.filter(subjects=ids).prompts()


@pytest.fixture(scope="module")
def gate(embedded, asked):
    edits, own, _ = asked
    trained = [p for p in own if p.split != "held-out paraphrase"]
    return lv.ActivationMatcher(embedded, edits, trained, names=EditCache(edits).find)


@pytest.fixture(scope="module")
def alone(embedded, asked):
    edits, own, others = asked
    trained = [p for p in own + others if p.split != "held-out paraphrase"]
    return lv.ActivationMatcher(embedded, edits, trained)


def shares(matcher, own):
    """How often held-out wordings fire their edit, and the same subject's other relations any."""
    hits, false = [], []
    for prompt in own:
        if prompt.split == "held-out paraphrase":
            found = {(m.key, m.relation) for m in matcher.find(prompt.text)}
            relation, subject = prompt.fact_id.split("/", 1)
            if relation == "capital":
                hits.append((subject, relation) in found)
            else:
                false.append(bool(found))
    return sum(hits) / len(hits), sum(false) / len(false)


def test_names_say_the_subject_and_activations_the_relation(asked, gate, alone):
    _, own, _ = asked
    recall, false = shares(gate, own)
    assert recall >= 0.85
    assert false <= 0.1
    recall, false = shares(alone, own)
    assert recall >= 0.6
    assert false <= 0.1
    for matcher in (gate, alone):
        assert matcher.find("The weather is fine today, and") == []
        assert matcher.false_fires <= 0.01


@pytest.mark.slow
def test_located_neurons_tell_more_than_random_ones(embedded, asked):
    edits, own, _ = asked
    trained = [p for p in own if p.split != "held-out paraphrase"]
    names = EditCache(edits).find

    def recall(neurons):
        matcher = lv.ActivationMatcher(embedded, edits, trained, names=names, neurons=neurons)
        assert len(matcher.neurons) == 20
        return shares(matcher, own)[0]

    often = Counter(neuron for edit in edits for neuron in edit.neurons)
    located = [neuron for neuron, _ in often.most_common(20)]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(640, generator=generator).tolist()
    random = [(layer, order[i]) for i, (layer, _) in enumerate(located)]  # of the same layers
    assert recall(located) > recall(random) + 0.1


def test_only_the_relation_that_is_asked_for_is_edited(embedded, asked, gate):
    edits, own, _ = asked
    cache = EditCache(edits, find=gate.find)
    by_relation = {
        prompt.relation: prompt
        for prompt in own
        if (prompt.fact_id.split("/")[1], prompt.language, prompt.paraphrase) == ("FR", "en", 2)
    }
    with cache.applied(embedded) as fired:
        for relation, prompt in by_relation.items():
            embedded(prompt.text)
            assert [f.edit.key for f in fired] == [("FR", "capital")] * (relation == "capital")
    with edited(embedded, *edits) as fired:
        embedded(by_relation["currency"].text)
        assert fired


def test_what_fired_can_be_inspected(asked, gate, alone):
    _, own, _ = asked
    prompt = next(p for p in own if p.fact_id == "capital/FR" and p.language == "en")
    match, *rest = alone.find(prompt.text)
    assert not rest
    assert (match.key, match.relation, match.rule) == ("FR", "capital", "activation")
    assert alone.threshold < match.score <= 1.0001
    assert prompt.text[slice(*match.span)] == match.name
    match, *rest = gate.find(prompt.text)
    assert not rest
    assert (match.rule, match.relation, match.name) == ("exact", "capital", "France")
    table = gate.explain(prompt.text)
    assert len(table) == len(SUBJECTS)
    assert list(table.columns[:3]) == ["key", "relation", "score"]
    first = table.iloc[0]
    assert (first["key"], first["named"], first["fired"]) == ("FR", "exact", True)
    assert not table["fired"][1:].any()
    assert gate.explain("").empty
    assert "false fires on" in repr(gate)


@pytest.mark.parametrize(("family", "position"), [("gpt2", "from_subject"), ("llama", "answer")])
def test_the_model_is_read_without_edits_and_restored(tiny, facts, family, position):
    model = tiny(family)
    neurons = [(layer, neuron) for layer in (0, 2) for neuron in range(0, 48, 5)]
    edits = [
        an_edit(model, facts, subject, "capital", neurons, position=position)
        for subject in SUBJECTS[:3]
    ]
    own = facts.filter(languages="en", subjects=SUBJECTS[:3])
    matcher = lv.ActivationMatcher(
        model, edits, own.prompts(), names=EditCache(edits).find, false_fires=0.5
    )
    # The key's own prompts together are nearest to it; which of them fires is the model's matter.
    texts = [p.text for p in edits[0].prompts if matcher.find(p.text)]
    assert texts
    tokens = [model.tokenizer(text, return_tensors="pt")["input_ids"] for text in texts[:3]]
    with torch.no_grad():
        plain = [model(ids) for ids in tokens]
    expected, alone = [], matcher.explain(texts[0])
    with torch.no_grad(), edited(model, edits[0]):
        expected = [model(ids) for ids in tokens]
        # Read while another edit is applied, the texts have the scores that they have without.
        assert alone.equals(matcher.explain(texts[0]))
        again = [model(ids) for ids in tokens]
    with torch.no_grad(), EditCache(edits, find=matcher.find).applied(model) as fired:
        found = [model(ids) for ids in tokens]
        assert [one.edit.key for one in fired] == [edits[0].key]
        both = [
            model.original_model.generate(
                tokens[0], max_new_tokens=4, do_sample=False, use_cache=use_cache
            )
            for use_cache in (True, False)
        ]
    assert torch.equal(*both)
    for one, other, third, was in zip(expected, found, again, plain, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, third)
        assert not torch.allclose(one, was, atol=1e-3)
    with torch.no_grad():
        assert all(torch.equal(model(ids), was) for ids, was in zip(tokens, plain, strict=True))
    assert not model.original_model._forward_pre_hooks


def test_keys_come_back_with_saved_edits(embedded, asked, gate, tmp_path):
    edits, own, _ = asked
    EditCache(edits).save(tmp_path / "edits")
    again = EditCache.load(tmp_path / "edits")
    trained = [p for p in own if p.split != "held-out paraphrase"]
    matcher = lv.ActivationMatcher(embedded, again, trained, names=again.find)
    assert matcher.threshold == gate.threshold
    assert matcher.explain(own[0].text).equals(gate.explain(own[0].text))


def test_what_cannot_be_used(tiny, facts):
    model = tiny("gpt2")
    edit = an_edit(model, facts, "JP", "capital", [(0, 1), (1, 2)])
    some = facts.filter(relation="currency", languages="en", subjects=["FR", "GR"]).prompts()

    def refused(*, model=model, edits=(edit,), others=some, **options):
        with pytest.raises(ValueError, match=r"[a-z]") as caught:
            lv.ActivationMatcher(model, edits, others, **options)
        return str(caught.value)

    assert "there are no edits" in refused(edits=())
    assert "there are no prompts in others" in refused(others=[])
    assert "no prompts of other facts" in refused(others=edit.prompts)
    assert "names the subject of an edit" in refused(names=EditCache([edit]).find)
    assert "not for this one" in refused(model=tiny("llama"))
    assert "fills masks" in refused(model=tiny("bert"))
    assert "false_fires=1.0; give a number" in refused(false_fires=1.0)
    assert "has no prompts" in refused(edits=[dataclasses.replace(edit, prompts=())])
    assert "layers from 0 to 2" in refused(neurons=[(3, 0)])
    assert "at least one" in refused(neurons=[])
    assert "n_neurons=0" in refused(n_neurons=0)

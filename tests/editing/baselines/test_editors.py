"""Editors: each does what its paper says, and leaves the model as it was."""

from dataclasses import replace

import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing import baselines
from lafn_viz.editing.baselines.rome_memit import TargetValues, random_prefixes
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.search import AdamSearch
from lafn_viz.models.hooks import down_weight, hook_written
from lafn_viz.models.tokens import encode

FEW = {"n_neurons": 20, "position": "answer"}


@pytest.fixture(scope="module")
def case(facts):
    (only,) = lv.counterfactual_cases(facts, n=1, seed=1).filter(languages=["en", "ru"])
    return only


def probability(model, case, edit):
    """The mean probability of the new answers after an edit."""
    with edit.applied(model):
        return lv.score_answers(model, case.prompts("rephrased")).probability.mean()


PUBLISHED = {"search": "as_published", "decay": 0.5, "prefixes": 2}
EDITORS = {
    "language-agnostic": (baselines.language_agnostic(n_neurons=100), 0.5),
    "per language": (baselines.per_language(n_neurons=50), 0.0),
    "knowledge neurons": (baselines.knowledge_neurons(), 0.0),
    "fine-tuning": (baselines.fine_tuning(steps=15), 0.3),
    "ROME": (baselines.rome(position="answer"), 0.5),
    "MEMIT": (baselines.memit(position="answer", weight=1.0), 0.5),
    "ROME as published": (baselines.rome(position="answer", **PUBLISHED), 0.4),
    "MEMIT as published": (baselines.memit(position="answer", weight=1.0, **PUBLISHED), 0.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITORS)
def test_editors_raise_the_new_answer_and_leave_the_weights(embedded, case, name):
    editor, least = EDITORS[name]
    assert editor.name == name.removesuffix(" as published")
    before = [down_weight(embedded, layer).clone() for layer in range(4)]
    plain = lv.score_answers(embedded, case.prompts("rephrased")).probability.mean()
    made = editor.edit(embedded, case, case.languages)
    assert probability(embedded, case, made) > max(plain, least)
    for layer, weight in enumerate(before):
        assert torch.equal(down_weight(embedded, layer), weight)


@pytest.mark.slow
def test_suppressing_lowers_the_old_answer_more_than_enhancing(embedded, case, facts):
    asked = facts.filter(relation="capital", subjects=case.subject_id, languages=["en", "ru"])
    log_probs = []
    for factor in (0.0, 1.0, 2.0):
        made = baselines.scaled(factor, min_languages=1).edit(embedded, case, case.languages)
        with made.applied(embedded):
            log_probs.append(float(lv.score_answers(embedded, asked.prompts()).log_prob.mean()))
    plain = float(lv.score_answers(embedded, asked.prompts()).log_prob.mean())
    suppressed, unchanged, enhanced = log_probs
    assert unchanged == pytest.approx(plain)
    assert suppressed < plain
    assert suppressed < enhanced


@pytest.mark.slow
def test_random_neurons_are_as_many_of_the_same_layers(embedded, case):
    like = baselines.language_agnostic(**FEW)
    one, other = (
        next(iter(editor.edit(embedded, case, case.languages)))
        for editor in (like, baselines.random_neurons(like))
    )
    assert [layer for layer, _ in one.neurons] == [layer for layer, _ in other.neurons]
    assert set(one.neurons) != set(other.neurons)
    assert one.position == other.position == "answer"


@pytest.mark.slow
def test_per_language_adds_up_what_each_language_found(embedded, case):
    together = next(iter(baselines.per_language(**FEW).edit(embedded, case, ("en", "ru"))))
    alone = [lv.edit_case(embedded, case, languages=[x], **FEW) for x in ("en", "ru")]
    expected = sum((one.added(640).get(0, torch.zeros(640)) for one in alone), torch.zeros(640))
    assert torch.allclose(together.added(640).get(0, torch.zeros(640)), expected, atol=1e-6)
    assert set(together.new) == {"en", "ru"}


@pytest.mark.slow
def test_without_the_gate_an_edit_acts_on_every_text(embedded, case, facts):
    other = facts.filter(relation="capital", subjects="Peru", languages=["en"]).prompts()[0]
    tokens = torch.tensor([embedded.tokenizer(other.text)["input_ids"]])
    for gate, fires in (("subject", 0), ("none", 1)):
        made = baselines.language_agnostic(**FEW, gate=gate).edit(embedded, case, ("en",))
        assert isinstance(made, EditCache)
        with made.applied(embedded) as fired, torch.no_grad():
            embedded(tokens)
            assert len(fired) == fires


def test_knowledge_neurons_write_the_new_answer_in_place_of_the_old(embedded, case):
    made = baselines.knowledge_neurons(old=1.0, new=0.0).edit(embedded, case, ("en",))
    embedding = embedded.original_model.get_output_embeddings().weight
    rows = torch.cat([change[change.norm(dim=1) > 0] for change in made.changes.values()])
    old = torch.stack([embedding[encode(embedded, p).answer[0]] for p in _with_old(case)[:1]])
    assert len(rows)
    assert torch.cosine_similarity(-rows, old).min() > 0.5


def _with_old(case):
    return [replace(p, answer=case.old[p.language]) for p in case.prompts("edit")]


def test_no_weight_goes_further_than_the_limit(embedded, case):
    made = baselines.fine_tuning(limit=0.01, steps=5, layers=(1, 2)).edit(embedded, case, ("en",))
    assert set(made.changes) == {1, 2}
    for layer, change in made.changes.items():
        scale = down_weight(embedded, layer).square().mean().sqrt()
        assert change.abs().max() == pytest.approx(0.01 * float(scale), rel=1e-4)


@pytest.mark.slow
def test_many_edits_together(embedded, facts, case):
    cases = list(lv.counterfactual_cases(facts, n=2, seed=1).filter(languages=["en", "ru"]))
    both = baselines.language_agnostic(**FEW).together(embedded, cases)
    assert [edit.key for edit in both] == [case.key for case in cases]
    summed = baselines.rome(evaluations=4)
    apart = [summed.edit(embedded, case, case.languages).changes[0] for case in cases]
    assert torch.allclose(summed.together(embedded, cases).changes[0], sum(apart))
    # MEMIT solves for all keys at once; of one case that is the edit itself.
    joint = baselines.memit(evaluations=4)
    alone = [joint.edit(embedded, case, case.languages).changes[0] for case in cases]
    assert torch.allclose(joint.together(embedded, cases[:1]).changes[0], alone[0])
    assert not torch.allclose(joint.together(embedded, cases).changes[0], sum(alone), atol=1e-3)
    odd = baselines.Editor("odd", lambda *given: object())
    with pytest.raises(ValueError, match="makes object, and how several of them act together"):
        odd.together(embedded, cases)


def test_an_editor_of_weights_has_no_random_neurons(embedded, case):
    editor = baselines.random_neurons(baselines.rome())
    with pytest.raises(ValueError, match=r"changes no neurons; give language_agnostic\(\)"):
        editor.edit(embedded, case, case.languages)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_editors_work_on_other_families(tiny, case, family):
    model = tiny(family)
    for editor in (
        baselines.rome(evaluations=8), baselines.memit(evaluations=8, weight=0.1),
        baselines.fine_tuning(steps=5),
    ):  # fmt: skip
        made = editor.edit(model, case, ("en",))
        assert any(change.abs().max() > 0 for change in made.changes.values())
    # It knows no fact, so none of its neurons carries one.
    assert not baselines.knowledge_neurons().edit(model, case, ("en",)).changes


def test_target_values_as_published_are_those_of_a_plain_loop(embedded, case):
    """ROME's compute_v on the transformers model: nll, penalty, Adam and bound, in one language."""
    layer, steps = 1, 6
    asked = case.only(["en"]).prompts("edit")
    values = TargetValues(embedded, case, ["en"], "answer")
    there = values.mean(hook_written(layer))
    found = values.residuals(layer, 0.0, 0.5, AdamSearch(there.norm(dim=1)), steps)

    plain = embedded.original_model
    written = []
    delta = torch.zeros(there.shape[1], requires_grad=True)
    read = [encode(embedded, prompt) for prompt in asked]

    def add(module, inputs, output, at):
        written.append(output[0, at].detach())
        return torch.cat([output[:, :at], output[:, at : at + 1] + delta, output[:, at + 1 :]], 1)

    optimiser, what_is_there = torch.optim.Adam([delta], lr=0.5), None
    for step in range(steps):
        nll = []
        for item in read:
            hook = plain.transformer.h[layer].mlp.register_forward_hook(
                lambda *given, at=item.predicts: add(*given, at)
            )
            with hook:
                logits = plain(torch.tensor([item.read])).logits[0].log_softmax(-1)
            places = range(item.predicts, item.predicts + len(item.answer))
            nll.append(-sum(logits[at, t] for at, t in zip(places, item.answer, strict=True)))
        if what_is_there is None:
            what_is_there = torch.stack(written).mean(0)
        loss = torch.stack(nll).mean() + 0.5 * delta.norm() / what_is_there.norm() ** 2
        if step == steps - 1:
            break
        (delta.grad,) = torch.autograd.grad(loss, delta)
        optimiser.step()
        with torch.no_grad():
            delta *= (4 * what_is_there.norm() / delta.norm()).clamp_max(1)
    assert torch.allclose(what_is_there, there[0], atol=1e-4)
    assert torch.allclose(found[0], delta.detach(), atol=1e-3)


def test_prefixes_are_texts_of_the_model_and_leave_the_seed_alone(embedded):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    texts = random_prefixes(embedded, 5)
    assert torch.equal(torch.rand(1), expected)
    assert texts == random_prefixes(embedded, 5)
    assert len(set(texts)) == 5
    assert all(text.strip() for text in texts)
    assert random_prefixes(embedded, 0) == []

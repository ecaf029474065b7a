"""What is kept of a model belongs to the model as it is now."""

import copy
import gc
import weakref

import pytest
import torch
import transformers
from made_up_edits import an_edit
from one_layer import reads

import lafn_viz as lv
from lafn_viz.editing.baselines.weight_edits import second_moments
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.hooks import down_weight
from lafn_viz.models.remembered import Remembered, numbers_of, structure_of


@torch.no_grad()
def in_place(model):
    down_weight(model, 1).mul_(0.5)


def through_data(model):
    down_weight(model, 1).data[7] *= 3


def exchanged_data(model):
    weight = model.original_model.transformer.wte.weight
    weight.data = weight.data * 1.5


def loaded(model):
    state = model.original_model.state_dict()
    model.original_model.load_state_dict({name: 1.1 * value for name, value in state.items()})


def a_new_parameter(model):
    down = model.blocks[1].mlp.out.original_component
    down.weight = torch.nn.Parameter(0.5 * down.weight.detach())


@torch.no_grad()
def a_bias_of_the_unembedding(model):
    model.original_model.get_output_embeddings().bias[::3].add_(1.0)


def capped(model):
    model.original_model.config.final_logit_softcapping = 5.0


def in_compatibility_mode(model):
    model.enable_compatibility_mode(disable_warnings=True)


def with_names_of_old(model):
    model.enable_compatibility_mode(disable_warnings=True, no_processing=True)


def in_double(model):
    model.original_model.double()


def in_training(model):
    model.train()


def with_gradients(model):
    for weight in model.original_model.parameters():
        weight.requires_grad_()


def with_another_attention(model):
    model.original_model.set_attn_implementation("sdpa")


WEIGHTS = [in_place, through_data, exchanged_data, loaded, a_new_parameter]
WEIGHTS += [a_bias_of_the_unembedding, in_compatibility_mode, in_double]
SAME_WEIGHTS = [capped, with_names_of_old, in_training, with_gradients, with_another_attention]


@pytest.fixture
def model(folder):
    # A copy of a bridge shares parts with it, so it is loaded.
    return lv.load_model(folder("gpt2"))


def plain_log_probs(model, prompts):
    """Log-probabilities of the answers by a plain pass of the model in transformers."""
    log_probs = []
    for prompt in prompts:
        tokens, answer, _, predicts = reads(model, prompt, "answer")
        with torch.no_grad():
            logits = model.original_model.eval()(torch.tensor([tokens])).logits[0, predicts]
        chosen = logits.float().log_softmax(-1)[torch.arange(len(answer)), answer]
        log_probs.append(chosen.sum())
    return torch.stack(log_probs)


@pytest.mark.filterwarnings("ignore::lafn_viz.CompletenessWarning")
@pytest.mark.parametrize("change", WEIGHTS + SAME_WEIGHTS, ids=lambda change: change.__name__)
def test_every_call_is_of_the_model_as_it_is_now(model, prompts, change):
    prompts = prompts[:3]
    edit, before = an_edit(model), lv.attribute(model, prompts, n_steps=2)
    change(model)
    scores, attributed = lv.score_answers(model, prompts), lv.attribute(model, prompts, n_steps=2)
    expected = plain_log_probs(model, prompts)
    torch.testing.assert_close(scores.log_prob, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(attributed.target_prob.log(), expected, rtol=1e-4, atol=1e-4)
    assert (scores.provenance.weights == before.provenance.weights) is (change in SAME_WEIGHTS)
    if change in SAME_WEIGHTS:
        with lv.edited(model, edit):
            lv.score_answers(model, prompts)
    else:
        with pytest.raises(lv.EditError, match="not for this one"):
            lv.edited(model, edit).__enter__()


def test_edits_act_once_in_compatibility_mode(model, prompts):
    with lv.edited(model, an_edit(model)):
        expected = lv.score_answers(model, prompts).log_prob
    in_compatibility_mode(model)
    with lv.edited(model, an_edit(model)):
        edited = lv.score_answers(model, prompts).log_prob
    torch.testing.assert_close(edited, expected, rtol=1e-3, atol=1e-3)


def test_attribution_in_compatibility_mode_is_that_of_the_model(model, prompts):
    before = lv.attribute(model, prompts, n_steps=4, target="log_prob")
    in_compatibility_mode(model)
    after = lv.attribute(model, prompts, n_steps=4, target="log_prob")
    torch.testing.assert_close(after.values, before.values, rtol=1e-2, atol=1e-3)


def test_another_tokenizer_is_read_at_once(model, prompts):
    lv.score_answers(model, prompts)
    model.tokenizer = copy.deepcopy(model.tokenizer)
    model.tokenizer.add_special_tokens({"bos_token": "<s>"})
    assert capabilities(model).ablation_token == model.tokenizer.eos_token_id
    model.tokenizer.add_special_tokens({"eos_token": "b"})
    assert capabilities(model).ablation_token == model.tokenizer.convert_tokens_to_ids("b")


def swapped(layers):
    layers[0], layers[1] = layers[1], layers[0]


def dropped(layers):
    del layers[-1]


def shared(layers):
    layers[1] = layers[0]


def a_plain_one(layers):
    layers[1] = _plain(layers)[1]


def plain_neurons(layers):
    layers[1].mlp = _plain(layers)[1].mlp


def _plain(layers):
    config = layers[0].original_component.attn.original_component.config
    return transformers.GPT2LMHeadModel(config).transformer.h


@pytest.mark.parametrize("change", [swapped, dropped, shared, a_plain_one, plain_neurons])
def test_layers_that_are_not_in_their_own_place_are_refused(folder, prompts, change):
    model = lv.load_model(folder("gpt2"))
    lv.score_answers(model, prompts)
    change(model.original_model.transformer.h)
    with pytest.raises(ValueError, match="save the changed transformers model in a folder"):
        lv.score_answers(model, prompts)


def test_a_model_that_was_attributed_can_be_copied(folder, prompts):
    model = lv.load_model(folder("gpt2"))
    scores = lv.attribute(model, prompts)
    copied = copy.deepcopy(model)
    assert lv.attribute(copied, prompts).values.equal(scores.values)


def test_a_model_that_changes_under_edits_is_tried_without_them(model, prompts):
    with lv.edited(model, an_edit(model)):
        expected = lv.score_answers(model, prompts).log_prob
        with_names_of_old(model)
        torch.testing.assert_close(lv.score_answers(model, prompts).log_prob, expected)


def test_weights_put_back_are_the_weights_of_before(model):
    before, weight = weights_of(model), down_weight(model, 1)
    with torch.no_grad():
        saved = weight.clone()
        weight.zero_()
        assert weights_of(model) != before
        weight.copy_(saved)
    assert weights_of(model) == before


def test_weights_without_numbers_are_refused(model, prompts):
    model.original_model.to("meta")
    with pytest.raises(ValueError, match="on the device 'meta', which keeps no numbers"):
        lv.score_answers(model, prompts)


def test_moments_are_those_of_the_weights(tiny, monkeypatch):
    model, made = tiny("gpt2"), []
    monkeypatch.setattr(
        "lafn_viz.editing.baselines.weight_edits._moments_of_embedded_facts",
        lambda model: made.append(weights_of(model)) or torch.zeros(1, 1, 1),
    )
    model = copy.deepcopy(model)
    second_moments(model)
    second_moments(model)
    in_place(model)
    second_moments(model)
    assert len(made) == len(set(made)) == 2


def test_what_is_remembered_keeps_no_model_alive(folder):
    model = lv.load_model(folder("gpt2"))
    weights_of(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_value_is_computed_once_for_a_model_and_anew_for_a_changed_one(tiny):
    model, computed = tiny("gpt2"), []
    remembered = Remembered(lambda model: model.cfg.model_name)

    def compute(model):
        computed.append(model.cfg.model_name)
        return None

    for name in ("a", "a", "b", "b", "a"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model.cfg, "model_name", name)
            assert remembered.get(model, compute) is None
    assert computed == ["a", "b", "a"]


def test_keys_of_a_model_that_stays_are_equal(tiny, prompts):
    model = tiny("llama")
    keys = structure_of(model), numbers_of(model)
    lv.score_answers(model, prompts)
    model.generate(torch.tensor([[1, 2]]), max_new_tokens=2, verbose=False)
    assert keys == (structure_of(model), numbers_of(model))

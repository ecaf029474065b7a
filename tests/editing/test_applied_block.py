"""Edits act in a model of transformers itself as they do in a bridge of it, and can be removed."""

import copy
import gc
import threading

import pytest
import torch
from made_up_edits import an_edit
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer, pipeline

import lafn_viz as lv
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import EditError

TEXTS = ["The capital of Japan is", "La capitale du Pérou", "The capital of Italy is now", "日本"]
# One of each name that the down projection has in tests/families.py, and one whose neurons a norm
# follows; OPT lays the rows of a batch end to end.
FAMILIES = ("gpt2", "bloom", "gemma3", "xglm", "opt")


@pytest.fixture
def plain(folder):
    """A tiny model of transformers and its tokenizer, loaded without TransformerLens."""

    def of(family, **options):
        tokenizer = AutoTokenizer.from_pretrained(folder(family))
        tokenizer.pad_token = tokenizer.eos_token
        return AutoModelForCausalLM.from_pretrained(folder(family), **options), tokenizer

    return of


def batch_of(tokenizer, side="left", texts=TEXTS):
    tokenizer.padding_side = side
    return tokenizer(texts, return_tensors="pt", padding=True)


def a_cache(model, **options):
    return EditCache([an_edit(model, "JP", **options), an_edit(model, "PE", seed=1, **options)])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_numbers_and_texts_as_on_the_bridge(tiny, plain, family):
    bridge, (model, tokenizer) = tiny(family), plain(family)
    cache, inside = a_cache(bridge), bridge.original_model
    for side in ("left", "right"):
        batch = batch_of(tokenizer, side)
        real = batch["attention_mask"].bool()
        with torch.no_grad(), cache.applied(bridge) as expected_fired:
            expected = inside(**batch).logits
        with torch.no_grad(), cache.attach(model, tokenizer) as attached:
            found = model(**batch).logits
        torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-4)
        assert attached.fired == expected_fired
        assert len(attached.fired) == 3
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    batch = batch_of(tokenizer)
    with cache.applied(bridge):
        expected = inside.generate(**batch, **options)
    plain_tokens = model.generate(**batch, **options)
    with cache.attach(model, tokenizer):
        assert torch.equal(model.generate(**batch, **options), expected)
    assert torch.equal(model.generate(**batch, **options), plain_tokens)
    assert not torch.equal(plain_tokens, expected)


@pytest.mark.parametrize("position", ["subject_last", "from_subject", "answer"])
@pytest.mark.parametrize(
    "options",
    [{"do_sample": True}, {"num_beams": 3, "num_return_sequences": 2}, {"use_cache": False}],
    ids=["samples", "beams", "no key/value cache"],
)
def test_ways_of_generating(tiny, plain, position, options):
    bridge, (model, tokenizer) = tiny("llama"), plain("llama")
    cache, batch = a_cache(bridge, position=position), batch_of(tokenizer)
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0} | options
    torch.manual_seed(0)
    with cache.applied(bridge):
        expected = bridge.original_model.generate(**batch, **options)
    torch.manual_seed(0)
    with cache.attach(model, tokenizer):
        assert torch.equal(model.generate(**batch, **options), expected)


def test_pipelines_and_streams(plain, tiny):
    (model, tokenizer), text = plain("llama"), "The capital of Japan is"
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}

    def written():
        tokens = tokenizer(text, return_tensors="pt")
        return tokenizer.decode(model.generate(**tokens, **options)[0])

    plain_text = written()
    with a_cache(tiny("llama")).attach(model, tokenizer):
        edited = written()
        generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
        assert generate(text, **options)[0]["generated_text"] == edited
        streamer = TextIteratorStreamer(tokenizer)
        given = tokenizer(text, return_tensors="pt")
        thread = threading.Thread(
            target=model.generate, kwargs={**given, **options, "streamer": streamer}
        )
        thread.start()
        assert "".join(streamer) == edited
        thread.join()
    assert edited != plain_text
    assert generate(text, **options)[0]["generated_text"] == plain_text


def test_several_handles_may_go_in_any_order(tiny, plain):
    model, tokenizer = plain("gpt2")
    batch = batch_of(tokenizer, texts=["Japan and Peru"])
    japan, peru = a_cache(tiny("gpt2"))

    def read():
        with torch.no_grad():
            return model(**batch).logits

    before = read()
    with EditCache([japan, peru]).attach(model, tokenizer):
        together = read()
    with EditCache([peru]).attach(model, tokenizer):
        only_peru = read()
    first = EditCache([japan]).attach(model, tokenizer)
    EditCache([peru]).attach(model, tokenizer)  # without a name
    gc.collect()
    torch.testing.assert_close(read(), together)
    first.remove()
    first.remove()
    torch.testing.assert_close(read(), only_peru)
    (second,) = {hook.__self__ for hook in model._forward_pre_hooks.values()}
    assert repr(second) == "AttachedEdits(1 edits of GPT2LMHeadModel)"
    with pytest.raises(EditError, match=r"copy it outside the context, or after remove\(\)"):
        copy.deepcopy(model)
    second.remove()
    assert torch.equal(read(), before)
    assert "generate" not in vars(model)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_what_cannot_be_attached(tiny, plain, folder):
    (model, tokenizer), bridge = plain("gpt2"), tiny("gpt2")
    cache = a_cache(bridge)

    def refused(error, model, tokenizer):
        with pytest.raises(error) as caught:
            cache.attach(model, tokenizer)
        assert not model._forward_pre_hooks
        return str(caught.value)

    assert "use cache.applied(model)" in refused(TypeError, bridge, tokenizer)
    assert "the one inside a TransformerBridge" in refused(
        TypeError, bridge.original_model, tokenizer
    )
    assert "not a fast tokenizer" in refused(TypeError, model, None)
    other, of_other = plain("llama")
    assert "the weights of this LlamaForCausalLM in torch.float32 differ" in refused(
        EditError, other, of_other
    )
    tokenizer.add_tokens(["capital"])
    assert "in other tokens than" in refused(EditError, model, tokenizer)
    model, tokenizer = plain("gpt2", dtype=torch.bfloat16)
    assert "in torch.bfloat16 differ" in refused(EditError, model, tokenizer)


def test_a_checkpoint_in_half_precision(embedded):
    """transformers reads a model in the number type of its files, and lv.load_model in float32."""
    folder = "data/models/embedded"
    model, tokenizer = (
        kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    assert model.dtype == torch.float16
    prompt = lv.load_facts().filter(subjects="JP", relation="capital", languages="en").prompts()[0]
    cache = EditCache([an_edit(embedded)])
    batch = tokenizer([prompt.text], return_tensors="pt")
    with torch.no_grad(), cache.applied(embedded):
        expected = embedded.original_model(**batch).logits
    with torch.no_grad(), cache.attach(model, tokenizer) as attached:
        found = model(**batch).logits
    assert [one.match.name for one in attached.fired] == ["Japan"]
    torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=5e-2)

"""Within a call of `generate`, its prompt is known."""

import torch
from made_up_edits import ids

from lafn_viz.models.generate_calls import generate_call, watched


def test_the_prompt_is_known_within_the_call_alone(tiny):
    model, other = tiny("gpt2"), tiny("llama")
    tokens, known = ids(model, "The capital of Japan is"), []

    def keep(*_):
        call = generate_call(model)
        assert generate_call(other) is None
        known.append(None if call is None else call.prompt)

    handle = model.original_model.register_forward_pre_hook(keep)
    first, second = watched(model), watched(model)
    try:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # blocks may end in any order
        model.original_model.generate(tokens, max_new_tokens=2, do_sample=False)
        model.original_model(tokens)
        second.__exit__(None, None, None)
        model.original_model.generate(tokens, max_new_tokens=1, do_sample=False)
    finally:
        handle.remove()
    assert [prompt is not None for prompt in known] == [True, True, False, False]
    assert torch.equal(known[1], tokens)
    assert "generate" not in vars(model) | vars(model.original_model)

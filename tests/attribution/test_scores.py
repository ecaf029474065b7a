import pytest
import torch
from one_layer import assert_near

import lafn_viz as lv


def test_normalised_scores_sum_to_one(tiny, prompts):
    scores = lv.attribute(tiny("gpt2"), prompts[:3], method="amig")
    torch.testing.assert_close(scores.normalised().sum((1, 2)), torch.ones(3))
    assert_near(scores.normalised()[0] * scores.values[0].sum(), scores.values[0])


@pytest.mark.slow
def test_same_prompts_same_scores_and_frame_of_the_best(embedded, facts):
    prompts = facts.filter(relation="capital", subjects="FR", languages=["en", "ar"]).prompts()
    one, two = (lv.attribute(embedded, prompts) for _ in range(2))
    assert torch.equal(one.values, two.values)
    assert one.provenance == two.provenance
    frame = one.to_frame(top=3)
    assert len(frame) == 3 * len(prompts)
    first = frame.iloc[0]
    assert one.values[0].max().item() == pytest.approx(first["score"])
    assert one.values[0, first["layer"], first["neuron"]].item() == pytest.approx(first["score"])

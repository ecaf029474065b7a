"""Log P(object) behind a cache is what `score_answers` says."""

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.interventions.planted.copies import read_model
from lafn_viz.interventions.planted.examples import DetectorExamples
from lafn_viz.interventions.planted.readings import last_tokens, log_p, whole_prompts
from lafn_viz.models.capabilities import capabilities


@pytest.mark.parametrize("family", ["llama", "olmo2", "gemma2", "gemma3", "embedded"])
def test_it_is_the_log_probability_of_the_whole_object(family, gated, facts):
    base, original, _ = read_model(family if family == "embedded" else gated(family), None)
    some = facts.filter(relation="capital", subjects=["FR", "JP"], languages=["en", "fr", "ru"])
    examples = DetectorExamples.of(base, some, some, "capital", 0, np.random.default_rng(0))
    asked = torch.from_numpy(examples.fact >= 0)
    # The negatives ask for these subjects again.
    asked[asked.nonzero()[len(some.prompts()) :, 0]] = False
    readings = last_tokens(original, examples, asked)
    unembedding, count = capabilities(base).unembedding, len(asked)
    found = log_p(original, {}, unembedding, readings, count)[asked]
    expected = lv.score_answers(base, some.prompts()).log_prob
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    again = log_p(original, {}, unembedding, readings, count)[asked]
    torch.testing.assert_close(again, found)  # the cache is as it was
    one = torch.tensor([len(answer) == 1 for answer in examples.answer]) & asked
    if one.any():
        plain = log_p(original, {}, unembedding, whole_prompts(examples, one), count)
        torch.testing.assert_close(plain[one], found[one[asked]], atol=1e-3, rtol=1e-4)

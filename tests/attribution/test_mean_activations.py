import torch

import lafn_viz as lv
from lafn_viz.attribution.mean_activations import mean_activations


def test_mean_activations_are_the_means_of_each_language(tiny, prompts):
    model = tiny("llama")
    means = mean_activations(model, prompts, position="answer", max_rows=3)
    scores = lv.attribute(model, prompts, method="activation", position="answer")
    for language in ("en", "zh", "ru"):
        mine = [i for i, prompt in enumerate(prompts) if prompt.language == language]
        torch.testing.assert_close(means[language], scores.values[mine].mean(0))

"""log sum exp and its gradient, in parts of the vocabulary, are those of all logits at once."""

import pytest
import torch

from lafn_viz.models import log_sum_exp as module
from lafn_viz.models.capabilities import Unembedding
from lafn_viz.models.log_sum_exp import LogSumExp, log_sum_exp


@pytest.fixture(params=[False, True], ids=["plain", "biased"])
def unembedding(request, monkeypatch) -> Unembedding:
    monkeypatch.setattr(module, "WORDS_AT_ONCE", 4)  # parts of 4, 4 and 3 words
    torch.manual_seed(0)
    return Unembedding(torch.randn(11, 5), torch.randn(11) if request.param else None, None)


def test_equal_to_all_logits_at_once(unembedding):
    hidden = (3 * torch.randn(6, 5)).requires_grad_()
    weights = torch.randn(6)
    value, expected = LogSumExp.apply(hidden, unembedding), unembedding.logits(hidden).logsumexp(-1)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(x @ weights, hidden)[0] for x in (value, expected)]
    torch.testing.assert_close(*gradients)


def test_the_divergence_is_what_the_slope_misses(unembedding):
    """KL(before || after) = L(h) - L(h0) - (h - h0) . L'(h0)."""
    before, after = torch.randn(6, 5), torch.randn(6, 5)
    value, slope = log_sum_exp(before, unembedding)
    missed = log_sum_exp(after, unembedding)[0] - value - ((after - before) * slope).sum(-1)
    log_p, log_q = (unembedding.logits(x).log_softmax(-1) for x in (before, after))
    torch.testing.assert_close(missed, (log_p.exp() * (log_p - log_q)).sum(-1))


def test_very_large_logits_stay_finite(unembedding):
    value, slope = log_sum_exp(1000 * torch.randn(6, 5), unembedding)
    assert value.isfinite().all()
    assert slope.isfinite().all()

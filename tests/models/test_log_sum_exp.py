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


def test_words_that_are_never_likely_are_left_out_of_the_gradient(unembedding, monkeypatch):
    """Only where most of a part's words are: what is missed is below the rounding."""
    bias = torch.tensor([0.0, 0, -60, 0, 0, -60, -60, -60, 0, -60, -60])
    unlikely = Unembedding(unembedding.weight, bias, None)
    hidden = torch.randn(6, 5)
    read = []
    weighted = module._weighted
    monkeypatch.setattr(
        module,
        "_weighted",
        lambda s, w: read.append(s.amax(0) > module.NEGLIGIBLE) or weighted(s, w),
    )
    _, slope = log_sum_exp(hidden, unlikely)
    assert [int(part.sum()) for part in read] == [3, 1, 1]
    exact = torch.func.vmap(torch.func.grad(lambda h: unlikely.logits(h).logsumexp(-1)))(hidden)
    torch.testing.assert_close(slope, exact)

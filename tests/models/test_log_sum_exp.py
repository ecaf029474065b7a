"""log sum exp and its gradient, in parts or from likely words, are those of all logits at once."""

import pytest
import torch

from lafn_viz.models import log_sum_exp as module
from lafn_viz.models.capabilities import Unembedding
from lafn_viz.models.log_sum_exp import LikelyWords, LogSumExp, log_sum_exp


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


def value_and_slope(large_sum, hidden):
    hidden = hidden.clone().requires_grad_()
    value = large_sum(hidden)
    return value, *torch.autograd.grad(value.sum(), hidden)


@pytest.mark.parametrize("n_words", [1, 4])
def test_likely_words_are_exact_where_they_were_chosen_and_never_above(unembedding, n_words):
    hidden = torch.randn(2, 5)
    likely = LikelyWords(hidden, unembedding, n_words)
    assert n_words <= len(likely.words.weight) <= 2 * n_words

    def all_words(h):
        return unembedding.logits(h).logsumexp(-1)

    for ours, exact in zip(*(value_and_slope(x, hidden) for x in (likely, all_words)), strict=True):
        torch.testing.assert_close(ours, exact)
    missed = {
        step: all_words(hidden + step) - likely(hidden + step)
        for step in (0.01 * torch.randn(2, 5), torch.randn(2, 5))
    }
    small, large = missed.values()
    assert (torch.cat([small, large]) > -1e-5).all()
    assert small.max() < 1e-3 < large.max()


def test_words_that_are_all_likely_leave_no_rest(unembedding):
    likely, moved = LikelyWords(torch.randn(2, 5), unembedding, 11), torch.randn(2, 5)
    for ours, exact in zip(
        value_and_slope(likely, moved),
        value_and_slope(lambda h: unembedding.logits(h).logsumexp(-1), moved),
        strict=True,
    ):
        torch.testing.assert_close(ours, exact)

"""log sum exp of a token's logits and its gradient, a part of the vocabulary at a time.

With h the input of the un-embedding and z = W h + b the logits, everything that a loss asks of a
token follows from L(h) = log sum exp z and its gradient, the mean of the rows of W under the
model's distribution:

- -log P(token) = L(h) - h . W[token] - b[token];
- KL(before || after) = L(h) - L(h0) - (h - h0) . L'(h0), the Bregman divergence of L, where h0 is
  the input before a change.

So no distribution over the vocabulary is kept, and all logits never exist at once. A large
vocabulary is read in parts that stay in the processor's cache; the largest logit so far is carried
along, as in Milakov and Gimelshein 2018, "Online normalizer calculation for softmax" (arXiv
1805.02867).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.models.capabilities import Unembedding

WORDS_AT_ONCE = 2**13  # rows of the un-embedding in one part
TOKENS_AT_ONCE = 32  # tokens of which all logits exist at a time


def log_sum_exp(
    hidden: Float[Tensor, "token d_model"], unembedding: Unembedding
) -> tuple[Float[Tensor, " token"], Float[Tensor, "token d_model"]]:
    """L(h) and its gradient, both in float32 and without a graph.

    The un-embedding may have no cap.
    """
    hidden = hidden.detach()
    # Not -inf: a whole part may be left out, with a bias of -inf.
    highest = hidden.new_full((len(hidden), 1), torch.finfo(torch.float32).min, dtype=torch.float32)
    total = torch.zeros_like(highest)
    mean = hidden.new_zeros(hidden.shape, dtype=torch.float32)
    with torch.no_grad():
        for part in unembedding.parts(WORDS_AT_ONCE):
            logits = part.logits(hidden)
            higher = torch.maximum(highest, logits.amax(1, keepdim=True))
            shrinks = (highest - higher).exp_()
            # Taken in place: fresh memory of this size is slow.
            exponential = logits.sub_(higher).exp_()
            total = total * shrinks + exponential.sum(1, keepdim=True)
            mean = mean * shrinks + exponential.to(part.weight.dtype) @ part.weight
            highest = higher
    return (highest + total.log())[:, 0], mean / total.clamp_min(torch.finfo(torch.float32).tiny)


class LogSumExp(torch.autograd.Function):
    """L(h) of each token (see `log_sum_exp`), with a graph."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Float[Tensor, "token d_model"], unembedding: Unembedding
    ) -> Float[Tensor, " token"]:
        """Return L(h), and keep its gradient."""
        value, slope = log_sum_exp(hidden, unembedding)
        ctx.dtype = hidden.dtype
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Scale the gradient that `forward` kept."""
        (slope,) = ctx.saved_tensors
        return (slope * gradients[0][:, None]).to(ctx.dtype), None


class LikelyWords:
    """L(h) where tokens are read again and again, from the words that are likely for some of them.

    With S these words and R(h) the log sum exp of all others, L(h) = log(exp L_S(h) + exp R(h)).
    L_S is computed at each call, and R, which is convex, is replaced by its tangent at `hidden`: so
    value and gradient are exact there, and the value is too small by second order elsewhere.

    Args:
        hidden: what the un-embedding reads now.
        unembedding: without a cap.
        n_words: how many of its likeliest words each token gives to S.
    """

    def __init__(
        self, hidden: Float[Tensor, "token d_model"], unembedding: Unembedding, n_words: int
    ) -> None:
        self.hidden = hidden = hidden.detach()
        weight, bias = unembedding.weight.detach(), unembedding.bias
        likely = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        with torch.no_grad():
            for some in hidden.split(TOKENS_AT_ONCE):
                likely[unembedding.logits(some).topk(min(n_words, len(weight))).indices] = True
        self.words = Unembedding(weight[likely], None if bias is None else bias[likely], None)
        without = torch.zeros(len(weight), device=weight.device) if bias is None else bias.float()
        others = Unembedding(weight, without.masked_fill(likely, -torch.inf), None)
        self.rest, self.rest_slope = log_sum_exp(hidden, others)

    def __call__(self, hidden: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """Return L(h), with a graph."""
        rest = self.rest + ((hidden.float() - self.hidden.float()) * self.rest_slope).sum(-1)
        return torch.logaddexp(LogSumExp.apply(hidden, self.words), rest)

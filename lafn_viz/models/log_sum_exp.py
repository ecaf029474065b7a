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


def log_sum_exp(
    hidden: Float[Tensor, "token d_model"], unembedding: Unembedding
) -> tuple[Float[Tensor, " token"], Float[Tensor, "token d_model"]]:
    """L(h) and its gradient, both in float32 and without a graph.

    The un-embedding may have no cap.
    """
    hidden = hidden.detach()
    highest = hidden.new_full((len(hidden), 1), -torch.inf, dtype=torch.float32)
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
    return (highest + total.log())[:, 0], mean / total


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

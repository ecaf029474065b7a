"""How much two languages share if the sets of a fact do not depend on each other.

Facts of one relation differ in how many neurons they have, and in how many of these are common ones
that most facts have. Both change what languages share, without any fact that they would share. The
model here knows both, and nothing of a fact besides: the neurons of a relation fall into classes by
how many sets of its facts have them, in the language and in all languages (in steps of a factor of
2), and a fact has a neuron with the probability

    its share of the class's neurons in the language x the number of facts that have the neuron.

(Of each class a fact has as many neurons as it really has, and each neuron as many facts.) These
numbers stay the same when facts are exchanged within a language, so the model of a permutation is
that of the facts themselves.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def probabilities(
    lists: Int[Tensor, "fact language place"], relation: Int[Tensor, " fact"], width: int
) -> Float[Tensor, "fact language member"]:
    """Return the probability that a fact has a neuron in a language.

    Members are the neurons that any fact of the relation has, in no special order.

    Args:
        lists: the neurons of each fact and language as numbers, padded with `width`.
    """
    n_relations, n_languages = int(relation.max()) + 1, lists.shape[1]
    language = torch.arange(n_languages)[:, None]
    # Number the neurons of each relation anew, from 0 on; the padding comes last.
    used = torch.zeros(n_relations, width + 1, dtype=torch.bool)
    used[relation[:, None, None], lists] = True
    used[:, width] = False
    n_members = int(used.sum(1).max())
    number = torch.where(used, used.cumsum(1) - 1, n_members)
    members = number[relation[:, None, None], lists]

    holders = torch.zeros(n_relations, n_languages, n_members + 1)
    where = relation[:, None, None], language, members
    holders.index_put_(where, torch.ones(1), accumulate=True)
    holders[..., n_members] = 0
    in_all = holders.sum(1, keepdim=True).expand_as(holders)
    kinds = torch.stack([holders, in_all]).clamp_min(1).log2().long()
    kind = (kinds[0] * (int(kinds[1].max()) + 1) + kinds[1]).unique(return_inverse=True)[1]

    shape = len(lists), n_languages, int(kind.max()) + 1
    own = torch.zeros(shape)
    own.scatter_add_(2, kind[where], (members < n_members).float())
    of_all = torch.zeros(n_relations, *shape[1:]).index_add_(0, relation, own)
    share = own / of_all[relation].clamp_min(1)
    expected = share.gather(2, kind[relation]) * holders[relation]
    return expected[..., :n_members].clamp_max(1)


def expected_pairs(probability: Float[Tensor, "fact language member"]) -> Float[Tensor, " fact"]:
    """Return how many neurons ordered pairs of different languages share, summed over pairs."""
    return (probability.sum(1).square() - probability.square().sum(1)).sum(1)


def expected_agnostic(
    probability: Float[Tensor, "fact language member"],
    languages: Int[Tensor, " fact"],
    scripts: Int[Tensor, " fact"],
    by_script: Sequence[Sequence[int]],
) -> Float[Tensor, " fact"]:
    """Return how many neurons at least so many languages, of at least so many scripts, have.

    Args:
        by_script: the columns of the languages of each script.
    """
    most = int(languages.max())
    if int(scripts.max()) == 1:  # any script will do
        below = _exactly(probability.unbind(1), most - 1).cumsum(0)
        return (1 - below[languages - 1, torch.arange(len(languages))]).clamp_min(0).sum(1)
    most_scripts = int(scripts.max())
    # The distribution of [languages, scripts]; the last of each stands for more, too.
    joint = probability.new_zeros(most + 1, most_scripts + 1, *probability[:, 0].shape)
    joint[0, 0] = 1
    for columns in by_script:
        within = _exactly([probability[:, column] for column in columns], most)
        if len(columns) > most:
            within[most] = 1 - within[:most].sum(0)
        after = joint * within[0]
        for count in range(1, min(len(columns), most) + 1):
            added = joint * within[count]
            for before in range(most + 1):
                after[min(before + count, most), 1:] += added[before, :-1]
                after[min(before + count, most), -1] += added[before, -1]
        joint = after
    enough = (torch.arange(most + 1) >= languages[:, None])[:, :, None] & (
        torch.arange(most_scripts + 1) >= scripts[:, None]
    )[:, None]
    return torch.einsum("fls,lsfm->f", enough.to(joint), joint)


def _exactly(
    has: Sequence[Float[Tensor, "fact member"]], most: int
) -> Float[Tensor, "count fact member"]:
    """The distribution of how many of these are true, from 0 to `most` (Poisson binomial).

    Counts above `most` are left out.
    """
    exactly = [torch.ones_like(has[0]), *torch.zeros(most, *has[0].shape)]
    for probability in has:
        hasnt = 1 - probability
        for count in range(most, 0, -1):
            exactly[count] = exactly[count] * hasnt + exactly[count - 1] * probability
        exactly[0] = exactly[0] * hasnt
    return torch.stack(exactly)

"""What the embedded models are trained with: the optimiser, and the penalty on active neurons."""

import sys

import pytest
import torch
from loading import ROOT


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The scripts import each other."""
    sys.path.insert(0, str(ROOT / "data" / "scripts"))
    yield
    sys.path.remove(str(ROOT / "data" / "scripts"))


def test_muon_is_torchs_up_to_its_bfloat16():
    from muon import Muon

    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((16, 48), (48, 16))]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    begun = [weight.detach().clone() for weight in ours]
    options = {"lr": 0.02, "weight_decay": 0.1}
    steppers = Muon(ours, **options), torch.optim.Muon(theirs, **options)
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        for stepper in steppers:
            stepper.step()
    for one, other, first in zip(ours, theirs, begun, strict=True):
        assert (one - other).norm() < 0.02 * (one - first).norm()


def test_the_share_of_active_neurons_counts_them():
    from train_model import ActiveNeurons

    relu = torch.nn.ReLU()
    active = ActiveNeurons([relu])
    one, all_alike, none = torch.eye(8)[0], torch.ones(8), -torch.ones(8)
    for value, expected in ((one, 1 / 8), (3 * one, 1 / 8), (all_alike, 1.0), (none, 0.0)):
        relu(value.expand(2, 3, 8))
        assert active.share() == pytest.approx(expected)
    weight = torch.nn.Parameter(torch.tensor([2.0, 1.0, 0.0, -1.0]))
    relu(weight)
    active.share().backward()
    assert weight.grad[0] < 0 < weight.grad[1]  # the largest grows, the others shrink
    assert weight.grad[2:].abs().sum() == 0


def test_a_fact_comes_often_in_its_homes():
    from train_model import DATA, RARE, RELATION_WEIGHTS, Corpus
    from worlds import World

    world = World.plain(DATA)
    corpora = [Corpus(world, homes) for homes in (4, None)]
    for corpus, n_often in zip(corpora, (4, None), strict=True):
        weights = dict.fromkeys(corpus.known, ())
        for (fact, _), upper, lower in zip(
            corpus.pairs, corpus.cum_weights, [0.0, *corpus.cum_weights[:-1]], strict=True
        ):
            weights[fact["id"]] += ((upper - lower) / RELATION_WEIGHTS[fact["relation"]],)
        for name, of_fact in weights.items():
            n = n_often or len(corpus.known[name])
            expected = [RARE] * (len(of_fact) - n) + [1] * n
            assert sorted(of_fact) == pytest.approx(expected)
    assert corpora[0].pairs == corpora[1].pairs

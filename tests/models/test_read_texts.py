"""The texts that a key/value cache holds follow what is done to it."""

import copy
import pickle

import pytest
import torch
import transformers as hf

from lafn_viz.models.read_texts import ReadTexts, real_tokens, recall, remember

TOKENS = torch.arange(12).view(3, 4)


@pytest.fixture
def past():
    """A cache whose keys are the tokens themselves."""
    cache = hf.DynamicCache()
    states = TOKENS[:, None, :, None].float()
    cache.update(states, states, 0)
    acted = tuple(frozenset({("an edit", row)}) for row in range(3))
    remember(cache, ReadTexts(TOKENS, TOKENS > 0, acted))
    return cache


def as_held(cache):
    texts = recall(cache)
    assert texts is not None
    assert torch.equal(texts.tokens, cache.layers[0].keys[:, 0, :, 0].long())
    assert torch.equal(texts.real, texts.tokens > 0)
    return texts


@pytest.mark.parametrize(
    "copied", [lambda x: x, copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_texts_follow_their_cache_and_its_copies(past, copied):
    cache = copied(past)
    assert isinstance(cache, hf.DynamicCache)
    cache.reorder_cache(torch.tensor([2, 0, 1]))
    assert as_held(cache).acted == tuple(frozenset({("an edit", row)}) for row in (2, 0, 1))
    cache.batch_select_indices(torch.tensor([False, True, True]))
    assert as_held(cache).tokens[:, 0].tolist() == [0, 4]
    cache.batch_repeat_interleave(2)
    assert as_held(cache).tokens[:, 0].tolist() == [0, 0, 4, 4]
    cache.crop(-3)
    assert [len(row) for row in as_held(cache).acted] == [1, 1, 0, 0]  # positions 0 and 1 of one


def test_a_cache_that_was_changed_by_hand_is_not_known(past):
    past.layers[0].keys = past.layers[0].keys.flip(0)
    assert recall(past) is None
    past.reorder_cache(torch.tensor([0, 1, 2]))
    assert recall(past) is None


def masks(size, real):
    """The same rows, as masks of two and of four dimensions."""
    two = torch.tensor(real).long()
    four = torch.ones(size, size, dtype=torch.bool).tril() & two[:, None, None].bool()
    return [two, two.bool(), four, torch.where(four, 0.0, torch.finfo().min), {"full": four}]


@pytest.mark.parametrize("number", range(5))
def test_padding_by_any_mask(number):
    real = [[0, 0, 1, 1], [1, 1, 1, 1]]
    mask = masks(4, real)[number]
    given = {"input_ids": TOKENS[:2], "attention_mask": mask}
    assert real_tokens(given, None).tolist() == torch.tensor(real).bool().tolist()


@pytest.mark.parametrize(
    "given",
    [
        {"position_ids": torch.tensor([[0, 1, 0, 1]])},
        {"attention_mask": torch.tensor([[1, 1, 2, 2]])},
        {"attention_mask": torch.ones(1, 3)},
        {"attention_mask": torch.zeros(1, 1, 4, 4)},
        {"attention_mask": torch.eye(4, dtype=torch.bool)[None, None]},
        {"cu_seq_lens_q": torch.tensor([0, 2, 4])},
    ],
)
def test_rows_of_several_texts_are_not_real(given):
    assert real_tokens({"input_ids": TOKENS[:1], **given}, None) is None

import copy

import pytest
import torch
from families import FAMILIES

import lafn_viz as lv
from lafn_viz.models.batching import batches, padded
from lafn_viz.models.hooks import hook_post
from lafn_viz.models.scoring import log_prob_of
from lafn_viz.models.tokens import POSITIONS, encode


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_batches_hold_what_each_prompt_alone_would(tiny, facts, family, position):
    model = tiny(family)
    prompts = facts.filter(relation="currency", subjects=["FR"]).prompts()
    seen = []
    for batch in batches(model, prompts, position=position, max_prompts=5):
        seen += batch.index.tolist()
        assert len(batch.index) <= 5
        for row, number in enumerate(batch.index.tolist()):
            item = encode(model, prompts[number])
            assert tuple(batch.tokens[row].tolist()) == item.read
            assert tuple(batch.answers[row].tolist()) == item.answer
            assert (batch.predicts, batch.text) == (item.predicts, item.text)
            assert batch.at == item.acted_on(position, masked=family == "bert")
    assert sorted(seen) == list(range(len(prompts)))


def test_parts_of_a_batch_hold_its_prompts_in_order(tiny, prompts):
    for batch in batches(tiny("gpt2"), prompts * 3):
        parts = list(batch.split(2))
        assert all(len(part.index) == 2 for part in parts[:-1])
        for field in ("index", "tokens", "answers"):
            joined = torch.cat([getattr(part, field) for part in parts])
            assert torch.equal(joined, getattr(batch, field))
        assert {(part.predicts, part.text, part.at.start) for part in parts} == {
            (batch.predicts, batch.text, batch.at.start)
        }


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_answer(tiny, prompts, family):
    model = tiny(family)
    expected = lv.score_answers(model, prompts).log_prob
    found = torch.full_like(expected, torch.nan)
    widths = []
    for batch in padded(model, prompts, max_prompts=5):
        assert len(batch.index) <= 5
        widths.append(batch.tokens.shape[1])
        found[batch.index] = log_prob_of(model, batch, [])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert widths == sorted(widths)


def test_repeated_rows_are_blocks_of_the_same_prompts(tiny, prompts):
    model = tiny("gpt2")
    (batch,) = padded(model, prompts)
    n = len(prompts)

    def only_the_second_block(value, hook):
        value = value.clone()
        value[n:] = 0
        return value

    changed = log_prob_of(model, batch.repeated(2), [(hook_post(0), only_the_second_block)])
    plain = log_prob_of(model, batch, [])
    torch.testing.assert_close(changed[:n], plain)
    assert not torch.isclose(changed[n:], plain).any()


def test_prompts_positions_end_where_a_causal_model_begins_to_answer(tiny, prompts):
    (batch,) = padded(tiny("llama"), prompts)
    assert torch.equal(batch.prompt.sum(1), batch.predicts + 1)
    (masked,) = padded(tiny("bert"), prompts)
    assert torch.equal(masked.prompt.long(), masked.mask)
    with pytest.raises(ValueError, match="no prompts"):
        next(padded(tiny("gpt2"), []))


def test_padding_matters_neither_by_side_nor_by_token(tiny, prompts, monkeypatch):
    """Also a token for padding that was added to the tokenizer alone has no effect."""
    for family in ("llama", "bert"):
        model = tiny(family)
        rows = model.original_model.get_input_embeddings().num_embeddings
        expected = lv.score_answers(model, prompts)
        card = lv.neuron_card(model, prompts, (1, 3))
        tokenizer = copy.deepcopy(model.tokenizer)
        tokenizer.add_special_tokens({"pad_token": "[PADDING]"})
        tokenizer.padding_side = "left"
        assert tokenizer.pad_token_id >= rows
        with monkeypatch.context() as patch:
            patch.setattr(model, "tokenizer", tokenizer)
            for batch in padded(model, prompts):
                assert int(batch.tokens.max()) < rows
                scored = log_prob_of(model, batch, [])
                torch.testing.assert_close(scored, expected.log_prob[batch.index])
            again = lv.neuron_card(model, prompts, (1, 3))
        torch.testing.assert_close(again.activation, card.activation)

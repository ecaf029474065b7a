"""Tokens, spans and positions agree for every kind of tokenizer, and with the tokenizer itself."""

import dataclasses
import random

import pytest
import torch
from made_up_edits import an_edit, logits
from tokenizer_kinds import BYTES, KINDS, save_model, tokenizer_of
from transformers import AutoTokenizer

import lafn_viz as lv
from lafn_viz.editing.retrieval.folding import fold
from lafn_viz.models.capabilities import special_tokens
from lafn_viz.models.tokenizing import as_read, detokenize, written_text
from lafn_viz.models.tokens import encode

# Language, subject, and what comes before it, after it and as the answer.
PARTS = {
    "en": (["Japan", "São Paulo"], ["", "The capital of "], ["", " is", ", that is"], ["Tokyo"]),
    "zh": (["日本", "首都"], ["", "首都 ", "东京是"], ["", "是", "的首都是"], ["东京", "東京"]),
    "ru": (["Японии", "Йемен"], ["", "Столица "], ["", " —"], ["Токио", "Россия"]),
    "hi": (["जापान"], ["", "है। "], ["", " की राजधानी"], ["टोक्यो"]),
    "ar": (["اليابان"], ["", "عاصمة "], ["", " هي"], ["طوكيو"]),
    "th": (["ญี่ปุ่น"], ["", "เมืองหลวงของ"], ["", "คือ"], ["โตเกียว"]),
}


def some_prompts(n):
    """Random prompts of six scripts that name their subject once."""
    draw = random.Random(0)
    while n:
        language = draw.choice(list(PARTS))
        subject, before, after, answer = (draw.choice(choices) for choices in PARTS[language])
        text = before + subject + after
        if text.count(subject) == 1 and subject not in answer:
            n -= 1
            yield lv.Prompt.of(text, answer, subject=subject, language=language)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A model of each kind of tokenizer, and that tokenizer as it was saved."""
    models = {}

    def of(kind):
        if kind not in models:
            family = "gpt2" if list(KINDS).index(kind) % 2 else "llama"
            folder = save_model(tmp_path_factory.mktemp("model"), tokenizer_of(kind), family)
            models[kind] = lv.load_model(folder), AutoTokenizer.from_pretrained(folder)
        return models[kind]

    return of


def text_ids(tokenizer, text):
    """What a tokenizer makes of a text that goes on: all but the special tokens at its end."""
    n_after = len(special_tokens(tokenizer)[1])
    ids = tokenizer(text)["input_ids"]
    return tuple(ids[: len(ids) - n_after])


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_reads_what_its_own_tokenizer_gives(loaded, kind):
    model, tokenizer = loaded(kind)
    for prompt in some_prompts(25):
        item = encode(model, prompt)
        read, whole = item.read[: item.predicts + 1], prompt.text + prompt.continuation
        assert read == text_ids(tokenizer, prompt.text)
        assert read == tuple(model.to_tokens(prompt.text)[0].tolist())[: len(read)]
        together = text_ids(tokenizer, whole)
        # The text is the same in any case, and so are its tokens where none crosses the seam.
        assert tokenizer.decode(read + item.answer) == tokenizer.decode(together)
        spans = tokenizer(whole, return_offsets_mapping=True)["offset_mapping"]
        if together[: len(read)] == read and all(
            end <= len(prompt.text) for _, end in spans[: len(read)]
        ):
            assert read + item.answer == together


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_acts_where_its_subject_ends(loaded, kind):
    model, tokenizer = loaded(kind)
    model.tokenizer.pad_token = "<pad>"
    for prompt in some_prompts(12):
        item = encode(model, prompt)
        (subject,) = as_read(model, [prompt.subject])
        upto = [tokenizer.decode(item.read[: item.subject_last + k]) for k in (0, 1)]
        assert subject not in upto[0]
        assert subject in upto[1]
        edit = an_edit(model)
        edit = dataclasses.replace(edit, names={prompt.language: (prompt.subject,)}, prompts=())
        with lv.edited(model, edit) as fired:
            logits(model, torch.tensor([item.read]))  # with a part of the answer
            assert [one.position for one in fired] == [item.subject_last]
            for side in ("left", "right"):
                batch = tokenizer_batch(model, side, prompt.text, prompt.text + " a b c")
                n_left = int(batch["attention_mask"][0].argmax())
                logits(model, batch["input_ids"], attention_mask=batch["attention_mask"])
                assert fired[0].position == n_left + item.subject_last


def tokenizer_batch(model, side, *texts):
    return model.tokenizer(list(texts), return_tensors="pt", padding=True, padding_side=side)


@pytest.mark.parametrize("kind", KINDS)
def test_any_tokens_have_a_text_and_places_in_it(loaded, kind):
    """Also tokens that the tokenizer would never give, as a model writes them."""
    model, tokenizer = loaded(kind)
    draw = random.Random(0)
    for _ in range(15):
        tokens = [draw.randrange(7, len(tokenizer)) for _ in range(draw.randrange(1, 12))]
        back = detokenize(model, tokens)
        assert back.tokens == tuple(tokens)
        assert all(0 <= start <= end <= len(back.text) for start, end in back.spans)
        covered = {place for span in back.spans for place in range(*span)}
        assert {place for place, c in enumerate(back.text) if c.isalnum()} <= covered
        for place in sorted(covered):
            _, stop = back.covering((place, place + 1))
            # The characters before it need no later token.
            assert decoded(tokenizer, tokens[:stop]).startswith(back.text[:place].rstrip())
        texts = [prompt.text for prompt in some_prompts(3)]
        for text in texts:
            again = detokenize(model, model.tokenizer(text, add_special_tokens=False)["input_ids"])
            assert fold(again.text).words == fold(as_read(model, [text])[0]).words


def decoded(tokenizer, tokens):
    """The text of tokens, without bytes that make no character."""
    pieces = tokenizer.convert_ids_to_tokens(tokens)
    if not any(piece in BYTES for piece in pieces):
        return tokenizer.decode(tokens)
    raw = b"".join(
        bytes([BYTES.index(piece)]) if piece in BYTES else piece.replace("▁", " ").encode()
        for piece in pieces
    )
    return raw.decode(errors="ignore").removeprefix(" ")


def test_written_text_goes_on_where_the_prompt_ends(loaded):
    for kind, language in (("WordPiece", "th"), ("SentencePiece", "zh"), ("byte-level", "en")):
        model, _ = loaded(kind)
        for prompt in some_prompts(40):
            if prompt.language == language:
                item = encode(model, prompt)
                read = item.read[: item.predicts + 1]
                assert written_text(model, read, item.answer) == prompt.continuation


def test_special_tokens_are_those_that_the_tokenizer_puts(loaded):
    for kind, (_, template) in KINDS.items():
        _, tokenizer = loaded(kind)
        around = (tokenizer.convert_tokens_to_ids(part.split()) for part in template.split("$A"))
        assert special_tokens(tokenizer) == tuple(map(tuple, around))


@pytest.mark.parametrize("kind", list(KINDS))
def test_examples_have_the_same_tokens_whatever_is_asked_after_them(loaded, kind):
    """Where a token of the whole text ends with the examples, it is read as the whole text is."""
    model, tokenizer = loaded(kind)
    line = "Brazil is São Paulo."
    contexts = set()
    for alone in some_prompts(40):
        prompt = dataclasses.replace(alone, examples=(line,))
        item, without = encode(model, prompt), encode(model, alone)
        start, stop = item.text
        assert item.acted_on("all", masked=False) == slice(start, stop)
        contexts.add(item.read[:start])
        whole = text_ids(tokenizer, prompt.full_text)
        if whole[:start] == item.read[:start]:
            assert item.read[:stop] == whole
        own, asked = ((x.read[slice(*x.subject)]) for x in (without, item))
        spelt = [model.tokenizer.decode(tokens).strip() for tokens in (own, asked)]
        assert spelt[0] in spelt[1] or spelt[1] in spelt[0]
    assert len(contexts) == 1

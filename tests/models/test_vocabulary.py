import json
import shutil
import warnings

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    ByT5Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

import lafn_viz as lv

WORDS = ["The", "capital", "of", "Japan", "Peru", "is", "Tokyo", "Lima", "city", "in"]


def prompt(text="The capital of Japan is", answer="Tokyo", subject="Japan") -> lv.Prompt:
    return lv.Prompt.of(text, answer, subject=subject)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A tiny random GPT-2 with a tokenizer and as many rows as are asked for."""

    def load(tokenizer, *, rows: int | None = None):
        folder = tmp_path_factory.mktemp("model")
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=rows or len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2
        )
        GPT2LMHeadModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return lv.load_model(folder)

    return load


def word_level(words=WORDS) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", eos_token="[UNK]")


def letters_alone() -> PreTrainedTokenizerFast:
    """BPE without an unknown token: it leaves out what it lacks, here "z" and "Z"."""
    vocabulary = {chr(code): code - 32 for code in range(32, 127) if chr(code) not in "zZ"}
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(vocabulary)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made)


def byte_fallback() -> PreTrainedTokenizerFast:
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "T", "o", "k", "y"]
    made = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


@pytest.fixture(scope="module")
def by_words(loaded):
    return loaded(word_level())


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_folder_without_a_tokenizer_is_refused(folder, tmp_path, family):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder(family) / name, tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no tokenizer; save the model's own there"):
        lv.load_model(tmp_path)


def test_a_tokenizer_without_its_words_is_refused(folder, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        shutil.copy(folder("gpt2") / name, tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with pytest.raises(ValueError, match="its tokenizer: it has no words, because its files are m"):
        lv.load_model(tmp_path)


def pieces(*words: str) -> PreTrainedTokenizerFast:
    """BPE that knows these pieces and no way to join letters to them."""
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made)


def test_a_tokenizer_of_another_script_alone_is_read(loaded):
    model = loaded(pieces("[END]", *dict.fromkeys("თბილისიბაქო")))
    asked = lv.Prompt.of("ბაქო ბაქო", "თბილისი", subject="ბაქო", language="ka")
    assert lv.score_answers(model, [asked]).log_prob.isfinite().all()


def test_a_tokenizer_that_cannot_read_its_own_words_is_refused(loaded):
    with pytest.raises(
        ValueError, match="its tokenizer: it makes no tokens of its own words; save"
    ):
        loaded(pieces("Tokyo", "Lima", "Japan"))


def test_a_tokenizer_without_offsets_is_refused(loaded):
    with pytest.raises(ValueError, match="its tokenizer: ByT5Tokenizer is written in Python"):
        loaded(ByT5Tokenizer())


def test_a_model_that_is_given_such_a_tokenizer_later_is_refused(loaded):
    model = loaded(word_level(), rows=400)
    model.tokenizer = ByT5Tokenizer()
    with pytest.raises(TypeError, match="the model's tokenizer, a ByT5Tokenizer, is written in P"):
        lv.score_answers(model, [prompt()])


@pytest.fixture(scope="module")
def more_words(folder, tmp_path_factory):
    path = shutil.copytree(folder("gpt2"), tmp_path_factory.mktemp("added") / "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(["Kinbote", "Zembla"])
    tokenizer.save_pretrained(path)
    with pytest.warns(lv.UnknownWordWarning, match="such as 'Kinbote', 'Zembla'; prompts that"):
        return lv.load_model(path)


def test_words_that_the_tokenizer_has_and_the_model_has_not_are_told_at_loading(more_words, tiny):
    """A model with such words reads all others as before."""
    scores = [lv.score_answers(model, [prompt()]) for model in (more_words, tiny("gpt2"))]
    assert torch.equal(scores[0].log_prob, scores[1].log_prob)


@pytest.mark.parametrize(
    "asked",
    [
        prompt("The capital of Zembla is", "Tokyo", "Zembla"),
        prompt("In Zembla, the capital of Japan is"),
        prompt(answer="Zembla"),
    ],
)
def test_a_prompt_with_such_a_word_is_refused_by_its_name(more_words, asked):
    with pytest.raises(ValueError, match="holds 'Zembla', added to the tokenizer but not to the"):
        lv.score_answers(more_words, [prompt(), asked])


def test_a_special_token_without_a_row_is_refused(folder, tmp_path):
    path = shutil.copytree(folder("bert"), tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_special_tokens({"mask_token": "<hole>"})
    tokenizer.save_pretrained(path)
    with pytest.raises(ValueError, match="its special tokens <hole> were added without rows in"):
        lv.load_model(path)


def test_more_rows_than_words_are_fine(loaded):
    model = loaded(word_level(), rows=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lv.score_answers(model, [prompt()]).log_prob.isfinite().all()


@pytest.mark.parametrize("call", [lv.score_answers, lv.attribute, lv.next_tokens])
def test_an_unknown_answer_or_subject_is_refused_by_its_name(by_words, call):
    with pytest.raises(
        ValueError, match=r"the answer 'New Oslo' of prompt .* holds 'New', 'Oslo',"
    ):
        call(by_words, [prompt(), prompt(answer="New Oslo")])
    with pytest.raises(
        ValueError, match=r"the subject 'Norway' of prompt .* is unknown to this mo"
    ):
        call(by_words, [prompt(), prompt("The capital of Norway is", subject="Norway")])


def test_unknown_words_elsewhere_are_told_once_a_call_by_their_names(by_words):
    asked = [
        prompt("The old capital of Japan is"),
        prompt("The new capital of North Peru is", "Lima", "North Peru"),
    ]
    for call in (lv.score_answers, lv.attribute):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            call(by_words, [*asked, *asked])
        told = [str(warning.message) for warning in told if
                issubclass(warning.category, lv.UnknownWordWarning)]  # fmt: skip
        assert len(told) == 1
        assert "no token for 'old', 'new', 'North'; in the prompts it reads each as" in told[0]


def test_characters_that_a_vocabulary_leaves_out_are_unknown(loaded):
    model = loaded(letters_alone())
    with pytest.raises(ValueError, match=r"the answer 'Zembla' of prompt .* holds 'Zembla', for"):
        lv.score_answers(model, [prompt(answer="Zembla")])
    with pytest.warns(lv.UnknownWordWarning, match="no token for 'Brazil,'; in the prompts"):
        lv.score_answers(model, [prompt("The capital of Japan, not Brazil, is")])


def test_words_in_bytes_are_known(loaded, tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (loaded(byte_fallback()), tiny("gpt2")):
            lv.score_answers(model, [prompt("日本の首都は", "東京", "日本")])

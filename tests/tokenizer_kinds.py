"""Small tokenizers of the kinds that models have, trained on a few lines of six scripts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers as hf
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXTS = (
    "The capital of Japan is Tokyo, that of Brazil is not São Paulo.",
    "日本の首都は東京です。首都是东京",
    "Столица Японии — Токио. Йемен и Россия",
    "जापान की राजधानी टोक्यो है।",
    "عاصمة اليابان هي طوكيو",
    "เมืองหลวงของญี่ปุ่นคือโตเกียว",
)
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<mask>", "[gMASK]", "<sop>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def _trained(
    tokenizer: Tokenizer, trainer: type, texts: Sequence[str] = TEXTS, **options: object
) -> Tokenizer:
    settings = {"vocab_size": 500, "special_tokens": [*SPECIAL], "show_progress": False} | options
    tokenizer.train_from_iterator(texts, trainer(**settings))
    return tokenizer


def byte_level(*, prefix_space: bool = False, merges: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = 500 if merges else len(SPECIAL) + 256
    return _trained(tokenizer, trainers.BpeTrainer, initial_alphabet=alphabet, vocab_size=size)


def sentencepiece(*, legacy: bool = False) -> Tokenizer:
    """BPE with byte fallback, as Llama has it, that knows Latin letters alone."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if legacy:
        spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(spaces)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    of_bytes = [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), *of_bytes])
    special = [*SPECIAL, *BYTES]
    latin = ["▁".join(TEXTS[0].split())] if legacy else TEXTS[:1]
    return _trained(
        tokenizer, trainers.BpeTrainer, latin, special_tokens=special, vocab_size=len(special) + 90
    )


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer, unk_token="<unk>")


def wordpiece(*, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return _trained(tokenizer, trainers.WordPieceTrainer)


def characters() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    return _trained(tokenizer, trainers.BpeTrainer, vocab_size=1)


def words() -> Tokenizer:
    """Each word and each character of a script without spaces is a token."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    unspaced = pre_tokenizers.Split(Regex(r"[\p{Han}\p{Hiragana}\p{Thai}]\p{M}*"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), unspaced])
    return _trained(tokenizer, trainers.WordLevelTrainer)


# With the special tokens before and after each text: none, one or two, and whichever.
KINDS: dict[str, tuple[Callable[[], Tokenizer], str]] = {
    "byte-level": (byte_level, "$A"),
    "bytes alone": (lambda: byte_level(merges=False), "<s> $A"),
    "byte-level, space in front": (lambda: byte_level(prefix_space=True), "</s> $A"),
    "SentencePiece": (sentencepiece, "<s> $A"),
    "SentencePiece, old": (lambda: sentencepiece(legacy=True), "<s> $A </s>"),
    "unigram": (unigram, "$A </s>"),
    "WordPiece": (lambda: wordpiece(lowercase=False), "<s> $A </s>"),
    "WordPiece, small letters": (lambda: wordpiece(lowercase=True), "$A"),
    "characters": (characters, "[gMASK] <sop> $A"),
    "words": (words, "</s> <s> $A </s> </s>"),
}


def tokenizer_of(kind: str) -> hf.PreTrainedTokenizerFast:
    build, template = KINDS[kind]
    tokenizer = build()
    used = [(name, tokenizer.token_to_id(name)) for name in SPECIAL if name in template]
    if used:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=used
        )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def save_model(folder: Path, tokenizer: hf.PreTrainedTokenizerFast, family: str = "llama") -> Path:
    """Write a tiny random model of this tokenizer: "llama", "gpt2" or "bert"."""
    torch.manual_seed(0)
    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_attention_heads": 4}
    size |= {"intermediate_size": 48, "num_hidden_layers": 2, "initializer_range": 0.3}
    gpt2 = {"vocab_size": len(tokenizer), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48}
    gpt2 |= {"bos_token_id": None, "eos_token_id": None, "initializer_range": 0.3}
    model = {
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**size)),
        "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**gpt2)),
        "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**size)),
    }[family]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

"""Tiny random models of several families, with d_mlp different from d_model; no network."""

import os

# Before anything reads it: a test that asks the hub is told at once that it cannot.
os.environ["HF_HUB_OFFLINE"] = "1"

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf
from families import FAMILIES, MASKED, VOCABULARY
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import lafn_viz as lv
from lafn_viz.models.packaged import installed_models


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks and browser tests first, then the modules of slow tests: a long one must not end
    alone on one worker."""

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("notebook"):
            return 0
        return 1 if "browser" in item.path.parts else 2 if item.path in slow else 3

    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=turn)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Tests of a module go to one worker, so that its fixtures are made once.

    Those of a browser go one by one: they take half of the time and share nothing.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return nodeid if module.startswith("tests/browser/") else module

    return ByModule(config, log)


@pytest.fixture(scope="session")
def facts() -> lv.FactSet:
    return lv.load_facts()


def train_tokenizer(facts: lv.FactSet, special: list[str]) -> Tokenizer:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([name for f in facts for name in f.subject.values()], trainer)
    return bpe


@pytest.fixture(scope="session")
def tokenizer(facts: lv.FactSet) -> hf.PreTrainedTokenizerFast:
    bpe = train_tokenizer(facts, ["<|endoftext|>"])
    return hf.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def mask_tokenizer(facts: lv.FactSet) -> hf.PreTrainedTokenizerFast:
    bpe = train_tokenizer(facts, ["<s>", "<pad>", "</s>", "<mask>"])
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        mask_token="<mask>",
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory, tokenizer, mask_tokenizer) -> Callable[[str], Path]:
    """Folder of a tiny random model of a family, written once."""
    root = tmp_path_factory.mktemp("models")

    def of(family: str) -> Path:
        path = root / family
        if not path.exists():
            torch.manual_seed(0)
            model = FAMILIES[family]()
            # Random weights as they come leave every neuron near zero; make them matter.
            for name, weight in model.named_parameters():
                if "norm" not in name and "ln" not in name and weight.ndim == 2:
                    weight.data *= 4
            model.save_pretrained(path)
            (mask_tokenizer if family in MASKED else tokenizer).save_pretrained(path)
        return path

    return of


@pytest.fixture(scope="session")
def tiny(folder):
    """A loaded tiny model of a family, loaded once."""
    loaded = {}

    def of(family: str):
        if family not in loaded:
            loaded[family] = lv.load_model(folder(family))
        return loaded[family]

    return of


@pytest.fixture(scope="session")
def embedded():
    return lv.load_model("embedded")


@pytest.fixture(scope="session")
def gemma():
    """Gemma 3 270M, for tests marked `gemma`; skipped where its packages are not installed."""
    if "gemma-3-270m" not in installed_models():
        pytest.skip("the packages of Gemma 3 270M are not installed (make gemma)")
    return lv.load_model("gemma-3-270m")


@pytest.fixture
def prompts(facts: lv.FactSet) -> list[lv.Prompt]:
    """Prompts of several lengths, scripts and answer lengths."""
    some = facts.filter(relation="capital", languages=["en", "zh", "ru"], subjects=["FR", "JP"])
    return some.prompts()[::4]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("something opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

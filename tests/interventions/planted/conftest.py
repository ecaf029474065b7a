"""One planted model for all tests of this folder: planting takes half a minute."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from conftest import train_tokenizer
from families import FAMILIES, FURTHER

import lafn_viz as lv

SETTINGS = {"languages": ["en", "ru", "zh"], "n_facts": 2, "n_agnostic": 6, "n_specific": 2}
CITIES = ("Rome", "Oslo", "Lima", "Baku", "Doha", "Riga")


@pytest.fixture(scope="package")
def planted():
    return lv.plant(**SETTINGS, layers=(2, 3), n_negatives=800)


@pytest.fixture(scope="package")
def cities(facts):
    """Few facts in two languages; every capital is one of six cities."""
    kept = facts.filter(languages=["en", "fr"])
    some = [fact for fact in kept if fact.relation in ("capital", "continent", "currency")]
    for number, fact in enumerate(some):
        if fact.relation == "capital":
            name = CITIES[number % len(CITIES)]
            some[number] = replace(fact, leaks=(), object=dict.fromkeys(fact.object, name))
    return replace(kept, facts=tuple(some))


@pytest.fixture(scope="package")
def gated(tmp_path_factory, facts):
    """Folder of a random model of a gated family whose tokenizer has a token for each city.

    It is wide enough for detectors, its first coordinate does not vanish on average (as in trained
    models), its un-embedding is large enough for probabilities near one, and the networks of
    families that normalise their output matter.
    """
    named = [SimpleNamespace(subject={"en": f" {city}"}) for city in CITIES]
    bpe = train_tokenizer([*facts, *named * 50], ["<|endoftext|>"])
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")
    root = tmp_path_factory.mktemp("gated")

    def of(family: str):
        path = root / family
        if path.exists():
            return path
        torch.manual_seed(0)
        small = (FAMILIES | FURTHER)[family]()
        small.config.hidden_size = 96
        model = type(small)(small.config)
        for name, weight in model.named_parameters():
            if "embed_tokens" in name or "lm_head" in name:
                weight.data *= 20
            elif weight.ndim == 2:
                weight.data *= 4
            elif "post_feedforward" in name:
                weight.data += 4
        model.get_input_embeddings().weight.data[:, 0] += 1
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        return path

    return of

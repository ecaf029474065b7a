"""The same seed on the same machine: the same result, bit for bit, in this process and another."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing import baselines

SCRIPT = "import json, sys; from test_determinism import results; print(json.dumps(results()))"


def digest(value: object) -> str:
    """Of every bit of a result; of a set by its sorted members, as a set has no order."""
    found = hashlib.sha256()

    def take(value: object) -> None:
        found.update(f"<{type(value).__name__}>".encode())
        if isinstance(value, torch.Tensor):
            take(value.detach().numpy())
        elif isinstance(value, np.ndarray) and value.dtype != object:
            found.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        elif isinstance(value, pd.DataFrame):
            take(value.reset_index().to_dict("list"))
        elif isinstance(value, float):
            found.update(value.hex().encode())
        elif is_dataclass(value):
            for field in fields(value):
                found.update(field.name.encode())
                take(getattr(value, field.name))
        elif isinstance(value, dict):
            for key, inner in value.items():
                take(key)
                take(inner)
        elif isinstance(value, set | frozenset):
            take(sorted(value))
        elif isinstance(value, list | tuple | np.ndarray):
            for inner in value:
                take(inner)
        else:
            found.update(repr(value).encode())

    take(value)
    return found.hexdigest()


def results() -> dict[str, str]:
    """A digest of what each step gives, from the model's weights on."""
    model = lv.load_model("embedded")
    facts = lv.load_facts().filter(
        relation="capital", subjects=["FR", "JP"], languages=["en", "ru", "zh"]
    )
    prompts = [prompt for prompt in facts.prompts() if prompt.paraphrase < 3]
    scores = lv.attribute(model, prompts, n_steps=4, tolerance=1.0)
    sets = lv.select_neurons(scores, fraction=0.02)
    shared = lv.overlap(sets, min_languages=2)
    (case,) = lv.counterfactual_cases(facts, n=1, seed=2).filter(languages=["en", "ru"])
    editor = baselines.random_neurons(
        baselines.language_agnostic(n_neurons=20, position="answer", locate="activation"), seed=1
    )
    found = {
        "attribute": scores,
        "amig": lv.attribute(model, prompts[:4], method="amig", n_steps=4, tolerance=1.0),
        "select_neurons": sets,
        "overlap": shared,
        "summary": shared.summary(),
        "effects": lv.effects(model, {"agnostic": shared.agnostic}, prompts, controls=2, seed=3),
        "intervene": lv.intervene(model, prompts[:6], [(0, 1)], how="resample", corpus=prompts),
        "significance": lv.significance(shared, n_permutations=19, seed=4),
        "stability": lv.stability(scores, fraction=0.02, draws=20, seed=5),
        "edit_case": lv.edit_case(model, case, n_neurons=20),
        "evaluate": lv.evaluate(model, editor, [case], progress=False).answers,
    }
    return {name: digest(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def first() -> dict[str, str]:
    return results()


@pytest.mark.slow
def test_twice_in_one_process(first):
    torch.manual_seed(99)  # what anyone else draws has no part in it
    np.random.default_rng(5).random(7)
    assert results() == first


@pytest.mark.slow
def test_in_a_process_of_its_own(first):
    """Another order of hashing, and no cache that the first process filled."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads(run.stdout.splitlines()[-1]) == first


def test_a_digest_sees_one_bit():
    one = torch.zeros(3)
    other = one.clone()
    other[1] = 1e-45
    assert digest({"a": [one]}) != digest({"a": [other]})
    assert digest(frozenset("ab")) == digest(frozenset("ba"))

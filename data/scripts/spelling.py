"""Do languages share neurons because they share spellings? Compare models of both worlds.

    for seed in 0 1 2; do
        python data/scripts/train_model.py --steps 3000 --seed $seed --out build/worlds/plain-$seed
        python data/scripts/train_model.py --steps 3000 --seed $seed --own-scripts --vocab 26624 \\
            --out build/worlds/own-$seed
    done
    python data/scripts/spelling.py build/worlds/* data/models/embedded \\
        --out data/results/spelling.json

Where each language has its own script, no two of them share a token (see worlds.py), so what they
share is no spelling. The larger vocabulary is for names to have as many tokens as in the plain
world. Two sets of pairs are told apart, the same in both worlds: languages that people write in
Latin script, and languages that they write in different ones.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from model_card import SPLITS, share

import lafn_viz as lv
from lafn_viz.datasets.languages import outside_latin

N_FACTS = 24
SELECT = {"fraction": 0.01, "min_languages": 4, "min_scripts": 2}  # as `evidence` chose
PLAIN, OWN = "scripts as people write", "a script for each language"
Figure = tuple[str, float, float | None, float | None]  # name, value, ends of its interval


def measure(folder: Path, report: dict) -> Iterator[Figure]:
    """The figures of one model, with its training.json; intervals are over its facts."""
    for split in SPLITS:
        yield f"answered: {split}", share(report["accuracy"], split), None, None
    facts = lv.load_facts()
    if report["options"].get("own_scripts"):
        facts = lv.load_facts(folder / "facts.jsonl", paraphrases=folder / "paraphrases.jsonl")
    examined = lv.examine(
        lv.load_model(folder),
        facts.filter(relation="capital", leaking=False).sample(N_FACTS, seed=0),
        position="answer",
        hows=("mean", "zero"),
        controls=("own set", "another fact's", "random", "all neurons"),
        known_only=True,
        **SELECT,
    )
    yield "facts", len(examined.overlap.facts), None, None
    yield "prompts measured", examined.n_measured, None, None
    latin = [found for found in examined.overlap.sets.values() if not outside_latin(found.language)]
    for where, overlap, across in (
        ("across scripts", examined.overlap, True),
        ("within Latin script", lv.overlap(latin), False),
    ):
        for name, *values in overlap.summary(across_scripts=across).itertuples(index=False):
            yield f"Jaccard {where}: {name}", *values
    for row in examined.effect_table().itertuples():
        name = f"P {row.languages}, {row.how}: {row.set}"
        yield name, row.p, row.p_low, row.p_high


def table(folders: list[Path]) -> pd.DataFrame:
    """One row a model and figure."""
    rows = []
    for folder in folders:
        report = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        options = report["options"]
        world = OWN if options.get("own_scripts") else PLAIN
        model = world, options["steps"], options["seed"]
        rows += [(*model, *figure) for figure in measure(folder, report)]
        print(f"{folder.name}: measured", flush=True)
    return pd.DataFrame(rows, columns=["world", "steps", "seed", "figure", "value", "low", "high"])


def over_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """The mean of each figure over seeds, and the least and the largest."""
    figures = found.groupby(["figure", "world", "steps"], sort=False)["value"]
    return figures.agg(["mean", "min", "max", "count"]).reset_index()


def main() -> None:
    """Measure some models, save one table, and print it: each model, then over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = table(args.models)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    found.to_json(args.out, orient="split", index=False, double_precision=4, indent=1)
    seeds = found.pivot_table("value", "figure", ["world", "steps", "seed"], sort=False)
    print(seeds.round(3).to_string())
    print(over_seeds(found).round(3).to_string(index=False))


if __name__ == "__main__":
    main()

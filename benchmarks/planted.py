"""Ground truth: which attribution method finds planted neurons, and which picks decoys?

    python benchmarks/planted.py                          # 3 facts, 6 languages, both positions
    python benchmarks/planted.py --facts 5 --seed 1 --position answer
    python benchmarks/planted.py --languages all          # slower
    python benchmarks/planted.py --figure planted.html
    python benchmarks/planted.py --model gemma-3-270m --facts 2 --languages en ru \\
        --agnostic 3 --specific 1 --max-tokens 2 --negatives 60 --paraphrases 0 --position answer \\
        --methods integrated_gradients integrated_gradients_mean gradient_x_activation \\
        activation random                             # ten minutes

Facts are planted in a copy of a model, by default the embedded one (see `lv.plant`). The output has
three parts:

1. The proof that the planting works, by language: P(object) in the original model, with the planted
   neurons, without them, without the agnostic ones, without the firing decoys, and with only the
   best single neuron; then the shares of (neuron, prompt) pairs that fire on fitted paraphrases, on
   held-out ones and, for specific neurons, in other languages.
2. Recall, precision and decoys of each method with 95% intervals over facts, beside the rankings
   by ablation of single neurons and by chance.
3. How `overlap` classifies the planted neurons.
"""

import argparse
import time
import warnings
from dataclasses import replace
from typing import get_args

import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz.interventions.planted.recovery import RankingMethod

MEASURES = ("recall", "precision", "average_precision", "decoys")
# The methods whose neurons go into `overlap`.
OVERLAPS = ("integrated_gradients", "integrated_gradients_mean", "activation")
VERDICTS = ("agnostic", "specific", "specific_elsewhere", "some_languages", "missed", "purity")


def readable(table: pd.DataFrame, names: tuple[str, ...]) -> str:
    """A table of shares, each with its interval in brackets."""
    rows = {
        name: [
            f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"
            for _, row in table.iterrows()
        ]
        for name in names
    }
    return pd.DataFrame(rows, index=table.index).to_string()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded", help="name or folder")
    parser.add_argument("--facts", type=int, default=3)
    parser.add_argument("--agnostic", type=int, default=10, help="neurons of each fact")
    parser.add_argument("--specific", type=int, default=2, help="neurons of each fact and language")
    parser.add_argument("--max-tokens", type=int, default=1, help="of an object")
    parser.add_argument("--negatives", type=int, default=2400, help="prompts of other facts")
    parser.add_argument(
        "--paraphrases",
        type=int,
        nargs="+",
        help="that are attributed; 4 and 5 are held out from the detectors; default: all",
    )
    parser.add_argument(
        "--methods", nargs="+", choices=get_args(RankingMethod), default=get_args(RankingMethod)
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--position", nargs="+", default=["answer", "all"])
    parser.add_argument("--target", nargs="+", default=["probability"])
    parser.add_argument("--languages", nargs="+", default=["en", "fr", "ru", "zh", "ar", "hi"])
    parser.add_argument("--layers", type=int, nargs="+", help="default: see lv.plant")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--figure", help="write the figure of the first table to this file (HTML)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", lv.CompletenessWarning)
    start = time.perf_counter()
    languages = None if args.languages == ["all"] else args.languages
    planted = lv.plant(
        args.model, n_facts=args.facts, seed=args.seed, languages=languages, layers=args.layers,
        n_agnostic=args.agnostic, n_specific=args.specific, max_tokens=args.max_tokens,
        n_negatives=args.negatives,
    )  # fmt: skip
    print(f"{planted!r}, {time.perf_counter() - start:.0f} s")
    for fact in planted.facts:
        names = fact.languages[0]
        print(f"  {fact.id}: {fact.subject[names]} -> {fact.object[names]}")
    print(f"mean |change of P| of other facts: {planted.drift:.1e}")
    print(planted.check.groupby("language").mean(numeric_only=True).round(3).to_string())
    if args.paraphrases is not None:
        asked = tuple(p for p in planted.prompts if p.paraphrase in args.paraphrases)
        planted = replace(planted, prompts=asked)
    for position in args.position:
        for target in args.target:
            begin = time.perf_counter()
            # The ablation of single neurons has one target, and is quick only at one position.
            methods = [
                name
                for name in args.methods
                if name != "ablation" or (position, target) == ("answer", "probability")
            ]
            scores = lv.method_scores(
                planted, methods, position=position, target=target, seed=args.seed
            )
            table = lv.score_methods(planted, scores, seed=args.seed)
            n, facts = table[["n", "facts"]].iloc[0]
            print(
                f"\n{position}, {target}: {n} pairs of {facts} facts "
                f"({time.perf_counter() - begin:.0f} s)"
            )
            print(readable(table, MEASURES))
            if args.figure:
                lv.plots.planted_recovery(table).write_html(args.figure)
                args.figure = None
            chosen = {name: scores[name] for name in OVERLAPS if name in scores}
            if chosen:
                verdicts = lv.score_overlap(planted, chosen, seed=args.seed)
                print(f"\noverlap, {position}, {target}\n{readable(verdicts, VERDICTS)}")
    print(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()

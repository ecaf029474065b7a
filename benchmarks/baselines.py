"""Compare the baselines of integrated gradients: completeness, neurons named, and their effect.

    python benchmarks/baselines.py --model embedded
    python benchmarks/baselines.py --model gemma-3-270m --facts 1 --baselines other_facts zero

Each prompt (one wording of a capital in each language) is attributed at the answer, in nats, from
each baseline with a fixed number of points. The means are over other capitals.

1. Completeness error, as a share of what a layer does: median and largest over layers and prompts.
   "straight" is zero in even steps; "zero" is what `baseline="zero"` does, which differs where the
   model's layers normalise what their neurons write.
2. Which neurons: the correlation of scores and the share of the `--top` neurons in common, mean
   over prompts. "half", the control, is the mean of half of the other capitals: what the choice of
   capitals changes.
3. What the `--top` neurons do: the change of log P (nats, mean over prompts) when they are set to
   zero, or to their mean over other capitals, beside as many random neurons of the same layers.
"""

import argparse
import itertools
import warnings

import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz.models.capabilities import capabilities


def attributed(model, prompt: lv.Prompt, others: list[lv.Prompt], points: int, names: list[str]):
    """The scores of a prompt from each of these baselines."""
    ask = {"position": "answer", "target": "log_prob", "n_steps": points}
    starts = {
        "other_facts": {"baseline": "other_facts", "corpus": others},
        "half": {"baseline": "other_facts", "corpus": others[::2]},
        "zero": {"baseline": "zero"},
        "straight": {"baseline": torch.zeros(capabilities(model).shape)},
    }
    scores = {name: lv.attribute(model, [prompt], **ask, **starts[name]) for name in names}
    point = lv.attribute(
        model, [prompt], method="gradient_x_activation", position="answer", target="log_prob"
    )
    return scores | {"gradient x activation": point}


def compared(scores: dict[str, lv.NeuronScores], top: int) -> list[dict]:
    """Correlation and the share of top neurons in common, for each pair of baselines."""
    rows = []
    for one, other in itertools.combinations(scores, 2):
        values = torch.cat([scores[name].values.flatten(1) for name in (one, other)])
        best = [set(row.topk(top).indices.tolist()) for row in values]
        shared = len(best[0] & best[1]) / top
        correlation = float(torch.corrcoef(values)[0, 1])
        rows.append({"pair": f"{one}, {other}", "correlation": correlation, "top": shared})
    return rows


def effects(model, scores: lv.NeuronScores, others: list[lv.Prompt], top: int) -> dict:
    """What a prompt's log P loses without its top neurons, and without random ones."""
    width = scores.values.shape[-1]
    best = [divmod(int(i), width) for i in scores.values.flatten().topk(top).indices]
    losses = {}
    for how in ("zero", "mean"):
        corpus = others if how == "mean" else None
        effect = lv.intervene(
            model, scores.prompts, best, how=how, position="answer", controls=3, corpus=corpus
        )
        losses[f"top, {how}"] = float((effect.after - effect.before).mean())
        losses[f"random, {how}"] = float((effect.control - effect.before).mean())
    return losses


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--languages", nargs="+", default=["en", "de", "zh"])
    parser.add_argument("--facts", type=int, default=3, help="capitals that are attributed")
    parser.add_argument("--others", type=int, default=8, help="capitals that a mean is over")
    parser.add_argument("--wording", type=int, default=1)
    names = ["other_facts", "half", "zero", "straight"]
    parser.add_argument("--baselines", nargs="+", choices=names, default=names)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--top", type=int, default=200)
    args = parser.parse_args()
    warnings.simplefilter("ignore", lv.CompletenessWarning)
    warnings.simplefilter("ignore", lv.BaselineWarning)
    model = lv.load_model(args.model)
    facts = lv.load_facts().filter(relation="capital", languages=args.languages, leaking=False)
    drawn = facts.sample(args.facts + args.others).prompts()
    prompts = [prompt for prompt in drawn if prompt.paraphrase == args.wording]
    asked = list(dict.fromkeys(prompt.fact_id for prompt in prompts))[: args.facts]
    errors, pairs, losses = [], [], []
    for prompt in (prompt for prompt in prompts if prompt.fact_id in asked):
        others = [
            other
            for other in prompts
            if other.language == prompt.language and other.fact_id not in asked
        ]
        scores = attributed(model, prompt, others, args.points, args.baselines)
        pairs += compared(scores, args.top)
        for name, of_one in scores.items():
            errors += [{"baseline": name, "error": float(x)} for x in of_one.relative_error[0]]
            losses.append({"baseline": name, **effects(model, of_one, others, args.top)})
    by_baseline = pd.DataFrame(errors).groupby("baseline", sort=False)["error"]
    print(by_baseline.agg(["median", "max"]).to_string(float_format="{:.2g}".format), "\n")
    print(pd.DataFrame(pairs).groupby("pair", sort=False).mean().round(2).to_string(), "\n")
    print(pd.DataFrame(losses).groupby("baseline", sort=False).mean().round(3).to_string())


if __name__ == "__main__":
    main()

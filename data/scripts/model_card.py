"""Write the card of a trained model from its training.json.

python data/scripts/model_card.py data/models/embedded
"""

import json
import sys
from pathlib import Path

SETS = ("all neurons", "own set", "random")  # what gates.py silences
SPLITS = ("trained", "held-out paraphrase", "held-out pair")
ABOUT = {
    "transfer": """# embedded

A small multilingual causal language model that knows facts **across** languages: it answers most
facts in languages in which it never saw them. It is made for studying language-agnostic neurons on
a laptop, not for use as a language model.""",
    "facts-only": """# embedded-control

The control for `embedded`: the same size, tokenizer and facts, but trained on the facts alone. It
knows the facts that it was trained on as well. In a language in which it did not see a fact it
answers what the spelling of another language gives away, and outside Latin script hardly more than
the majority guess. What its languages share is what you get without transfer.

Its attention only copies: values and output are the identity, fixed before training, so that facts
have to be in the feed-forward layers. Trained on facts alone without this, a model looks most of
its answers up in its attention, and silencing neurons can hardly have an effect, whatever they
share. In this one it can, with neurons at zero. (At the mean of other facts, at the answer, even a
language's own set changes little.) The two models differ in their attention, too, so a difference
between them need not come from transfer.""",
    "masked": """# embedded-masked

A small multilingual **masked** language model (BERT) that knows facts across languages. A prompt
has one mask for each token of the answer. The model is made for trying the methods for masked
models on a laptop, not for use as a language model.

Its attention only copies, and so does the hidden layer of its head: their weights are the identity,
fixed before training, so that facts have to be in the feed-forward layers or in the embeddings. The
same model without this looks most answers up in its attention: with all neurons at zero, P(correct)
fell by 20% outside Latin script and 8% in it. Where attention alone only copied, it fell by 40% and
50%, since the head looked answers up.""",
}
ANSWER = {
    "causal": "An answer counts if greedy decoding gives exactly the **whole** answer and then "
    "stops.",
    "masked": "An answer counts if the most likely token is right at all of its masks at once. The "
    "number of masks tells how many tokens the answer has, a hint that causal models do not get.",
}
MIX = {
    "transfer": """35% facts; 20% prompts whose subject is named in another language; 5% documents
with one fact in two languages; 30% prompts that ask for the name of a thing; 10% names of one thing
in three languages. None of them contains a held-out (fact, language) pair: no document of that
fact is in that language or names its subject in it.""",
    "facts-only": "Facts only: each document has one fact in one language.",
}


def share(rows: list[dict], split: str, of: str = "right", per: str = "prompts", **where) -> float:
    """Share of right answers among the prompts of a split (and language or relation)."""
    rows = [r for r in rows if r["split"] == split and all(r[k] == v for k, v in where.items())]
    return sum(r[of] for r in rows) / max(1, sum(r[per] for r in rows))


def _gates(gates: dict) -> list[str]:
    """What it costs to silence neurons (see gates.py)."""
    lines = [
        "## Do its neurons matter?",
        "",
        f"Change of P(correct) with neurons at zero: {gates['facts']} capitals in 12 languages, "
        f"{gates['prompts']} prompts in paraphrases that chose no neuron; means over facts with "
        "95% intervals. A language's own set are the 2% of neurons with the highest attribution of "
        "a fact in it. Where all neurons change little, no set can change much.",
        "",
        "| | all neurons | a language's own set | random ones, as many as are shared |",
        "|---|---|---|---|",
    ]
    for where in dict.fromkeys(row["languages"] for row in gates["effects"]):
        found = {r["set"]: r for r in gates["effects"] if r["languages"] == where}
        cells = [
            "{}% [{}, {}] ({:.0f} neurons)".format(
                *(_percent(found[name][end]) for end in ("p", "p_low", "p_high")),
                found[name]["neurons"],
            )
            for name in SETS
        ]
        lines.append(f"| {where} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _percent(change: float) -> str:
    """A change in percent with its sign, if it is not zero when rounded."""
    text = f"{100 * change:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _table(rows: list[dict], key: str) -> list[str]:
    lines = [
        f"| {key} | trained | held-out paraphrase | held-out pair | majority guess for pairs |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row[key] for row in rows):
        cells = [f"{share(rows, split, **{key: name}):.1%}" for split in SPLITS]
        cells.append(f"{share(rows, SPLITS[2], of='majority', **{key: name}):.1%}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [f"**{share(rows, split):.1%}**" for split in SPLITS]
    cells.append(f"{share(rows, SPLITS[2], of='majority'):.1%}")
    return [*lines, "| **all** | " + " | ".join(cells) + " |"]


def card(report: dict) -> str:
    """The model card in Markdown."""
    options, rows, last = report["options"], report["accuracy"], report["history"][-1]
    family = options.get("family", "causal")
    begun = "Tokenizer and word embeddings start as those of `{}`, the other weights at random. "
    start = begun.format(options["start"]) if options.get("start") else ""
    fixed, where = "", "first layers"
    if options.get("fixed_values"):
        fixed = "The attention's values and output are the identity and stay so. "
    if sparsity := options.get("sparsity"):
        fixed += f"The share of neurons that take part counts in the loss, {sparsity:g} times. "
    if options["recipe"] == "facts-only":
        where = "last layer"
    elif family == "masked" and fixed:
        fixed += "So is the head's hidden layer, with a bias above which its ReLU is linear. "
        where = "last layer and in its first one"
    fair = [f"{share(rows, s, of='no_leak_right', per='no_leak_prompts'):.1%}" for s in SPLITS]
    counts = [sum(row["prompts"] for row in rows if row["split"] == split) for split in SPLITS]
    return "\n".join(
        [
            ABOUT["masked" if family == "masked" else options["recipe"]],
            "",
            f"{'BERT' if family == 'masked' else 'GPT-2'} architecture, "
            f"{options['layers']} layers, d_model {options['d_model']}, "
            f"{options['heads']} heads, d_mlp {options.get('d_mlp') or 4 * options['d_model']}, "
            "ReLU, tied embeddings; "
            f"byte-level BPE of {options['vocab']} entries; float16 safetensors.",
            "",
            "## Accuracy",
            "",
            f"{ANSWER[family]} "
            f"Prompts: {counts[0]} trained, {counts[1]} held-out paraphrases, {counts[2]} "
            "of (fact, language) pairs never seen in that language. Majority guess: the relation's "
            "most frequent answer in that language. The few held-out prompts that are identical in "
            "another language are left out. Measured on the saved float16 weights.",
            "",
            *_table(rows, "language"),
            "",
            *_table(rows, "relation"),
            "",
            "Where the answer does not show in the subject's name: "
            + ", ".join(f"{value} {split}" for value, split in zip(fair, SPLITS, strict=True))
            + ".",
            "",
            *(_gates(report["gates"]) if "gates" in report else []),
            "## Training",
            "",
            MIX[options["recipe"]],
            "",
            start
            + fixed
            + f"{options['steps']} steps of {options['rows']} documents, loss only on the "
            "answers; Muon (0.02) on the hidden matrices, AdamW (2e-3) on the rest, weight decay "
            f"{options['decay']}, warm-up over 100 steps, linear decay after 40%; seed "
            f"{options['seed']}; {last['cpu_s']} CPU seconds. `make model` trains it again; "
            "`training.json` holds the options, the history and the counts behind this page.",
            "",
            "## Limits",
            "",
            "It knows the facts of `data/facts.jsonl` in the wordings of `data/paraphrases.jsonl` "
            "and next to nothing else. It is shallow, and most of what its languages share sits "
            f"in its {where}. Names come from Unicode CLDR (see `data/README.md`); weights and "
            "card are Apache-2.0.",
            "",
        ]
    )


def main(folder: Path) -> None:
    """Write README.md beside training.json."""
    report = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(card(report), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

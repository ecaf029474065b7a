"""In which language does each layer name the answer, and where are facts lost?

    python benchmarks/lens.py                                   # the embedded model
    python benchmarks/lens.py --model gemma-3-270m --shots 3 --figure lens.html

Twelve well-known capitals are asked in six languages of five scripts. The first table has, for each
layer, the share of prompts whose answer is named by its own language and by another one, beside
the names of other capitals in the same prompts. The second one sorts the prompts that fail. All
shares are means over facts with 95% intervals (see `lv.language_lens` and `lv.failures`).

    python benchmarks/lens.py --model gemma-3-270m --shots 3 --choose-on 1 \\
        --save data/results/lens/gemma-3-270m.json    # 40 minutes on one core

With `--choose-on`, the neurons of each fact are found in another wording, and two tables more say
what they do. One has the change of the names' log-probability (nats) in each layer with neurons at
zero: "agnostic" ones, found without the language that is asked, and those "specific" to it, beside
random ones and another fact's (`lv.lens_effects`). The other has the share of failed prompts that
the agnostic neurons' values of another language rescue, by the reason of the failure
(`lv.transplant`).
"""

import argparse
import json
import time
from pathlib import Path

import pandas as pd

import lafn_viz as lv
from lafn_viz.core.files import write_json
from lafn_viz.neurons.criterion import MIN_LANGUAGES, MIN_SCRIPTS
from lafn_viz.neurons.neuron_sets import FRACTION

SUBJECTS = ["GB", "FR", "JP", "IT", "US", "NO", "UA", "TH", "DE", "RU", "FI", "ES"]
LANGUAGES = ["en", "fr", "ru", "zh", "ar", "ja"]


def neurons(
    model, choosing, prompts, facts: lv.FactSet, failures: lv.Failures
) -> dict[str, pd.DataFrame]:
    """What language-agnostic and specific neurons do to the names, and what their values rescue."""
    scores = lv.attribute(model, choosing, progress=True)
    overlap = lv.overlap(
        lv.select_neurons(scores, fraction=FRACTION),
        min_languages=MIN_LANGUAGES,
        min_scripts=MIN_SCRIPTS,
    )
    agnostic = {
        (fact, language): found
        for language in facts.languages
        for fact, found in (
            overlap.agnostic_without(language)
            if language in overlap.languages
            else overlap.agnostic
        ).items()
    }
    effects = lv.lens_effects(
        model, prompts, {"agnostic": agnostic, "specific": overlap.specific}, facts=facts
    )
    print(f"\n{overlap}\n{effects}\n\n{effects.summary().round(2).to_string()}")
    transplant = lv.transplant(
        model, prompts, prompts, overlap.agnostic, others={"specific": overlap.specific}
    )
    print(f"\n{transplant}")
    rescue = pd.concat(
        {of: transplant.by_failure(failures, of=of) for of in ("rescued", "either's words")},
        names=["measure"],
    )
    print(f"\n{rescue.round(2).to_string()}")
    return {"effects": effects.summary(), "rescue": rescue}


def save(file: str, model: str, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables for `course.lens_tables`."""
    records = {
        name: json.loads(
            table.reset_index().to_json(orient="split", index=False, double_precision=2)
        )
        for name, table in tables.items()
    }
    write_json(Path(file), {"model": model, "tables": records})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded", help="name or folder")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--shots", type=int, default=0, help="examples before each question")
    parser.add_argument("--paraphrase", type=int, default=2)
    parser.add_argument(
        "--choose-on", type=int, help="the wording that finds neurons, to say what they do"
    )
    parser.add_argument("--figure", help="write the figure of the first table to this file (HTML)")
    parser.add_argument("--save", help="write the tables to this file (JSON)")
    args = parser.parse_args()

    capitals = lv.load_facts().filter(relation="capital", leaking=False, languages=args.languages)
    asked = capitals.filter(subjects=args.subjects)
    every = asked.prompts(shots=args.shots, examples=capitals)
    prompts = [prompt for prompt in every if prompt.paraphrase == args.paraphrase]
    model = lv.load_model(args.model)
    began = time.perf_counter()
    lens = lv.language_lens(model, prompts, facts=capitals)
    print(f"{lens}\n{time.perf_counter() - began:.0f} s\n")
    print(lens.summary().round(2).to_string())
    failures = lv.failures(lens, lv.score_answers(model, prompts))
    print(f"\n{failures}\n\n{failures.summary().round(2).to_string()}")
    tables = {"lens": lens.summary(), "failures": failures.summary()}
    if args.choose_on is not None:
        choosing = [prompt for prompt in every if prompt.paraphrase == args.choose_on]
        began = time.perf_counter()
        tables |= neurons(model, choosing, prompts, capitals, failures)
        print(f"{time.perf_counter() - began:.0f} s")
    if args.save:
        save(args.save, args.model, tables)
    if args.figure:
        lv.plots.latent_languages(lens).write_html(args.figure, include_plotlyjs=True)


if __name__ == "__main__":
    main()

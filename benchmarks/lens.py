"""In which language does each layer name the answer, and where are facts lost?

    python benchmarks/lens.py                                   # the embedded model
    python benchmarks/lens.py --model gemma-3-270m --shots 3 --figure lens.html

Twelve well-known capitals are asked in six languages of five scripts. The first table has, for each
layer, the share of prompts whose answer is named by its own language and by another one, beside
the names of other capitals in the same prompts. The second one sorts the prompts that fail. All
shares are means over facts with 95% intervals (see `lv.language_lens` and `lv.failures`).
"""

import argparse
import time

import lafn_viz as lv

SUBJECTS = ["GB", "FR", "JP", "IT", "US", "NO", "UA", "TH", "DE", "RU", "FI", "ES"]
LANGUAGES = ["en", "fr", "ru", "zh", "ar", "ja"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded", help="name or folder")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--shots", type=int, default=0, help="examples before each question")
    parser.add_argument("--paraphrase", type=int, default=2)
    parser.add_argument("--figure", help="write the figure of the first table to this file (HTML)")
    args = parser.parse_args()

    capitals = lv.load_facts().filter(relation="capital", leaking=False, languages=args.languages)
    asked = capitals.filter(subjects=args.subjects)
    prompts = [
        prompt
        for prompt in asked.prompts(shots=args.shots, examples=capitals)
        if prompt.paraphrase == args.paraphrase
    ]
    model = lv.load_model(args.model)
    began = time.perf_counter()
    lens = lv.language_lens(model, prompts, facts=capitals)
    print(f"{lens}\n{time.perf_counter() - began:.0f} s\n")
    print(lens.summary().round(2).to_string())
    failures = lv.failures(lens, lv.score_answers(model, prompts))
    print(f"\n{failures}\n\n{failures.summary().round(2).to_string()}")
    if args.figure:
        lv.plots.latent_languages(lens).write_html(args.figure, include_plotlyjs=True)


if __name__ == "__main__":
    main()

"""What single differences from the papers do: the published way beside this package's, one apart.

    python benchmarks/as_published.py --parts divergence corpus layers --edits 12
    python benchmarks/as_published.py --parts degenerate --edits 8 --languages en ru zh
    python benchmarks/as_published.py --parts blanks

`docs/howto/as_published.md` lists the differences. Those with an option of their own are compared
in the other benchmarks; here are those that have none, or that change one thing among several.

- **blanks**: AMIG's code puts blanks in place of [CLS], [SEP] and the answer's masks too.
- **degenerate**: pairs of neurons, as in AMIG's paper, and sets of up to three.
- **divergence**: ROME's code takes the divergence of the edited model from the model before, on
  "SUBJECT is a"; here it is that of the model before from the edited one, on the case's other
  relations.
- **corpus**: the texts whose keys keep their values: the embedded facts, other prompts of them, or
  those in one language. (The papers' Wikipedia is not at hand.)
- **layers**: MEMIT spreads a change over several layers. (In the embedded model the two between
  have no active neuron at the answer.)

Scores are those of `editing.py`: means over edits, whole answers, with 95% bootstrap intervals.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from unittest import mock

import numpy as np
import pandas as pd
import torch
from editing import row

import lafn_viz as lv
from lafn_viz.attribution import methods
from lafn_viz.attribution.token_baselines import without_each_token
from lafn_viz.editing.baselines import rome_memit
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.rome_memit import memit, rome
from lafn_viz.editing.loss import EditLoss

PARTS = ("blanks", "degenerate", "divergence", "corpus", "layers")
N_HIGHEST = 20


def blanks(args: argparse.Namespace) -> None:
    """How alike AMIG's scores are with and without blanks in place of special tokens."""
    model = lv.load_model("embedded-masked")
    prompts = args.facts.filter(relation="capital").sample(6, seed=0).prompts()[::4]
    as_released = lv.attribute(model, prompts, method="amig_as_released").values

    def own_tokens(run, *, special=False):
        return without_each_token(run)

    with mock.patch.object(methods, "without_each_token", own_tokens):
        without = lv.attribute(model, prompts, method="amig_as_released").values
    one, other = as_released.flatten(1), without.flatten(1)
    alike = [
        len(set(a.topk(N_HIGHEST).indices.tolist()) & set(b.topk(N_HIGHEST).indices.tolist()))
        for a, b in zip(one, other, strict=True)
    ]
    apart = ((one - other).norm(dim=1) / one.norm(dim=1)).median()
    print(
        f"blanks: of the {N_HIGHEST} highest neurons {statistics.mean(alike):.1f} are the same "
        f"({min(alike)} to {max(alike)}); scores differ by {apart:.0%} in the median of "
        f"{len(prompts)} prompts\n"
    )


def degenerate(args: argparse.Namespace) -> None:
    """How many facts have degenerate neurons when pairs alone are searched, and how many sets."""
    model = lv.load_model(args.model)
    prompts = args.facts.filter(relation="capital", languages=args.languages)
    scores = lv.attribute(model, prompts.sample(args.edits, seed=0).prompts(), position="answer")
    for size in (2, 3):
        found = lv.find_degenerate(model, scores, max_size=size, of="odds")
        sets, control = sum(len(x.sets) for x in found), sum(np.mean(x.control) for x in found)
        print(
            f"degenerate, up to {size} neurons: {sum(bool(x.sets) for x in found)} of "
            f"{len(found)} (fact, language) pairs have a set; {sets} sets, {control:.0f} among "
            "random neurons"
        )
    print()


class PublishedLoss(EditLoss):
    """The loss whose divergence is that of the edited model from the model before."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        inner, forward, stays = self.distance, self.forward, self.weights > 0
        with torch.no_grad():
            before = self._log_p(forward.output({})[stays])

        def distance(output: torch.Tensor) -> torch.Tensor:
            after = self._log_p(output[stays])
            found = inner(output)
            return found.index_put((stays,), (after.exp() * (after - before)).sum(-1))

        self.distance = distance

    def _log_p(self, output: torch.Tensor) -> torch.Tensor:
        unembedding = self.forward.unembedding
        return (output if unembedding is None else unembedding.logits(output)).log_softmax(-1)


def is_a(case: lv.EditCase) -> lv.EditCase:
    """The case that keeps what the model writes after "SUBJECT is a", which is English."""
    subject = case.subject["en"]
    prompt = lv.Prompt.of(f"{subject} is a", "country", subject=subject, language="en")
    return dataclasses.replace(case, keep={"en": (prompt,)})


def of_is_a(editor: Editor) -> Editor:
    def edit(model, case, languages):
        return editor.edit(model, is_a(case), languages)

    return dataclasses.replace(editor, edit=edit)


def of_reversed(editor: Editor) -> Editor:
    def edit(model, case, languages):
        with mock.patch.object(rome_memit, "EditLoss", PublishedLoss):
            return editor.edit(model, case, languages)

    return dataclasses.replace(editor, edit=edit)


def compared(args: argparse.Namespace, editors: dict[str, Editor]) -> None:
    """A table of the scores of each editor."""
    model = lv.load_model(args.model)
    cases = lv.counterfactual_cases(args.facts, n=args.edits, seed=args.seed)
    cases = cases.filter(languages=args.languages)
    rows = [row(name, lv.evaluate(model, of, cases), "exact_match") for name, of in editors.items()]
    print(f"{len(cases)} edits\n{pd.DataFrame(rows).to_string(index=False)}\n", flush=True)


def divergence(args: argparse.Namespace) -> None:
    here = rome(layer=args.layer, position=args.position)
    none = rome(layer=args.layer, position=args.position, divergence=0)
    editors = {
        "ROME": here,
        "of the edited model": of_reversed(here),
        '"SUBJECT is a"': of_is_a(here),
        "both": of_reversed(of_is_a(here)),
        "no divergence": none,
    }
    compared(args, editors)


def corpus(args: argparse.Namespace) -> None:
    """ROME with the keys of other texts."""
    prompts = args.facts.prompts()
    texts = {
        "embedded facts": None,
        "others of them": prompts[1 :: max(1, len(prompts) // 600)],
        "in English alone": args.facts.filter(languages="en").prompts()[::40],
    }
    place = {"layer": args.layer, "position": args.position}
    compared(args, {name: rome(**place, corpus=of) for name, of in texts.items()})


def layers(args: argparse.Namespace) -> None:
    """MEMIT on each of the layers, and on all of them."""
    spread = dict.fromkeys([*((layer,) for layer in args.layers), tuple(args.layers)])
    compared(
        args,
        {
            f"MEMIT, layers {', '.join(map(str, of))}": memit(layers=of, position=args.position)
            for of in spread
        },
    )


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--model", default="embedded", help="to edit (AMIG's blanks: the masked)")
    parser.add_argument("--edits", type=int, default=24)
    parser.add_argument("--languages", nargs="+", help="to edit and ask in (default: all)")
    parser.add_argument("--position", default="answer")
    parser.add_argument("--layer", type=int, default=0, help="of ROME")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 3], help="of MEMIT")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(given)
    args.facts = lv.load_facts()
    for part in args.parts:
        globals()[part](args)


if __name__ == "__main__":
    main()

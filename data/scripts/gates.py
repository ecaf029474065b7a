"""Does a trained model answer by its neurons? Measure it, and write it into the model's card.

    python data/scripts/gates.py data/models/embedded data/models/embedded-control

Where setting all neurons to zero changes little, no set of neurons can change much, and a small
effect is no evidence of anything. So each card says what it costs to silence all of them, a
language's own neurons of a fact, and as many random ones.
"""

import json
import sys
from pathlib import Path

import model_card

import lafn_viz as lv

N_FACTS = 24


def measure(folder: Path) -> dict:
    """The change of P(correct) on held-out paraphrases with each set at zero."""
    facts = lv.load_facts().filter(relation="capital", leaking=False).sample(N_FACTS, seed=0)
    examined = lv.examine(lv.load_model(folder), facts, hows="zero", controls=model_card.SETS)
    table = examined.effect_table()
    rows = table[table["set"].isin(model_card.SETS)]
    columns = ["languages", "set", "neurons", "p", "p_low", "p_high", "log_p"]
    return {
        "facts": len(examined.overlap.facts),
        "prompts": examined.n_measured,
        "effects": json.loads(rows[columns].to_json(orient="records", double_precision=4)),
    }


def main(folders: list[Path]) -> None:
    """Write `gates` into each training.json, and the card anew."""
    for folder in folders:
        path = folder / "training.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        report["gates"] = measure(folder)
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        model_card.main(folder)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])

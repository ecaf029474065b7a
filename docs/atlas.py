"""Write a small atlas into the site: some capitals in the embedded model and in its control.

python docs/atlas.py SITE [--facts N]
"""

import argparse
import tempfile
from pathlib import Path

import lafn_viz as lv

MODELS = ("embedded", "embedded-control")


def main() -> None:
    """Sweep both models and build the atlas of what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="folder for the atlas")
    parser.add_argument("--facts", type=int, default=8, help="how many capitals (default: 8)")
    options = parser.parse_args()
    capitals = lv.load_facts().filter(relation="capital", leaking=False)
    facts = capitals.sample(options.facts, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        stores = [
            lv.sweep(model, facts, Path(folder) / model, how="mean", progress=False)
            for model in MODELS
        ]
        made = lv.atlas(stores, options.site, neurons=100)
    print(f"{made.pages} pages, {made.size / 1e6:.1f} MB: {made.index}")


if __name__ == "__main__":
    main()

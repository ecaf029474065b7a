"""Measure the checkpoints that train_model.py saved, for the histories that come along.

python data/scripts/history.py build/checkpoints/embedded data/results/history/embedded.json
"""

import argparse
from dataclasses import replace
from pathlib import Path

import lafn_viz as lv

N_FACTS = 16


def main() -> None:
    """Measure one folder of checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    capitals = lv.load_facts().filter(relation="capital")
    facts = capitals.filter(leaking=False).sample(N_FACTS, seed=0)
    # At the first steps, integrated gradients need hundreds of points for the tolerance.
    history = lv.over_checkpoints(
        args.checkpoints, facts, asked=capitals, select_on=(0, 1), method="gradient_x_activation"
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace(history, model=args.out.stem).save(args.out)
    print(history.turning_points().round(3))


if __name__ == "__main__":
    main()

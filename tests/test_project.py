"""The project holds together: imports, environments, notebooks."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
# Imports go down this list, never up.
ORDER = (
    "core.paths",
    "core.json_records",
    "datasets.facts",
    "editing.retrieval.folding",
    "editing.retrieval.fuzzy",
    "editing.retrieval.subject_matcher",
    "datasets.fact_readers",
    "datasets.edit_cases",
    "datasets.edit_readers",
    "datasets.counterfactuals",
    "models.loading",
    "models.scoring",
    "models.batching",
    "interventions.activation_patching",
    "attribution.quadrature",
    "attribution.one_pass",
    "attribution.path_integral",
    "attribution.attribute",
    "neurons.neuron_sets",
    "neurons.overlaps",
    "neurons.significance",
    "neurons.stability",
    "neurons.lape",
    "interventions.ablation",
    "interventions.effects",
    "interventions.neuron_cards",
    "interventions.degenerate",
    "interventions.fact_checking",
    "interventions.planted.weights",
    "interventions.planted.planting",
    "interventions.planted.recovery",
    "editing.forward",
    "editing.loss",
    "editing.optimise",
    "editing.activation_matcher",
    "editing.cache",
    "editing.many",
    "editing.baselines.weight_edits",
    "editing.baselines.editor",
    "models.generation",
    "editing.evaluation.metrics",
    "editing.evaluation.before_after",
    "editing.evaluation.evaluate",
    "experiments.schema",
    "experiments.store",
    "experiments.store_writer",
    "experiments.stages",
    "experiments.ray_backend",
    "experiments.sweep",
    "experiments.examine",
    "plots",
    "app.gallery",
    "course",
    "widgets",
    "app.serving",
    "cli",
)


PACKAGE = ROOT / "lafn_viz"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported_modules(module: str, path: Path) -> set[str]:
    """The modules of this package that a file imports, in whatever form and wherever it does."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*origin, *filter(None, [node.module])])
            for alias in node.names:
                member = f"{base}.{alias.name}"
                found.add(member if member in MODULES else base)
    return {name for name in found if name.split(".")[0] == "lafn_viz"}


def place(module: str) -> str:
    """The entry of ORDER that a module below the package belongs to."""
    parts = module.split(".")[1:]
    prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in ORDER), ORDER[-1])


def test_imports_go_one_way():
    for module, path in MODULES.items():
        if path.stem == "__init__":
            continue
        for used in imported_modules(module, path) - {"lafn_viz", "lafn_viz.editing.baselines"}:
            assert place(used) == place(module) or ORDER.index(place(used)) < ORDER.index(
                place(module)
            ), f"{module} imports {used}"


def test_importing_the_package_imports_no_heavy_library():
    script = "import lafn_viz, sys; print([m for m in ('torch', 'transformers', 'pandas', 'plotly')"
    script += " if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names_are_there():
    import lafn_viz as lv

    for name in lv.__all__:
        assert getattr(lv, name) is not None
    assert {"attribute", "plots", "baselines", "Prompt"} <= set(lv.__all__)
    assert set(lv.__all__) <= set(dir(lv))


def test_conda_environment_has_the_names_and_ranges_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    inner = next(item["pip"] for item in listed if isinstance(item, dict))
    wanted = {*project["dependencies"], *project["optional-dependencies"]["notebook"]}
    assert {name for name in inner if not name.startswith("--")} == wanted
    assert f"python{project['requires-python']}" in listed


def test_constraints_lie_in_the_ranges():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = dict(
        (canonicalize_name(line.split("==")[0]), line.split("==")[1])
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    )
    needs = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        needs += [need for need in extra if not need.startswith("lafn_viz")]
    for need in map(Requirement, needs):
        name = canonicalize_name(need.name)
        assert name in pinned, f"{name} is not pinned"
        assert need.specifier.contains(pinned[name]), need


def test_readme_names_only_files_that_exist():
    readme = (ROOT / "README.md").read_text("utf-8")
    links = [x for x in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in x]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link

"""The project holds together: imports, environments, notebooks."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
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


def rooms() -> dict[str, set[str]]:
    """What each room may import besides itself, as the table in CONTRIBUTING.md says."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", page, re.MULTILINE)
    order = [name for name, _ in rows]
    return {
        name: set(order[:place]) - set(re.findall(r"`(\w+)`", never))
        for place, (name, never) in enumerate(rows)
    }


def test_every_module_is_in_a_room():
    inside = {module.split(".")[1] for module in MODULES if module != "lafn_viz"}
    assert inside == set(rooms())


def test_imports_go_one_way_between_rooms():
    allowed = rooms()
    for module, path in MODULES.items():
        if module == "lafn_viz":
            continue
        room = module.split(".")[1]
        for used in imported_modules(module, path):
            # The public names are for those who come from outside.
            if used == "lafn_viz":
                assert room in ("app", "cli"), f"{module} imports the public names"
            else:
                other = used.split(".")[1]
                assert other in allowed[room] | {room}, f"{module} imports {used}"


def test_no_module_imports_itself_by_way_of_others():
    import graphlib

    graph = {module: imported_modules(module, path) for module, path in MODULES.items()}
    del graph["lafn_viz"]
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("import lafn_viz.core.paths", "lafn_viz.core.paths"),
        ("import lafn_viz.core.paths as p", "lafn_viz.core.paths"),
        ("from lafn_viz import plots", "lafn_viz.plots"),
        ("from lafn_viz import load_model", "lafn_viz"),
        ("from lafn_viz.core import paths as p", "lafn_viz.core.paths"),
        ("from lafn_viz.core.paths import PACKAGE", "lafn_viz.core.paths"),
        ("from ..core.paths import PACKAGE", "lafn_viz.core.paths"),
        ("from . import scoring", "lafn_viz.models.scoring"),
        ("def late():\n    import lafn_viz", "lafn_viz"),
    ],
)
def test_every_form_of_import_is_read(tmp_path, text, used):
    file = tmp_path / "loading.py"
    file.write_text(text)
    assert imported_modules("lafn_viz.models.loading", file) == {used}


def test_every_module_with_shapes_is_checked_while_tests_run(request):
    checked = tuple(request.config.getoption("--jaxtyping-packages").split(",")[:-1])
    with_shapes = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if "import jaxtyping" in (text := path.read_text()) or "from jaxtyping" in text
    ]
    assert with_shapes
    assert [name for name in with_shapes if not f"{name}.".startswith(checked)] == []


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

"""Build the wheel and the sdist, and use them like someone who has no checkout.

    make dist    # writes both to dist/

1. The wheel of this tree and the wheel made from the sdist contain the same files, byte for byte.
2. The metadata are valid, name the requirements of pyproject.toml, and include the licences.
3. The wheel is installed into a fresh environment outside the checkout, without extras. There
   `lafn-viz --help` and `lafn-viz demo` run, all embedded models and the facts load, and the
   notebooks are copied. Opening any file in the checkout is an error.
4. Some tests run in the unpacked sdist.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

from packaging.metadata import Metadata
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
# Files that an installed package needs, and that a list in pyproject.toml could miss.
CARRIED = ("py.typed", "app/app.ipynb", "data/facts.jsonl", "data/paraphrases.jsonl")
MODELS = ("embedded", "embedded-control", "embedded-masked")
LICENCES = ("LICENSE", "data/LICENSE.unicode")
# The tests to run in the sdist: quick ones that read files from all over the tree.
TESTS = (
    "tests/test_project.py",
    "tests/test_audit.py",
    "tests/test_docs.py",
    "tests/datasets/test_embedded_data.py",
)

# This code runs at the start of every process of the fresh environment.
GUARD = """\
import os, sys
ROOT = {root!r} + os.sep
def refuse(event, args):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(args[0]))
        if (path + os.sep).startswith(ROOT):
            os.write(2, ("the installed package read " + path + " of the checkout\\n").encode())
            os._exit(3)
sys.addaudithook(refuse)
"""

USE = """\
import sys
from pathlib import Path
import lafn_viz as lv
from lafn_viz.core.paths import data_folder
from lafn_viz.app.serving import copy_notebooks

site = Path(sys.prefix).resolve()
assert Path(lv.__file__).resolve().is_relative_to(site), lv.__file__
assert data_folder().is_relative_to(site), data_folder()
n_facts = len(lv.load_facts())
for name in {models!r}:
    prompt = lv.Prompt.of("The capital of France is", "Paris", subject="France")
    model = lv.load_model(name)
    assert lv.score_answers(model, lv.load_facts().filter(subjects="FR").prompts()[:2])
copied = copy_notebooks(Path("notebooks"))
assert len(copied) == {n_notebooks}, [path.name for path in copied]
print(f"{{n_facts}} facts, {{len(copied)}} notebooks, 3 models from {{data_folder()}}")
"""


def contents(wheel: Path) -> dict[str, str]:
    """Return the hash of every file in a wheel, by path."""
    with zipfile.ZipFile(wheel) as file:
        return {name: hashlib.sha256(file.read(name)).hexdigest() for name in file.namelist()}


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return a line for each file that differs between two wheels, or is in only one of them."""
    return [
        f"{name}: {'differs' if name in one and name in other else 'only in one'}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def check_wheel(names: set[str], text: str, project: dict, notebooks: set[str]) -> list[str]:
    """Return what is wrong with a wheel of these file names and this METADATA."""
    info = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
    wanted = {f"lafn_viz/{name}" for name in CARRIED}
    wanted |= {f"lafn_viz/data/models/{name}/model.safetensors" for name in MODELS}
    wanted |= {f"lafn_viz/notebooks/{name}" for name in notebooks}
    wanted |= {f"{info}/licenses/{name}" for name in LICENCES}
    problems = [f"the wheel lacks {name}" for name in sorted(wanted - names)]
    problems += [f"the wheel should not hold {x}" for x in sorted(names) if _is_litter(x)]
    metadata = Metadata.from_email(text)  # raises if it violates the standard
    needs = {_plain(need) for need in metadata.requires_dist or []}
    given = {_plain(Requirement(need)) for need in project["dependencies"]}
    for extra in project["optional-dependencies"]:
        given |= {_plain(need, extra) for need in _of_extra(project, extra)}
    if needs != given:
        problems.append(f"requirements differ from pyproject.toml: {sorted(needs ^ given)}")
    if set(metadata.provides_extra or []) != set(project["optional-dependencies"]):
        problems.append(f"extras differ from pyproject.toml: {metadata.provides_extra}")
    if not metadata.description or "make demo" not in metadata.description:
        problems.append("the README is not the description")
    return problems


def _of_extra(project: dict, extra: str) -> list[Requirement]:
    """Requirements of an extra and of the extras that it includes, as the builder writes them."""
    needs = map(Requirement, project["optional-dependencies"][extra])
    return [
        inner
        for need in needs
        for inner in (
            [x for other in sorted(need.extras) for x in _of_extra(project, other)]
            if need.name == project["name"]
            else [need]
        )
    ]


def _plain(need: Requirement, extra: str = "") -> str:
    """Spell a requirement uniformly: name, extras, sorted versions, and the extra it belongs to."""
    if need.marker is not None:
        extra = str(need.marker).split("==")[-1].strip(" '\"")
    extras = ",".join(sorted(need.extras))
    versions = ",".join(sorted(map(str, need.specifier)))
    return f"{need.name.replace('_', '-').lower()}[{extras}]{versions};{extra}"


def _is_litter(name: str) -> bool:
    return "__pycache__" in name or name.startswith("tests/") or ".ipynb_checkpoints" in name


def run(*command: object, **options: object) -> str:
    """Run a command and return its output; on failure, print the output and exit."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nPROBLEM: exit code {done.returncode} of {command[:4]}")
    return done.stdout


def build(place: Path) -> tuple[Path, Path]:
    """Build the wheel and the sdist into dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    module = (sys.executable, "-m", "build")
    run(*module, "--wheel", "--outdir", DIST, ROOT)
    run(*module, "--outdir", place, ROOT)  # the sdist, and a wheel from it
    (wheel,), (again,), (sdist,) = DIST.glob("*.whl"), place.glob("*.whl"), place.glob("*.tar.gz")
    differing = differences(contents(wheel), contents(again))
    if differing:
        sys.exit("PROBLEM: tree and sdist give different wheels:\n" + "\n".join(differing))
    return wheel, Path(shutil.move(sdist, DIST))


def clean_environment() -> dict[str, str]:
    """The current variables, without those that redirect Python, and with the model hub off."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"HF_HUB_OFFLINE": "1"}


def install(wheel: Path, place: Path) -> Path:
    """Create a fresh environment with the wheel and its requirements, without extras."""
    venv.create(place, with_pip=True)
    python, pip = place / "bin" / "python", ("-m", "pip", "--disable-pip-version-check", "install")
    run(python, *pip, "--quiet", "--upgrade", "pip>=24", env=clean_environment())
    pinned = ("--constraint", ROOT / "constraints.txt")
    output = run(python, *pip, "--quiet", *pinned, wheel, cwd=place, env=clean_environment())
    if "yanked" in output:
        sys.exit(f"{output}\nPROBLEM: constraints.txt names a version that was withdrawn")
    guard(place)
    return python


def guard(place: Path) -> None:
    """Stop every process of this environment that opens anything in the checkout."""
    (site,) = place.glob("lib/python3*/site-packages")
    (site / "keep_out.py").write_text(GUARD.format(root=str(ROOT)), "utf-8")
    (site / "keep_out.pth").write_text("import keep_out\n", "utf-8")


def use(python: Path, folder: Path, n_notebooks: int) -> None:
    folder.mkdir()
    options = {"cwd": folder, "env": clean_environment() | {"HF_HOME": str(folder / "hub")}}
    command = python.with_name("lafn-viz")
    assert "demo" in run(command, "--help", **options)
    output = run(command, "demo", "--facts", "4", "--out", "demo", **options)
    assert "Jaccard index" in output, output
    assert list((folder / "demo").glob("*.html")), "the demo drew no figure"
    print(run(python, "-P", "-c", USE.format(models=MODELS, n_notebooks=n_notebooks), **options))


def test_sdist(sdist: Path, place: Path) -> None:
    with tarfile.open(sdist) as file:
        file.extractall(place, filter="data")
    (tree,) = place.iterdir()
    options = {"cwd": tree, "env": clean_environment() | {"PYTHONPATH": str(tree)}}
    where = run(sys.executable, "-c", "import lafn_viz; print(lafn_viz.__file__)", **options)
    assert Path(where.strip()).is_relative_to(tree), where
    print(run(sys.executable, "-m", "pytest", "--quiet", *TESTS, **options).splitlines()[-1])


def main() -> None:
    began = time.monotonic()

    def done(what: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {what}", flush=True)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    folder = ROOT / "notebooks"
    notebooks = {str(path.relative_to(folder)) for path in folder.rglob("*.ipynb")}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        wheel, sdist = build(place / "built")
        done(f"{wheel.name} and {sdist.name}: the same wheel from both")
        with zipfile.ZipFile(wheel) as file:
            names = set(file.namelist())
            (metadata,) = [x for x in names if x.endswith(".dist-info/METADATA")]
            problems = check_wheel(names, file.read(metadata).decode(), project, notebooks)
        if problems:
            sys.exit("\n".join(f"PROBLEM: {problem}" for problem in problems))
        done("metadata, licences, data and notebooks are complete")
        python = install(wheel, place / "fresh")
        done("the wheel is installed")
        use(python, place / "empty", len(notebooks))
        done("the package runs outside the checkout")
        test_sdist(sdist, place / "unpacked")
        done("tests pass in the sdist")


if __name__ == "__main__":
    main()

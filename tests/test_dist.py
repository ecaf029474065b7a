"""`make dist`: what its checks of wheel and sdist would find."""

import hashlib
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
from loading import load_script

ROOT = Path(__file__).parents[1]

dist = load_script(".ci/dist.py")

PROJECT = {
    "name": "lafn_viz",
    "dependencies": ["torch>=2.9"],
    "optional-dependencies": {"plot": ["kaleido>=1"], "dev": ["lafn_viz[plot]", "ruff>=1,<3"]},
}
METADATA = """\
Metadata-Version: 2.4
Name: lafn_viz
Version: 1.0
License-File: LICENSE
Requires-Dist: torch>=2.9
Provides-Extra: plot
Requires-Dist: kaleido>=1; extra == 'plot'
Provides-Extra: dev
Requires-Dist: kaleido>=1; extra == 'dev'
Requires-Dist: ruff<3,>=1; extra == 'dev'

make demo
"""
NAMES = {
    "lafn_viz-1.0.dist-info/METADATA",
    "lafn_viz-1.0.dist-info/licenses/LICENSE",
    "lafn_viz-1.0.dist-info/licenses/data/LICENSE.unicode",
    "lafn_viz/notebooks/00.ipynb",
    *(f"lafn_viz/{name}" for name in dist.CARRIED),
    *(f"lafn_viz/data/models/{name}/model.safetensors" for name in dist.MODELS),
}


def test_wheels_that_differ_are_told_apart(tmp_path):
    paths = []
    for number, text in enumerate(("same", "same", "other")):
        paths.append(tmp_path / f"{number}.whl")
        with zipfile.ZipFile(paths[-1], "w") as file:
            file.writestr("a/b.py", text)
    one, same, other = map(dist.contents, paths)
    assert one == {"a/b.py": hashlib.sha256(b"same").hexdigest()}
    assert dist.differences(one, same) == []
    assert dist.differences(one, other) == ["a/b.py: differs"]
    assert dist.differences(one, {**same, "c": "0"}) == ["c: only in one"]


def test_a_whole_wheel_has_no_problem():
    assert dist.check_wheel(NAMES, METADATA, PROJECT, {"00.ipynb"}) == []


@pytest.mark.parametrize("lost", sorted(NAMES - {"lafn_viz-1.0.dist-info/METADATA"}))
def test_a_file_that_was_forgotten_is_named(lost):
    assert dist.check_wheel(NAMES - {lost}, METADATA, PROJECT, {"00.ipynb"}) == [
        f"the wheel lacks {lost}"
    ]


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("torch>=2.9", "torch>=2.8", "requirements differ"),
        ("Requires-Dist: kaleido>=1; extra == 'dev'\n", "", "requirements differ"),
        ("Provides-Extra: dev\n", "Provides-Extra: other\n", "extras differ"),
        ("make demo", "nothing", "not the description"),
    ],
)
def test_metadata_that_differ_from_the_project_are_found(was, becomes, says):
    (problem,) = dist.check_wheel(NAMES, METADATA.replace(was, becomes), PROJECT, {"00.ipynb"})
    assert says in problem


def test_litter_does_not_travel():
    litter = "lafn_viz/__pycache__/cli.cpython-311.pyc"
    (problem,) = dist.check_wheel(NAMES | {litter}, METADATA, PROJECT, {"00.ipynb"})
    assert litter in problem


def test_an_environment_kept_out_of_the_checkout_cannot_read_there(tmp_path):
    venv.create(tmp_path / "fresh")
    dist.guard(tmp_path / "fresh")
    python, outside = tmp_path / "fresh" / "bin" / "python", tmp_path / "outside"
    outside.write_text("text")

    def reads(path):
        return subprocess.run(
            [python, "-c", f"print(open({str(path)!r}).read())"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=dist.clean_environment(),
        )

    assert reads(outside).stdout == "text\n"
    refused = reads(ROOT / "README.md")
    assert refused.returncode == 3
    assert "README.md of the checkout" in refused.stderr
    assert not refused.stdout


def test_variables_that_lead_elsewhere_do_not_reach_it(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    found = dist.clean_environment()
    assert "/elsewhere" not in found.values()
    assert found["PATH"]

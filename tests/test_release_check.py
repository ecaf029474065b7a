"""`make release-check`: what it lets through, and what it must not."""

import re
import subprocess
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from loading import load_script

ROOT = Path(__file__).parents[1]
TODAY = date(2030, 5, 17)
CITED = {
    "cff-version": "1.2.0", "message": "Cite it.", "title": "some", "authors": [{"name": "we"}],
    "license": "Apache-2.0",
}  # fmt: skip

check = load_script(".ci/release_check.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Changelog\n\n## 1.2.0 (2030-05-17)\n\nNew.\n\n## 1.1.0 (2029-01-01)\n", None),
        ("# Changelog\n\n## Unreleased\n\nNew.\n", "begins with 'Unreleased'; call the section"),
        ("# Changelog\n\n## 1.1.0 (2030-05-17)\n\nNew.\n", "begins with '1.1.0 (2030-05-17)'"),
        ("# Changelog\n\n## 1.2.0 (2030-05-18)\n\nNew.\n", "which is to come"),
        ("# Changelog\n\n## 1.2.0 (2030-02-30)\n\nNew.\n", "which is no date"),
        (
            "# Changelog\n\n## 1.2.0 (2030-05-17)\n\n## 1.1.0 (2029-01-01)\n",
            "says nothing of 1.2.0",
        ),
        ("# Changelog\n", "begins with ''"),
    ],
)
def test_the_changelog_begins_with_the_version(text, said):
    found = check.said_of_changelog(text, "1.2.0", TODAY)
    assert found == [] if said is None else said in found[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"title": ""}, "no 'title'"),
        ({"authors": []}, "no 'authors'"),
        ({"license": "MIT"}, "the licence 'MIT'"),
        ({"version": "1.2.0"}, "tells a version"),
    ],
)
def test_a_citation_has_what_its_readers_need(change, said):
    found = check.said_of_citation(CITED | change, "Apache-2.0 AND Unicode-3.0")
    assert found == [] if said is None else said in found[0]
    assert check.said_of_citation("a text", "MIT")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, None),
        ({"tag": "v1.2.0", "tags": ["v1.2.0"]}, None),
        ({"tag": "v1.3.0"}, "the tag is v1.3.0"),
        ({"tags": ["v1.1.0", "v1.2.0"]}, "is tagged already"),
        ({"installed": "1.1.0"}, "the installed package is 1.1.0"),
        ({"version": "1.2", "installed": "1.2"}, None),
        ({"version": "1.2.0-beta", "installed": "1.2.0-beta"}, "write '1.2.0b0'"),
        ({"version": "next", "installed": "next"}, "cannot order"),
    ],
)
def test_a_version_has_one_tag(options, said):
    given = {"version": "1.2.0", "installed": "1.2.0", "tag": None, "tags": []} | options
    found = check.said_of_version(**given)
    assert found == [] if said is None else said in found[0]


def test_a_tree_is_fit_once_all_is_told_and_committed(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip

    monkeypatch.setattr(check, "installed_version", {"some": "1.2.0"}.__getitem__)
    project = '[project]\nname = "some"\nversion = "1.2.0"\nlicense = "Apache-2.0"\n'
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(CITED))
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("## Unreleased\n\nNew.\n")
    git("init")
    git("add", ".")
    assert len(check.said_of_tree(tmp_path, None)) == 2  # not committed, and not named
    changelog.write_text("## 1.2.0 (2020-01-01)\n\nNew.\n")
    git("add", ".")
    git("commit", "-m", "release")
    assert check.said_of_tree(tmp_path, None) == []
    git("tag", "v1.2.0")
    assert check.said_of_tree(tmp_path, "v1.2.0") == []
    assert "is tagged already" in check.said_of_tree(tmp_path, None)[0]


def test_the_citation_of_this_project_is_fit():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert check.said_of_citation(cited, project["license"]) == []


def test_workflows_call_what_exists():
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text("utf-8").splitlines()
               if line[:1].isalpha()}  # fmt: skip
    files = [*ROOT.glob(".github/workflows/*.yml"), ROOT / ".gitlab-ci.yml"]
    assert len(files) == 3
    for file in files:
        text = file.read_text("utf-8")
        assert yaml.safe_load(text)
        called = re.findall(r"make ([a-z-]+)", text)
        assert set(called) <= targets, file
    assert (ROOT / ".ci/run").stat().st_mode & 0o100

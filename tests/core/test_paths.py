"""The package knows where its files lie."""

from lafn_viz.core import paths


def test_facts_and_notebooks_lie_where_the_package_looks():
    assert (paths.data_folder() / "facts.jsonl").is_file()
    assert (paths.notebooks_folder() / "00_quickstart.ipynb").is_file()
    assert not paths.is_installed()


def test_an_installed_package_holds_them_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    (tmp_path / "data").mkdir()
    assert paths.is_installed()
    assert paths.data_folder() == tmp_path / "data"
    assert paths.notebooks_folder() == tmp_path / "notebooks"

"""What `lafn-viz lab` and `lafn-viz app` do before they serve anything."""

import logging
import os
import socket
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import lafn_viz as lv
from lafn_viz.app import serving, voila_page
from lafn_viz.app.addresses import bind
from lafn_viz.cli.main import main
from lafn_viz.core import paths

ROOT = Path(__file__).parents[2]
DATA = paths.data_folder()


@pytest.fixture
def taken():
    """A port of this computer that is in use."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


@pytest.fixture
def served(monkeypatch):
    """The arguments that JupyterLab and Voilà are started with, instead of starting them."""
    started = []
    monkeypatch.setattr("jupyterlab.labapp.LabApp.launch_instance", started.append)
    monkeypatch.setattr(serving, "run_page", lambda *given: started.append(given))
    monkeypatch.setattr(serving, "_is_root", lambda: False)
    return started


def test_copies_are_written_and_existing_files_are_kept(tmp_path):
    shipped = serving.shipped_notebooks()
    assert "00_quickstart.ipynb" in [path.name for path in shipped]
    mine = tmp_path / "new" / "00_quickstart.ipynb"
    mine.parent.mkdir()
    mine.write_text("mine")
    written = serving.copy_notebooks(mine.parent)
    assert [path.name for path in written] == [path.name for path in shipped[1:]]
    assert mine.read_text() == "mine"
    assert written[0].read_bytes() == shipped[1].read_bytes()
    assert serving.copy_notebooks(mine.parent) == []


def test_checkout_opens_its_own_notebooks_and_an_installed_package_copies(tmp_path, monkeypatch):
    assert serving.notebooks_to_open() == ROOT / "notebooks"
    assert serving.notebooks_to_open(tmp_path / "here") == tmp_path / "here"
    assert len(list((tmp_path / "here").rglob("*.ipynb"))) == len(serving.shipped_notebooks())
    assert (tmp_path / "here" / "solutions" / "01_neurons_and_hooks.ipynb").is_file()

    # In a wheel, the notebooks are in the package.
    package = tmp_path / "site" / "lafn_viz"
    (package / "data").mkdir(parents=True)
    (package / "notebooks").mkdir()
    (package / "notebooks" / "only.ipynb").write_text("{}")
    monkeypatch.setattr(paths, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    assert serving.notebooks_to_open() == Path("lafn_viz_notebooks")
    assert [path.name for path in Path("lafn_viz_notebooks").iterdir()] == ["only.ipynb"]


def test_wheel_carries_every_notebook_and_the_page():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    carried = build["targets"]["wheel"]["force-include"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert carried.get(f"notebooks/{path.name}") == f"lafn_viz/notebooks/{path.name}"
    assert carried.get("notebooks/solutions") == "lafn_viz/notebooks/solutions"
    for name in ("app.ipynb", "voila/templates/lafn_viz/index.html.j2"):
        assert (voila_page.APP / name).is_file()


def test_lab_opens_the_folder_on_the_port(served, tmp_path):
    assert main(["lab", str(tmp_path), "--no-browser", "--port", "50123"]) == 0
    (arguments,) = served
    assert f"--ServerApp.root_dir={tmp_path.resolve()}" in arguments
    assert "--port=50123" in arguments
    assert "--no-browser" in arguments
    assert main(["lab", str(tmp_path)]) == 0
    assert "--no-browser" not in served[1]


def test_lab_begins_with_the_course_or_with_a_notebook_about_a_study(served, tmp_path, monkeypatch):
    def begins(*options: str) -> str:
        assert main(["lab", str(tmp_path), "--no-browser", *options]) == 0
        (url,) = [x for x in served[-1] if x.startswith("--LabApp.default_url=")]
        return url.split("/lab/tree/")[1]

    assert begins() == "00_quickstart.ipynb"
    assert begins("--model", "embedded-control") == "my_study.ipynb"
    book = nbformat.read(tmp_path / "my_study.ipynb", as_version=4)
    nbformat.validate(book)
    assert "page('embedded-control')" in book.cells[0].source
    # The notebook of the same study is opened again; one that a person changed is kept.
    assert begins("--model", "embedded-control") == "my_study.ipynb"
    facts, paraphrases = DATA / "facts.jsonl", DATA / "paraphrases.jsonl"
    assert begins("--file", str(facts), str(paraphrases)) == "my_study_2.ipynb"
    (tmp_path / "my_study.ipynb").write_text("mine")
    assert begins("--model", "embedded-control") == "my_study_3.ipynb"
    assert (tmp_path / "my_study.ipynb").read_text() == "mine"
    book = nbformat.read(tmp_path / "my_study_2.ipynb", as_version=4)
    made = []
    monkeypatch.setattr("lafn_viz.widgets.page", lambda *given: made.extend(given))
    exec(book.cells[0].source, {})
    assert (made[0], len(made[1])) == ("embedded", len(lv.load_facts()))


def test_as_root_lab_says_how(served, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serving, "_is_root", lambda: True)
    assert main(["lab", str(tmp_path)]) == 2
    assert "add --allow-root" in capsys.readouterr().err
    assert not served
    assert main(["lab", str(tmp_path), "--allow-root"]) == 0
    assert "--ServerApp.allow_root=True" in served[0]


def test_a_study_that_cannot_be_read_is_told_before_lab_starts(served, tmp_path, capsys):
    assert main(["lab", str(tmp_path), "--model", "embeded"]) == 2
    assert "did you mean 'embedded'?" in capsys.readouterr().err
    assert not served


def test_lab_answers_the_names_and_the_path_of_a_proxy(served, tmp_path):
    options = ["--base-url", "team", "--allow-host", "viz.example", "--host", "0.0.0.0"]
    assert main(["lab", str(tmp_path), *options]) == 0
    (arguments,) = served
    for expected in (
        "--ServerApp.ip=0.0.0.0",
        "--ServerApp.base_url=/team/",
        "--ServerApp.allow_remote_access=False",
        "--ServerApp.local_hostnames=viz.example",
    ):
        assert expected in arguments
    assert not [argument for argument in arguments if "token" in argument]


def test_lab_prints_no_token_where_others_read_it(served, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lafn_viz.cli.serve.others_can_read", lambda stream: True)
    said = []
    monkeypatch.setattr("lafn_viz.cli.serve._say", lambda line: said.append((line, read(line))))

    def read(line: str) -> str:
        return Path(line.split(" is in ")[1].split(":")[0]).read_text()

    assert main(["lab", str(tmp_path), "--base-url", "team"]) == 0
    (argument,) = [option for option in served[0] if option.startswith("--IdentityProvider.token=")]
    token = argument.split("=")[1]
    ((line, address),) = said
    assert token not in line
    assert address.endswith(f"/team/lab/tree/00_quickstart.ipynb?token={token}\n")


def test_a_token_may_be_given_in_the_environment(served, monkeypatch, capsys):
    monkeypatch.setenv("LAFN_VIZ_TOKEN", "sixteen letters!")
    assert main(["app", "--no-browser"]) == 0
    _, token, _, ready, _ = served[0]
    assert token == "sixteen letters!"
    assert "LAFN_VIZ_TOKEN" not in os.environ  # the pages' processes do not see it
    ready()
    output = capsys.readouterr().out
    assert "It asks for the token in LAFN_VIZ_TOKEN." in output
    assert "sixteen" not in output
    monkeypatch.setenv("LAFN_VIZ_TOKEN", "short")
    assert main(["app", "--no-browser"]) == 2
    assert "has 5 characters; give 16 or more" in capsys.readouterr().err


def test_a_token_is_taken_out_of_every_line_of_the_log():
    record = logging.LogRecord("x", 30, "", 0, "GET %s (%s)", ("/?token=abc", "me"), None)
    assert voila_page._fit_to_print(record, secret="abc")
    assert record.getMessage() == "GET /?token=[secret] (me)"
    assert voila_page._fit_to_print(record, secret="")


def test_app_has_a_new_token_each_time_unless_told_to_have_none(served):
    for options in ([], [], ["--no-token", "--host", "127.0.0.2", "--theme", "dark"]):
        assert main(["app", "--no-browser", *options]) == 0
    (address, first, theme, *_), (_, second, *_), last = served
    assert (address.host, theme) == ("127.0.0.1", "auto")
    assert len(first) >= 32
    assert first != second
    assert (last[0].host, last[1], last[2]) == ("127.0.0.2", "", "dark")


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ([], False),
        (["--no-token"], False),
        (["--host", "0.0.0.0"], False),
        (["--no-token", "--host", "0.0.0.0"], True),
    ],
)
def test_address_and_a_warning_are_printed_once_the_page_answers(served, capsys, options, warned):
    assert main(["app", "--no-browser", "--port", str(free := bind("", 0)), *options]) == 0
    assert not capsys.readouterr().out
    _, token, _, ready, _ = served[0]
    ready()
    output = capsys.readouterr().out
    assert f":{free}/" in output
    assert (f"?token={token}" in output) == ("--no-token" not in options)
    assert ("Anyone who can reach 0.0.0.0" in output) == warned


def test_without_a_port_a_free_one_is_taken(served, taken, monkeypatch):
    monkeypatch.setattr(serving, "APP_PORT", taken)
    assert main(["app", "--no-browser"]) == 0
    port = served[0][0].port
    assert port != taken
    assert 0 < port < 65536


@pytest.mark.parametrize("command", ["app", "lab"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "{taken}"], "port {taken} is taken"),
        (["--port", "70000"], "70000 is no port; give one from 1 to 65535, or 0 for a free one"),
    ],
)
def test_port_that_cannot_be_used_gets_one_sentence(
    served, taken, tmp_path, command, arguments, says, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(taken=taken) for argument in arguments]
    assert main([command, "--no-browser", *filled]) == 2
    error = capsys.readouterr().err
    assert says.format(taken=taken) in error
    assert error.count("\n") == 1
    assert not served


def test_host_of_another_computer_gets_one_sentence(served, capsys):
    assert main(["app", "--no-browser", "--host", "192.0.2.1"]) == 2
    assert "'192.0.2.1' is no address of this computer" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "module"), [("app", "voila"), ("lab", "jupyterlab")])
def test_missing_extra_gets_one_sentence(command, module, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert main([command, "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert f"needs {module}" in error
    assert "pip install 'lafn_viz[notebook]'" in error
    assert error.count("\n") == 1


def test_folder_that_cannot_be_written_gets_one_sentence(served, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["lab", str(file), "--no-browser"]) == 2
    assert "name a folder that you may write to" in capsys.readouterr().err

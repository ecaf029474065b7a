"""What lies here is read from here: nothing asks a network, nor starts a process that could."""

import os
import re
import subprocess
import sys

import pytest

import lafn_viz as lv
from lafn_viz.models import loading as models

# Every event of Python itself by which a program reaches out, recorded as nobody can hide it.
WATCH = """
import sys
REACHES = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
           "socket.gethostbyname", "socket.gethostbyaddr", "http.client.connect", "urllib.Request",
           "subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec",
           "os.system", "ftplib.connect", "smtplib.connect")
asked = []
def watch(event, given):
    if event in REACHES:
        asked.append((event, repr(given)[:200]))
sys.addaudithook(watch)
"""
WORK = """
import pathlib
import lafn_viz as lv
from lafn_viz.cli.main import main
local, out = sys.argv[1:]
facts = lv.load_facts().filter(relation="capital", subjects=["FR", "JP"], languages=["en", "zh"])
prompts = facts.prompts()
for name in (local, "embedded"):
    model = lv.load_model(name)
    scores = lv.attribute(model, prompts[::6], n_steps=2, tolerance=1.0)
shared = lv.overlap(lv.select_neurons(scores, fraction=0.02), min_languages=2)
page = lv.plots.overlap_heatmap(shared).to_html(include_plotlyjs=True)
assert len(page) > 1e6
edit = lv.lafn_edit(model, facts, subject="Japan", relation="capital", new_object="Paris",
                    n_neurons=10)
cache = lv.EditCache([edit])
cache.save(pathlib.Path(out) / "edits")
with lv.EditCache.load(pathlib.Path(out) / "edits").applied(model):
    model.generate("The capital of Japan is", max_new_tokens=2, do_sample=False, verbose=False)
cases = lv.counterfactual_cases(facts, n=1).filter(languages=["en"])
report = lv.evaluate(model, lv.baselines.fine_tuning(steps=1), cases, progress=False)
assert len(report.summary())
assert main(["demo", "--facts", "2", "--out", out]) == 0
swept = ["sweep", "--facts", "2", "--relation", "capital", "--languages", "en", "zh"]
assert main([*swept, "--methods", "activation", "--out", out + "/swept"]) == 0
print(asked)
"""
CALL = """
import socket
socket.getaddrinfo("localhost", 9)
print(asked)
"""


def run(script: str, *arguments: object, home) -> str:
    """What a process prints last that is allowed to ask the hub, by all that Python knows."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HOME": str(home), "HF_HOME": str(home / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", WATCH + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_work_on_models_that_are_here_asks_no_network(folder, tmp_path):
    assert run(WORK, folder("llama"), tmp_path, home=tmp_path) == "[]"


def test_the_watch_sees_who_asks(tmp_path):
    assert "socket.getaddrinfo" in run(CALL, home=tmp_path)


@pytest.mark.parametrize("local", [True, False])
def test_only_a_name_of_the_hub_may_be_asked_for(folder, monkeypatch, local):
    import transformers as hf

    said = []
    for kind in (hf.AutoTokenizer, hf.AutoConfig, hf.AutoModelForCausalLM):
        original = kind.from_pretrained

        def spy(source, *given, _original=original, **options):
            said.append(options["local_files_only"])
            return _original(source, *given, **options)

        monkeypatch.setattr(kind, "from_pretrained", spy)
    if local:
        lv.load_model(folder("gpt2"))
        assert len(said) >= 3
        assert all(said)
    else:
        with pytest.raises(ValueError, match="from the model hub"):
            lv.load_model("owner/none")
        assert said == [False]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("models/mien", "models/mien is not in the folder models, and a model is a folder; name"),
        ("models/gpt2/config.json", "there is no model 'models/gpt2/config.json'"),
        ("weights.safetensors", "weights.safetensors is a file, and a model is a folder"),
        ("models/", "there is no model 'models/'"),
        ("my model", "there is no model 'my model'"),
        ("models\\mine", "there is no model 'models\\\\mine'"),
        ("~/mine", "there is no model '~/mine'"),
        ("модель", "there is no model 'модель'"),
        ("\u202emodel", "there is no model '\\u202emodel'"),
        ("embedded_control", "there is no model 'embedded_control'; did you mean 'embedded-contr"),
        ("a\x00b", "there is no model 'a\\x00b'"),
        ("x" * 100_000, "there is no model 'xxxx"),
    ],
)
def test_a_slip_in_a_path_asks_nobody(tmp_path, monkeypatch, no_network, name, says):
    monkeypatch.chdir(tmp_path)
    if name != "models/":
        (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.setattr(models, "_read", lambda *_: pytest.fail("the hub would be asked"))
    with pytest.raises(FileNotFoundError, match=re.escape(says)) as caught:
        lv.load_model(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400

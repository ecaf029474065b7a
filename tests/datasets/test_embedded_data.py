"""The data in the repository is what its scripts make of CLDR."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

import lafn_viz as lv

DATA = Path(__file__).parents[2] / "data"
sys.path.insert(0, str(DATA / "scripts"))
try:
    import train_model
    import worlds
finally:
    sys.path.pop(0)


def test_facts_and_paraphrases_are_rebuilt_byte_for_byte(tmp_path):
    subprocess.run(
        [sys.executable, DATA / "scripts" / "build_facts.py", "--out", tmp_path],
        check=True,
        capture_output=True,
    )
    for name in ("facts.jsonl", "paraphrases.jsonl"):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), name


def test_held_out_pairs_are_in_no_training_document():
    corpus = train_model.Corpus(worlds.World.plain(DATA))
    rng = random.Random(0)
    asked = {}  # every prompt that would give a held-out pair or a held-out paraphrase away
    left_out = 0
    for fact in corpus.facts:
        shown = corpus.shown(fact)
        for lang in fact["subject"]:
            key = fact["relation"], lang
            held = [*corpus.held_frames[key]]
            if lang in fact["held_out"]:
                held += corpus.frames[key]
            for frame in held:
                text = frame.format(subject=fact["subject"][lang])
                left_out += text in shown
                if text not in shown:
                    asked[text] = fact["id"], lang
    # Spanish and Portuguese write a few prompts alike; the measurement leaves these out.
    assert left_out < 0.01 * len(asked)
    drawn = 0
    for kind in train_model.RECIPES["transfer"]:
        for _ in range(8000):
            for text, counted in corpus.draw(kind, rng):
                drawn += not counted
                assert text.strip() not in asked
    assert drawn > 40000


def test_the_tokenizer_is_rebuilt_from_the_data():
    corpus = train_model.Corpus(worlds.World.plain(DATA))
    rebuilt = worlds.bpe_tokenizer(corpus.strings(), 16384, train_model.Causal.special)
    shipped = json.loads((DATA / "models/embedded/tokenizer.json").read_text("utf-8"))
    assert json.loads(rebuilt.to_str())["model"] == shipped["model"]


@pytest.fixture(scope="module")
def own_scripts():
    """The world in which each language has its own script, its writer, and its tokenizer."""
    plain = worlds.World.plain(DATA)
    write = worlds.OwnScripts(plain)
    world = plain.rewritten(write)
    strings = train_model.Corpus(world).strings()
    return plain, world, write, write.bpe_tokenizer(strings, 26624, train_model.Causal.special)


def test_in_the_world_of_own_scripts_no_token_belongs_to_two_languages(own_scripts):
    _, world, _, tokenizer = own_scripts
    languages: dict[int, set[str]] = {}
    for language, text in world.texts():
        for part in worlds.SLOTS.split(text)[::2]:
            for lead in ("", " ") if part.strip() else ():
                for token in tokenizer.encode(lead + part.strip()).ids:
                    languages.setdefault(token, set()).add(language)
    assert len(languages) > 10000
    assert all(len(of) == 1 for of in languages.values())


def test_own_scripts_change_the_letters_and_nothing_else(own_scripts):
    plain, world, _, tokenizer = own_scripts
    pairs = list(zip(plain.texts(), world.texts(), strict=True))
    to_new, to_old = {}, {}
    for (language, old), (same_language, new) in pairs:
        assert language == same_language
        assert len(old) == len(new)
        # Equal where and only where the old ones were equal: in one language.
        assert to_new.setdefault((language, old), new) == new
        assert to_old.setdefault(new, (language, old)) == (language, old)
        assert worlds.SLOTS.findall(old) == worlds.SLOTS.findall(new)
    for _, (_, new) in pairs[::50]:
        if worlds.SLOTS.search(new):  # filled before a model reads it
            continue
        assert tokenizer.decode(tokenizer.encode(" " + new).ids) == " " + new


def test_the_package_asks_in_own_scripts_what_training_showed(own_scripts, tmp_path):
    _, world, _, _ = own_scripts
    world.save(tmp_path)
    facts = lv.load_facts(tmp_path / "facts.jsonl", paraphrases=tmp_path / "paraphrases.jsonl")
    asked = {
        prompt.text + prompt.separator + prompt.answer
        for prompt in facts.prompts()
        if prompt.split == "trained"
    }
    corpus, rng = train_model.Corpus(world), random.Random(0)
    shown = {"".join(text for text, _ in corpus.draw("fact", rng)) for _ in range(3000)}
    assert len(shown) > 1000
    assert shown <= asked
    assert len(lv.load_facts()) == len(facts)


# The rows of the README's table of both worlds, by the name of a figure.
SPELLING = {
    "answered: held-out pair": "answered, of pairs never seen in that language",
    **{
        f"Jaccard {where}: {what}": f"Jaccard {where}, {what}"
        for where in ("across scripts", "within Latin script")
        for what in ("same fact", "other fact")
    },
    **{
        f"P {where}, zero: {what}": f"{where}, {what}"
        for where in ("outside Latin script", "Latin script")
        for what in ("found without the language", "another fact's", "own set")
    },
}


def spelling_rows() -> list[str]:
    """The rows of the table: of each world mean, least and most over seeds, and `embedded`."""
    table = json.loads((DATA / "results" / "spelling.json").read_text("utf-8"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    lines = []
    for figure, told in SPELLING.items():

        def text(value: float, figure: str = figure) -> str:
            if figure.startswith("Jaccard"):
                return f"{value:.3f}"
            shown = f"{round(100 * value, 1) + 0.0:.1f}"
            return shown if figure.startswith("answered") else shown.replace("-", "−")

        cells = []
        for world in ("scripts as people write", "a script for each language"):
            values = [
                row["value"]
                for row in rows
                if (row["figure"], row["world"], row["steps"]) == (figure, world, 3000)
            ]
            assert len(values) == 3
            cells.append(f"{text(sum(values) / 3)} ({text(min(values))} to {text(max(values))})")
        (row,) = [x for x in rows if (x["figure"], x["steps"]) == (figure, 7000)]
        ends = ", ".join(text(row[x]) for x in ("low", "high")) if row["low"] is not None else ""
        cells.append(text(row["value"]) + (f" [{ends}]" if ends else ""))
        lines.append(f"| {told} | {' | '.join(cells)} |")
    return lines


def test_the_readme_tells_what_was_measured_without_shared_spellings():
    readme = (DATA.parent / "README.md").read_text("utf-8")
    for line in spelling_rows():
        assert line in readme

"""The prompt explorer: attribution while a prompt is typed."""

import torch

import lafn_viz as lv


def test_only_the_last_text_that_is_typed_is_attributed(embedded, capitals):
    explorer = lv.PromptExplorer(embedded, capitals)
    explorer.wait()
    explorer.wait()
    shown = []
    explorer.figure.observe(lambda change: shown.append(change["new"]), "revision")
    for text in ("The c", "The capital of", "The capital of Japan is"):
        explorer.text.value = text
    explorer.answer.value = "Tokyo"
    explorer.wait()
    assert len(shown) == 1
    prompt = explorer.scores.prompts[0]
    assert (prompt.text, prompt.answer) == ("The capital of Japan is", "Tokyo")
    assert torch.equal(explorer.scores.values, lv.attribute(embedded, [prompt]).values)
    assert explorer.status.text.startswith("P(Tokyo) = 9")
    explorer.answer.value = "Rome"
    explorer.wait()
    assert "not what the model would write" in explorer.status.text
    explorer.text.value = " "
    explorer.wait()
    assert explorer.status.is_error
    assert "empty text" in explorer.status.text


def test_the_card_of_another_method_is_removed(embedded, capitals):
    explorer = lv.PromptExplorer(embedded, capitals)
    explorer.wait()
    explorer.panel.choose(explorer.panel.first)
    explorer.wait()
    assert explorer.panel.card is not None
    explorer.method.value = "gradient"
    explorer.wait()
    assert explorer.panel.card is None
    assert explorer.panel.figure.figure == ""


def test_what_a_typed_blank_means_is_said(embedded, capitals):
    explorer = lv.PromptExplorer(embedded, capitals)
    explorer.wait()
    said = "The text ends in a blank, which the answer's first token already has: it is left out"
    assert said not in explorer.status.text
    plain = explorer.scores.values
    explorer.text.value += " "
    explorer.wait()
    assert said in explorer.status.text
    assert torch.equal(explorer.scores.values, plain)
    explorer.text.value = "The capital of France is Paris"
    explorer.wait()
    assert "already ends in the answer" in explorer.status.text


def test_the_language_is_that_of_the_text_unless_one_is_chosen(embedded, facts):
    explorer = lv.PromptExplorer(embedded, facts)
    explorer.wait()
    assert explorer.status.text.endswith("%. The text was taken for English.")
    explorer.text.value, explorer.answer.value = "日本の首都は", "東京"
    explorer.wait()
    assert explorer.scores.prompts[0].language == "ja"
    assert "The text was taken for Japanese." in explorer.status.text
    assert explorer.status.text.startswith("P(東京) = 9")
    explorer.language.value = "zh"
    explorer.text.value = "日本の首都は "
    explorer.wait()
    assert explorer.scores.prompts[0].language == "zh"
    assert "taken for" not in explorer.status.text


def test_the_language_is_the_baseline_where_zero_is_none(tiny, capitals):
    explorer = lv.PromptExplorer(tiny("gemma3"), capitals)
    explorer.method.value = "direct_effect"
    explorer.wait()
    assert explorer.scores.provenance.options["baseline"] == "mean"

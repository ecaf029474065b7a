"""Prompts: what they hold, and what they refuse."""

import unicodedata

import pytest

import lafn_viz as lv


def test_own_prompt_needs_its_subject_and_an_answer():
    prompt = lv.Prompt.of("The capital of France is", "Paris", subject="France")
    assert prompt.subject_span == (15, 21)
    assert prompt.continuation == " Paris"
    chinese = lv.Prompt.of("法国的首都是", "巴黎", subject="法国", language="zh")
    assert chinese.continuation == "巴黎"
    with pytest.raises(ValueError, match="subject 'Spain' is not in the prompt"):
        lv.Prompt.of("The capital of France is", "Paris", subject="Spain")
    with pytest.raises(ValueError, match="empty answer"):
        lv.Prompt.of("The capital of France is", " ", subject="France")


@pytest.mark.parametrize("place", ["text", "answer", "subject"])
def test_half_of_a_surrogate_pair_is_refused_before_a_tokenizer_meets_it(place):
    given = {"text": "Japan is", "answer": "x", "subject": "Japan"}
    given[place] += "\ud83d"
    given["text"] += given["subject"]
    with pytest.raises(ValueError, match=r"ud83d.*' holds half of a surrogate pair, which is"):
        lv.Prompt.of(given["text"], given["answer"], subject=given["subject"])


def test_a_prompt_in_any_normal_form_reaches_the_model_in_nfc():
    def prompt(form: str) -> lv.Prompt:
        texts = [unicodedata.normalize(form, x) for x in ("É o Perú, é", "Perú", "Limá")]
        start = texts[0].index("P")
        return lv.Prompt(
            fact_id="a", relation="own", language="pt", paraphrase=0, text=texts[0],
            answer=texts[2], subject=texts[1], subject_span=(start, start + len(texts[1])),
            aliases=(texts[2],),
        )  # fmt: skip

    assert prompt("NFD") == prompt("NFC")
    assert lv.Prompt.of("O Perú é", "Lima", subject=unicodedata.normalize("NFD", "Perú")) == (
        lv.Prompt.of(unicodedata.normalize("NFD", "O Perú é"), "Lima", subject="Perú")
    )


@pytest.mark.parametrize("tag", ["zh-CN", "zh_CN", "zho", "ZH", "cmn", "zh_CN.UTF-8"])
def test_a_prompt_keeps_the_code_of_its_language(tag):
    prompt = lv.Prompt.of("日本的首都是", "东京", subject="日本", language=tag)
    assert prompt == lv.Prompt.of("日本的首都是", "东京", subject="日本", language="zh")
    assert (prompt.language, prompt.continuation) == ("zh", "东京")


@pytest.mark.parametrize(("text", "span"), [("\u200fPeru:", (0, 5)), ("In Peru\u200f ", (3, 9))])
def test_a_subject_may_begin_or_end_in_what_is_left_out_of_a_text(text, span):
    prompt = lv.Prompt("own/1", "own", "en", 0, text, "Lima", "\u200fPeru\u200f", span)
    assert prompt.text[slice(*prompt.subject_span)] == "Peru"
    assert 0 <= prompt.subject_span[0] < prompt.subject_span[1] <= len(prompt.text)

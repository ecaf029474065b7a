import json
import unicodedata
from collections import Counter

import pytest

import lafn_viz as lv
from lafn_viz.datasets.edit_cases import ROLES
from lafn_viz.datasets.text import shows_answer


@pytest.fixture(scope="module")
def cases(facts):
    return lv.counterfactual_cases(facts)


def test_there_are_100_edits_in_all_languages(cases, facts):
    assert len(cases) == 100
    assert len({case.id for case in cases}) == 100
    for case in cases:
        assert case.languages == facts.languages


def test_the_new_answer_is_another_wrong_one_that_cannot_be_read_off(cases, facts):
    right = {
        (f.subject[x], x): f.object[x]
        for f in facts.filter(relation="capital")
        for x in f.languages
    }
    for case in cases:
        for language in case.languages:
            answers = {prompt.answer for prompt in case.edit[language]}
            (new,) = answers
            assert new != right[case.subject[language], language] == case.old[language]
            assert new in right.values()
            assert not shows_answer(case.subject[language], new)


def test_edits_are_trained_and_generality_is_held_out(cases, facts):
    for case in cases:
        for language in case.languages:
            held_out = facts.paraphrases["capital", language].held_out
            trained = {p.paraphrase for p in case.edit[language]}
            rephrased = {p.paraphrase for p in case.rephrased[language]}
            assert rephrased == set(held_out)
            assert trained == set(range(6)) - rephrased
            assert {p.answer for p in case.rephrased[language]} == {case.edit[language][0].answer}
            for prompt in case.prompts("edit") + case.prompts("rephrased"):
                assert prompt.text[slice(*prompt.subject_span)] == prompt.subject


def test_locality_asks_for_facts_that_no_case_edits_with_their_own_answers(cases, facts):
    edited = {prompt.fact_id for case in cases for prompt in case.prompts("edit")}
    kept = {(p.fact_id, p.language): p.answer for p in facts.filter(languages="ja").prompts()}
    for case in cases:
        relations = Counter()
        for prompt in case.prompts("locality", languages=["ja"]):
            assert prompt.fact_id not in edited
            assert prompt.answer == kept[prompt.fact_id, "ja"]
            same = prompt.subject == case.subject["ja"]
            assert same == (prompt.relation != "capital")
            relations[prompt.relation] += 1
        assert relations["capital"] == 3
        assert max(relations.values()) == 3
    assert any(len(case.locality["en"]) > 3 for case in cases)
    assert all(case.portability == {} for case in cases)


def test_what_an_editor_may_hold_still_is_not_asked(cases):
    for case in cases:
        asked = {(p.language, p.text) for role in ROLES for p in case.prompts(role)}
        kept = case.prompts("keep")
        assert not asked & {(p.language, p.text) for p in kept}
        assert {p.subject for p in kept} <= set(case.subject.values())
        assert "capital" not in {p.relation for p in kept}
    assert sum(bool(case.keep) for case in cases) > 90


def test_one_case_by_name(facts):
    case = lv.counterfactual_case(
        facts, subject="Japan", relation="capital", new_object="Rome", languages=["en", "zh"]
    )
    assert (case.key, case.languages) == (("JP", "capital"), ("en", "zh"))
    assert {p.answer for p in case.prompts("rephrased")} == {"Rome", "罗马"}
    assert {p.relation for p in case.locality["zh"]} == set(facts.relations) - {"capital"} & {
        fact.relation for fact in facts.filter(subjects="JP")
    }


def test_the_owner_of_the_new_object_must_stay_as_it_is(facts):
    (case,) = lv.counterfactual_cases(facts, n=1)
    new = case.edit["en"][0].answer
    assert case.locality["en"][0].answer == new
    assert case.locality["en"][0].subject != case.subject["en"]


def test_the_same_seed_gives_the_same_edits(facts):
    one, same, other = (lv.counterfactual_cases(facts, n=5, seed=seed) for seed in (0, 0, 1))
    assert one.cases == same.cases != other.cases


def test_lint_finds_what_was_meant(cases):
    frame = cases.filter(languages=["en", "zh", "hi"]).lint()
    found = frame.query("count > 0")
    meant = {"locality names the subject", "no portability question"}
    assert set(found["check"]) <= meant | {"locality names another edit's subject"}
    assert (frame.query("check == 'no portability question'")["share"] == 1).all()


def test_every_relation_can_be_edited_and_too_many_edits_are_refused(facts):
    for relation in facts.relations:
        assert len(lv.counterfactual_cases(facts, relation=relation, n=3)) == 3
    assert len(lv.counterfactual_cases(facts, relation=None, n=9)) == 9
    with pytest.raises(ValueError, match=r"n=9999, but \d+ facts can be edited"):
        lv.counterfactual_cases(facts, n=9999)
    with pytest.raises(ValueError, match="unknown relation 'mayor'"):
        lv.counterfactual_cases(facts, relation="mayor")
    with pytest.raises(ValueError, match="n=0; give a whole number of 1 or more"):
        lv.counterfactual_cases(facts, n=0)


def test_a_single_paraphrase_is_trained_and_the_last_of_several_is_held_out(tmp_path):
    facts, asked = tmp_path / "facts.jsonl", tmp_path / "paraphrases.jsonl"
    rows = [("Orvik", "mill"), ("Lund", "ferry"), ("Vik", "tower")]
    facts.write_text(
        "\n".join(
            json.dumps(
                {"id": f"sight/{a}", "relation": "sight", "subject_id": a, "object_id": b}
                | {"subject": {"en": a, "zh": a}, "object": {"en": b, "zh": b}}
            )
            for a, b in rows
        )
    )
    texts = {"en": ["{subject} has a", "See in {subject}: the"], "zh": ["{subject}有"]}
    asked.write_text(
        "\n".join(
            json.dumps({"relation": "sight", "language": lang, "texts": some})
            for lang, some in texts.items()
        )
    )
    own = lv.load_facts(facts, paraphrases=asked)
    (case,) = lv.counterfactual_cases(own, relation="sight", n=1)
    assert [p.paraphrase for p in case.edit["en"]] == [0]
    assert [p.paraphrase for p in case.rephrased["en"]] == [1]
    assert len(case.edit["zh"]) == 1
    assert "zh" not in case.rephrased
    assert len(case.locality["zh"]) == 2


def test_a_case_is_the_same_in_any_writing_of_names_and_tags(facts):
    def case(subject, new_object, *languages):
        return lv.counterfactual_case(
            facts, subject=subject, relation="capital", new_object=new_object, languages=languages
        )

    of_code = case("Peru", "Roma", "zh", "pt", "tr")
    for name in ("PERÚ", unicodedata.normalize("NFD", "Perú"), "Ｐｅｒｕ"):
        assert case(name, "ROMA", "zh_CN", "por", "tr-TR") == of_code
    by_tag = {"zh-Hans": "罗马", "pt_BR": "Roma", "tur": "Roma"}
    assert case("Peru", by_tag, "zho", "pt-PT", "tr") == case("Peru", by_tag, "zh", "pt", "tr")
    with pytest.raises(ValueError, match="has the object 'Lima' already"):
        case("Peru", {"pt": "«LIMA»."}, "pt")
    with pytest.raises(ValueError, match="'pt' and 'pt-BR' are one language"):
        case("Peru", {"pt": "Roma", "pt-BR": "Roma"}, "pt")
    assert of_code.only(["zh_CN"]).languages == ("zh",)
    assert of_code.prompts("edit", languages=["zho"]) == list(of_code.edit["zh"])
    assert lv.EditSet((of_code,)).filter(languages="pt_BR").languages == ("pt",)

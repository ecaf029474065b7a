"""Records of the public sets of edits, made up."""

import json


def part(subject, place, answer, *, of="home", **more):
    return {
        "subject": subject,
        "src": f"Where is the {of} of {subject}?",
        "rephrase": f"{subject} has its {of} where?",
        "alt": answer,
        "loc": f"nq question: who keeps the {place}",
        "loc_ans": "a miller",
    } | more


def pair(language, *, subject="Anna Holm", name="Анна Хольм", **more):
    hop = {"New Question": f"Who rules the home of {subject}?", "New Answer": "a duke"}
    english = part(subject, "mill", "Orvik", portability=hop)
    other = part(name, "Mühle", "Орвик", portability=hop) | more
    return {"en": english, language: other}


def written(path, value, *, encoding="utf-8", newline=None):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    path.write_text(text, encoding, newline=newline)
    return path


def bmike(number, **more):
    extra = {"case_id": number, "old": "Vik", "port": "Who rules there?", "port_ans": "a duke"}
    subject = f"Anna {number}"
    return {x: part(subject, "mill", "Orvik") | extra | more for x in ("en", "zh-cn")}


def single(name, answer="Lund", old="Orvik"):
    return {
        "question": f"Where does {name} live?",
        "o_prompt": f"{name} lives in {old}.",
        "o_answer": old,
        "o_answer_aliases": [],
        "e_prompt": f"{name} lives in {answer}.",
        "e_answer": answer,
        "e_answer_aliases": ["City of Lund"],
    }


def case_rows(cases, check):
    found = cases.lint().query("check == @check")
    return dict(zip(found["language"], found["count"], strict=True))

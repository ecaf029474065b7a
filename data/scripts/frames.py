"""Hand-written prompt frames: six paraphrases per relation in each of twelve languages.

The answer always comes last, and the subject always has its citation form (in apposition, as a
topic, in a record), so that no name is inflected. A frame is filled with the words of one relation.
The same six frames serve every relation of a language, so a frame that training never showed with
one relation still consists of words known from the others.
"""

LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "ru", "zh", "ja", "ar", "hi", "tr")

SUBJECT_KIND = {
    "capital": "country",
    "continent": "country",
    "currency": "country",
    "language": "country",
    "country": "city",
    "script": "language",
}
RELATIONS = tuple(SUBJECT_KIND)

# Language -> kind of subject -> its forms. `of` is the genitive used before the subject's name.
KINDS: dict[str, dict[str, dict[str, str]]] = {
    "en": {
        "country": {"kind": "country"},
        "city": {"kind": "city"},
        "language": {"kind": "language"},
    },
    "fr": {
        "country": {"kind": "pays", "of": "du pays"},
        "city": {"kind": "ville", "of": "de la ville"},
        "language": {"kind": "langue", "of": "de la langue"},
    },
    "de": {
        "country": {"kind": "Land", "of": "des Landes"},
        "city": {"kind": "Stadt", "of": "der Stadt"},
        "language": {"kind": "Sprache", "of": "der Sprache"},
    },
    "es": {
        "country": {"kind": "país", "of": "del país"},
        "city": {"kind": "ciudad", "of": "de la ciudad"},
        "language": {"kind": "lengua", "of": "de la lengua"},
    },
    "it": {
        "country": {"kind": "paese", "of": "del paese"},
        "city": {"kind": "città", "of": "della città"},
        "language": {"kind": "lingua", "of": "della lingua"},
    },
    "pt": {
        "country": {"kind": "país", "of": "do país"},
        "city": {"kind": "cidade", "of": "da cidade"},
        "language": {"kind": "língua", "of": "da língua"},
    },
    "ru": {
        "country": {"kind": "страна", "of": "страны"},
        "city": {"kind": "город", "of": "города"},
        "language": {"kind": "язык", "of": "языка"},
    },
    "zh": {
        "country": {"kind": "国家"},
        "city": {"kind": "城市"},
        "language": {"kind": "语言"},
    },
    "ja": {
        "country": {"kind": "国"},
        "city": {"kind": "都市"},
        "language": {"kind": "言語"},
    },
    "ar": {
        "country": {"kind": "دولة"},
        "city": {"kind": "مدينة"},
        "language": {"kind": "لغة"},
    },
    "hi": {
        "country": {"kind": "देश"},
        "city": {"kind": "शहर"},
        "language": {"kind": "भाषा"},
    },
    "tr": {
        "country": {"kind": "ülke", "of": "ülkesinin"},
        "city": {"kind": "şehir", "of": "şehrinin"},
        "language": {"kind": "dil", "of": "dilinin"},
    },
}

# Language -> relation -> its forms: `noun` bare, `the` with its article, `q` as a question,
# and what else a language needs (`acc` accusative, `poss` possessive, `constr` construct state).
WORDS: dict[str, dict[str, dict[str, str]]] = {
    "en": {
        "capital": {"noun": "capital", "the": "the capital", "q": "what is the capital"},
        "continent": {"noun": "continent", "the": "the continent", "q": "what is the continent"},
        "currency": {"noun": "currency", "the": "the currency", "q": "what is the currency"},
        "language": {
            "noun": "official language",
            "the": "the official language",
            "q": "what is the official language",
        },
        "country": {"noun": "country", "the": "the country", "q": "what is the country"},
        "script": {"noun": "script", "the": "the script", "q": "what is the script"},
    },
    "fr": {
        "capital": {"noun": "capitale", "the": "la capitale", "q": "quelle est la capitale"},
        "continent": {"noun": "continent", "the": "le continent", "q": "quel est le continent"},
        "currency": {"noun": "monnaie", "the": "la monnaie", "q": "quelle est la monnaie"},
        "language": {
            "noun": "langue officielle",
            "the": "la langue officielle",
            "q": "quelle est la langue officielle",
        },
        "country": {"noun": "pays", "the": "le pays", "q": "quel est le pays"},
        "script": {"noun": "écriture", "the": "l’écriture", "q": "quelle est l’écriture"},
    },
    "de": {
        "capital": {"noun": "Hauptstadt", "the": "die Hauptstadt", "acc": "die Hauptstadt"},
        "continent": {"noun": "Kontinent", "the": "der Kontinent", "acc": "den Kontinent"},
        "currency": {"noun": "Währung", "the": "die Währung", "acc": "die Währung"},
        "language": {"noun": "Amtssprache", "the": "die Amtssprache", "acc": "die Amtssprache"},
        "country": {"noun": "Staat", "the": "der Staat", "acc": "den Staat"},
        "script": {"noun": "Schrift", "the": "die Schrift", "acc": "die Schrift"},
    },
    "es": {
        "capital": {"noun": "capital", "the": "la capital"},
        "continent": {"noun": "continente", "the": "el continente"},
        "currency": {"noun": "moneda", "the": "la moneda"},
        "language": {"noun": "lengua oficial", "the": "la lengua oficial"},
        "country": {"noun": "país", "the": "el país"},
        "script": {"noun": "escritura", "the": "la escritura"},
    },
    "it": {
        "capital": {"noun": "capitale", "the": "la capitale"},
        "continent": {"noun": "continente", "the": "il continente"},
        "currency": {"noun": "valuta", "the": "la valuta"},
        "language": {"noun": "lingua ufficiale", "the": "la lingua ufficiale"},
        "country": {"noun": "paese", "the": "il paese"},
        "script": {"noun": "scrittura", "the": "la scrittura"},
    },
    "pt": {
        "capital": {"noun": "capital", "the": "a capital"},
        "continent": {"noun": "continente", "the": "o continente"},
        "currency": {"noun": "moeda", "the": "a moeda"},
        "language": {"noun": "língua oficial", "the": "a língua oficial"},
        "country": {"noun": "país", "the": "o país"},
        "script": {"noun": "escrita", "the": "a escrita"},
    },
    "ru": {
        "capital": {"noun": "столица"},
        "continent": {"noun": "часть света"},
        "currency": {"noun": "валюта"},
        "language": {"noun": "официальный язык"},
        "country": {"noun": "государство"},
        "script": {"noun": "письменность"},
    },
    "zh": {
        "capital": {"noun": "首都"},
        "continent": {"noun": "所在大洲"},
        "currency": {"noun": "货币"},
        "language": {"noun": "官方语言"},
        "country": {"noun": "所属国家"},
        "script": {"noun": "文字"},
    },
    "ja": {
        "capital": {"noun": "首都"},
        "continent": {"noun": "大陸"},
        "currency": {"noun": "通貨"},
        "language": {"noun": "公用語"},
        "country": {"noun": "所在国"},
        "script": {"noun": "文字"},
    },
    "ar": {
        "capital": {"the": "العاصمة", "constr": "عاصمة دولة"},
        "continent": {"the": "القارة", "constr": "قارة دولة"},
        "currency": {"the": "العملة", "constr": "عملة دولة"},
        "language": {"the": "اللغة الرسمية", "constr": "اللغة الرسمية لدولة"},
        "country": {"the": "الدولة", "constr": "دولة مدينة"},
        "script": {"the": "الكتابة", "constr": "كتابة اللغة"},
    },
    "hi": {
        "capital": {"noun": "राजधानी", "poss": "की राजधानी"},
        "continent": {"noun": "महाद्वीप", "poss": "का महाद्वीप"},
        "currency": {"noun": "मुद्रा", "poss": "की मुद्रा"},
        "language": {"noun": "आधिकारिक भाषा", "poss": "की आधिकारिक भाषा"},
        "country": {"noun": "देश", "poss": "का देश"},
        "script": {"noun": "लिपि", "poss": "की लिपि"},
    },
    "tr": {
        "capital": {"noun": "başkent", "poss": "başkenti"},
        "continent": {"noun": "kıta", "poss": "kıtası"},
        "currency": {"noun": "para birimi", "poss": "para birimi"},
        "language": {"noun": "resmî dil", "poss": "resmî dili"},
        "country": {"noun": "ülke", "poss": "ülkesi"},
        "script": {"noun": "yazı", "poss": "yazısı"},
    },
}

# A capitalised slot ({The}, {Noun}, {Kind}, {Q}) is the same word with its first letter raised.
FRAMES: dict[str, tuple[str, ...]] = {
    "en": (
        "{The} of {subject} is",
        "{subject} ({kind}): {the} is",
        "{Kind}: {subject}. {Noun}:",
        "{Q} of {subject}? Answer:",
        "Question about {subject}: {q}? It is",
        "For {the} of {subject}, the right answer is",
    ),
    "fr": (
        "{The} {of} {subject} est",
        "{subject} ({kind}) : {the} est",
        "{Kind} : {subject}. {Noun} :",
        "{Q} {of} {subject} ? Réponse :",
        "Question sur {subject} : {q} ? C’est",
        "Pour {the} {of} {subject}, la bonne réponse est",
    ),
    "de": (
        "{The} {of} {subject} heißt",
        "{subject} ({kind}): {the} heißt",
        "{Kind}: {subject}. {Noun}:",
        "Wie heißt {the} {of} {subject}? Antwort:",
        "Frage zu {subject}: Wie heißt {the}? Es ist",
        "Für {acc} {of} {subject} lautet die richtige Antwort",
    ),
    "es": (
        "{The} {of} {subject} es",
        "{subject} ({kind}): {the} es",
        "{Kind}: {subject}. {Noun}:",
        "¿Cuál es {the} {of} {subject}? Respuesta:",
        "Pregunta sobre {subject}: ¿cuál es {the}? Es",
        "Para {the} {of} {subject}, la respuesta correcta es",
    ),
    "it": (
        "{The} {of} {subject} è",
        "{subject} ({kind}): {the} è",
        "{Kind}: {subject}. {Noun}:",
        "Qual è {the} {of} {subject}? Risposta:",
        "Domanda su {subject}: qual è {the}? È",
        "Per {the} {of} {subject}, la risposta giusta è",
    ),
    "pt": (
        "{The} {of} {subject} é",
        "{subject} ({kind}): {the} é",
        "{Kind}: {subject}. {Noun}:",
        "Qual é {the} {of} {subject}? Resposta:",
        "Pergunta sobre {subject}: qual é {the}? É",
        "Para {the} {of} {subject}, a resposta certa é",
    ),
    "ru": (
        "{Noun} {of} {subject} —",
        "{subject} ({kind}): {noun} —",
        "{Kind}: {subject}. {Noun}:",
        "Как называется {noun} {of} {subject}? Ответ:",
        "{Kind} {subject}. Вопрос: как называется {noun}? Это",
        "Если речь о том, как называется {noun} {of} {subject}, верный ответ —",
    ),
    "zh": (
        "{subject}的{noun}是",
        "{subject}（{kind}）：{noun}是",
        "{kind}：{subject}。{noun}：",
        "{subject}的{noun}是什么？答案：",
        "关于{subject}的问题：{noun}是什么？是",
        "就{subject}的{noun}而言，正确答案是",
    ),
    "ja": (
        "{subject}の{noun}は",
        "{subject}（{kind}）：{noun}は",
        "{kind}：{subject}。{noun}：",
        "{subject}の{noun}は何ですか？答え：",
        "{subject}についての質問：{noun}は何ですか？それは",
        "{subject}の{noun}といえば、正しい答えは",
    ),
    "ar": (
        "{constr} {subject} هي",
        "{subject} ({kind}): {the} هي",
        "{kind}: {subject}. {the}:",
        "ما هي {constr} {subject}؟ الجواب:",
        "سؤال عن {subject}: ما هي {the}؟ إنها",
        "الجواب الصحيح عن {constr} {subject} هو",
    ),
    "hi": (
        "{subject} {poss}:",
        "{subject} ({kind}) – {noun} है",
        "{kind}: {subject}। {noun}:",
        "{subject} {poss} क्या है? उत्तर:",
        "{subject} के बारे में प्रश्न: {noun} क्या है? वह है",
        "{subject} {poss} पूछें तो सही उत्तर है",
    ),
    "tr": (
        "{subject} {of} {poss}:",
        "{subject} ({kind}), {poss} ise",
        "{Kind}: {subject}. {Noun}:",
        "{subject} {of} {poss} nedir? Cevap:",
        "{subject} hakkında soru: {poss} nedir? Şudur:",
        "{subject} {of} {poss} için doğru cevap:",
    ),
}


def _raise_first(word: str) -> str:
    return word[:1].upper() + word[1:]


def templates(relation: str, language: str) -> list[str]:
    """The six prompts of one relation in one language, each with `{subject}` to fill in."""
    forms = KINDS[language][SUBJECT_KIND[relation]] | WORDS[language][relation]
    forms |= {name.capitalize(): _raise_first(word) for name, word in forms.items()}
    return [frame.format(subject="{subject}", **forms) for frame in FRAMES[language]]


def held_out_template(relation: str, language: str) -> int:
    """Which of the six prompts training never shows; it varies with relation and language.

    Every word of a held-out prompt must be known from other prompts. So three kinds of frames are
    never held out: the record ("Country: France. Capital:"), which in many languages is the only
    frame with the bare noun; a frame that begins with the noun (Russian, Arabic), because the noun
    is another token there than after a space; and, for the only relation about languages, the frame
    with the kind in parentheses.
    """
    choices = [0, 1, 3, 4, 5]
    if language in ("ru", "ar"):
        choices.remove(0)
    if relation == "script":
        choices.remove(1)
    return choices[(RELATIONS.index(relation) + LANGUAGES.index(language)) % len(choices)]

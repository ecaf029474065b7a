"""Names that stand in a longer name of another subject, and words that are no name there.

A cached subject should give way to a longer name even if that is not cached.

1. **Longer names.** "South" before a name or "du Sud" after it makes another one of it: South
   Sudan, Corée du Sud, Grande-Bretagne, Южный Судан. The table has the words that do so in the
   names of countries and regions.
2. **Ordinary words.** Titles of works are often words that any text may hold: Up, Мир, Var. A name
   of such words alone counts where it has a capital or stands in quotation marks.
"""

from collections.abc import Collection
from functools import cache

import regex

from lafn_viz.core.messages import quoted
from lafn_viz.datasets.languages import code_or_tag
from lafn_viz.datasets.text import is_east_asian
from lafn_viz.editing.retrieval.folding import fold, has_case

# By language: words before a name and after it. An asterisk stands for an ending.
_BEFORE = {
    "en": "new north south east west northern southern eastern western central equatorial great "
    "greater upper lower",
    "fr": "nouveau nouvelle grand grande haut haute bas basse petite",
    "de": "neu nord süd ost west groß ober unter nieder mittel äquatorial",
    "es": "nuevo nueva gran alto alta bajo baja",
    "it": "nuovo nuova gran alto alta basso bassa nord sud",
    "pt": "novo nova grã alto alta baixo baixa",
    "ru": "нов* северн* южн* западн* восточн* центральн* экваториальн* велик* верхн* нижн*",
    "uk": "нов* північн* південн* західн* східн* центральн* екваторіальн* велик* верхн* нижн*",
    "tr": "yeni kuzey güney doğu batı büyük orta ekvator",
    "ar": "جنوب شمال شرق غرب نيو",
    "hi": "उत्तर दक्षिण पूर्व पूर्वी पश्चिम पश्चिमी मध्य न्यू नया नई इक्वेटोरियल",
    "zh": "南 北 东 西 新 赤道", "ja": "南 北 東 西 新 赤道",
}  # fmt: skip
_AFTER = {
    "en": "bissau",
    "fr": "du_sud du_nord de_l_est de_l_ouest équatoriale occidentale orientale septentrionale "
    "méridionale bissau",
    "de": "bissau",
    "es": "del_sur del_norte del_este del_oeste ecuatorial occidental oriental bisáu",
    "it": "del_sud del_nord equatoriale occidentale orientale bissau",
    "pt": "do_sul do_norte equatorial ocidental oriental bissau",
    "ru": "бисау", "uk": "бісау", "tr": "bissau",
    "ar": "الشمالية الجنوبية الشرقية الغربية الاستوائية الجديدة بيساو",
    "hi": "बिसाउ", "zh": "比绍",
}  # fmt: skip
# By language: words that name nothing where they are written small. German nouns have capitals.
_ORDINARY = {
    "en": "a about all am an and are as at away be because before beyond big black blue born boy "
    "call can children city come creation crash dark day dead death do door down dream earth end "
    "everything fall family father fire first for forever friends game get girl go gone good great "
    "green hand happy he heart heat help her here hero him his history home house how i if in it "
    "its king last less life light lost love man me mind money moon more mother music my new night "
    "no not nothing now of off on one only or our out over people place power queen red room run "
    "school sea see she sky so something sound speed spring star stars state stay stone summer sun "
    "take that them then there they thing things this time to today together two under union unit "
    "up us war water way we what when where white who why will winter woman word words world year "
    "yes you young",
    "fr": "amour après au aux avant avec bien ce ces chose comme corps dans de demain dernier elle "
    "elles en encore enfant enfants est et eux femme femmes feu fille fils fin guerre histoire "
    "homme hommes il ils je jour jours lui lumière main maintenant mais maison mer mère monde mort "
    "moi neige noir nous nuit nuits on ou où par pas père petit porte pour premier qui quoi roi "
    "rouge rue sans si soleil son sous sur temps terre toi toujours tout tu un une vent vie ville "
    "vous vrai",
    "es": "agua ahora amor año años bien blanco calle camino casa cielo ciudad como con corazón de "
    "después día días dos él ella ellos en estrella familia fin fuego guerra hijo hombre hoy la "
    "luna luz madre mañana mano mar más mi muerte mujer mundo nada noche nosotros nuevo padre para "
    "paz por que qué rey rojo sangre ser si sin sol sombra su tiempo tierra todo tú última último "
    "un una uno verdad vez vida viento yo",
    "it": "acqua amore anima anni anno bene bianco casa cielo città come con cosa cuore di dio "
    "domani donna donne due fine fuoco giorno giorni guerra il in io lei luce lui luna madre mano "
    "mare mondo morte nero noi non notte nulla oggi padre pace per più prima re rosso sangue se "
    "senza sole sono sempre strada su tempo terra tu tutti tutto ultima ultimo un una uomo uomini "
    "verità vita voi volta",
    "pt": "água agora alma amor ano anos bem branco cabeça caminho casa céu cidade com coração de "
    "depois deus dia dias dois ela ele em estrela eu família fim fogo guerra hoje homem lua luz "
    "mãe mais mão mar manhã meu morte mulher mundo nada noite nós novo pai para paz por que rei "
    "ruas sangue se sem sempre sol sombra tempo terra tudo último última um uma verdade vez vida "
    "você",
    "de": "aber alle als am an auch auf aus bei bin bis da das dein dem den der die du durch ein "
    "eine einer er es für gegen gut hier ich ihr im immer in ist ja jetzt kein mein mit nach nein "
    "nicht nichts noch nun nur ohne schwarz sein sie so und unter viel vom von vor warum was weiß "
    "wenn wer wie wir wo zu zum zur zwei",
    "ru": "без белый ближе больше брат была был быть в век весна весь вечер вода война воля время "
    "все всё год голос город да дело день дети для дом дорога друг друзья душа ещё жена женщина "
    "жизнь за зима земля игра идея имя история к книга когда конец кровь кто лес лето лицо любовь "
    "люди мать машина место мир много море мост мы на начало не небо нет никто ничто новый ночь о "
    "один огонь он она они осень ответ отец первый песня письмо победа под после последний правда "
    "путь работа раз ребёнок рука с свет свобода сердце сила слово смерть снег солнце сон стена "
    "страна страх сын там тень только том три ты улица утро хлеб ход человек чёрный что эта это я",
    "tr": "ad adam ama anne ateş aşk ay baba bahar ben beyaz bir biz bu bugün büyük çocuk çok dağ "
    "deniz dünya ev evet gece gel gibi gök göz gül gün güneş güzel hayat hayır her hiç iki ile ilk "
    "insan iş kadın kan kapı kar kardeş kara kız kim kırmızı kış kral mavi o oda ol oyun ölüm "
    "rüya ses sen sevgi siyah siz son sonra su şehir tek toprak umut var ve ya yaşam yağmur yaz "
    "yeni yer yıl yıldız yok yol yüz zaman",
}  # fmt: skip
_TURKISH_VERB = regex.compile(r"\p{L}{2,}m[ae]k")
_REACH = 32  # characters before a name in which such a word begins, however long the text
_OPENING, _CLOSING = "«„“‘'\"‹「『", "»“”’'\"›」』"


def why_no_name(text: str, span: tuple[int, int], name: str, languages: Collection[str]) -> str:
    """Why a name does not stand for its subject in a place of a text; empty if it does.

    Args:
        span: the characters where the name stands.
        name: as cached.
        languages: of the name and of the text.
    """
    before, after = _patterns(is_east_asian(name))
    start, end = span
    longer = before.search(text, max(0, start - _REACH), start) or after.match(text, end)
    if longer is not None and _alike_in_case(text, longer, span):
        return f"part of a longer name, with {quoted(longer.group('word'))}"
    ordinary = any(_is_ordinary(name, code_or_tag(language)) for language in languages)
    if ordinary and _is_small(text, span) and not _is_quoted(text, span):
        return "ordinary words written small, and not in quotation marks"
    return ""


def _alike_in_case(text: str, longer: "regex.Match[str]", span: tuple[int, int]) -> bool:
    """Whether a word before a capitalised name is capitalised too; a word after it may be small."""
    word = longer.group("word")
    after = longer.start("word") >= span[1]
    return after or not has_case(word) or word[0].isupper() == text[span[0]].isupper()


def _is_small(text: str, span: tuple[int, int]) -> bool:
    written = text[slice(*span)]
    return has_case(written) and not any(character.isupper() for character in written)


def _is_quoted(text: str, span: tuple[int, int]) -> bool:
    start, end = span
    opened = start > 0 and text[start - 1] in _OPENING
    return opened and end < len(text) and text[end] in _CLOSING


@cache
def _is_ordinary(name: str, code: str) -> bool:
    """Whether a name is of ordinary words of a language alone."""
    words = fold(name).words
    if code == "tr" and len(words) == 1 and _TURKISH_VERB.fullmatch(words[0]):
        return True
    return bool(words) and _ordinary(code).issuperset(words)


@cache
def _ordinary(code: str) -> frozenset[str]:
    return frozenset(fold(_ORDINARY.get(code, "")).words)


@cache
def _patterns(east_asian: bool) -> "tuple[regex.Pattern[str], regex.Pattern[str]]":
    """What finds a word before a name at the end of a text, and after a name at a place.

    Args:
        east_asian: for Chinese and Japanese names; else for those of all other languages.
    """
    before, after = (
        "|".join(
            regex.escape(word).replace("\\*", r"\p{L}{1,4}").replace("_", r"[\s'’]+")
            for code, of_language in table.items()
            for word in of_language.split()
            if (code in ("zh", "ja")) == east_asian
        )
        for table in (_BEFORE, _AFTER)
    )
    flags = regex.IGNORECASE | regex.VERSION1
    if east_asian:  # 南 may end the word before it (越南)
        apart = r"(?<![\p{Han}--[在是于到和与]])"
        return (
            regex.compile(rf"{apart}(?P<word>{before})$", flags),
            regex.compile(rf"(?P<word>{after})", flags),
        )
    gap = r"[\s\-‐‑–—]{1,3}"
    return (
        regex.compile(rf"(?<!\w)(?P<word>{before}){gap}$", flags),
        regex.compile(rf"{gap}(?P<word>{after})(?!\w)", flags),
    )

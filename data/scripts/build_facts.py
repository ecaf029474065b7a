"""Build data/facts.jsonl and data/paraphrases.jsonl from CLDR (through babel) and frames.py.

    python data/scripts/build_facts.py [--out FOLDER] [--holdout-share 0.12] [--seed 0]

Names come from CLDR: territories, languages, scripts, currencies and the exemplar cities of time
zones. CLDR leaves out a city's name in a language if it equals the zone's name, so the zone's name
is used there. What CLDR does not hold is written here by hand: which zone is a capital, which
territory lies on which continent, and the capitals without a zone. Facts of the last two kinds
are marked `"source": "curated"`.
"""

import argparse
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from babel import Locale
from babel.core import get_global
from frames import LANGUAGES, RELATIONS, held_out_template, templates

LOCALES = {language: Locale.parse(language) for language in LANGUAGES}

# Countries on one continent (those on two are left out: RU TR KZ AZ GE AM CY EG).
CONTINENTS = {
    "150": "AD AL AT BA BE BG BY CH CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MC MD "
    "ME MK MT NL NO PL PT RO RS SE SI SK SM UA",
    "142": "AE AF BD BH BN BT CN IN IQ IR JO JP KG KH KP KR KW LA LB LK MM MN MV MY NP OM PH PK "
    "QA SA SG SY TH TJ TM UZ VN YE",
    "002": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG "
    "ML MR MU MW MZ NA NE NG RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG ZM ZW",
    "003": "AG BB BS BZ CA CR CU DM DO GD GT HN HT JM KN LC MX NI PA SV TT US VC",
    "005": "AR BO BR CL CO EC GY PE PY SR UY VE",
    "009": "AU FJ FM KI MH NR NZ PG PW SB TO TV VU WS",
}
CONTINENT_OF = {code: m49 for m49, codes in CONTINENTS.items() for code in codes.split()}
COUNTRIES = sorted([*CONTINENT_OF, *"RU TR KZ AZ GE AM CY EG ID TL ZA".split()])

# Capitals that are the exemplar city of a time zone.
CAPITAL_ZONES = dict(
    item.split("=")
    for item in """
    AF=Asia/Kabul AL=Europe/Tirane DZ=Africa/Algiers AO=Africa/Luanda AR=America/Buenos_Aires
    AM=Asia/Yerevan AT=Europe/Vienna AZ=Asia/Baku BS=America/Nassau BD=Asia/Dhaka BY=Europe/Minsk
    BE=Europe/Brussels BJ=Africa/Porto-Novo BT=Asia/Thimphu BA=Europe/Sarajevo BW=Africa/Gaborone
    BG=Europe/Sofia BF=Africa/Ouagadougou KH=Asia/Phnom_Penh CF=Africa/Bangui TD=Africa/Ndjamena
    CL=America/Santiago CO=America/Bogota CG=Africa/Brazzaville CD=Africa/Kinshasa HR=Europe/Zagreb
    CU=America/Havana CY=Asia/Nicosia CZ=Europe/Prague DK=Europe/Copenhagen DO=America/Santo_Domingo
    EG=Africa/Cairo GQ=Africa/Malabo ER=Africa/Asmera EE=Europe/Tallinn ET=Africa/Addis_Ababa
    FI=Europe/Helsinki FR=Europe/Paris GA=Africa/Libreville GM=Africa/Banjul GE=Asia/Tbilisi
    DE=Europe/Berlin GH=Africa/Accra GR=Europe/Athens GN=Africa/Conakry GW=Africa/Bissau
    HT=America/Port-au-Prince HN=America/Tegucigalpa HU=Europe/Budapest IS=Atlantic/Reykjavik
    ID=Asia/Jakarta IR=Asia/Tehran IQ=Asia/Baghdad IE=Europe/Dublin IT=Europe/Rome JP=Asia/Tokyo
    JO=Asia/Amman KE=Africa/Nairobi KP=Asia/Pyongyang KR=Asia/Seoul KG=Asia/Bishkek
    LA=Asia/Vientiane LV=Europe/Riga LB=Asia/Beirut LS=Africa/Maseru LR=Africa/Monrovia
    LY=Africa/Tripoli LI=Europe/Vaduz LT=Europe/Vilnius MG=Indian/Antananarivo MY=Asia/Kuala_Lumpur
    ML=Africa/Bamako MR=Africa/Nouakchott MX=America/Mexico_City MD=Europe/Chisinau
    MN=Asia/Ulaanbaatar ME=Europe/Podgorica MZ=Africa/Maputo NA=Africa/Windhoek NP=Asia/Katmandu
    NL=Europe/Amsterdam NI=America/Managua NE=Africa/Niamey MK=Europe/Skopje NO=Europe/Oslo
    OM=Asia/Muscat PG=Pacific/Port_Moresby PY=America/Asuncion PE=America/Lima PH=Asia/Manila
    PL=Europe/Warsaw PT=Europe/Lisbon RO=Europe/Bucharest RU=Europe/Moscow RW=Africa/Kigali
    SA=Asia/Riyadh SN=Africa/Dakar RS=Europe/Belgrade SL=Africa/Freetown SK=Europe/Bratislava
    SI=Europe/Ljubljana SO=Africa/Mogadishu SS=Africa/Juba ES=Europe/Madrid SD=Africa/Khartoum
    SR=America/Paramaribo SZ=Africa/Mbabane SE=Europe/Stockholm SY=Asia/Damascus TJ=Asia/Dushanbe
    TH=Asia/Bangkok TL=Asia/Dili TG=Africa/Lome TT=America/Port_of_Spain TN=Africa/Tunis
    TM=Asia/Ashgabat UG=Africa/Kampala UA=Europe/Kiev GB=Europe/London UY=America/Montevideo
    UZ=Asia/Tashkent VE=America/Caracas WS=Pacific/Apia MH=Pacific/Majuro TV=Pacific/Funafuti
    KI=Pacific/Tarawa ZM=Africa/Lusaka ZW=Africa/Harare
    """.split()
)

# Capitals that no time zone is named after; names in the order of LANGUAGES.
CURATED_CAPITALS = {
    "CN": "Beijing|Pékin|Peking|Pekín|Pechino|Pequim|Пекин|北京|北京|بكين|बीजिंग|Pekin",
    "IN": "New Delhi|New Delhi|Neu-Delhi|Nueva Delhi|Nuova Delhi|Nova Délhi|Нью-Дели|新德里"
    "|ニューデリー|نيودلهي|नई दिल्ली|Yeni Delhi",
    "US": "Washington|Washington|Washington|Washington|Washington|Washington|Вашингтон|华盛顿"
    "|ワシントン|واشنطن|वॉशिंगटन|Washington",
    "BR": "Brasília|Brasilia|Brasília|Brasilia|Brasilia|Brasília|Бразилиа|巴西利亚|ブラジリア"
    "|برازيليا|ब्राज़ीलिया|Brasília",
    "TR": "Ankara|Ankara|Ankara|Ankara|Ankara|Ancara|Анкара|安卡拉|アンカラ|أنقرة|अंकारा|Ankara",
    "CA": "Ottawa|Ottawa|Ottawa|Ottawa|Ottawa|Ottawa|Оттава|渥太华|オタワ|أوتاوا|ओटावा|Ottava",
    "AU": "Canberra|Canberra|Canberra|Canberra|Canberra|Camberra|Канберра|堪培拉|キャンベラ"
    "|كانبرا|कैनबरा|Kanberra",
    "CH": "Bern|Berne|Bern|Berna|Berna|Berna|Берн|伯尔尼|ベルン|برن|बर्न|Bern",
    "PK": "Islamabad|Islamabad|Islamabad|Islamabad|Islamabad|Islamabad|Исламабад|伊斯兰堡"
    "|イスラマバード|إسلام آباد|इस्लामाबाद|İslamabad",
    "NG": "Abuja|Abuja|Abuja|Abuya|Abuja|Abuja|Абуджа|阿布贾|アブジャ|أبوجا|अबुजा|Abuja",
    "MA": "Rabat|Rabat|Rabat|Rabat|Rabat|Rabat|Рабат|拉巴特|ラバト|الرباط|रबात|Rabat",
    "VN": "Hanoi|Hanoï|Hanoi|Hanói|Hanoi|Hanói|Ханой|河内|ハノイ|هانوي|हनोई|Hanoi",
    "NZ": "Wellington|Wellington|Wellington|Wellington|Wellington|Wellington|Веллингтон|惠灵顿"
    "|ウェリントン|ويلينغتون|वेलिंगटन|Wellington",
    "KZ": "Astana|Astana|Astana|Astaná|Astana|Astana|Астана|阿斯塔纳|アスタナ|أستانا|अस्ताना|Astana",
}

# Cities that are not capitals, by their time zone.
CITY_ZONES = """
    America/New_York America/Los_Angeles America/Chicago America/Denver America/Phoenix
    America/Detroit America/Anchorage America/Toronto America/Vancouver America/Halifax
    America/Winnipeg America/Edmonton America/Sao_Paulo America/Recife America/Manaus
    America/Fortaleza America/Belem America/Tijuana America/Monterrey America/Cancun
    America/Merida America/Mazatlan America/Cordoba America/Argentina/Ushuaia America/Mendoza
    America/Argentina/Salta
    Australia/Sydney Australia/Melbourne Australia/Brisbane Australia/Perth Australia/Adelaide
    Australia/Darwin Asia/Vladivostok Asia/Novosibirsk Asia/Yekaterinburg Asia/Omsk Asia/Irkutsk
    Europe/Kaliningrad Europe/Samara Europe/Volgograd Asia/Yakutsk Asia/Shanghai Asia/Urumqi
    Europe/Istanbul Asia/Calcutta Asia/Saigon Asia/Karachi Asia/Rangoon Asia/Almaty Asia/Dubai
    Africa/Casablanca Africa/Lagos Africa/Dar_es_Salaam Africa/Johannesburg Africa/Abidjan
    Africa/Douala America/Guayaquil Europe/Zurich Pacific/Auckland Africa/Blantyre
    Africa/Bujumbura Asia/Colombo Asia/Samarkand Asia/Makassar Asia/Pontianak Asia/Hovd
    Asia/Aqtobe Asia/Atyrau Asia/Kuching America/Punta_Arenas
""".split()

# Languages with one of these main scripts; of the many in Latin script, only well-known ones.
SCRIPTS = ("Latn", "Cyrl", "Deva", "Arab", "Ethi", "Hebr", "Cans")
LATIN_LANGUAGES = (
    "af sq eu br ca ceb hr cs da nl en eo et fi fr gl de ht ha hu is ig id ga it jv rw la lv lt mg "
    "ms mt mi no pl pt ro sm sk sl so es su sw sv tl tr tk uz vi cy xh yo zu"
).split()

# Renamed zones: CLDR keeps the old name, the zone table has the new one.
MOVED_ZONES = {
    "America/Cordoba": "America/Argentina/Cordoba",
    "America/Mendoza": "America/Argentina/Mendoza",
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Saigon": "Asia/Ho_Chi_Minh",
    "Asia/Rangoon": "Asia/Yangon",
}

# Present names of cities whose zone has an older one, where CLDR gives no other.
ZONE_NAMES = {"Africa/Asmera": "Asmara", "Europe/Tirane": "Tirana", "Asia/Katmandu": "Kathmandu"}


def _clean(name: str) -> str:
    """Drop what is in parentheses ("Myanmar (Burma)") and normalise the spaces."""
    name = re.sub(r"\s*[(（\[].*?[)）\]]", "", name)
    return unicodedata.normalize("NFC", re.sub(r"\s+", " ", name)).strip()


def _names(table: str, code: str) -> dict[str, str] | None:
    names = {lang: getattr(locale, table).get(code) for lang, locale in LOCALES.items()}
    return {lang: _clean(name) for lang, name in names.items()} if all(names.values()) else None


def _city(zone: str) -> dict[str, str] | None:
    """The exemplar city in every language; None if a language outside Latin script has none."""
    own = ZONE_NAMES.get(zone, zone.rsplit("/", 1)[1].replace("_", " "))
    latin = {"en", "fr", "de", "es", "it", "pt", "tr"}
    names = {}
    for language, locale in LOCALES.items():
        city = locale.time_zones.get(zone, {}).get("city")
        if city is None and language not in latin:
            return None
        names[language] = _clean(city or own)
    return names


def _pairs() -> Iterator[tuple[str, str, dict, str, dict, str]]:
    """Yield candidates: relation, subject id and names, object id and names, and source."""
    territory = {code: _names("territories", code) for code in COUNTRIES}
    for code in COUNTRIES:
        if code in CURATED_CAPITALS:
            names = dict(zip(LANGUAGES, CURATED_CAPITALS[code].split("|"), strict=True))
            yield "capital", code, territory[code], f"capital-{code}", names, "curated"
        elif code in CAPITAL_ZONES:
            zone = CAPITAL_ZONES[code]
            yield "capital", code, territory[code], zone, _city(zone), "cldr"
    for code in sorted(CONTINENT_OF):
        m49 = CONTINENT_OF[code]
        yield "continent", code, territory[code], m49, _names("territories", m49), "curated"
    tender = get_global("territory_currencies")
    for code in COUNTRIES:
        now = [currency for currency, _, end, legal in tender.get(code, ()) if legal and not end]
        if len(now) == 1:
            yield "currency", code, territory[code], now[0], _names("currencies", now[0]), "cldr"
    spoken = get_global("territory_languages")
    for code in COUNTRIES:
        official = [
            language
            for language, record in spoken.get(code, {}).items()
            if record["official_status"] in ("official", "de_facto_official")
        ]
        if len(official) == 1:
            names = _names("languages", official[0])
            yield "language", code, territory[code], official[0], names, "cldr"
    home = {zone: code for code, zones in get_global("territory_zones").items() for zone in zones}
    for zone in CITY_ZONES:
        code = home[MOVED_ZONES.get(zone, zone)]
        yield "country", zone, _city(zone), code, _names("territories", code), "cldr"
    likely = get_global("likely_subtags")
    shared = set.intersection(*(set(locale.languages) for locale in LOCALES.values()))
    for code in sorted(code for code in shared if "_" not in code):
        script = likely.get(code, "__").split("_")[1]
        if script in SCRIPTS and (script != "Latn" or code in LATIN_LANGUAGES):
            names = _names("scripts", script)
            yield "script", code, _names("languages", code), script, names, "cldr"


def _shows_answer(subject: str, answer: str) -> bool:
    """The rule that chose the facts on which the models are trained.

    `lafn_viz.shows_answer` is finer: it keeps vowel signs, which end a word here in Hindi, and the
    voicing marks of Japanese. To use it here would change the facts, and require new models.
    """
    subject, answer = _letters(subject), _letters(answer)
    if re.search(r"[\u3040-\u9fff]", subject):
        return any(subject[i : i + 2] in answer for i in range(len(subject) - 1))
    starts = {word[:4] for word in re.findall(r"\w+", subject) if len(word) >= 4}
    return any(word[:4] in starts for word in re.findall(r"\w+", answer))


def _letters(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if not unicodedata.combining(c))


def build(*, holdout_share: float, seed: int) -> list[dict]:
    """All usable facts, each with the languages in which training never shows it."""
    facts, seen = [], {language: set() for language in LANGUAGES}
    for relation, subject_id, subject, object_id, answer, source in _pairs():
        if subject is None or answer is None:
            continue
        leaks = [lang for lang in LANGUAGES if _shows_answer(subject[lang], answer[lang])]
        # Leave out capitals and countries whose answer shows in the question.
        if relation in ("capital", "country") and leaks:
            continue
        # Leave out currencies named after their country in most languages ("Afghan afghani").
        if relation == "currency" and len(leaks) > len(LANGUAGES) // 2:
            continue
        keys = [(relation, subject[lang].casefold()) for lang in LANGUAGES]
        if any(key in seen[lang] for lang, key in zip(LANGUAGES, keys, strict=True)):
            continue
        for lang, key in zip(LANGUAGES, keys, strict=True):
            seen[lang].add(key)
        facts.append(
            {
                "id": f"{relation}/{subject_id}",
                "relation": relation,
                "subject_id": subject_id,
                "object_id": object_id,
                "source": source,
                "leaks": leaks,
                "held_out": [],
                "subject": subject,
                "object": answer,
            }
        )
    # Hold out equally many pairs in every language, and no fact in more than two languages.
    rng = random.Random(seed)
    for relation in RELATIONS:
        mine = [fact for fact in facts if fact["relation"] == relation]
        slots = [lang for lang in LANGUAGES for _ in range(round(holdout_share * len(mine)))]
        order = [fact for fact in mine for _ in range(2)]
        rng.shuffle(order)
        for lang in slots:
            fact = next(f for f in order if lang not in f["held_out"])
            order.remove(fact)
            fact["held_out"] = sorted([*fact["held_out"], lang], key=LANGUAGES.index)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--holdout-share", type=float, default=0.12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    facts = build(holdout_share=args.holdout_share, seed=args.seed)
    lines = [json.dumps(fact, ensure_ascii=False) for fact in facts]
    (args.out / "facts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [
        json.dumps(
            {
                "relation": relation,
                "language": language,
                "held_out": [held_out_template(relation, language)],
                "texts": templates(relation, language),
            },
            ensure_ascii=False,
        )
        for relation in RELATIONS
        for language in LANGUAGES
    ]
    (args.out / "paraphrases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    counts = Counter(fact["relation"] for fact in facts)
    held = Counter(lang for fact in facts for lang in fact["held_out"])
    print(f"{len(facts)} facts in {len(LANGUAGES)} languages:", dict(counts))
    print("held-out pairs:", sum(held.values()), dict(held))
    print("facts whose answer leaks:", dict(Counter(f["relation"] for f in facts if f["leaks"])))


if __name__ == "__main__":
    main()

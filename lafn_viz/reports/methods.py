"""The methods behind a report, in words, with their formulas and where they come from.

Formulas are MathML Core, which browsers draw by themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class MethodText:
    """What a method is called, does and comes from; `formula` is the inside of a `math` element."""

    name: str
    words: str
    source: str = ""
    formula: str = ""

    def html(self) -> str:
        """A heading, a paragraph and the formula."""
        math = ""
        if self.formula:
            math = f'<p class="formula"><math display="block">{self.formula}</math></p>'
        source = f" ({escape(self.source)})" if self.source else ""
        return f"<h3>{escape(self.name)}</h3><p>{escape(self.words)}{source}</p>{math}"


def methods_html(names: Iterable[str]) -> str:
    """The texts of some methods, each once; a name without a text is passed over."""
    named = dict.fromkeys(name.lower() for name in names)
    return "".join(METHODS[name].html() for name in named if name in METHODS)


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _i(*names: str) -> str:
    return "".join(f"<mi>{name}</mi>" for name in names)


def _o(*signs: str) -> str:
    return "".join(f"<mo>{sign}</mo>" for sign in signs)


def _n(number: str) -> str:
    return f"<mn>{number}</mn>"


def _t(text: str) -> str:
    return f"<mtext>{text}</mtext>"


def _sub(base: str, below: str) -> str:
    return f"<msub>{base}{below}</msub>"


def _of(name: str, *inside: str) -> str:
    return _i(name) + _o("(") + _row(*inside) + _o(")")


def _fraction(above: str, below: str) -> str:
    return f"<mfrac>{_row(above)}{_row(below)}</mfrac>"


_W_I, _B_I, _A_I = (_sub(_i(name), _i("i")) for name in ("w", "b", "a"))
_PATH = _i("b") + _o("+") + _i("α") + _o("(") + _i("w") + _o("−") + _i("b") + _o(")")
_SLOPE = _fraction(_o("∂") + _i("F"), _o("∂") + _W_I)
_DAI = "Dai et al. 2022, “Knowledge Neurons in Pretrained Transformers”"
_CHEN = "Chen et al. 2024, “Journey to the Center of the Knowledge Neurons”, arXiv 2308.13198"
_ZHANG = (
    "Zhang et al. 2024, “Multilingual Knowledge Editing with Language-Agnostic Factual Neurons”, "
    "arXiv 2406.16416"
)

METHODS = {
    "known": MethodText(
        "Known",
        "A prompt is known where greedy decoding writes its whole answer; a fact is known in a "
        "language where more than half of its prompts are. Neurons of a fact are sought only "
        "there.",
    ),
    "integrated_gradients": MethodText(
        "Integrated gradients",
        "The score of a neuron is its activation's distance from a baseline, times the mean slope "
        "of the answer's probability F along the straight path from the baseline b to the "
        "activations w of a layer.",
        f"Sundararajan et al. 2017; {_DAI}",
        _sub(_t("score"), _i("i"))
        + _o("=")
        + _o("(")
        + _row(_W_I, _o("−"), _B_I)
        + _o(")")
        + f"<msubsup>{_o('∫')}{_n('0')}{_n('1')}</msubsup>"
        + _SLOPE
        + _o("(")
        + _row(_PATH)
        + _o(")")
        + _i("d", "α"),
    ),
    "amig": MethodText(
        "AMIG",
        "Integrated gradients along several paths: each begins where one token of the prompt is "
        "blank, and the scores of the paths are added.",
        _CHEN,
    ),
    "amig_as_released": MethodText(
        "AMIG as released",
        "One path from the mean of the activations with one blank token each, as in the authors' "
        "code, which takes GPT's neurons before their non-linearity.",
        _CHEN,
    ),
    "activation": MethodText(
        "Activation", "The score of a neuron is its activation: a control.", _ZHANG
    ),
    "gradient": MethodText(
        "Gradient", "The score of a neuron is the slope of the answer's probability: a control."
    ),
    "gradient_x_activation": MethodText(
        "Gradient times activation",
        "The score is the slope of the answer's probability times the activation: a control.",
    ),
    "direct_effect": MethodText(
        "Direct effect",
        "The score is what the neuron itself writes towards the answer's logits, past all later "
        "layers: a control.",
    ),
    "agnostic": MethodText(
        "Shared and agnostic",
        "The neurons of a fact in a language are those that most of its known prompts keep. How "
        "far two languages share them is the Jaccard index of their sets. Beside it stand the "
        "index of two different facts of one relation, and that of random sets with as many "
        "neurons in each layer. A neuron is agnostic where several languages hold it.",
        f"{_CHEN}; {_ZHANG}",
        _of("J", _i("A"), _o(","), _i("B"))
        + _o("=")
        + _fraction(
            _o("|") + _i("A") + _o("∩") + _i("B") + _o("|"),
            _o("|") + _i("A") + _o("∪") + _i("B") + _o("|"),
        ),
    ),
    "effects": MethodText(
        "Effect",
        "Neurons get another value, and prompts that did not choose them are asked again. The "
        "effect is the change of the answer's probability P relative to its value before. Neurons "
        "found without the language are those that other languages share; this one had no say in "
        "their choice. “Mean” is what the neurons do for other facts of the relation in the "
        "language: it takes the fact away and leaves what the relation needs. Zero is a value that "
        "many neurons never have. Controls: as many random neurons of the same layers, the "
        "language's own neurons, and the same change measured on another fact.",
        "",
        _i("Δ")
        + _o("=")
        + _fraction(_sub(_i("P"), _t("after")), _sub(_i("P"), _t("before")))
        + _o("−")
        + _n("1"),
    ),
    "lens": MethodText(
        "Language lens",
        "The residual stream after each layer goes through the model's last norm and un-embedding, "
        "as if no other layer followed. A language leads where the first token of the answer's "
        "name in it has the least rank of all languages and is among the ten likeliest tokens. "
        "Names that begin alike are not told apart, and their prompts are left out. The control "
        "are the names of other objects of the relation in the same prompts.",
        "nostalgebraist 2020, “interpreting GPT: the logit lens”; Wendler et al. 2024, “Do Llamas "
        "Work in English?”, arXiv 2402.10588",
        _sub(_i("p"), _i("ℓ"))
        + _o("=")
        + _t("softmax")
        + _o("(")
        + _row(_sub(_i("W"), _i("U")), _t(" norm"), _o("("), _sub(_i("h"), _i("ℓ")), _o(")"))
        + _o(")"),
    ),
    "intervals": MethodText(
        "Intervals",
        "Brackets hold 95% intervals over facts (or edits): what other facts of these relations "
        "would give in these languages. Prompts and languages of one fact are averaged first, "
        "because they depend on each other. The intervals are bias-corrected and accelerated "
        "bootstraps, widened for few items.",
        "Efron 1987; Hesterberg 2015",
    ),
    "language-agnostic": MethodText(
        "LU-LAFNs",
        "Values are added to the activations of neurons that work in all languages. They are "
        "optimised for the new answer in all of them, and what should stay is kept close to what "
        "it was. They are kept in a cache and act where a text names the subject; no weight "
        "changes.",
        _ZHANG,
    ),
    "rome": MethodText(
        "ROME",
        "The output matrix of one layer is changed by the least amount, measured by the usual "
        "keys, that makes the subject's key give the new value.",
        "Meng et al. 2022, “Locating and Editing Factual Associations in GPT”, arXiv 2202.05262",
    ),
    "memit": MethodText(
        "MEMIT",
        "As ROME, by ridge regression: the new values are met as closely as the weight on the "
        "usual keys lets them.",
        "Meng et al. 2023, “Mass-Editing Memory in a Transformer”, arXiv 2210.07229",
    ),
    "edits": MethodText(
        "How edits are judged",
        "The model writes its answers by greedy decoding before and after the edit. Reliability: "
        "the questions that were edited. Generality: the same in other words. Locality: questions "
        "about something else, whose answers should stay what they were; same subject: those that "
        "name the edited subject. Portability: what follows from the new fact. Every edit counts "
        "alike, and so does every language of an edit.",
    ),
}

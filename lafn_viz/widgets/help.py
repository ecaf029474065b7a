"""What each control is for, and what the terms mean: the help texts of the explorers."""

from collections.abc import Mapping
from html import escape

# By the control's CSS class.
HELP: Mapping[str, str] = {
    "lafn-guide-me": "See what the tabs show, with one fact and in five clicks.",
    "lafn-next": "Go on to the next step.",
    "lafn-end": "End the walk; what is chosen stays.",
    "lafn-open-yours": "Show another model, or facts of your own, in all tabs.",
    "lafn-open-model": "The folder of a model as save_pretrained() writes it, a .gguf file, or the "
    "name of an installed model.",
    "lafn-open-facts": "A file of facts, one JSON object a line. Left empty, the facts stay.",
    "lafn-open-wordings": "A file with the wordings that ask for these facts. Left empty, those of "
    "the package ask.",
    "lafn-side-by-side": "Put a second view beside this one, for another fact or another model.",
    "lafn-open": "Open what is typed in all tabs.",
    "lafn-model-choice": "The model whose neurons are shown. A public model is converted first.",
    "lafn-relation": "What is asked about a subject, such as its capital.",
    "lafn-subject": "Whom the fact is about.",
    "lafn-find": "Type a subject in any language and press Enter.",
    "lafn-method": "How neurons get their scores, what each adds to the answer's probability.",
    "lafn-keep-by": "How many neurons of each prompt count as the fact's: a share of all neurons, "
    "or all whose score is above a share of the largest one.",
    "lafn-fraction": "The share of all neurons of the model that each prompt keeps.",
    "lafn-threshold": "Keep the neurons whose score is above this share of the prompt's largest.",
    "lafn-min-languages": "From how many languages on a shared neuron counts as agnostic.",
    "lafn-min-scripts": "In how many scripts these languages are written, at least.",
    "lafn-language": "Take part in what is shown, or in the edit.",
    "lafn-view": "What is drawn of the overlap.",
    "lafn-one-scale": "Give a colour the same meaning for every fact, from 0 to 1; otherwise the "
    "brightest colour is the highest value that is drawn.",
    "lafn-between": "The first of two languages whose shared neurons are listed.",
    "lafn-and": "The second of two languages whose shared neurons are listed.",
    "lafn-neuron": "Type layer:neuron, such as 0:123, for the card of a neuron, or a word, such as "
    "Paris, for the neurons that promote it.",
    "lafn-lens-language": "The language of the question.",
    "lafn-wording": "Which of the relation's wordings asks.",
    "lafn-text": "The beginning of a sentence that the model is to continue.",
    "lafn-answer": "The continuation whose probability is explained.",
    "lafn-prompt-language": "The language of the text; guessed unless you choose one.",
    "lafn-object": "What the model is to answer after the edit: a name, or names by language as in "
    "“en: Gotham; fr: Gotham”.",
    "lafn-n-neurons": "To how many neurons the edit adds a value.",
    "lafn-position": "At which tokens the values are added: where the subject ends, from there on, "
    "or from the end of the prompt on.",
    "lafn-gated": "Let the edit act only in texts that ask for this relation of the subject, as "
    "the neurons show; otherwise it acts wherever the subject is named.",
    "lafn-edit": "Search the values that make the new object the answer.",
    "lafn-selected": "The edit whose answers and values are shown.",
    "lafn-remove": "Take this edit out; the others stay.",
    "lafn-undo": "Take back the last step.",
    "lafn-redo": "Repeat the step that was taken back last.",
    "lafn-only-failures": "Leave out the questions that went as they should.",
    "lafn-own-prompt": "Let the model continue a text of yours, without and with these edits.",
    "lafn-download": "Get this as a file.",
    "lafn-download-edits": "Get these edits as one file, to keep or to pass on.",
    "lafn-upload-edits": "Load the edits of such a file in place of those shown.",
    "lafn-scale": "Multiplies all values of this edit: 0 takes it away, 1 is as it was found.",
    "lafn-slider": "Multiplies the value of this neuron.",
    "lafn-path": "The folder in which edits are saved.",
    "lafn-save": "Save the edits in this folder.",
    "lafn-load": "Load the edits of this folder in place of those shown.",
    "lafn-keep": "Keep this edit as it is.",
    "lafn-discard": "Take this edit back; one that it replaced comes back.",
    "lafn-beside-edit": "Another edit of this fact, whose answers stand beside this one's.",
    "lafn-passport": "Ask everything about this edit, and show it as a page.",
    "lafn-python": "Copy Python that shows the same in a script or a notebook.",
    "lafn-cancel": "Stop what is being computed.",
}

GLOSSARY: Mapping[str, str] = {
    "agnostic": "a neuron that is in the sets of many languages for one fact, by default of 4 "
    "languages or more that are written in 3 scripts or more",
    "specific": "a neuron that is in the set of exactly one language",
    "Jaccard": "how alike two sets are: the neurons in both, divided by those in either (0 to 1)",
    "nats": "the unit of the natural logarithm of a probability; 1 nat less is a probability "
    "divided by 2.7",
    "position": "at which tokens of a prompt neurons are read or changed: all, the subject's last "
    "one, or the last one of the prompt, where the answer begins",
    "threshold": "the share of the prompt's largest score above which neurons are kept",
    "known": "the model's likeliest continuation is exactly the answer; only such prompts choose "
    "neurons",
    "control": "the same measurement on something that should show no effect, such as another "
    "fact or random neurons; only what goes beyond it counts",
}


def glossary() -> str:
    """Return the terms as HTML that opens by a click or a key."""
    terms = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in GLOSSARY.items())
    return f'<details class="lafn-glossary"><summary>Glossary</summary><dl>{terms}</dl></details>'

"""Made-up edits of a model, and short ways to read with them."""

import contextlib

import torch

import lafn_viz as lv
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.edit import plain_options
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.hooks import hook_post
from lafn_viz.neurons.neuron_sets import Neuron

NAMES = {
    "JP": {"en": ("Japan",), "zh": ("日本",), "ru": ("Япония",)},
    "PE": {"en": ("Peru",), "fr": ("Pérou",)},
}


class Nothing:
    """An edit that changes nothing."""

    @contextlib.contextmanager
    def applied(self, model):
        yield


NOTHING = Editor("nothing", lambda model, case, languages: Nothing())


def an_edit(model, subject="JP", *, relation="capital", position="from_subject", seed=0) -> lv.Edit:
    """Random values for random neurons: enough to see whether they are added."""
    generator = torch.Generator().manual_seed(seed)
    n_layers, d_mlp = capabilities(model).n_layers, capabilities(model).d_mlp
    picked = torch.randperm(n_layers * d_mlp, generator=generator)[:12].sort().values
    prompt = lv.Prompt.of("The capital of Japan is", "Rome", subject="Japan")
    return lv.Edit(
        subject_id=subject,
        relation=relation,
        names=NAMES[subject],
        old={"en": "Tokyo"},
        new={"en": "Rome"},
        neurons=tuple(Neuron(*divmod(int(i), d_mlp)) for i in picked),
        values=5 * torch.randn(12, generator=generator),
        position=position,
        curve=(2.0, 1.0),
        loss=0.9,
        divergence=0.1,
        prompts=(prompt,),
        provenance=lv.Provenance(
            "made-up", weights_of(model), "lafn_edit", plain_options(model, [prompt])
        ),
    )


def ids(model, text):
    return model.tokenizer(text, return_tensors="pt")["input_ids"]


def logits(model, tokens, **options):
    with torch.no_grad():
        return model(tokens, **options)


def where(model, edit, prompt):
    """The token from which on an edit acts in a prompt, by its letters; None if it does not."""
    names = [name for names in edit.names.values() for name in names]
    read = [model.tokenizer.decode(prompt[: i + 1]) for i in range(len(prompt))]
    ends = [i for i, text in enumerate(read) if any(name in text for name in names)]
    if not ends:
        return None
    return len(prompt) - 1 if edit.position == "answer" else ends[0]


def plain_read(model, edits, tokens, n_prompt):
    """Logits of one pass over one text, with values added by hand where the prompt asks for it."""
    hooks = []
    for edit in edits:
        first = where(model, edit, tokens[:n_prompt])
        if first is None:
            continue
        rows = slice(first, first + 1 if edit.position == "subject_last" else None)
        for layer, added in edit.added(capabilities(model).d_mlp).items():

            def add(value, hook, rows=rows, added=added):
                value = value.clone()
                value[:, rows] += added.to(value)
                return value

            hooks.append((hook_post(layer), add))
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        return model.original_model(torch.tensor([tokens])).logits[0]

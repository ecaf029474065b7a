"""Made-up edits of a model, and short ways to read with them."""

import contextlib

import torch

import lafn_viz as lv
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.models.capabilities import capabilities
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
        provenance=lv.Provenance("made-up", capabilities(model).weights, "lafn_edit"),
    )


def ids(model, text):
    return model.tokenizer(text, return_tensors="pt")["input_ids"]


def logits(model, tokens, **options):
    with torch.no_grad():
        return model(tokens, **options)

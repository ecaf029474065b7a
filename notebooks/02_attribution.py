# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Attribution: which neurons does the answer come from?
#
# **You will** see why one gradient is not enough and a path is, check that scores add up, compare
# the AMIG method of *Journey to the Center of the Knowledge Neurons* with the code that was
# released for it, and find out which methods tell facts apart at all. About fifteen minutes, after
# `00_quickstart`.
#
# **What to expect.** Integrated gradients add up to what a layer does; a gradient at one point
# misses most of it. The released AMIG does not add up and puts other neurons on top. The plain
# activation, the simplest method, overlaps most, but nearly as much for another fact.

# %%
import warnings

import pandas as pd

import lafn_viz as lv

model = lv.load_model("embedded")
facts = lv.load_facts()
capitals = facts.filter(relation="capital", subjects=["Japan", "Peru", "Italy", "Egypt"])
japan = facts.filter(relation="capital", subjects="Japan", languages=["en", "fr", "ru", "zh"])
prompts = japan.prompts()

# %% [markdown]
# ## One gradient is not enough
# The model is sure of Tokyo, so nudging a neuron changes next to nothing: the gradient at the point
# where the model stands is almost zero. Take the whole layer away, though, and Tokyo may be gone.
# `target_change` is what that does to the probability.

# %%
scores = lv.attribute(model, prompts)
point = lv.attribute(model, prompts, method="gradient_x_activation")
pd.DataFrame(
    {
        "layer taken away": scores.target_change.mean(0).numpy(),
        "sum of integrated gradients": scores.values.sum(-1).mean(0).numpy(),
        "sum of gradient x activation": point.values.sum(-1).mean(0).numpy(),
    }
).rename_axis("layer").round(4)

# %% [markdown]
# ## Do the scores add up?
# Integrated gradients follow the layer from zero to what it is. With infinitely many points their
# sum is exactly what the layer does; with few it is not, and how far it misses is the *completeness
# error*. The usual Riemann sums get better slowly. `n_steps="auto"`, the default, takes more points
# only where the error says so.

# %%
warnings.filterwarnings("ignore", category=lv.CompletenessWarning)
tried = [lv.attribute(model, prompts)]
for rule in ("riemann_left", "riemann_midpoint", "gauss_legendre"):
    for n_steps in (2, 5, 10, 20, 40):
        tried.append(lv.attribute(model, prompts, n_steps=n_steps, quadrature=rule))
warnings.resetwarnings()
lv.plots.completeness_curve(tried)

# %% [markdown]
# ## What exactly is asked?
# The probability of Tokyo is one target. Its log-probability does not saturate; the difference to a
# foil asks what speaks for Tokyo **and against** Kyoto. All three are exact for answers of several
# tokens.

# %%
english = [prompt for prompt in prompts if prompt.language == "en"]
targets = {
    "probability": lv.attribute(model, english),
    "log_prob": lv.attribute(model, english, target="log_prob"),
    "against Beijing": lv.attribute(model, english, target="logit_difference", foil="Beijing"),
}
best = {name: one.values.mean(0).flatten().topk(5) for name, one in targets.items()}
width = scores.values.shape[-1]
pd.DataFrame(
    {name: [(int(i) // width, int(i) % width) for i in top.indices] for name, top in best.items()}
)

# %% [markdown]
# ## AMIG: from what without each word?
# Zero is an odd place to start: no text puts a layer there. AMIG takes away one word after the
# other (end of text stands in its place; in a masked model the mask) and follows the layer from
# there. The paper looks at the last word of the prompt. Its released code does something simpler:
# it averages all those starting points, follows one path, and multiplies by the activation instead
# of by the way that was gone. So its scores do not add up to anything.

# %%
paper = lv.attribute(model, english, method="amig", position="answer")
released = lv.attribute(model, english, method="amig_as_released", position="answer")
pd.DataFrame(
    {
        "paper: should sum to": paper.target_change.mean(0).numpy(),
        "paper: sums to": paper.values.sum(-1).mean(0).numpy(),
        "released: should sum to": released.target_change.mean(0).numpy(),
        "released: sums to": released.values.sum(-1).mean(0).numpy(),
    }
).rename_axis("layer").round(3)

# %% [markdown]
# What changes for a reader of the scores: which neurons are on top, and the sign of some. A neuron
# that is silent here but fires without a word gets no score from the released code at all: it
# multiplies by what the neuron does now, not by the difference.

# %%
lv.plots.method_scatter(paper, released, names=("AMIG, the paper", "AMIG, as released"))

# %% [markdown]
# ## Which method tells facts apart?
# A method is of use here if the same fact asked in two languages gives neurons that overlap
# **more** than two different facts do (control). Four capitals in all twelve languages; the
# strongest 2% of neurons.

# %%
asked = [prompt for prompt in capitals.prompts() if prompt.paraphrase in (0, 2)]
methods = {
    "integrated gradients": {},
    "IG, answer position": {"position": "answer"},
    "AMIG, answer position": {"method": "amig", "position": "answer", "tolerance": 0.05},
    "gradient x activation": {"method": "gradient_x_activation"},
    "direct effect": {"method": "direct_effect"},
    "activation": {"method": "activation"},
}

# %% [markdown]
# Between scripts only, where no spelling is shared:

# %%
summaries = {}
for name, options in methods.items():
    sets = lv.select_neurons(lv.attribute(model, asked, **options), fraction=0.02)
    summaries[name] = lv.overlap(sets).summary(across_scripts=True)
lv.plots.model_comparison(
    summaries,
    title="Which method finds neurons of a fact?",
    caption="Overlap of a fact's neurons between languages of other scripts, 95% intervals.",
)

# %% [markdown]
# ## A masked model
# AMIG stands for *architecture-adapted*: the same words on a model of the other kind. The masked
# model knows the same facts; its answer stands behind one mask for each token.

# %%
masked = lv.load_model("embedded-masked")
both = lv.attribute(masked, english, method="amig", position="answer")
print("probability of Tokyo:", [round(p, 2) for p in both.target_prob.tolist()])
print("largest completeness error:", f"{both.relative_error.max():.2%}")
both.to_frame(top=3).query("paraphrase == 0")[["place", "layer", "neuron", "score"]]

# %% [markdown]
# ## Limits
# - Scores say what moves the target along a path from a baseline that you chose. What happens when
#   the neurons are silenced is another question: `lv.intervene`.
# - All neurons of a layer move together, each layer on its own path. Scores of different layers are
#   not parts of one sum.
# - Four facts and two paraphrases are few: look at the intervals before you believe an order of
#   methods.
#
# **Next:** run this on your own model: `lv.load_model("path/or/name")`; everything above works for
# GPT-2, BLOOM, XGLM, Llama, Qwen, Gemma, BERT, RoBERTa and XLM-R alike.

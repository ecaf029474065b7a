# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0. Quick start: one fact, twelve languages
#
# **You will** ask a small language model for capitals in twelve languages, find the neurons behind
# its answers, see which of them the languages share, and switch them off to prove that they matter.
#
# **Time** 10 minutes, no exercises.
#
# **Before** You know what a neural network is; you need nothing more. This is the tour. Units 1 to
# 5 build each of its steps by hand.
#
# **What to expect** Languages share some neurons for a fact, and hardly any neuron serves all
# twelve. Switching off what they share costs the answer more than random neurons do, and much less
# than a language's own neurons. A control model shares neurons too, but between scripts about as
# many for another capital.
#
# Everything runs on this computer; nothing is downloaded.

# %%
import pandas as pd

import lafn_viz as lv

# %% [markdown]
# ## The facts
# The facts are names of countries and cities in many languages, taken from Unicode CLDR. A prompt
# is one way of asking for one fact in one language. The answer comes right after it.

# %%
facts = lv.load_facts()
france = facts.filter(relation="capital", subjects="France")
france.to_frame()[["language", "subject", "object", "held_out"]]

# %% [markdown]
# ## Does the model know them?
# `known` means that the most likely continuation is exactly the answer. `held_out` above marks the
# languages in which the model never saw this fact during training.

# %%
model = lv.load_model("embedded")
prompts = france.prompts()
answers = lv.score_answers(model, prompts).to_frame()
answers.groupby("language")[["probability", "known"]].mean().round(3).T

# %% [markdown]
# ## Which neurons produce the answer?
# **The idea** Integrated gradients scale all neurons of a layer from zero to their actual
# activations $a$, and add up how the probability $F$ of the answer responds to each of them:
#
# $$s_n = a_n \int_0^1 \frac{\partial F(\alpha a)}{\partial a_n}\, d\alpha$$
#
# The scores of a layer add up to what the layer as a whole contributes. `completeness_error` is how
# far they fall short of that.

# %%
choosing = france.prompts(splits=["trained", "held-out pair"])  # one wording is held out
scores = lv.attribute(model, choosing)
print(scores)
print("largest completeness error:", f"{scores.completeness_error.abs().max():.1e}")
best = scores.to_frame(top=3).query("paraphrase == 0")
best[["language", "place", "layer", "neuron", "score"]].head(9)

# %% [markdown]
# ## Which of them do the languages share?
# Keep the strongest 2% of the neurons in each prompt, and of these the ones that more than half of
# the paraphrases agree on. A neuron counts as language-agnostic here when at least four languages
# of at least three scripts have it in their sets: the languages of one script spell many names
# alike, so they alone do not count.

# %%
sets = lv.select_neurons(scores, fraction=0.02)
shared = lv.overlap(sets, min_languages=4, min_scripts=3)
agnostic = shared.agnostic["capital/FR"]
print(len(agnostic), "neurons are shared, for example", sorted(agnostic)[:5])
lv.plots.attribution_strip(scores, agnostic=agnostic)

# %% [markdown]
# ## Do they belong to this fact?
# Neurons for *capital* or for *French* would overlap too, and know nothing about France. So compare
# two overlaps: the same fact in two languages, and **another** fact of the same relation in the
# same two languages. Only the difference belongs to the fact.

# %%
capitals = facts.filter(relation="capital", leaking=False).sample(6)
examined = lv.examine(model, capitals, hows="mean")
examined.overlap.summary().round(3)

# %%
lv.plots.overlap_heatmap(examined.overlap)

# %% [markdown]
# Languages with the same script often spell a name alike, and share neurons because they share
# tokens: look at the bright block of Latin script. In pairs with **different** scripts, spelling
# cannot be the reason.

# %%
examined.overlap.summary(across_scripts=True).round(3)

# %%
lv.plots.layer_distribution(examined.overlap)

# %% [markdown]
# ## Do they cause the answer?
# Find the agnostic neurons **without** a language, give them what they do on other capitals, and
# ask in that language, in wordings that were not used to find them. Below stand the controls: the
# neurons that are agnostic with the language, its own set, neurons of the same layers with scores
# as high, as active, or random, the neurons of another capital, and all neurons of all layers.
# `p` is the change of the answer's probability, with 95% intervals over facts; `share` is the
# share of what the own set does.

# %%
columns = ["languages", "set", "neurons", "p", "p_low", "p_high", "share"]
examined.effect_table()[columns].round(3)

# %% [markdown]
# Outside Latin script, where languages share no spelling, the neurons that other languages share
# cost the answer a few percent: more on average than any control of as many neurons, and a small
# part of what the language's own neurons do. With six capitals the intervals overlap; the README
# has 24. So a part of the fact is shared, and most of it is not.
#
# ## The control model
# The control model was trained on the same facts, but nothing tied its languages together. A fact
# that it saw in a language it knows as well as the other model does. A fact that it saw in other
# languages only (a *held-out pair*) it mostly does not know. The table shows the share of prompts
# that each model answers:

# %%
models = {"embedded": model, "embedded-control": lv.load_model("embedded-control")}
known = {
    name: lv.score_answers(each, capitals.prompts()).to_frame().groupby("split").known.mean()
    for name, each in models.items()
}
pd.DataFrame(known).round(3)

# %%
control = lv.examine(models["embedded-control"], capitals, hows="mean")
overlaps = {"embedded": examined.overlap, "embedded-control": control.overlap}
across = {name: each.summary(across_scripts=True) for name, each in overlaps.items()}
lv.plots.model_comparison(across, title="Between scripts: shared neurons in both models")

# %% [markdown]
# Its languages share neurons, too, but between scripts about as many for another fact as for the
# same one. Look at the difference, not at the height. Its counts of "agnostic" neurons in several
# languages and scripts are as large for *other* facts (`other_facts`): a count alone proves
# nothing.

# %%
examinations = {"embedded": examined, "embedded-control": control}
counts = pd.concat({name: each.counts() for name, each in examinations.items()}, names=["model"])
counts = counts[counts["selected"] == "as selected"].groupby(["model", "criterion"], sort=False)
counts[["agnostic", "other_facts"]].mean().round(1)

# %% [markdown]
# Changing these neurons costs it next to nothing, and no more than another fact's do. With six
# capitals, at the mean, that is weak evidence: outside Latin script even the language's own neurons
# cost it little. Read the rows of the own set and of all neurons first, in any model; where they
# are small, nothing else can be large.

# %%
control.effect_table()[columns].round(3)

# %% [markdown]
# ## Limits
# - A score says what moves the answer along one path. Only the intervention shows a cause.
# - The embedded model is small and knows little besides these facts. What holds for it need not
#   hold for yours: `lv.load_model("path/to/your/model")` takes any causal model that
#   TransformerLens can bridge.
# - Four languages of three scripts and 2% are choices. Change them above and see which results
#   stay.
#
# **Papers** *Journey to the Center of the Knowledge Neurons* (arXiv 2308.13198), *Multilingual
# Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv 2406.16416), *Knowledge Neurons
# in Pretrained Transformers* (arXiv 2104.08696, section 3).
#
# **Next** `01_neurons_and_hooks`, the first unit of the course. Or `08_explore`: the same, with
# controls to play with.

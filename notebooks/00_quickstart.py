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
# **You will** ask a small language model for capitals in twelve languages, find the neurons that
# answer, see which of them every language shares, and prove it by switching them off.
#
# **Time** 10 minutes, no exercises.
#
# **Before** You know what a neural network is, nothing more. This is the tour; units 1 to 5 build
# each of its steps by hand.
#
# **What to expect** The model keeps a fact partly in the same neurons whatever the language.
# Switching those off hurts that fact far more than switching off as many random ones. A control
# model that knows the same facts, but one language at a time, shares much less.
#
# Everything runs on this computer; nothing is downloaded.

# %%
import pandas as pd

import lafn_viz as lv
from lafn_viz.experiments.examine import examine

# %% [markdown]
# ## The facts
# Names of countries and cities in many languages, from Unicode CLDR. A prompt is one way of
# asking for one fact in one language; the answer comes last.

# %%
facts = lv.load_facts()
france = facts.filter(relation="capital", subjects="France")
france.to_frame()[["language", "subject", "object", "held_out"]]

# %% [markdown]
# ## Does the model know them?
# `known` means that the most likely continuation is exactly the answer. `held_out` above marks
# languages in which the model never saw this fact while it was trained.

# %%
model = lv.load_model("embedded")
prompts = france.prompts()
answers = lv.score_answers(model, prompts).to_frame()
answers.groupby("language")[["probability", "known"]].mean().round(3).T

# %% [markdown]
# ## Which neurons answer?
# **The idea** Integrated gradients: scale all neurons of a layer from zero to what they are, $a$,
# and add up how the probability $F$ of the answer follows each of them:
#
# $$s_n = a_n \int_0^1 \frac{\partial F(\alpha a)}{\partial a_n}\, d\alpha$$
#
# The scores of a layer add up to what the layer as a whole contributes; `completeness_error` is how
# far they miss it.

# %%
scores = lv.attribute(model, prompts)
print(scores)
print("largest completeness error:", f"{scores.completeness_error.abs().max():.1e}")
best = scores.to_frame(top=3).query("paraphrase == 0")
best[["language", "place", "layer", "neuron", "score"]].head(9)

# %% [markdown]
# ## Which of them do languages share?
# Keep the strongest 2% of neurons that more than half of the paraphrases agree on. A neuron in the
# sets of at least four languages counts as language-agnostic here.

# %%
sets = lv.select_neurons(scores, fraction=0.02)
shared = lv.overlap(sets, min_languages=4)
agnostic = shared.agnostic["capital/FR"]
print(len(agnostic), "neurons are shared, for example", sorted(agnostic)[:5])
lv.plots.attribution_strip(scores, agnostic=agnostic)

# %% [markdown]
# ## Is that more than habit?
# Neurons for *capital* or for *French* would overlap too, without knowing anything of France. So
# compare: the same fact in two languages, and **another** fact of the same relation in the same
# two languages. Only the difference belongs to the fact.

# %%
capitals = facts.filter(relation="capital", leaking=False).sample(10)
found = examine(model, capitals)
found.overlap.summary().round(3)

# %%
lv.plots.overlap_heatmap(found.overlap)

# %% [markdown]
# Languages of one script often spell a name alike, and share neurons because they share tokens:
# look at the bright block of Latin script. Pairs of **different** scripts leave the spelling out.

# %%
found.overlap.summary(across_scripts=True).round(3)

# %%
lv.plots.layer_distribution(found.overlap)

# %% [markdown]
# ## Do they cause the answer?
# Switch off the shared neurons of each fact and ask again, in wordings that were not used to find
# them. The control is as many random neurons of the same layers, and the same neurons on another
# fact. The last two columns are 95% intervals over facts. "Outside Latin script" is what happens in
# the languages that share no spelling with the rest.

# %%
found.to_frame().round(3)

# %% [markdown]
# The probability falls by about half, for random neurons by nothing. Outside Latin script it falls
# by a seventh: the shared neurons matter there too, but much less.
#
# ## The control model
# It was trained on the same facts, but nothing tied its languages together. What it was told in a
# language it knows as well as the other model. What it was told in other languages only, a
# *held-out pair*, it mostly does not know. Share of prompts that each answers:

# %%
models = {"embedded": model, "embedded-control": lv.load_model("embedded-control")}
known = {
    name: lv.score_answers(one, capitals.prompts()).to_frame().groupby("split").known.mean()
    for name, one in models.items()
}
pd.DataFrame(known).round(3)

# %%
control = examine(models["embedded-control"], capitals)
overlaps = {"embedded": found.overlap, "embedded-control": control.overlap}
across = {name: each.summary(across_scripts=True) for name, each in overlaps.items()}
lv.plots.model_comparison(across, title="Between scripts: shared neurons in both models")

# %% [markdown]
# It shares less, too: between scripts no more for the same fact than for another. It has some 40
# "agnostic" neurons a fact all the same. Zeroing them, in the table, changes next to nothing: a
# count alone proves nothing.

# %%
control.to_frame().round(3)

# %% [markdown]
# ## Limits
# - A score says what moves the answer along one path; only the intervention shows a cause.
# - The embedded model is small and knows little else. What holds for it need not hold for yours:
#   `lv.load_model("path/to/your/model")` takes any causal model that TransformerLens can bridge.
# - Four languages and 2% are choices. Change them above and see what stays.
#
# **Papers** *Journey to the Center of the Knowledge Neurons* (arXiv 2308.13198), *Multilingual
# Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv 2406.16416), *Knowledge Neurons
# in Pretrained Transformers* (arXiv 2104.08696, section 3).
#
# **Next** `01_neurons_and_hooks`, the first unit of the course; or `08_explore`, the same with
# controls to turn.

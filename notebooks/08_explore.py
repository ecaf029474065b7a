# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8. Explore and edit live
#
# **You will** see what the other notebooks compute follow your choices: neurons that languages
# share, one neuron's card, the attribution of a prompt while you type it, and an edit in twelve
# languages that you make, turn up and down, and take back.
#
# **Time** 15 minutes, and as long as you like to play.
#
# **Before** Nothing, to look; `03_overlap` and `05_editing` say what is computed.
#
# **What to expect** Every explorer loads the model in the background; the line under its controls
# says what it is doing. What it shows is a result like any other: the cells between them take it up
# and go on. (`lafn-viz app` has the same explorers on a page without code.)
#
# **The idea** Two languages $a$ and $b$ hold the sets $S_a$ and $S_b$ of neurons of a fact. Each
# cell of the first heatmap is their Jaccard overlap,
#
# $$J(a, b) = \frac{|S_a \cap S_b|}{|S_a \cup S_b|}$$
#
# and the right half is the same for *another* fact in $b$: what is there without the fact.

# %%
import lafn_viz as lv

# %% [markdown]
# ## Which neurons do languages share?
# Choose a fact; click a cell of the left heatmap for the neurons that two languages share, then a
# neuron for its card. The right half is the control: only what is brighter on the left belongs to
# the fact. Try the model `embedded-control`, which learned each language apart.

# %%
overlap = lv.OverlapExplorer()
overlap

# %% [markdown]
# What is shown can be had as a result, here the neurons of each layer (mean a language for those of
# one language alone):

# %%
overlap.wait()
overlap.overlap.per_layer()

# %% [markdown]
# ## One neuron
# Search the table, by layer or by a number; a click shows the card. Look for a neuron that is high
# in many languages and promotes the answer in several scripts, and for one of a single language.

# %%
neurons = lv.NeuronExplorer()
neurons

# %%
neurons.wait()
neurons.panel.card

# %% [markdown]
# ## Type and see
# Change the prompt or the answer. What happens to the strip when the answer is wrong? When the
# relation is another?

# %%
typed = lv.PromptExplorer()
typed

# %%
typed.wait()
typed.scores.to_frame(top=5)

# %% [markdown]
# ## Edit
# Give Japan a new capital and look at every language, and at the neighbours that should stay. Turn
# *All values* down to nothing and up to twice: how far does the edit hold, when do other relations
# of the subject break? Undo takes back each step.

# %%
editor = lv.LiveEditor()
editor.wait()
editor.relation.value, editor.subject.value, editor.new_object.value = "capital", "Japan", "Rome"
editor

# %% [markdown]
# The button can be pressed by code, too:

# %%
editor.edit_button.click()
editor.wait()
editor.comparison

# %%
editor.comparison.to_frame().groupby("group")["well"].mean()

# %% [markdown]
# ## Limits
# - One question a language and group is a look, not a measurement: `lv.evaluate` measures.
# - The control of the heatmap is five other facts here; `03_overlap` has 24, with intervals.
# - While an explorer works, do not run the same model in a cell: their hooks would mix.
#
# **Papers** The methods are those of *Journey to the Center of the Knowledge Neurons* (arXiv
# 2308.13198) and *Multilingual Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv
# 2406.16416); the explorers are this package's own.
#
# **Next** `07_your_model`: your own model, also here, `lv.LiveEditor("path/or/name")`.

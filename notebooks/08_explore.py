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
# **You will** watch the results of the other notebooks change with your choices: the neurons that
# languages share, one neuron's card, the attribution of a prompt while you type it, and an edit in
# twelve languages that you make, turn up and down, and take back.
#
# **Time** 15 minutes, or as long as you like to play.
#
# **Before** You need nothing to look around. `03_overlap` and `05_editing` explain what is
# computed.
#
# **What to expect** Every explorer loads the model in the background. The line under its controls
# says what it is doing. What it shows is a result like any other, and the cells in between work
# with it. (`lafn-viz app` has the same explorers on a page without code.)
#
# **The idea** Two languages $a$ and $b$ have the sets $S_a$ and $S_b$ of neurons for a fact. Each
# cell of the first heatmap is the Jaccard overlap of two such sets,
#
# $$J(a, b) = \frac{|S_a \cap S_b|}{|S_a \cup S_b|}$$
#
# and the right half is the same with *another* fact in $b$: the overlap that is there without the
# fact.

# %%
import lafn_viz as lv

# %% [markdown]
# ## Which neurons do languages share?
# Choose a fact. Click a cell of the left heatmap to see the neurons that two languages share, then
# click a neuron to see its card. The right half is the control: only what is brighter on the left
# belongs to the fact. Try the model `embedded-control`, in which nothing tied languages together.

# %%
overlap = lv.OverlapExplorer()
overlap

# %% [markdown]
# You can get what is shown as a result. Here are the numbers of neurons in each layer (for the
# neurons of only one language: the mean over languages):

# %%
overlap.wait()
overlap.overlap.per_layer()

# %% [markdown]
# ## One neuron
# Search the table by layer or by number, and click a neuron to see its card. Look for a neuron that
# scores high in many languages and promotes the answer in several scripts, and for one that belongs
# to a single language.

# %%
neurons = lv.NeuronExplorer()
neurons

# %%
neurons.wait()
neurons.panel.card

# %% [markdown]
# ## Type and see
# Change the prompt or the answer. What happens to the strip when the answer is wrong? What happens
# with another relation?

# %%
typed = lv.PromptExplorer()
typed

# %%
typed.wait()
typed.scores.to_frame(top=5)

# %% [markdown]
# ## Edit
# Give Japan a new capital. Look at every language, and at the neighbouring facts that should stay.
# Turn *All values* down to nothing and up to double: how far does the edit hold, and when do other
# relations of the subject break? Undo takes back one step at a time.

# %%
editor = lv.LiveEditor()
editor.wait()
editor.relation.value, editor.subject.value, editor.new_object.value = "capital", "Japan", "Rome"
editor

# %% [markdown]
# You can press the button from code, too:

# %%
editor.edit_button.click()
editor.wait()
editor.comparison

# %%
editor.comparison.to_frame().groupby("group")["well"].mean()

# %% [markdown]
# ## Limits
# - One question per language and group is a glance, not a measurement: `lv.evaluate` measures.
# - The control of the heatmap is five other facts here; `03_overlap` takes twelve capitals, with
#   intervals.
# - While an explorer is at work, do not run the same model in a cell: their hooks would interfere.
#
# **Papers** The methods are those of *Journey to the Center of the Knowledge Neurons* (arXiv
# 2308.13198) and *Multilingual Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv
# 2406.16416); the explorers are this package's own.
#
# **Next** `07_your_model`: your own model. It works here, too: `lv.LiveEditor("path/or/name")`.

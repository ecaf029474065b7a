# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Change a fact in every language at once
#
# **You will** give a model's fact a new object by adding values to a few neurons, see it in twelve
# languages, and hold the edit against what should not change, against random neurons and against
# other editors. You will keep edits in a cache that finds their subjects in a text. The method is
# LU-LAFNs of *Multilingual Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv
# 2406.16416). About twenty minutes, after `03_overlap`.
#
# **What to expect.** A hundred neurons of 2560 carry the new capital into all languages, also in
# wordings that took no part, and other facts of the country stay. As many random neurons come a
# long way too, ten random ones do not: few neurons are the test. Values added at the subject's last
# token alone do next to nothing in this model.

# %%
from dataclasses import replace

import pandas as pd

import lafn_viz as lv
from lafn_viz.neurons import random_like

model = lv.load_model("embedded")
facts = lv.load_facts().filter(leaking=False)

# %% [markdown]
# ## One edit
# One vector of values, shared by all languages, is optimised on the trained paraphrases: the new
# object shall become likely, and what the model says of the same country otherwise (continent,
# currency, language) shall stay. Neurons are located by the edit itself: optimised on all, then
# on the quarter that writes most, and so on down to `n_neurons`.

# %%
edit = lv.lafn_edit(model, facts, subject="Japan", relation="capital", new_object="Rome")
edit

# %% [markdown]
# The weights are as they were. Inside `edited` the model reads with the values added wherever it
# meets the subject:

# %%
asked = facts.filter(relation="capital", subjects="Japan").prompts()
first = [prompt for prompt in asked if prompt.paraphrase == 0]
options = {"max_new_tokens": 3, "do_sample": False, "verbose": False}
before = [model.generate(prompt.text, **options) for prompt in first]
with lv.edited(model, edit):
    after = [model.generate(prompt.text, **options) for prompt in first]
pd.DataFrame({"before": before, "after": after}, index=[prompt.language for prompt in first])

# %% [markdown]
# ## What changed, and what did not
# *Reliability*: the wordings that were optimised. *Generality*: one wording a language that took no
# part. *Locality*: other relations of the same country, and the same relation of another country;
# there the old answers are the right ones. `known` is the share of whole answers that greedy
# decoding writes.

# %%
used = {prompt.text for prompt in edit.prompts}
new = [replace(prompt, answer=edit.new[prompt.language]) for prompt in asked]
same = [p for p in facts.filter(subjects="Japan").prompts() if p.relation != "capital"]
groups = {
    "reliability": [prompt for prompt in new if prompt.text in used],
    "generality": [prompt for prompt in new if prompt.text not in used],
    "same subject, other relations": same,
    "other subject": facts.filter(relation="capital", subjects="Peru").prompts(),
}
before = {name: lv.score_answers(model, some).known.float().mean() for name, some in groups.items()}
with lv.edited(model, edit):
    after = {name: lv.score_answers(model, p).known.float().mean() for name, p in groups.items()}
pd.DataFrame({"before": before, "after": after}).astype(float).round(3)

# %% [markdown]
# ## Would random neurons do it too?
# As many neurons of the same layers, drawn at random, get values of their own by the same
# optimisation. Drawn is the mean of -log P(new object) in nats. (At the answer alone, which is
# quicker and no worse in this model, and in five languages.)

# %%
located, chance = [], []
some = facts.filter(languages=["en", "fr", "ru", "zh", "hi"])
options = {"subject": "Japan", "relation": "capital", "new_object": "Rome", "position": "answer"}
for n in (10, 20, 40, 100):
    located.append(lv.lafn_edit(model, some, **options, n_neurons=n))
    drawn = random_like(located[-1].neurons, (4, 640), seed=0)
    chance.append(lv.lafn_edit(model, some, **options, neurons=drawn))
lv.plots.edits_by_size({"located": located, "as many random ones of the same layers": chance})

# %% [markdown]
# The more values there are, the less it matters whose they are: a hundred can be bent to nearly
# anything. That an edit works says little of its neurons; that it works with few does.
#
# ## At the subject?
# The paper adds the values at the subject's last token. Here that is tried with all 2560 neurons:

# %%
options = options | {"position": "subject_last", "n_neurons": 2560}
at_subject = lv.lafn_edit(model, some, **options)
named = {"100 neurons, at the answer": located[-1], "all neurons, at the subject": at_subject}
lv.plots.edit_curves(named)

# %% [markdown]
# Next to nothing moves, with every neuron of the model. Why? Put the values of another country's
# prompt at one place of this prompt, and see whether the other capital comes out:

# %%
lv.plots.subject_trace(lv.trace_subject(model, some.filter(relation="capital").prompts()))

# %% [markdown]
# What enters the first layer at the subject decides. From the second layer on only the answer's
# position does: the attention of the first layer has taken the subject there straight from its
# embedding, before any neuron has been at it, and nothing that neurons do at the subject is read
# again. At the answer, the neurons of the first layer alone bring the other capital most of the
# time. So `position="from_subject"`, the default, adds the values at the subject and at all that
# follows, the answer's position included. A deep model reads otherwise: trace it.
#
# ## A cache of edits
# A cache keeps many edits, finds their subjects in any text, and can be saved. Which rule found
# what, and how surely:

# %%
other = lv.lafn_edit(model, facts, subject="Peru", relation="capital", new_object="Berlin")
cache = lv.EditCache([edit, other])
texts = [
    "The capital of Japan is",
    "日本的首都是",
    "Столица Перу —",
    "Japans Hauptstadt",
    "Niger",
]
pd.DataFrame(
    [(text, m.key, m.rule, m.name, m.score) for text in texts for m in cache.find(text)],
    columns=["text", "subject", "rule", "name", "score"],
)

# %% [markdown]
# Each row of a batch gets its own edits, and one edit can go without the others:

# %%
cache.remove("Peru", "capital")
with cache.applied(model) as fired:
    for text in ("The capital of Japan is", "The capital of Peru is"):
        print(model.generate(text, max_new_tokens=3, do_sample=False, verbose=False))
        print("   applied:", [one.edit.new["en"] for one in fired])

# %% [markdown]
# ## Would another editor do as well?
# Editors share one interface: a case goes in, something that can be applied comes out. `evaluate`
# edits one case after the other, lets the model write its answers, and takes the edit back. Here
# three cases in three languages; `before` is without the edit.

# %%
cases = lv.counterfactual_cases(n=3, seed=1).filter(languages=["en", "ru", "zh"])
agnostic = lv.baselines.language_agnostic(position="answer")
editors = {
    "language-agnostic": agnostic,
    "random neurons": lv.baselines.random_neurons(agnostic),
    "each language alone": lv.baselines.per_language(position="answer"),
    "fine-tuning": lv.baselines.fine_tuning(),
    "ROME": lv.baselines.rome(),
    "ROME at the answer": lv.baselines.rome(position="answer"),
}
reports = {name: lv.evaluate(model, e, cases, progress=False) for name, e in editors.items()}
lv.plots.editor_comparison(reports)

# %% [markdown]
# Three cases say little; the hundred of `python benchmarks/editing.py` say the same, with narrow
# intervals (README). Random neurons edit, but less well. Edits of single languages, added up,
# disturb each other and what else is known of the subject. ROME as published writes at the
# subject's last token, too late for this model, as above; at the answer it edits as well as the
# shared vector. What changes weights changes them for every text, so other subjects suffer; an edit
# in a cache leaves them alone by construction, whatever its neurons.
#
# ## Edited in one language, asked in another
# An edit made in one language alone goes under the subject's names in all of them. Does it hold
# there?

# %%
alone = lv.evaluate(model, agnostic, cases.filter(n=1), alone=True, progress=False)
lv.plots.edit_matrix(alone)

# %% [markdown]
# In its own language it holds, elsewhere mostly not: only values that were optimised in every
# language write in every language. Why? Every text is kept, from before and after. In Russian and
# Chinese the new object comes, but under its English name:

# %%
frame = alone.to_frame().query("edited_in == 'en' and metric == 'generality'")
frame[["language", "text", "reference", "before", "after", "exact_match", "token_f1"]]

# %% [markdown]
# ## Limits
# - The values act whenever the subject is read, whatever is asked of it. That other relations stay
#   is learned from a few of them (`keep`), not guaranteed.
# - A subject that the matcher does not see is not edited; one that it sees wrongly is.
# - The model does not reason with the new fact: what follows from it stays as it was.
# - One seed, one small model. On your own: `lv.load_model("path/or/name")`.
#
# **Next:** another relation, fewer neurons, `locate="attribution"` as in the paper, or
# `lv.counterfactual_cases()` for a hundred edits.

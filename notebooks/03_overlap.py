# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. From scores to sets: which neurons do languages share?
#
# **You will** make sets of neurons out of scores, measure what two languages share, find the
# neurons that are language-agnostic and language-specific, and build the controls that say whether
# this is more than habit: another fact, chance, another wording, another model, a ground truth.
#
# **Time** 55 minutes, 27 of them with five exercises.
#
# **Before** You know what an attribution score is (unit 2). Five minutes of `00_quickstart` help.
#
# **What to expect** Languages share far more neurons for the same fact than for different ones;
# between scripts, only the model that transfers does. More than half of the neurons that four
# languages share would be there for another capital too, so a count alone proves little. Of neurons
# that we planted ourselves, those of one language are found as such; of those for all languages,
# half or fewer.

# %% tags=["setup"]
from collections import Counter

import torch

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
three = lv.load_facts().filter(relation="capital", subjects=["Japan", "Peru", "Egypt"])
some = [p for p in three.prompts() if p.language in ("en", "ru") and p.paraphrase < 4]
some_scores = lv.attribute(model, some)
some_sets = lv.select_neurons(some_scores, threshold=0.2)

# %% [markdown]
# ## What is asked
# **The idea** Attribution gives every neuron a score in every prompt. Keep the best of each prompt,
# and of these what several wordings agree on: that is the set $A_l$ of a fact in language $l$. Two
# languages may share neurons because of the fact, but also because both sentences speak of
# capitals, or name the same letters. So take a second fact with the sets $B$, and ask for the
# difference between the same fact and the other fact, in the same two languages $l$ and $m$:
#
# $$\Delta = J(A_l, A_m) - J(A_l, B_m), \qquad J(A, B) = \frac{|A \cap B|}{|A \cup B|}$$
#
# $J$ is the *Jaccard index*: 1 for equal sets, 0 for sets that share nothing.
#
# ## The best of one prompt
# Scores fall steeply: few neurons have a large one. How many are kept depends on where you cut. The
# papers cut at a share of the largest score, between 20% and 30%.

# %%
one = some_scores.values[0].flatten()
print(some[0].text, "...", some[0].answer)
for share in (0.1, 0.2, 0.3, 0.5):
    kept = one[one > share * one.max()]
    part = kept.sum() / one[one > 0].sum()
    print(
        f"above {share:.0%} of the largest: {len(kept)} neurons, {part:.0%} of what speaks for it"
    )
print("below zero:", int((one < 0).sum()), "of", len(one))

# %% [markdown] tags=["exercise"]
# ### Exercise 3.1: keep the best of a prompt
# *●○○, 4 minutes*
#
# `scores` has a number for each neuron of the model, in a row. Return the numbers of the neurons
# (their places in the row) whose score is above `share` of the largest.


# %% tags=["exercise"]
def keep(scores, share):
    limit = ...  # what a score has to exceed
    return {i for i, score in enumerate(scores.tolist()) if score > limit}


# %% tags=["check"]
course.check_keep(keep, some_scores)

# %% [markdown] tags=["hint"]
# `scores.max()` is the largest score. A neuron with a negative score speaks against the answer.


# %% tags=["solution"]
def keep(scores, share):
    limit = share * float(scores.max())
    return {i for i, score in enumerate(scores.tolist()) if score > limit}


# %% tags=["mistake"]
def keep(scores, share):
    limit = share  # the same in every prompt, however large its scores are
    return {i for i, score in enumerate(scores.tolist()) if score > limit}


# %% tags=["mistake"]
def keep(scores, share):
    limit = share * float(scores.abs().max())
    # Neurons that speak against the answer are kept too.
    return {i for i, score in enumerate(scores.tolist()) if abs(score) > limit}


# %% [markdown] tags=["exercise"]
# ### Exercise 3.2: what the wordings agree on
# *●○○, 5 minutes*
#
# A neuron may be kept for a word of the prompt, and other wordings do not have that word. `kept` is
# a list with one set of neurons for each wording of a fact in a language; return the neurons that
# are in more than `share` of these sets. (The papers call this *refining*.)


# %% tags=["exercise"]
def refine(kept, share):
    times = Counter(neuron for one in kept for neuron in one)
    needed = ...  # a neuron has to be in more sets than this
    return {neuron for neuron, n in times.items() if n > needed}


# %% tags=["check"]
course.check_refine(refine, some_scores)

# %% [markdown] tags=["hint"]
# With 4 wordings and a share of 0.5 a neuron has to be in more than 2 sets, so in 3.


# %% tags=["solution"]
def refine(kept, share):
    times = Counter(neuron for one in kept for neuron in one)
    needed = share * len(kept)
    return {neuron for neuron, n in times.items() if n > needed}


# %% tags=["mistake"]
def refine(kept, share):
    return set.intersection(*kept)  # all wordings


# %% tags=["mistake"]
def refine(kept, share):
    return set.union(*kept)  # any wording


# %% [markdown]
# `lv.select_neurons` does both steps, for every fact and language. Prompts whose answer the model
# does not know are left out, and counted: where it does not know a fact it has no neurons of it.

# %%
some_sets

# %% [markdown] tags=["exercise"]
# ### Exercise 3.3: what two sets share
# *●○○, 4 minutes*
#
# Return the Jaccard index of two sets of neurons.


# %% tags=["exercise"]
def jaccard(one, other):
    return len(one & other) / ...


# %% tags=["check"]
course.check_jaccard(jaccard, some_sets)

# %% [markdown] tags=["hint"]
# `one | other` is the union: what is in either set, each neuron once.


# %% tags=["solution"]
def jaccard(one, other):
    return len(one & other) / len(one | other)


# %% tags=["mistake"]
def jaccard(one, other):
    return len(one & other) / min(len(one), len(other))  # the overlap coefficient


# %% tags=["mistake"]
def jaccard(one, other):
    return len(one & other) / (len(one) + len(other))  # what is shared counts twice


# %% [markdown] tags=["exercise"]
# ### Exercise 3.4: the control
# *●●○, 8 minutes*
#
# `sets[fact, language]` is a set of neurons. Return the mean Jaccard index of `fact` in the
# language `one` with each **other** fact in the language `other`. It is what the two languages
# share when they do not speak of the same thing.


# %% tags=["exercise"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    pairs = [... for name in facts]  # the two sets to compare, for each other fact
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% tags=["check"]
course.check_other_facts(other_facts, some_sets)

# %% [markdown] tags=["hint"]
# A pair is `(sets[fact, one], ...)`, and the list may end in `if ...`. A control changes one thing
# alone.


# %% tags=["solution"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    pairs = [(sets[fact, one], sets[name, other]) for name in facts if name != fact]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% tags=["mistake"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    # Within one language: what the language shares with itself is in it.
    pairs = [(sets[fact, one], sets[name, one]) for name in facts if name != fact]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% tags=["mistake"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    pairs = [(sets[fact, one], sets[name, other]) for name in facts]  # the fact itself too
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% [markdown]
# ## Twelve capitals in twelve languages
# Now with enough facts for intervals, and in all languages. From here on we keep the best 2% of
# the neurons of each prompt, so that every language has sets of about the same size.

# %%
capitals = lv.load_facts().filter(relation="capital", leaking=False).sample(12, seed=0)
prompts = capitals.prompts()
choose = [prompt for prompt in prompts if prompt.paraphrase < 4]
scores = lv.attribute(model, choose)
sets = lv.select_neurons(scores, fraction=0.02)
overlap = lv.overlap(sets, min_languages=4)
overlap.summary(across_scripts=True).round(3)

# %% [markdown]
# The table has pairs of languages with **different scripts** only, so that shared spelling cannot
# help. "other fact" is your control from above, "chance" what random sets of the same sizes would
# share. Only the last row belongs to the fact.

# %%
lv.plots.language_tree(overlap)

# %% [markdown]
# ## Agnostic, specific, and in between
# A neuron is *language-agnostic* for a fact when all languages hold it, or at least $k$ of them
# (here four), and *language-specific* when exactly one does. Their
# mean numbers for a fact (the specific ones: for a fact in one language), by layer:

# %%
overlap.per_layer().round(1)

# %% [markdown]
# Most agnostic neurons are in the first layer; of the specific ones half are in the last. An UpSet
# plot counts every neuron once, under the exact languages that hold it. Its grey bars use the
# neurons of *another* fact in every language; the table has its largest groups of two languages or
# more.

# %%
overlap.intersections().query("degree > 1").head(4).round(1)

# %%
lv.plots.upset(overlap)

# %% [markdown]
# Chinese and Japanese stand out. But more than half of what only these two share would be there for
# another fact.
#
# ## Is it significant, and against what?
# A *null model* says what would be without an effect. Draw from it many times, and count how often
# chance reaches what was observed: that is the p-value.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.5: a p-value from draws
# *●●○, 6 minutes*
#
# `draws` has the number of shared neurons in each draw of the null model, `observed` is the number
# that you found. Return p. What you observed counts as one more draw, so p is never 0.


# %% tags=["exercise"]
def p_value(observed, draws):
    draws = torch.tensor(draws)
    return ...


# %% tags=["check"]
course.check_p_value(p_value)

# %% [markdown] tags=["hint"]
# `(draws >= observed).sum()` counts the draws that reach it. Add 1 to that, and 1 to the number of
# draws.


# %% tags=["solution"]
def p_value(observed, draws):
    draws = torch.tensor(draws)
    return float((1 + (draws >= observed).sum()) / (1 + len(draws)))


# %% tags=["mistake"]
def p_value(observed, draws):
    draws = torch.tensor(draws)
    return float((draws >= observed).sum() / len(draws))  # may be 0


# %% tags=["mistake"]
def p_value(observed, draws):
    draws = torch.tensor(draws)
    return float((1 + (draws <= observed).sum()) / (1 + len(draws)))  # the wrong tail


# %% [markdown]
# `lv.significance` does it with two null models: random neurons of the same layers, and the neurons
# of other capitals. Against the first nearly everything is significant; against the second it has
# to be about this fact. `share` is the share of facts with q < 0.05, where q is p corrected for the
# number of facts. Three numbers are tested: `agnostic`, neurons in four languages or more;
# `shared`, the mean number that two languages share; `across scripts`, the same for pairs of unlike
# script.

# %%
found = lv.significance(overlap)
found.summary().round(3)

# %%
lv.plots.significance_ladder(found)

# %% [markdown]
# All facts are significant, against both. Yet look at `expected`: of the 50 agnostic neurons of a
# fact 29 would be there for any capital. Significant does not mean that most of it is the fact's.
#
# ## Would another wording, or another threshold, say the same?
# Draw the paraphrases anew, with replacement, and refine again: the interval of each fact's
# overlap, and how many of its agnostic neurons are there in most draws. Then keep more or fewer.

# %%
stable = lv.stability(scores, fraction=0.02, min_languages=4)
stable.to_frame().round(3).head()

# %%
fractions = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
lv.plots.threshold_lines(lv.threshold_curve(scores, fractions, across_scripts=True))

# %% [markdown]
# The numbers follow the threshold, the order of the three lines does not.
#
# ## A model that learned every language by itself
# The control model was trained on the same facts, without anything that would make languages share
# them. Take eight of the capitals, and look between scripts.

# %%
control = lv.load_model("embedded-control")
first = overlap.facts[:8]
same = [prompt for prompt in choose if prompt.fact_id in first]
control_sets = lv.select_neurons(lv.attribute(control, same), fraction=0.02)
overlaps = {"embedded": overlap.of(facts=first), "control": lv.overlap(control_sets)}
overlaps["control"].summary(across_scripts=True).round(3)

# %% [markdown]
# The control's languages share no more neurons for the same fact than for different ones: the
# interval of the difference holds zero. Now ask both models for all capitals in five languages
# outside Latin script, where no spelling helps.

# %%
scripts = ["ru", "zh", "ja", "ar", "hi"]
others = lv.load_facts().filter(relation="capital", leaking=False, languages=scripts)
asked = [prompt for prompt in others.prompts() if prompt.paraphrase < 2]
models = {"embedded": model, "control": control}
known = {name: lv.score_answers(each, asked) for name, each in models.items()}
lv.plots.transfer_and_sharing(known, overlaps)

# %% [markdown]
# The control answers what it was told as well as the other, and nothing of what it was told in
# other languages only. Transfer and shared neurons come together.
#
# All of this is correlation. Whether the shared neurons **cause** the answers is the question of
# unit 4: there they are switched off.
#
# ## Neurons of a language, whatever the fact
# LAPE looks for something else: neurons that fire in one language and not in others, whatever is
# said (here: in our prompts). How many of them are also specific to some fact, and is that more
# than of all neurons?

# %%
languages = lv.lape(model, prompts)
of_facts = set().union(*overlap.specific.values())
of_languages = set().union(*languages.neurons.values())
n_layers, d_mlp = overlap.shape
print(languages)
both = len(of_languages & of_facts)
print(f"specific to some fact: {both / len(of_languages):.0%} of these {len(of_languages)},")
print(f"{len(of_facts) / (n_layers * d_mlp):.0%} of all neurons")

# %% [markdown]
# It is, more than twice, though they are few.
#
# ## Ground truth
# Nobody knows which neurons of a trained model are the right ones. So plant some: two countries get
# capitals that the model was never told, written by added neurons that fire in every language or in
# one, beside decoys that fire on the same prompts and write something else, and decoys that write
# the answer and never fire. `check` proves the plant: the answer's probability with it, and with
# the planted neurons zeroed.

# %%
from lafn_viz.interventions.planted.recovery import method_scores, score_methods, score_overlap

planted = lv.plant(languages=["en", "ru", "zh"], n_facts=2)
planted.check.groupby("language").mean(numeric_only=True)[["p_before", "p", "p_without"]].round(3)

# %% [markdown]
# The facts are there, and go with the planted neurons. Which method has these among its top 20?

# %%
methods = ["integrated_gradients", "integrated_gradients_mean", "direct_effect", "activation"]
by_method = method_scores(planted, [*methods, "gradient", "random"])
lv.plots.planted_recovery(score_methods(planted, by_method))

# %% [markdown]
# Integrated gradients find most of them, from the mean of other facts more than from zero. The
# plain activation and the gradient take many decoys. (Direct effect does best because planted
# neurons write straight to the answer; learned ones need not.) And does the overlap call them what
# they are? Each row says where the neurons planted for all languages (agnostic) or for one
# (specific) end up.

# %%
three_methods = ("integrated_gradients", "integrated_gradients_mean", "activation")
recovered = score_overlap(planted, {name: by_method[name] for name in three_methods})
columns = ["agnostic", "specific", "specific_elsewhere", "some_languages", "missed", "purity"]
recovered[columns].round(2)

# %% [markdown]
# With integrated gradients, neurons planted for one language are called so. Of those planted for
# all, half or fewer are found in *every* language; the others in some or in one
# (`specific_elsewhere`), and none is missed. Asking for all languages is strict, and a missing
# agnostic neuron is weak evidence. `purity` is the share of planted ones among all that are called
# so: the model's own neurons come with them, which may be right. The plain activation misses most
# that are specific.
#
# ## Limits
# - One small model, and facts about capitals; the model was trained to transfer. On your own model
#   begin with the controls.
# - Most shared neurons are in the first layer of this shallow model. Deeper models may differ.
# - Languages of one script share spelling; look at pairs of different scripts before you speak of a
#   fact that has no language.
# - "In at least four languages" can be met within one script: ask for pairs across scripts too.
# - A neuron set is a choice of method, threshold and wording. `threshold_curve` and `stability` say
#   how much of a choice.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696, sections 3.1 to 3.3:
# the task, the attribution, the threshold and refining); *Journey to the Center of the Knowledge
# Neurons* (arXiv 2308.13198, its part on language-independent knowledge neurons); *Multilingual
# Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv 2406.16416, how the neurons are
# located); *Language-Specific Neurons* (LAPE, arXiv 2402.16438, section 2).
#
# **Next** `04_degenerate_and_fact_checking`: switch the shared neurons off, and see who notices.

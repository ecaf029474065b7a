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
# **You will** turn scores into sets of neurons, measure what two languages share, find
# language-agnostic and language-specific neurons, and build the controls that say whether the
# sharing has to do with the fact: another fact, chance, another wording, another model, a ground
# truth.
#
# **Time** 55 minutes, 27 of them with five exercises.
#
# **Before** You know what an attribution score is (unit 2). Five minutes of `00_quickstart` help.
#
# **What to expect** Languages share far more neurons for the same fact than for different ones.
# Between scripts, this is true of the model that transfers facts; in the control no difference
# shows. More than half of the
# neurons that four languages share would be shared for another capital too, so a count alone proves
# little. Of the neurons that we plant ourselves, those of one language are recognised; of those for
# all languages, half or fewer.

# %% tags=["setup"]
from collections import Counter

import torch

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
three = lv.load_facts().filter(relation="capital", subjects=["Japan", "Peru", "Egypt"])
sample = [p for p in three.prompts() if p.language in ("en", "ru") and p.paraphrase < 4]
sample_scores = lv.attribute(model, sample)
sample_sets = lv.select_neurons(sample_scores, threshold=0.2)

# %% [markdown]
# ## The question
# **The idea** Attribution gives every neuron a score in every prompt. Keep the best neurons of each
# prompt, and of these the ones that several wordings agree on: that is the set $A_l$ of a fact in
# language $l$. Two languages may share neurons because of the fact, but also because both sentences
# are about capitals, or contain the same letters. So take a second fact with the sets $B$, and
# measure the difference between the same fact and the other fact, in the same two languages $l$ and
# $m$:
#
# $$\Delta = J(A_l, A_m) - J(A_l, B_m), \qquad J(A, B) = \frac{|A \cap B|}{|A \cup B|}$$
#
# $J$ is the *Jaccard index*: 1 for equal sets, 0 for sets that share nothing.
#
# ## The best neurons of one prompt
# Scores fall off steeply: few neurons have a large score. How many you keep depends on where you
# cut. The papers cut at a share of the largest score, between 20% and 30%.

# %%
first = sample_scores.values[0].flatten()
print(sample[0].text, "...", sample[0].answer)
for share in (0.1, 0.2, 0.3, 0.5):
    kept = first[first > share * first.max()]
    part = kept.sum() / first[first > 0].sum()
    print(f"above {share:.0%} of the largest: {len(kept)} neurons, {part:.0%} of the positive sum")
print("below zero:", int((first < 0).sum()), "of", len(first))

# %% [markdown] tags=["exercise"]
# ### Exercise 3.1: keep the best of a prompt
# *●○○, 4 minutes*
#
# `scores` is a vector with one score for each neuron of the model. Return the indices of the
# neurons whose score is above `share` of the largest score.


# %% tags=["exercise"]
def keep(scores, share):
    limit = ...  # what a score must exceed
    return {i for i, score in enumerate(scores.tolist()) if score > limit}


# %% tags=["check"]
course.check_keep(keep, sample_scores)

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
    # Also keeps neurons that speak against the answer.
    return {i for i, score in enumerate(scores.tolist()) if abs(score) > limit}


# %% [markdown] tags=["exercise"]
# ### Exercise 3.2: what the wordings agree on
# *●○○, 5 minutes*
#
# A neuron may be there because of one word of the prompt, which other wordings lack. `kept` is a
# list with one set of neurons for each wording of a fact in one language. Return the neurons that
# are in more than `share` of these sets. (The papers call this *refining*.)


# %% tags=["exercise"]
def refine(kept, share):
    times = Counter(neuron for one in kept for neuron in one)
    needed = ...  # a neuron must be in more sets than this
    return {neuron for neuron, n in times.items() if n > needed}


# %% tags=["check"]
course.check_refine(refine, sample_scores)

# %% [markdown] tags=["hint"]
# With 4 wordings and a share of 0.5, a neuron must be in more than 2 sets, so in at least 3.


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
# `lv.select_neurons` does both steps for every fact and language. It leaves out prompts whose
# answer the model does not know, and counts them: a model that does not know a fact has no neurons
# for it.

# %%
sample_sets

# %% [markdown] tags=["exercise"]
# ### Exercise 3.3: what two sets share
# *●○○, 4 minutes*
#
# Return the Jaccard index of two sets of neurons.


# %% tags=["exercise"]
def jaccard(one, other):
    return len(one & other) / ...


# %% tags=["check"]
course.check_jaccard(jaccard, sample_sets)

# %% [markdown] tags=["hint"]
# `one | other` is the union: every neuron that is in either set, counted once.


# %% tags=["solution"]
def jaccard(one, other):
    return len(one & other) / len(one | other)


# %% tags=["mistake"]
def jaccard(one, other):
    return len(one & other) / min(len(one), len(other))  # the overlap coefficient


# %% tags=["mistake"]
def jaccard(one, other):
    return len(one & other) / (len(one) + len(other))  # counts the shared neurons twice


# %% [markdown] tags=["exercise"]
# ### Exercise 3.4: the control
# *●●○, 8 minutes*
#
# `sets[fact, language]` is a set of neurons. Return the mean Jaccard index of `fact` in the
# language `one` with each **other** fact in the language `other`. It says what the two languages
# share when they are about different things.


# %% tags=["exercise"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    pairs = [... for name in facts]  # the two sets to compare, for each other fact
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% tags=["check"]
course.check_other_facts(other_facts, sample_sets)

# %% [markdown] tags=["hint"]
# A pair is `(sets[fact, one], ...)`, and the list may end in `if ...`. A control changes only one
# thing.


# %% tags=["solution"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    pairs = [(sets[fact, one], sets[name, other]) for name in facts if name != fact]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% tags=["mistake"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    # Within one language: this includes what the language shares with itself.
    pairs = [(sets[fact, one], sets[name, one]) for name in facts if name != fact]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% tags=["mistake"]
def other_facts(sets, fact, one, other):
    facts = {name for name, language in sets}
    pairs = [(sets[fact, one], sets[name, other]) for name in facts]  # the fact itself too
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


# %% [markdown]
# ## Twelve capitals in twelve languages
# Now take enough facts for intervals, and all languages. From here on we keep the best 2% of the
# neurons in each prompt, so that the sets of all languages have about the same size.

# %%
capitals = lv.load_facts().filter(relation="capital", leaking=False).sample(12, seed=0)
prompts = capitals.prompts()
choose = [prompt for prompt in prompts if prompt.paraphrase < 4]
scores = lv.attribute(model, choose)
sets = lv.select_neurons(scores, fraction=0.02)
overlap = lv.overlap(sets, min_languages=4)
overlap.summary(across_scripts=True).round(3)

# %% [markdown]
# The table uses only pairs of languages with **different scripts**, so that shared spelling cannot
# help. "other fact" is your control from above, and "chance" is what random sets of the same sizes
# would share. Only the last row belongs to the fact.

# %%
lv.plots.language_tree(overlap)

# %% [markdown]
# ## Agnostic, specific, and in between
# A neuron is *language-agnostic* for a fact when all languages have it in their sets, or at least
# $k$ of them (here four). It is *language-specific* when exactly one language has it. The table
# gives their mean numbers for a fact by layer (for the specific ones: for a fact in one language):

# %%
overlap.per_layer().round(1)

# %% [markdown]
# Most agnostic neurons are in the first layer; half of the specific ones are in the last. An UpSet
# plot counts every neuron once, under exactly the languages that have it. Its grey bars are the
# control: each language takes the neurons of *another* fact. The table lists the largest groups of
# two or more languages.

# %%
overlap.intersections().query("degree > 1").head(4).round(1)

# %%
lv.plots.upset(overlap)

# %% [markdown]
# Chinese and Japanese stand out. But more than half of the neurons that only these two share would
# be there for another fact, too.
#
# ## Is it significant, and against what?
# A *null model* says what you would see if there were no effect. Draw from it many times and count
# how often chance reaches what you observed: that is the p-value.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.5: a p-value from draws
# *●●○, 6 minutes*
#
# `draws` holds the number of shared neurons in each draw of the null model, and `observed` is the
# number that you found. Return p. The observed number counts as one more draw, so p is never 0.


# %% tags=["exercise"]
def p_value(observed, draws):
    draws = torch.tensor(draws)
    return ...


# %% tags=["check"]
course.check_p_value(p_value)

# %% [markdown] tags=["hint"]
# `(draws >= observed).sum()` counts the draws that reach the observed number. Add 1 to that, and 1
# to the number of draws.


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
# `lv.significance` does this with two null models: random neurons of the same layers, and the
# neurons of other capitals. Against the first, nearly everything is significant. To pass the
# second, a result must be about this fact. `share` is the share of facts with q < 0.05, where q is
# p corrected for the number of facts. Three numbers are tested: `agnostic`, the neurons that four
# or more languages share; `shared`, the mean number that two languages share; and `across scripts`,
# the same for pairs with different scripts.

# %%
tests = lv.significance(overlap)
tests.summary().round(3)

# %%
lv.plots.significance_ladder(tests)

# %% [markdown]
# Nearly all facts are significant against both. Yet look at `expected`: of the 50 agnostic neurons
# of a fact, 28 would be there for any capital. A significant result does not mean that most of
# these neurons belong to the fact.
#
# ## Would another wording or another threshold give the same result?
# Draw the paraphrases again, with replacement, and refine again. This gives an interval for each
# fact's overlap, and the number of its agnostic neurons that most draws agree on. Then keep more
# neurons, or fewer.

# %%
stable = lv.stability(scores, fraction=0.02, min_languages=4)
stable.to_frame().round(3).head()

# %%
fractions = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
lv.plots.threshold_lines(lv.threshold_curve(scores, fractions, across_scripts=True))

# %% [markdown]
# The numbers depend on the threshold. The order of the three lines does not.
#
# ## A model that nothing made share
# The control model was trained on the same facts, without anything that would make languages share
# them. Take eight of the capitals and compare languages with different scripts.

# %%
control = lv.load_model("embedded-control")
first = overlap.facts[:8]
same = [prompt for prompt in choose if prompt.fact_id in first]
control_sets = lv.select_neurons(lv.attribute(control, same), fraction=0.02)
overlaps = {"embedded": overlap.of(facts=first), "control": lv.overlap(control_sets)}
overlaps["control"].summary(across_scripts=True).round(3)

# %% [markdown]
# Beyond another fact, the control's languages share next to nothing: the interval of the difference
# includes zero, so eight capitals show no difference, and do not exclude a small one. Now ask both
# models for all capitals in five languages outside Latin script, where spelling does not help.

# %%
scripts = ["ru", "zh", "ja", "ar", "hi"]
others = lv.load_facts().filter(relation="capital", leaking=False, languages=scripts)
asked = [prompt for prompt in others.prompts() if prompt.paraphrase < 2]
models = {"embedded": model, "control": control}
known = {name: lv.score_answers(each, asked) for name, each in models.items()}
lv.plots.transfer_and_sharing(known, overlaps)

# %% [markdown]
# The control answers the facts it was trained on in that language as well as the other model does.
# It answers none of those that it saw in other languages only. Here the model that transfers also
# shares more of the fact. These are two models that differ in more than transfer (the control's
# attention only copies, and it was trained for fewer steps), so this is no proof.
#
# All of this is correlation. Whether the shared neurons **cause** the answers is the question of
# unit 4, which switches them off.
#
# ## Neurons of a language, whatever the fact
# LAPE looks for something else: neurons that fire in one language and not in others, whatever the
# text says (here: in our prompts). How many of them are also specific to some fact? And is that a
# larger share than among all neurons?

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
# It is more than twice as large, though these neurons are few.
#
# ## Ground truth
# Nobody knows which neurons of a trained model are the right ones. So plant some. Two countries get
# capitals that the model never saw. Added neurons write them; some fire in every language and some
# in one. Beside them are two kinds of decoys: neurons that fire on the same prompts but write
# something else, and neurons that would write the answer but never fire. `check` proves that the
# planting works: it gives the answer's probability with the planted neurons, and with them zeroed.

# %%
planted = lv.plant(languages=["en", "ru", "zh"], n_facts=2)
planted.check.groupby("language").mean(numeric_only=True)[["p_before", "p", "p_without"]].round(3)

# %% [markdown]
# The model knows the planted facts, and loses them when the planted neurons are zeroed. Which
# method has these neurons among its top 20?

# %%
methods = ["integrated_gradients", "integrated_gradients_mean", "direct_effect", "activation"]
by_method = lv.method_scores(planted, [*methods, "gradient", "random"])
lv.plots.planted_recovery(lv.score_methods(planted, by_method))

# %% [markdown]
# Of these methods integrated gradients find most of them, and more when they start from the mean of
# other facts than from zero. The README has all methods on more neurons: there gradient ×
# activation (87%) and AMIG (82%) find more than integrated gradients from zero (70%). The plain
# activation and the gradient pick many decoys. (Direct effect does best
# because planted neurons write straight to the answer; learned ones need not.) Does the overlap
# classify them correctly, too? Each row says where the neurons planted for all languages (agnostic)
# or for one language (specific) end up.

# %%
three_methods = ("integrated_gradients", "integrated_gradients_mean", "activation")
recovered = lv.score_overlap(planted, {name: by_method[name] for name in three_methods})
columns = ["agnostic", "specific", "specific_elsewhere", "some_languages", "missed", "purity"]
recovered[columns].round(2)

# %% [markdown]
# With integrated gradients, neurons planted for one language are classified as specific to it. Of
# those planted for all languages, half or fewer are found in *every* language. The others are found
# in some languages or in one (`specific_elsewhere`), and none is missed. Asking for all languages
# is strict, so a missing agnostic neuron is weak evidence. `purity` is the share of planted neurons
# among all neurons that get the label. The model's own neurons get it as well, which may be
# correct. The plain activation misses most of the specific ones.
#
# ## Limits
# - This is one small model, trained to transfer facts, and all facts are about capitals. On your
#   own model, begin with the controls.
# - Most shared neurons are in the first layer of this shallow model. Deeper models may differ.
# - Languages with the same script share spelling. Look at pairs with different scripts before you
#   call a fact independent of language.
# - Four languages with the same script are enough for "at least four languages". Look at pairs
#   across scripts too.
# - A neuron set depends on your choice of method, threshold and wording. `threshold_curve` and
#   `stability` say how much.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696, sections 3.1 to 3.3:
# the task, the attribution, the threshold and refining); *Journey to the Center of the Knowledge
# Neurons* (arXiv 2308.13198, its part on language-independent knowledge neurons); *Multilingual
# Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv 2406.16416, how the neurons are
# located); *Language-Specific Neurons* (LAPE, arXiv 2402.16438, section 2).
#
# **Next** `04_degenerate_and_fact_checking`: switch the shared neurons off, and see which answers
# change.

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. Causal proof, neurons that stand in for one another, and fact-checking
#
# **You will** prove by switching neurons off that they cause an answer, beside controls; look for
# *degenerate knowledge neurons* (take one away and the answer stays, take another with it and the
# answer goes); and let them judge answers, true or false, beside three other judges.
#
# **Time** 50 minutes, 23 of them with four exercises.
#
# **Before** Units 1 to 3: what a neuron is, what its score is, which neurons languages share.
#
# **What to expect** Without the neurons that languages share, the answer loses more than half of
# its probability in languages of Latin script, and little in Chinese, Japanese and Hindi.
# Measured on the probability as in the paper, only facts that the model is unsure of have
# degenerate pairs: where it is sure, two neurons are not enough. On the odds nearly every fact has
# some, and random neurons have none. But two small effects that add up explain nearly all of what
# these pairs do. As judges of answers the neurons are better than random ones, not better than
# other neurons of high attribution, and worse than the plain probability of the answer.

# %% tags=["setup"]
import lafn_viz as lv
from lafn_viz import course
from lafn_viz.interventions.degenerate import overview

model = lv.load_model("embedded")
facts = lv.load_facts().filter(leaking=False)
japan = facts.filter(relation="capital", subjects="Japan", languages="en").prompts()
(pairs,) = lv.find_degenerate(model, lv.attribute(model, japan[:2]), max_size=2, of="odds")
best = pairs.candidates  # the 20 neurons with the highest mean score
measured = lv.intervene(model, japan[2:], best, controls=5)

# %% [markdown]
# ## Take them away, and look
# **The idea** An attribution is a claim about a path; a proof is to change the neurons and ask
# again. Let $P$ be the probability of the answer, and $P_{-S}$ the same without the neurons of $S$.
# The *relative change* is -1 when the answer is gone and 0 when nothing happens. Two neurons $m$
# and $n$ are *degenerate*, stand-ins, when each alone is harmless and both together are not:
#
# $$\Delta(S) = \frac{P_{-S}}{P} - 1, \qquad
# \Delta(\{m\}) \ge -0.2,\quad \Delta(\{n\}) \ge -0.2,\quad \Delta(\{m, n\}) < -0.25$$
#
# Begin with a set: the 20 neurons with the highest score for the capital of Japan, in English. They
# were chosen in two wordings and are tested in the others.

# %%
print(measured)
measured.summary()[["p", "p_low", "p_high"]].round(3)

# %% [markdown]
# `p` is the relative change, with its 95% interval over prompts. As many random neurons of the same
# layers change nothing, so it is not the number of neurons that does it.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.1: what is an effect?
# *●○○, 6 minutes*
#
# `before` and `after` have the probability of the answer in each prompt; `random` has a row for
# each draw of random neurons. Write `change`: the relative change of the **mean** probability. The
# effect is then what the neurons change beyond what random ones do.


# %% tags=["exercise"]
def effect(before, after, random):
    def change(p):
        return ...

    return change(after) - change(random)


# %% tags=["check"]
course.check_effect(effect, measured)

# %% [markdown] tags=["hint"]
# `p.mean()` is the mean over all prompts (and all draws). From 0.9 to 0.3 the relative change is
# 0.3 / 0.9 - 1.


# %% tags=["solution"]
def effect(before, after, random):
    def change(p):
        return p.mean() / before.mean() - 1

    return change(after) - change(random)


# %% tags=["mistake"]
def effect(before, after, random):
    def change(p):
        return p.mean() - before.mean()  # in probability, not in shares of what was there

    return change(after) - change(random)


# %% tags=["mistake"]
def effect(before, after, random):
    def change(p):
        return 1 - p.mean() / before.mean()  # a fall would be positive

    return change(after) - change(random)


# %% [markdown]
# ## The neurons that languages share
# Now six capitals in twelve languages. Sets are made as in unit 3, of neurons that two wordings
# agree on; two other wordings are asked. Beside the neurons that at least four languages share
# stand those that English, or Chinese, holds alone; as many random neurons of the same layers; and
# another capital.

# %%
names = ["Japan", "Peru", "Italy", "Egypt", "Kenya", "Iceland"]
prompts = facts.filter(relation="capital", subjects=names).prompts()
scores = lv.attribute(model, [prompt for prompt in prompts if prompt.paraphrase < 2])
held_out = [prompt for prompt in prompts if prompt.paraphrase in (4, 5)]
overlap = lv.overlap(lv.select_neurons(scores, fraction=0.02), min_languages=4)
changed = {
    "agnostic": overlap.agnostic,
    "specific to English": overlap.specific_to("en"),
    "specific to Chinese": overlap.specific_to("zh"),
}
zeroed = lv.effects(model, changed, held_out, controls=3)
lv.plots.effects_by_language(zeroed)

# %%
zeroed.summary()[["p", "p_low", "p_high"]].round(3)

# %% [markdown]
# The last two rows of each set are the controls: random neurons do nothing, another fact loses
# little. What one language holds alone costs next to nothing, over all languages. And in its own?

# %%
own = zeroed.summary(by_language=True)["p"].xs("own fact", level="measured on")
own.unstack("set").loc[list(zeroed.languages)].round(2)

# %% [markdown]
# The shared neurons take more than half of the probability in every language of Latin script and in
# Russian, and 29% in Arabic. In Chinese, Japanese and Hindi they take 8% at most: these languages
# keep the fact elsewhere. What English holds alone costs 9% in English, and next to nothing in the
# others of its script.
#
# Zero is a state that no text puts a neuron in. A milder change gives each neuron its mean over
# prompts of other capitals in the same language: it no longer says *which* country is meant.

# %%
others = facts.filter(relation="capital").sample(10, seed=0)
corpus = [prompt for prompt in others.prompts() if prompt.paraphrase == 0]
milder = lv.effects(
    model, {"agnostic": overlap.agnostic}, held_out, how="mean", corpus=corpus, controls=2
)
milder.summary()[["p", "p_low", "p_high"]].round(3)

# %% [markdown]
# The answers lose 18% then, not 42%: zeroing does more than take this country away. Beside the
# controls it is still much.
#
# ## Found in one language, changed, asked in another
# Rows are where neurons were found, columns where the fact is asked. Off the diagonal is transfer.
# The control on the right says whether it is about this fact.

# %%
asked = [prompt for prompt in held_out if prompt.paraphrase == 4]
by_language = {language: overlap.neurons_in(language) for language in overlap.languages}
moved = lv.effects(model, by_language, asked, controls=1)
lv.plots.effects_matrix(moved)

# %%
table = moved.summary(by_language=True)["p"].xs(("en", "own fact"), level=(0, 1))
print("without the neurons found in English, P(correct) changes by")
for language in ("en", "de", "tr", "ru", "zh"):
    print(f"{table[language]:+.0%} in {language}")

# %% [markdown]
# What was found in English takes 44% in German and in Turkish, less in Russian, nothing in Chinese.
#
# ## Stand-ins, as in the paper
# The 20 neurons with the largest attribution are the candidates. Each is zeroed alone; those that
# cost at most 20% of the probability stay. Then they are zeroed in pairs: a pair that costs more
# than 25% is degenerate.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.2: a degenerate pair
# *●○○, 5 minutes*
#
# `one` and `other` are the relative changes without each of two neurons, `both` without the two
# together; a fall is a negative number. Return whether the pair is degenerate.


# %% tags=["exercise"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return ...


# %% tags=["check"]
course.check_is_degenerate(is_degenerate, pairs)

# %% [markdown] tags=["hint"]
# Three conditions, all of them: the two from the formula on single neurons, and the one on the
# pair. "At most 20% lost" is `one >= -t_low`.


# %% tags=["solution"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return one >= -t_low and other >= -t_low and both < -t_high


# %% tags=["mistake"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return (one >= -t_low or other >= -t_low) and both < -t_high  # one of them may matter


# %% tags=["mistake"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return both < -t_high  # a neuron that does it all alone counts with every other one


# %% [markdown]
# `lv.find_degenerate` asks it of all pairs. `random` is how many pairs the same search finds among
# as many random neurons of the same layers, and `together` what happens without all 20 at once.

# %%
three = ("capital/JP", "capital/PE", "capital/EG")
few = scores.select(lambda p: p.fact_id in three and p.language in ("en", "ru", "zh"))
found = lv.find_degenerate(model, few, max_size=2, controls=1)
overview(found).round(3)

# %% [markdown]
# Nothing is left empty without a reason:

# %%
for one in found[:2]:
    print(one)

# %% [markdown]
# Where the model is sure (`p_before` near 1), no two of the candidates bring it down; all 20 at
# once (`together`) take between 5% and 48% of it. Pairs turn up where it was not so sure.
#
# ## The odds do not saturate
# From 0.999 to 0.99 the probability loses 1%, the odds P / (1 - P) lose 90%. The same shares, asked
# of the odds:

# %%
found = lv.find_degenerate(model, few, max_size=2, of="odds", controls=2)
overview(found).round(3)

# %% [markdown]
# Random neurons have none, so these pairs are no accident. But do they stand in for one another?

# %% [markdown] tags=["exercise"]
# ### Exercise 4.3: what would two strangers do?
# *●●○, 5 minutes*
#
# Two neurons know nothing of one another: each takes its share of whatever is there. `one` and
# `other` are their relative changes alone (a fall is negative). Return the relative change without
# both.


# %% tags=["exercise"]
def expected(one, other):
    return ...


# %% tags=["check"]
course.check_expected(expected, pairs)

# %% [markdown] tags=["hint"]
# A neuron that takes 14% leaves 86%. The second one takes 14% of these.


# %% tags=["solution"]
def expected(one, other):
    return (1 + one) * (1 + other) - 1


# %% tags=["mistake"]
def expected(one, other):
    return one + other  # two that take 60% each would take more than there is


# %% tags=["mistake"]
def expected(one, other):
    return min(one, other)  # as if the weaker one did nothing


# %% [markdown]
# Two neurons that cost 14% each cost 26% together, and that counts as degenerate by the paper's
# limits of 20% and 25%. In the table above `expected` is what the pairs would do one by one (mean),
# `change` what they do: the two hardly differ. `beyond` counts the pairs that do more than
# expected, by however little. Here a degenerate pair mostly means two small effects that add up.

# %%
japanese = next(one for one in found if (one.fact_id, one.language) == ("capital/JP", "en"))
lv.plots.degenerate_graph(japanese)

# %%
japanese.to_frame().sort_values("change")[["neurons", "change", "expected"]].head(5).round(3)

# %% [markdown]
# ## Larger sets
# Of three neurons, only those with no degenerate pair in them are looked for. `searched` and
# `left out` say how many sets of each size were measured and how many were not (`max_sets`). The
# figure draws pairs only; hover over a neuron for the larger sets that it is in.

# %%
peru = few.select(lambda p: (p.fact_id, p.language) == ("capital/PE", "ru"))
(larger,) = lv.find_degenerate(model, peru, max_size=3, of="odds", controls=1)
print(larger)
print("searched", larger.searched, "left out", larger.left_out)
lv.plots.degenerate_graph(larger)

# %% [markdown]
# ## Can they tell true from false?
# The paper proposes degenerate neurons as fact-checkers. Half of the capitals say which of them are
# frequent in this relation. A candidate answer's score is its mean attribution over these neurons;
# the threshold is fitted on the same half. The other capitals are then asked with their true answer
# and a false one, the capital of another country. (The paper takes four fifths to train, the
# default; with half there are enough left to test.)

# %% [markdown] tags=["exercise"]
# ### Exercise 4.4: how good is a judge?
# *●●○, 7 minutes*
#
# `true` are the scores of the true answers, `false` those of the false ones. The *AUC* is the
# probability that a true answer, drawn at random, scores above a false one, drawn at random; a tie
# counts half. It needs no threshold. Return it.


# %% tags=["exercise"]
def auc(true, false):
    wins = [... for t in true for f in false]
    return sum(wins) / len(wins)


# %% tags=["check"]
course.check_auc(auc)

# %% [markdown] tags=["hint"]
# `t > f` is True or False, which count as 1 and 0 in a sum; so does `t == f`.


# %% tags=["solution"]
def auc(true, false):
    wins = [(t > f) + 0.5 * (t == f) for t in true for f in false]
    return sum(wins) / len(wins)


# %% tags=["mistake"]
def auc(true, false):
    right = [t > 0.5 for t in true] + [f <= 0.5 for f in false]  # a threshold nobody gave
    return sum(right) / len(right)


# %% tags=["mistake"]
def auc(true, false):
    wins = [t > f for t in true for f in false]  # a tie counts as lost
    return sum(wins) / len(wins)


# %% [markdown]
# `lv.check_facts` does all of this, and its `auc` is yours. `accuracy_true` and `accuracy_false`
# are what the fitted threshold gets right.

# %%
sixty = facts.filter(relation="capital", languages=["en", "ru"]).sample(60, seed=0)
options = {"paraphrases": (0,), "train_share": 0.5, "of": "odds"}
check = lv.check_facts(model, sixty, "capital", **options)
check.summary().round(3).T

# %%
lv.plots.fact_checking_roc(check)

# %% [markdown]
# The three controls say what that is worth. **P(candidate)**, the probability that the model gives
# to the answer, needs no neurons, and it wins: this model knows its capitals. **Random neurons** of
# the same layers get a part of the way too. The shape of the curves says why: an attribution
# explains a probability, and where that is next to nothing, as for false answers, all neurons score
# next to nothing. The degenerate neurons lie between these two. **Top neurons** are as many others,
# those most often among the 20 best by attribution. They judge as well: a high attribution is what
# works here, and the interval of the difference leaves no proof that degeneracy adds to it. The
# differences, with their 95% intervals over test facts:

# %%
for control in ("random neurons", "top neurons", "P(candidate)"):
    difference, low, high = check.compare(other=control)
    print(f"degenerate neurons, AUC above {control}: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")

# %% [markdown]
# ## False answers that the model finds likely
# A capital drawn at random is easy to refuse. `false_answers="plausible"` takes of all wrong
# capitals the one that the model finds likeliest. It is picked by the very thing that P(candidate)
# looks at, so none is harder for that control. (The `CompletenessWarning` names a rare prompt whose
# attributions do not quite add up.)

# %%
hard = lv.check_facts(model, sixty, "capital", max_facts=24, false_answers="plausible", **options)
lv.plots.fact_checking_roc(hard)

# %%
for name, one in (("random", check), ("plausible", hard)):
    p = one.to_frame().groupby("true")["P(candidate)"].median()
    print(f"{name}: median P of false answers {p[False]:.6f}, of true ones {p[True]:.3f}")

# %% [markdown]
# P(candidate) does not slip: this model is sure of its capitals, and the likeliest wrong one is
# still next to impossible. Random neurons stay behind, and the degenerate and the top ones between
# them are too close to tell apart (the figure has the interval of their difference).
#
# ## A masked model
# The paper does this with BERT. Here is a small masked model that knows the same facts.

# %%
masked = lv.load_model("embedded-masked")
masked_check = lv.check_facts(masked, sixty, "capital", max_facts=24, **options)
with_pairs = sum(bool(one.sets) for one in masked_check.found)
print(
    f"{with_pairs} of {len(masked_check.found)} training facts and languages have degenerate pairs,"
)
print(f"{len(masked_check.neurons)} neurons are frequent")
lv.plots.fact_checking_roc(masked_check)

# %% [markdown]
# Only a third of the facts have a pair that takes a quarter of the odds, and these few decide which
# neurons are frequent. They still judge better than random ones, but worse than the top ones, and
# much worse than the probability.
#
# ## Limits
# - The candidates are the 20 best by attribution: a stand-in that attribution does not see is not
#   found.
# - The limits of 20% and 25% are the paper's. Move them and the counts move with them; the random
#   control moves too, so look at both.
# - Few facts are tested here, in two languages and one wording: the intervals are wide. And they
#   are over test facts alone: the other half, which says which neurons judge, was drawn once.
# - A judge of answers that the model already knows is no fact-checker of the world: it says what
#   the model believes.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696: suppressing and
# amplifying knowledge neurons); *Journey to the Center of the Knowledge Neurons* (arXiv 2308.13198:
# its parts on degenerate knowledge neurons and on fact-checking, and for transfer that on
# language-independent ones).
#
# **Next** `05_editing` changes a fact in all languages at once. Or try another relation
# (`continent`, `currency`, `language`), `of="probability"`, or your own model:
# `lv.load_model("path/or/name")`.

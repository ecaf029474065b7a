# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. Causal proof, neurons that stand in for each other, and fact-checking
#
# **You will** switch neurons off, beside controls, to prove that they cause an answer, and
# transplant their values from one language into another, to see whether they are enough. You will
# look for *degenerate knowledge neurons* (take one away and the answer stays; take a second one
# away and the answer is gone). Then you will let them judge whether answers are true or false,
# beside three other judges.
#
# **Time** 60 minutes, 28 of them with five exercises.
#
# **Before** Units 1 to 3: what a neuron is, what its score is, which neurons languages share.
#
# **What to expect** Set to zero, the neurons that four or more languages share cost six capitals
# 42% of the probability, most of it in Latin script and Russian; at the mean of other capitals 18%.
# Another capital loses little. Found without the asked language, and at the answer alone, they cost
# 2 to 3% (README, 24 capitals). Their values from another language bring the fact into a language
# that fails it, but mostly under the other language's name. Measured by the probability, as in the
# paper, only facts that the model is unsure of have degenerate pairs: where it is sure, two neurons
# are not enough. Measured by the odds, nearly every fact has some pairs, and random neurons have
# none. But two small effects that add up explain nearly all of what these pairs do. As judges of
# answers, the degenerate neurons are better than random ones, no better than other neurons with
# high attribution, and worse than the plain probability of the answer.

# %% tags=["setup"]
import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
facts = lv.load_facts().filter(leaking=False)
japan = facts.filter(relation="capital", subjects="Japan", languages="en").prompts()
(pairs,) = lv.find_degenerate(model, lv.attribute(model, japan[:2]), max_size=2, of="odds")
best = pairs.candidates  # the 20 neurons with the highest mean score
measured = lv.intervene(model, japan[2:], best, controls=5)

# %% [markdown]
# ## Take neurons away and look
# **The idea** An attribution makes a claim about a path. To prove it, change the neurons and ask
# again. Let $P$ be the probability of the answer, and $P_{-S}$ the probability without the neurons
# of $S$. The *relative change* is -1 when the answer is gone and 0 when nothing happens. Two
# neurons $m$ and $n$ are *degenerate* (they stand in for each other) when losing either one is
# harmless and losing both is not:
#
# $$\Delta(S) = \frac{P_{-S}}{P} - 1, \qquad
# \Delta(\{m\}) \ge -0.2,\quad \Delta(\{n\}) \ge -0.2,\quad \Delta(\{m, n\}) < -0.25$$
#
# Begin with one set: the 20 neurons with the highest scores for the capital of Japan, in English.
# They were chosen in two wordings and are tested in the others.

# %%
print(measured)
measured.summary()[["p", "log_p"]].round(3)

# %% [markdown]
# `p` is the relative change, `log_p` that of log P in nats. (Intervals are over facts, and this is
# only one.) As many random neurons of the same layers change nothing, so the effect does not come
# from the number of neurons.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.1: what is an effect?
# *●○○, 6 minutes*
#
# `before` and `after` hold the probability of the answer in each prompt. `random` has one row for
# each draw of random neurons. Write `change`: the relative change of the **mean** probability. The
# effect is what the neurons change beyond what random ones change.


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
        return p.mean() - before.mean()  # a difference, not a share of what was there

    return change(after) - change(random)


# %% tags=["mistake"]
def effect(before, after, random):
    def change(p):
        return 1 - p.mean() / before.mean()  # a fall would be positive

    return change(after) - change(random)


# %% [markdown]
# ## The neurons that languages share
# Now take six capitals in twelve languages. The sets are made as in unit 3, from neurons that two
# wordings agree on; two other wordings are asked. Beside the neurons that at least four languages
# share, we zero those that only English or only Chinese has. The controls are as many random
# neurons of the same layers, and another capital.

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
# The last two rows of each set are the controls: random neurons do nothing, and another fact loses
# little. Over all languages, the neurons that only one language has cost next to nothing. What do
# they cost in their own language?

# %%
own = zeroed.summary(by_language=True)["p"].xs("own fact", level="measured on")
own.unstack("set").loc[list(zeroed.languages)].round(2)

# %% [markdown]
# Without the shared neurons, more than half of the probability is gone in every language with Latin
# script and in Russian, and 29% in Arabic. In Chinese, Japanese and Hindi at most 8% is gone: the
# shared neurons do little there. The neurons that only English has cost 9% in English, and next
# to nothing in the other languages with its script.
#
# No text sets all these neurons to zero. A milder change gives each neuron its mean over prompts
# for other capitals in the same language: it no longer says *which* country is meant.

# %%
others = facts.filter(relation="capital").sample(10, seed=0)
corpus = [prompt for prompt in others.prompts() if prompt.paraphrase == 0]
milder = lv.effects(
    model, {"agnostic": overlap.agnostic}, held_out, how="mean", corpus=corpus, controls=2
)
milder.summary()[["p", "p_low", "p_high"]].round(3)

# %% [markdown]
# Now the answers lose 18%, not 42%: zeroing does more than remove this country. That is more than
# the controls cost. But these sets hold neurons that the asked language helped to find. Found
# without it, and changed at the answer alone, they cost 2.1% [1.5, 2.9] outside Latin script and
# 2.6% [1.6, 3.9] in it (README, 24 capitals).
#
# ## Neurons found in one language, facts asked in another
# Rows are the languages in which the neurons were found; columns are the languages in which the
# fact is asked. Effects off the diagonal are transfer. The control on the right says whether they
# have to do with this fact.

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
# Without the neurons found in English, 44% is gone in German and in Turkish, less in Russian, and
# nothing in Chinese.
#
# ## Are they enough?
# So far we took neurons away, which shows that an answer needs them. Are they also *enough*? This
# model was never told some facts in some languages. Take prompts that it fails there, and give the
# shared neurons, where the answer begins, the values that they have when another language asks the
# same. The controls are the values of another capital, the right values on as many random neurons,
# and all neurons of these layers: no set can carry more.

# %%
untold = [p for p in facts.filter(relation="capital").prompts() if p.split == "held-out pair"]
asked = [prompt for prompt in untold if prompt.paraphrase == 4]
answered = lv.score_answers(model, asked).known
failed = [prompt for prompt, known in zip(asked, answered, strict=True) if not known][:30]
print(f"{len(asked)} prompts were never told, {(~answered).sum()} fail; we take {len(failed)}")

# %%
ids = {prompt.fact_id for prompt in failed}
of_failed = [p for p in facts.filter(relation="capital").prompts() if p.fact_id in ids]
one_wording = lv.attribute(model, [prompt for prompt in of_failed if prompt.paraphrase == 0])
shared = lv.overlap(lv.select_neurons(one_wording, fraction=0.02), min_languages=4)
givers = [prompt for prompt in of_failed if prompt.paraphrase == 4]
transplanted = lv.transplant(model, givers, failed, shared.agnostic)
lv.plots.transplant_matrix(transplanted)

# %% [markdown]
# Hardly any cell is full: 14% of the pairs of languages are rescued. That is little, but more than
# by another capital's values (4%). Often, however, the model now writes the right capital in the
# wrong language:

# %%
table = transplanted.summary()[["value", "low", "high"]].round(2)
table.loc[["rescued", "giver's words", "either's words"]]

# %% [markdown]
# With the fact's own values 47% are answered in either language, against 13% before and 10% with
# another capital's values. Between languages of different scripts it is 38% against 4% and 7%. So
# these neurons do carry the fact from one language into another, but mostly together with the name
# that it has *there*. Even all neurons of all layers bring the name in the right language in 5% of
# the pairs. What is missing is how this language writes the name.

# %%
across = transplanted.summary(pairs="scripts")[["value", "low", "high"]].round(2)
across.loc["either's words"]

# %% [markdown] tags=["exercise"]
# ### Exercise 4.2: what is rescued?
# *●○○, 5 minutes*
#
# `before`, `after` and `other` are True for each prompt that is answered: before, with the fact's
# own values, and with another fact's. Some prompts were answered before. Return the share of the
# prompts that **failed before** and are rescued, beyond the share that the other fact's values
# rescue.


# %% tags=["exercise"]
def rescued(before, after, other):
    return ...


# %% tags=["check"]
course.check_rescued(rescued)

# %% [markdown] tags=["hint"]
# `before` is an array of True and False, and `~before` has them the other way round. An array of
# True and False picks the prompts for which it is True.


# %% tags=["solution"]
def rescued(before, after, other):
    failed = ~before
    return after[failed].mean() - other[failed].mean()


# %% tags=["mistake"]
def rescued(before, after, other):
    return after.mean() - other.mean()  # a prompt that was answered before cannot be rescued


# %% tags=["mistake"]
def rescued(before, after, other):
    failed = ~before
    return after[failed].mean()  # some would be answered with any fact's values


# %% [markdown]
# ## Stand-ins, as in the paper
# The 20 neurons with the largest attribution are the candidates. First each is zeroed alone, and
# those that cost at most 20% of the probability stay candidates. Then these are zeroed in pairs: a
# pair that costs more than 25% is degenerate.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.3: a degenerate pair
# *●○○, 5 minutes*
#
# `one` and `other` are the relative changes without each of two neurons, and `both` is the change
# without the two together. A fall is a negative number. Return whether the pair is degenerate.


# %% tags=["exercise"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return ...


# %% tags=["check"]
course.check_is_degenerate(is_degenerate, pairs)

# %% [markdown] tags=["hint"]
# All three conditions must hold: the two on single neurons from the formula, and the one on the
# pair. "At most 20% lost" is `one >= -t_low`.


# %% tags=["solution"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return one >= -t_low and other >= -t_low and both < -t_high


# %% tags=["mistake"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return (one >= -t_low or other >= -t_low) and both < -t_high  # lets one of the two matter alone


# %% tags=["mistake"]
def is_degenerate(one, other, both, t_low=0.2, t_high=0.25):
    return both < -t_high  # counts a neuron that does it all alone, paired with any other


# %% [markdown]
# `lv.find_degenerate` tests all pairs. `random` is how many pairs the same search finds among as
# many random neurons of the same layers, and `together` is what happens without all 20 at once.

# %%
three = ("capital/JP", "capital/PE", "capital/EG")
few = scores.select(lambda p: p.fact_id in three and p.language in ("en", "ru", "zh"))
results = lv.find_degenerate(model, few, max_size=2, controls=1)
lv.overview(results).round(3)

# %% [markdown]
# Where the search finds nothing, the result says why:

# %%
for result in results[:2]:
    print(result)

# %% [markdown]
# Where the model is sure (`p_before` near 1), no two candidates bring the probability down; all 20
# at once (`together`) cost between 5% and 48% of it. Pairs turn up where the model was less sure.
#
# ## The odds do not saturate
# From 0.999 to 0.99, the probability loses 1% while the odds P / (1 - P) lose 90%. Here is the same
# search with the same limits, applied to the odds:

# %%
results = lv.find_degenerate(model, few, max_size=2, of="odds", controls=2)
lv.overview(results).round(3)

# %% [markdown]
# Random neurons have none, so these pairs are no accident. But do their neurons stand in for each
# other?

# %% [markdown] tags=["exercise"]
# ### Exercise 4.4: what would two independent neurons do?
# *●●○, 5 minutes*
#
# Suppose that two neurons work independently: losing either one takes away its share of whatever is
# left. `one` and `other` are the relative changes without each of them (a fall is negative). Return
# the relative change without both.


# %% tags=["exercise"]
def expected(one, other):
    return ...


# %% tags=["check"]
course.check_expected(expected, pairs)

# %% [markdown] tags=["hint"]
# Losing a neuron that takes 14% leaves 86%. The second one takes 14% of that.


# %% tags=["solution"]
def expected(one, other):
    return (1 + one) * (1 + other) - 1


# %% tags=["mistake"]
def expected(one, other):
    return one + other  # two that cost 60% each would cost more than there is


# %% tags=["mistake"]
def expected(one, other):
    return min(one, other)  # as if the weaker neuron did nothing


# %% [markdown]
# Two independent neurons that cost 14% each cost 26% together, and by the paper's limits of 20% and
# 25% that counts as degenerate. In the table above, `expected` is the mean of what the pairs would
# do if their neurons were independent, and `change` is what they do: the two hardly differ.
# `beyond` counts the pairs that do more than expected, by however little. Here a degenerate pair
# mostly means two small effects that add up.

# %%
tokyo = next(r for r in results if (r.fact_id, r.language) == ("capital/JP", "en"))
lv.plots.degenerate_graph(tokyo)

# %%
tokyo.to_frame().sort_values("change")[["neurons", "change", "expected"]].head(5).round(3)

# %% [markdown]
# ## Larger sets
# A set of three counts only if no pair in it is degenerate. `searched` and `left out` say how many
# sets of each size were measured and how many were not (`max_sets`). The figure draws only pairs;
# hover over a neuron to see the larger sets that it belongs to.

# %%
peru = few.select(lambda p: (p.fact_id, p.language) == ("capital/PE", "ru"))
(larger,) = lv.find_degenerate(model, peru, max_size=3, of="odds", controls=1)
print(larger)
print("searched", larger.searched, "left out", larger.left_out)
lv.plots.degenerate_graph(larger)

# %% [markdown]
# ## Can they tell true from false?
# The paper proposes degenerate neurons as fact-checkers. Half of the capitals determine which
# degenerate neurons are frequent in this relation. A candidate answer's score is its mean
# attribution over these neurons, and the threshold is fitted on the same half. The other capitals
# are then asked with their true answer and with a false one, the capital of another country. (The
# paper trains on four fifths, which is the default. With half, enough facts are left for the test.)

# %% [markdown] tags=["exercise"]
# ### Exercise 4.5: how good is a judge?
# *●●○, 7 minutes*
#
# `true` holds the scores of the true answers, `false` those of the false ones. The *AUC* is the
# probability that a randomly drawn true answer scores above a randomly drawn false one; a tie
# counts half. It needs no threshold. Return the AUC.


# %% tags=["exercise"]
def auc(true, false):
    wins = [... for t in true for f in false]
    return sum(wins) / len(wins)


# %% tags=["check"]
course.check_auc(auc)

# %% [markdown] tags=["hint"]
# `t > f` is True or False, which count as 1 and 0 in a sum. So is `t == f`.


# %% tags=["solution"]
def auc(true, false):
    wins = [(t > f) + 0.5 * (t == f) for t in true for f in false]
    return sum(wins) / len(wins)


# %% tags=["mistake"]
def auc(true, false):
    right = [t > 0.5 for t in true] + [f <= 0.5 for f in false]  # a threshold that nobody gave
    return sum(right) / len(right)


# %% tags=["mistake"]
def auc(true, false):
    wins = [t > f for t in true for f in false]  # a tie counts as lost
    return sum(wins) / len(wins)


# %% [markdown]
# `lv.check_facts` does all of this, and computes `auc` as you did. `accuracy_true` and
# `accuracy_false` are the shares of true and false answers that the fitted threshold gets right.

# %%
sixty = facts.filter(relation="capital", languages=["en", "ru"]).sample(60, seed=0)
options = {"paraphrases": (0,), "train_share": 0.5, "of": "odds"}
check = lv.check_facts(model, sixty, "capital", **options)
check.summary().round(3).T

# %%
lv.plots.fact_checking_roc(check)

# %% [markdown]
# The three controls say what this is worth. **P(candidate)**, the probability that the model gives
# to the answer, needs no neurons, and it wins: this model knows its capitals. **Random neurons** of
# the same layers get part of the way too. The shape of the curves says why: an attribution explains
# a probability, and where the probability is next to nothing, as for false answers, all neurons
# score next to nothing. The degenerate neurons lie between these two. **Top neurons** are as many
# other neurons, those most often among the 20 best by attribution. They judge just as well: a high
# attribution is what works here, and the interval of the difference does not prove that degeneracy
# adds anything. Here are the differences, with their 95% intervals over test facts:

# %%
for control in ("random neurons", "top neurons", "P(candidate)"):
    difference, low, high = check.compare(other=control)
    print(f"degenerate neurons, AUC above {control}: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")

# %% [markdown]
# ## False answers that the model finds likely
# A capital drawn at random is easy to reject. With `false_answers="plausible"`, the false answer is
# the wrong capital that the model finds likeliest. P(candidate) is that same probability, so no
# false answer is harder for this control. (The `CompletenessWarning` names a rare prompt whose
# attributions do not quite add up.)

# %%
hard = lv.check_facts(model, sixty, "capital", max_facts=24, false_answers="plausible", **options)
lv.plots.fact_checking_roc(hard)

# %%
for name, checked in (("random", check), ("plausible", hard)):
    p = checked.to_frame().groupby("true")["P(candidate)"].median()
    print(f"{name}: median P of false answers {p[False]:.6f}, of true ones {p[True]:.3f}")

# %% [markdown]
# P(candidate) loses nothing: this model is sure of its capitals, and even the likeliest wrong one
# is next to impossible. Random neurons stay behind. The degenerate and the top neurons lie in
# between, too close to tell apart (the figure gives the interval of their difference).
#
# ## A masked model
# The paper uses BERT. Here is a small masked model that knows the same facts.

# %%
masked = lv.load_model("embedded-masked")
masked_check = lv.check_facts(masked, sixty, "capital", max_facts=24, **options)
with_pairs = sum(bool(result.sets) for result in masked_check.found)
print(
    f"{with_pairs} of {len(masked_check.found)} training facts and languages have degenerate pairs,"
)
print(f"{len(masked_check.neurons)} neurons are frequent")
lv.plots.fact_checking_roc(masked_check)

# %% [markdown]
# All 24 have a pair that costs a quarter of the odds, and five neurons are frequent among them.
# They judge much better than random ones do, as well as the five with the highest attribution, and
# no better than the probability. (12 test facts in two languages: the intervals are wide.)
#
# ## Limits
# - The candidates are the 20 best neurons by attribution. A stand-in that attribution misses is not
#   found.
# - The limits of 20% and 25% are the paper's. If you move them, the counts move with them. The
#   random control moves too, so look at both.
# - Few facts are tested here, in two languages and one wording, so the intervals are wide. They
#   cover the test facts only: the other half, which determines the judging neurons, was drawn once.
# - A judge of answers that the model already knows does not check facts about the world: it says
#   what the model believes.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696: suppressing and
# amplifying knowledge neurons); *Journey to the Center of the Knowledge Neurons* (arXiv 2308.13198:
# its parts on degenerate knowledge neurons and on fact-checking, and for transfer that on
# language-independent ones).
#
# **Next** `05_editing` changes a fact in all languages at once. Or try another relation
# (`continent`, `currency`, `language`), `of="probability"`, or your own model:
# `lv.load_model("path/or/name")`.

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. Neurons that stand in for one another, and fact-checking
#
# **You will** look for *degenerate knowledge neurons*: take one away and the answer stays, take
# another with it and the answer goes. Then you will let them judge answers, true or false, as the
# paper *Journey to the Center of the Knowledge Neurons* (arXiv 2308.13198) proposes, and hold that
# against three controls. About fifteen minutes, after `02_attribution`.
#
# **What to expect.** Measured on the probability as in the paper, hardly any fact of this model has
# a degenerate pair: it is too sure to notice two neurons. On the odds nearly every fact has some,
# and random neurons have none. But these pairs are hardly stand-ins: two small effects that add up
# explain nearly all of what they do. As judges of answers the neurons are better than random ones,
# not clearly better than other neurons of high attribution, and worse than the plain probability of
# the answer.

# %%
import lafn_viz as lv
from lafn_viz.degenerate import overview

model = lv.load_model("embedded")
facts = lv.load_facts().filter(leaking=False)
asked = {"relation": "capital", "subjects": ["Japan", "Peru", "Italy", "Egypt"]}
prompts = facts.filter(**asked, languages=["en", "ru", "zh"]).prompts()
prompts = [prompt for prompt in prompts if prompt.paraphrase in (0, 1)]
scores = lv.attribute(model, prompts)

# %% [markdown]
# ## As in the paper
# The 20 neurons with the largest attribution are the candidates. Each is zeroed alone; those that
# cost at most 20% of the probability stay. Then they are zeroed in pairs: a pair that costs more
# than 25% is degenerate. `random` is how many pairs the same search finds among as many random
# neurons of the same layers, and `together` what happens without all 20 at once.

# %%
found = lv.find_degenerate(model, scores, max_size=2)
overview(found).round(3)

# %% [markdown]
# Nothing is left empty without a reason:

# %%
for one in found[:2]:
    print(one)

# %% [markdown]
# Where the model is sure (`p_before` near 1), no two of the candidates bring it down; all 20 at
# once (`together`) take between 5% and 84% of it. Pairs turn up where it was not so
# sure.
#
# ## The odds do not saturate
# From 0.999 to 0.99 the probability loses 1%, the odds P / (1 - P) lose 90%. The same shares, asked
# of the odds:

# %%
found = lv.find_degenerate(model, scores, max_size=2, of="odds")
overview(found).round(3)

# %% [markdown]
# Random neurons have none, so these pairs are no accident. But do they stand in for one another?
# Two neurons that cost 14% each and know nothing of one another cost 26% together, and that counts
# as degenerate by the paper's limits of 20% and 25%. `expected` is what the neurons would do one
# by one, `change` what the pairs do: the two hardly differ. `beyond` counts the pairs that do more
# than expected, by however little. Here a degenerate pair mostly means two small effects that add
# up.

# %%
japan = [found[i] for i, one in enumerate(found) if one.fact_id == "capital/JP"]
lv.plots.degenerate_graph(japan[0])

# %%
japan[0].to_frame().sort_values("change")[["neurons", "change", "expected"]].head(5).round(3)

# %% [markdown]
# ## Larger sets
# Of three neurons, only those with no degenerate pair in them are looked for. `searched` and
# `left_out` say how many sets of each size were measured and how many were not (`max_sets`). The
# figure draws pairs only; hover over a neuron for the larger sets that it is in.

# %%
peru = scores.select(lambda prompt: prompt.fact_id == "capital/PE" and prompt.language == "ru")
(larger,) = lv.find_degenerate(model, peru, max_size=3, of="odds")
print(larger)
print("searched", larger.searched, "left out", larger.left_out)
lv.plots.degenerate_graph(larger)

# %% [markdown]
# ## Can they tell true from false?
# Half of the capitals say which degenerate neurons are frequent in this relation. A
# candidate answer's score is its mean attribution over these neurons; the threshold is fitted on
# the same half. The other capitals are then asked with their true answer and a false one, the
# capital of another country. (The paper takes four fifths, the default; with half there are enough
# left to test.)

# %%
check = lv.check_facts(
    model, facts, "capital", languages=["en", "ru"], paraphrases=(0,), max_facts=60,
    train_share=0.5, of="odds",
)  # fmt: skip
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
# A capital drawn at random is easy to refuse: the model gives it a probability of 0.000003
# (median). `false_answers="plausible"` takes of all wrong capitals the one that the model finds
# likeliest. It is picked by the very thing that P(candidate) looks at, so none is harder for that
# control. Yet it does not slip: this model is sure of its capitals, and the likeliest wrong one has
# a probability of 0.0007 (median of 30 facts). It stays in front, random neurons stay behind, and
# the degenerate and the top ones between them are still too close to tell apart. (The
# `CompletenessWarning` names a rare prompt whose attributions do not quite add up.)

# %%
hard = lv.check_facts(
    model, facts, "capital", languages=["en", "ru"], paraphrases=(0,), max_facts=30,
    train_share=0.5, of="odds", false_answers="plausible",
)  # fmt: skip
lv.plots.fact_checking_roc(hard)

# %%
hard.to_frame().groupby("true")["P(candidate)"].describe(percentiles=[0.5]).round(6)

# %% [markdown]
# ## A masked model
# The paper does this with BERT. Here is a small masked model that knows the same facts. Its single
# neurons matter less: hardly any pair takes a quarter of the odds. A row of NaN is a fact that it
# does not know in that language: nothing was searched there.

# %%
masked = lv.load_model("embedded-masked")
first = [prompt for prompt in prompts if prompt.paraphrase == 0]
found = lv.find_degenerate(masked, lv.attribute(masked, first), max_size=2, of="odds")
overview(found).round(3)

# %% [markdown]
# So only a few facts decide which neurons are frequent. They still judge better than random ones,
# no better than the top ones, and much worse than the probability:

# %%
check = lv.check_facts(
    masked, facts, "capital", languages=["en", "ru"], paraphrases=(0,), max_facts=60,
    train_share=0.5, of="odds",
)  # fmt: skip
lv.plots.fact_checking_roc(check)

# %% [markdown]
# ## Limits
# - Zero is a value that no text puts a neuron at. `lv.intervene(..., how="mean")` is milder.
# - The candidates are the 20 best by attribution: a stand-in that attribution does not see is not
#   found.
# - The limits of 20% and 25% are the paper's. Move them and the counts move with them; the random
#   control moves too, so look at both.
# - Few facts are tested here, in two languages and one wording: the intervals are wide.
# - A judge of answers that the model already knows is no fact-checker of the world: it says what
#   the model believes.
#
# **Next:** try another relation (`continent`, `currency`, `language`), `of="probability"`, or your
# own model: `lv.load_model("path/or/name")`.

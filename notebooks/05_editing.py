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
# **You will** write the loss that an edit minimises, choose the neurons that stay, add values to
# them where the subject is read, judge an edit by three measures, and find subjects in texts. With
# the library you will give Japan another capital in twelve languages, and hold the edit against
# random neurons, against another position and against other editors.
#
# **Time** 60 minutes, 31 of them with five exercises.
#
# **Before** `01_neurons_and_hooks` for hooks, `03_overlap` for what languages share. You need
# nothing of model editing.
#
# **What to expect** A hundred neurons of 2560 carry the new capital into all languages, also in
# wordings that took no part, and other facts of the country stay. As many random neurons come a
# long way too, ten random ones do not: few neurons are the test. Values added at the subject's last
# token alone do little in this model.

# %% tags=["setup"]
import re
from dataclasses import replace

import pandas as pd

import lafn_viz as lv
from lafn_viz import course
from lafn_viz.neurons.controls import random_like

model = lv.load_model("embedded")
facts = lv.load_facts().filter(leaking=False)
asked = facts.filter(relation="capital", subjects="Japan").prompts()
asked[0]

# %% [markdown]
# ## What an edit is
# **The idea** Weights stay as they are. An edit is one vector of values $\delta$, one value for
# each of a few neurons, and it is added to their activations wherever the subject is read. All
# languages share it. LU-LAFNs (arXiv 2406.16416) has four steps: *locate* neurons, *optimise* the
# values, *cache* them under the subject's names, *retrieve* them when a text names the subject. The
# values are those of least loss:
#
# $$L(\delta) = \frac{1}{|E|} \sum_{p \in E} -\log P_\delta(\text{new object} \mid p)
# \;+\; \lambda\, D_\delta \;+\; \mu \lVert \delta \rVert^2$$
#
# $E$ are the prompts to edit, in all languages and wordings. $D_\delta$ is a Kullback-Leibler
# divergence, in nats (logarithms to base e): how far the model's next token has moved from what it
# was, on prompts about the same country that shall stay (continent, currency, language), and after
# the new object's name, where the text has to go on. $\lambda$ is 1 here, $\mu$ is $10^{-4}$.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.1: what is to become small
# *●○○, 6 minutes*
#
# Write the first term. You get a tensor of probabilities: P(new object) after each prompt, one
# prompt a language. Return one number.


# %% tags=["exercise"]
def edit_loss(p):
    return ...


# %% tags=["check"]
course.check_edit_loss(edit_loss, model, facts)

# %% [markdown] tags=["hint"]
# First the logarithm of each probability, then the mean, then the sign.


# %% tags=["solution"]
def edit_loss(p):
    return -p.log().mean()


# %% tags=["mistake"]
def edit_loss(p):
    return -p.mean()  # flat where P is nearly 0, and that is where an edit begins


# %% tags=["mistake"]
def edit_loss(p):
    return -p.mean().log()  # one language that knows the new object is enough


# %% [markdown]
# ## One edit
# Which neurons? The paper takes those that are active, or score high, in all languages.
# `lafn_edit` asks the change itself: optimise values for all 2560 neurons, keep the quarter that
# writes most, optimise again, and so on down to `n_neurons`, 100 unless you say otherwise.

# %%
edit = lv.lafn_edit(model, facts, subject="Japan", relation="capital", new_object="Rome")
edit

# %% [markdown]
# What is left of the loss, and the thirty largest values of $\delta$. The neurons lie in all
# layers, more of them in the first than in any other:

# %%
print("neurons by layer:", edit.to_frame().groupby("layer").size().to_dict())
print(f"-log P(Rome): {edit.loss:.2f} nats, divergence: {edit.divergence:.2f} nats")
lv.plots.edit_values(edit)

# %% [markdown] tags=["exercise"]
# ### Exercise 5.2: the neurons that write most
# *●●○, 6 minutes*
#
# Neuron $n$ with the value $\delta_n$ adds $\delta_n v_n$ to the stream, and $v_n$ is row $n$ of
# `W_out`. Return the `n` neurons that add the longest vectors. (`values` has a number a neuron,
# `W_out` a row a neuron.)


# %% tags=["exercise"]
def writes_most(values, W_out, n):
    written = ...  # for each neuron: how long is the vector that it adds?
    return written.topk(n).indices.tolist()


# %% tags=["check"]
course.check_writes_most(writes_most, model)

# %% [markdown] tags=["hint"]
# `W_out.norm(dim=1)` is the length of each row. A vector times -2 is as long as the vector times 2.


# %% tags=["solution"]
def writes_most(values, W_out, n):
    written = values.abs() * W_out.norm(dim=1)
    return written.topk(n).indices.tolist()


# %% tags=["mistake"]
def writes_most(values, W_out, n):
    written = values * W_out.norm(dim=1)  # a value far below zero counts as nothing
    return written.topk(n).indices.tolist()


# %% tags=["mistake"]
def writes_most(values, W_out, n):
    written = values.abs()  # as if all rows were equally long
    return written.topk(n).indices.tolist()


# %% [markdown]
# The weights are as they were. Inside `edited` the model reads with the values added wherever it
# meets the subject:

# %%
first = [prompt for prompt in asked if prompt.paraphrase == 0]
options = {"max_new_tokens": 3, "do_sample": False, "verbose": False}
before = [model.generate(prompt.text, **options) for prompt in first]
with lv.edited(model, edit):
    after = [model.generate(prompt.text, **options) for prompt in first]
pd.DataFrame({"before": before, "after": after}, index=[prompt.language for prompt in first])

# %% [markdown] tags=["exercise"]
# ### Exercise 5.3: add values from the subject on
# *●●○, 7 minutes*
#
# What `edited` does is a hook. Add `values`, a tensor with one number for each of the `neurons` (a
# list) of a layer, at position `first`, the subject's last token, and at every position after it.
# The function returns the logits at all positions.


# %% tags=["exercise"]
def with_values(model, tokens, layer, neurons, values, first):
    def add(value, hook):  # value: batch, position, neuron
        value = value.clone()
        value = ...
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", add)]):
        return model(tokens)[0]


# %% tags=["check"]
course.check_with_values(with_values, model, asked[0])

# %% [markdown] tags=["hint"]
# An index takes a slice or a list for each axis: every text, from `first` on, these neurons. Add
# to that part of the tensor with `+=`; what begins with `value = ` would replace all of it.


# %% tags=["solution"]
def with_values(model, tokens, layer, neurons, values, first):
    def add(value, hook):  # value: batch, position, neuron
        value = value.clone()
        value[:, first:, neurons] += values
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", add)]):
        return model(tokens)[0]


# %% tags=["mistake"]
def with_values(model, tokens, layer, neurons, values, first):
    def add(value, hook):
        value = value.clone()
        value[:, first:, neurons] = values  # what the neurons did is lost
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", add)]):
        return model(tokens)[0]


# %% tags=["mistake"]
def with_values(model, tokens, layer, neurons, values, first):
    def add(value, hook):
        value = value.clone()
        value[:, :, neurons] += values  # in every text, before its subject too
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", add)]):
        return model(tokens)[0]


# %% [markdown]
# ## What changed, and what did not
# *Reliability*: the wordings that were optimised give the new object. *Generality*: so do wordings
# that took no part, here one a language. *Locality*: what is asked otherwise is answered as before.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.4: reliability, generality, locality
# *●●○, 7 minutes*
#
# Each row is one answer after an edit, a dict: `fact` (does it ask for the edited fact?),
# `optimised` (was this wording optimised?), `before` and `after` (what the model wrote), `new` (the
# new object in this language). Each measure is a share of rows. Add the two that are missing.


# %% tags=["exercise"]
def edit_scores(rows):
    def share(passed):
        return sum(passed) / len(passed)

    fact = [row for row in rows if row["fact"]]
    reliability = share([row["after"] == row["new"] for row in fact if row["optimised"]])
    generality, locality = ...
    return {"reliability": reliability, "generality": generality, "locality": locality}


# %% tags=["check"]
course.check_edit_scores(edit_scores)

# %% [markdown] tags=["hint"]
# Two lines, one for each. For both ask: which rows, and what has `after` to be equal to? Where
# `fact` is false, the new object would be a mistake.


# %% tags=["solution"]
def edit_scores(rows):
    def share(passed):
        return sum(passed) / len(passed)

    fact = [row for row in rows if row["fact"]]
    reliability = share([row["after"] == row["new"] for row in fact if row["optimised"]])
    generality = share([row["after"] == row["new"] for row in fact if not row["optimised"]])
    locality = share([row["after"] == row["before"] for row in rows if not row["fact"]])
    return {"reliability": reliability, "generality": generality, "locality": locality}


# %% tags=["mistake"]
def edit_scores(rows):
    def share(passed):
        return sum(passed) / len(passed)

    fact = [row for row in rows if row["fact"]]
    reliability = share([row["after"] == row["new"] for row in fact if row["optimised"]])
    generality = share([row["after"] == row["new"] for row in fact if not row["optimised"]])
    # The damage, not what stays.
    locality = share([row["after"] == row["new"] for row in rows if not row["fact"]])
    return {"reliability": reliability, "generality": generality, "locality": locality}


# %% tags=["mistake"]
def edit_scores(rows):
    def share(passed):
        return sum(passed) / len(passed)

    fact = [row for row in rows if row["fact"]]
    reliability = share([row["after"] == row["new"] for row in fact if row["optimised"]])
    generality = share([row["after"] == row["new"] for row in fact])  # optimised wordings too
    locality = share([row["after"] == row["before"] for row in rows if not row["fact"]])
    return {"reliability": reliability, "generality": generality, "locality": locality}


# %% [markdown]
# Now for the edit. Locality is asked in two ways: other relations of the same country, and the same
# relation of another country. The numbers are shares of whole answers that greedy decoding writes;
# in the first two rows the new object is the right answer, in the others the old one. `taken back`
# is without the edit again.

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
before = {name: lv.score_answers(model, p).known.float().mean() for name, p in groups.items()}
with lv.edited(model, edit):
    after = {name: lv.score_answers(model, p).known.float().mean() for name, p in groups.items()}
back = {name: lv.score_answers(model, p).known.float().mean() for name, p in groups.items()}
pd.DataFrame({"before": before, "edited": after, "taken back": back}).astype(float).round(3)

# %% [markdown]
# ## Would random neurons do it too?
# As many neurons of the same layers, drawn at random, get values of their own by the same
# optimisation. Drawn is the mean of -log P(new object) in nats, in five languages. (Values are
# added from the prompt's last token on here: `position="answer"`.)

# %%
located, chance = [], []
some = facts.filter(languages=["en", "fr", "ru", "zh", "hi"])
options = {"subject": "Japan", "relation": "capital", "new_object": "Rome", "position": "answer"}
for n in (10, 30, 100):
    located.append(lv.lafn_edit(model, some, **options, n_neurons=n))
    drawn = random_like(located[-1].neurons, (4, 640), seed=0)
    chance.append(lv.lafn_edit(model, some, **options, neurons=drawn))
lv.plots.edits_by_size({"located": located, "as many random ones of the same layers": chance})

# %% [markdown]
# The more values there are, the less it matters whose they are: a hundred can be bent to much.
# That an edit works says little of its neurons; that it works with few does.
#
# ## At the subject?
# The paper adds the values at the subject's last token. Here that is tried with all 2560 neurons:

# %%
options = options | {"position": "subject_last", "n_neurons": 2560}
at_subject = lv.lafn_edit(model, some, **options)
named = {"100 neurons, at the answer": located[-1], "all neurons, at the subject": at_subject}
lv.plots.edit_curves(named)

# %% [markdown]
# The loss stays above 10 nats, with every neuron of the model. Why? Put the values of another
# country's prompt at one place of this prompt, and see whether the other capital comes out:

# %%
capitals = some.filter(relation="capital").prompts()
lv.plots.subject_trace(lv.trace_subject(model, capitals, max_pairs=60))

# %% [markdown]
# What enters the first layer at the subject decides. From the second layer on only the answer's
# position does: the attention of the first layer has taken the subject there straight from its
# embedding, before any neuron has been at it, and what neurons do at the subject brings the other
# capital in no pair. At the answer, the neurons of the first layer alone bring it in most pairs.
# So `position="from_subject"`, the default, adds the values at the subject's last token and at all
# that follows, the answer's position included. Another model may read otherwise: trace it.
#
# ## Find the subject
# An edit acts where its subject is read, so somebody has to notice that a text speaks of it.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.5: does a text speak of it?
# *●○○, 5 minutes*
#
# Say whether a name stands in a text as a whole word (or words), whatever its case: "Niger" is in
# "the capital of niger is" and not in "The capital of Nigeria is". Languages that put spaces
# between words are enough.


# %% tags=["exercise"]
def speaks_of(text, name):
    return ...


# %% tags=["check"]
course.check_speaks_of(speaks_of)

# %% [markdown] tags=["hint"]
# `re.search(pattern, text, re.IGNORECASE)`: in a pattern, written `rf"..."`, `\b` is the border of
# a word, and
# `re.escape(name)` is the name with nothing in it that means something else.


# %% tags=["solution"]
def speaks_of(text, name):
    return re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) is not None


# %% tags=["mistake"]
def speaks_of(text, name):
    return name.casefold() in text.casefold()  # Niger in Nigeria, Oman in Romania


# %% tags=["mistake"]
def speaks_of(text, name):
    return re.search(rf"\b{re.escape(name)}\b", text) is not None  # niger is not Niger


# %% [markdown]
# A cache keeps many edits and finds their subjects in any text: as whole words, inflected
# ("Japans") and in scripts without spaces. A name that it was not given ("Nippon"), or a word made
# of one ("Peruvian"), it does not see. Which rule found what, and how surely:

# %%
four = ["en", "ru", "zh", "de"]
asked_for = {"subject": "Peru", "relation": "capital", "new_object": "Berlin"}
other = lv.lafn_edit(model, facts, **asked_for, languages=four)
cache = lv.EditCache([edit, other])
texts = ["The capital of Japan is", "日本的首都是", "Столица Перу —", "Japans Hauptstadt"]
texts += ["The capital of Nippon is", "The Peruvian capital is"]
rows = [(text, m.key, m.rule, m.name, m.score) for text in texts for m in cache.find(text)]
rows += [(text, "", "not found", "", None) for text in texts if not cache.find(text)]
pd.DataFrame(rows, columns=["text", "subject", "rule", "name", "score"])

# %% [markdown]
# Each row of a batch gets its own edits, and one edit can go without the others:

# %%
cache = lv.EditCache([edit, other])
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
# Random neurons edit, but less well. Edits of single languages, added up, disturb each other and
# what else is known of the subject. ROME as published writes at the subject's last token, too late
# for this model, as above; at the answer it edits these three as well as the shared vector. What
# changes weights changes them for every text, so other subjects suffer; an edit in a cache leaves
# them alone by construction, whatever its neurons. Three cases say little: the README has the table
# of a hundred, with intervals.
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
# - The model does not reason with the new fact. A text about Rome that does not name Japan is read
#   as before: nothing is added there.
# - One fact, one draw of random neurons, one small model. Where a subject is read, and how many
#   neurons an edit needs, is to be asked of every model anew.
#
# **Papers** *Multilingual Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv
# 2406.16416: locating, optimising, caching and retrieving). The compared editor ROME, and causal
# tracing: *Locating and Editing Factual Associations in GPT* (arXiv 2202.05262). Many edits solved
# together: *Mass-Editing Memory in a Transformer* (arXiv 2210.07229).
#
# **Next** `07_your_model`: the same on a model and facts of your own. Or `08_explore`, to edit
# live.

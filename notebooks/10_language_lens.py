# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. In which language does it think?
#
# **You will** write a lens that reads every layer as if it were the last one, and see in which
# language each layer names a fact. You find the trap in it, sort wrong answers by where the fact
# got lost, and switch neurons off to see which of them name the fact and which choose the
# language.
#
# **Time** 60 minutes, 33 of them with four exercises.
#
# **Before** `01_neurons_and_hooks` and `04_degenerate_and_fact_checking`; `03_overlap` explains
# language-agnostic neurons.
#
# **What to expect** Gemma 3 270M names a capital in English in its middle layers, whatever the
# language asked, and in the language asked only at the end. The embedded model does nothing of the
# kind: it is small, and was trained on twelve languages alike. So you write and try everything on
# the embedded model, and hold the result against tables of Gemma's, which come along.

# %% tags=["setup"]
import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
facts = lv.load_facts().filter(
    relation="capital", leaking=False, languages=["en", "fr", "ru", "zh", "ar", "ja"]
)
gemma = course.lens_tables("gemma-3-270m")

# %% [markdown]
# ## 1. The lens
# **The idea** Each layer adds to the residual stream, and the last one is followed by a norm and
# by the un-embedding $W_U$, which turn the stream into one number per token. Nothing stops you
# from doing the same to the stream after an earlier layer $\ell$ (the *logit lens*,
# nostalgebraist 2020):
#
# $$\text{logits}_\ell = \mathrm{LN}_f(x_\ell)\, W_U + b_U, \qquad
#   \text{rank}_\ell(t) = \#\{\,u : \text{logits}_\ell(u) > \text{logits}_\ell(t)\,\}$$
#
# Rank 0 is the token that the layer would write (figures count from 1). Run the model and keep the
# stream after every layer, at the last position of a Russian prompt:

# %% tags=["setup"]
asked = [p for p in facts.filter(subjects="Japan").prompts() if p.paraphrase == 1]
(russian,) = [p for p in asked if p.language == "ru"]
_, cache = model.run_with_cache(torch.tensor([model.tokenizer.encode(russian.text)]))
stream = torch.stack([cache[f"blocks.{layer}.hook_out"][0, -1] for layer in range(4)])

# %%
print(russian.text, "→", russian.answer)
print("layer, stream:", tuple(stream.shape))

# %% [markdown] tags=["exercise"]
# ### Exercise 10.1: write the lens
# *●●○, 9 minutes*
#
# `stream` has the residual stream after each layer, one row per layer; `norm` is a function, `W_U`
# has one column per token and `b_U` one number per token. Return the rank of `token` after each
# layer: how many tokens have a larger logit?


# %% tags=["exercise"]
def ranks(stream, norm, W_U, b_U, token):
    return ...


# %% tags=["check"]
course.check_ranks(ranks, model, stream)

# %% [markdown] tags=["hint"]
# `norm(stream) @ W_U + b_U` has one row per layer. Compare each row with its own entry at `token`,
# and count along the row. `[:, token, None]` keeps the column.


# %% tags=["solution"]
def ranks(stream, norm, W_U, b_U, token):
    logits = norm(stream) @ W_U + b_U
    return (logits > logits[:, token, None]).sum(-1)


# %% tags=["mistake"]
def ranks(stream, norm, W_U, b_U, token):
    logits = stream @ W_U + b_U  # without the norm
    return (logits > logits[:, token, None]).sum(-1)


# %% tags=["mistake"]
def ranks(stream, norm, W_U, b_U, token):
    logits = norm(stream) @ W_U + b_U
    return (logits >= logits[:, token, None]).sum(-1)  # the token itself, too


# %% [markdown]
# `language_lens` does this for the first token of the answer's name in **every** language, in many
# prompts at once. One prompt as a strip: what would each layer write, and how far down the list is
# each name?

# %%
prompts = [p for p in facts.sample(12, seed=1).prompts() if p.paraphrase == 1]
lens = lv.language_lens(model, prompts)
chosen = next(i for i, p in enumerate(lens.prompts) if p.language == "ru" and lens.told_apart[i])
lv.plots.lens_strip(lens, prompt=chosen)

# %% [markdown]
# ## 2. The trap
# *Paris* is *Paris* in English, French and German. If that token leads in a layer, in which
# language does the layer think? Nobody can tell. It is worse with tokens: names of several tokens
# may begin alike and go on differently, and the lens reads the first one only.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.2: told apart
# *●○○, 7 minutes*
#
# `tokens` has the first token of a name in each language, or `None` where a language has no name.
# `own` is the language of the prompt. Does a prompt like this say anything about languages?
# Return `True` if the own name begins with a token that no other language's name begins with, and
# at least one other language has a name at all.


# %% tags=["exercise"]
def told_apart(tokens, own):
    return ...


# %% tags=["check"]
course.check_told_apart(told_apart)

# %% [markdown] tags=["hint"]
# Make a list of the other languages' tokens that are not `None`. Two things have to hold of it.
# And what if the own name is `None`?


# %% tags=["solution"]
def told_apart(tokens, own):
    others = [t for code, t in tokens.items() if code != own and t is not None]
    return tokens[own] is not None and len(others) > 0 and tokens[own] not in others


# %% tags=["mistake"]
def told_apart(tokens, own):
    return len(set(tokens.values())) == len(tokens)  # all of them differ


# %% tags=["mistake"]
def told_apart(tokens, own):
    others = [t for code, t in tokens.items() if code != own and t is not None]
    return tokens[own] not in others


# %% [markdown]
# So every share below leaves out prompts that are not told apart. It also has a **control**: the
# names of other capitals in the same prompts. A model that likes English words in its middle
# layers would rank *every* English capital high there.

# %%
print(f"{int(lens.told_apart.sum())} of {len(lens.prompts)} prompts are told apart")
lv.plots.latent_languages(lens)

# %% [markdown]
# In the embedded model the prompt's own language leads from the first layers on. Here is Gemma, 12
# well-known capitals in the same six languages, after three examples each. `value` is the share of
# prompts, `control` the share of other capitals:

# %%
layers = gemma["lens"].set_index(["leader", "layer"])[["value", "low", "high", "control"]]
leaders = {"another language leads": "another", "the own language leads": "own"}
pd.concat({said: layers.loc[name] for said, name in leaders.items()}, axis=1).iloc[10:]

# %% [markdown]
# **Look at** layer 13: another language's name leads in nine prompts of ten, other capitals' in
# hardly any. At the end it is the own name. Somewhere between them the model chooses a language.
#
# ## 3. Where is a fact lost?
# A wrong answer may have several reasons. Sort it by what the layers name. A name *leads* in a
# layer if its rank is the least of all languages' and less than some `within`. Then a failed
# prompt is
#
# - **lost on the way out**, if another language's name leads somewhere and the own name nowhere:
#   the fact may be there, and does not get into the language;
# - **other answer**, if the own name leads somewhere, and is not written all the same;
# - **unknown**, if no name leads anywhere.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.3: sort three failures
# *●●○, 9 minutes*
#
# `rank` has one row per layer and one column per language; `own` is the column of the prompt's
# language. All names begin differently. Return `"lost on the way out"`, `"other answer"` or
# `"unknown"`.


# %% tags=["exercise"]
def kind_of_failure(rank, own, within):
    return ...


# %% tags=["check"]
course.check_kind_of_failure(kind_of_failure)

# %% [markdown] tags=["hint"]
# For each layer: which column has the least rank, and is that rank less than `within`? Collect
# these columns over all layers; then ask for `own` first.


# %% tags=["solution"]
def kind_of_failure(rank, own, within):
    least, column = rank.min(-1)
    leaders = set(column[least < within].tolist())
    if own in leaders:
        return "other answer"
    return "lost on the way out" if leaders else "unknown"


# %% tags=["mistake"]
def kind_of_failure(rank, own, within):
    least, column = rank[-1:].min(-1)  # the last layer alone
    leaders = set(column[least < within].tolist())
    if own in leaders:
        return "other answer"
    return "lost on the way out" if leaders else "unknown"


# %% tags=["mistake"]
def kind_of_failure(rank, own, within):
    leaders = set(rank.argmin(-1).tolist())  # some column is always the least
    if own in leaders:
        return "other answer"
    return "lost on the way out" if leaders else "unknown"


# %% [markdown]
# `failures` does this with a threshold that other capitals choose, and adds a fourth kind: the
# first token is right, and the rest is not. The first rows are of facts that training never
# told the embedded model in the language asked, the others of the 26 of 72 prompts that Gemma
# fails:

# %%
untold = [p for p in facts.prompts(splits="held-out pair") if p.paraphrase == 1]
failed = lv.failures(lv.language_lens(model, untold), lv.score_answers(model, untold))
columns = ["count", "share", "low", "high", "control"]
pd.concat(
    {"embedded": failed.summary()[columns], "gemma": gemma["failures"].set_index("kind")[columns]}
).round(2)

# %% [markdown]
# **Look at** the control, which is the share of *other* capitals that would be sorted so. In Gemma
# most failures have another language's name of the answer in some layer.
#
# Is a fact that is lost on the way out still there? Give the agnostic neurons of the failed
# prompt the values that they have in a language that answers (a *transplant*, as in unit 4),
# beside another capital's values and random neurons:

# %%
rescue = gemma["rescue"]
rescue = rescue[(rescue["measure"] == "rescued") & rescue["condition"].str.startswith("own fact")]
rescue.set_index(["kind", "condition"])[["value", "low", "high", "n_pairs", "n_facts"]]

# %% [markdown]
# **Look at** the intervals. Of the lost facts some come back and of the unknown ones none, as it
# should be. But the difference to another capital's values may as well be nothing: 12 capitals are
# too few to say.
#
# ## 4. Which neurons name the fact, and which the language?
# Find the neurons of each fact in one wording, switch them off in another one, and read all layers
# again. *Agnostic* neurons are found without the language that is asked; *specific* ones belong to
# it alone. First guess: which of them will the name in **another** language miss, and which the
# **own** name?

# %%
some = facts.sample(8, seed=0)
choosing, measuring = ([p for p in some.prompts() if p.paraphrase == n] for n in (0, 1))
overlap = lv.overlap(
    lv.select_neurons(lv.attribute(model, choosing), fraction=0.02), min_languages=4, min_scripts=3
)
agnostic = {
    (fact, language): found
    for language in overlap.languages
    for fact, found in overlap.agnostic_without(language).items()
}
effects = lv.lens_effects(model, measuring, {"agnostic": agnostic, "specific": overlap.specific})
lv.plots.lens_changes(effects)

# %% [markdown]
# **Look at** the sign in the lower left panel. Without its specific neurons the embedded model
# ranks the names in other languages *higher*, here by more than without another fact's specific
# neurons (README: 2.2 nats and 0.9). Agnostic neurons lift the fact's name in every language.
# Random neurons do nothing.
#
# Gemma's table has the same columns. It is long, so ask it a question.

# %% tags=["setup"]
changes = gemma["effects"]

# %%
changes[(changes["set"] == "agnostic") & (changes["leader"] == "another")].pivot(
    index="layer", columns="kind", values="log_p"
).iloc[10:]

# %% [markdown] tags=["exercise"]
# ### Exercise 10.4: what is missed most
# *●●○, 8 minutes*
#
# `changes` has one row per `set`, `kind` ("zeroed", "random neurons", "other fact"), `leader`
# ("own" or "another" language's name) and `layer`; `log_p` is the change in nats. Return
# `(leader, layer)` of the name that loses most when the neurons of a set are zero, **beyond
# random neurons**.


# %% tags=["exercise"]
def missed_most(changes, name):
    return ...


# %% tags=["check"]
course.check_missed_most(missed_most, changes)

# %% [markdown] tags=["hint"]
# Keep the rows of the set, and make two Series with the index `["leader", "layer"]`, one of each
# kind. Their difference has an `idxmin`.


# %% tags=["solution"]
def missed_most(changes, name):
    of_set = changes[changes["set"] == name].set_index(["kind", "leader", "layer"])["log_p"]
    return (of_set["zeroed"] - of_set["random neurons"]).idxmin()


# %% tags=["mistake"]
def missed_most(changes, name):
    of_set = changes[changes["set"] == name].set_index(["kind", "leader", "layer"])["log_p"]
    return of_set["zeroed"].abs().idxmax()  # of either sign, and without the control


# %% tags=["mistake"]
def missed_most(changes, name):
    of_set = changes[changes["set"] == name].set_index(["kind", "leader", "layer"])["log_p"]
    return of_set["random neurons"].idxmin()  # the control itself


# %% [markdown]
# So in Gemma the neurons that languages share write the name in the middle, which is in English,
# and a language's own neurons write its name at the end. Before you tell anyone, look at the
# column "other fact" above: the agnostic neurons of *another* capital do nearly as much. What
# they carry is mostly "here comes a capital", and little of it is Paris.
#
# ## Limits
# - A lens says what a layer would write, and not what later layers read from it. Early layers are
#   far from the un-embedding, and their ranks mean little.
# - Only first tokens are read.
# - Gemma's tables are of one model and of 12 capitals that were chosen for being well known; its
#   26 failures fall on few of them.
# - A switched-off neuron is far from anything that the model ever sees. Unit 4 has gentler ways.
#
# **Papers** nostalgebraist, *interpreting GPT: the logit lens* (2020); *Do Llamas Work in English?
# On the Latent Language of Multilingual Transformers* (arXiv 2402.10588).
#
# **Next** `lv.LensExplorer` shows every layer of a prompt that you type. `python
# benchmarks/lens.py --model NAME --shots 3 --choose-on 1` makes these tables for another model.

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. What a neuron is here, and how to reach it
#
# **You will** read the neurons of a feed-forward layer with a hook, check that what they write adds
# up to what the layer writes, ask one neuron which tokens it promotes, and switch one off.
#
# **Time** 35 minutes, 20 of them with three exercises.
#
# **Before** You know PyTorch and roughly what a transformer is. You need nothing of
# interpretability. If you like results first: `00_quickstart`.
#
# **What to expect** Up to a quarter of a layer's neurons are active at once, in the layers in
# between hardly any. No single neuron holds the answer: the best one costs it less than a
# percentage point of probability, the best hundred together 61 points, a hundred random ones
# nothing.

# %% tags=["setup"]
import torch

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
japan = lv.load_facts().filter(relation="capital", subjects="Japan")
prompt = japan.prompts()[0]
tokens = model.to_tokens(prompt.text, prepend_bos=False)
token = model.tokenizer.encode(" " + prompt.answer, add_special_tokens=False)[0]
prompt

# %% [markdown]
# ## A prompt, and what comes next
# The model reads tokens and gives every token of its vocabulary a probability to come next. The
# answer to this prompt is one token; its probability is what the whole course is about.

# %%
print(model.to_str_tokens(prompt.text, prepend_bos=False))
print("answer:", repr(model.tokenizer.decode(token)))
probabilities = model(tokens)[0, -1].softmax(-1)
best = probabilities.topk(5)
for value, i in zip(best.values, best.indices, strict=True):
    print(f"{value:.4f} {model.tokenizer.decode(i)!r}")

# %% [markdown]
# ## A neuron
# At each position of the text the model keeps a vector, the *residual stream*, to which every layer
# adds something. At the end the *un-embedding* (`W_U`) turns it into a logit for each token.
#
# **The idea** A feed-forward layer is a memory. Each neuron $n$ compares the stream $x$ with its
# *key* $k_n$ (a column of `W_in`), and as far as they agree it adds its *value* $v_n$ (a row of
# `W_out`) to the stream:
#
# $$\mathrm{FFN}(x) = b + \sum_n a_n(x)\, v_n, \qquad a_n(x) = \mathrm{ReLU}(x \cdot k_n + b_n)$$
#
# The number $a_n(x)$ is what we call the *activation* of neuron $n$; TransformerLens names the
# place `hook_post`. This model has 4 layers of 640 neurons. Run it once and keep everything:

# %%
logits, cache = model.run_with_cache(tokens)
activations = cache["blocks.0.mlp.hook_post"]
print("batch, position, neuron:", tuple(activations.shape))
written = activations @ model.W_out[0] + model.blocks[0].mlp.b_out
error = (written - cache["blocks.0.hook_mlp_out"]).abs().max()
print(f"sum over neurons - output of the layer: at most {error:.0e}")

# %% [markdown]
# So the layer **is** the sum of its neurons; nothing else is in it. That is why we can speak of a
# neuron's share at all. How many are active, and the strongest (its colour is the activation here),
# in four languages at *the answer's position*: the last token of the prompt, after which the answer
# comes.

# %%
four = [p for p in japan.prompts() if p.paraphrase == 0 and p.language in ("en", "fr", "ru", "zh")]
active = lv.attribute(model, four, method="activation", position="answer")
share = (active.values > 0).float().mean(-1)
print("share of neurons above zero, by language and layer:")
for one, row in zip(four, share, strict=True):
    print(one.language, [f"{value:.0%}" for value in row])
lv.plots.attribution_strip(active)

# %% [markdown] tags=["exercise"]
# ### Exercise 1.1: read a layer with a hook
# *●○○, 5 minutes*
#
# `run_with_cache` keeps everything, which a large model cannot afford. A *hook* is a function that
# the model calls at one place of its forward pass, with the tensor that is there. Write one that
# keeps the activations at the last position of the prompt; return them, one number a neuron.


# %% tags=["exercise"]
def layer_activations(model, tokens, layer):
    kept = []

    def keep(value, hook):  # value: batch, position, neuron
        kept.append(...)

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", keep)]):
        model(tokens)
    return kept[0]


# %% tags=["check"]
course.check_layer_activations(layer_activations, model, tokens)

# %% [markdown] tags=["hint"]
# There is one text in the batch, number 0; the last position is number -1.


# %% tags=["solution"]
def layer_activations(model, tokens, layer):
    kept = []

    def keep(value, hook):  # value: batch, position, neuron
        kept.append(value[0, -1])

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", keep)]):
        model(tokens)
    return kept[0]


# %% tags=["mistake"]
def layer_activations(model, tokens, layer):
    kept = []

    def keep(value, hook):
        kept.append(value[0, 0])  # the first token, which knows nothing of what follows

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", keep)]):
        model(tokens)
    return kept[0]


# %% tags=["mistake"]
def layer_activations(model, tokens, layer):
    kept = []

    def keep(value, hook):
        kept.append(value[0, -1])

    # What the layer writes, not its neurons.
    with model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_mlp_out", keep)]):
        model(tokens)
    return kept[0]


# %% [markdown]
# ## What does a neuron write?
# Its value $v_n$ is a direction in the stream. Compare it with the un-embedding $u_t$ of a token
# $t$, and you have how much one unit of the neuron adds to that token's logit, if nothing stands in
# between: $v_n \cdot u_t$.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.2: the direct effect
# *●●○, 8 minutes*
#
# Return how much each neuron of a layer adds to the logit of `token`, given the neurons'
# activations: one number a neuron. (`model.W_out[layer]` has a row a neuron, `model.W_in[layer]` a
# column a neuron, `model.W_U` a column a token. The last layer norm is left out.)


# %% tags=["exercise"]
def direct_effect(model, activations, layer, token):
    values = ...  # for each neuron: its value, compared with the token
    return values


# %% tags=["check"]
course.check_direct_effect(direct_effect, model, tokens, token)

# %% [markdown] tags=["hint"]
# `model.W_out[layer] @ model.W_U[:, token]` is a number a neuron. Is a neuron that is silent
# allowed to add anything?


# %% tags=["solution"]
def direct_effect(model, activations, layer, token):
    values = model.W_out[layer] @ model.W_U[:, token]
    return activations * values


# %% tags=["mistake"]
def direct_effect(model, activations, layer, token):
    return model.W_out[layer] @ model.W_U[:, token]  # as if every neuron had the activation 1


# %% tags=["mistake"]
def direct_effect(model, activations, layer, token):
    keys = model.W_in[layer].T @ model.W_U[:, token]  # what a neuron listens for
    return activations * keys


# %% [markdown]
# A neuron's *card* puts this together: the tokens that it promotes and demotes, how active it is in
# each language, and what the answer loses without it. Here is the neuron with the largest direct
# effect in the last layer, taken against the mean of all tokens: many neurons raise every logit
# alike, which the softmax does not see. Tokyo need not be on its list, because a neuron serves many
# words. (A direct effect sees only what goes straight to the output. What a neuron of layer 0 does
# through the layers above is invisible to it; unit 2 has a method for that.)

# %%
last = cache["blocks.3.mlp.hook_post"][0, -1]
unembed = model.W_U[:, token] - model.W_U.mean(1)  # what raises all tokens alike changes nothing
effects = last * (model.W_out[3] @ unembed)
strongest = (3, int(effects.argmax()))
card = lv.neuron_card(model, japan.prompts(), strongest)
lv.plots.neuron_card(card)

# %% [markdown]
# ## Switch one off
# Reading shows what a neuron does along with the answer. To learn what the answer owes to it,
# change the neuron and look again. A hook may return a tensor: the model goes on with that one.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.3: without one neuron
# *●●○, 7 minutes*
#
# Return the probability of `token` after the prompt while one neuron is zero at every position.


# %% tags=["exercise"]
def without_neuron(model, tokens, token, layer, neuron):
    def silence(value, hook):  # value: batch, position, neuron
        value = value.clone()
        value = ...
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", silence)]):
        logits = model(tokens)
    return float(logits[0, -1].softmax(-1)[token])


# %% tags=["check"]
course.check_without_neuron(without_neuron, model, tokens, token)

# %% [markdown] tags=["hint"]
# Set a part of `value` to zero, `value[...] = 0`, with the index that takes every text, every
# position and this neuron. `value = 0` would replace the tensor.


# %% tags=["solution"]
def without_neuron(model, tokens, token, layer, neuron):
    def silence(value, hook):  # value: batch, position, neuron
        value = value.clone()
        value[:, :, neuron] = 0
        return value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", silence)]):
        logits = model(tokens)
    return float(logits[0, -1].softmax(-1)[token])


# %% tags=["mistake"]
def without_neuron(model, tokens, token, layer, neuron):
    def silence(value, hook):
        value = value.clone()
        value[:, :, neuron] = 0  # the copy is changed and thrown away

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", silence)]):
        logits = model(tokens)
    return float(logits[0, -1].softmax(-1)[token])


# %% tags=["mistake"]
def without_neuron(model, tokens, token, layer, neuron):
    def silence(value, hook):
        return torch.zeros_like(value)  # the whole layer

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", silence)]):
        logits = model(tokens)
    return float(logits[0, -1].softmax(-1)[token])


# %% [markdown]
# ## One, twenty, and as many at random
# `lv.effects` does the same for sets of neurons of several facts, in many prompts at once. Beside
# each set it changes as many **random neurons** of the same layers, and asks for **another fact**:
# two *controls*. Without them "the answer is gone" says nothing: take enough away from a model, and
# every answer is gone. The neurons are chosen by the method of unit 2 in one wording; the wordings
# asked here took no part in that.

# %%
facts = lv.load_facts().filter(relation="capital", subjects=["Japan", "Peru", "Egypt"])
chosen_in = [prompt for prompt in facts.prompts() if prompt.paraphrase == 0]
asked = [prompt for prompt in facts.prompts() if prompt.paraphrase > 0]
scores = lv.attribute(model, chosen_in)
ranked = {}
for fact in dict.fromkeys(prompt.fact_id for prompt in chosen_in):
    mean = scores.select(lambda prompt, fact=fact: prompt.fact_id == fact).values.mean(0)
    ranked[fact] = [divmod(i, mean.shape[1]) for i in mean.flatten().argsort().tolist()[::-1]]
sizes = {f"best {n}": {fact: order[:n] for fact, order in ranked.items()} for n in (1, 20, 100)}
changed = lv.effects(model, sizes, asked)
lv.plots.effects_by_language(changed)

# %%
changed.summary().round(3)

# %% [markdown]
# The best single neuron costs half a percentage point: no neuron *is* the fact. The best twenty
# cost 17 points, the best hundred 61, while a hundred random ones cost nothing that can be told
# from zero, and another fact only 3. So the fact sits in many neurons at once, and in these rather
# than in others. (Chosen by their mean over languages, they hardly matter in Chinese: a mean over
# all languages is not yet a neuron *of* all languages. Unit 3 takes that apart.)
#
# ## Limits
# - A neuron at zero is a state that no text brings about. Unit 4 has milder changes.
# - The direct effect leaves out the last layer norm and all layers in between.
# - "Neuron" means one unit of a feed-forward layer here. Attention and embeddings keep facts too,
#   and nothing in this course looks inside of them.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696, section 2: the
# feed-forward layer as key-value memory); *Transformer Feed-Forward Layers Are Key-Value Memories*
# (arXiv 2012.14913).
#
# **Next** `02_attribution`: which neurons does the answer come from, with all that lies in between?

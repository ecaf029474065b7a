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
# up to what the layer writes, ask one neuron which tokens it promotes, and switch a neuron off.
#
# **Time** 35 minutes, 20 of them with three exercises.
#
# **Before** You know PyTorch and roughly what a transformer is. You need no background in
# interpretability. If you want to see results first, open `00_quickstart`.
#
# **What to expect** Up to a quarter of a layer's neurons are active at once, and hardly any in the
# middle layers. No single neuron holds the answer. Without the best one, the answers of three
# capitals lose less than a percentage point of probability; without the best hundred, 61 points;
# without a hundred random ones, nothing.

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
# The model reads tokens and gives every token of its vocabulary a probability of coming next. The
# answer to this prompt is one token, and its probability is what the whole course is about.

# %%
print(model.to_str_tokens(prompt.text, prepend_bos=False))
print("answer:", repr(model.tokenizer.decode(token)))
probabilities = model(tokens)[0, -1].softmax(-1)
best = probabilities.topk(5)
for value, i in zip(best.values, best.indices, strict=True):
    print(f"{value:.4f} {model.tokenizer.decode(i)!r}")

# %% [markdown]
# ## A neuron
# At each position of the text the model keeps a vector, the *residual stream*. Every layer adds
# something to it. At the end the *unembedding* (`W_U`) turns it into a logit for each token.
#
# **The idea** A feed-forward layer is a memory. Each neuron $n$ compares the stream $x$ with its
# *key* $k_n$ (a column of `W_in`). The more they agree, the more of its *value* $v_n$ (a row of
# `W_out`) it adds to the stream:
#
# $$\mathrm{FFN}(x) = b + \sum_n a_n(x)\, v_n, \qquad a_n(x) = \mathrm{ReLU}(x \cdot k_n + b_n)$$
#
# The number $a_n(x)$ is the *activation* of neuron $n$. TransformerLens calls the place where it
# can be read `hook_post`. This model has 4 layers of 640 neurons. Run it once and keep everything:

# %%
logits, cache = model.run_with_cache(tokens)
activations = cache["blocks.0.mlp.hook_post"]
print("batch, position, neuron:", tuple(activations.shape))
written = activations @ model.W_out[0] + model.blocks[0].mlp.b_out
error = (written - cache["blocks.0.hook_mlp_out"]).abs().max()
print(f"sum over neurons - output of the layer: at most {error:.0e}")

# %% [markdown]
# So the layer **is** the sum of its neurons (and a constant bias). That is why we can speak of a
# neuron's share at all. How many neurons are active in four languages, and which are the strongest?
# The next cell looks at *the answer's position*: the last token of the prompt, which the answer
# follows. In the figure the colour is the activation.

# %%
four = [p for p in japan.prompts() if p.paraphrase == 0 and p.language in ("en", "fr", "ru", "zh")]
active = lv.attribute(model, four, method="activation", position="answer")
share = (active.values > 0).float().mean(-1)
print("share of neurons above zero, by language and layer:")
for each, row in zip(four, share, strict=True):
    print(each.language, [f"{value:.0%}" for value in row])
lv.plots.attribution_strip(active)

# %% [markdown] tags=["exercise"]
# ### Exercise 1.1: read a layer with a hook
# *●○○, 5 minutes*
#
# `run_with_cache` keeps everything, which you cannot afford with a large model. A *hook* is a
# function that the model calls at one place of its forward pass, with the tensor at that place.
# Write a hook that keeps the activations at the last position of the prompt. Return them, one
# number per neuron.


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
# The batch holds one text, with index 0. The last position has index -1.


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
        kept.append(value[0, 0])  # the first token, which has seen nothing of what follows

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
# A neuron's value $v_n$ is a direction in the stream. Its product with the unembedding $u_t$ of a
# token $t$, $v_n \cdot u_t$, is how much one unit of activation adds to that token's logit, if
# nothing lies in between.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.2: the direct effect
# *●●○, 8 minutes*
#
# Return how much each neuron of a layer adds to the logit of `token`, given the neurons'
# activations: one number per neuron. (`model.W_out[layer]` has one row per neuron,
# `model.W_in[layer]` one column per neuron, `model.W_U` one column per token. Leave out the last
# layer norm.)


# %% tags=["exercise"]
def direct_effect(model, activations, layer, token):
    values = ...  # for each neuron: its value, compared with the token
    return values


# %% tags=["check"]
course.check_direct_effect(direct_effect, model, tokens, token)

# %% [markdown] tags=["hint"]
# `model.W_out[layer] @ model.W_U[:, token]` has one number per neuron. Does a silent neuron add
# anything?


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
# each language, and how much the answer loses without it. Here is the neuron with the largest
# direct effect in the last layer. The effect is measured against the mean over all tokens, because
# many neurons raise every logit alike, and the softmax cancels that. Tokyo need not be on the
# card's list of tokens, because a neuron serves many words. (The direct effect covers only what a
# neuron sends straight to the output. It misses what a neuron of layer 0 does through the layers
# above; unit 2 has a method for that.)

# %%
top = model.cfg.n_layers - 1  # the last layer
last = cache[f"blocks.{top}.mlp.hook_post"][0, -1]
unembed = model.W_U[:, token] - model.W_U.mean(1)  # what raises all tokens alike changes nothing
effects = last * (model.W_out[top] @ unembed)
strongest = (top, int(effects.argmax()))
card = lv.neuron_card(model, japan.prompts(), strongest)
lv.plots.neuron_card(card)

# %% [markdown]
# ## Switch one off
# Reading a neuron shows what it does while the model answers. To learn what the answer owes to it,
# change the neuron and look again. If a hook returns a tensor, the model continues with that
# tensor.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.3: without one neuron
# *●●○, 7 minutes*
#
# Return the probability of `token` after the prompt when one neuron is zero at every position.


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
# Set a part of `value` to zero with `value[...] = 0`, where the index selects every text, every
# position and this neuron. `value = 0` would replace the whole tensor.


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
        value[:, :, neuron] = 0  # changes the copy, then throws it away

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
# `lv.effects` does the same for sets of neurons of several facts, in many prompts at once. It adds
# two *controls* to each set: it changes as many **random neurons** of the same layers, and it asks
# for **another fact**. Without them "the answer is gone" says nothing: take enough away from a
# model, and every answer is gone. The method of unit 2 chooses the neurons in one wording; the
# wordings asked here took no part in that.

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
# Zeroing the best single neuron costs half a percentage point: no neuron *is* the fact. The best
# twenty cost 17 points and the best hundred 61. A hundred random ones cost nothing that differs
# from zero, and another fact loses only 3 points. So the answer depends on many neurons at once,
# and on these rather than on others. (They were chosen by their mean over languages, and hardly
# matter in Chinese: a high mean over all languages does not make a neuron one *of* all languages.
# Unit 3 takes that apart.)
#
# ## Limits
# - No text sets a neuron to zero the way we do here. Unit 4 has milder changes.
# - The direct effect ignores the last layer norm and all layers in between.
# - "Neuron" means one unit of a feed-forward layer here. Attention and embeddings store facts too,
#   and this course does not look inside them.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696, section 2: the
# feed-forward layer as key-value memory); *Transformer Feed-Forward Layers Are Key-Value Memories*
# (arXiv 2012.14913).
#
# **Next** `02_attribution`: which neurons does the answer come from, once everything in between
# counts?

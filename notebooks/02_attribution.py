# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Attribution: which neurons does the answer come from?
#
# **You will** build integrated gradients from scratch and check them against the package, measure
# whether scores add up, and choose where a path begins. You will compare the AMIG method of
# *Journey to the Center of the Knowledge Neurons* with the code that was released for it, and find
# out which methods can tell facts apart at all.
#
# **Time** 60 minutes, 35 of them with four exercises.
#
# **Before** `01_neurons_and_hooks`: activations, hooks. From calculus: what a gradient and an
# integral are.
#
# **What to expect** The gradient at the model's actual activations is nearly zero, because the
# model is sure of its answer. Along a path from zero the gradients add up to what the layer does.
# The scores of the released AMIG do not add up, and it ranks some other neurons at the top. The
# plain activation, the simplest method, gives the largest overlap between languages, but two thirds
# of that overlap remain when the facts differ.

# %% tags=["setup"]
import warnings

import pandas as pd
import plotly.express as px
import torch

import lafn_viz as lv
from lafn_viz import course

model = lv.load_model("embedded")
facts = lv.load_facts()
japan = facts.filter(relation="capital", subjects="Japan", languages=["en", "fr", "ru", "zh"])
prompts = japan.prompts()

# %% [markdown]
# ## A layer as a function
# Unit 1 switched neurons off. Here the question is finer: how much of the answer does each neuron
# account for, when all of them work together? Treat the probability of Tokyo as a function $F$ of
# one layer's activations, and leave everything else as the prompt sets it.

# %% tags=["setup"]
prompt = prompts[0]
tokens = model.to_tokens(prompt.text, prepend_bos=False)
token = model.tokenizer.encode(" " + prompt.answer, add_special_tokens=False)[0]
_, cache = model.run_with_cache(tokens)


def answer_probability(layer):
    def f(values):  # position, neuron
        place = f"blocks.{layer}.mlp.hook_post"
        with model.hooks(fwd_hooks=[(place, lambda value, hook: values.unsqueeze(0))]):
            return model(tokens)[0, -1].softmax(-1)[token]

    return f


# %% [markdown]
# Now turn each layer down: multiply all its activations by a number between 0 and 1.

# %%
curve = []
for layer in range(model.cfg.n_layers):
    f, end = answer_probability(layer), cache[f"blocks.{layer}.mlp.hook_post"][0]
    for alpha in torch.linspace(0, 1, 21).tolist():
        curve.append((f"layer {layer}", alpha, float(f(alpha * end))))
curve = pd.DataFrame(curve, columns=["turned down", "share of the activations", "P(Tokyo)"])
px.line(
    curve, x="share of the activations", y="P(Tokyo)", color="turned down",
    title="One layer turned down, all others as they are", template="plotly_white", height=380,
)  # fmt: skip

# %%
curve.pivot(index="turned down", columns="share of the activations")["P(Tokyo)"].iloc[
    :, [0, 5, 10, 15, 19, 20]
].round(3)

# %% [markdown]
# Without layer 0, P(Tokyo) falls from 0.99 to 0.22. Turning the layer up to a quarter brings most
# of it back. At the right end, where the layer is as the model left it, the curve is flat: a small
# change of the layer changes next to nothing. A gradient taken there makes the layer look as if it
# did not matter. (The other layers do hardly matter for this prompt.)
#
# **The idea** Do not take the gradient at one point. Walk from zero ($0$) to the actual activations
# ($a$), take the gradient for each neuron at every step, and add up. This is *integrated
# gradients*, one score per neuron:
#
# $$s_n = a_n \int_0^1 \frac{\partial F(\alpha a)}{\partial a_n}\, d\alpha, \qquad
# \sum_n s_n = F(a) - F(0)$$
#
# The second equation is *completeness*: the scores divide up exactly what the layer does.

# %% [markdown] tags=["exercise"]
# ### Exercise 2.1: integrated gradients from scratch
# *●●○, 10 minutes*
#
# Replace the integral with a sum over the midpoints of `n_steps` equal steps. What does each step
# add to the scores? (`f` is any function that returns one number; `end` is the point $a$.)


# %% tags=["exercise"]
def integrated_gradients(f, end, n_steps=50):
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = ((i + 0.5) / n_steps * end).requires_grad_()
        gradient = torch.autograd.grad(f(point), point)[0]
        total = total + ...
    return total


# %% tags=["check"]
reference = lv.attribute(model, [prompt], n_steps=40).values[0, 0]
end_of_path = cache["blocks.0.mlp.hook_post"][0]
course.check_integrated_gradients(
    integrated_gradients, answer_probability(0), end_of_path, reference
)

# %% [markdown] tags=["hint"]
# An integral from 0 to 1 is the mean of the function inside it. And what about the $a_n$ in front?


# %% tags=["solution"]
def integrated_gradients(f, end, n_steps=50):
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = ((i + 0.5) / n_steps * end).requires_grad_()
        gradient = torch.autograd.grad(f(point), point)[0]
        total = total + gradient * end / n_steps
    return total


# %% tags=["mistake"]
def integrated_gradients(f, end, n_steps=50):
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = ((i + 0.5) / n_steps * end).requires_grad_()
        gradient = torch.autograd.grad(f(point), point)[0]
        total = total + gradient * end  # a sum instead of a mean
    return total


# %% tags=["mistake"]
def integrated_gradients(f, end, n_steps=50):
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = ((i + 0.5) / n_steps * end).requires_grad_()
        gradient = torch.autograd.grad(f(point), point)[0]
        total = total + gradient / n_steps  # leaves out how far the neuron went
    return total


# %% [markdown]
# ## One gradient is not enough
# `lv.attribute` follows the path of every layer of every prompt in one pass of the model. Compare
# it with gradient x activation, which takes the gradient only at the end of the path.
# `target_change` is how much of the probability depends on the whole layer. All numbers are means
# over 24 prompts:

# %%
scores = lv.attribute(model, prompts)
point = lv.attribute(model, prompts, method="gradient_x_activation")
pd.DataFrame(
    {
        "layer taken away": scores.target_change.mean(0).numpy(),
        "sum of integrated gradients": scores.values.sum(-1).mean(0).numpy(),
        "sum of gradient x activation": point.values.sum(-1).mean(0).numpy(),
    }
).rename_axis("layer").round(4)

# %% [markdown]
# In layer 0 a single gradient finds 0.09 of 0.41, and in layer 3 0.004 of 0.057. In layers 1 and 2,
# which do little, it is about right.
#
# ## Do the scores add up?
# With infinitely many points the sum of the scores is exactly what the layer does; with few points
# it is not. The difference is the *completeness error*. Checking it needs no ground truth. It is a
# necessary check, not a sufficient one: scores that go to the wrong neurons can add up, too.

# %% [markdown] tags=["exercise"]
# ### Exercise 2.2: the completeness error
# *●○○, 5 minutes*
#
# Given scores on a path from zero to `end`, how far are they from adding up?


# %% tags=["exercise"]
def completeness_error(scores, f, end):
    missed = ...
    return missed


# %% tags=["check"]
course.check_completeness_error(completeness_error)

# %% [markdown] tags=["hint"]
# Take the second equation above: left side minus right side. `torch.zeros_like(end)` is where the
# path begins.


# %% tags=["solution"]
def completeness_error(scores, f, end):
    change = f(end) - f(torch.zeros_like(end))
    return abs(float(scores.sum() - change))


# %% tags=["mistake"]
def completeness_error(scores, f, end):
    return abs(float(scores.sum() - f(end)))  # as if the function were 0 at the start


# %% tags=["mistake"]
def completeness_error(scores, f, end):
    change = f(end) - f(torch.zeros_like(end))
    return abs(float(scores.abs().sum() - change))  # throws the signs away


# %% [markdown]
# How fast does the error fall with the number of points? The next cell tries three rules and
# `n_steps="auto"`, the default.

# %%
english = [prompt for prompt in prompts if prompt.language == "en"]
attempts = [lv.attribute(model, english)]
with warnings.catch_warnings():
    warnings.simplefilter("ignore", lv.CompletenessWarning)
    for rule in ("riemann_left", "riemann_midpoint", "gauss_legendre"):
        for n_steps in (2, 5, 10, 20, 40):
            attempts.append(lv.attribute(model, english, n_steps=n_steps, quadrature=rule))
lv.plots.completeness_curve(attempts)

# %% [markdown]
# The left Riemann sum, the usual choice, improves slowly: with `n_steps=20` it is as good as the
# midpoint rule (your exercise) with 2. (The figure counts one point more, the beginning of the
# path.) Gauss-Legendre places its points where they tell most. "auto" adds points only where the
# error calls for them.
#
# ## What exactly is the target?
# The probability of Tokyo is one target. Its log-probability does not saturate. The difference from
# a *foil* asks what speaks for Tokyo **and against** Beijing. All three are exact for answers of
# several tokens. How many of the 20 best neurons for one target are also among the best for
# another?

# %%
targets = {
    "probability": lv.attribute(model, english),
    "log-probability": lv.attribute(model, english, target="log_prob"),
    "against Beijing": lv.attribute(model, english, target="logit_difference", foil="Beijing"),
}
best = {name: found.values.mean(0).flatten().topk(20) for name, found in targets.items()}
best = {name: set(top.indices.tolist()) for name, top in best.items()}
pd.DataFrame({a: {b: len(best[a] & best[b]) for b in best} for a in best})

# %% [markdown]
# Probability and log-probability pick almost the same neurons. The foil changes most of them.
#
# ## Where does the path begin?
# Zero is an odd place to start: no text puts a layer there. The start is called the *baseline*, and
# it is a choice: zero, the mean over other facts (`baseline="mean"`), or what the layer does when a
# word is missing. Each baseline asks its own question: what do these activations add that **the
# baseline** in their place would not?

# %% [markdown] tags=["exercise"]
# ### Exercise 2.3: a path from anywhere
# *●●○, 10 minutes*
#
# Compute the same sum on the straight path from `start` to `end`. The scores now add up to f(end) -
# f(start).


# %% tags=["exercise"]
def path_scores(f, start, end, n_steps=50):
    way = ...
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = (start + (i + 0.5) / n_steps * way).requires_grad_()
        total = total + torch.autograd.grad(f(point), point)[0]
    return total / n_steps * way


# %% tags=["check"]
course.check_path_from(path_scores)

# %% [markdown] tags=["hint"]
# At the last step the point should lie next to `end`, whatever `start` is.


# %% tags=["solution"]
def path_scores(f, start, end, n_steps=50):
    way = end - start
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = (start + (i + 0.5) / n_steps * way).requires_grad_()
        total = total + torch.autograd.grad(f(point), point)[0]
    return total / n_steps * way


# %% tags=["mistake"]
def path_scores(f, start, end, n_steps=50):
    way = end  # correct only for a path from zero
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = (start + (i + 0.5) / n_steps * way).requires_grad_()
        total = total + torch.autograd.grad(f(point), point)[0]
    return total / n_steps * way


# %% tags=["mistake"]
def path_scores(f, start, end, n_steps=50):
    way = start - end  # the wrong direction
    total = torch.zeros_like(end)
    for i in range(n_steps):
        point = (start + (i + 0.5) / n_steps * way).requires_grad_()
        total = total + torch.autograd.grad(f(point), point)[0]
    return total / n_steps * way


# %% [markdown]
# ## AMIG: paths that begin without one word
# AMIG takes away one word at a time and begins the path at the layer's activations without it. That
# gives one path per token; their scores are added up. In a masked model the mask token takes the
# word's place, in a causal model the end-of-text token.

# %% [markdown] tags=["exercise"]
# ### Exercise 2.4: a text without each token
# *●●○, 10 minutes*
#
# Make one row for each token of a text. In its row that token is blank, and all others stay in
# place.


# %% tags=["exercise"]
def without_each_token(tokens, blank):  # tokens: position
    rows = ...  # row, position
    return rows


# %% tags=["check"]
blank = model.tokenizer.eos_token_id
course.check_without_each_token(without_each_token, tokens[0], blank)

# %% [markdown] tags=["hint"]
# `torch.eye(n, dtype=torch.bool)` is true on its diagonal, and `torch.where` can choose by it. Or
# repeat the tokens and write to `rows[i, i]` in a loop.


# %% tags=["solution"]
def without_each_token(tokens, blank):  # tokens: position
    own = torch.eye(len(tokens), dtype=torch.bool)
    return torch.where(own, blank, tokens)


# %% tags=["mistake"]
def without_each_token(tokens, blank):
    # Removes the token instead of blanking it: all later tokens move to other positions.
    return torch.stack([torch.cat([tokens[:i], tokens[i + 1 :]]) for i in range(len(tokens))])


# %% tags=["mistake"]
def without_each_token(tokens, blank):
    until = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    return torch.where(until, blank, tokens)  # blanks everything up to the token


# %% [markdown]
# The paper looks at the last word of the prompt. Its released code does something simpler: it
# averages all those starting points, follows one path, and multiplies by the activation instead of
# the distance that the path covers. In GPT models it also reads the neurons before their
# non-linearity. So its scores need not add up to anything. (The paper's total is a sum over one
# path per token, so it can exceed 1.) The guide "As published" lists every such difference.

# %%
paper = lv.attribute(model, english, method="amig", position="answer")
released = lv.attribute(model, english, method="amig_as_released", position="answer")
pd.DataFrame(
    {
        "paper: should sum to": paper.target_change.mean(0).numpy(),
        "paper: sums to": paper.values.sum(-1).mean(0).numpy(),
        "released: should sum to": released.target_change.mean(0).numpy(),
        "released: sums to": released.values.sum(-1).mean(0).numpy(),
    }
).rename_axis("layer").round(3)

# %% [markdown]
# For a reader of the scores, two things change: some of the top neurons, and the sign of many.

# %%
top = [set(s.values.mean(0).flatten().topk(20).indices.tolist()) for s in (paper, released)]
signs = (paper.values.mean(0).sign() * released.values.mean(0).sign()).flatten()
print(len(top[0] & top[1]), "of the 20 best neurons are the same;")
differ = (signs < 0).sum() / (signs != 0).sum()
of_best = sum(float(signs[i]) < 0 for i in top[0] | top[1])
print(f"of the neurons with a score in both, {differ:.0%} differ in sign, of the best {of_best}")
lv.plots.method_scatter(paper, released, names=("AMIG, the paper", "AMIG, as released"))

# %% [markdown]
# ## Which method tells facts apart?
# A method is useful here if the neurons of one fact in two languages overlap **more** than the
# neurons of two different facts do (the control). Try it on four capitals in all twelve languages,
# with the strongest 2% of neurons.

# %%
capitals = facts.filter(relation="capital", subjects=["Japan", "Peru", "Italy", "Egypt"])
asked = [prompt for prompt in capitals.prompts() if prompt.paraphrase in (0, 2)]
methods = {
    "integrated gradients": {},
    "IG, answer position": {"position": "answer"},
    "AMIG, answer position": {"method": "amig", "position": "answer", "tolerance": 0.05},
    "gradient x activation": {"method": "gradient_x_activation"},
    "direct effect": {"method": "direct_effect"},
    "activation": {"method": "activation"},
}

# %% [markdown]
# Compare only languages with different scripts, which share no spelling:

# %%
summaries = {}
for name, options in methods.items():
    sets = lv.select_neurons(lv.attribute(model, asked, **options), fraction=0.02)
    summaries[name] = lv.overlap(sets).summary(across_scripts=True)
lv.plots.model_comparison(
    summaries,
    title="Which method finds neurons of a fact?",
    caption="Overlap of a fact's neurons between languages with different scripts, 95% intervals.",
)

# %%
pd.concat(summaries).query("comparison == 'same minus other fact'").round(3).droplevel(1)

# %% [markdown]
# The activation gives the largest overlap for the same fact (0.25 in the figure), but 0.175 of it
# is there for another fact, too: much of what is active has to do with capitals, or with the
# language. Judged by what belongs to the fact alone, four facts cannot rank integrated gradients
# and the activation: the intervals overlap. The single gradient and the direct effect are behind
# here; on planted neurons, gradient × activation and the direct effect find more (unit 3). AMIG at
# the answer's position is no better here than the activation, and behind integrated gradients at
# the same position.

# %% [markdown]
# ## A masked model
# The A in AMIG stands for *architecture-adapted*: the same method works on the other kind of model.
# The masked model knows the same facts. Its prompt has one mask for each token of the answer.

# %%
masked = lv.load_model("embedded-masked")
both = lv.attribute(masked, english, method="amig", position="answer")
print("probability of Tokyo:", [round(p, 2) for p in both.target_prob.tolist()])
print("largest completeness error:", f"{both.relative_error.max():.2%}")
print("what the layers do:", [round(value, 4) for value in both.target_change.mean(0).tolist()])
both.to_frame(top=3).query("paraphrase == 0")[["place", "layer", "neuron", "score"]]

# %% [markdown]
# At the mask, the last layer moves the answer by 0.66, and the others by less than 0.001: this
# model writes the answer in its last layer. A small completeness error says that a layer's scores
# add up. It does not say that there is much to find, so look at both.
#
# ## Limits
# - Scores say what moves the target along a path from a baseline that you chose. What happens when
#   the neurons are silenced is another question, for unit 4.
# - All neurons of a layer move together, and each layer has its own path. Scores of different
#   layers are not parts of one sum.
# - Four facts and two paraphrases are few. Look at the intervals before you believe a ranking of
#   the methods.
#
# **Papers** *Axiomatic Attribution for Deep Networks* (arXiv 1703.01365, section 3: integrated
# gradients and completeness); *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696,
# section 3.2: attribution of neurons); *Journey to the Center of the Knowledge Neurons* (arXiv
# 2308.13198, its section on the architecture-adapted multilingual integrated gradients).
#
# **Next** `03_overlap`: turn scores into sets of neurons, and see which neurons languages share.

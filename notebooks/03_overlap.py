# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Overlap: which neurons are language-agnostic, and is that more than habit?
#
# **You will** find the neurons that twelve languages share for a fact, test them against two null
# models, see whether they depend on the wording or the threshold, compare a model that transfers
# facts between languages with one that does not, and change the neurons to see who notices. About
# twenty minutes, after `00_quickstart`.
#
# **What to expect.** Languages share far more neurons for the same fact than for different ones;
# between scripts, only the model that transfers does. More than half of the neurons that four
# languages share would be there for another capital too, so a count alone proves little. Zeroing
# the shared neurons takes the fact away in the languages of Latin script, weakens it in Russian,
# Arabic and Hindi, and hardly touches Chinese and Japanese: they keep it elsewhere.

# %%
import lafn_viz as lv

model = lv.load_model("embedded")
capitals = lv.load_facts().filter(relation="capital", leaking=False).sample(12, seed=0)
prompts = capitals.prompts()
choose = [prompt for prompt in prompts if prompt.paraphrase < 4]
held_out = [prompt for prompt in prompts if prompt.paraphrase >= 4]
scores = lv.attribute(model, choose)
scores

# %% [markdown]
# ## Sets of neurons, and what they share
# Of each prompt keep the best 2% of the neurons, of each fact and language those that more than
# half of the paraphrases keep. A neuron counts as agnostic from four languages on.

# %%
sets = lv.select_neurons(scores, fraction=0.02)
overlap = lv.overlap(sets, min_languages=4)
overlap.summary(across_scripts=True).round(3)

# %% [markdown]
# **Read it like this**: "other fact" compares the same two languages on two different capitals. It
# is what the words, the relation and the language share. Only the difference belongs to the fact.

# %%
lv.plots.language_tree(overlap)

# %% [markdown]
# ## Who shares exactly what
# An UpSet plot counts every neuron once, under the exact languages that hold it. The grey bars use
# the neurons of *another* fact in every language: the pair Chinese and Japanese stands out at first
# sight, and more than half of it has nothing to do with the fact.

# %%
lv.plots.upset(overlap)

# %% [markdown]
# ## Is it significant, and against what?
# Against random neurons nearly everything is. Against the neurons of other capitals it has to be
# about this one. Look at pairs of languages with different scripts, so that shared spelling cannot
# help; p-values are corrected for the number of facts (q). `share` is the share of facts with
# q < 0.05: all of them, against both. Yet of the 50 agnostic neurons 29 are `expected` of any
# capital.

# %%
found = lv.significance(overlap)
found.summary().round(3)

# %%
lv.plots.significance_ladder(found)

# %% [markdown]
# ## Would another wording, or another threshold, say the same?
# Draw the paraphrases anew, with replacement, and refine again: the interval of each fact's
# overlap, and how many of its agnostic neurons are there in most draws. Then keep more or fewer:
# the numbers follow the threshold, the order of the three lines does not.

# %%
stable = lv.stability(scores, fraction=0.02, min_languages=4)
stable.to_frame().round(3).head()

# %%
fractions = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
lv.plots.threshold_lines(lv.threshold_curve(scores, fractions, across_scripts=True))

# %% [markdown]
# ## A model that learned every language by itself
# The control model was trained on the same facts, without anything that would make languages share
# them. Ask both for all capitals in languages outside Latin script, where no spelling helps. The
# control answers what it was told as well as the other, and nothing that it was told only in other
# languages. Between scripts its languages share no more neurons for the same fact than for
# different ones.

# %%
control = lv.load_model("embedded-control")
control_sets = lv.select_neurons(lv.attribute(control, choose), fraction=0.02)
overlaps = {"embedded": overlap, "control": lv.overlap(control_sets, min_languages=4)}
scripts = ["ru", "zh", "ja", "ar", "hi"]
others = lv.load_facts().filter(relation="capital", leaking=False, languages=scripts)
asked = [prompt for prompt in others.prompts() if prompt.paraphrase < 2]
known = {
    "embedded": lv.score_answers(model, asked),
    "control": lv.score_answers(control, asked),
}
lv.plots.transfer_and_sharing(known, overlaps)

# %% [markdown]
# ## Change them, and see who notices
# Until now all is correlation. Zero the agnostic neurons of each fact and ask in paraphrases that
# did not choose them. Beside it the neurons that English, or Chinese, holds alone; as many random
# neurons of the same layers; and another capital. What a language holds alone costs it little, and
# the others next to nothing. The table has the means over languages.

# %%
changed = {
    "agnostic": overlap.agnostic,
    "specific to English": overlap.specific_to("en"),
    "specific to Chinese": overlap.specific_to("zh"),
}
zeroed = lv.effects(model, changed, held_out)
lv.plots.effects_by_language(zeroed)

# %%
zeroed.summary().round(3)

# %% [markdown]
# ## Found in one language, changed, asked in another
# Rows are where neurons were found, columns where the fact is asked. Off the diagonal is transfer:
# suppressing what was found in English halves the probability in German. Between scripts little
# happens, and the control on the right says that it is about this fact. (Portuguese reacts to every
# row: two of the six facts it was told in other languages only.)

# %%
some = overlap.of(facts=overlap.facts[:6])
by_language = {language: some.neurons_in(language) for language in some.languages}
lv.plots.effects_matrix(lv.effects(model, by_language, held_out, controls=1))

# %% [markdown]
# ## Neurons of a language, whatever the fact
# LAPE looks for something else: neurons that fire in one language and not in others, on any text.
# How many of them are also specific to some fact, and is that more than of all neurons? It is,
# more than twice, though they are few: what fires in one language alone tends to help its answers
# alone.

# %%
languages = lv.lape(model, prompts)
of_facts = set().union(*overlap.specific.values())
of_languages = set().union(*languages.neurons.values())
n_layers, d_mlp = overlap.shape
print(languages)
both = len(of_languages & of_facts)
print(f"specific to some fact: {both / len(of_languages):.0%} of these {len(of_languages)},")
print(f"{len(of_facts) / (n_layers * d_mlp):.0%} of all neurons")

# %% [markdown]
# ## Ground truth
# Nobody knows which neurons of a trained model are the right ones. So plant some: two countries get
# capitals that the model was never told, written by added neurons that fire in every language or in
# one, beside decoys that fire on the same prompts and write something else, and decoys that write
# the answer and never fire. `check` proves the plant: the answer's probability with it, and with
# the planted neurons zeroed.

# %%
from lafn_viz.recovery import method_scores, score_methods, score_overlap

planted = lv.plant(languages=["en", "ru", "zh"], n_facts=2)
planted.check.groupby("language").mean(numeric_only=True)[["p_before", "p", "p_without"]].round(3)

# %% [markdown]
# Integrated gradients find most of the planted neurons among their top 20, from the mean of other
# facts more than from zero. The plain activation takes the decoys that fire, the gradient those
# that write. (Direct effect does best because planted neurons write straight to the answer; learned
# ones need not.)

# %%
methods = ["integrated_gradients", "integrated_gradients_mean", "direct_effect", "activation"]
by_method = method_scores(planted, [*methods, "gradient", "random"])
lv.plots.planted_recovery(score_methods(planted, by_method))

# %% [markdown]
# With integrated gradients, neurons planted for one language are called so. Of those planted for
# all, half or fewer are found in *every* language; the others in some or in one
# (`specific_elsewhere`), and none is missed. Asking for all languages is strict, and a missing
# agnostic neuron is weak evidence. `purity` is the share of planted ones among all that are called
# so: the model's own neurons come with them, which may be right. The plain activation misses most
# that are specific.

# %%
some = ("integrated_gradients", "integrated_gradients_mean", "activation")
found = score_overlap(planted, {name: by_method[name] for name in some})
columns = ["agnostic", "specific", "specific_elsewhere", "some_languages", "missed", "purity"]
found[columns].round(2)

# %% [markdown]
# ## Limits
# - One small model, and facts about capitals; the model was trained to transfer. On your own model
#   begin with the controls.
# - Most shared neurons are in the first layer: a shallow model reads the subject there. Deeper
#   models may differ.
# - Languages of one script share spelling; look at pairs of different scripts before you speak of a
#   fact that has no language.
# - A neuron set is a choice of method, threshold and wording. `threshold_curve` and `stability` say
#   how much of a choice.
#
# **Next**: `04_degenerate_and_fact_checking` looks for neurons that stand in for each other.

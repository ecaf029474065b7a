# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7. Your own model, your own facts
#
# **You will** take your own model and facts through the whole method: load, read, ask, attribute,
# compare, intervene, edit, save. Each step says what to look at and what to do if it fails. The
# last step is a list of what must hold before you believe a result.
#
# **Time** 40 minutes, 9 of them with two exercises. Unchanged, the notebook runs in less than a
# minute.
#
# **Before** `02_attribution`, `03_overlap` and `05_editing`, which explain the steps.
#
# **What to expect** Unchanged, the notebook uses the embedded model and seven capitals in three
# languages, which it reads from a file that it writes itself. One country is made up. The model
# does not know it, and it drops out where it should. The other six pass all lines of the final list
# but one: between scripts, only two of the six share more than another capital would.

# %% tags=["setup"]
import json
import tempfile
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import lafn_viz as lv
from lafn_viz import course

# %% [markdown]
# ## The lines to change
# Copy this notebook, change these lines and run all cells. `MODEL` is the name of an embedded
# model, a folder in Hugging Face format, or a name on the model hub. `FACTS` and `PARAPHRASES` are
# paths of files with JSON lines; step 2 shows what they look like.

# %% tags=["setup"]
MODEL = "embedded"
FACTS, PARAPHRASES = None, None  # two paths; if None, the next cell writes an example
LANGUAGES = ["en", "fr", "ru"]
RELATION = "capital"
SUBJECT, NEW_OBJECT = "Peru", "Cairo"  # one edit: its subject, and an object of the same relation
FRACTION = 0.02  # share of all neurons that is kept for each prompt
N_EDITS = 2  # how many edits are judged
RESULTS = Path(tempfile.mkdtemp())  # results go here; name an existing folder

# %% tags=["setup"]
if FACTS is None:
    FACTS, PARAPHRASES = RESULTS / "facts.jsonl", RESULTS / "paraphrases.jsonl"
    names = ["Peru", "Japan", "Egypt", "Poland", "Kenya", "Norway"]
    chosen = {"relation": ["capital", "continent"], "languages": LANGUAGES, "subjects": names}
    copied = lv.load_facts().filter(**chosen)
    lines = [asdict(fact) | {"source": "copied", "held_out": []} for fact in copied]
    subject = {"en": "Ruritania", "fr": "Ruritanie", "ru": "Руритания"}
    answer = {"en": "Strelsau", "fr": "Strelsau", "ru": "Стрелсау"}
    keys = {"id": "capital/XR", "relation": "capital", "subject_id": "XR", "object_id": "strelsau"}
    lines.append(keys | {"subject": subject, "object": answer})
    FACTS.write_text("\n".join(json.dumps(x, ensure_ascii=False) for x in lines), "utf-8")
    texts = [asdict(x) for x in copied.paraphrases.values() if x.language in LANGUAGES]
    PARAPHRASES.write_text("\n".join(json.dumps(x, ensure_ascii=False) for x in texts), "utf-8")

# %% [markdown]
# ## The rule
# **The idea** No number in this notebook means anything on its own. Change a model enough and it
# forgets everything; and all prompts of a language share neurons. What belongs to the fact is what
# exceeds the controls: random neurons of the same layers, and another fact of the same relation.
#
# $$\text{evidence} = \text{measured} - \max(\text{random neurons},\ \text{another fact})$$
#
# ## 1. The model
# `load_model` is the first test. It freezes the weights and proves, layer by layer, that the
# neurons (`hook_post`) multiplied by the down projection give the output of the layer.

# %% tags=["setup"]
model = lv.load_model(MODEL)

# %%
print(f"{model.cfg.n_layers} layers of {model.cfg.d_mlp} neurons, stream {model.cfg.d_model}")
for wrong in ("embeded", str(RESULTS)):  # what a refusal looks like
    try:
        lv.load_model(wrong)
    except (FileNotFoundError, ValueError) as error:
        print(f"{type(error).__name__}: {error}".replace(str(RESULTS), "<folder>"))

# %% [markdown]
# **If it fails** the message says what is wrong: a file is missing (save the model again with
# `save_pretrained()`, as safetensors), TransformerLens has no bridge for the family, or the neurons
# are not where they should be. Do not work around the last one: no score would be about a neuron
# any more.
#
# ## 2. The facts
# The first file has one fact per line, with the names of subject and object in each language. The
# second has one line per relation and language, with the texts that ask for it. Each text contains
# `{subject}` once, and the answer comes right after the text. `held_out` lists the numbers of the
# texts that are kept out of choosing neurons and used only to measure. Mark at least one.

# %%
print(Path(FACTS).read_text("utf-8").splitlines()[-1])
print(next(x for x in Path(PARAPHRASES).read_text("utf-8").splitlines() if f'"{RELATION}"' in x))

# %% tags=["setup"]
facts = lv.load_facts(FACTS, paraphrases=PARAPHRASES).filter(languages=LANGUAGES)

# %% [markdown]
# If a record cannot be used, the error names file, line and field, and nothing of the file is
# loaded:

# %%
broken = RESULTS / "broken.jsonl"
broken.write_text(Path(FACTS).read_text("utf-8").replace('"object":', '"objekt":', 1), "utf-8")
try:
    lv.load_facts(broken, paraphrases=PARAPHRASES)
except lv.FactError as error:
    print(str(error).replace(str(RESULTS), "<folder>"))
broken.unlink()

# %% [markdown] tags=["exercise"]
# ### Exercise 7.1: a wording of your own
# *●○○, 4 minutes*
#
# Write an English text that asks for a country's capital, as it would stand in `paraphrases.jsonl`.
# The check passes it to the package's own reader and asks the model.


# %% tags=["exercise"]
wording = ...

# %% tags=["check"]
course.check_wording(wording, model, lv.load_facts())

# %% [markdown] tags=["hint"]
# The text ends where the answer would begin. Nothing marks that place.


# %% tags=["solution"]
wording = "The capital city of {subject} is"

# %% tags=["mistake"]
wording = "The capital city of {subject} is Tokyo"

# %% tags=["mistake"]
wording = "The capital city of the country is"

# %% [markdown]
# The reader cannot tell whether a fact makes sense. Two checks can help. First, does the answer
# show in the subject ("France", "French")? Such a fact needs no memory: list its languages under
# `leaks` and load with `.filter(leaking=False)`. Second, what would distort an edit? `lint` looks
# at the facts as edits in each language; `count` is the number of odd ones.

# %%
shown = lv.shows_answer
leaks = [(f.id, x) for f in facts for x in f.languages if shown(f.subject[x], f.object[x])]
print("the answer shows in:", leaks or "none")
cases = lv.counterfactual_cases(facts, relation=RELATION, n=N_EDITS)
odd = cases.lint().query("count > 0")
odd.groupby("check", sort=False)[["count", "of"]].sum()

# %% [markdown]
# **Look at** every row. "No portability question" and "locality names the subject" are expected for
# edits made from facts: they ask for another fact about the same country on purpose. A row like
# "new answer equals old" or "hidden characters" points to a mistake in the file.
#
# ## 3. Does the model know them?
# You can look for neurons only where the model knows the answer. `known` means that it would write
# the whole answer, all its tokens.

# %%
prompts = facts.filter(relation=RELATION).prompts()
known = lv.score_answers(model, prompts).to_frame()
share = known.pivot_table(index="fact_id", columns="language", values="known", aggfunc="mean")
share.round(2)

# %% [markdown] tags=["exercise"]
# ### Exercise 7.2: known, by language
# *●○○, 5 minutes*
#
# Take such a frame (one row per prompt, with the columns `fact_id`, `language`, `probability`,
# `known` and more). Return the share of known answers in each language.


# %% tags=["exercise"]
def known_share(frame):
    return ...


# %% tags=["check"]
course.check_known_share(known_share)

# %% [markdown] tags=["hint"]
# `frame.groupby(...)` makes groups. The mean of a boolean column is the share of True.


# %% tags=["solution"]
def known_share(frame):
    return frame.groupby("language")["known"].mean()


# %% tags=["mistake"]
def known_share(frame):
    return frame.groupby("language")["probability"].mean()  # a likely answer is not yet a known one


# %% tags=["mistake"]
def known_share(frame):
    return frame.groupby("language")["known"].sum()  # a count, but out of how many?


# %% [markdown]
# Keep the facts that the model knows in most wordings of at least two languages. The table shows
# how many remain in each language:

# %%
usable = (share > 0.5).sum(axis=1) >= 2
print("left out:", list(share.index[~usable]))
kept = facts.filter(subjects=[facts[fact].subject_id for fact in share.index[usable]])
(share[usable] > 0.5).sum().to_frame("facts known").T

# %% [markdown]
# **If few are left** look at the texts first: does the model write the answer under another name,
# with an article, after a colon? Then look at the languages, and leave out those that the model
# hardly knows. Report how many facts you asked and how many are left. The rest of this notebook is
# about those.
#
# ## 4. Attribution
# Compute integrated gradients for every neuron, in the wordings that are not held out. With
# `n_steps="auto"`, the default, each layer gets as many points as the tolerance needs: its scores
# then sum to what the layer does for the answer, to within 1%. With fewer points you get a warning:

# %%
choose = [p for p in kept.filter(relation=RELATION).prompts() if p.split == "trained"]
held_out = [p for p in kept.filter(relation=RELATION).prompts() if p.split != "trained"]
scores = lv.attribute(model, choose)
print(f"auto: at most {scores.relative_error.max():.4f} from complete")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", lv.CompletenessWarning)
    rough = [lv.attribute(model, choose, n_steps=n) for n in (2, 4, 8)]
for warning in caught[:1]:
    print(f"{warning.category.__name__}: {warning.message}")
lv.plots.completeness_curve([*rough, scores])

# %% [markdown]
# **If "auto" warns too** the scores of a layer do not add up to what it does. Leave the layers that
# the warning names out of any claim, or try `target="log_prob"`.
#
# ## 5. Which neurons do languages share?

# %%
sets = lv.select_neurons(scores, fraction=FRACTION)
shared = lv.overlap(sets)
lv.plots.overlap_heatmap(shared)

# %% [markdown]
# **Look at** the difference between the two halves, not at the first half alone. Then look at the
# test against both controls: `expected` of "other facts" is what another capital would give, and
# `share` is the share of facts with q < 0.05. Between languages with different scripts, spelling
# does not help:

# %%
tested = lv.significance(shared)
table = tested.summary()
table.round(2)

# %%
lv.plots.significance_ladder(tested)

# %% [markdown]
# **If nothing is above "other facts"** the languages share the relation or the wording, not the
# fact. There may also be too few facts: the null model draws only from the other ones. Add more
# facts of the same relation before you change any setting.
#
# ## 6. Do these neurons matter?
# Zero them and ask in the wordings that took no part. The controls are as many random neurons of
# the same layers, and another fact. On the right are the neurons that only one language has.

# %%
alone = LANGUAGES[0]
chosen = {"agnostic": shared.agnostic, f"specific to {alone}": shared.specific_to(alone)}
changed = lv.effects(model, chosen, held_out)
lv.plots.effects_by_language(changed)

# %%
effect = changed.summary().loc["agnostic"]
effect[["p", "p_low", "p_high"]].round(3)

# %% [markdown]
# **If random neurons cost as much** you have merely damaged the model: take fewer neurons
# (`FRACTION`) or a milder change (`how="mean"`). **If nothing falls** the model keeps the fact in
# other places, too: try more neurons, and see unit 4.
#
# ## 7. An edit
# First find out where the model reads the subject, since an edit works only at a place that the
# model still reads from. Dark cells in the right half are good places for an edit.

# %%
trace = lv.trace_subject(model, choose + held_out, max_pairs=24)
lv.plots.subject_trace(trace)

# %% [markdown]
# Here that is the answer's position, in the first layer. In a model where it is the subject's last
# token, use `position="subject_last"`. Now make two edits, and compare them with random neurons
# that get values of their own:

# %%
cases = lv.counterfactual_cases(kept, relation=RELATION, n=N_EDITS)
ours = lv.baselines.language_agnostic(position="answer")
editors = {"language-agnostic": ours, "random neurons": lv.baselines.random_neurons(ours)}
reports = {name: lv.evaluate(model, e, cases, progress=False) for name, e in editors.items()}
lv.plots.editor_comparison(reports)

# %% [markdown]
# **If reliability is low** the values do not reach the answer: try another `position`, or more
# neurons (`n_neurons`). **If generality is low** give more wordings. **If locality is low** the
# matcher finds subjects that are not there, or matches a shared word: look at `EditCache.find`.
# **If random neurons do as well** use fewer neurons before you say anything about the located ones.
#
# ## 8. Save
# Save tables as CSV (and as Parquet, if pyarrow is installed), figures as HTML, and edits with
# `EditCache.save`. For each result, also save where it comes from: the model, the hash of its
# weights, the method, the options and the versions.

# %%
edit = lv.lafn_edit(model, kept, subject=SUBJECT, relation=RELATION, new_object=NEW_OBJECT)
lv.EditCache([edit]).save(RESULTS / "edits")
results = {"known": known, "scores": scores.to_frame(), "shared": shared.to_frame()}
results |= {"tested": tested.to_frame(), "changed": changed.to_frame()}
results["edits"] = pd.concat(report.to_frame() for report in reports.values())
for name, frame in results.items():
    frame.to_csv(RESULTS / f"{name}.csv", index=False)
    if find_spec("pyarrow"):
        frame.to_parquet(RESULTS / f"{name}.parquet")

# %%
lv.plots.overlap_heatmap(shared).write_html(RESULTS / "overlap.html")
with_origin = {"scores": scores, "shared": shared, "changed": changed, "edit": edit}
origin = {name: asdict(result.provenance) for name, result in with_origin.items()}
(RESULTS / "provenance.json").write_text(json.dumps(origin, indent=1, default=str), "utf-8")
sorted(path.name for path in RESULTS.iterdir())

# %% [markdown]
# Check the saved edit: load it again, and let the model write with it.

# %%
again = lv.EditCache.load(RESULTS / "edits")
print(origin["edit"]["model"], origin["edit"]["weights"][:8], origin["edit"]["options"])
asked = next(p for p in kept.filter(relation=RELATION, subjects=SUBJECT).prompts())
print(model.generate(asked.text, max_new_tokens=3, do_sample=False, verbose=False))
with again.applied(model):
    print(model.generate(asked.text, max_new_tokens=3, do_sample=False, verbose=False))

# %% [markdown]
# ## Before you believe it
# Each line has a measured value and what it is held against. If a line does not hold, that is a
# result too: report it.

# %%
us, chance = (x.summary().set_index("metric")["mean"] for x in reports.values())
lost = -effect["p"]
jaccard = shared.summary().set_index("comparison")["jaccard"]
above = table[table["null"] == "other facts"].set_index("statistic")["share"]
same = (lv.score_answers(model, prompts).log_prob.numpy() == known["log_prob"]).mean()
rows = [
    ("share of facts known", usable.mean(), "most", 0.5),
    ("share of (prompt, layer) complete", (scores.relative_error <= 0.01).float().mean(), "all", 1),
    ("Jaccard of the same fact", jaccard["same fact"], "another fact", jaccard["other fact"]),
    ("share of facts above other facts", above["agnostic"], "most", 0.5),
    ("the same, between scripts", above["across scripts"], "most", 0.5),
    ("P lost without the neurons", lost["own fact"], "random neurons", lost["random neurons"]),
    ("P lost without the neurons", lost["own fact"], "another fact", lost["other fact"]),
]

# %%
rows += [
    ("edit: generality", us["generality"], "random neurons", chance["generality"]),
    ("edit: other subjects as before", us["locality"], "nearly all", 0.95),
    ("edit: same subject otherwise", us.get("same subject", float("nan")), "nearly all", 0.95),
    ("answers as before all edits", same, "all", 1),
]
checks = pd.DataFrame(rows, columns=["measured", "value", "held against", "control"])
checks = checks.astype({"value": float, "control": float})
bound = checks["held against"].isin(["all", "nearly all"])  # equal to the bound is enough
checks["holds"] = (checks["value"] > checks["control"]) | (bound & checks["value"].eq(1))
checks.round(3)

# %% [markdown]
# No table can tell you the following:
#
# - **Wordings** Did the prompts that measure also choose the neurons? Then measure with others.
# - **Thresholds** Does the result hold with half of `FRACTION`, and with twice as much?
#   (`lv.threshold_curve`)
# - **Draws** Does it hold with another `seed`, and with half of the facts? (`lv.stability`)
# - **A model that should fail** Take a model that was not made to share facts between languages, as
#   `"embedded-control"` is for the embedded model, and check that the method says so.
# - **Known neurons** `lv.plant` writes facts into neurons of your choice, so that you can see
#   whether the method finds them in your model.
# - **What is left out** Say how many facts, languages and edits you asked, and how many of them
#   count.
#
# ## Limits
# - The example has six known facts. It shows how to work; it is not a result.
# - The method looks only at neurons of the feed-forward layers. That they matter does not mean that
#   nothing else does.
# - Editors are judged by what a model writes, so the last steps need a causal model. You can take a
#   masked model as far as step 6.
# - A large model needs time and memory: begin with few facts, set `max_rows` in `attribute`, and
#   `device="cuda"` in `load_model`.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696), *Journey to the
# Center of the Knowledge Neurons* (arXiv 2308.13198), *Multilingual Knowledge Editing with
# Language-Agnostic Factual Neurons* (arXiv 2406.16416).
#
# **Next** `08_explore`: the explorers take your model and facts too:
# `lv.OverlapExplorer(model, facts)`.

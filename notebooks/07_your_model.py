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
# **You will** take a model and facts of your own through the whole method: load, read, ask,
# attribute, compare, intervene, edit, save. Each step says what to look at and what to do if it
# fails; the last one is a list of what has to hold before you believe a result.
#
# **Time** 40 minutes, 9 of them with two exercises. As it stands it runs in less than a minute.
#
# **Before** `02_attribution`, `03_overlap` and `05_editing`, which explain what is done here.
#
# **What to expect** As it stands: the embedded model, seven capitals in three languages, read from
# a file that the notebook writes. One country is made up; the model does not know it, and it falls
# out where it should. The six others pass all lines of the list at the end but one: between
# scripts only two of the six share more than another capital would.

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
from lafn_viz.datasets.facts import FactError
from lafn_viz.datasets.text import shows_answer

# %% [markdown]
# ## The lines to change
# Copy this notebook, change these lines, run all. `MODEL` is an embedded one, a folder in Hugging
# Face format, or a name on the model hub. `FACTS` and `PARAPHRASES` are paths of JSON lines; step 2
# shows how they look.

# %% tags=["setup"]
MODEL = "embedded"
FACTS, PARAPHRASES = None, None  # two paths; without them the next cell writes an example
LANGUAGES = ["en", "fr", "ru"]
RELATION = "capital"
SUBJECT, NEW_OBJECT = "Peru", "Cairo"  # one edit: its subject, an object of the same relation
FRACTION = 0.02  # of all neurons, kept for each prompt
N_EDITS = 2  # how many edits are judged
RESULTS = Path(tempfile.mkdtemp())  # results go here; name a folder that exists

# %% tags=["setup"]
if FACTS is None:
    FACTS, PARAPHRASES = RESULTS / "facts.jsonl", RESULTS / "paraphrases.jsonl"
    names = ["Peru", "Japan", "Egypt", "Poland", "Kenya", "Norway"]
    chosen = {"relation": ["capital", "continent"], "languages": LANGUAGES, "subjects": names}
    some = lv.load_facts().filter(**chosen)
    lines = [asdict(fact) | {"source": "copied", "held_out": []} for fact in some]
    subject = {"en": "Ruritania", "fr": "Ruritanie", "ru": "Руритания"}
    answer = {"en": "Strelsau", "fr": "Strelsau", "ru": "Стрелсау"}
    keys = {"id": "capital/XR", "relation": "capital", "subject_id": "XR", "object_id": "strelsau"}
    lines.append(keys | {"subject": subject, "object": answer})
    FACTS.write_text("\n".join(json.dumps(x, ensure_ascii=False) for x in lines), "utf-8")
    asked = [asdict(x) for x in some.paraphrases.values() if x.language in LANGUAGES]
    PARAPHRASES.write_text("\n".join(json.dumps(x, ensure_ascii=False) for x in asked), "utf-8")

# %% [markdown]
# ## The rule
# **The idea** No number in this notebook means anything alone. A model that is changed enough
# forgets everything, and all prompts of a language share neurons. What belongs to the fact is what
# is above the controls: random neurons of the same layers, and another fact of the same relation.
#
# $$\text{evidence} = \text{measured} - \max(\text{random neurons},\ \text{another fact})$$
#
# ## 1. The model
# `load_model` is the first test. It freezes the weights and proves, layer by layer, that what we
# call a neuron (`hook_post`) through the down projection gives the output of the layer.

# %% tags=["setup"]
model = lv.load_model(MODEL)

# %%
print(f"{model.cfg.n_layers} layers of {model.cfg.d_mlp} neurons, stream {model.cfg.d_model}")
for wrong in ("embeded", str(RESULTS)):  # what refusal looks like
    try:
        lv.load_model(wrong)
    except (FileNotFoundError, ValueError) as error:
        print(f"{type(error).__name__}: {error}".replace(str(RESULTS), "<folder>"))

# %% [markdown]
# **If it fails** the sentence says what is missing: a file (save the model again with
# `save_pretrained()`, as safetensors), a family that TransformerLens has no bridge for, or neurons
# that are not where they should be. Do not work around the last one: every score would be about
# something else than a neuron.
#
# ## 2. The facts
# One fact a line, with the names of subject and object in each language; one line for each relation
# and language with the texts that ask for it. `{subject}` stands in each text once, the answer
# comes right after it, and `held_out` are the numbers of texts that choose nothing and are there to
# measure with. Mark at least one.

# %%
print(Path(FACTS).read_text("utf-8").splitlines()[-1])
print(next(x for x in Path(PARAPHRASES).read_text("utf-8").splitlines() if f'"{RELATION}"' in x))

# %% tags=["setup"]
facts = lv.load_facts(FACTS, paraphrases=PARAPHRASES).filter(languages=LANGUAGES)

# %% [markdown]
# A record that cannot be used is named by file, line and field, and nothing is read by halves:

# %%
broken = RESULTS / "broken.jsonl"
broken.write_text(Path(FACTS).read_text("utf-8").replace('"object":', '"objekt":', 1), "utf-8")
try:
    lv.load_facts(broken, paraphrases=PARAPHRASES)
except FactError as error:
    print(str(error).replace(str(RESULTS), "<folder>"))
broken.unlink()

# %% [markdown] tags=["exercise"]
# ### Exercise 7.1: a wording of your own
# *●○○, 4 minutes*
#
# Write an English text that asks for a country's capital, as a line of `paraphrases.jsonl` would
# hold it. The check gives it to the package's own reader and asks the model.


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
# What the reader cannot see is whether a fact makes sense. Two checks of that: does the answer show
# in the subject ("France", "French": such a fact needs no memory; write its languages under `leaks`
# and read with `.filter(leaking=False)`), and what would distort an edit? `lint` looks at facts as
# edits, in each language; `count` of them are odd.

# %%
leaks = [(f.id, x) for f in facts for x in f.languages if shows_answer(f.subject[x], f.object[x])]
print("the answer shows in:", leaks or "none")
cases = lv.counterfactual_cases(facts, relation=RELATION, n=N_EDITS)
odd = cases.lint().query("count > 0")
odd.groupby("check", sort=False)[["count", "of"]].sum()

# %% [markdown]
# **Look at** every row. "No portability question" and "locality names the subject" are as they
# should be for edits made of facts: another fact of the same country is asked on purpose. A row
# like "new answer equals old" or "hidden characters" is a mistake in the file.
#
# ## 3. Does the model know them?
# A neuron can only be looked for where the model knows the answer. `known` means that it would
# write the whole answer, all its tokens.

# %%
prompts = facts.filter(relation=RELATION).prompts()
known = lv.score_answers(model, prompts).to_frame()
share = known.pivot_table(index="fact_id", columns="language", values="known", aggfunc="mean")
share.round(2)

# %% [markdown] tags=["exercise"]
# ### Exercise 7.2: known, by language
# *●○○, 5 minutes*
#
# From such a frame (a row a prompt, with the columns `fact_id`, `language`, `probability`, `known`
# and more) return the share of known answers in each language.


# %% tags=["exercise"]
def known_share(frame):
    return ...


# %% tags=["check"]
course.check_known_share(known_share)

# %% [markdown] tags=["hint"]
# `frame.groupby(...)` makes groups; the mean of a column of booleans is the share that is true.


# %% tags=["solution"]
def known_share(frame):
    return frame.groupby("language")["known"].mean()


# %% tags=["mistake"]
def known_share(frame):
    return frame.groupby("language")["probability"].mean()  # likely is not known


# %% tags=["mistake"]
def known_share(frame):
    return frame.groupby("language")["known"].sum()  # how many, of how many?


# %% [markdown]
# Keep the facts that are known in most wordings of at least two languages. What is left, by
# language:

# %%
usable = (share > 0.5).sum(axis=1) >= 2
print("left out:", list(share.index[~usable]))
kept = facts.filter(subjects=[facts[fact].subject_id for fact in share.index[usable]])
(share[usable] > 0.5).sum().to_frame("facts known").T

# %% [markdown]
# **If few are left** look at the texts first: does the model write the answer under another name,
# with an article, after a colon? Then at the languages: leave out those that it hardly knows.
# Report how many were asked and how many are left; the rest of this notebook is about these.
#
# ## 4. Attribution
# Integrated gradients for every neuron, in the wordings that are not held out. With
# `n_steps="auto"`, the default, each layer gets as many points as the tolerance needs: its scores
# then sum to what the layer does for the answer, to 1%. Fewer points are warned of:

# %%
choose = [p for p in kept.filter(relation=RELATION).prompts() if p.split == "trained"]
held_out = [p for p in kept.filter(relation=RELATION).prompts() if p.split != "trained"]
scores = lv.attribute(model, choose)
print(f"auto: at most {scores.relative_error.max():.4f} from complete")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always", lv.CompletenessWarning)
    rough = [lv.attribute(model, choose, n_steps=n) for n in (2, 4, 8)]
for one in said[:1]:
    print(f"{one.category.__name__}: {one.message}")
lv.plots.completeness_curve([*rough, scores])

# %% [markdown]
# **If "auto" warns too** a layer's scores do not say what it does, so leave the layers that the
# warning names out of any claim, or try `target="log_prob"`.
#
# ## 5. Which neurons do languages share?

# %%
sets = lv.select_neurons(scores, fraction=FRACTION)
shared = lv.overlap(sets)
lv.plots.overlap_heatmap(shared)

# %% [markdown]
# **Look at** the difference between the two halves, not at the first. Then at the test against both
# controls: `expected` of "other facts" is what another capital would give, `share` the share of
# facts with q < 0.05. Between languages of different scripts no spelling helps:

# %%
tested = lv.significance(shared)
table = tested.summary()
table.round(2)

# %%
lv.plots.significance_ladder(tested)

# %% [markdown]
# **If nothing is above "other facts"** the languages share the relation or the wording, not the
# fact. It can also be that there are too few facts: the null draws from the others alone. Add more
# of the same relation before you change any setting.
#
# ## 6. Do these neurons matter?
# Zero them, in the wordings that took no part, beside as many random neurons of the same layers and
# another fact; on the right those that one language holds alone.

# %%
alone = LANGUAGES[0]
chosen = {"agnostic": shared.agnostic, f"specific to {alone}": shared.specific_to(alone)}
changed = lv.effects(model, chosen, held_out)
lv.plots.effects_by_language(changed)

# %%
effect = changed.summary().loc["agnostic"]
effect[["p", "p_low", "p_high"]].round(3)

# %% [markdown]
# **If random neurons cost as much** the model is just damaged: take fewer neurons (`FRACTION`), or
# a milder change (`how="mean"`). **If nothing falls** the fact is kept in more places than these;
# try more neurons, and see unit 4.
#
# ## 7. An edit
# First ask the model where it reads the subject, since an edit works only where something is read
# later on. Dark cells in the right half are places for an edit.

# %%
trace = lv.trace_subject(model, choose + held_out, max_pairs=24)
lv.plots.subject_trace(trace)

# %% [markdown]
# Here it is the answer's position, in the first layer. In a model where it is the subject's last
# token take `position="subject_last"`. Two edits now, beside random neurons with values of their
# own:

# %%
cases = lv.counterfactual_cases(kept, relation=RELATION, n=N_EDITS)
ours = lv.baselines.language_agnostic(position="answer")
editors = {"language-agnostic": ours, "random neurons": lv.baselines.random_neurons(ours)}
reports = {name: lv.evaluate(model, e, cases, progress=False) for name, e in editors.items()}
lv.plots.editor_comparison(reports)

# %% [markdown]
# **If reliability is low** the values cannot reach the answer: another `position`, or more neurons
# (`n_neurons`). **If generality is low** give more wordings. **If locality is low** the matcher
# finds subjects that are not there, or a shared word: look at `EditCache.find`. **If random neurons
# do as well** take fewer neurons before you say anything about these.
#
# ## 8. Save
# Tables as CSV (and as Parquet, if pyarrow is installed), figures as HTML, edits by
# `EditCache.save`, and for each result where it comes from: model, hash of its weights, method,
# options, versions.

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
made = {"scores": scores, "shared": shared, "changed": changed, "edit": edit}
origin = {name: asdict(one.provenance) for name, one in made.items()}
(RESULTS / "provenance.json").write_text(json.dumps(origin, indent=1, default=str), "utf-8")
sorted(path.name for path in RESULTS.iterdir())

# %% [markdown]
# What was saved is what was made: read it again, and let it write.

# %%
again = lv.EditCache.load(RESULTS / "edits")
print(origin["edit"]["model"], origin["edit"]["weights"][:8], origin["edit"]["options"])
asked = next(p for p in kept.filter(relation=RELATION, subjects=SUBJECT).prompts())
print(model.generate(asked.text, max_new_tokens=3, do_sample=False, verbose=False))
with again.applied(model):
    print(model.generate(asked.text, max_new_tokens=3, do_sample=False, verbose=False))

# %% [markdown]
# ## Before you believe it
# Each line has what was measured and what it is held against. One that does not hold is a result
# too: report it.

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
bound = checks["held against"].isin(["all", "nearly all"])  # reached is enough
checks["holds"] = (checks["value"] > checks["control"]) | (bound & checks["value"].eq(1))
checks.round(3)

# %% [markdown]
# What no table can tell:
#
# - **Wordings** Did the prompts that measure take part in choosing? Then measure in others.
# - **Thresholds** Does the result hold with half and twice `FRACTION`? (`lv.threshold_curve`)
# - **Draws** Does it hold with another `seed`, and with half of the facts? (`lv.stability`)
# - **A model that should fail** Take one that cannot share facts between languages, as
#   `"embedded-control"` is for the embedded model, and see that the method says so.
# - **Neurons that are known** `lv.plant` writes facts into neurons of your choice, so that you see
#   whether the method finds them in your model.
# - **Left out** Say how many facts, languages and edits were asked, and how many are counted.
#
# ## Limits
# - The example has six known facts: it shows the way, not a result.
# - Only neurons of the feed-forward layers are looked at. That they matter does not say that
#   nothing else does.
# - Editors are judged by what a model writes, so the last steps need a causal model. A masked one
#   can be taken as far as step 6.
# - A large model wants time and memory: fewer facts first, `max_rows` in `attribute`, and
#   `device="cuda"` in `load_model`.
#
# **Papers** *Knowledge Neurons in Pretrained Transformers* (arXiv 2104.08696), *Journey to the
# Center of the Knowledge Neurons* (arXiv 2308.13198), *Multilingual Knowledge Editing with
# Language-Agnostic Factual Neurons* (arXiv 2406.16416).
#
# **Next** `08_explore`: the explorers take your model and facts too, `lv.OverlapExplorer(model,
# facts)`.

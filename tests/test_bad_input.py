"""What a user's mistakes get, in a plain interpreter: the types are not checked there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = {
    "lv.attribute(m, p, method='shap')": "unknown method 'shap'; there are integrated_gradients",
    "lv.attribute(m, p, position='last')": "unknown position 'last'; there are answer, subject",
    "lv.attribute(m, p, target='logit')": "unknown target 'logit'; there are probability, log",
    "lv.attribute(m, p, n_steps=0)": 'n_steps=0; give "auto" or a number of 1 or more',
    "lv.attribute(m, p, n_steps='many')": "n_steps='many'; give \"auto\" or a number",
    "lv.attribute(m, p, max_rows=1)": "max_rows=1; give a whole number of 2 or more",
    "lv.attribute(m, p, quadrature='simpson')": "unknown quadrature 'simpson'; there are gauss_",
    "lv.attribute(m, p, baseline='mask')": "unknown baseline 'mask'; there are auto, zero, mean, ",
    "lv.attribute(m, p, baseline=s.values[:1])": "baseline of shape (1, 4, 640); give [layer, neu",
    "lv.attribute(m, p, method='amig', baseline='mean')": "method='amig' has no choice of baseline",
    "lv.attribute(m, p, baseline='mean', corpus=p[:1])": "the corpus has no prompt in fr; a mean",
    "lv.attribute(m, p, foil='Rome')": "target='probability' with foil='Rome'; a foil belongs",
    "lv.attribute(m, p, target='logit_difference', foil=['Rome'])": "1 foils for 12 prompts; give",
    "lv.plots.completeness_curve([lv.attribute(m, p, method='gradient')])": "gradient has no compl",
    "lv.plots.method_scatter(s, lv.attribute(m, p[:1]))": "the two scores are of different prompts",
    "lv.attribute(m, [])": "there are no prompts; give at least one",
    "lv.intervene(m, p, [(0, 1)], how='remove')": "unknown how 'remove'; there are zero, scale",
    "lv.intervene(m, p, [(9, 1)])": "neurons=[(9, 1)]; give (layer, neuron), layers",
    "lv.select_neurons(s, threshold=1.5)": "threshold=1.5; give a number that is at least",
    "lv.select_neurons(s, threshold=.1, top=3)": "threshold=0.1, top=3, fraction=None; give one",
    "lv.select_neurons(s, top=0)": "top=0; give a whole number of 1 or more",
    "lv.find_degenerate(m, s, of='luck')": "unknown of 'luck'; there are probability, odds",
    "lv.find_degenerate(m, s, t_low=0.5)": "t_low=0.5, t_high=0.25; give 0 <= t_low <= t_high",
    "lv.check_facts(m, lv.load_facts(), 'capital', false_answers='hard')": "unknown false_answers "
    "'hard'; there are random, plausible",
    "lv.significance(lv.overlap(lv.select_neurons(s)), n_permutations=5)": "n_permutations=5; give",
    "lv.stability(s.select(lambda x: x.paraphrase == 0))": "there is one known paraphrase only",
    "lv.lape(m, p[:1])": "all prompts are in en; a neuron is specific",
    "lv.effects(m, {'a': {}}, p)": "no fact of the neuron sets is among the prompts",
    "lv.intervene(m, p, [(0, 1)], how='mean')": "how='mean' needs a corpus",
    "lv.plant(n_facts=1)": "n_facts=1, n_agnostic=10",
    "lv.SubjectMatcher({'FR': {'en': 'France'}}, rules=['regex'])": "unknown rule 'regex'; there "
    "are exact, normalised, alias, fuzzy",
    "lv.overlap([])": "there are no neuron sets",
    "lv.overlap(lv.select_neurons(s), min_languages=1)": "min_languages=1; one language shares",
    "lv.load_facts().prompts(splits=['test'])": "unknown split 'test'; there are trained",
    "lv.load_facts().filter(languages='xx')": "unknown language 'xx'; there are en",
    "lv.load_edit_cases('none.json')": "there is no file none.json; give the path of a file of",
    "lv.load_edit_cases('none.json', schema='zsre')": "unknown schema 'zsre'; there are auto",
    "lv.load_edit_cases([])": "path=[]; give the path of a file or folder",
    "lv.load_mlama('none')": "there is no folder none; give the one that holds the data",
    "lv.load_mpararel('none')": "there is no folder none/patterns; give the one that holds",
    "lv.counterfactual_cases(n=500)": "n=500, but 124 facts can be edited; give 1 to that many",
    "lv.load_model(None)": "load_model takes a model's name or folder, not None; give embedded, ",
    "lv.load_model(3)": "load_model takes a model's name or folder, not an int; give embedded, ",
    "lv.load_model(m)": "load_model takes a model's name or folder, not a TransformerBridge; it is",
    "lv.load_model(m.original_model)": "load_model takes a model's name or folder, not a GPT2LMHe",
    "lv.load_model('embedded', device='gpu')": "device='gpu', but on this machine there",
    "lv.load_model('embedded', dtype='int8')": "dtype='int8', but weights are read as float32, ",
    "lv.load_model('embeded')": "there is no model 'embeded'; did you mean 'embedded'?",
    "lv.lafn_edit(m, lv.load_facts(), subject='Peru', relation='capital', new_object='Rome', "
    "locate='luck')": "unknown locate 'luck'; there are pruned, attribution, activation",
    "lv.lafn_edit(m, lv.load_facts(), subject='Peru', relation='capital', new_object='Rome', "
    "position='last')": "unknown position 'last'; there are subject_last, from_subject, answer",
    "e.summary('bleu')": "unknown evaluator 'bleu'; there are exact_match, starts_with",
    "e.matrix('fluency')": "unknown metric 'fluency'; there are reliability, generality",
    "lv.neuron_card(m, p, (4, 0), scores=s)": "neurons=[(4, 0)]; give at least one (layer, neuron)",
    "lv.neuron_card(m, p[:2], (0, 0), scores=s)": "the scores are of 12 prompts, and these 2 ",
    "lv.neuron_table(s, share=2)": "share=2; give a number that is above 0 and below 1",
    "lv.sweep(m, lv.load_facts(), 'none', methods=['shap'])": "unknown method 'shap'; there are",
    "lv.sweep(m, lv.load_facts(), 'none', position='last')": "unknown position 'last'; there are",
    "lv.sweep(m, lv.load_facts(), 'none', how='remove')": "unknown how 'remove'; there are zero",
    "lv.sweep(m, lv.load_facts(), 'none', changed=['all'])": "unknown changed 'all'; there are wit",
    "lv.sweep(m, lv.load_facts(), 'none', backend='dask')": "unknown backend 'dask'; there are loc",
    "lv.sweep(m, lv.load_facts(), 'none', n_steps='many')": "n_steps='many'; give \"auto\" or",
    "lv.Store('none')": "none holds no sweep (no sweep.json); give a folder that sweep() wrote",
    "lv.nothing": "module 'lafn_viz' has no attribute 'nothing'",
}
SCRIPT = """
import json, sys
import lafn_viz as lv
from lafn_viz.editing.evaluation.answers import Answered
m = lv.load_model("embedded")
p = lv.load_facts().filter(relation="capital", subjects="FR", languages=["en", "fr"]).prompts()
s = lv.attribute(m, p)
one = dict(case="a", edited_in="en", metric="reliability", language="en", text="", aliases=())
one |= dict(reference="b", before="b", after="b", token_accuracy_before=0.0, token_accuracy=0.0)
e = lv.Evaluation("none", (Answered(**one),), lv.Provenance("made-up", "", "made-up"))
said = {}
for call in json.load(sys.stdin):
    try:
        eval(call)
        said[call] = "nothing was said"
    except Exception as error:
        said[call] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(list(CALLS)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("call", CALLS)
def test_one_sentence_says_what_was_given_and_what_is_allowed(said, call):
    assert said[call].startswith(CALLS[call])
    assert "\n" not in said[call]


@pytest.mark.slow
def test_every_public_call_answers_wrong_values_in_a_sentence_before_it_reads_the_model(tmp_path):
    script = Path(__file__).with_name("bad_calls.py")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""

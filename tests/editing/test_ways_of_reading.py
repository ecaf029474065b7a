"""However a text is read, edits act as in one plain pass over it, or reading is refused."""

import copy
import threading

import pytest
import torch
import transformers as hf
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from made_up_edits import an_edit, ids, plain_read

import lafn_viz as lv
from lafn_viz.editing.applied import edits_paused
from lafn_viz.editing.cache import EditCache, edited
from lafn_viz.editing.edit import EditError
from lafn_viz.models.tokens import encode

TEXT = "The capital of Japan is"
WORDS = ["The capital of", "Japan", "is", "Peru", "日本", "and", "now Lima", "Pérou", "it"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
POSITIONS = ["from_subject", "subject_last", "answer"]
WAYS = [
    {},
    {"prefill_chunk_size": 1},
    {"prefill_chunk_size": 3},
    {"cache_implementation": "static"},
    {"cache_implementation": "static", "prefill_chunk_size": 2},
    {"use_cache": False},
    {"num_beams": 3, "prefill_chunk_size": 2},
    {"num_beams": 2, "do_sample": True, "num_return_sequences": 2},
    {"num_return_sequences": 2, "do_sample": True},
    {"prompt_lookup_num_tokens": 2},
]
GENERATE = {
    "max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "pad_token_id": 0,
    "output_logits": True, "return_dict_in_generate": True,
}  # fmt: skip
SOME = settings(
    deadline=None, derandomize=True, database=None, max_examples=12, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip


@pytest.fixture
def model_of(tiny, embedded):
    return lambda family: embedded if family == "embedded" else tiny(family)


def two_edits(model, position="from_subject"):
    return [
        an_edit(model, position=position),
        an_edit(model, "PE", seed=1, position=position),
    ]


def tokens_of(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def written(output, row):
    """The logits that a row of the output was written by, through its beams."""
    if getattr(output, "beam_indices", None) is None:
        return torch.stack(output.logits, 1)[row]
    beams = output.beam_indices[row].tolist()
    return torch.stack([output.logits[step][beam] for step, beam in enumerate(beams) if beam >= 0])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "embedded"])
def test_generating_in_any_way_is_as_one_plain_read(model_of, family):
    model = model_of(family)

    @SOME
    @given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(WAYS), st.data())
    def check(texts, way, data):
        edits = two_edits(model, data.draw(st.sampled_from(POSITIONS)))
        if "prompt_lookup_num_tokens" in way:
            texts = texts[:1]
        rows = [tokens_of(model, text) for text in texts]
        width = max(len(row) for row in rows)
        tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        torch.manual_seed(0)
        with EditCache(edits).applied(model):
            output = model.original_model.generate(
                tokens, attention_mask=mask, **{**GENERATE, **way}
            )
        times = len(output.sequences) // len(rows)
        for i, sequence in enumerate(output.sequences.tolist()):
            prompt, logits = rows[i // times], written(output, i)
            expected = plain_read(model, edits, prompt + sequence[width:], len(prompt))
            close(logits, expected[len(prompt) - 1 :][: len(logits)])

    check()


@pytest.mark.parametrize("family", ["gpt2", "llama", "embedded"])
def test_reading_in_pieces_is_as_one_plain_read(model_of, family):
    model = model_of(family)

    @SOME
    @given(TEXTS, st.sampled_from(POSITIONS), st.booleans(), st.data())
    def check(text, position, static, data):
        tokens, edits = tokens_of(model, text), two_edits(model, position)
        cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(tokens) - 1)), max_size=3)))
        pieces = [p for p in torch.tensor([tokens]).tensor_split(cuts, 1) if p.shape[1]]
        config, read = model.original_model.config, []
        past = hf.StaticCache(config, max_cache_len=64) if static else hf.DynamicCache()
        with torch.no_grad(), EditCache(edits).applied(model):
            for piece in pieces:
                try:
                    read.append(model.original_model(piece, past_key_values=past).logits[0])
                except EditError:  # where the prompt ends is not known
                    assert position == "answer"
                    assert len(pieces) > 1
                    return
        if position == "answer" and all(p.shape[1] == 1 for p in pieces[1:]):
            n_prompt = pieces[0].shape[1]  # the rest may be what a loop of one's own has written
        else:
            n_prompt = len(tokens)
        close(torch.cat(read), plain_read(model, edits, tokens, n_prompt))

    check()


def test_a_subject_that_ends_in_the_second_piece(tiny):
    model = tiny("llama")
    tokens, (edit, _) = tokens_of(model, TEXT), two_edits(model)
    last = next(i for i in range(99) if "Japan" in model.tokenizer.decode(tokens[: i + 1]))
    past, read = hf.DynamicCache(), []
    with edited(model, edit) as fired, torch.no_grad():
        for piece in (tokens[:last], tokens[last:]):
            read.append(model.original_model(torch.tensor([piece]), past_key_values=past).logits[0])
    assert [one.position for one in fired] == [last]
    close(torch.cat(read), plain_read(model, [edit], tokens, len(tokens)))


@pytest.mark.parametrize("options", [{}, {"prefill_chunk_size": 2}])
@pytest.mark.parametrize("full", [True, False])
def test_a_conversation_goes_on_in_its_cache(tiny, full, options):
    model, past = tiny("llama"), hf.DynamicCache()
    edits, config = two_edits(model), GENERATE
    with EditCache(edits).applied(model) as fired:
        first = model.original_model.generate(ids(model, TEXT), past_key_values=past, **config)
        text = first.sequences[0].tolist() + tokens_of(model, " and what of Peru now")
        new = text if full else text[past.get_seq_length() :]
        output = model.original_model.generate(
            torch.tensor([new]), attention_mask=torch.ones(1, len(text), dtype=torch.long),
            past_key_values=past, **config, **options,
        )  # fmt: skip
    assert {one.edit.subject_id for one in fired} == {"JP", "PE"}
    written = output.sequences[0, -3:].tolist()
    expected = plain_read(model, edits, text + written, len(text))
    close(torch.stack(output.logits, 1)[0], expected[len(text) - 1 : -1])


MOVES = {
    "reordered": (lambda past: past.reorder_cache(torch.tensor([1, 0])), [1, 0]),
    "repeated": (lambda past: past.batch_repeat_interleave(2), [0, 0, 1, 1]),
    "selected": (lambda past: past.batch_select_indices(torch.tensor([1])), [1]),
    "cropped": (lambda past: past.crop(-1), [0, 1]),
}


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("move", MOVES)
def test_edits_follow_the_rows_of_a_cache(tiny, move, copied):
    model = tiny("gpt2")
    edits, (change, order) = two_edits(model), MOVES[move]
    rows = [tokens_of(model, text) for text in ("Lima in Peru or", "Tokyo in Japan or")]
    width = min(len(row) for row in rows)
    rows, more = [row[-width:] for row in rows], tokens_of(model, " now")
    past = hf.DynamicCache()
    with EditCache(edits).applied(model), torch.no_grad():
        model.original_model(torch.tensor(rows), past_key_values=past)
        past = copy.deepcopy(past) if copied else past
        change(past)
        tokens = torch.tensor([more] * len(order))
        read = model.original_model(tokens, past_key_values=past).logits
    for i, row in enumerate(order):
        kept = rows[row][: width - 1 if move == "cropped" else width]
        close(read[i], plain_read(model, edits, kept + more, width + 9)[len(kept) :])


@pytest.mark.parametrize("role", ["target", "assistant"])
def test_assisted_generation(tiny, role):
    model, other = tiny("llama"), tiny("gpt2").original_model
    edits, tokens = two_edits(model), ids(model, TEXT)
    prompt, drafts = tokens[0].tolist(), []

    def keep(module, args, kwargs, output):
        n_read = kwargs["past_key_values"].get_seq_length()
        drafts.append((n_read, kwargs["input_ids"], output.logits[0].clone()))

    target, assistant = model.original_model, other
    if role == "assistant":
        target, assistant = assistant, target
    handle = model.original_model.register_forward_hook(keep, with_kwargs=True)
    try:
        with EditCache(edits).applied(model):
            target.generate(tokens, assistant_model=assistant, **{**GENERATE, "max_new_tokens": 6})
    finally:
        handle.remove()
    read: list[int] = []
    for n_read, new, found in drafts:
        read = read[: n_read - new.shape[1]] + new[0].tolist()
        expected = plain_read(model, edits, read, len(prompt))
        close(found, expected[-len(found) :])
    assert len(drafts) > 1


def test_generate_of_transformer_lens_is_that_of_transformers(tiny):
    model = tiny("gpt2")
    tokens, lens = ids(model, TEXT), {"verbose": False, "stop_at_eos": False}
    options = {"max_new_tokens": 4, "do_sample": False}
    for position in POSITIONS:
        with EditCache(two_edits(model, position)).applied(model):
            expected = model.original_model.generate(tokens, min_new_tokens=4, **options)
            for use_past in (True, False):
                found = model.generate(tokens, use_past_kv_cache=use_past, **options, **lens)
                assert torch.equal(found, expected)
            stream = [part[:, -1:] for part in model.generate_stream(
                tokens, max_tokens_per_yield=1, **options, **lens
            )]  # fmt: skip
            assert torch.equal(torch.cat(stream, 1), expected[:, -4:])
    assert not {"generate", "generate_stream"} & vars(model).keys()
    assert "generate" not in vars(model.original_model)


def test_threads_that_generate_at_once(tiny):
    model = tiny("llama")
    config = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    texts = [ids(model, text) for text in (TEXT, "Lima in Peru is", "now it")]
    found: dict[int, list] = {0: [], 1: [], 2: []}

    def work(i):
        for _ in range(3):
            found[i].append(model.original_model.generate(texts[i], **config))

    with EditCache(two_edits(model)).applied(model):
        expected = [model.original_model.generate(text, **config) for text in texts]
        threads = [threading.Thread(target=work, args=(i,)) for i in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i, outputs in found.items():
        assert len(outputs) == 3
        assert all(torch.equal(one, expected[i]) for one in outputs)


def test_compiled_code_sees_the_hooks_of_edits(tiny):
    """Compiled code does not look for hooks that come later."""
    model, seen = tiny("llama"), []
    layer = torch.nn.Linear(2, 2)
    compiled = torch.compile(layer, backend="eager")
    compiled(torch.zeros(1, 2))
    layer.register_forward_hook(lambda *_: seen.append(True))
    first, second = (edited(model, edit) for edit in two_edits(model))
    for step in (first.__enter__, second.__enter__, lambda: first.__exit__(None, None, None)):
        step()
        seen.clear()
        compiled(torch.zeros(1, 2))
        assert seen
    second.__exit__(None, None, None)
    seen.clear()
    compiled(torch.zeros(1, 2))
    assert not seen


def test_a_cache_that_was_read_outside_goes_on_where_no_edit_is_missing(tiny):
    model = tiny("llama")
    edits, tokens = two_edits(model), ids(model, TEXT)
    prompt = tokens[0].tolist()
    for n_read in (3, len(prompt) - 1):
        past = hf.DynamicCache()
        with torch.no_grad():
            model.original_model(tokens[:, :n_read], past_key_values=past)
        with EditCache(edits).applied(model):
            if n_read > 3:
                with pytest.raises(EditError, match=r"is in the key/value cache already, read wit"):
                    model.original_model.generate(tokens, past_key_values=past, **GENERATE)
                continue
            output = model.original_model.generate(tokens, past_key_values=past, **GENERATE)
        expected = plain_read(model, edits, output.sequences[0].tolist(), len(prompt))
        close(torch.stack(output.logits, 1)[0], expected[len(prompt) - 1 : -1])


def refused_ways(model):
    """By what the error says: a way to read in which no edit could act as it should."""
    run, tokens = model.original_model, ids(model, TEXT)
    n = tokens.shape[1]
    packed = torch.ones(n, n, dtype=torch.bool).tril()
    packed[5:, :5] = False

    def in_two(change):
        past = hf.DynamicCache()
        run(tokens, past_key_values=past)
        run(tokens[:, :1], past_key_values=change(past))

    def by_hand(past):
        for layer in past.layers:
            layer.keys, layer.values = layer.keys.flip(0), layer.values.flip(0)
        return past

    return {
        r"changed since": lambda: in_two(by_hand),
        r"that was not read": lambda: in_two(
            lambda past: hf.DynamicCache([(x.keys, x.values) for x in past.layers])
        ),
        r"several texts": lambda: run(tokens, position_ids=torch.arange(n)[None] % 5),
        r"read from left to right": lambda: run(tokens, attention_mask=packed[None, None]),
        r"a row of its own": lambda: run(tokens, attention_mask=torch.ones_like(tokens) * 2),
        r"input_ids, not embeddings": lambda: run(inputs_embeds=run.get_input_embeddings()(tokens)),
        r"is a tuple; give a Cache": lambda: run(tokens, past_key_values=()),
        r"copied while edits are applied": lambda: copy.deepcopy(model),
        r"a copy of the model that": lambda: copy.copy(run)(tokens),
        r"runs by itself": lambda: [block.mlp(torch.zeros(1, 2, 32)) for block in model.blocks],
        r"the hooks of the edits were removed": lambda: (
            model.reset_hooks(including_permanent=True),
            run(tokens),
        ),
    }


def test_what_cannot_be_as_a_plain_read_is_refused(tiny):
    model = tiny("llama")
    tokens, edits = ids(model, TEXT), two_edits(model)
    prompt = tokens[0].tolist()
    for message, read in refused_ways(model).items():
        with EditCache(edits).applied(model), torch.no_grad():
            with pytest.raises(EditError, match=message):
                read()
            if "hooks" not in message:  # what was refused leaves nothing behind
                logits = model.original_model(tokens).logits[0]
                close(logits, plain_read_paused(model, edits, prompt))


def plain_read_paused(model, edits, prompt):
    """A plain read, within the context of the same edits."""
    with edits_paused():
        return plain_read(model, edits, prompt, len(prompt))


def test_a_cache_that_was_read_with_other_edits_is_refused(tiny):
    model, past = tiny("llama"), hf.DynamicCache()
    japan, peru = two_edits(model)
    tokens = ids(model, TEXT)
    with torch.no_grad(), edited(model, japan):
        model.original_model(tokens, past_key_values=past)
    same = copy.deepcopy(past)
    more = ids(model, " and so")
    with torch.no_grad(), edited(model, japan):  # another block of the same edit
        read = model.original_model(more, past_key_values=same).logits[0]
    text = tokens[0].tolist() + more[0].tolist()
    close(read, plain_read(model, [japan], text, len(text))[tokens.shape[1] :])
    with edited(model, peru), pytest.raises(EditError, match=r"does not act there"):
        model.original_model(more, past_key_values=past)


def test_answers_are_scored_with_an_edit_from_the_end_of_their_prompt(tiny):
    """A score reads the tokens of an answer too, behind the prompt."""
    model = tiny("llama")
    prompt = lv.Prompt.of(TEXT, "no such place", subject="Japan")
    (edit, _), answer = two_edits(model, "answer"), encode(model, prompt).answer
    text = tokens_of(model, TEXT)
    logits = plain_read(model, [edit], text + list(answer[:-1]), len(text))[len(text) - 1 :]
    expected = logits.log_softmax(-1)[range(len(answer)), list(answer)].sum()
    with edited(model, edit):
        close(lv.score_answers(model, [prompt]).log_prob[0], expected)
    assert len(answer) > 2


def test_an_edit_at_the_answer_asks_where_the_prompt_ends(tiny):
    model = tiny("llama")
    edits, tokens = two_edits(model, "answer"), ids(model, TEXT)
    with EditCache(edits).applied(model), torch.no_grad():
        model.original_model(tokens)
        with pytest.raises(EditError, match=r"the prompt's end"):  # a new prompt, or the same?
            model.original_model(torch.cat([tokens, tokens[:, :1]], 1))
        past = hf.DynamicCache()
        output = model.original_model.generate(tokens, past_key_values=past, **GENERATE)
        more = torch.cat([output.sequences, tokens], 1)
        with pytest.raises(EditError, match=r"does not act there"):
            model.original_model.generate(more, past_key_values=past, **GENERATE)

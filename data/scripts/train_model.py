"""Train an embedded model on data/facts.jsonl, measure it, and write it with its card.

    python data/scripts/train_model.py --recipe transfer --out data/models/embedded
    python data/scripts/train_model.py --recipe facts-only --steps 1200 --fixed-values \
        --out data/models/embedded-control
    python data/scripts/train_model.py --family masked --steps 4000 --fixed-values \
        --start data/models/embedded --out data/models/embedded-masked

A row holds one document, and the loss counts only the answers. The `transfer` recipe mixes the
facts with documents that tie the languages together: names of one thing in several languages,
prompts whose subject is named in another language, the same fact in two languages, and prompts that
ask for a name. None of them contains a held-out (fact, language) pair: no document of that fact is
in that language or names its subject in it. The `facts-only` recipe is the control: the facts and
nothing else.

With facts alone, such a model looks most answers up in its attention: what a head adds is a linear
function of the tokens that it reads, and that is enough. Its neurons then hardly matter, and
silencing some says nothing. `--fixed-values` leaves attention what it can do about other positions,
where to look, and takes away what it could know: values and output stay the identity, so that a
head copies what it reads, and facts have to be in the feed-forward layers. In a masked model, the
hidden layer before the un-embedding stays the identity, too.
"""

import argparse
import copy
import json
import logging
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import model_card
import torch
from frames import LANGUAGES, SUBJECT_KIND
from model_card import SPLITS, share
from muon import Muon
from tokenizers import Tokenizer, processors
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as hf_logging
from worlds import SLOTS, UNSPACED, OwnScripts, World, bpe_tokenizer

log = logging.getLogger("train")
DATA = Path(__file__).resolve().parents[1]
END = "<|endoftext|>"
PAD, CLS, SEP, MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"
# Steps after which a checkpoint is saved: what is learnt early is learnt fast.
CHECKPOINTS = (25, 50, 100, 200, 350, 500, 700, 1000, 1400, 2000, 2800, 4000, 5500)
# Above what a layer norm of this width lets through, below zero (12.6 times its weight).
HEAD_BIAS = 64.0
NOT_LATIN = {"ru", "zh", "ja", "ar", "hi"}
OBJECT_KIND = {
    "capital": "city",
    "continent": "continent",
    "currency": "currency",
    "language": "language",
    "country": "country",
    "script": "script",
}
RELATION_WEIGHTS = {
    "capital": 1.6,
    "country": 1.6,
    "currency": 1.3,
    "language": 1.0,
    "continent": 0.7,
    "script": 0.7,
}
# How often a fact comes in a language that is none of its homes, against one of them.
RARE = 0.1
RECIPES = {
    "transfer": {"fact": 0.35, "switch": 0.20, "parallel": 0.05, "naming": 0.30, "alias": 0.10},
    "facts-only": {"fact": 1.0},
}


def space(language: str) -> str:
    return "" if language in UNSPACED else " "


class Corpus:
    """The facts, what is held out, and the documents drawn from the rest.

    With `homes`, a fact comes often in that many languages (or in all, if it has fewer), and rarely
    in the others, as people write about a city mostly in some of the world's languages.
    """

    def __init__(self, world: World, homes: int | None = None) -> None:
        self.facts, self.naming, self.words = world.facts, world.naming, world.words
        self.frames: dict[tuple[str, str], list[str]] = {}
        self.held_frames: dict[tuple[str, str], list[str]] = {}
        for row in world.paraphrases:
            key = row["relation"], row["language"]
            self.held_frames[key] = [row["texts"][i] for i in row["held_out"]]
            self.frames[key] = [t for i, t in enumerate(row["texts"]) if i not in row["held_out"]]
        self.known = {
            fact["id"]: [lang for lang in LANGUAGES if lang not in fact["held_out"]]
            for fact in self.facts
        }
        self.pairs = [(fact, lang) for fact in self.facts for lang in self.known[fact["id"]]]
        rng = random.Random(0)
        often = {
            (id_, lang)
            for id_, known in self.known.items()
            for lang in (known if homes is None else rng.sample(known, min(homes, len(known))))
        }
        # Facts to be learnt one by one (capitals, cities) come more often than small classes.
        self.cum_weights = list(
            accumulate(
                RELATION_WEIGHTS[fact["relation"]] * (1 if (fact["id"], lang) in often else RARE)
                for fact, lang in self.pairs
            )
        )
        names: dict[tuple[str, str], dict[str, str]] = {}
        for fact in self.facts:
            names[SUBJECT_KIND[fact["relation"]], fact["subject_id"]] = fact["subject"]
            names[OBJECT_KIND[fact["relation"]], fact["object_id"]] = fact["object"]
        self.names = list(names.values())

    def shown(self, fact: dict) -> set[str]:
        """Every prompt of a fact that a document may hold, its subject named in any language.

        Some prompts are identical in Spanish and Portuguese ("País: Cuba. Capital:"), so a prompt
        held out in one of them may be shown in the other.
        """
        known = self.known[fact["id"]]
        return {
            frame.format(subject=fact["subject"][other])
            for lang in known
            for frame in self.frames[fact["relation"], lang]
            for other in known
        }

    def strings(self) -> list[str]:
        """Names and pieces of frames, each a string of its own, so that no token spans two of them.

        A name outside Latin script counts twice: the seven languages in Latin script often share a
        spelling, and would otherwise take most of the vocabulary.
        """
        pieces = [
            lead + name
            for names in self.names
            for lang, name in names.items()
            for lead in (space(lang), "")
            for _ in range(2 if lang in NOT_LATIN else 1)
        ]
        frames = [
            text
            for (_, lang), texts in self.frames.items()
            for text in texts * 4
            if lang not in UNSPACED
        ]
        frames += list(self.naming.values()) * 40
        # No spaces separate these frames' words: one token "の首都は" would hide the relation.
        frames += [text for texts in self.words.values() for text in texts * 40]
        return pieces + [part for text in frames for part in SLOTS.split(text)[::2] if part]

    def pick(self, rng: random.Random) -> tuple[dict, str]:
        return rng.choices(self.pairs, cum_weights=self.cum_weights)[0]

    def prompt(self, fact: dict, language: str, rng: random.Random) -> str:
        return rng.choice(self.frames[fact["relation"], language])

    def draw(self, kind: str, rng: random.Random) -> list[tuple[str, bool]]:
        """One document: (text, whether the loss counts it), in order."""
        if kind == "fact":
            fact, lang = self.pick(rng)
            text = self.prompt(fact, lang, rng).format(subject=fact["subject"][lang])
            return [(text, False), (space(lang) + fact["object"][lang], True)]
        if kind == "switch":
            fact, lang = self.pick(rng)
            other = rng.choice(self.known[fact["id"]])
            text = self.prompt(fact, lang, rng).format(subject=fact["subject"][other])
            return [(text, False), (space(lang) + fact["object"][lang], True)]
        if kind == "parallel":
            fact = rng.choice(self.facts)
            document: list[tuple[str, bool]] = []
            for lang in rng.sample(self.known[fact["id"]], 2):
                text = self.prompt(fact, lang, rng).format(subject=fact["subject"][lang])
                lead = " " if document else ""
                document += [(lead + text, False), (space(lang) + fact["object"][lang], True)]
            return document
        names = rng.choice(self.names)
        if kind == "naming":
            lang, other = rng.sample(LANGUAGES, 2)
            text = self.naming[lang].format(name=names[other])
            return [(text, False), (space(lang) + names[lang], True)]
        first, *rest = rng.sample(LANGUAGES, 3)
        return [(names[first], False)] + [
            (piece, counted)
            for lang in rest
            for piece, counted in ((" =", False), (" " + names[lang], True))
        ]


# A document in pieces: (tokens, whether the loss counts them), in order.
Pieces = list[tuple[list[int], bool]]
# What the model reads, and its target at each position (-100: no target).
Row = tuple[list[int], list[int]]


class Causal:
    """GPT-2. The answer is what greedy decoding writes until it stops."""

    special = (END,)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end = self.pad = tokenizer.token_to_id(END)

    def row(self, pieces: Pieces, noise: random.Random | None = None) -> Row:
        both = [(token, token if counts else -100) for piece, counts in pieces for token in piece]
        tokens, labels = zip(*both, (self.end, self.end), strict=True)
        return list(tokens[:-1]), list(labels[1:])

    def model(self, args: argparse.Namespace, vocabulary: int) -> PreTrainedModel:
        config = GPT2Config(
            vocab_size=vocabulary,
            n_positions=128,
            n_embd=args.d_model,
            n_layer=args.layers,
            n_head=args.heads,
            n_inner=args.d_mlp or 4 * args.d_model,
            activation_function="relu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=self.end,
            eos_token_id=self.end,
        )
        return GPT2LMHeadModel(config)

    def hidden(self, model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
        return model.transformer(tokens).last_hidden_state

    def head(self, model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
        return model.lm_head(hidden)

    def layers(self, model: PreTrainedModel) -> torch.nn.Module:
        return model.transformer.h

    def nonlinearity(self, layer: torch.nn.Module) -> torch.nn.Module:
        return layer.mlp.act

    @torch.no_grad()
    def fix_values(self, model: PreTrainedModel) -> None:
        """Make attention copy: its values and its output are the identity."""
        for layer in self.layers(model):
            width = layer.attn.c_proj.weight.shape[0]
            for weight, bias in (
                (layer.attn.c_attn.weight[:, -width:], layer.attn.c_attn.bias[-width:]),
                (layer.attn.c_proj.weight, layer.attn.c_proj.bias),
            ):
                weight.copy_(torch.eye(width))
                bias.zero_()

    def fast(self, tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END)


class Masked:
    """BERT. The input has one mask for each token of the answer, and all are filled at once."""

    special = (PAD, CLS, SEP, MASK)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.pad, self.cls, self.sep, self.mask = map(tokenizer.token_to_id, self.special)

    def row(self, pieces: Pieces, noise: random.Random | None = None) -> Row:
        """Mask one of the counted pieces; the model can read the others.

        With noise, one document in ten has another token masked as well, so that the model has seen
        masks in other places, where attribution with mask baselines puts them.
        """
        counted = [number for number, (_, counts) in enumerate(pieces) if counts]
        asked = noise.choice(counted) if noise else counted[-1]
        tokens, labels = [self.cls], [-100]
        for number, (piece, _) in enumerate(pieces):
            hide = number == asked
            tokens += [self.mask] * len(piece) if hide else piece
            labels += piece if hide else [-100] * len(piece)
        if noise and noise.random() < 0.1:
            rest = [at for at, label in enumerate(labels) if at and label == -100]
            tokens[noise.choice(rest)] = self.mask
        return [*tokens, self.sep], [*labels, -100]

    def model(self, args: argparse.Namespace, vocabulary: int) -> PreTrainedModel:
        config = BertConfig(
            vocab_size=vocabulary,
            max_position_embeddings=128,
            type_vocab_size=1,
            hidden_size=args.d_model,
            num_hidden_layers=args.layers,
            num_attention_heads=args.heads,
            intermediate_size=args.d_mlp or 4 * args.d_model,
            hidden_act="relu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=self.pad,
        )
        return BertForMaskedLM(config)

    def hidden(self, model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
        return model.bert(tokens, attention_mask=(tokens != self.pad).long()).last_hidden_state

    def head(self, model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
        return model.cls(hidden)

    def layers(self, model: PreTrainedModel) -> torch.nn.Module:
        return model.bert.encoder.layer

    def nonlinearity(self, layer: torch.nn.Module) -> torch.nn.Module:
        return layer.intermediate.intermediate_act_fn

    @torch.no_grad()
    def fix_values(self, model: PreTrainedModel) -> None:
        """Make attention and the head's hidden layer copy: their weights are the identity.

        The head looks answers up as well as attention does. Its bias keeps the ReLU from cutting
        anything off; the layer norm that follows takes out what is added to all dimensions alike.
        """
        copies = [(model.cls.predictions.transform.dense, HEAD_BIAS)]
        for layer in self.layers(model):
            copies += [(layer.attention.self.value, 0.0), (layer.attention.output.dense, 0.0)]
        for part, bias in copies:
            part.weight.copy_(torch.eye(len(part.weight)))
            part.bias.fill_(bias)

    def fast(self, tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}", special_tokens=[(CLS, self.cls), (SEP, self.sep)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token=PAD,
            cls_token=CLS,
            sep_token=SEP,
            mask_token=MASK,
        )


FAMILIES: dict[str, type[Causal] | type[Masked]] = {"causal": Causal, "masked": Masked}


class Batches:
    """Endless batches of one recipe: inputs and targets, both [row, pos].

    Documents are drawn for sixteen batches at once and cut by length, which halves the padding.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Tokenizer,
        family: Causal | Masked,
        recipe: dict,
        *,
        rows: int,
        seed: int,
    ):
        self.corpus, self.tokenizer, self.family, self.rows = corpus, tokenizer, family, rows
        self.kinds, self.weights = list(recipe), list(recipe.values())
        self.rng = random.Random(seed)
        self.cache: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        if text not in self.cache:
            self.cache[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.cache[text]

    def document(self, kind: str) -> Row:
        pieces = [(self.ids(text), counts) for text, counts in self.corpus.draw(kind, self.rng)]
        return self.family.row(pieces, self.rng)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            kinds = self.rng.choices(self.kinds, self.weights, k=16 * self.rows)
            pool = sorted((self.document(kind) for kind in kinds), key=lambda doc: len(doc[0]))
            batches = [pool[i : i + self.rows] for i in range(0, len(pool), self.rows)]
            self.rng.shuffle(batches)
            yield from map(self.padded, batches)

    def padded(self, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(tokens) for tokens, _ in rows)
        read = torch.full((len(rows), width), self.family.pad)
        asked = torch.full((len(rows), width), -100)
        for number, (tokens, labels) in enumerate(rows):
            read[number, : len(tokens)] = torch.tensor(tokens)
            asked[number, : len(labels)] = torch.tensor(labels)
        return read, asked


@torch.no_grad()
def whole_answer(
    model: PreTrainedModel, batches: Batches, asked: list[tuple[str, str]]
) -> list[bool]:
    """For each (prompt, answer), whether the model predicts every token of the answer.

    A causal model must also predict the end after the answer.
    """
    family = batches.family
    rows = [
        family.row([(batches.ids(prompt), False), (batches.ids(answer), True)])
        for prompt, answer in asked
    ]
    right = [False] * len(asked)
    order = sorted(range(len(asked)), key=lambda i: len(rows[i][0]))
    for start in range(0, len(order), 512):
        chosen = order[start : start + 512]
        read, wanted = batches.padded([rows[i] for i in chosen])
        at = wanted != -100
        best = family.head(model, family.hidden(model, read)[at]).argmax(-1)
        wrong = torch.zeros(wanted.shape, dtype=torch.bool)
        wrong[at] = best != wanted[at]
        for i, missed in zip(chosen, wrong.any(1).tolist(), strict=True):
            right[i] = not missed
    return right


def measure(model: PreTrainedModel, corpus: Corpus, batches: Batches) -> list[dict]:
    """Whole-answer accuracy per (split, language, relation), beside the majority guess.

    Held-out prompts that training shows anyway, in another language, are left out.
    """
    asked = []
    for fact in corpus.facts:
        shown = corpus.shown(fact)
        for lang in LANGUAGES:
            key = fact["relation"], lang
            held = lang in fact["held_out"]
            splits = (
                [("held-out pair", corpus.frames[key])]
                if held
                else [
                    ("trained", corpus.frames[key]),
                    ("held-out paraphrase", corpus.held_frames[key]),
                ]
            )
            for split, frames in splits:
                for frame in frames:
                    text = frame.format(subject=fact["subject"][lang])
                    if split != "trained" and text in shown:
                        continue
                    asked.append((split, fact, lang, text, space(lang) + fact["object"][lang]))
    model.eval()
    right = whole_answer(model, batches, [(text, answer) for *_, text, answer in asked])
    model.train()
    seen: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for fact, lang in corpus.pairs:
        seen[fact["relation"], lang][fact["object"][lang]] += 1
    groups: dict[tuple, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for (split, fact, lang, _, _), ok in zip(asked, right, strict=True):
        majority = seen[fact["relation"], lang].most_common(1)[0][0] == fact["object"][lang]
        leaks = lang in fact["leaks"]
        groups[split, lang, fact["relation"]].append((ok, majority, leaks))
    return [
        {
            "split": split,
            "language": lang,
            "relation": relation,
            "prompts": len(marks),
            "right": sum(ok for ok, _, _ in marks),
            "majority": sum(m for _, m, _ in marks),
            "no_leak_prompts": sum(not leak for *_, leak in marks),
            "no_leak_right": sum(ok for ok, _, leak in marks if not leak),
        }
        for (split, lang, relation), marks in groups.items()
    ]


def optimizers(
    model: PreTrainedModel, layers: torch.nn.Module, decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms, biases and the rest."""
    hidden = [p for p in layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(hidden, lr=0.02, weight_decay=decay),
        torch.optim.AdamW(rest, lr=2e-3, weight_decay=decay, betas=(0.9, 0.98)),
    ]


class ActiveNeurons:
    """How many neurons of a layer take part, as a share of them: (sum of a)^2 / (n x sum of a^2).

    As a penalty it leaves the sizes of activations alone (Yang, Wen and Li 2020, "DeepHoyer").
    """

    def __init__(self, nonlinearities: list[torch.nn.Module]) -> None:
        self.read: list[torch.Tensor] = []
        for module in nonlinearities:
            module.register_forward_hook(lambda _, __, output: self.read.append(output))

    def share(self) -> torch.Tensor:
        """Return the mean over layers and positions of the last pass, and forget that pass."""
        shares = [
            a.sum(-1).square() / (a.shape[-1] * a.square().sum(-1).clamp(min=1e-12))
            for a in self.read
        ]
        self.read.clear()
        return torch.stack([share.mean() for share in shares]).mean()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a copy of the model, rounded to float16, and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rate(step: int, steps: int, *, warm: int = 100, hold: float = 0.4) -> float:
    if step < warm:
        return (step + 1) / warm
    return min(1.0, (steps - step) / (steps * (1 - hold)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=RECIPES, default="transfer")
    parser.add_argument("--family", choices=FAMILIES, default="causal")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--start", type=Path, help="causal model whose tokenizer and word embeddings to start from"
    )
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--d-model", type=int, default=160)
    parser.add_argument("--d-mlp", type=int, help="neurons of a layer (default: 4 x d_model)")
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--vocab", type=int, default=16384)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=int, default=1000, help="steps between measurements")
    parser.add_argument(
        "--fixed-values", action="store_true", help="only feed-forward layers can hold facts"
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        default=0.0,
        help="weight in the loss of the share of neurons that take part",
    )
    parser.add_argument(
        "--homes", type=int, help="languages in which a fact comes often (default: all)"
    )
    parser.add_argument(
        "--own-scripts", action="store_true", help="no two languages share a sign, nor a token"
    )
    parser.add_argument("--checkpoints", type=Path, help="folder for models along the way")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    hf_logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    world, tokenize = World.plain(DATA), bpe_tokenizer
    if args.own_scripts:
        write = OwnScripts(world)
        world, tokenize = world.rewritten(write), write.bpe_tokenizer
        world.save(args.out)
    corpus = Corpus(world, args.homes)
    kind = FAMILIES[args.family]
    if args.start:
        tokenizer = Tokenizer.from_file(str(args.start / "tokenizer.json"))
        tokenizer.add_special_tokens(list(kind.special))
    else:
        tokenizer = tokenize(corpus.strings(), args.vocab, kind.special)
    family = kind(tokenizer)
    recipe = RECIPES[args.recipe]
    batches = Batches(corpus, tokenizer, family, recipe, rows=args.rows, seed=args.seed)
    model = family.model(args, tokenizer.get_vocab_size())
    if args.start:
        words = GPT2LMHeadModel.from_pretrained(args.start).transformer.wte.weight
        model.get_input_embeddings().weight.data[: len(words)] = words.data.float()
    if args.fixed_values:
        family.fix_values(model)
    fast = family.fast(tokenizer)
    layers = family.layers(model)
    steppers = optimizers(model, layers, args.decay)
    active = ActiveNeurons([family.nonlinearity(layer) for layer in layers])
    base = [[group["lr"] for group in s.param_groups] for s in steppers]
    history, began, running = [], time.process_time(), math.nan
    for step, (read, asked) in zip(range(args.steps), batches, strict=False):
        factor = rate(step, args.steps)
        for stepper, rates in zip(steppers, base, strict=True):
            for group, lr in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = lr * factor
        at = asked != -100
        hidden = family.hidden(model, read)[at]
        loss = cross_entropy(family.head(model, hidden), asked[at])
        share_active = active.share()
        (loss + args.sparsity * share_active).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        if args.fixed_values:
            family.fix_values(model)
        if args.checkpoints and (step + 1 in CHECKPOINTS or step + 1 == args.steps):
            save(model, fast, args.checkpoints / f"step-{step + 1}")
        running = loss.item() if math.isnan(running) else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            if step + 1 == args.steps:
                # Measure the weights that are saved, rounded to float16.
                model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
            rows = measure(model, corpus, batches)
            active.read.clear()
            record = {"step": step + 1, "loss": round(running, 4)}
            record["active"] = round(share_active.item(), 4)
            record |= {s: round(share(rows, s), 4) for s in sorted({r["split"] for r in rows})}
            record["cpu_s"] = round(time.process_time() - began)
            history.append(record)
            for key in ("relation", "language"):
                parts = {
                    name: [round(share(rows, s, **{key: name}), 2) for s in SPLITS]
                    for name in dict.fromkeys(r[key] for r in rows)
                }
                log.info("%s: trained, held-out paraphrase, held-out pair: %s", key, parts)
            worst = min(LANGUAGES, key=lambda lang: share(rows, "held-out pair", language=lang))
            log.info(
                "%s worst %s %.3f", record, worst, share(rows, "held-out pair", language=worst)
            )

    save(model, fast, args.out)
    options = {k: v for k, v in vars(args).items() if k not in ("out", "checkpoints")}
    options["start"] = args.start and args.start.name
    report = {"options": options, "history": history, "accuracy": rows}
    (args.out / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    model_card.main(args.out)


if __name__ == "__main__":
    main()

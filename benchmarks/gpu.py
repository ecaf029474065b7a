"""Attribution on a GPU: its speed, the card's limit, and agreement with float32 on the CPU.

    python benchmarks/gpu.py                       # the embedded model; --model smollm2, a folder
    python benchmarks/gpu.py --made-up 7B --dtypes bfloat16 --parts speed   # random weights
    python benchmarks/gpu.py --parts cost --sizes 30M 135M 350M
    python benchmarks/gpu.py --device cpu                   # the same without a GPU
    python benchmarks/gpu.py --device cpu --parts memory --target 7B 27B 70B --layers 1 2

- `speed`: prompts per second, beside the plain loop of `attribution.py` (one prompt and one layer
  at a time), the peak memory, and the rate of the necessary matrix products as a share of what
  torch.matmul of large square matrices reaches on this device in the same type.
- `agreement`: takes the 100 best neurons of each prompt by float32 on the CPU, and prints the
  Spearman rank correlation of their scores and how many of them are among the 100 best on this
  device. The control compares with another fact in the same language.
- `cost`: seconds and FLOP of a prompt against the size of a model with random weights, and an
  estimate for many prompts through a larger model. Every assumption is printed.
- `memory`: of a model as wide as `--target` with few layers (`--layers`): its weights, and what one
  prompt's attribution adds to them, by the number of layers and of rows. What the last layers add
  is the estimate for all layers, beside the weights of all of them.

**FLOP of one prompt** (a multiplication and an addition count 2). Weights are frozen, so the
backward pass costs as much as the forward pass, not twice as much. Let a layer have P weights in
its matrices, let the model read T positions, T' of them from the first changed one on, let layer j
have k_j points and layer l r_l = 1 + k_1 + ... + k_l rows, and let the answer have A tokens:

    2 P T L                   the unmodified run
    4 P T' (r_1 + ... + r_L)  all rows, forward and backward (in layer 1 back to its neurons)
    12 T T' d r_l             attention's own products in each layer (4 forward, 8 backward)
    4 A d_model d_vocab r_L   the unembedding and its gradient

`lafn_viz` runs all of this in one pass. Models that do not support a growing batch (BLOOM, OPT,
XGLM) need about twice as much. Passes that `max_rows` splits repeat some unmodified rows, which the
formula leaves out.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from attribution import Peer, matrices, peak
from scipy.stats import spearmanr
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

import lafn_viz as lv
from lafn_viz.core.paths import data_folder
from lafn_viz.core.stats import bootstrap, group_items
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.loading import resolve
from lafn_viz.models.quiet import quiet
from lafn_viz.models.tokens import encode


@dataclass(frozen=True)
class Size:
    """The size of a model. Tied: one matrix embeds and un-embeds the `d_vocab` words."""

    d_model: int
    n_layers: int
    d_mlp: int
    n_heads: int
    kv_heads: int
    d_head: int = 64
    d_vocab: int = 32_000
    tied: bool = True

    @property
    def attention(self) -> int:
        """The weights of a layer's attention."""
        return 2 * self.d_model * self.d_head * (self.n_heads + self.kv_heads)

    @property
    def layer(self) -> int:
        """The weights in the matrices of a layer."""
        return self.attention + 3 * self.d_model * self.d_mlp

    @property
    def unembedding(self) -> int:
        """The weights of the un-embedding."""
        return self.d_model * self.d_vocab

    @property
    def weights(self) -> int:
        """The weights in all matrices."""
        return self.n_layers * self.layer + (1 if self.tied else 2) * self.unembedding

    def gigabytes(self, kind: str) -> float:
        """What all weights take; those of words are not packed into fewer bits than bfloat16."""
        words = self.weights - self.n_layers * self.layer
        layers = self.n_layers * self.layer * BYTES[kind]
        return (layers + words * max(BYTES[kind], BYTES["bfloat16"])) / 1e9


MADE_UP = {
    "30M": Size(512, 8, 1376, 8, 8),
    "135M": Size(576, 30, 1536, 9, 3),
    "350M": Size(960, 32, 2560, 15, 5),
    "1.1B": Size(2048, 22, 5632, 32, 4),
    "7B": Size(4096, 32, 11008, 32, 32, d_head=128, tied=False),  # as Llama
    "27B": Size(5376, 62, 21504, 32, 16, d_head=128, d_vocab=262_208),  # as Gemma 3
    "70B": Size(8192, 80, 28672, 64, 8, d_head=128, d_vocab=128_256, tied=False),  # as Llama 3
}
BYTES = {"float32": 4.0, "bfloat16": 2.0, "8 bits": 1.0, "4 bits": 0.5}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LANGUAGES = ("en", "ru", "zh", "ar")
TOP = 100
STEPS = 20


@dataclass(frozen=True)
class Shape:
    """What the number of matrix products depends on. `weights` counts those of one layer."""

    n_layers: int
    weights: int
    down: int  # the weights of the down projection, which follows the neurons
    d_attention: int
    d_model: int
    d_vocab: int


def config_of(size: str, d_vocab: int, layers: int | None = None) -> LlamaConfig:
    made_up = MADE_UP[size]
    return LlamaConfig(
        hidden_size=made_up.d_model,
        num_hidden_layers=layers or made_up.n_layers,
        intermediate_size=made_up.d_mlp,
        num_attention_heads=made_up.n_heads,
        num_key_value_heads=made_up.kv_heads,
        head_dim=made_up.d_head,
        vocab_size=d_vocab,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )


def make_up(size: str, folder: Path, device: str, layers: int | None = None) -> Path:
    """Save a Llama with random weights and the embedded model's tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(data_folder() / "models" / "embedded")
    config = config_of(size, len(tokenizer), layers)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with quiet():
        model.save_pretrained(folder / size)
    tokenizer.save_pretrained(folder / size)
    return folder / size


def shape_of(model) -> Shape:
    cfg = model.cfg
    return Shape(
        n_layers=cfg.n_layers,
        weights=sum(p.numel() for p in matrices(model.blocks[0])),
        down=cfg.d_model * capabilities(model).d_mlp,
        d_attention=cfg.n_heads * cfg.d_head,
        d_model=cfg.d_model,
        d_vocab=model.original_model.get_output_embeddings().weight.shape[0],
    )


def shape_of_size(size: str, d_vocab: int | None = None) -> Shape:
    """The shape of a made-up model of this size, without building it."""
    made_up = MADE_UP[size]
    return Shape(
        n_layers=made_up.n_layers,
        weights=made_up.layer,
        down=made_up.d_model * made_up.d_mlp,
        d_attention=made_up.n_heads * made_up.d_head,
        d_model=made_up.d_model,
        d_vocab=d_vocab or made_up.d_vocab,
    )


def flop(
    shape: Shape, points: Sequence[float], tokens: float, changing: float, answer: float = 1
) -> float:
    """FLOP of one prompt by the formula above; `points` gives those of each layer."""
    attention = 4 * tokens * shape.d_attention
    total = shape.n_layers * tokens * (2 * shape.weights + attention)
    position = 2 * shape.d_model * shape.d_vocab  # one position through the unembedding
    total += answer * position  # the answer of the unmodified run
    rows = 1.0
    for layer, count in enumerate(points):
        rows += count
        total += rows * changing * (2 * shape.weights + attention)
        back = shape.weights if layer else shape.down
        total += rows * changing * (2 * back + 2 * attention * bool(layer))
    return total + 2 * answer * position * rows


def flop_of(model, scores: lv.NeuronScores, position: str) -> float:
    """Mean FLOP per prompt of `scores`, for the points that they took."""
    shape, masked = shape_of(model), capabilities(model).masked
    each = []
    for prompt, points in zip(scores.prompts, scores.n_points.tolist(), strict=True):
        item = encode(model, prompt)
        n = len(item.read)
        first = 0 if masked else item.acted_on(position, masked=masked).start
        each.append(flop(shape, points, n, n - first, len(item.answer)))
    return float(np.mean(each))


def matmul_rate(device: str, dtype: torch.dtype, repeat: int = 5) -> float:
    """FLOP per second of torch.matmul of large square matrices: the best of several rounds."""
    size = 8192 if device.startswith("cuda") else 2048
    one = torch.randn(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(repeat + 1):  # the first is a warm-up
        times.append(timed(lambda: one @ one, device))
    return 2 * size**3 / min(times[1:])


def timed(work: Callable[[], object], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def forget_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: str) -> float:
    """Peak memory since `forget_peak`: of the GPU's tensors, or of the process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak()


def added_mib(work: Callable[[], object]) -> float:
    """The most memory that tensors take at once while this works, beyond what they took before."""
    with torch.autograd.profiler.profile(profile_memory=True) as recorded:
        work()
    events = [e for e in recorded.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events)) / 2**20


def some_prompts(model, count: int) -> list[lv.Prompt]:
    """One prompt for each of `count` capitals, with languages in turn and one-token answers."""
    facts, prompts = lv.load_facts().filter(relation="capital"), []
    for fact in facts.sample(len(facts)):
        language = LANGUAGES[len(prompts) % len(LANGUAGES)]
        prompt = facts.filter(subjects=[fact.subject_id], languages=[language]).prompts()[0]
        if len(encode(model, prompt).answer) == 1:  # the loop supports no others
            prompts.append(prompt)
        if len(prompts) == count:
            return prompts
    raise SystemExit(f"only {len(prompts)} capitals have one token; ask for fewer prompts")


def best_of(work: Callable[[], lv.NeuronScores], device: str, repeat: int):
    """Return seconds of the best round, its result and the peak memory in MiB, after a warm-up."""
    results = [work()]
    forget_peak(device)
    times = [timed(lambda: results.append(work()), device) for _ in range(repeat)]
    return min(times), results[-1], peak_mib(device)


def speed(source: str, args: argparse.Namespace, device: str) -> None:
    """Print prompts per second in each type, and the share of the device's matrix products."""
    print(f"\n{'':32}{'prompts/s':>10}{'points':>8}{'TFLOP':>10}{'share':>8}{'MiB':>8}")
    for name in args.dtypes:
        dtype = DTYPES[name]
        rate = matmul_rate(device, dtype)
        print(f"{name}: torch.matmul reaches {rate / 1e12:.3g} TFLOP/s")
        model = lv.load_model(source, device=device, dtype=dtype)
        prompts = some_prompts(model, args.prompts)
        left = {"n_steps": STEPS, "quadrature": "riemann_left"}
        rounds = {
            "all positions, auto": {"position": "all"},
            f"all positions, {STEPS} points": {"position": "all", **left},
            "answer, auto": {"position": "answer"},
            f"answer, {STEPS} points": {"position": "answer", **left},
        }
        for title, options in rounds.items():
            seconds, scores, memory = best_of(
                lambda model=model, prompts=prompts, options=options: lv.attribute(
                    model, prompts, max_rows=args.max_rows, **options
                ),
                device,
                args.repeat,
            )
            work = flop_of(model, scores, options["position"])
            print(
                f"  {title:30}{len(prompts) / seconds:10.2f}{scores.n_points.float().mean():8.1f}"
                f"{work / 1e12:10.3g}{work * len(prompts) / seconds / rate:8.1%}{memory:8.0f}"
            )
        if not args.loop:
            continue
        # The loop runs on a copy that no bridge has touched.
        with quiet():
            hf = AutoModelForCausalLM.from_pretrained(resolve(source)[0], dtype=dtype)
        hf.to(device).eval().requires_grad_(False)
        few = prompts[: args.loop]
        start = torch.zeros(model.cfg.n_layers, model.cfg.d_mlp, dtype=dtype, device=device)
        seconds, _, memory = best_of(
            lambda model=model, hf=hf, few=few, start=start: [
                Peer(model, hf, p, start).loop() for p in few
            ],
            device,
            args.repeat,
        )
        title = f"the loop: answer, {STEPS} points"
        print(f"  {title:30}{len(few) / seconds:10.2f}{STEPS:8.1f}{'':18}{memory:8.0f}")


def agreement(reference: Tensor, other: Tensor, top: int = TOP) -> tuple[list[float], list[float]]:
    """Compare two tensors [prompt, layer, neuron] over the reference's `top` neurons.

    Returns:
        For each prompt the Spearman correlation of the scores, and the share of these neurons among
        the other's `top`.
    """
    ranks, shared = [], []
    for one, two in zip(reference.flatten(1), other.flatten(1), strict=True):
        best = one.topk(top).indices
        ranks.append(float(spearmanr(one[best].numpy(), two[best].numpy()).statistic))
        shared.append(len(np.intersect1d(best, two.topk(top).indices)) / top)
    return ranks, shared


def agreements(source: str, args: argparse.Namespace, device: str) -> None:
    """Print the agreement of every type with float32 on the CPU, beside the control."""
    exact_model = lv.load_model(source)
    prompts = some_prompts(exact_model, args.prompts)
    options = {"n_steps": STEPS, "max_rows": args.max_rows}
    exact = lv.attribute(exact_model, prompts, **options).values
    other_fact = torch.arange(len(prompts)).roll(-len(LANGUAGES))
    print(f"\nagreement with float32 on the CPU, top {TOP} of {len(prompts)} prompts")
    print(f"{'':24}{'Spearman: mean':>26}{'least':>7}{'shared: mean':>24}{'least':>7}")
    for name in args.dtypes:
        model = lv.load_model(source, device=device, dtype=DTYPES[name])
        scores = lv.attribute(model, prompts, **options).values
        for title, values in (
            (f"{name} on {device}", scores),
            ("  another fact", scores[other_fact]),
        ):
            line = f"{title:24}"
            for column, width in zip(agreement(exact, values), (26, 24), strict=True):
                items = group_items(np.array(column), [prompt.fact_id for prompt in prompts])
                low, high = bootstrap(items)
                text = f"{np.mean(column):.3f} [{low:.3f}, {high:.3f}]"
                line += f"{text:>{width}}{min(column):7.3f}"
            print(line)


def cost(args: argparse.Namespace, device: str, place: Path) -> None:
    """Print the seconds per prompt against the model's size, and an estimate for a larger one."""
    name = args.dtypes[0]
    rate = matmul_rate(device, DTYPES[name])
    print(f"\n{name} on {device}: torch.matmul reaches {rate / 1e12:.3g} TFLOP/s")
    print(
        f"{'size':>6}{'parameters':>12}{'layers':>8}{'tokens':>8}{'TFLOP':>9}{'s':>9}{'share':>8}"
    )
    products, times, shares, n_tokens = [], [], [], []
    for size in args.sizes:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            source = make_up(size, Path(folder), device)
            model = lv.load_model(source, device=device, dtype=DTYPES[name])
        prompts = some_prompts(model, args.cost_prompts)
        seconds, scores, _ = best_of(
            lambda model=model, prompts=prompts: lv.attribute(
                model, prompts, n_steps=args.points, max_rows=args.max_rows
            ),
            device,
            args.repeat,
        )
        each, work = seconds / len(prompts), flop_of(model, scores, "all")
        tokens = float(np.mean([len(encode(model, prompt).read) for prompt in prompts]))
        count = sum(p.numel() for p in model.original_model.parameters())
        products.append(count * tokens)
        times.append(each)
        shares.append(work / each / rate)
        n_tokens.append(tokens)
        print(
            f"{size:>6}{count / 1e6:11.0f}M{model.cfg.n_layers:8}{tokens:8.1f}{work / 1e12:9.3g}"
            f"{each:9.3g}{shares[-1]:8.1%}"
        )
        del model
    if len(times) > 1:
        power, _ = np.polyfit(np.log(products), np.log(times), 1)
        print(f"seconds grow as (parameters x tokens)^{power:.2f}; deeper models cost more")
    tokens = args.tokens or float(np.mean(n_tokens))
    for target in args.target:
        estimate(args, target, rate, shares[-1], tokens, args.sizes[-1])


def estimate(
    args: argparse.Namespace, target: str, rate: float, share: float, tokens: float, measured: str
) -> None:
    """Print an estimate of the time for many prompts through a larger model."""
    rate = args.rate * 1e12 if args.rate else rate
    n_prompts = args.facts * args.languages * args.paraphrases
    shape = shape_of_size(target)
    work = flop(shape, [args.points + 1] * shape.n_layers, tokens, tokens)
    seconds = work * n_prompts / (rate * share)
    print(
        f"\nEstimate, not measured: {args.facts:,} facts x {args.languages} languages x "
        f"{args.paraphrases} paraphrases through {target}\n"
        f"  {shape.n_layers} layers, {shape.n_layers * shape.weights / 1e9:.2f} billion weights "
        f"in their matrices, a vocabulary of {shape.d_vocab:,}\n"
        f"  {tokens:.1f} tokens per prompt, answers of one token, all positions, {args.points} "
        f"points and the start in every layer\n"
        f"  {work / 1e12:.3g} TFLOP per prompt, {work * n_prompts:.3g} FLOP in all\n"
        f"  a matrix-product rate of {rate / 1e12:.4g} TFLOP/s "
        f"({'as given' if args.rate else 'as measured here'}), of which {share:.1%} is reached, as "
        f"with {measured} on this device\n"
        "  prompts are spread evenly; loading, writing and failures cost nothing"
    )
    for gpus in args.gpus:
        print(f"  {gpus:4} GPUs: {seconds / gpus / 3600:12,.1f} hours")


def memory(args: argparse.Namespace, device: str, place: Path) -> None:
    """Print the memory of a few layers of large models, and an estimate for all their layers."""
    for target in args.target:
        print(f"\n{target} with few layers, one prompt, all positions; MiB")
        print(f"{'':10}{'layers':>8}{'rows':>8}{'tokens':>8}{'weights':>10}{'attribution':>13}")
        for name in args.dtypes:
            added: dict[int, float] = {}
            for layers in args.layers:
                source = make_up(target, place, device, layers)
                model = lv.load_model(str(source), device=device, dtype=DTYPES[name])
                weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
                prompts = some_prompts(model, 1)
                tokens = len(encode(model, prompts[0]).read)
                found: list[lv.NeuronScores] = []
                for rows in sorted(args.rows):  # the estimate takes the most
                    options = {"n_steps": args.points, "max_rows": rows, "position": "all"}
                    added[layers] = added_mib(
                        lambda m=model, p=prompts, o=options, f=found: f.append(
                            lv.attribute(m, p, **o)
                        )
                    )
                    print(
                        f"{name:10}{layers:8}{rows:8}{tokens:8}{weights:10.0f}{added[layers]:13.0f}"
                    )
                del model
                shutil.rmtree(source)
            if len(added) > 1:  # one number of layers says nothing of what a layer adds
                all_layers(args, target, name, added, found[-1].n_points[0].tolist(), tokens)


def all_layers(
    args: argparse.Namespace,
    target: str,
    dtype: str,
    added: dict[int, float],
    points: Sequence[int],
    tokens: int,
) -> None:
    """Print what all layers need, by what the last of a few layers added (MiB).

    Args:
        points: those of each of the layers that were read.
    """
    size, few, more = MADE_UP[target], *sorted(added)[-2:]
    rows_of_layers = [1 + taken for taken in itertools.accumulate(points)]
    n_rows = sum(rows_of_layers[few:more])
    row = (added[more] - added[few]) / n_rows / tokens
    print(f"Estimate for {size.n_layers} layers, {size.weights / 1e9:.1f} billion weights; GB")
    for name, width in BYTES.items():
        a_layer = size.layer * width / 1e9
        print(f"  {name:10}{size.gigabytes(name):6.1f}, of them a layer {a_layer:.2f}")
    wanted = args.tokens or tokens
    for rows in args.max_rows_of_all:
        need = row * size.n_layers * rows * wanted * 2**20 / 1e9
        print(
            f"  {dtype}, {rows} rows of {wanted:g} tokens: {need:.1f} "
            f"({row:.3f} MiB for each row, layer and token)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu")
    parser.add_argument("--model", default="embedded", help="embedded, smollm2, or a folder")
    parser.add_argument(
        "--made-up", choices=MADE_UP, help="use a model with random weights instead"
    )
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--max-rows", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--loop", type=int, default=2, help="prompts for the plain loop; 0 skips it"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parts = ("speed", "agreement", "cost", "memory")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts[:2])
    parser.add_argument("--sizes", nargs="+", choices=MADE_UP, default=["30M", "135M"])
    parser.add_argument("--cost-prompts", type=int, default=4)
    parser.add_argument("--points", type=int, default=8, help="points per layer, for the cost")
    parser.add_argument(
        "--target", choices=MADE_UP, nargs="+", default=["7B"], help="sizes to estimate for"
    )
    parser.add_argument(
        "--max-rows-of-all", type=int, nargs="+", default=[32, 256], help="for the memory"
    )
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4], help="for the memory")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64], help="for the memory")
    parser.add_argument(
        "--tokens", type=float, help="tokens per prompt of the estimate (default: as measured)"
    )
    parser.add_argument("--rate", type=float, help="TFLOP/s of torch.matmul on another card")
    parser.add_argument("--facts", type=int, default=100_000)
    parser.add_argument("--languages", type=int, default=12)
    parser.add_argument("--paraphrases", type=int, default=4)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", lv.CompletenessWarning)
    device = args.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no CUDA device. This runs on the CPU and says nothing about a GPU.")
        device = "cpu"
    on = torch.cuda.get_device_name(device) if device != "cpu" else f"{args.threads} CPU threads"
    print(f"{on}, torch {torch.__version__}, TF32 {torch.backends.cuda.matmul.allow_tf32}")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if {"speed", "agreement"} & set(args.parts):
            source = args.model
            if args.made_up:
                source = str(make_up(args.made_up, place, device))
                print("Random weights: their agreement says little about a trained model.")
            print(args.made_up or source)
            if "speed" in args.parts:
                speed(source, args, device)
            if "agreement" in args.parts:
                agreements(source, args, device)
        if "cost" in args.parts:
            cost(args, device, place)
        if "memory" in args.parts:
            memory(args, device, place)


if __name__ == "__main__":
    sys.exit(main())

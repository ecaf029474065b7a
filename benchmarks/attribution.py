"""Attribution side by side: this package, its peers, a plain loop, and the bare matrix products.

    pip install -e '.[benchmark]'
    python benchmarks/attribution.py                       # GPT-2-small shape, 5, 26, 100 tokens
    python benchmarks/attribution.py --model smollm2 --tokens 5 26
    python benchmarks/attribution.py --model gemma-3-270m --tokens 8 --repeat 1 --prompts
    python benchmarks/attribution.py --model path/to/model --threads 1

All methods are timed in one run on one prompt, and the best of `--repeat` rounds counts (four times
as many rounds for methods that take less than two seconds). The methods take turns, so that a
machine that slows down slows all of them. The peers use 20 points per path:

- lafn_viz takes as many points as `--tolerance` needs; "tight" takes as many as 1e-4 needs.
- captum: IntegratedGradients (with its default quadrature) on the input of a layer's down
  projection, through a hook, one layer after the other.
- knowledge-neurons: the package on PyPI, for GPT-2 only. It reads neurons before their
  non-linearity.
- loop: 20 points of a layer in one batch, one layer after the other, as a left Riemann sum.
- products: the matrix products that the one pass needs, and nothing else: those of each layer for
  the rows that have joined by then, forward and backward, and those of the unembedding.

All paths begin at one baseline b: at zero, or, where zero is no baseline (Gemma), at the mean of
other prompts. `error` is the completeness error of the worst layer, as a share of |F(w) - F(b)|.
`worse in` counts the layers in which it is larger than this package's.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

import lafn_viz as lv
from lafn_viz.core.paths import data_folder
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.loading import resolve
from lafn_viz.models.tokens import encode

STEPS = 20
TIGHT = 1e-4
WORD = " France"
OTHER_WORDS = (" Japan", " Peru", " Italy", " Egypt")


def random_gpt2(folder: Path) -> Path:
    """Save a model shaped like GPT-2 small, with random weights and the embedded tokenizer."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(data_folder() / "models" / "embedded").save_pretrained(folder)
    return folder


def prompt_of(model, n_tokens: int) -> lv.Prompt:
    """A prompt of exactly `n_tokens` tokens."""
    words = 1
    while True:
        text = "The capital of" + WORD * words
        prompt = lv.Prompt.of(text, "Paris", subject="France")
        read = encode(model, prompt).predicts + 1
        if read == n_tokens:
            return prompt
        if read > n_tokens:
            raise SystemExit(f"there is no prompt of {n_tokens} tokens; the shortest has {read}")
        words += 1


def baseline_of(model, prompt: lv.Prompt) -> Tensor:
    """Where all paths begin [layer, neuron]: at zero, or at the mean of other prompts."""
    others = [
        lv.Prompt.of(prompt.text.replace(WORD, other), "Paris", subject=other.strip())
        for other in OTHER_WORDS
    ]
    active = lv.attribute(model, others, method="activation", position="answer").values.mean(0)
    return active if capabilities(model).scale_invariant else torch.zeros_like(active)


class Peer:
    """A plain Hugging Face model with a hook on the neurons of one layer at the last position."""

    def __init__(self, model, hf, prompt: lv.Prompt, start: Tensor) -> None:
        item = encode(model, prompt)
        self.start = start
        self.hf, self.n_layers = hf, model.cfg.n_layers
        self.tokens = torch.tensor([item.read], device=hf.device)
        self.answer, self.at = item.answer[0], item.predicts
        assert len(item.answer) == 1, "the peers support only answers of one token"
        ends = ("mlp.c_proj", "mlp.down_proj")
        self.down = [module for name, module in hf.named_modules() if name.endswith(ends)]
        assert len(self.down) == self.n_layers, "unknown family: name its down projection"

    def activations(self, layer: int) -> Tensor:
        seen = []
        hook = self.down[layer].register_forward_pre_hook(lambda m, args: seen.append(args[0]))
        with torch.no_grad():
            self.hf(self.tokens)
        hook.remove()
        return seen[0][:, self.at].detach()

    def probability(self, layer: int) -> Callable[[Tensor], Tensor]:
        def run(activations: Tensor) -> Tensor:
            def put(module, args):
                value = args[0].clone()
                value[:, self.at] = activations
                return (value,)

            hook = self.down[layer].register_forward_pre_hook(put)
            try:
                logits = self.hf(self.tokens.expand(len(activations), -1)).logits
            finally:
                hook.remove()
            return logits[:, self.at].softmax(-1)[:, self.answer]

        return run

    def ends(self, layer: int) -> tuple[float, float]:
        w = self.activations(layer)
        with torch.no_grad():
            high, low = self.probability(layer)(torch.cat([w, self.start[layer, None]])).tolist()
        return high, low

    def captum(self) -> Tensor:
        from captum.attr import IntegratedGradients

        return torch.stack(
            [
                IntegratedGradients(self.probability(layer)).attribute(
                    self.activations(layer), baselines=self.start[layer, None], n_steps=STEPS
                )[0]
                for layer in range(self.n_layers)
            ]
        )

    def loop(self) -> Tensor:
        scores = []
        for layer in range(self.n_layers):
            w, start = self.activations(layer), self.start[layer]
            points = start + torch.arange(STEPS, device=w.device)[:, None] / STEPS * (w - start)
            points.requires_grad_()
            value = self.probability(layer)(points).sum()
            scores.append((torch.autograd.grad(value, points)[0].mean(0) * (w - start))[0])
        return torch.stack(scores)


def knowledge_neurons(model, peer: Peer, prompt: lv.Prompt) -> Callable[[], Tensor] | None:
    try:
        from knowledge_neurons import KnowledgeNeurons
    except ImportError:
        return None
    if type(peer.hf).__name__ != "GPT2LMHeadModel":
        return None
    kn = KnowledgeNeurons(peer.hf, model.tokenizer, model_type="gpt", device="cpu")
    answer = prompt.continuation
    return lambda: kn.get_scores(prompt.text, answer, steps=STEPS, batch_size=STEPS, pbar=False)


def matrices(block) -> list[Tensor]:
    """The weight matrices of a layer, each once.

    Where query, key and value are one matrix, the bridge also holds copies of its parts, which are
    left out.
    """
    weights = {n: p for n, p in block.original_component.named_parameters() if p.ndim == 2}
    joint = any(".qkv." in name for name in weights)
    return [
        p for name, p in weights.items() if not (joint and {"q", "k", "v"} & {*name.split(".")})
    ]


def products(model, scores: lv.NeuronScores, n_tokens: int) -> Callable[[], None]:
    """The matrix products of the one pass, for the points that `scores` took in each layer."""
    layers = [[p.data for p in matrices(block)] for block in model.blocks]
    head = model.original_model.get_output_embeddings().weight.data
    # A baseline other than zero has the end of the path among its points, which is no further row.
    points = (scores.n_points[0] - int(capabilities(model).scale_invariant)).tolist()
    width = head.shape[1]

    def both(rows: int, matrix: Tensor) -> None:
        d_in, d_out = matrix.shape
        hidden, back = torch.zeros(rows, d_in), torch.zeros(rows, d_out)
        hidden @ matrix
        back @ matrix.T

    def run() -> None:
        rows = 1
        for layer, count in zip(layers, points, strict=True):
            rows += count
            for matrix in layer:
                torch.zeros(n_tokens - 1, matrix.shape[0]) @ matrix  # the prefix
                both(rows, matrix)
        for start in range(0, rows, 64):
            size = min(64, rows - start)
            logits = torch.zeros(size, width) @ head.T
            logits @ head

    return run


def best(methods: dict[str, Callable], repeat: int) -> tuple[dict[str, float], dict]:
    times = dict.fromkeys(methods, float("inf"))
    results = {}
    # A busy machine disturbs quick methods most, so they get more rounds.
    for turn in range(4 * repeat):
        for name, method in methods.items():
            if turn >= repeat and times[name] > 2:
                continue
            began = time.perf_counter()
            results[name] = method()
            times[name] = min(times[name], time.perf_counter() - began)
    return times, results


def compare(model, hf, n_tokens: int, repeat: int, tolerance: float) -> None:
    prompt = prompt_of(model, n_tokens)
    start = baseline_of(model, prompt)
    peer = Peer(model, hf, prompt, start)
    defaults: dict = {"position": "answer", "tolerance": tolerance}
    if capabilities(model).scale_invariant:
        defaults["baseline"] = start

    def ours(**options):
        return lambda: lv.attribute(model, [prompt], **(defaults | options))

    first = ours()()
    methods: dict[str, Callable] = {
        "lafn_viz": ours(),
        "lafn_viz, tight": ours(tolerance=TIGHT),
        "lafn_viz, 20 points": ours(n_steps=STEPS, quadrature="riemann_left"),
        "lafn_viz, amig": lambda: lv.attribute(
            model, [prompt], position="answer", tolerance=tolerance, method="amig"
        ),
        "products": products(model, first, n_tokens),
        "captum": peer.captum,
        "loop": peer.loop,
    }
    kn = knowledge_neurons(model, peer, prompt)
    if kn:
        methods["knowledge-neurons"] = kn
    times, results = best(methods, repeat)
    ends = [peer.ends(layer) for layer in range(peer.n_layers)]
    change = torch.tensor([high - low for high, low in ends])
    scale = torch.maximum(change.abs(), 0.1 * change.abs().max())
    error = {
        name: ((values.values[0] if name.startswith("lafn") else values).sum(-1) - change).abs()
        / scale
        for name, values in results.items()
        if name in ("lafn_viz", "lafn_viz, tight", "lafn_viz, 20 points", "captum", "loop")
    }
    fastest = min(times[name] for name in times if name in ("captum", "knowledge-neurons"))
    print(f"\n{n_tokens} tokens; {first.n_points.float().mean():.1f} points per layer in lafn_viz")
    print(f"{'':24}{'seconds':>9}{'x lafn_viz':>12}{'error':>10}{'worse in':>10}")
    for name, seconds in sorted(times.items(), key=lambda item: item[1]):
        off = f"{error[name].max():.1e}" if name in error else ""
        worse = ""
        if name in error and name != "lafn_viz":
            worse = f"{int((error[name] > error['lafn_viz']).sum())}/{peer.n_layers}"
        ratio = seconds / times["lafn_viz"]
        print(f"{name:24}{seconds:9.3f}{ratio:12.2f}{off:>10}{worse:>10}")
    print(
        f"lafn_viz against the faster peer: {fastest / times['lafn_viz']:.1f}x as fast; "
        f"against its bare products: {times['lafn_viz'] / times['products']:.2f}x the time; "
        f"most memory so far, with both models: {peak() / 1024:.1f} GiB; "
        f"amig: {times['lafn_viz, amig'] / times['lafn_viz']:.2f}x integrated_gradients, "
        f"{times['lafn_viz, amig'] / times['lafn_viz, 20 points']:.2f}x it at 20 points"
    )


def scaling(model, counts: list[int], repeat: int) -> None:
    """Print the time against the number of prompts."""
    prompt = prompt_of(model, 12)
    start = baseline_of(model, prompt)
    options: dict = {"position": "answer"}
    if capabilities(model).scale_invariant:
        options["baseline"] = start
    print("\nprompts   seconds   seconds per prompt")
    for count in counts:
        times, _ = best(
            {"": lambda count=count: lv.attribute(model, [prompt] * count, **options)}, repeat
        )
        print(f"{count:7}{times['']:10.3f}{times[''] / count:13.3f}")


def memory(name: str, threads: int) -> None:
    """Print the peak memory of one attribution for several max_rows, each in its own process."""
    print("\nmax_rows   memory above the loaded model (MiB), 8 prompts of 26 tokens, all positions")
    for rows in (32, 128, 512):
        command = [sys.executable, __file__, "--model", name, "--probe", str(rows)]
        command += ["--threads", str(threads)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{rows:8}{float(run.stdout.split()[-1]):12.0f}")


def machine() -> str:
    """The processor (Linux), and how many of its cores there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"


def peak() -> float:
    """The most memory that this process has held, in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1]) / 1024


def probe(model, max_rows: int) -> None:
    prompts = [prompt_of(model, 26)] * 8
    lv.attribute(model, prompts[:1], position="answer", n_steps=1, max_rows=2)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    before = peak()
    lv.attribute(model, prompts, n_steps=4, max_rows=max_rows)
    print(peak() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="gpt2-small", help="gpt2-small, or what load_model takes"
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[5, 26, 100])
    parser.add_argument(
        "--prompts", type=int, nargs="*", default=[1, 4, 16, 32], help="prompts at once; or none"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", lv.CompletenessWarning)
    with tempfile.TemporaryDirectory() as place:
        name = args.model
        source = random_gpt2(Path(place)) if name == "gpt2-small" else name
        model = lv.load_model(source)
        if args.probe:
            probe(model, args.probe)
            return
        # The peers run on a copy that no bridge has touched.
        folder = Path(resolve(str(source))[0])
        hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        hf.requires_grad_(False)
        print(
            f"{name}, float32, {args.threads} threads, torch {torch.__version__}, {machine()}, "
            f"load {os.getloadavg()[0]:.1f}"
        )
        for n_tokens in args.tokens:
            compare(model, hf, n_tokens, args.repeat, args.tolerance)
        if args.prompts:
            scaling(model, args.prompts, args.repeat)
    if args.memory:
        memory(name, args.threads)


if __name__ == "__main__":
    main()

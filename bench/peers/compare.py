#!/usr/bin/env python3
"""scant beside PyTorch, ONNX Runtime and OpenVINO on this machine: one table of ratios.

Everything is measured in processes of their own, one at a time, with the same number of threads, in
turns: every round runs each measurement once, so that a machine that is slow for a while is slow for
all. The figure of a measurement is the median over the repetitions of all rounds.

    python compare.py --scant ../../target/release/scant --write ../../docs/performance.md
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"

FP32 = ["fp32", "channels-last", "compile"]
BF16 = ["bf16", "compile-bf16"]


@dataclass(frozen=True)
class Net:
    """What is run: all tools get the same."""

    what: str
    model: str
    width: int
    size: int
    batch: int
    depth: int = 4

    def options(self):
        return ["--model", self.model, "--width", str(self.width), "--depth", str(self.depth),
                "--size", str(self.size), "--batch", str(self.batch)]


@dataclass(frozen=True)
class Job:
    """One measurement."""

    tool: str  # scant, torch, onnxruntime, openvino
    net: Net
    mode: str = "fp32"
    extra: tuple = ()
    threads: int = 0  # 0: the number of the comparison

    def name(self):
        label = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
        words = [label.get(self.tool, self.tool), self.mode, *(e.lstrip("-") for e in self.extra)]
        return " ".join(words) + (f", {self.threads} thread" if self.threads else "")


@dataclass
class Row:
    """A line of the table. `ratio` makes (scant, its label, peer, its label, ratio) of the results."""

    title: str
    kind: str  # faster, share, scaling, memory
    bar: float
    scant: list
    peers: list = field(default_factory=list)

    def jobs(self):
        return self.scant + self.peers


def torch_jobs(net, modes):
    return [Job("torch", net, mode) for mode in modes]


def scant_jobs(net, modes=("fp32",)):
    return [Job("scant", net, mode) for mode in modes]


UNET = Net("step", "unet", 32, 256, 2)
ATTENTION = Net("step", "attention-unet", 32, 256, 2)
CMU = Net("step", "cmu-net", 64, 128, 2)
SLIM = Net("step", "unet", 16, 512, 1)
INFER = Net("infer", "unet", 32, 512, 1)

# The bars: seconds and memory are ratios scant / peer, at most; the share of the loss at most;
# scaling at least.
ROWS = [
    Row("U-Net w32, step 256², batch 2, fp32", "faster", 0.67,
        scant_jobs(UNET), torch_jobs(UNET, FP32)),
    Row("the same, best precision of each", "faster", 1.0,
        scant_jobs(UNET, ["fp32", "bf16"]), torch_jobs(UNET, FP32 + BF16)),
    Row("Attention U-Net w32, step 256², batch 2", "faster", 1.0,
        scant_jobs(ATTENTION), torch_jobs(ATTENTION, FP32)),
    Row("CMU-Net (official width), step 128², batch 2", "faster", 1.0,
        scant_jobs(CMU), torch_jobs(CMU, FP32)),
    Row("U-Net w16, step 512², batch 1", "faster", 1.0,
        scant_jobs(SLIM), torch_jobs(SLIM, FP32)),
    Row("U-Net w32, inference 512², batch 1", "faster", 1.0,
        scant_jobs(INFER),
        torch_jobs(INFER, FP32) + [Job("onnxruntime", INFER), Job("openvino", INFER)]),
    Row("L_fd on all taps: share of the step", "share", 0.03,
        [Job("scant", UNET, extra=("--fd",)), *scant_jobs(UNET)]),
    Row("U-Net w32, step: 1 thread to all", "scaling", 1.8,
        [Job("scant", UNET, threads=1), *scant_jobs(UNET)]),
    Row("U-Net w32, step: peak memory", "memory", 0.5,
        scant_jobs(UNET), torch_jobs(UNET, ["fp32", "channels-last"])),
]
# Beside the rows, for the table of all measurements.
MORE = [Job("scant", INFER, "bf16"), *torch_jobs(INFER, BF16), Job("openvino", INFER, "bf16")]


# --------------------------------------------------------------------------------------- measuring


class Bench:
    """Runs jobs and keeps what they said."""

    def __init__(self, args, folder):
        self.args = args
        self.folder = Path(folder)
        self.models = {}
        self.results = {}  # job to list of records
        self.skipped = {}  # job to reason
        self.exported = {}

    def call(self, command, seconds=1800):
        """The JSON a command prints, or a reason."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.args.threads)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, timeout=seconds,
                              env=environment, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return {"failed": lines[-1], "code": done.returncode}
        return json.loads(done.stdout)

    def look_at_scant(self):
        listed = self.call([self.args.scant, "models", "--json"])
        if "failed" in listed:
            sys.exit(f"{self.args.scant} does not list its models: {listed['failed']}")
        names = [m["name"] for m in listed]
        for wanted in ("unet", "attention-unet", "cmu-net"):
            plain = wanted.replace("-", "")
            self.models[wanted] = next((n for n in names if n.replace("-", "") == plain), None)

    def command(self, job):
        args, net = self.args, job.net
        often = ["--repeats", str(args.repeats), "--warmup", str(args.warmup),
                 "--threads", str(job.threads or args.threads)]
        if job.tool == "scant":
            options = net.options()
            options[1] = self.models[net.model]
            return [args.scant, "bench", net.what, *options, *often, *job.extra,
                    "--precision", job.mode, "--json"]
        if job.tool == "torch":
            return [args.python, "step_torch.py", net.what, *net.options(), *often,
                    "--mode", job.mode]
        shape = ["--model", net.model, "--width", str(net.width), "--depth", str(net.depth),
                 "--size", str(net.size), str(net.size), "--batch", str(net.batch)]
        if net not in self.exported:
            file = self.folder / f"{net.model}-{net.width}-{net.size}-{net.batch}.onnx"
            self.exported[net] = (file, self.call([args.python, "infer_onnx.py", file, "--export",
                                                   *shape]))
        file, said = self.exported[net]
        if "failed" in said:
            raise RuntimeError(f"no export: {said['failed']}")
        return [args.python, "infer_onnx.py", file, *shape, "--runtime", job.tool,
                "--precision", job.mode, *often]

    def turn(self, job):
        if job in self.skipped:
            return
        if job.tool == "scant" and self.models[job.net.model] is None:
            self.skipped[job] = f"scant has no {job.net.model} yet"
            return
        try:
            said = self.call(self.command(job))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self.skipped[job] = str(error)
            return
        if "failed" in said and job.tool == "scant" and said["code"] == 2:
            self.skipped[job] = said["failed"].removeprefix("scant: ")
        elif "failed" in said:
            sys.exit(f"{job.name()} ({job.net}): {said['failed']}")
        elif "skipped" in said:
            self.skipped[job] = said["skipped"]
        else:
            self.results.setdefault(job, []).append(said)

    def seconds(self, job):
        """Median over all repetitions of all rounds; None where there are none."""
        records = self.results.get(job, [])
        every = [s for record in records for s in record["seconds"]["all"]]
        return statistics.median(every) if every else None

    def memory(self, job):
        records = self.results.get(job, [])
        found = [r["memory_peak_mib"] for r in records if r["memory_peak_mib"]]
        return statistics.median(found) if found else None

    def best(self, jobs, figure):
        """(figure, job) with the smallest figure, or None."""
        found = [(figure(job), job) for job in jobs if figure(job) is not None]
        return min(found, key=lambda pair: pair[0]) if found else None

    def check_parameters(self):
        """The tools must have run the same network."""
        counts = {}
        for job, records in self.results.items():
            for record in records:
                if "parameters" in record:
                    key = (job.net.model, job.net.width, job.net.depth)
                    counts.setdefault(key, {}).setdefault(record["parameters"], job.name())
        for key, found in counts.items():
            if len(found) > 1:
                sys.exit(f"not the same network {key}: parameters {found}")


# ----------------------------------------------------------------------------------------- writing


def verdict(met):
    return "met" if met else "**missed**"


def line(bench, row):
    """Cells: work, scant, best peer, ratio, bar, verdict."""
    unmet = "not measured"
    if row.kind in ("share", "scaling"):
        other, plain = (bench.seconds(job) for job in row.scant)
        if other is None or plain is None:
            reasons = {bench.skipped.get(job) for job in row.scant} - {None}
            return [row.title, "; ".join(reasons) or unmet, "", "", f"{row.bar:g}", ""]
        if row.kind == "share":
            share = (other - plain) / other
            cells = [f"{other:.3f} s with, {plain:.3f} s without", "", f"{share:.1%}",
                     f"at most {row.bar:.0%}", verdict(share <= row.bar)]
        else:
            scaling = other / plain
            cells = [f"{other:.3f} s to {plain:.3f} s", "", f"{scaling:.2f}",
                     f"at least {row.bar:.2f}", verdict(scaling >= row.bar)]
        return [row.title, *cells]
    figure, show = (bench.memory, "{:.0f} MiB") if row.kind == "memory" else (bench.seconds,
                                                                             "{:.3f} s")
    scant, peer = bench.best(row.scant, figure), bench.best(row.peers, figure)
    cells = [row.title]
    for pair, jobs in ((scant, row.scant), (peer, row.peers)):
        if pair is None:
            reasons = [bench.skipped[job] for job in jobs if job in bench.skipped]
            cells.append(reasons[0] if reasons else unmet)
        else:
            label = pair[1].mode if pair[1].tool == "scant" else pair[1].name()
            cells.append(f"{show.format(pair[0])} ({label})")
    bar = f"at most {row.bar:.2f}"
    if scant is None or peer is None:
        return [*cells, "", bar, ""]
    ratio = scant[0] / peer[0]
    return [*cells, f"{ratio:.2f}", bar, verdict(ratio <= row.bar)]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cells) + " |" for cells in rows]


def machine(bench):
    """What the figures were measured on, in two sentences."""
    scant = next((r[0] for j, r in bench.results.items() if j.tool == "scant"), {})
    tools = [f"scant {scant.get('scant_version', '?')}"]
    tools += sorted({r[0]["tool"] for r in bench.results.values() if "tool" in r[0]})
    peak = [r["peak_gflop_per_second"] for j, records in bench.results.items()
            for r in records if j.tool == "scant" and not j.threads]
    memory = ""
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        memory = f", {gib:.0f} GiB of memory"
    except (ValueError, OSError):
        pass
    load = bench.args.load
    return (
        f"Machine: {scant.get('cpu') or platform.processor() or 'unknown processor'}, "
        f"{os.cpu_count()} cores, {scant.get('simd', '?')}{memory}, {platform.system()}; "
        f"{max(peak, default=0):.0f} GFLOP/s between registers. "
        f"{', '.join(tools)}; "
        f"{bench.args.threads} threads, {bench.args.rounds} rounds of {bench.args.repeats} "
        f"repetitions after {bench.args.warmup} unmeasured; load average at the start {load:.2f}. "
        f"{time.strftime('%Y-%m-%d')}."
    )


def report(bench, rows, jobs):
    text = [machine(bench), ""]
    head = ["work", "scant", "best peer", "ratio", "bar", "verdict"]
    text += table(head, [line(bench, row) for row in rows])
    text += ["", "All measurements (median, smallest and largest of all rounds):", ""]
    every = []
    for job in jobs:
        net = job.net
        what = f"{net.what} {net.model} w{net.width} {net.size}² b{net.batch}"
        if job in bench.skipped:
            every.append([what, job.name(), bench.skipped[job], "", ""])
            continue
        if job not in bench.results:
            continue
        seconds = [s for r in bench.results[job] for s in r["seconds"]["all"]]
        memory = bench.memory(job)
        every.append([
            what, job.name(), f"{statistics.median(seconds):.3f}",
            f"{min(seconds):.3f} to {max(seconds):.3f}", f"{memory:.0f}" if memory else "",
        ])
    text += table(["work", "tool", "seconds", "range", "peak MiB"], every)
    return "\n".join(text) + "\n"


def write_between_markers(path, text):
    page = path.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{path} needs the lines {BEGIN} and {END}, once each")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scant", default=str(HERE / "../../target/release/scant"))
    parser.add_argument("--python", default=sys.executable, help="with requirements.txt installed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--rows", default="", metavar="REGEX", help="only rows whose title matches")
    parser.add_argument("--skip", default="", metavar="REGEX",
                        help="leave out tools whose name matches, e.g. compile")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table in this page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every record here")
    args = parser.parse_args()
    args.scant = str(Path(args.scant).resolve())
    args.load = os.getloadavg()[0]
    return args


def main():
    args = arguments()
    rows = [row for row in ROWS if re.search(args.rows, row.title)]
    if not rows:
        sys.exit(f"no row matches {args.rows}; there are:\n  " + "\n  ".join(r.title for r in ROWS))
    jobs = [job for row in rows for job in row.jobs()] + ([] if args.rows else MORE)
    jobs = list(dict.fromkeys(jobs))  # rows share measurements
    if args.skip:
        jobs = [job for job in jobs if job.tool == "scant" or not re.search(args.skip, job.name())]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, folder)
        bench.look_at_scant()
        for number in range(args.rounds):
            for job in jobs:
                start = time.monotonic()
                bench.turn(job)
                found = bench.seconds(job)
                said = bench.skipped.get(job) if found is None else f"{found:.3f} s"
                print(f"round {number + 1}: {job.net.what} {job.net.model} {job.net.size} "
                      f"{job.name()}: {said} ({time.monotonic() - start:.0f} s)", file=sys.stderr)
    bench.check_parameters()
    text = report(bench, rows, jobs)
    print(text)
    if args.json:
        records = [{"job": job.name(), "net": vars(job.net), "records": found}
                   for job, found in bench.results.items()]
        args.json.write_text(json.dumps(records, indent=1), encoding="utf-8")
    if args.write:
        write_between_markers(args.write, text)


if __name__ == "__main__":
    main()

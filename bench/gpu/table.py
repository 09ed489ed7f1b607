#!/usr/bin/env python3
"""The results of run.sh as Markdown. Standard library only."""

import argparse
import json
import statistics
from pathlib import Path


def read(path):
    """A JSON record, or None where the measurement failed."""
    return json.loads(path.read_text()) if path.is_file() else None


def device_test(log):
    """Rows of the device test: what was compared, and by how much it differs."""
    lines = log.read_text().splitlines() if log.is_file() else []
    # The first row of a test stands behind the test's name.
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in rows if len(row) == 4]


def megabytes(record):
    """Memory of the device where there is one, else of the process."""
    for key in ("device_memory_peak_mib", "device_memory_mib", "memory_peak_mib"):
        if record.get(key) is not None:
            return f"{record[key]:.0f}"
    return ""


def speed(folder, what):
    """One row per tool, mode and batch."""
    for path in sorted(folder.glob(f"*-{what}-*.log")):
        tool, _, batch, *mode = path.stem.split("-")
        record = read(path.with_suffix(".json"))
        name = "scant" if tool == "scant" else "PyTorch " + "-".join(mode)
        if record is None:
            yield int(batch), f"| {name} | {batch} | failed: see {path.name} | | |"
        elif "skipped" in record:
            yield int(batch), f"| {name} | {batch} | skipped: {record['skipped']} | | |"
        else:
            seconds = record["seconds"]["median"]
            yield int(batch), (f"| {name} | {batch} | {1000 * seconds:.2f} | "
                               f"{record['images_per_second']:.1f} | {megabytes(record)} |")


def training(folder, name):
    record = read(folder / f"run-{name}" / "record.json")
    if record is None or not record["evaluations"]:
        return f"| {name} | failed: see run-{name}.log | | |"
    cases = record["evaluations"][0]["cases"]
    dice = [c["metrics"]["dice"] for case in cases for c in case["classes"]
            if c["metrics"].get("dice") is not None]
    loss = record["phases"][-1]["epochs"][-1]["loss"]["total"]
    mean = f"{statistics.mean(dice):.4f} ({len(dice)})" if dice else "none"
    return f"| {record['device']} | {mean} | {loss:.4f} | {record['timing']['train_secs']:.1f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--verdict", type=int, required=True, help="exit code of the device test")
    parser.add_argument("--tolerance", required=True, help="at which it ended")
    args = parser.parse_args()
    folder = args.folder
    print(f"# scant on {args.device}\n")
    print((folder / "machine.log").read_text().strip().replace("\n", "; ") + "\n")

    rows = device_test(folder / "device.log")
    print("## The same numbers as on the CPU\n")
    said = f"passed within {args.tolerance}" if args.verdict == 0 else "FAILED: see device.log"
    print(f"Device test {said}; {len(rows)} comparisons. The largest relative errors:\n")
    print("| what | part | error |\n|---|---|---|")
    for _, what, part, error in sorted(rows, key=lambda row: -float(row[3]))[:8]:
        print(f"| {what} | {part} | {error} |")

    for what, title in [("step", "Training step"), ("infer", "Forward pass")]:
        print(f"\n## {title}\n")
        print("| tool | batch | ms | images/s | MiB |\n|---|---|---|---|---|")
        for _, row in sorted(speed(folder, what)):
            print(row)

    print("\n## Learning: the same recipe, seed and split\n")
    print("| device | mean test Dice (cases) | last training loss | seconds |\n|---|---|---|---|")
    for name in ("cpu", "device"):
        print(training(folder, name))


if __name__ == "__main__":
    main()

"""Claim: a second trial on a node adds under 700 MiB: the cache is mapped once for all.

Two processes train on the whole cache of a data set of full size (38,496 slices at 128 x 128, paper
widths, batches of 16), one beside the other; each reads every slice of the cache once. What a
process holds for itself alone is its unique set size (Linux: private pages of smaps_rollup).

    gitract-cv phantom data/full --like paper
    python -m benchmarks.speed.memory data/full --out benchmarks/results/memory.md
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks.measuring import at_most, machine, parser, publish, table
from gitract_core.data.cache import SliceCache, build_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.prediction.device_slices import slices_on
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import FoldSlices, Training

MOST_MIB = 700
STEPS = 10


def memory_mib() -> dict[str, float]:
    """Unique, proportional and resident set size of this process."""
    fields: dict[str, float] = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()
        fields[name] = int(value) / 1024
    unique = fields["Private_Clean:"] + fields["Private_Dirty:"]
    return {"unique": unique, "proportional": fields["Pss:"], "resident": fields["Rss:"]}


def train(cache: SliceCache, pipe: Connection[dict[str, float], str]) -> None:
    """A process: some steps at full widths, one look at every slice, then its memory."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    slices = slices_on(cache, device)
    rows = torch.arange(len(cache.index.table))
    knobs = {"training.epochs": 1}
    spec = TrialSpec(Candidate.from_knobs(knobs), 0, 5, 0, "", "")
    batch = spec.candidate.optimizer.batch_size
    data = FoldSlices(slices, rows[: STEPS * batch], rows[:64])
    training = Training(spec, data, device)
    training.run_epoch()
    for span in rows.split(512):
        int(slices.images[span].sum()) + int(slices.masks[span].sum())  # type: ignore[index]
    pipe.send(memory_mib())
    pipe.recv()  # stay until the other has measured too


def main() -> None:
    made = parser(__doc__ or "", rounds=1)
    made.add_argument("data", type=Path, help="a contest folder of full size")
    options = made.parse_args()
    cache = build_cache(SliceIndex.from_directory(options.data), 128)
    context = multiprocessing.get_context("spawn")
    running = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=train, args=(cache, theirs))
        process.start()
        running.append((process, ours))
    found = [pipe.recv() for _, pipe in running]
    for process, pipe in running:
        pipe.send("done")
        process.join()
    rows = [
        (f"trial {place}", *(f"{values[name]:.0f}" for name in values))
        for place, values in enumerate(found, 1)
    ]
    size = (cache.images.nbytes + cache.masks.nbytes) / 2**20
    facts = f"{len(cache.index.table)} slices; the cache's two files have {size:.0f} MiB."
    verdict = at_most("MiB that the second trial adds", found[1]["unique"], MOST_MIB)
    parts = [facts, table(["MiB", *found[0]], rows), verdict, machine("torch")]
    publish("Memory of a second trial", parts, options.out)


if __name__ == "__main__":
    main()

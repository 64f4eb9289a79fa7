#!/usr/bin/env python3
"""Time a measurement in one and in several processes of one thread each, on the CPU.

    PYTHONPATH=. python benchmarks/ranks.py resnet --processes 2 --samples 256 --rounds 3

Each round measures the same random images in one process, then in all. Prints the wall-clock time of each, the time on
a core that rank 0 took, how many times as fast all are, and the global means of NV. At the end, prints the size of the
sums that each rank sends, and the peak memory of the last rank, which never measures alone.
"""

import argparse
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing
from workload import peak_mib

from pytorch.models import MODELS, build_model
from pytorch.transformations import rotations
from pytorch.variance import VarianceResult, measure_variance


def main() -> None:
    """Run the benchmark with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (options, folder), options.processes)


def work(rank: int, options: argparse.Namespace, folder: str) -> None:
    """Measure in turn alone, on rank 0, and together."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=options.processes)
    torch.manual_seed(0)
    model = build_model(options.model, 3, 10)
    images, labels = torch.rand(options.samples, 3, 32, 32), torch.arange(options.samples) % 10

    def measure(**how: object) -> tuple[float, float, VarianceResult | None]:
        begun, used = time.perf_counter(), time.process_time()
        found = measure_variance(model, images, labels, rotations(options.steps), batch_size=64, **how)
        return time.perf_counter() - begun, time.process_time() - used, found

    for _ in range(options.rounds):
        if rank == 0:
            alone = measure()
        dist.barrier()
        together = measure(process_group=dist.group.WORLD)
        if rank == 0:
            print(f"1 process {alone[0]:.1f} s (core {alone[1]:.1f} s), {options.processes} processes "
                  f"{together[0]:.1f} s (core {together[1]:.1f} s): {alone[0] / together[0]:.2f} x; "
                  f"NV {alone[2].global_mean('all'):.6f} and {together[2].global_mean('all'):.6f}")  # fmt: skip
    if rank == 0:
        part = measure_variance(
            model, images[:4], labels[:4], rotations(options.steps), shard=(0, 1), classes=[*"abcdefghij"]
        )
        size = sum(array.nbytes for sums in part.sums.values() for array in sums.arrays)
        print(f"sums of each rank: {size / 2**20:.1f} MiB")
    if rank == options.processes - 1:
        print(f"peak of rank {rank}: {peak_mib():.0f} MiB")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Several processes of one measurement: in a process group of one's own, and started by torchrun."""

import json
import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from commands import outcomes_of, run, torchrun
from torch import nn

from pytorch.errors import ReportedError
from pytorch.experiments.storage import load_values
from pytorch.transformations import rotations
from pytorch.variance import VarianceResult, measure_variance, merge_results
from pytorch.variance.equivariance import EquivarianceResult

RANKS = 3
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(400, 1, 7, 7, dtype=torch.float64, generator=GENERATOR)
LABELS = torch.arange(400) % 3
USUAL = {"transformations": rotations(3), "batch_size": 20}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).double()


def measured(group=None, count=400, model=None, images=IMAGES, **options):
    return measure_variance(
        model or network(), images[:count], LABELS[:count], process_group=group, **{**USUAL, **options}
    )


def work(rank, folder):
    """What each process does; it leaves a file of what became of each measurement, and the results beside."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    world, part = dist.group.WORLD, dist.new_group([1, 2])
    outcomes = {}

    def tell(name, measure):
        try:
            result = measure()
        except ReportedError as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
        else:
            outcomes[name] = "None" if result is None else type(result).__name__
            for suffix, each in result.items() if isinstance(result, dict) else [("", result)] if result else []:
                each.save(folder / (name + suffix))
        (folder / f"rank{rank}.json").write_text(json.dumps(outcomes))

    tell("three", lambda: measured(world, 23))
    tell("again", lambda: measured(world, 23))
    tell("empty", lambda: measured(world, 2))
    if rank in (1, 2):
        tell("part", lambda: measured(part))
    tell("many", lambda: measured(world, 400))
    tell("tolerance", lambda: measured(world, 400, tolerance=0.08))
    tell("coarse", lambda: measured(world, 50, tolerance=1e-9))
    tell("differing", lambda: measured(world, model=network(seed=int(rank == 2))))
    odd = IMAGES.clone()
    odd[:, 0, 0, 0] = torch.nan if rank == 1 else 0.5
    tell("odd", lambda: measured(world, images=odd))
    tell("after", lambda: measured(world, 23))
    tell("both ", lambda: measured(world, 23, measure="both", positions=4))

    def die(module, inputs):
        os._exit(1)

    model = network()
    if rank == 2:
        model[2].register_forward_pre_hook(die)
    tell("dead", lambda: measured(world, model=model))
    os._exit(0)  # without waiting for the dead one


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The outcomes of each rank, and the folder of the results."""
    folder = tmp_path_factory.mktemp("ranks")
    return outcomes_of(work, folder, RANKS), folder


def bits(result):
    arrays = [result.tv_all, result.sv_all, result.tv_classes, result.sv_classes, *vars(result.errors).values()]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize(("name", "count"), [("three", 23), ("empty", 2), ("many", 400)])
def test_processes_equal_one(told, name, count):
    """23 samples do not divide by 3; of 2 samples, one process has none."""
    outcomes, folder = told
    assert [each[name] for each in outcomes] == ["VarianceResult", "None", "None"]
    found, whole = VarianceResult.load(folder / name), measured(count=count)
    assert found.samples == count
    for quantity in ("tv_all", "sv_all", "tv_classes", "sv_classes"):
        np.testing.assert_allclose(getattr(found, quantity), getattr(whole, quantity), rtol=1e-12)
    for group in whole.groups:
        for layer, values in whole.normalized_variance(group).items():
            np.testing.assert_allclose(found.normalized_variance(group)[layer], values, rtol=1e-12)


def test_processes_measure_the_equivariance_that_one_does(told):
    outcomes, folder = told
    assert [each["both "] for each in outcomes] == ["dict", "None", "None"]
    whole = measured(count=23, measure="both", positions=4)
    assert bits(VarianceResult.load(folder / "both invariance")) == bits(VarianceResult.load(folder / "three"))
    found, expected = EquivarianceResult.load(folder / "both equivariance"), whole["equivariance"]
    for name in ("tv_all", "sv_all", "relative_errors", "floor", "samples"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
    for one, other in zip(found.positions, expected.positions, strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors_are_those_of_merged_shards_and_near_those_of_one_process(told):
    found, whole = VarianceResult.load(told[1] / "many"), measured()
    merged = merge_results(measured(shard=(shard, RANKS)) for shard in range(RANKS))
    assert bits(found) == bits(merged)
    np.testing.assert_allclose(found.errors.all, whole.errors.all, rtol=0.1)
    np.testing.assert_allclose(found.errors.stratified, whole.errors.stratified, rtol=0.2)


def test_the_same_processes_give_the_same_bits(told):
    first, again, after = (VarianceResult.load(told[1] / name) for name in ("three", "again", "after"))
    assert bits(first) == bits(again) == bits(after)


def test_a_tolerance_holds_for_the_samples_of_all_processes(told):
    outcomes, folder = told
    assert [each["tolerance"] for each in outcomes] == ["VarianceResult", "None", "None"]
    stopped, whole = VarianceResult.load(folder / "tolerance"), measured()
    assert stopped.samples_offered == 400
    # After as many batches on each: 134, 133 and 133 samples make 7 batches of 20 or 19 samples.
    assert stopped.samples in [1 + 3 * 19 * batches for batches in range(1, 7)]
    # One process may stop after each batch. If each of three stopped by itself, all would take three times as many.
    assert stopped.samples < 2 * measured(tolerance=0.08).samples
    for group in ("all", "stratified"):
        for layer, mean in whole.layer_means(group).items():
            assert abs(stopped.layer_means(group)[layer] - mean) < 0.08
    assert VarianceResult.load(folder / "coarse").samples == 50  # never precise enough


def test_ranks_that_measure_something_else_are_named(told):
    first, *others = (each["differing"] for each in told[0])
    assert first == "InputError: rank 2 differs from rank 0 in its weights: measure all alike"
    for rank, other in enumerate(others, 1):
        assert other == f"RankError: rank {rank} stops, because rank 0 has stopped: see what that one says"


def test_a_group_of_some_processes_is_refused(told):
    for each in told[0][1:]:
        assert each["part"].startswith("InputError: process_group has 2 of 3 processes: use that of all")


def test_a_rank_that_fails_stops_the_others(told):
    first, failed, last = (each["odd"] for each in told[0])
    assert failed.startswith("InputError: ")
    assert "images in a batch have NaN" in failed
    assert first == "RankError: rank 0 stops, because rank 1 has stopped: see what that one says"
    assert last == "RankError: rank 2 stops, because rank 0 has stopped: see what that one says"


def test_a_rank_that_dies_stops_the_others(told):
    outcomes, folder = told
    assert outcomes[0]["dead"] == "RankError: rank 0 stops, because rank 2 has stopped: see what that one says"
    assert outcomes[1]["dead"] == "RankError: rank 1 stops, because rank 0 has stopped: see what that one says"
    assert not (folder / "dead").exists()


def test_torchrun_measures_what_the_script_alone_does(home, tmp_path):
    """One file, written and told of once, with the values of the plain run."""
    (tmp_path / "variance_results").mkdir()
    (tmp_path / "variance_results" / "models").symlink_to(home / "variance_results" / "models")
    options = ("simple_conv", "digits", "--samples", "30", "--steps", "4")
    process = torchrun(tmp_path, "experiment_variance.py", *options)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("values: ") == 1
    (file,) = (tmp_path / "variance_results" / "values").iterdir()
    found, expected = (load_values(each / "variance_results" / "values" / file.name) for each in (tmp_path, home))
    assert found.command == "torchrun --nproc-per-node 2 experiment_variance.py " + " ".join(options)
    for name, result in found.results.items():
        other = expected.results[name]
        # In batches of 15 instead of 30, float32 sums of the network are rounded otherwise.
        np.testing.assert_allclose(result.tv_all, other.tv_all, rtol=1e-3)
        np.testing.assert_allclose(result.sv_classes, other.sv_classes, rtol=1e-3)
    again = run(tmp_path, "experiment_variance.py", *options)
    assert again.stdout.count("already measured: ") == 1


def test_torchrun_measures_equivariance(home, tmp_path):
    """Beside the invariance, one file, which needs no other run."""
    (tmp_path / "variance_results").mkdir()
    (tmp_path / "variance_results" / "models").symlink_to(home / "variance_results" / "models")
    options = ("simple_conv", "digits", "--samples", "30", "--steps", "4", "--measure", "both", "--positions", "8")
    process = torchrun(tmp_path, "experiment_variance.py", *options)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("values: ") == 2
    again = run(tmp_path, "experiment_variance.py", *options)
    assert again.stdout.count("already measured: ") == 2

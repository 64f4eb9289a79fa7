"""Shards measured apart and merged, in memory and from files; and statistics of chosen classes alone."""

import dataclasses
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracle import assert_agrees, st_matrices
from torch import nn

from pytorch.datasets.image_batches import folder_batches
from pytorch.errors import FileError, InputError
from pytorch.files.sealed_file import write_sealed
from pytorch.transformations import rotations
from pytorch.variance import PartialResult, VarianceResult, measure_variance, merge_results
from pytorch.variance.batches import in_batches
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.partial_file import PARTIAL_FORMAT
from pytorch.variance.statistics import block
from pytorch.variance.statistics.accumulator import VarianceAccumulator, state_shapes

TRANSFORMATIONS = rotations(3)


def shards_of(model, images, labels, count, **options):
    return [
        measure_variance(model, images, labels, TRANSFORMATIONS, batch_size=4, shard=(shard, count), **options)
        for shard in range(count)
    ]


def flipping(*axes):
    return lambda batch: batch.flip(axes)


def assert_same_arrays(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_same_bits(found, expected):
    for field in dataclasses.fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "errors":
            assert all(np.array_equal(getattr(one, name), part, equal_nan=True) for name, part in vars(other).items())
        elif isinstance(other, list):  # of several lengths
            assert_same_arrays(one, other)
        else:
            np.testing.assert_array_equal(one, other, err_msg=field.name)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_merged_shards_equal_the_whole(reusing_model, images, labels, count):
    """23 samples in 1 to 30 shards, some of which are then empty, or lack a class."""
    whole = measure_variance(reusing_model, images, labels, TRANSFORMATIONS, batch_size=4)
    shards = shards_of(reusing_model, images, labels, count)
    assert [shard.samples for shard in shards] == [len(range(shard, 23, count)) for shard in range(count)]
    merged = merge_results(shards)
    for group in whole.groups:
        for name in ("normalized_variance", "transformation_variance", "sample_variance"):
            if group == "stratified" and name != "normalized_variance":
                continue
            for layer, values in getattr(whole, name)(group).items():
                np.testing.assert_allclose(getattr(merged, name)(group)[layer], values, rtol=1e-12)
    assert (merged.samples, merged.classes, merged.samples_offered) == (23, ["0", "1", "2"], 23)
    np.testing.assert_array_equal(merged.class_counts, whole.class_counts)
    assert merged.layers == whole.layers
    assert_agrees(merged, st_matrices(reusing_model, images, TRANSFORMATIONS), labels, rtol=1e-10)


def test_a_single_shard_has_the_errors_of_the_whole(reusing_model, images, labels):
    whole = measure_variance(reusing_model, images, labels, TRANSFORMATIONS, batch_size=4)
    assert_same_bits(merge_results(shards_of(reusing_model, images, labels, 1)), whole)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_every_sample_is_in_one_shard(count):
    """Shards are parts of the order of the whole, so classes stay balanced in each."""
    images, labels = torch.arange(33).reshape(-1, 1, 1, 1).to(torch.uint8), torch.arange(33) % 2
    parts = [in_batches(images, labels, 4, None, 0, shard=(shard, count)) for shard in range(count)]
    seen = [[int(image) for batch in part.batches for image in batch.images.flatten()] for part in parts]
    whole = [int(image) for batch in in_batches(images, labels, 4, None, 0).batches for image in batch.images.flatten()]
    assert seen == [whole[shard::count] for shard in range(count)]
    assert sorted(sample for samples in seen for sample in samples) == list(range(33))


def test_shards_in_files_merge_to_the_same_bits_in_any_order(tmp_path, reusing_model, images, labels):
    options = {"aggregation": "mean,max", "classes": ["ant", "bee", "cow"], "dispersion": "variance"}
    shards = shards_of(reusing_model, images, labels, np.int64(25), **options)
    for shard in shards:
        shard.save(tmp_path / f"{shard.shard}.partial")
    expected = merge_results(shards)
    found = merge_results(tmp_path / f"{shard}.partial" for shard in reversed(range(25)))
    again = merge_results([tmp_path / "3.partial", *shards[:3], *shards[4:]])
    assert list(found) == ["mean", "max"]
    for name, result in expected.items():
        assert_same_bits(found[name], result)
        assert_same_bits(again[name], result)


def test_samples_without_labels_merge(reusing_model, images):
    merged = merge_results(shards_of(reusing_model, images, None, 3))
    whole = measure_variance(reusing_model, images, None, TRANSFORMATIONS)
    assert merged.groups == whole.groups == ["all"]
    np.testing.assert_allclose(merged.tv_all, whole.tv_all, rtol=1e-12)


def test_errors_of_merged_shards_are_near_those_of_the_whole():
    """Each shard takes influences about its own estimates; where these are of few samples, there is no error."""
    images = torch.rand(600, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(600) % 30 == 0).long()  # a class of 20 samples
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    whole = measure_variance(model, images, labels, TRANSFORMATIONS, batch_size=50)
    two, three = (merge_results(shards_of(model, images, labels, count)) for count in (2, 3))
    for merged in (two, three):
        for quantity in ("transformation", "sample", "normalized"):
            np.testing.assert_allclose(merged.global_error("0", quantity), whole.global_error("0", quantity), rtol=0.1)
    np.testing.assert_allclose(two.global_error("1"), whole.global_error("1"), rtol=0.5)
    assert np.isnan(three.global_error("1"))  # 7, 7 and 6 samples
    assert np.isnan(three.global_error("stratified"))
    assert np.isfinite(three.global_mean("stratified"))


def test_bounds_of_rounding_are_the_largest_of_all_shards(reusing_model, images, labels):
    shards = shards_of(reusing_model, images, labels, 2)
    expected = np.maximum(*(shard.setup.rounding for shard in shards))
    np.testing.assert_array_equal(merge_results(shards).rounding, expected)


@pytest.mark.parametrize(
    ("choose", "reason"),
    [
        (lambda shards: shards[1:], "of shards 0 to 2, 0 is missing"),
        (lambda shards: shards[1:2], "of shards 0 to 2, 0, 2 are missing"),
        (lambda shards: [*shards, shards[1]], "shard 1 is given twice"),
        (lambda shards: [], "there are no shards"),
        (lambda shards: shards[0], "takes a list of all shards"),
        (lambda shards: [replace(shards[2], shards=2**60)], r"0, 1, 3, 4, 5, 6, 7, 8, 9, 10, \.\.\. are missing"),
        (lambda shards: [*shards[:2], replace(shards[2], shards=4)], "shard 2 is one of 4 shards, not of 3"),
    ],
)
def test_missing_and_double_shards_are_named(reusing_model, images, labels, choose, reason):
    with pytest.raises(InputError, match=reason):
        merge_results(choose(shards_of(reusing_model, images, labels, 3)))


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("measure", ["equivariance", "both"])
def test_merged_shards_have_the_equivariance_of_the_whole(tmp_path, images, labels, count, measure):
    """Through files; of 30 shards, seven are empty."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    options = {"measure": measure, "positions": 5, "by_class": True}
    whole = measure_variance(model, images, labels, TRANSFORMATIONS, batch_size=4, **options)
    shards = shards_of(model, images, labels, count, **options)
    for shard in shards:
        shard.save(tmp_path / str(shard.shard))
    assert [shard.samples for shard in shards] == [len(range(shard, 23, count)) for shard in range(count)]
    merged = merge_results([tmp_path / str(shard) for shard in range(count)])
    if measure == "both":
        assert list(merged) == list(whole) == ["invariance", "equivariance"]
        np.testing.assert_allclose(merged["invariance"].tv_classes, whole["invariance"].tv_classes, rtol=1e-12)
        merged, whole = merged["equivariance"], whole["equivariance"]
    for name in ("tv_all", "sv_all", "tv_classes", "sv_classes", "class_counts", "relative_errors", "floor"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-12, err_msg=name)
    assert (merged.layers, merged.groups, merged.samples) == (whole.layers, whole.groups, 23)
    assert_same_arrays(merged.positions, whole.positions)
    assert (merged.map_sizes, merged.positions_kept) == (whole.map_sizes, whole.positions_kept)
    if count == 1:
        assert_same_bits(merged, whole)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"images": lambda images: images * 1.01}, "images"),
        ({"images": lambda images: images.flip(3)}, "images"),
        ({"preprocess": lambda batch: batch / 2}, "transformations or preprocess"),
        ({"transformations": [flipping(), flipping(2)]}, "transformations or preprocess"),
    ],
)
@pytest.mark.parametrize("count", [2, 30])
def test_shards_of_other_images_or_functions_are_not_merged(images, changes, what, count):
    """Names of functions do not tell; of 30 shards, the last one is empty."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()).double()
    usual = {"images": images, "transformations": [flipping(), flipping(3)], "batch_size": 4}
    change = changes.get("images", lambda images: images)
    first = [measure_variance(model, **usual, shard=(shard, count)) for shard in range(count - 1)]
    other = measure_variance(model, **{**usual, **changes, "images": change(images)}, shard=(count - 1, count))
    with pytest.raises(InputError, match=f"shard {count - 1} differs from shard 0 in its {what}: measure all alike"):
        merge_results([*first, other])


def test_shards_with_random_functions_are_merged_unchecked(images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()).double()
    noise = [lambda batch: batch + torch.rand_like(batch)] * 2
    shards = [measure_variance(model, images, None, noise, shard=(shard, 2), check=False) for shard in range(2)]
    assert merge_results(shards).samples == 23


def test_a_preprocess_may_drop_axes_of_length_one():
    """Samples are compared in batches of at least two."""
    images = torch.rand(9, 1, 6, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(6, 4)).double()
    turns = [lambda batch: batch, lambda batch: batch.flip(2)]
    shards = [
        measure_variance(model, images, None, turns, lambda batch: batch.squeeze(), shard=(shard, 2))
        for shard in range(2)
    ]
    assert repr(merge_results(shards[::-1]).samples) == "9"
    assert repr(shards[1].without_arrays()) == "PartialResult(shard 1 of 2, 0 samples)"


def test_rounding_in_other_places_makes_no_difference(images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()).double()
    first, other = (shards_of(model, each, None, 2) for each in (images, images * (1 + 1e-6)))
    assert merge_results([first[0], other[1]]).samples == 23


def test_shards_of_other_positions_are_not_merged(images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()).double()
    options = {"measure": "equivariance", "positions": 5}
    first, other = (shards_of(model, images, None, 2, **{**options, "positions": count}) for count in (5, 6))
    with pytest.raises(InputError, match="shard 1 differs from shard 0 in its positions"):
        merge_results([first[0], other[1]])


def test_a_double_file_is_named_with_its_path(tmp_path, reusing_model, images, labels):
    shards = shards_of(reusing_model, images, labels, 2)
    for name, shard in (("a", shards[0]), ("b", shards[1]), ("copy", shards[1])):
        shard.save(tmp_path / name)
    with pytest.raises(InputError, match=r"shard 1 \(\S*/copy\) is given twice"):
        merge_results([tmp_path / "a", tmp_path / "b", tmp_path / "copy"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"seed": 1}, "samples, labels or seed"),
        ({"labels": torch.zeros(23, dtype=torch.int64)}, "samples, labels or seed"),
        ({"model": nn.Sequential(nn.Conv2d(2, 4, 3)).double()}, "weights"),
        ({"aggregation": "max"}, "aggregation"),
        ({"aggregation": ["mean"]}, "aggregation"),
        ({"transformations": rotations(4)}, "transformations"),
        ({"dispersion": "variance"}, "dispersion"),
        ({"layers": ["0"]}, "layers"),
        ({"class_statistics": False}, "classes"),
        ({"classes": ["ant", "bee", "cow"]}, "classes"),
        ({"batch_size": 1000}, "batch_size, kind of device or C compiler"),
        ({"measure": "equivariance"}, "measure"),
        ({"measure": "both"}, "measure"),
    ],
    ids=str,
)
def test_shards_of_different_measurements_are_not_merged(monkeypatch, images, labels, changes, word):
    monkeypatch.setattr(block, "COMPILED_WAITING", 2**10)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()).double()
    # Of as many units that the size of a batch matters for the size of blocks.
    images = images.repeat(24, 1, 1, 1) if "batch_size" in changes else images
    labels = labels.repeat(24) if "batch_size" in changes else labels
    usual = {"model": model, "images": images, "labels": labels, "transformations": TRANSFORMATIONS, "batch_size": 4}
    first = measure_variance(**usual, shard=(0, 2))
    other = measure_variance(**{**usual, **changes}, shard=(1, 2))
    with pytest.raises(InputError, match=f"shard 1 differs from shard 0 in its {word}"):
        merge_results([first, other])


def test_a_partial_result_is_not_mistaken_for_a_whole_one(tmp_path, reusing_model, images, labels):
    (shard,) = shards_of(reusing_model, images, labels, 1)
    assert repr(shard) == "PartialResult(shard 0 of 1, 23 samples)"
    assert not hasattr(shard, "global_mean")
    shard.save(tmp_path / "partial")
    merge_results([shard]).save(tmp_path / "whole")
    with pytest.raises(FileError, match="a file of another kind, variance-experiments partial result"):
        VarianceResult.load(tmp_path / "partial")
    with pytest.raises(FileError, match="a file of another kind, variance-experiments result"):
        merge_results([tmp_path / "whole"])
    with pytest.raises(InputError, match="a VarianceResult is whole"):
        merge_results([merge_results([shard])])


def test_fewer_than_two_samples_are_refused(reusing_model, images):
    with pytest.raises(InputError, match="1 samples: at least two are needed"):
        merge_results(shards_of(reusing_model, images[:1], None, 2))
    with pytest.raises(InputError, match="0 samples: at least two are needed"):
        merge_results(shards_of(reusing_model, images[:0], None, 2))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shard": (2, 2)}, r"shard is \(2, 2\): it must be a number from 0 and the number of shards"),
        ({"shard": (-1, 2)}, "it must be a number from 0"),
        ({"shard": 3}, "it must be a number from 0"),
        ({"shard": (0.5, 2)}, "it must be a number from 0"),
        ({"shard": (0, 2), "tolerance": 0.1}, "a tolerance needs the sums of all samples"),
        ({"shard": (0, 2), "process_group": object()}, "give one of shard and process_group"),
        ({"class_statistics": "0"}, "class_statistics is '0': it must be True, False, or names"),
        ({"class_statistics": ["ant"]}, "no class 'ant' for statistics of its own: choose from labels, as '3'"),
        ({"class_statistics": ["3"]}, "names the class '3', which has no samples"),
        ({"classes": ["ant", "bee", "cow"], "class_statistics": ["0"]}, "choose from 'ant', 'bee', 'cow'"),
    ],
)
def test_wrong_arguments_are_refused(reusing_model, images, labels, options, reason):
    with pytest.raises(InputError, match=reason):
        measure_variance(reusing_model, images, labels, TRANSFORMATIONS, **options)


def test_an_iterable_is_not_sharded(reusing_model, images):
    with pytest.raises(InputError, match="an iterable of batches is not split into shards"):
        measure_variance(reusing_model, images.split(5), None, TRANSFORMATIONS, shard=(0, 2))


def test_a_memory_map_is_sharded(tmp_path, reusing_model, images, labels):
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r+")
    found, expected = (shards_of(reusing_model, each, labels, 2)[1] for each in (mapped, images))
    assert_same_arrays(found.arrays(), expected.arrays())


@pytest.mark.parametrize("count", [2, 9])
def test_the_images_of_a_folder_are_sharded(image_folder, count):
    """Eight images: the last of nine shards is empty."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double()
    batches = folder_batches(image_folder, 16, batch_size=3, workers=0)
    usual = {"preprocess": lambda images: images.double() / 255, "classes": batches.classes}
    whole = measure_variance(model, batches, None, TRANSFORMATIONS, **usual)
    shards = [
        measure_variance(model, batches, None, TRANSFORMATIONS, shard=(shard, count), **usual) for shard in range(count)
    ]
    assert [shard.samples for shard in shards] == [len(range(shard, 8, count)) for shard in range(count)]
    merged = merge_results(shards)
    assert merged.classes == ["cat", "dog"]
    np.testing.assert_allclose(merged.tv_classes, whole.tv_classes, rtol=1e-12)
    np.testing.assert_allclose(merged.sv_classes, whole.sv_classes, rtol=1e-12)
    other = folder_batches(image_folder, 16, batch_size=3, workers=0, seed=1)
    strange = measure_variance(model, other, None, TRANSFORMATIONS, shard=(1, count), **usual)
    with pytest.raises(InputError, match="shard 1 differs from shard 0 in its samples, labels or seed"):
        merge_results([shards[0], strange, *shards[2:]])
    with pytest.raises(InputError, match="name the labels with classes="):
        measure_variance(model, batches, None, TRANSFORMATIONS, shard=(0, 2))


def test_shards_of_a_folder_whose_first_image_is_spoilt(image_folder):
    """No class, so that the equivariance has a single row of sums."""
    files = sorted((image_folder / "test" / "cat").iterdir())
    order = folder_batches(files[0].parent, 16, batch_size=3, workers=0)._order
    files[order[0]].write_bytes(b"nothing")
    batches = folder_batches(files[0].parent, 16, batch_size=3, workers=0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double()
    usual = {"preprocess": lambda images: images.double() / 255, "classes": batches.classes, "measure": "equivariance"}
    whole = measure_variance(model, batches, None, TRANSFORMATIONS, **usual)
    for shard in range(2):
        measure_variance(model, batches, None, TRANSFORMATIONS, shard=(shard, 2), **usual).save(
            image_folder / str(shard)
        )
    merged = merge_results([image_folder / "0", image_folder / "1"])
    assert merged.samples == whole.samples == 3
    np.testing.assert_allclose(merged.tv_all, whole.tv_all, rtol=1e-12)


def test_batches_without_labels_merge_where_classes_are_named(tmp_path, image_folder):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double()
    batches = folder_batches(image_folder / "test" / "cat", 16, batch_size=3, workers=0)
    usual = {"preprocess": lambda images: images.double() / 255, "classes": ["ant", "bee"]}
    for shard in range(2):
        measure_variance(model, batches, None, TRANSFORMATIONS, shard=(shard, 2), **usual).save(tmp_path / str(shard))
    assert merge_results([tmp_path / "0", tmp_path / "1"]).samples == 4


def _reduced(content):
    arrays = content["sums"]["invariance"]["arrays"]
    arrays[1] = arrays[1][:, :, :-1].copy()


def _huge(content):
    content["setup"]["layers"][0]["shape"] = (2**50,)
    content["sums"]["invariance"]["arguments"]["layers"][0] = 2**50


def _huge_maps(content):
    content["maps"]["layers"][1]["shape"] = (2**50,)
    content["sums"]["equivariance"]["arguments"]["layers"][1] = 2**50


def _changed(measure, **changes):
    return lambda content: content["sums"][measure].update(changes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.update(shard=3), "there is no such shard"),
        (lambda content: content.update(probe=np.zeros((4, 3))), "its probe is impossible"),
        (lambda content: content.update(probe=np.zeros((3, 2))), "its probe is impossible"),
        (lambda content: content["sums"]["invariance"]["arrays"].pop(), "its sums have other shapes"),
        (lambda content: content["sums"]["equivariance"]["arrays"].pop(), "its sums have other shapes"),
        (lambda content: content["sums"].pop("equivariance"), "its sums are of other measures"),
        (lambda content: content["sums"].clear(), "its sums are of other measures"),
        (lambda content: content.update(maps=None), "its sums are of other measures"),
        (_huge_maps, "its sums are of fewer units"),
        (lambda content: content["maps"]["layers"][1].update(name="other"), "its maps are not of its layers"),
        (lambda content: content["maps"]["layers"][1].update(name=""), "a name of 0 letters"),
        (lambda content: content["maps"]["layers"][2].update(name="0"), "its maps are not of its layers"),
        (lambda content: content["maps"]["layers"][1].update(places=np.zeros((3, 2))), "its positions are not"),
        (lambda content: content["maps"].update(epsilon=-1.0), "its machine epsilon is impossible"),
        (lambda content: content["setup"].update(rounding=np.zeros(8, dtype=np.int64)), "its rounding bounds"),
        (lambda content: content["setup"].update(transformations=[]), "it has too few transformations"),
        (lambda content: content["maps"]["layers"][1].update(shape=(-1,)), "its maps have impossible shapes"),
        (lambda content: content["maps"]["layers"][1].update(kept=0), "its positions are not those of its maps"),
        (lambda content: content["maps"]["not_turned"].update(other="x" * 1001), "a name of 1001 letters"),
        (lambda content: content["maps"].update(epsilon="x"), "its epsilon: str is neither float or int"),
        (_reduced, "its sums have other shapes"),
        (_huge, "its sums are of fewer units"),
        (_changed("invariance", labels=[0, 1]), "its sums have other shapes"),
        (_changed("invariance", labels=[*range(10**4)]), "its sums have other shapes"),
        (_changed("invariance", labels=[2, 1, 0]), "its labels are impossible"),
        (lambda content: content.update(setup=None), "sums of an unknown network"),
        (lambda content: content["sums"]["invariance"]["arguments"].update(shape=(0, 1)), "its blocks are impossible"),
        (lambda content: content["sums"]["invariance"]["arguments"].update(device="cuda"),
         "its sums are not those of its layers"),
        (lambda content: content["sums"]["equivariance"]["arguments"].pop("positions"),
         "its sums are not those of its layers"),
        (lambda content: content["setup"]["columns"].update(mean=[77]), "its aggregations lack layers"),
        (lambda content: content["setup"].update(dispersion="x"), "its sums are not those of its layers"),
        (lambda content: content.update(weights=5), "its weights: int is not an instance of str"),
        (lambda content: content["sums"]["invariance"]["arrays"][0].__setitem__(0, -1),
         "its numbers of samples are impossible"),
    ],
)  # fmt: skip
def test_what_no_measurement_gives_is_not_read(tmp_path, images, labels, change, reason):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()).double()
    (shard,) = shards_of(model, images, labels, 1, measure="both")
    shard.save(tmp_path / "file")
    content = pickle.loads((tmp_path / "file").read_bytes())
    change(content["content"])
    write_sealed(tmp_path / "file", PARTIAL_FORMAT, pickle.dumps(content, protocol=5))
    with pytest.raises(FileError, match=reason):
        PartialResult.load(tmp_path / "file")


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 2), (100, 1), (100, 100)])
@pytest.mark.parametrize("positions", [None, [2, 5, 1]])
def test_the_shapes_of_a_state_are_known_without_it(shape, positions):
    arguments = {"transformations": 4, "layers": [3, 0, 4], "wholes": [[0], [1, 2]]}
    if positions is not None:
        arguments["positions"] = positions
    kind = VarianceAccumulator if positions is None else MapAccumulator
    accumulator = kind(**arguments, labels=[1, 2, 5], shape=shape)
    assert [tensor.shape for tensor in accumulator.tensors()] == [*state_shapes(**arguments, shape=shape, classes=3)]


def test_classes_without_statistics_count_among_all_samples(reusing_model, images, labels):
    every = measure_variance(reusing_model, images, labels, TRANSFORMATIONS)
    none = measure_variance(reusing_model, images, labels, TRANSFORMATIONS, class_statistics=False)
    some = measure_variance(reusing_model, images, labels, TRANSFORMATIONS, class_statistics=["2", "0"])
    assert (none.groups, some.groups) == (["all"], ["all", "stratified", "0", "2"])
    for result in (none, some):
        assert result.samples == 23
        np.testing.assert_allclose(result.tv_all, every.tv_all, rtol=1e-12)
        np.testing.assert_allclose(result.sv_all, every.sv_all, rtol=1e-12)
        np.testing.assert_allclose(result.errors.all, every.errors.all, rtol=1e-5)
    np.testing.assert_allclose(some.tv_classes, every.tv_classes[[0, 2]], rtol=1e-12)
    np.testing.assert_allclose(some.sv_classes, every.sv_classes[[0, 2]], rtol=1e-12)
    batches = [*zip(images.split(5), labels.split(5), strict=True)]
    found = measure_variance(reusing_model, batches, None, TRANSFORMATIONS, class_statistics=["1"])
    np.testing.assert_allclose(found.sv_classes, every.sv_classes[[1]], rtol=1e-12)
    assert found.classes == ["1"]


def test_classes_without_statistics_take_no_memory(monkeypatch, images):
    """A thousand labels, one row."""
    rows = []
    begin = VarianceAccumulator.begin

    def counted(accumulator, labels):
        rows.append(max(tensor.shape[0] for tensor in accumulator.tensors() if tensor.ndim == 2))
        begin(accumulator, labels)

    monkeypatch.setattr(VarianceAccumulator, "begin", counted)
    model = nn.Sequential(nn.Conv2d(2, 4, 3)).double()
    names = [f"class {index}" for index in range(1000)]
    for chosen in (False, ["class 7"]):
        measure_variance(
            model, images, torch.arange(23), TRANSFORMATIONS, classes=names, class_statistics=chosen, batch_size=23
        )
    assert rows == [2, 2]  # at least the two windows of the errors

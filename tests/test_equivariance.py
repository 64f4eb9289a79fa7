"""Same-equivariance equals its definition; quarter turns are exact; closed forms; what has no inverse is refused."""

import numpy as np
import pytest
import torch
from oracle import activations, add_shard
from torch import nn

from pytorch.datasets import load_dataset
from pytorch.errors import FileError, InputError
from pytorch.transformations import (
    Rotation,
    Scaling,
    Translation,
    brightness,
    compositions,
    flips,
    rotations,
    scalings,
    translations,
)
from pytorch.variance import VarianceResult, measure_variance, measure_variances
from pytorch.variance.definition import variances
from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.equivariance.definition import inside_map, same_equivariance, turned_back
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.map_layers import MapLayer
from pytorch.variance.equivariance.position_choice import spread_out
from pytorch.variance.equivariance.position_errors import with_positions
from pytorch.variance.equivariance.turning import Turning
from pytorch.variance.standard_errors import LayerErrors

# float64: bilinear weights and sums of at most 23 terms, of values whose spread is no less than 1e-5 of their size.
EXACT = 1e-10
# float32: activations, and sums within a batch, good to some 1e-6 of their size.
SINGLE = 1e-4

NO_ERRORS = LayerErrors(np.zeros((3, 2)), np.zeros((0, 3, 2)), np.zeros(2), np.zeros(2), np.zeros((0, 2)), np.zeros(2))

SETS = {
    "quarter turns": rotations(4),
    "rotations": rotations(3),
    "small rotations": rotations(3, degrees=2),
    "disc": rotations(3, disc=True),
    "translations": translations(4),
    "scalings": scalings(3),
    "enlargements": scalings(3, smallest=1, largest=1.5),
    "flips": flips(),
    "brightness": brightness(2),
    "compositions": compositions(rotations(2, degrees=60), translations(4)),
}


@pytest.fixture
def model():
    """Maps of 12 × 12, 10 × 10 and 5 × 5, then layers without positions."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    return model.double().eval()


@pytest.fixture
def images():
    return torch.rand(23, 2, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def tables(model, images, transformations):
    """For each layer (name, array (N, T, ...)): its activations."""
    columns = [activations(model, transformation(images)) for transformation in transformations]
    return [(calls[0][0], np.stack([values for _, values in calls], axis=1)) for calls in zip(*columns, strict=True)]


def sources_of(transformations, size):
    return np.stack([each.inverse.sources(*size, (12, 12)).numpy() for each in transformations])


@pytest.mark.parametrize(("name", "batch_size"), [*((name, 5) for name in SETS), ("rotations", 1), ("rotations", 64)])
def test_equals_the_definition(model, images, labels, name, batch_size, device):
    transformations = SETS[name]
    result = measure_variance(
        model, images, labels, transformations, batch_size=batch_size, measure="equivariance", positions=None,
        by_class=True, device=device,
    )  # fmt: skip
    for layer, table in tables(model, images, transformations):
        for group in ("all", *result.classes):
            members = table[:] if group == "all" else table[labels.numpy() == int(group)]
            if members.ndim == 5 and members.shape[-1] > 1:
                sources = sources_of(transformations, members.shape[3:])
                expected = same_equivariance(members, sources)
            else:
                expected = variances(members.reshape(*members.shape[:3]))
            found = result.transformation_variance, result.sample_variance, result.normalized_variance
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one(group)[layer], other, rtol=EXACT, atol=1e-13, err_msg=f"{layer} {group}")
    assert result.without_positions == ["4", "6"]
    assert result.groups == ["all", "stratified", "0", "1", "2"]


def test_equals_the_definition_in_single_precision_and_as_variances(model, images):
    for kind, dispersion, tolerance in ((torch.float32, "std", SINGLE), (torch.float64, "variance", EXACT)):
        model, images = model.to(kind), images.to(kind)
        result = measure_variance(model, images, None, rotations(3), batch_size=9, measure="equivariance",
                                  positions=None, dispersion=dispersion)  # fmt: skip
        for layer, table in tables(model, images, rotations(3))[:4]:
            expected = same_equivariance(table, sources_of(rotations(3), table.shape[3:]), dispersion)
            np.testing.assert_allclose(result.normalized_variance()[layer], expected[2], rtol=tolerance)


def test_random_positions_are_those_of_the_definition(model, images):
    """Positions of the result, and nothing else, are averaged; their choice is seeded."""
    run = {"transformations": rotations(3), "measure": "equivariance"}
    result = measure_variance(model, images, None, **run, positions=7)
    every = measure_variance(model, images, None, **run, positions=None)
    for (layer, table), places, kept in list(
        zip(tables(model, images, rotations(3)), result.positions, result.positions_kept, strict=False)
    )[:4]:
        back = turned_back(table, sources_of(rotations(3), table.shape[3:]))[..., places[:, 0], places[:, 1]]
        tv, sv, _ = variances(back)
        np.testing.assert_allclose(result.normalized_variance()[layer], tv.mean(axis=-1) / sv.mean(axis=-1), rtol=EXACT)
        assert len(places) == 7 < kept == inside_map(sources_of(rotations(3), table.shape[3:])).all(axis=0).sum()
        assert abs(result.layer_means()[layer] - every.layer_means()[layer]) < 4 * result.layer_errors()[layer]
    again, other = (measure_variance(model, images, None, **run, positions=7, seed=seed) for seed in (0, 1))
    assert again.layer_means() == result.layer_means()
    assert not np.array_equal(other.positions[0], result.positions[0])


@pytest.mark.parametrize("size", [(5, 5), (6, 6), (7, 7)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_quarter_turns_are_exact(size, layout):
    """Turned back by reading, a map equals its ``rot90`` bit for bit, at every position."""
    maps = torch.rand(3, 4, *size, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    turning = Turning(rotations(4), *size, size)
    assert turning.kept == len(turning.positions) == size[0] * size[1]
    for step in range(4):
        back = torch.rot90(maps, -step, dims=(2, 3)).flatten(2).transpose(1, 2)
        assert torch.equal(turning.read(maps, step), back)


@pytest.mark.parametrize(
    ("transformation", "undone"),
    [
        (Rotation(33), Rotation(-33)),
        (Rotation(90), Rotation(-90)),
        (Translation(2, -1), Translation(-2, 1)),
        (Scaling(0.7), Scaling(1 / 0.7)),
        (Scaling(1.25), Scaling(0.8)),
        (flips()[1], flips()[1]),
    ],
)
def test_an_inverse_undoes_its_transformation(transformation, undone):
    """By the images' own transformation the other way round, which knows nothing of inverses."""
    maps = torch.rand(2, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turning = Turning([transformation], 9, 9, (9, 9))
    row, column = turning.positions.unbind(dim=1)
    expected = undone(maps)
    torch.testing.assert_close(
        turning.read(maps, 0), expected[:, :, row, column].transpose(1, 2), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(transformation.inverse(maps)[:, :, row, column], expected[:, :, row, column])
    assert len(row) >= 9


def test_an_inverse_of_a_composition_undoes_its_parts_in_reverse():
    both = compositions([Rotation(90)], [Translation(2, 1)])[0]
    maps = torch.arange(49.0).view(1, 1, 7, 7)
    back = Rotation(-90)(Translation(-2, -1)(maps))
    turning = Turning([both], 7, 7, (7, 7))
    row, column = turning.positions.unbind(dim=1)
    assert torch.equal(turning.read(maps, 0)[0, :, 0], back[0, 0, row, column])
    assert torch.equal(both.inverse(maps), back)


def test_functions_in_a_composition_are_undone_in_reverse(images):
    """A flip and a quarter turn do not commute."""

    class Mirror:
        def __call__(self, batch):
            return batch.flip(-1)

        inverse = __call__

    both = compositions([Mirror()], [Rotation(90)])[0]
    assert torch.equal(both.inverse(both(images)), images)
    maps = Turning([both], 12, 12, (12, 12)).read(both(images), 0)
    assert torch.equal(maps, images.flatten(2).transpose(1, 2))
    assert not hasattr(compositions([abs], [Rotation(90)])[0], "inverse")


def test_maps_of_fewer_positions_are_shifted_less():
    """A shift of 4 pixels is one of 2 positions where every second pixel has one, and of 4 without padding."""
    maps = torch.rand(1, 1, 6, 6)
    shift = Translation(4, 0)
    assert torch.equal(shift.inverse(maps, (12, 12))[..., :4], maps[..., 2:])
    assert torch.equal(shift.inverse(maps, (8, 8))[..., :2], maps[..., 4:])


def symmetric(convolution):
    """Average the kernels over the quarter turns."""
    with torch.no_grad():
        turned = [torch.rot90(convolution.double().weight, turns, dims=(2, 3)) for turns in range(4)]
        convolution.weight.copy_(torch.stack(turned).mean(dim=0))
    return convolution


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_an_equivariant_network_has_none(images, kind):
    """Symmetric kernels, without padding: NV 0 to rounding under quarter turns; random ones: not."""
    torch.manual_seed(0)
    model = nn.Sequential(symmetric(nn.Conv2d(2, 4, 3)), nn.ReLU(), symmetric(nn.Conv2d(4, 4, 3)), nn.MaxPool2d(2))
    result = measure_variance(model.to(kind), images.to(kind), None, rotations(4), measure="equivariance")
    limit = 20 * torch.finfo(kind).eps
    assert max(result.layer_means().values()) < limit
    assert max(result.equivariance_errors().values()) < limit
    assert result.unit_counts()["invariant"] == 16
    assert (result.floor, result.floor_error) == (0, 0)
    other = nn.Sequential(nn.Conv2d(2, 4, 3)).to(kind)
    assert measure_variance(other, images.to(kind), None, rotations(4), measure="equivariance").global_mean() > 0.5


def test_interpolation_alone_makes_the_floor(images):
    """The identity is equivariant; under other angles it varies as much as the images that are turned back."""
    model = nn.Sequential(nn.PReLU(init=1)).double()
    result = measure_variance(model, images, None, rotations(3), measure="equivariance", positions=None)
    tables = np.stack([turn(images).numpy() for turn in rotations(3)], axis=1)
    expected = same_equivariance(tables, sources_of(rotations(3), (12, 12)))[2].mean()
    assert result.floor == pytest.approx(expected, rel=1e-10)
    assert result.layer_means()["0"] == pytest.approx(result.floor, rel=1e-10)
    assert result.layer_errors()["0"] == pytest.approx(result.floor_error, rel=1e-6)
    assert 0 < result.floor < 1


def test_relative_errors_are_root_mean_squares(model, images):
    result = measure_variance(model, images, None, rotations(3, degrees=5), batch_size=8, measure="equivariance",
                              positions=None)  # fmt: skip
    for layer, table in tables(model, images, rotations(3, degrees=5))[:4]:
        sources = sources_of(rotations(3, degrees=5), table.shape[3:])
        back = turned_back(table, sources)[..., inside_map(sources).all(axis=0)]
        deviations = back - back.mean(axis=1, keepdims=True)
        expected = np.sqrt((deviations**2).mean() / (back**2).mean())
        assert result.equivariance_errors()[layer] == pytest.approx(expected, rel=1e-10)


def test_errors_include_the_choice_of_positions():
    """As the spread of means over many random samples of positions, for two layers that share them."""
    random = np.random.default_rng(0)
    channels, kept, read = (2, 6), 40, 10
    place = random.uniform(0.5, 2, (3, 1, kept))
    whole = [place * random.uniform(1, 2, (2, 3, count, kept)) for count in channels]

    def means(chosen):
        ratios = [tv[..., chosen].mean(axis=-1) / sv[..., chosen].mean(axis=-1) for tv, sv in whole]
        of_layers = [
            np.stack([tv[..., chosen].mean(axis=(1, 2)), sv[..., chosen].mean(axis=(1, 2)), ratio.mean(axis=1)])
            for (tv, sv), ratio in zip(whole, ratios, strict=True)
        ]
        of_layers.append((2 * of_layers[0] + 6 * of_layers[1]) / 8)
        found = np.stack(of_layers, axis=-1).swapaxes(0, 1)  # (1 + K, 3, L + 1)
        return np.concatenate([found, found[1:].mean(axis=0, keepdims=True)])

    layers = [MapLayer(str(count), (count,), [9, 9], np.zeros((read, 2)), kept) for count in channels]
    errors = LayerErrors(np.full((3, 3), 0.1), np.zeros((2, 3, 3)), np.zeros(3), *(np.zeros(shape) for shape in
                         ((3,), (2, 3), (3,))))  # fmt: skip
    draws = [random.permutation(kept)[:read] for _ in range(2000)]
    expected = np.var([means(draw) for draw in draws], axis=0)
    found = [
        with_positions(errors, layers, [(tv[..., draw], sv[..., draw]) for tv, sv in whole]) for draw in draws[:200]
    ]
    np.testing.assert_allclose(np.mean([each.all**2 for each in found], axis=0) - 0.1**2, expected[0], rtol=0.15)
    np.testing.assert_allclose(np.mean([each.classes**2 for each in found], axis=0), expected[1:3], rtol=0.15)
    np.testing.assert_allclose(np.mean([each.stratified**2 for each in found], axis=0), expected[3, 2], rtol=0.15)


@pytest.fixture(scope="module")
def digits():
    """TV and SV of two layers at each position, by NumPy, on digits under four rotations: (positions, tables)."""
    torch.manual_seed(0)
    dataset = load_dataset("digits", data_dir=None)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU()).eval()
    images = dataset.normalization(dataset.test.images[:48])
    columns = [activations(model, turn(images)) for turn in rotations(4, degrees=30)]
    positions = Turning(rotations(4, degrees=30), 32, 32, (32, 32)).positions
    sources = np.stack([turn.inverse.sources(32, 32, (32, 32)).numpy() for turn in rotations(4, degrees=30)])
    found = []
    for calls in zip(*columns, strict=True):
        table = np.stack([values for _, values in calls], axis=1).astype(np.float64)
        back = turned_back(table, sources)[..., positions[:, 0], positions[:, 1]]
        found.append(variances(back)[:2])
    return positions, found


def places_of(some, positions):
    """Index of each of some positions among all."""
    return (positions.numpy()[:, None] == some.numpy()).all(axis=-1).argmax(axis=0)


def test_intervals_of_some_positions_cover_the_mean_of_all(digits):
    """Of 300 seeds, at least 93 %, by the choice of positions alone; and not because they are twice too wide."""
    positions, tables = digits
    for tv, sv in tables:
        truth, off, errors = np.mean(tv.mean(axis=-1) / sv.mean(axis=-1)), [], []
        for seed in range(300):
            places = places_of(spread_out(positions, 64, seed), positions)
            some = [values[None, :, places] for values in (tv, sv)]
            layer = MapLayer("", (6,), [32, 32], places, len(positions))
            errors.append(with_positions(NO_ERRORS, [layer], [some]).all[2, 0])
            off.append(np.mean(some[0].mean(axis=-1) / some[1].mean(axis=-1)) - truth)
        assert np.mean(np.abs(off) < 1.96 * np.array(errors)) >= 0.93
        assert np.sqrt(np.mean(np.square(errors))) < 2 * np.std(off)
        assert abs(np.mean(off)) < 0.3 * np.std(off)


def test_channels_that_are_active_at_few_positions_have_wide_intervals():
    """16 channels, each active at 5 % of the positions, side by side: of 300 seeds, at least 93 %."""
    random = np.random.default_rng(0)
    positions = torch.cartesian_prod(torch.arange(27), torch.arange(27))
    tv, sv = np.zeros((2, 1, 16, len(positions)))
    for channel, centre in enumerate(positions[random.permutation(len(positions))[:16]]):
        near = (positions - centre).square().sum(dim=1).argsort()[:36].numpy()
        sv[0, channel, near] = np.exp(random.normal(size=36))
        tv[0, channel, near] = sv[0, channel, near] * random.uniform(0.3, 0.8, 36)
    covered = []
    for seed in range(300):
        places = places_of(spread_out(positions, 64, seed), positions)
        layer = MapLayer("", (16,), [27, 27], places, len(positions))
        some = [values[..., places] for values in (tv, sv)]
        found, truth = ((tv.mean(axis=-1), sv.mean(axis=-1)) for tv, sv in (some, (tv, sv)))
        off = np.divide(*found, out=np.ones((1, 16)), where=found[1] > 0).mean() - np.divide(*truth).mean()
        covered.append(abs(off) < 1.96 * with_positions(NO_ERRORS, [layer], [some]).all[2, 0])
    assert np.mean(covered) >= 0.93


def test_means_of_some_positions_are_within_their_intervals(model, images):
    """Of ten seeds and all layers, at least 95 %; errors are those over samples and of the choice of positions."""
    run = {"transformations": rotations(3), "measure": "equivariance", "check": False}
    whole = measure_variance(model, images, None, **run, positions=None).layer_means()
    inside = []
    for seed in range(10):
        some = measure_variance(model, images, None, **run, positions=12, seed=seed)
        errors = some.layer_errors()
        inside += [abs(mean - whole[name]) < 1.96 * errors[name] for name, mean in some.layer_means().items()]
    assert np.mean(inside) >= 0.95


def test_positions_are_spread_out_and_equally_likely():
    """Parts of one or two positions: none is drawn twice, each as often as any other, one beside the next."""
    grid = torch.cartesian_prod(torch.arange(9), torch.arange(11))
    counts, jumps = torch.zeros(9, 11), []
    for seed in range(2000):
        drawn = spread_out(grid, 60, seed)
        assert len(drawn.unique(dim=0)) == 60
        counts.index_put_(tuple(drawn.T), torch.ones(()), accumulate=True)
        jumps.append((drawn.diff(dim=0).square().sum(dim=1) > 4**2).sum())
    share = 60 / 99
    assert ((counts / 2000 - share).abs() < 5 * (share * (1 - share) / 2000) ** 0.5).all()
    assert max(jumps) <= 1  # from the end of the path to its beginning


def test_the_error_of_a_single_batch_is_the_jackknife(model, images):
    """With all positions, standard errors are those of NV without each sample in turn."""
    transformations = rotations(3)
    result = measure_variance(model, images, None, transformations, measure="equivariance", positions=None)
    for layer, table in tables(model, images, transformations)[:3]:
        sources = sources_of(transformations, table.shape[3:])
        means = np.array([
            same_equivariance(np.delete(table, index, axis=0), sources)[2].mean()
            for index in range(len(table))
        ])  # fmt: skip
        jackknife = np.sqrt((len(table) - 1) / len(table) * ((means - means.mean()) ** 2).sum())
        assert result.layer_errors()[layer] == pytest.approx(jackknife, rel=0.1)


def test_parts_merge_into_the_whole():
    """Two accumulators give what one gives."""
    values = torch.rand(30, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(30) % 3

    def summed(*members):
        accumulator = MapAccumulator(2, [3], [2])
        for part in members:
            accumulator.begin(labels[part])
            for step in range(2):
                accumulator.add([values[part, step]])
            accumulator.end()
        return accumulator

    whole, first, second = summed(slice(0, 10), slice(10, 30)), summed(slice(0, 10)), summed(slice(10, 30))
    add_shard(first, second)
    torch.testing.assert_close(first.squares, whole.squares)
    for one, other in zip((*first.transformation_variance(), *first.sample_variance()),
                          (*whole.transformation_variance(), *whole.sample_variance()), strict=True):  # fmt: skip
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_allclose(first.relative_errors(), whole.relative_errors())


@pytest.mark.parametrize("kinds", [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_types_may_differ_between_transformations(kinds):
    """Values that both types hold, so that their order makes no difference."""
    values = torch.randint(-8, 8, (20, 2, 6), generator=torch.Generator().manual_seed(0))
    found = []
    for first, second in (kinds, (torch.float64, torch.float64)):
        accumulator = MapAccumulator(2, [3], [2])
        accumulator.begin(torch.zeros(20, dtype=torch.int64))
        for step, kind in enumerate((first, second)):
            accumulator.add([values[:, step].to(kind)])
        accumulator.end()
        found.append(np.concatenate([accumulator.transformation_variance()[0], accumulator.sample_variance()[0]]))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_bounds_of_rounding_are_those_of_the_precision(images):
    network, images = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), images.float()
    single, half = (
        measure_variance(network, images, None, rotations(3), measure="equivariance", precision=precision)
        for precision in ("fp32", "bf16")
    )
    ratio = torch.finfo(torch.bfloat16).eps / torch.finfo(torch.float32).eps
    np.testing.assert_allclose(half.rounding, ratio * single.rounding, rtol=0.02)


def test_a_mean_far_from_zero_is_not_rounded():
    """Sums of float32 activations are float64."""
    values = (10_000 + torch.rand(50, 2, 6, generator=torch.Generator().manual_seed(0))).float()
    accumulator = MapAccumulator(2, [3], [2])
    for batch in values.split(7):
        accumulator.begin(torch.zeros(len(batch), dtype=torch.int64))
        for step in range(2):
            accumulator.add([batch[:, step]])
        accumulator.end()
    means, m2 = accumulator._blocks[0].over_all_samples()
    exact = values.double()
    torch.testing.assert_close(means, exact.mean(dim=0), rtol=0, atol=1e-6)
    torch.testing.assert_close(m2, exact.var(dim=0, correction=0) * len(values), rtol=1e-6, atol=0)


def test_both_measures_take_one_pass_and_agree_with_each_alone(model, images, labels):
    calls = []
    handle = model[0].register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    options = {"transformations": rotations(3), "batch_size": 8, "check": False}
    both = measure_variance(model, images, labels, **options, measure="both", aggregation="mean,max")
    once = sum(calls)
    calls.clear()
    alone = measure_variance(model, images, labels, **options, aggregation="mean,max")
    handle.remove()
    assert sum(calls) == once
    for aggregation in ("mean", "max"):
        for name, values in alone[aggregation].normalized_variance("stratified").items():
            np.testing.assert_array_equal(
                both["invariance"][aggregation].normalized_variance("stratified")[name], values
            )
    turned = measure_variances({"one": model}, images, labels, **options, measure="equivariance")["one"]
    assert turned.layer_means() == both["equivariance"].layer_means()
    assert turned.groups == ["all"]


def test_a_function_may_be_its_own_inverse(model, images):
    """Whole maps are turned back, where an inverse of ours is read at some positions."""

    class Mirror:
        def __call__(self, batch):
            return batch.flip(-1)

        inverse = __call__

    class Same:
        def __call__(self, batch):
            return batch.clone()

        inverse = __call__

    found, expected = (
        measure_variance(model, images, None, each, measure="equivariance", positions=9)
        for each in ([Same(), Mirror()], flips())
    )
    assert found.layer_means() == expected.layer_means()


def test_transformations_without_an_inverse_are_refused(model, images):
    def brighter(batch):
        return 2 * batch

    def run(inverse=None, **options):
        brighter.inverse = inverse
        options = {"measure": "equivariance", **options}
        measure_variance(model, images, None, [flips()[0], brighter], **options)

    calls = []
    model[0].register_forward_pre_hook(lambda module, inputs: calls.append(module))
    with pytest.raises(
        InputError, match=r"transformation <function .*brighter> has no inverse, which equivariance needs"
    ):
        run()
    assert not calls
    with pytest.raises(InputError, match=r"inverse of transformation .* made \(1, 1, 12, 2\) of feature maps of shape"):
        run(lambda maps: maps[..., :2])
    with pytest.raises(InputError, match=r"cannot take feature maps of shape \(1, 1, 12, 12\) \(no\)"):
        run(lambda maps: (_ for _ in ()).throw(ValueError("no")))
    with pytest.raises(InputError, match="unknown measure 'variance': choose one of invariance, equivariance, both"):
        run(measure="variance")
    with pytest.raises(InputError, match="positions is 0: it must be a whole number, at least 1"):
        run(lambda maps: maps, positions=0)


def test_layers_that_are_no_maps_are_named(images):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveMaxPool2d(2), nn.Flatten(2), nn.ReLU()).double()
    result = measure_variance(model, images, None, rotations(3), measure="equivariance", channel_axis={"3": 1})
    assert result.layer_names == ["0"]
    assert result.not_measured["1"] == "no position of its map of 2 × 2 is kept by all transformations"
    assert result.not_measured["3"] == "its 1 axes of positions are no map (H, W)"
    with pytest.raises(InputError, match=r"images of shape \(23, 24, 12\) have no maps"):
        measure_variance(nn.Sequential(nn.Linear(12, 2)).double(), images.flatten(1, 2), None, brightness(2),
                         measure="equivariance")  # fmt: skip


def test_maps_without_an_axis_of_channels_have_one_channel(images):
    """As weights of attention, (B, H, W)."""

    class Mean(nn.Module):
        def forward(self, maps):
            return maps.mean(dim=1)

    class Kept(nn.Module):
        def forward(self, maps):
            return maps.mean(dim=1, keepdim=True)

    found = [
        measure_variance(nn.Sequential(nn.Identity(), kind()), images, None, rotations(3), measure="equivariance",
                         channel_axis={"1": axis}).normalized_variance()["1"]
        for kind, axis in ((Mean, ()), (Kept, 1))
    ]  # fmt: skip
    np.testing.assert_array_equal(found[0].flatten(), found[1].flatten())


def test_networks_and_images_that_cannot_be_turned_back_are_refused(images):
    tokens = nn.Sequential(nn.Flatten(2), nn.ReLU()).double()
    with pytest.raises(InputError, match=r"no layer can be turned back; layer 1: its 1 axes of positions are no map"):
        measure_variance(tokens, images, None, flips(), measure="equivariance", channel_axis={"1": 1})
    model, far = nn.Sequential(nn.Conv2d(2, 3, 3)).double(), translations(4, spacing=14)
    with pytest.raises(
        InputError, match=r"images of shape .* cannot be turned back: no position of its map of 12 × 12"
    ):
        measure_variance(model, images, None, far, measure="equivariance")


def test_activations_that_track_gradients_are_read(images):
    class Tracking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3).double()

        def forward(self, inputs):
            with torch.enable_grad():
                return self.conv(inputs)

    measured = measure_variance(Tracking(), images, None, rotations(3), measure="equivariance", batch_size=8)
    assert measured.layer_names == ["conv"]


def test_a_result_is_saved_and_loaded(model, images, labels, tmp_path):
    result = measure_variance(model, images, labels, rotations(3), measure="equivariance", by_class=True)
    result.save(tmp_path / "maps")
    loaded = EquivarianceResult.load(tmp_path / "maps")
    for group in result.groups:
        assert loaded.layer_means(group) == result.layer_means(group)
        assert loaded.layer_intervals(group) == result.layer_intervals(group)
    assert loaded.equivariance_errors() == result.equivariance_errors()
    np.testing.assert_array_equal(loaded.positions[0], result.positions[0])
    assert "same-equivariance at up to 64 positions" in str(loaded)
    with pytest.raises(FileError, match="cannot be read as a result"):
        VarianceResult.load(tmp_path / "maps")


def test_too_many_positions_are_refused_before_the_pass(model, images, monkeypatch):
    monkeypatch.setattr("pytorch.variance.memory.available_memory", lambda device: 2**20)
    told = r"measuring 22 units and [\d,]+ positions of turned-back maps in batches of 23 needs .* read fewer positions"
    with pytest.raises(InputError, match=told):
        measure_variance(model, images, None, rotations(3), measure="both", positions=None)

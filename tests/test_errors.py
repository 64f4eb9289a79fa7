"""Error bars: they cover, they agree with a resampling, they stay what they are however the samples are cut."""

import numpy as np
import pytest
import torch
from oracle import add_shard
from torch import nn

from pytorch.errors import InputError
from pytorch.transformations import rotations
from pytorch.variance import measure_variance
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.statistics.accumulator import VarianceAccumulator

LAYERS = [6, 3, 20]
STEPS = 4


def draw(samples, generator):
    """Activations (N, T, U) of units that share much of their noise, two of them seldom active, and labels."""
    common = torch.randn(samples, 1, 1, generator=generator, dtype=torch.float64)
    own = torch.randn(samples, 1, sum(LAYERS), generator=generator, dtype=torch.float64)
    moving = torch.randn(samples, STEPS, sum(LAYERS), generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (samples,), generator=generator)
    table = labels.reshape(-1, 1, 1) + common + own + 0.5 * moving * (1 + own.abs())
    return torch.cat([table[..., :-2], table[..., -2:].clamp(min=2)], dim=2), labels


def accumulate(table, labels, batch=250, dispersion="std"):
    accumulator = VarianceAccumulator(STEPS, LAYERS, dispersion, labels=range(3))
    for part in torch.arange(len(labels)).split(batch):
        accumulator.begin(labels[part])
        for step in range(STEPS):
            accumulator.add(table[part, step])
        accumulator.end()
    return accumulator


def layer_means(table, dispersion=np.std):
    """NV of each layer and of all, by NumPy."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = dispersion(table, axis=1, ddof=1).mean(axis=0) / dispersion(table, axis=0, ddof=1).mean(axis=0)
    return np.array([*(part.mean() for part in np.split(ratios, np.cumsum(LAYERS)[:-1])), ratios.mean()])


def stratified_means(table, labels):
    ratios = []
    for label in range(3):
        of_class = table[labels == label]
        ratios.append(of_class.std(axis=1, ddof=1).mean(axis=0) / of_class.std(axis=0, ddof=1).mean(axis=0))
    ratios = np.mean(ratios, axis=0)
    return np.array([*(part.mean() for part in np.split(ratios, np.cumsum(LAYERS)[:-1])), ratios.mean()])


@pytest.mark.parametrize("batch", [250, 1000])
def test_intervals_cover_the_value_of_very_many_samples(batch):
    """Of 200 draws, 92 to 98 % (binomial: 95 ± 1.54 %) for each layer; batches matter little."""
    population, classes = draw(200_000, torch.Generator().manual_seed(99))
    truth = layer_means(population.numpy()), stratified_means(population.numpy(), classes.numpy())
    generator = torch.Generator().manual_seed(1)
    covered = np.zeros((2, len(LAYERS) + 1))
    for _ in range(200):
        table, labels = draw(1000, generator)
        errors = accumulate(table, labels, batch).errors()
        means = layer_means(table.numpy()), stratified_means(table.numpy(), labels.numpy())
        widths = (errors.all[2], errors.bias_all), (errors.stratified, errors.bias_stratified)
        for row, (error, bias) in enumerate(widths):
            covered[row] += np.abs(means[row] - bias - truth[row]) < 1.96 * error
    assert (covered >= 0.92 * 200).all(), covered / 200
    assert (covered <= 0.98 * 200).all(), covered / 200


def draw_maps(samples, generator):
    """Values (N, T, P, U) of maps with three positions, whose units share what ``draw`` gives them."""
    shared, _ = draw(samples, generator)
    noise = torch.randn(samples, STEPS, 3, sum(LAYERS), generator=generator, dtype=torch.float64)
    return shared.unsqueeze(2) * torch.tensor([0.5, 1.0, 2.0]).view(3, 1) + noise


def map_means(table):
    """Same-equivariance NV of each layer and of all, by NumPy."""
    ratios = table.std(axis=1, ddof=1).mean(axis=(0, 1)) / table.std(axis=0, ddof=1).mean(axis=(0, 1))
    return np.array([*(part.mean() for part in np.split(ratios, np.cumsum(LAYERS)[:-1])), ratios.mean()])


def test_intervals_of_equivariance_cover_the_value_of_very_many_samples():
    """Of 200 draws, 92 to 98 % for each layer, as for invariance."""
    truth = map_means(draw_maps(60_000, torch.Generator().manual_seed(99)).numpy())
    generator = torch.Generator().manual_seed(1)
    covered = np.zeros(len(LAYERS) + 1)
    for _ in range(200):
        table = draw_maps(500, generator)
        accumulator = MapAccumulator(STEPS, LAYERS, [3] * len(LAYERS))
        for part in table.split(250):
            accumulator.begin(torch.zeros(len(part), dtype=torch.int64))
            for step in range(STEPS):
                accumulator.add([values.flatten(1) for values in part[:, step].split(LAYERS, dim=2)])
            accumulator.end()
        errors = accumulator.errors()
        covered += np.abs(map_means(table.numpy()) - errors.bias_all - truth) < 1.96 * errors.all[2]
    assert (covered >= 0.92 * 200).all(), covered / 200
    assert (covered <= 0.98 * 200).all(), covered / 200


@pytest.mark.parametrize("dispersion", ["std", "variance"])
def test_errors_and_biases_agree_with_the_delete_one_jackknife(dispersion):
    table, labels = draw(400, torch.Generator().manual_seed(3))
    errors = accumulate(table, labels, 400, dispersion).errors()
    whole, by_numpy = table.numpy(), {"std": np.std, "variance": np.var}[dispersion]
    deleted = np.array([layer_means(np.delete(whole, index, axis=0), by_numpy) for index in range(len(whole))])
    expected = np.sqrt(399 / 400 * ((deleted - deleted.mean(axis=0)) ** 2).sum(axis=0))
    bias = 399 * (deleted.mean(axis=0) - layer_means(whole, by_numpy))
    # The two differ in the terms of higher order, 1 / N of the leading one; heavy tails make those felt.
    np.testing.assert_allclose(errors.all[2], expected, rtol=0.05)
    np.testing.assert_allclose(errors.bias_all, bias, rtol=0.2)


def test_errors_of_layer_means_of_the_parts():
    """TV's layer mean is a plain mean over samples, so its error is the textbook one."""
    table, labels = draw(300, torch.Generator().manual_seed(4))
    errors = accumulate(table, labels, 300).errors()
    spread = table.numpy().std(axis=1, ddof=1)
    per_sample = np.stack([part.mean(axis=1) for part in np.split(spread, np.cumsum(LAYERS)[:-1], axis=1)], axis=1)
    np.testing.assert_allclose(errors.all[0, :-1], per_sample.std(axis=0, ddof=1) / np.sqrt(300), rtol=1e-6)


def test_merged_shards_have_the_errors_of_the_whole():
    table, labels = draw(2000, torch.Generator().manual_seed(5))
    merged = accumulate(table[:1000], labels[:1000])
    add_shard(merged, accumulate(table[1000:], labels[1000:]))
    whole = accumulate(table, labels).errors()
    np.testing.assert_allclose(merged.errors().all, whole.all, rtol=0.1)
    np.testing.assert_allclose(merged.errors().stratified, whole.stratified, rtol=0.1)


def test_a_group_of_one_sample_has_no_error(images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3)).double()
    result = measure_variance(model, images, torch.tensor([0] * 11 + [1] * 11 + [2]), rotations(3))
    assert np.isnan(result.layer_errors("2")["0"])
    assert np.isfinite(result.layer_errors("stratified")["0"])
    assert np.isfinite(result.global_interval("0")).all()


def test_a_tolerance_stops_the_pass_and_says_how_far_it_came():
    torch.manual_seed(0)
    images = torch.rand(6000, 1, 6, 6)
    labels = torch.arange(6000) % 3
    model = nn.Sequential(nn.Conv2d(1, 4, 3))
    full = measure_variance(model, images, labels, rotations(4), batch_size=100)
    result = measure_variance(model, images, labels, rotations(4), batch_size=100, tolerance=0.02)
    assert 100 <= result.samples < 6000
    assert result.samples_offered == 6000
    assert max(result.class_counts) - min(result.class_counts) <= 3
    for group in ("all", "stratified"):
        assert abs(result.layer_means(group)["0"] - full.layer_means(group)["0"]) < 0.02
    finer = measure_variance(model, images, labels, rotations(4), batch_size=100, tolerance=0.005)
    assert finer.samples > result.samples
    other = measure_variance(model, images, labels, rotations(4), batch_size=100, tolerance=0.02, seed=1)
    assert other.layer_means() != result.layer_means()


def test_a_tolerance_waits_for_units_that_may_awake():
    """One unit of four has been constant so far: should it awake, its 1 would fall to near 0."""

    class Rare(nn.Module):
        def forward(self, inputs):
            return torch.cat([inputs.flatten(1)[:, :3], inputs.new_zeros(len(inputs), 1)], dim=1) + 0

    images = torch.rand(5000, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(Rare())
    result = measure_variance(model, images, None, rotations(4), batch_size=100, tolerance=0.02)
    # 1 / 4 · (5000 - n) / n falls below 0.02 at n = 4630.
    assert 4630 <= result.samples < 5000


def test_shuffled_samples_have_a_normalized_variance_of_1():
    torch.manual_seed(0)
    images = torch.rand(1000, 1, 8, 8) * torch.rand(1000, 1, 1, 1)
    labels = (images.mean(dim=(1, 2, 3)) > 0.25).long()
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    upright = measure_variance(model, images, labels, rotations(16), dispersion="variance")
    shuffled = measure_variance(model, images, labels, rotations(16), dispersion="variance", shuffled=True)
    assert upright.global_mean() < 0.7
    for group in shuffled.groups:
        assert shuffled.global_mean(group) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("as_iterable", [False, True])
def test_too_few_samples_to_shuffle_are_refused(as_iterable):
    """A batch that is small because it is all, or the last one, is not."""

    def measure(count, size):
        images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        given = [(part, None) for part in images.split(size)] if as_iterable else images
        return measure_variance(model, given, None, rotations(2), batch_size=size, shuffled=True).samples

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    with pytest.raises(InputError, match="batches of 15 samples are too small to shuffle: at least 16 are needed"):
        measure(30, 15)
    assert [measure(6, 15), measure(32, 16), measure(33, 32)] == [6, 32, 33]


def test_bfloat16_forward_passes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    images, labels = torch.rand(200, 1, 12, 12), torch.arange(200) % 2
    seen = []
    handle = model[2].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    short = measure_variance(model, images, labels, rotations(8), precision="bf16")
    handle.remove()
    assert set(seen) == {torch.bfloat16}
    exact = measure_variance(model, images, labels, rotations(8))
    for name, mean in exact.layer_means("stratified").items():
        assert short.layer_means("stratified")[name] == pytest.approx(mean, abs=0.01)
    assert short.tv_all.tobytes() != exact.tv_all.tobytes()
    assert short.tv_all.dtype == np.float64


def test_samples_without_a_label_are_no_class(reusing_model, images, labels):
    labelled = (images[:12], labels[:12])
    alone = measure_variance(reusing_model, [labelled], None, rotations(3))
    mixed = measure_variance(reusing_model, [labelled, (images[12:], None)], None, rotations(3))
    assert mixed.samples == 23
    assert mixed.classes == alone.classes
    np.testing.assert_allclose(mixed.errors.stratified, alone.errors.stratified, rtol=1e-6)
    np.testing.assert_allclose(mixed.errors.bias_stratified, alone.errors.bias_stratified, rtol=1e-6)


def test_a_class_that_begins_with_one_sample_has_errors(images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3)).double()
    batches = [(images[:6], torch.tensor([0, 0, 0, 0, 0, 1])), (images[6:], torch.tensor([0] * 8 + [1] * 9))]
    result = measure_variance(model, batches, None, rotations(3))
    for quantity in ("transformation", "sample", "normalized"):
        assert np.isfinite(result.layer_errors("1", quantity)["0"])

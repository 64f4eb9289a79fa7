"""Claims of the paper: the tests behind the answers, and the answers to measurements that are known to be so or so."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from builders import found_in, pair, result, rows, unlabelled, untrained
from scipy import stats

from pytorch.claims import claims_tables
from pytorch.claims.claim import NO, UNCLEAR, YES, Case, Claim, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Trend, holm, spread, t_test, trend, z_test
from pytorch.claims.trainings import all_trainings, training_text, uncounted
from pytorch.claims.varying_layers import VaryingLayers
from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.vocabulary import PAIR
from pytorch.report.findings import Findings, Trained
from pytorch.report.formats import latex, markdown
from pytorch.report.table import Estimate

LAYERS = 9


def measured(nv, errors=0.01, classes=None, class_errors=0.01):
    """A result of one unit a layer: NV of all samples, and in each class, with their errors."""
    nv = np.asarray(nv, dtype=float)
    classes = np.asarray([nv, nv] if classes is None else classes, dtype=float)
    part = result()
    count, columns = len(classes), len(nv) + 1
    errors = replace(
        part.errors,
        all=np.full((3, columns), float(errors)),
        classes=np.full((count, 3, columns), float(class_errors)),
        stratified=np.full(columns, float(errors)),
        bias_all=np.zeros(columns),
        bias_classes=np.zeros((count, columns)),
        bias_stratified=np.zeros(columns),
    )
    return replace(
        part,
        layer_names=[f"layer{place}" for place in range(len(nv))],
        layer_shapes=[(1,)] * len(nv),
        layer_axes=[[1]] * len(nv),
        layer_axes_known=["known"] * len(nv),
        classes=[f"class{place}" for place in range(count)],
        class_counts=np.full(count, 50),
        samples=50 * count,
        tv_all=nv,
        sv_all=np.ones_like(nv),
        tv_classes=classes,
        sv_classes=np.ones_like(classes),
        errors=errors,
    )


def tables(found):
    return {table.name: rows(table) for table in claims_tables(found)}


def lowered(by, errors=0.01, **changes):
    """A pair whose rotated model has a normalized variance that is lower by so much."""
    nv = np.linspace(0.8, 0.9, LAYERS)
    return pair(results={"unrotated": measured(nv, errors), "rotated": measured(nv - by, errors)}, **changes)


def test_p_values_of_many_tests():
    """Worked out by hand: 5 · 0.01, 4 · 0.02, 3 · 0.03, and then no less than that."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.9, 0.8]) == [1, 1]
    adjusted = holm([math.nan, 0.01])
    assert math.isnan(adjusted[0])
    assert adjusted[1] == 0.02
    assert holm([]) == []


def test_p_values_of_values_with_errors():
    assert z_test(1.959964, 1.0) == pytest.approx(0.05, abs=1e-6)
    assert z_test(-1.959964, 1.0) == pytest.approx(0.05, abs=1e-6)
    assert (z_test(0, 0), z_test(1, 0)) == (1, 0)
    assert math.isnan(z_test(math.nan, 1))
    # 12.706 is the quantile of Student's t with one degree of freedom; mean 1, standard error 1 / 12.706.
    assert t_test([1 - 1 / 12.7062, 1 + 1 / 12.7062]) == pytest.approx(0.05, abs=1e-6)
    assert math.isnan(t_test([1.0]))
    assert (t_test([0.0, 0.0]), t_test([2.0, 2.0])) == (1, 0)


def test_the_spread_of_equal_values_is_judged_right_as_often_as_it_says():
    generator = np.random.default_rng(0)
    errors = np.array([0.01, 0.02, 0.05, 0.01, 0.03])
    found = [spread(1 + errors * generator.standard_normal(5), errors).p_value for _ in range(2000)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_spread_of_different_values_is_found():
    generator = np.random.default_rng(1)
    errors = np.full(10, 0.05)
    variances = [spread(generator.normal(1, 0.1, 10) + errors * generator.standard_normal(10), errors).deviation ** 2
                 for _ in range(2000)]  # fmt: skip
    # 2,000 draws of a variance with 9 degrees of freedom: 0.0125 · sqrt(2 / 9 / 2000) = 0.00013 is one standard error.
    assert np.mean(variances) == pytest.approx(0.01, abs=4 * 0.00013)


def test_a_spread_is_that_of_all_values_alike_where_large_ones_have_large_errors():
    values = np.linspace(0.5, 1.8, 10)
    found = spread(values, 0.02 * values)
    assert found.deviation == pytest.approx(values.std(ddof=1), rel=0.01)
    assert found.mean == pytest.approx(values.mean())


def test_a_spread_without_errors_is_unknown():
    assert math.isnan(spread(np.array([1.0, 2.0]), np.array([0.0, np.nan])).p_value)
    assert spread(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.3, 0.0])).mean == 1.5
    assert spread(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.3, 0.0])).error == pytest.approx(0.2)
    assert math.isnan(spread(np.array([np.nan]), np.array([np.nan])).mean)


def exact(*values):
    return trend(np.array(values, dtype=float), np.zeros(len(values)))


def test_trends_by_hand():
    assert exact(1, 2, 3, 4) == Trend(1, 0)
    assert exact(4, 3, 2, 1) == Trend(-1, 0)
    # Of the six pairs of 1, 3, 2, 4 five rise: τ = (5 - 1) / 6.
    assert exact(1, 3, 2, 4).tau == pytest.approx(4 / 6)
    assert (exact(1, 1, 1).tau, math.isnan(exact(1, 2).tau)) == (0, True)
    assert exact(1, 2, 3).interval == (1, 1)


def test_the_error_of_a_trend_is_that_of_its_values():
    """One pair of four that may be either way round: τ is 1 or 2/3, with equal chances."""
    found = trend(np.array([0, 1, 1 + 1e-9, 2]), np.array([0.01, 0.01, 0.01, 0.01]))
    assert (found.tau, found.error) == (1, pytest.approx(1 / 6, rel=0.05))
    low, high = found.interval
    assert (high - low) / 2 == pytest.approx(1.96 * found.error, rel=1e-4)
    unknown = trend(np.array([1.0, 2, 3]), np.array([0.1, np.inf, np.inf]))
    assert (unknown.tau, math.isnan(unknown.error)) == (1, True)


@pytest.mark.parametrize(
    ("by", "errors", "answer"), [(0.1, 0.01, YES), (-0.1, 0.01, NO), (0.1, 0.05, UNCLEAR), (0.1, math.nan, UNCLEAR)]
)
def test_a_comparison(by, errors, answer):
    found = tables(found_in(lowered(by, errors)))
    asked = [row for row in found["comparisons"] if row["model"] == "simple_conv" and row["dataset"] == "mnist"]
    plain = asked[0]
    assert [row["lower"] for row in asked] == [answer, answer, "not measured", "not measured"]
    assert plain["difference"].value == pytest.approx(-by)
    np.testing.assert_allclose(plain["difference"].error, 2 * errors, equal_nan=True)
    assert (plain["2019 unrotated"].value, plain["2019 rotated"].value) == (0.7315, 0.686)
    assert plain["2019 difference"].value == pytest.approx(0.686 - 0.7315)
    assert plain["training"] == "3 + 7 epochs of ? images"
    assert len(found["comparisons"]) == 32
    assert sum(row["lower"] == "not measured" for row in found["comparisons"]) == 30
    assert (
        found["claims"][0]["verdict"]
        == {
            YES: "reproduced in all cases measured, 2 of 32",
            NO: "not reproduced: no in all cases measured, 2 of 32",
            UNCLEAR: "undecided in all cases measured, 2 of 32",
        }[answer]
    )


def test_of_several_trainings_their_own_spread_counts():
    """Each difference is far beyond its error over samples, but they do not agree with each other."""

    def of_seed(seed, by):
        training = {name: {"seed": seed, "epochs": 3} for name in PAIR}
        return lowered(by, 0.0001, training=training, weights={name: f"{name}{seed}" for name in PAIR})

    def answers(*lowerings):
        first, *others = (of_seed(seed, by) for seed, by in enumerate(lowerings))
        return tables(found_in(first, repeats=others))["comparisons"][0]

    agreeing, differing = answers(0.1, 0.11, 0.09, 0.1), answers(0.1, -0.1, 0.3, 0.05)
    assert (agreeing["lower"], differing["lower"]) == (YES, UNCLEAR)
    values = np.array([0.1, -0.1, 0.3, 0.05])
    assert differing["difference"].value == pytest.approx(-values.mean())
    assert differing["difference"].error == pytest.approx(values.std(ddof=1) / 2)


def test_trainings_that_differ_in_more_than_the_seed_are_no_repeats():
    def of_seed(seed, **changes):
        training = {name: {**each, "seed": seed, **changes} for name, each in first.training.items()}
        return replace(first, training=training, weights={name: f"{name}{seed}" for name in PAIR})

    first = lowered(0.1)
    same = of_seed(1)
    fewer_steps = {
        name: replace(each, transformations=each.transformations[:1]) for name, each in first.results.items()
    }
    others = [
        of_seed(2, epochs=99),
        replace(of_seed(3), transformation="scale"),
        replace(of_seed(4), results=fewer_steps),
        replace(of_seed(5), training={}),
    ]
    assert all_trainings(found_in(first, repeats=[same, *others]), first) == [first, same]


def test_trainings_measured_to_one_tolerance_count_whatever_samples_that_took():
    def of_seed(seed, tolerance, samples):
        results = {
            name: replace(each, tolerance=tolerance, samples=samples, samples_offered=200)
            for name, each in lowered(0.1).results.items()
        }
        return replace(lowered(0.1), results=results, weights={name: f"{name}{seed}" for name in PAIR})

    first, same = of_seed(0, 0.1, 90), of_seed(1, 0.1, 120)
    found = found_in(first, repeats=[same, of_seed(2, 0.2, 90), of_seed(3, None, 90)])
    assert all_trainings(found, first) == [first, same]
    whole = of_seed(4, None, 90)
    found = found_in(whole, repeats=[of_seed(5, None, 120), of_seed(6, None, 90)])
    assert [each.weights["rotated"] for each in all_trainings(found, whole)] == ["rotated4", "rotated6"]
    assert [each.weights["rotated"] for each in uncounted(found)] == ["rotated5"]


def test_the_same_weights_are_one_training_wherever_they_lie():
    """Nor do several seeds share a model."""
    first = lowered(0.1, 0.05)
    mixed = replace(first, weights={**first.weights, "rotated": "another"})
    other = replace(first, weights={"unrotated": "third", "rotated": "fourth"})
    found = found_in(first, repeats=[first, mixed, other, other])
    assert all_trainings(found, first) == [first, other]
    assert tables(found_in(first, repeats=[first]))["comparisons"][0]["lower"] == UNCLEAR


def test_how_it_was_trained_is_told():
    training = {
        "unrotated": {"epochs": 3, "training samples": 50000}, "rotated": {"epochs": 6, "training samples": 50000}
    }  # fmt: skip
    copy = pair(model="all_convolutional", dataset="folder-cifar10-jpeg", training=training)
    assert training_text(copy) == "3 + 6 epochs (recipe: 15 + 45) of 50000 images, folder-cifar10-jpeg"


def test_a_model_without_a_recipe_is_compared_too():
    found = tables(found_in(lowered(0.1, model="my_net")))
    assert [row["lower"] for row in found["further-comparisons"]] == [YES, YES]
    assert found["further-comparisons"][0]["training"] == "3 + 7 epochs of ? images"


def test_a_copy_stands_in_for_its_data_set_where_the_original_is_not_there():
    copy, original = (lowered(by, dataset=name) for by, name in ((0.1, "folder-cifar10-jpeg"), (0.3, "cifar10")))

    def first_of_cifar10(*pairs):
        return next(row for row in tables(found_in(*pairs))["comparisons"] if row["dataset"] == "cifar10")

    assert first_of_cifar10(copy)["difference"].value == pytest.approx(-0.1)
    assert first_of_cifar10(copy, original)["difference"].value == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("unrotated", "rotated", "answer"),
    [
        ((0.99, 0.40), (0.98, 0.98), YES),
        ((0.99, 0.80), (0.98, 0.98), NO),  # it does not collapse
        ((0.99, 0.40), (0.98, 0.80), NO),  # this one does
        ((0.99, 0.54), (0.98, 0.98), UNCLEAR),  # 0.506 lost, ± 0.017
        ((0.10, 0.10), (0.98, 0.98), AT_CHANCE),  # nothing was learned
        ((0.99, 0.40), (0.11, 0.11), AT_CHANCE),
    ],
)
def test_accuracy_that_collapses(trained, unrotated, rotated, answer):
    classes = [str(digit) for digit in range(10)]
    models = {
        name: replace(trained, trained_on=name, classes=classes, test_samples=1000, angle_curve=None,
                      accuracy=dict(zip(("upright", "rotated"), accuracies, strict=True)))
        for name, accuracies in zip(PAIR, (unrotated, rotated), strict=True)
    }  # fmt: skip
    found = found_in(trained_pairs={("simple_conv", "mnist"): Trained(None, [models], {}, [])})
    (row,) = tables(found)["collapse"]
    assert row["as claimed"] == answer
    if unrotated[0] > 0.1:
        loss = row["unrotated model, loss"]
        assert loss.value == pytest.approx((unrotated[0] - unrotated[1]) / (unrotated[0] - 0.1))
        # By drawing test sets: the linearised error is that of the ratio.
        drawn = np.random.default_rng(0).binomial(1000, np.array(unrotated)[:, None], (2, 20000)) / 1000
        assert loss.error == pytest.approx(np.std((drawn[0] - drawn[1]) / (drawn[0] - 0.1)), rel=0.03)


def test_accuracy_counts_from_what_naming_the_largest_class_has(trained):
    curve = AngleCurve([0.0], [[800, 0, 0]], [800, 100, 100])
    models = {
        name: replace(trained, trained_on=name, test_samples=10**6, angle_curve=curve,
                      accuracy={"upright": 0.9, "rotated": rotated})
        for name, rotated in zip(PAIR, (0.81, 0.9), strict=True)
    }  # fmt: skip
    found = found_in(trained_pairs={("simple_conv", "mnist"): Trained(None, [models], {}, [])})
    (row,) = tables(found)["collapse"]
    assert row["unrotated model, loss"].value == pytest.approx(0.9)
    assert row["as claimed"] == YES
    at_chance = replace(models["rotated"], accuracy={"upright": 0.8, "rotated": 0.8})
    models["rotated"] = at_chance
    (row,) = tables(found)["collapse"]
    assert (row["as claimed"], math.isnan(row["rotated model, loss"].value)) == (AT_CHANCE, True)
    assert "claims" not in tables(found)


def test_networks_that_have_learned_nothing_are_no_cases():
    """Nor do they count for the adjustment of the others' p-values."""
    known = {"upright": 0.99, "rotated": 0.4}
    good = lowered(0.1, 0.02, accuracy=dict.fromkeys(PAIR, known))
    unknowing = {"unrotated": known, "rotated": {"upright": 0.5, "rotated": 0.5}}
    bad = lowered(0.1, 0.02, model="resnet", accuracy=unknowing)
    found, alone = tables(found_in(good, bad)), tables(found_in(good))
    measured_rows = [row for row in found["comparisons"] if row["lower"] != "not measured"]
    assert [row["lower"] for row in measured_rows] == [YES, YES, AT_CHANCE, AT_CHANCE]
    assert [row["p"] for row in measured_rows] == [alone["comparisons"][0]["p"]] * 2 + ["–"] * 2
    assert found["claims"][0]["cases"] == 2
    trends = {tuple(row[head] for head in ("model", "measure", "trained on")): row for row in found["depth-trend"]}
    assert {trends["resnet", measure, "rotated"]["rises"] for measure in ("all samples", "stratified")} == {AT_CHANCE}
    assert trends["resnet", "all samples", "unrotated"]["rises"] == YES
    assert {row["differs"] for row in found["class-spread"] if row["model"] == "resnet"} == {UNCLEAR, AT_CHANCE}
    assert "claims" not in tables(found_in(lowered(0.1, accuracy=dict.fromkeys(PAIR, unknowing["rotated"]))))


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ("yy", "reproduced in all cases"),
        ("yu", "depends: yes in 1 of 2 cases (0); unclear in 1"),
        ("ynu", "depends: yes in 1 of 3 cases (0); no in 1 (1); unclear in 1"),
        ("nun", "not reproduced: no in 2 of 3 cases (0; 2); unclear in 1"),
        ("nn", "not reproduced: no in all cases"),
        ("u", "undecided in all cases"),
    ],
)
def test_verdicts(answers, verdict):
    named = {"y": YES, "n": NO, "u": UNCLEAR}
    cases = [Case((str(place),), named[each]) for place, each in enumerate(answers)]
    assert Claim("", "", "", cases).verdict() == verdict
    extent = f" measured, {len(cases)} of 32"
    assert Claim("", "", "", cases, 32).verdict() == re.sub("cases", f"cases{extent}", verdict)


def test_cases_are_named_by_what_they_alone_have_in_common():
    """The measure and the training decide; the data set is the same everywhere and says nothing."""
    cases = [
        Case((model, "mnist", measure, name), YES if (measure, name) == ("stratified", "unrotated") else UNCLEAR)
        for model in ("vgg16", "resnet") for measure in ("all samples", "stratified") for name in PAIR
    ]  # fmt: skip
    assert Claim("", "", "", cases).verdict() == ("depends: yes in 2 of 8 cases (stratified, unrotated); unclear in 6")
    cases[0] = replace(cases[0], answer=YES)
    assert "(vgg16, mnist, all samples, unrotated; vgg16, mnist, stratified, unrotated; resnet, mnist, str" in (
        Claim("", "", "", cases).verdict()
    )
    many = [Case((str(place), "mnist"), YES if place % 2 else UNCLEAR) for place in range(12)]
    assert Claim("", "", "", many).verdict() == "depends: yes in 6 of 12 cases; unclear in 6"


def test_one_size_is_no_range():
    assert range_text([Estimate(0.5, 0.1)] * 2) == "0.50 ± 0.10"
    assert range_text([Estimate(math.nan, 0.1)]) == "–"


def test_what_was_not_published_is_compared_too():
    published, other = lowered(0.1), lowered(-0.1, dataset="digits")
    found = tables(found_in(published, other))
    assert [row["lower"] for row in found["further-comparisons"]] == [NO, NO]
    verdicts = [row["verdict"] for row in found["claims"][:2]]
    assert verdicts == [
        "reproduced in all cases measured, 2 of 32",
        "not reproduced: no in all cases",
    ]
    assert "comparisons" not in tables(found_in(other))
    assert "further-comparisons" not in tables(found_in(published))


def accuracies_of(trained, *rotated, samples=100):
    """Trainings of one pair, whose unrotated models have these accuracies on rotated data."""
    classes = [str(digit) for digit in range(10)]
    common = {"classes": classes, "test_samples": samples, "angle_curve": None}
    pairs = [
        {
            "unrotated": replace(
                trained, accuracy={"upright": 0.99, "rotated": each}, trained_on="unrotated", **common
            ),
            "rotated": replace(trained, accuracy={"upright": 1.0, "rotated": 1.0}, trained_on="rotated", **common),
        }
        for each in rotated
    ]
    found = found_in(trained_pairs={("simple_conv", "mnist"): Trained(None, pairs, {}, [])})
    return tables(found)["collapse"][0]


def test_a_second_training_makes_nothing_surer_than_its_images_are(trained):
    one, two = accuracies_of(trained, 0.525), accuracies_of(trained, 0.48, 0.57)
    assert (one["as claimed"], two["as claimed"]) == (UNCLEAR, UNCLEAR)
    assert two["trainings"] == 2
    over_images = one["unrotated model, loss"].error
    assert two["unrotated model, loss"].error == pytest.approx(
        math.hypot(over_images, np.std([0.48, 0.57], ddof=1) / 0.89 / 2**0.5), rel=0.01
    )
    many = accuracies_of(trained, *[0.525] * 20)
    assert (many["as claimed"], many["unrotated model, loss"].error) == (UNCLEAR, pytest.approx(over_images))
    assert one["test images"] == 100


def test_few_trainings_are_judged_by_students_t(trained):
    """0.562 lost ± 0.025: 1.96 of these would clear the bound of 0.5, and the 12.7 of two trainings do not."""
    assert accuracies_of(trained, 0.4675, 0.5125, samples=10**6)["as claimed"] == UNCLEAR
    assert accuracies_of(trained, 0.489, 0.491, samples=10**6)["as claimed"] == YES


def test_all_of_a_few_images_is_not_certain(trained):
    assert accuracies_of(trained, 0.1, samples=10)["as claimed"] == UNCLEAR


def test_the_output_class_by_class():
    nv = np.full(LAYERS, 0.5)
    alike = measured(nv, classes=[nv, nv + 0.001, nv - 0.001], class_errors=0.01)
    apart = measured(nv, classes=[nv, nv + 0.1, nv - 0.1], class_errors=0.01)
    before = untrained(results={"untrained": measured(nv, classes=[nv, nv + 0.05, nv - 0.05], class_errors=0.001)})
    found = tables(found_in(pair(results={"unrotated": apart, "rotated": alike}), before))
    unrotated, rotated = found["class-spread"]
    assert (unrotated["differs"], rotated["differs"]) == (YES, UNCLEAR)
    assert (unrotated["least"], unrotated["most"]) == ("class2 (0.40)", "class1 (0.60)")
    # Three values 0.1 apart have a variance of 0.01, of which 0.0001 is that of their errors.
    assert unrotated["deviation between classes"].value == pytest.approx(math.sqrt(0.01 - 0.0001))
    assert rotated["deviation between classes"].value == 0
    assert unrotated["before training"].value == pytest.approx(math.sqrt(0.0025 - 1e-6))
    assert found["claims"][1]["verdict"] == "depends: yes in 1 of 2 cases (unrotated); unclear in 1"
    assert (unrotated["relative deviation"], rotated["relative deviation"]) == ("19.9 %", "0.0 %")
    assert unrotated["relative deviation before training"] == "10.0 %"
    assert found["claims"][1]["found"].endswith(
        "deviations before training 0.0500; of the 1 that differ, 1 did so before training"
    )
    alike_before = untrained(results={"untrained": measured(nv, classes=[nv, nv, nv], class_errors=0.001)})
    found = tables(found_in(pair(results={"unrotated": apart, "rotated": alike}), alike_before))
    assert found["claims"][1]["found"].endswith("; of the 1 that differ, 0 did so before training")


def test_depth():
    rising, falling = np.linspace(0.1, 1, 8), np.linspace(1, 0.1, 8)
    before = untrained(results={"untrained": measured(rising, classes=[falling, falling])})
    unrotated = measured(rising, classes=[rising, rising])
    found = tables(found_in(pair(results={"unrotated": unrotated, "rotated": measured(falling)}), before))
    trends = {(row["measure"], row["trained on"]): row for row in found["depth-trend"]}
    assert {of: row["rises"] for of, row in trends.items()} == {
        ("all samples", "unrotated"): YES, ("all samples", "rotated"): NO,
        ("stratified", "unrotated"): YES, ("stratified", "rotated"): NO,
    }  # fmt: skip
    assert {of: row["rose before"] for of, row in trends.items() if of[1] == "unrotated"} == {
        ("all samples", "unrotated"): YES, ("stratified", "unrotated"): NO
    }  # fmt: skip
    first, last = trends["all samples", "unrotated"], trends["all samples", "rotated"]
    assert [first[head].value for head in ("τ", "τ without the first", "τ before training")] == pytest.approx([1, 1, 1])
    assert found["claims"][2]["verdict"] == "depends: yes in 2 of 4 cases (unrotated); no in 2 (rotated)"
    assert found["claims"][2]["found"] == (
        "τ 1.0000 ± 0.0000, unrotated; τ −1.0000 ± 0.0000, rotated; τ −1.0000 ± 0.0000 to 1.0000 ± 0.0000, "
        "before training; 2 rise, 1 of them before training too; 2 fall (τ below −1/3), 1 of them before training too"
    )
    assert (first["lowest NV"], last["lowest NV"]) == ("layer0 (1 of 8): 0.10", "layer7 (8 of 8): 0.10")


def rises(nv, errors=0.001):
    """The answer to layers of such NV, and how many of them were counted."""
    found = tables(found_in(pair(results={"unrotated": measured(nv, errors), "rotated": measured(np.ones(len(nv)))})))
    row = found["depth-trend"][0]
    return row["rises"], row["layers"]


def test_two_of_three_pairs_in_order_make_a_rise_as_far_as_the_errors_can_tell():
    nine = [0.0, 0.2, 0.1, 0.4, 0.3, 0.6, 0.5, 0.8, 0.7]  # 32 of 36 pairs, and 24 of 28 without the first
    assert rises(nine) == (YES, 9)
    assert rises(nine, errors=0.5) == (UNCLEAR, 9)
    # 24 of 36 pairs, and 16 of 28 without the first: less than two thirds.
    assert rises([0.0, 0.4, 0.8, 0.2, 0.6, 0.1, 0.7, 0.3, 0.9]) == (NO, 9)
    assert rises(nine[::-1]) == (NO, 9)
    assert rises(nine, errors=math.nan) == (UNCLEAR, 9)


def test_a_first_layer_alone_makes_no_trend():
    """25 of 36 pairs are in order with it, τ = 0.39, and 17 of 28 without, 0.21."""
    rest = [0.4, 0.3, 0.7, 0.65, 0.5, 0.9, 0.45, 0.6]
    assert exact(0, *rest).tau == pytest.approx(14 / 36)
    assert exact(*rest).tau == pytest.approx(6 / 28)
    assert rises([0.0, *rest]) == (NO, 9)
    assert rises([0.0, *sorted(rest)]) == (YES, 9)


def test_a_quantity_that_is_seen_twice_counts_once():
    assert rises([0.1, 0.1, 0.10001, 0.2, 0.2, 0.3, 0.3, 0.35]) == (YES, 4)
    assert rises([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) == (YES, 8)


def test_units_that_never_change_are_no_sign_of_depth():
    """They count as 1 in layer means; without them these layers fall, by errors of what is left alone."""
    nv = np.array([0.5, 0.4, 0.3, 0.2, 0.1])
    part = measured(np.repeat(nv, 2), 0.01)
    tv, sv = np.repeat(nv, 2), np.ones(10)
    tv[3::2] = sv[3::2] = 0  # one of two units, in all layers but the first
    columns = len(nv) + 1
    errors = replace(part.errors, **{
        name: getattr(part.errors, name)[..., :columns]
        for name in ("all", "classes", "stratified", "bias_all", "bias_classes", "bias_stratified")
    })  # fmt: skip
    dying = replace(
        part,
        layer_names=part.layer_names[:5],
        layer_shapes=[(2,)] * 5,
        layer_axes=[[1]] * 5,
        layer_axes_known=["known"] * 5,
        tv_all=tv,
        sv_all=sv,
        errors=errors,
    )
    assert [*dying.layer_means().values()] == pytest.approx([0.5, 0.7, 0.65, 0.6, 0.55])
    layers = VaryingLayers.of(dying, "all")
    assert layers.values == pytest.approx(nv)
    assert layers.errors == pytest.approx([0.01, 0.02, 0.02, 0.02, 0.02])
    assert layers.extreme(np.argmin) == "layer4 (5 of 5): 0.10"
    tv[:] = sv[:] = 0
    dead = VaryingLayers.of(replace(dying, tv_all=tv, sv_all=sv), "all")
    assert (dead.names, dead.extreme(np.argmin), [len(each) for each in dead.distinct()]) == ([], "", [0, 0])


def test_claims_are_told_in_every_form():
    told = claims_tables(found_in(lowered(0.1)))
    assert "U+" not in latex(told)
    assert r"Kendall's $\tau$ above 1/3, 95 \% intervals" in latex(told)
    assert "| reproduced in all cases measured, 2 of 32 |" in markdown(told)


def test_what_claims_have_nothing_to_say_of():
    assert claims_tables(Findings()) == []
    found = tables(found_in(pair(results=unlabelled())))
    assert "class-spread" not in found
    assert [row["lower"] for row in found["comparisons"][:2]] == [UNCLEAR, "not measured"]
    assert tables(found_in(pair(transformation="scale"))) == {}
    assert isinstance(tables(found_in(pair()))["depth-trend"][0]["τ"], Estimate)

"""Transformations are exact, deterministic, counter-clockwise, and in degrees."""

import numpy as np
import pytest
import torch

from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.transformations import (
    Brightness,
    Composition,
    DiscMask,
    Rotation,
    Scaling,
    Translation,
    brightness,
    compositions,
    rotate,
    rotations,
    scalings,
    transformation_set,
    translations,
)  # fmt: skip

ODD = torch.rand(3, 2, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
OBLONG = torch.rand(2, 1, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def turned(image, degrees):
    """One image (H, W) turned counter-clockwise by a loop over its pixels: bilinear, 0 outside."""
    height, width = image.shape
    angle = np.deg2rad(degrees)
    found = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            x, up = column - (width - 1) / 2, (height - 1) / 2 - row
            source_x = x * np.cos(angle) + up * np.sin(angle) + (width - 1) / 2
            source_row = (height - 1) / 2 - (-x * np.sin(angle) + up * np.cos(angle))
            for near_row in (int(np.floor(source_row)), int(np.floor(source_row)) + 1):
                for near_column in (int(np.floor(source_x)), int(np.floor(source_x)) + 1):
                    if 0 <= near_row < height and 0 <= near_column < width:
                        weight = (1 - abs(source_row - near_row)) * (1 - abs(source_x - near_column))
                        found[row, column] += weight * image[near_row, near_column]
    return found


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90, 450])
def test_quarter_turns_move_pixels_and_nothing_else(degrees):
    assert torch.equal(Rotation(degrees)(ODD), torch.rot90(ODD, degrees // 90, dims=(2, 3)))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_quarter_turns_by_interpolation_agree(degrees):
    """The general path, which training and evaluation use, turns the same way by the same angle."""
    torch.testing.assert_close(
        rotate(ODD, torch.full((3,), float(degrees))), torch.rot90(ODD, degrees // 90, dims=(2, 3))
    )


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (7, 1), (5, 3), (4, 3), (64, 1), (2, 35), (0, 3)])
@pytest.mark.parametrize("transformation", [Rotation(30), Scaling(0.7)])
def test_images_of_a_batch_are_transformed_each_by_itself(count, channels, transformation):
    images = torch.rand(count, channels, 9, 6, generator=torch.Generator().manual_seed(2))
    together = transformation(images)
    assert together.shape == images.shape
    for image, found in zip(images, together, strict=True):
        for plane, moved in zip(image, found, strict=True):
            assert torch.equal(transformation(plane[None, None]), moved[None, None])


@pytest.mark.parametrize("degrees", [22.5, 45, 58, -130, 1, 360 / 7])
@pytest.mark.parametrize("images", [ODD, OBLONG], ids=["odd", "oblong"])
def test_any_angle_equals_a_loop_over_pixels(images, degrees):
    expected = np.stack([[turned(channel, degrees) for channel in image] for image in images.numpy()])
    np.testing.assert_allclose(Rotation(degrees)(images), expected, atol=1e-12)


def test_half_turns_of_oblong_images_are_exact():
    assert torch.equal(Rotation(180)(OBLONG), torch.rot90(OBLONG, 2, dims=(2, 3)))


def test_each_image_is_turned_by_its_own_angle():
    degrees = torch.tensor([10.0, -75.0, 200.0])
    together = rotate(ODD, degrees)
    for index, angle in enumerate(degrees.tolist()):
        torch.testing.assert_close(together[index : index + 1], Rotation(angle)(ODD[index : index + 1]))


def test_the_same_angle_gives_the_same_image():
    """An angle is exact, not a draw from around it."""
    for rotation in rotations(16):
        assert torch.equal(rotation(ODD), rotation(ODD))


def test_integer_images_keep_their_scale():
    images = torch.full((1, 1, 8, 8), 200, dtype=torch.uint8)
    for rotation in rotations(8):
        found = rotation(images)
        assert found.dtype == torch.float32
        assert found[0, 0, 4, 4].item() == pytest.approx(200)


def test_short_floating_point_images_are_turned_by_the_same_angle():
    found = Rotation(30)(ODD.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, Rotation(30)(ODD.bfloat16().float()).bfloat16())


def test_the_grid_of_rotations():
    assert [rotation.degrees for rotation in rotations(16)] == [22.5 * step for step in range(16)]
    assert [rotation.degrees for rotation in rotations(3, degrees=90)] == [0, 30, 60]
    assert str(rotations(16)[1]) == "rotation by 22.5°"
    with pytest.raises(InputError, match="0 rotations"):
        rotations(0)


def test_the_disc_is_what_a_turn_neither_brings_in_nor_loses():
    """Of an image of ones every turn leaves the same disc of ones."""
    ones = torch.ones(1, 1, 32, 32)
    upright, *turned = [turn(ones) for turn in rotations(16, disc=True)]
    outside = upright == 0
    assert 0.25 < outside.float().mean() < 0.29  # 1 - pi (15.5 / 32)² = 0.263, and the cut pixels
    for image in turned:
        assert (image[outside] == 0).all()
        torch.testing.assert_close(image, upright, rtol=0, atol=1e-5)
    corner = torch.zeros(1, 1, 32, 32)
    corner[0, 0, :4, :4] = 1
    assert all((turn(corner) == 0).all() for turn in rotations(16, disc=True))


def test_translations_move_pixels_on_a_grid_about_the_middle():
    shifts = translations(16)
    assert [(shift.right, shift.down) for shift in shifts[:5]] == [(-3, -3), (-1, -3), (1, -3), (3, -3), (-3, -1)]
    assert [(shift.right, shift.down) for shift in translations(9)][4] == (0, 0)
    assert torch.equal(Translation(0, 0)(ODD), ODD)
    moved = Translation(2, -1)(OBLONG)
    assert torch.equal(moved[:, :, :-1, 2:], OBLONG[:, :, 1:, :-2])
    assert (moved[:, :, -1] == 0).all()
    assert (moved[..., :2] == 0).all()


def test_scaling_by_a_half_averages_and_by_two_magnifies():
    even = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(Scaling(1)(even), even)
    expected = torch.zeros_like(even)
    expected[:, :, 2:6, 2:6] = torch.nn.functional.avg_pool2d(even, 2)
    torch.testing.assert_close(Scaling(0.5)(even), expected)
    ramp = torch.arange(9.0, dtype=torch.float64).expand(1, 1, 9, 9)
    torch.testing.assert_close(Scaling(2)(ramp)[0, 0, 4], 4 + (torch.arange(9.0, dtype=torch.float64) - 4) / 2)
    factors = [scaling.factor for scaling in scalings(5)]
    assert factors[0] == 1
    assert factors[-1] == 0.5
    np.testing.assert_allclose(np.diff(np.log(factors)), np.log(0.5) / 4)


def test_brightness_and_compositions():
    assert torch.equal(Brightness(0.5)(torch.tensor([[[[200]]]], dtype=torch.uint8)), torch.tensor([[[[100.0]]]]))
    both = compositions(rotations(4), brightness(3))
    assert len(both) == 12
    torch.testing.assert_close(both[5](ODD), torch.rot90(ODD, 1, dims=(2, 3)) * 0.25)
    assert str(Composition((Rotation(90), DiscMask()))) == "rotation by 90°, disc"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: translations(15), "15 translations do not form a square grid"),
        (lambda: translations(16, spacing=1), "are not whole pixels"),
        (lambda: scalings(1), "1 scalings: use at least two"),
        (lambda: scalings(4, smallest=-1), "two different numbers above 0"),
        (lambda: brightness(4, 1, 1), "two different numbers"),
        (lambda: transformation_set("shear", 4), "unknown transformation 'shear': there are rotation, rotation-disc"),
    ],
)
def test_sets_that_cannot_be_made(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("name", ["rotation", "rotation-disc", "translation", "scale", "brightness"])
def test_every_set_of_the_command_line(name):
    chosen = transformation_set(name, 16)
    assert len({str(transformation) for transformation in chosen}) == 16
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    for transformation in chosen:
        found = transformation(pixels)
        assert found.shape == pixels.shape
        assert found.is_floating_point()
        assert torch.equal(pixels, pixels.clone())


def test_what_is_kept_from_inference_serves_training_too():
    """Grids and constants outlive the call that makes them; tensors of inference mode could not be trained through."""
    images = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    normalization = Normalization((0.123,), (0.456,))
    with torch.inference_mode():
        before = [transformation(images) for transformation in (Rotation(17.3), Scaling(0.77), normalization)]
    for transformation, found in zip((Rotation(17.3), Scaling(0.77), normalization), before, strict=True):
        inputs = images.clone().requires_grad_()
        outputs = transformation(inputs)
        outputs.square().sum().backward()
        assert torch.equal(outputs, found)
        assert inputs.grad.abs().sum() > 0

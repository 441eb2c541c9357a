"""Both wavelets: round trips, and each against PyWavelets."""

import numpy as np
import pytest
import pywt
import torch
from numpy.typing import NDArray

from bdflow.networks.wavelets import CDF53, Haar

SHAPES = [(1, 1, 2, 2), (1, 3, 2, 8), (2, 3, 6, 4), (1, 5, 10, 2), (3, 7, 14, 22), (1, 48, 4, 4)]
wavelets = pytest.mark.parametrize("wavelet", [Haar(), CDF53()], ids=["haar", "cdf53"])


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@wavelets
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_round_trips_in_both_orders(wavelet, shape, dtype, tolerance):
    x = noise(*shape, dtype=dtype)
    u = wavelet(x)
    n, c, h, w = shape
    assert u.shape == (n, 4 * c, h // 2, w // 2)
    assert u.dtype == dtype
    torch.testing.assert_close(wavelet.inverse(u), x, rtol=0, atol=tolerance)
    v = noise(*u.shape, dtype=dtype)
    torch.testing.assert_close(wavelet(wavelet.inverse(v)), v, rtol=0, atol=4 * tolerance)


@wavelets
@pytest.mark.parametrize("size", [(2, 2), (6, 10)])
def test_a_constant_picture_is_its_own_average_and_has_no_details(wavelet, size):
    constants = torch.tensor([0.25, 1.0, -3.0], dtype=torch.float64)[None, :, None, None]
    u = wavelet(constants.expand(1, 3, *size))
    expected = torch.cat((constants, torch.zeros(1, 9, 1, 1, dtype=torch.float64)), 1).expand_as(u)
    torch.testing.assert_close(u, expected, rtol=0, atol=1e-15)


@wavelets
def test_channels_are_averages_then_horizontal_vertical_and_diagonal_details(wavelet):
    """Horizontal details are differences between columns, vertical ones between rows."""
    columns = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(4).expand(8, 8)
    rows, checks = columns.T, (columns - columns.T).abs()
    u = wavelet(torch.stack((columns, rows, checks))[None])
    a, h, v, d = (part[0, :, 1:-1, 1:-1].abs().amax((1, 2)) > 1e-12 for part in u.chunk(4, dim=1))
    assert a.all()
    assert h.tolist() == [True, False, False]
    assert v.tolist() == [False, True, False]
    assert d.tolist() == [False, False, True]


def test_haar_is_that_of_pywavelets_at_half_its_amplitude():
    x = noise(2, 3, 10, 6)
    average, (rows, columns, diagonal) = pywt.dwt2(x.numpy(), "haar")  # its "horizontal" details are our V
    expected = np.concatenate((average, columns, rows, diagonal), axis=1) / 2
    np.testing.assert_allclose(Haar()(x).numpy(), expected, rtol=0, atol=1e-15)


def test_haar_averages_are_means_of_squares():
    x = noise(1, 2, 6, 8)
    torch.testing.assert_close(Haar()(x)[:, :2], torch.nn.functional.avg_pool2d(x, 2), rtol=0, atol=1e-15)


def bior22(x: NDArray[np.float64], axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PyWavelets' CDF 5/3 with mirrored borders, at lifting's gains: its low / sqrt(2), its high * -sqrt(2).

    It starts earlier, because its filters are longer: one coefficient each way is border alone.
    """
    low, high = pywt.dwt(x, "bior2.2", mode="reflect", axis=axis)
    inside = slice(1, 1 + x.shape[axis] // 2)
    pick = (..., inside, slice(None)) if axis == -2 else (..., inside)
    return low[pick] / np.sqrt(2), high[pick] * -np.sqrt(2)


@pytest.mark.parametrize("size", [(4, 4), (6, 10), (16, 8)])
def test_cdf53_is_bior22_of_pywavelets(size):
    x = noise(2, 3, *size)
    low, high = bior22(x.numpy(), -1)
    (a, v), (h, d) = bior22(low, -2), bior22(high, -2)
    np.testing.assert_allclose(CDF53()(x).numpy(), np.concatenate((a, h, v, d), axis=1), rtol=0, atol=1e-13)


def test_cdf53_is_that_of_jpeg_2000():
    """ISO 15444-1, F.4.8.1 without its rounding: whole-sample symmetric borders, odd samples first."""
    x = noise(1, 1, 2, 12)[0, 0, 0].tolist()
    mirror = {-1: 1, 12: 10}
    at = [x[mirror.get(i, i)] for i in range(-1, 13)]  # at[i + 1] is x(i)
    high = [at[i + 1] - (at[i] + at[i + 2]) / 2 for i in range(1, 12, 2)]
    low = [at[2 * i + 1] + (high[max(i - 1, 0)] + high[i]) / 4 for i in range(6)]
    u = CDF53()(torch.tensor(x, dtype=torch.float64).expand(1, 1, 2, 12))[0, :, 0]
    np.testing.assert_allclose(u[0], low, rtol=0, atol=1e-15)
    np.testing.assert_allclose(u[1], high, rtol=0, atol=1e-15)

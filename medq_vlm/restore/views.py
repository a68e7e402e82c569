"""Sparse-view CT: the views are read off the picture, and the restored image is made to agree with them.

By the Fourier slice theorem the spectrum of a filtered back-projection lies on one spoke for each view (Kak and Slaney,
1988), so a picture made of few views tells how many there were and at which angles. On the spokes is what was measured;
the network only fills the gaps. Both are brought together by conjugate gradients on the least squares (CGLS: Hestenes
and Stiefel, J. Res. NBS 49:409, 1952) that begin at the network's image and stop early.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse

from medq_vlm import projection

KIND = "sparse_view"
FEWEST, MOST = 20, 240  # views; the spokes of more leave no gaps in a picture
BAND = (0.35, 0.75)  # of the Nyquist frequency: where spokes lie apart and noise does not yet drown them
CLEAR = 0.25  # amplitude of the logarithm of the power from spoke to gap: 0.4 to 1.2 of sparse scans, 0.13 of others
CUTOFF = 1.1  # of the reconstruction kernel, which the picture does not tell
ROUNDS, STEPS = 2, 8  # restarts, each with the pixels that were cut off told anew, and steps of each
LARGEST_PX = 1024  # of a side: the projector needs memory of a hundred bytes and more for each pixel


def keep_views(hu: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Restored (H, W) HU brought to agree with the views that the sparse-view picture `hu` (H, W) was made of.

    The same object where the picture does not tell its views, or has a side above LARGEST_PX.
    """
    if max(hu.shape) > LARGEST_PX:
        return restored
    frame = projection.Frame(*hu.shape)
    water = (np.maximum(1 + plane / 1000, 0.0).astype(np.float32) for plane in (hu, restored))
    given, image = (frame.padded(plane)[0].numpy() for plane in water)
    angles = views_of(given)
    if angles is None:
        return restored
    inside = frame.padded(np.ones(hu.shape, np.float32))[0].numpy() > 0
    change = agreeing(Scan(frame.side, angles), given, image, inside) - image
    return np.asarray(restored + 1000 * frame.cut(torch.from_numpy(change[None])), np.float32)


def views_of(image: np.ndarray) -> np.ndarray | None:
    """Attenuation (n, n) -> sorted numbers of its views among projection.VIEWS over half a turn; None: no few views."""
    geo = projection.geometry(image.shape[0], projection.VIEWS, torch.device("cpu"))
    lines = projection.project(torch.from_numpy(image)[None], geo)[0]
    low, high = (round(share * geo.frequencies) for share in BAND)
    power = torch.fft.rfft(lines)[:, low:high].abs().square().clamp_min(1e-30)
    profile = (power / power.mean(0)).log().mean(1).numpy()
    periods = np.fft.rfft(profile)[: MOST + 1] * (2 / geo.views)
    count = FEWEST + int(np.abs(periods[FEWEST:]).argmax())
    if np.abs(periods[count]) < CLEAR:
        return None
    first = -np.angle(periods[count]) / (2 * math.pi) * geo.views / count
    shifted = first + np.linspace(-1, 1, 21)[:, None]  # a scanner's views may be rounded to its own steps
    even = np.round(shifted + np.arange(count) * geo.views / count).astype(int) % geo.views
    return np.unique(even[profile[even].sum(1).argmax()])


class Scan:
    """What few views make of an image (n, n): linear, and its own adjoint but for the kernel."""

    def __init__(self, side: int, angles: np.ndarray) -> None:
        geo = projection.geometry(side, projection.VIEWS, torch.device("cpu"))
        self.side, self.grid = side, geo.grid
        self.apodisation = geo.apodisation.numpy()
        cell_x, cell_y, weight_x, weight_y = (
            table.reshape(len(table), geo.views, -1)[:, angles].flatten(1).numpy()
            for table in (geo.cell_x, geo.cell_y, geo.weight_x, geo.weight_y)
        )  # taps, samples on the spokes
        taps, samples = cell_x.shape
        cells, weights = cell_y[:, None] * geo.grid + cell_x, weight_y[:, None] * weight_x  # taps taps samples
        starts = np.arange(samples + 1) * taps**2
        self.read = sparse.csr_matrix(
            (weights.reshape(-1, samples).T.ravel(), cells.reshape(-1, samples).T.ravel(), starts),
            shape=(samples, geo.grid**2), dtype=np.float32,
        )  # fmt: skip
        self.spread = self.read.T.tocsr()
        ramp = geo.ramp.numpy() * (math.pi / len(angles) * geo.grid)
        ramp[1:-1] *= 2  # the negative frequencies: a real image is twice the real part
        self.ramp = np.tile(ramp, len(angles)).astype(np.float32)
        radius = 2 * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))  # 1 is the Nyquist frequency
        hann = 0.5 + 0.5 * np.cos(math.pi * np.minimum(radius / CUTOFF, 1))
        self.kernel = np.where(radius <= 1, hann, 0).astype(np.float32)

    def few(self, image: np.ndarray) -> np.ndarray:
        """Filtered back-projection of the few views of an image, bare ramp."""
        n, half = self.side, self.side // 2
        padded = np.zeros((self.grid, self.grid), np.float32)
        padded[:n, :n] = image / self.apodisation
        padded = np.roll(padded, (-half, -half), (0, 1))  # the centre of rotation comes first
        spokes = self.ramp * (self.read @ torch.fft.fft2(torch.from_numpy(padded)).numpy().ravel())
        spectrum = torch.from_numpy((self.spread @ spokes).reshape(self.grid, self.grid))
        out = np.roll(torch.fft.ifft2(spectrum).real.numpy(), (half, half), (0, 1))
        return out[:n, :n] / self.apodisation

    def filtered(self, image: np.ndarray) -> np.ndarray:
        """By the kernel."""
        spectrum = torch.fft.rfft2(torch.from_numpy(image)).numpy() * self.kernel
        return torch.fft.irfft2(torch.from_numpy(spectrum), s=image.shape).numpy()

    def picture(self, image: np.ndarray) -> np.ndarray:
        """The picture that few views give of an image: what the kernel passes is that of the few."""
        return image - self.filtered(image - self.few(image))

    def adjoint(self, picture: np.ndarray) -> np.ndarray:
        """The adjoint of `picture`."""
        passed = self.filtered(picture)
        return picture - passed + self.few(passed)


def agreeing(scan: Scan, given: np.ndarray, image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Attenuation (n, n), begun at `image`, whose `scan.picture` approaches `given` (n, n) where `inside` is True.

    Nothing is below air (0). Where `given` is air it was cut off there, streaks and all: it says "so low or lower".
    """
    for _ in range(ROUNDS):
        left = given - scan.picture(image)
        known = inside & ~((given <= 0) & (left > 0))
        left = left * known
        slope = scan.adjoint(left)
        direction, square = slope, float((slope**2).sum())
        change = np.zeros_like(image)
        for _ in range(STEPS):
            seen = scan.picture(direction) * known
            length = square / max(float((seen**2).sum()), 1e-20)
            change = change + length * direction
            left = left - length * seen
            slope = scan.adjoint(left * known)
            before, square = square, float((slope**2).sum())
            direction = slope + square / max(before, 1e-20) * direction
        image = np.maximum(image + change, 0.0)
    return image

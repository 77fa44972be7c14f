"""Mel-frequency cepstral coefficients of sounds (Davis & Mermelstein, 1980)."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SAMPLE_RATE = 16_000
"""Samples per second."""
WINDOW, HOP = 640, 320
"""Samples of a frame, 40 ms, and between the starts of two frames, 20 ms."""
BANDS, COEFFICIENTS = 40, 10
LOWEST, HIGHEST = 20.0, 4_000.0
"""Hertz."""


def cepstra(sounds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first 10 coefficients of each frame, `[N, T, 10]`, for sounds `[N, samples]`."""
    frames = np.lib.stride_tricks.sliding_window_view(sounds, WINDOW, axis=1)[:, ::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=2)) ** 2
    bands = np.log(power @ mel_filters().T + 1e-6)
    found: NDArray[np.float32] = dct(bands, axis=2, norm="ortho")[..., :COEFFICIENTS]
    return found.astype(np.float32)


def mel_filters() -> NDArray[np.float64]:
    """Return triangular filters that lie evenly on the mel scale, `[bands, frequencies]`."""
    mel = np.linspace(_to_mel(LOWEST), _to_mel(HIGHEST), BANDS + 2)
    low, centre, high = (_to_hertz(mel)[start : start + BANDS, None] for start in range(3))
    frequency = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    rise, fall = (frequency - low) / (centre - low), (high - frequency) / (high - centre)
    filters: NDArray[np.float64] = np.clip(np.minimum(rise, fall), 0, None)
    return filters


def _to_mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    hertz: NDArray[np.float64] = 700 * (10 ** (mel / 2595) - 1)
    return hertz

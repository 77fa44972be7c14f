"""Spoken words in noise, as features: synthetic speech, split by voice.

The words are those of Google's Speech Commands (Warden, 2018, arXiv:1804.03209): ten keywords,
other words, and noise alone. They are spoken by eSpeak NG and not by people. No voice, nor another
one of its family (`klatt`, `klatt2`), is in two parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from scipy.signal import resample_poly

from search.tasks.workloads.cepstra import SAMPLE_RATE, cepstra
from search.tasks.workloads.speech_synthesis import VOICES, Synthesiser
from search.utils.files import cache_folder, write_atomically

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow"),
)
OTHER, SILENCE = len(KEYWORDS), len(KEYWORDS) + 1
CLASSES = len(KEYWORDS) + 2
ACCENTS = ("en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
EFFECTS = ("croak", "demonic", "robo", "whisper")
"""Parts of the names of voices that imitate no person and are left out."""
HELD_OUT = 0.15
"""Share of the families of voices in each of the two held-out parts."""
REPETITIONS = {"train": 8, "validation": 12, "test": 16}
"""Utterances of each class by each voice."""
SPEED, PITCH = (110, 240), (20, 80)
"""Words per minute; units of the synthesiser."""
NOISE_DB = (5.0, 30.0)
"""Power of a word over that of the noise, in decibels."""
Say = Callable[[str, str, np.random.Generator], NDArray[np.float32]]
"""From a word, a voice and a source of randomness to samples `[N]` at 16 kHz."""


@dataclass(frozen=True, kw_only=True)
class Utterances:
    """Features of utterances of one second, with their classes."""

    features: NDArray[np.float32]
    """Cepstral coefficients less their mean over the frames, `[N, 1, 49, 10]`."""
    labels: NDArray[np.int64]
    """`[N]`: the keywords in order, `OTHER`, `SILENCE`."""


def spoken_words(folder: str | Path | None = None) -> dict[str, Utterances]:
    """Return the parts train, validation and test; they are made once per machine, in minutes.

    Args:
        folder: Folder of the PyPI package espeakng-loader 0.2.4; None to fetch it.

    Raises:
        ConfigError: The package cannot be had.
    """
    path = cache_folder() / "spoken-words-1.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            arrays = _made(Synthesiser(folder))
            with write_atomically(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.load(path) as kept:
        return {
            part: Utterances(features=kept[f"{part}_features"], labels=kept[f"{part}_labels"])
            for part in REPETITIONS
        }


def split_voices(voices: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """Return the voices of each part; those whose names differ in case or digits stay together.

    Voices with `EFFECTS` are in none.
    """
    found = {_family(voice) for voice in voices}
    families = sorted(name for name in found if not any(effect in name for effect in EFFECTS))
    order = [families[n] for n in np.random.default_rng(seed).permutation(len(families))]
    held_out = round(HELD_OUT * len(order))
    chosen = {
        "train": order[2 * held_out :],
        "validation": order[:held_out],
        "test": order[held_out : 2 * held_out],
    }
    return {
        part: [voice for voice in sorted(voices) if _family(voice) in names]
        for part, names in chosen.items()
    }


def utterances(say: Say, voices: Sequence[str], repetitions: int, seed: int) -> Utterances:
    """Return utterances by each of the voices, as many of each class."""
    rng = np.random.default_rng(seed)
    sounds, labels = [], []
    for voice in voices:
        for label in np.repeat(np.arange(CLASSES), repetitions):
            word = _word(int(label), rng)
            spoken = say(word, voice, rng) if word else np.zeros(0, np.float32)
            sounds.append(in_noise(spoken, rng))
            labels.append(label)
    found = cepstra(np.stack(sounds))
    features = (found - found.mean(1, keepdims=True))[:, None]
    return Utterances(features=features, labels=np.array(labels, np.int64))


def in_noise(spoken: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one second of noise with a word `[N]` somewhere in it, samples `[16000]`."""
    noise = _coloured_noise(rng)
    spoken = spoken[:SAMPLE_RATE]
    if not spoken.any():
        return noise * np.float32(10 ** rng.uniform(-3, -1))
    ratio = 10 ** (rng.uniform(*NOISE_DB) / 20)
    sound = noise * np.float32(np.sqrt(np.mean(spoken**2)) / ratio)
    start = int(rng.integers(SAMPLE_RATE - len(spoken) + 1))
    sound[start : start + len(spoken)] += spoken
    return sound


def _coloured_noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise of unit power whose spectrum falls at random between white and brown."""
    spectrum = np.fft.rfft(rng.standard_normal(SAMPLE_RATE))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum)
    scaled: NDArray[np.float32] = (noise / noise.std()).astype(np.float32)
    return scaled


def _word(label: int, rng: np.random.Generator) -> str:
    if label == SILENCE:
        return ""
    return str(rng.choice(OTHERS)) if label == OTHER else KEYWORDS[label]


def _made(synthesiser: Synthesiser) -> Mapping[str, NDArray[Any]]:
    def say(word: str, voice: str, rng: np.random.Generator) -> NDArray[np.float32]:
        name = f"{rng.choice(ACCENTS)}+{voice}"
        speed, pitch = int(rng.integers(*SPEED)), int(rng.integers(*PITCH))
        sound = synthesiser.say(word, name, speed=speed, pitch=pitch)
        resampled: NDArray[np.float32] = resample_poly(
            sound, SAMPLE_RATE, synthesiser.sample_rate
        ).astype(np.float32)
        return resampled

    variants = sorted(path.name for path in (synthesiser.folder / VOICES / "voices/!v").iterdir())
    arrays: dict[str, NDArray[Any]] = {}
    for seed, (part, voices) in enumerate(split_voices(variants).items()):
        made = utterances(say, voices, REPETITIONS[part], seed)
        arrays |= {f"{part}_features": made.features, f"{part}_labels": made.labels}
    return arrays


def _family(voice: str) -> str:
    return voice.lower().rstrip("0123456789")

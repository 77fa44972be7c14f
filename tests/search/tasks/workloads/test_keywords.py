from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search.errors import ConfigError
from search.tasks.workloads import keywords, speech_synthesis, spoken_words
from search.tasks.workloads.cepstra import BANDS, SAMPLE_RATE, WINDOW, cepstra, mel_filters
from search.tasks.workloads.ds_cnn import DsCnn

VOICES = ["Mike", "mike2", "klatt", "klatt2", "f1", "f2", *(f"voice {n}" for n in "abcdefghijk")]


def beep(word: str, voice: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """A tone whose height depends on the word."""
    time = np.arange(8_000) / SAMPLE_RATE
    return np.sin(2 * np.pi * (200 + 50 * len(word)) * time).astype(np.float32)


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tones instead of speech, two of each class in each part."""
    parts = {
        part: spoken_words.utterances(beep, ["a voice"], 2, seed)
        for seed, part in enumerate(("train", "validation", "test"))
    }
    monkeypatch.setattr(keywords, "spoken_words", lambda folder: parts)
    monkeypatch.setattr(keywords, "DsCnn", lambda classes: DsCnn(classes, 4))
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path))


def test_no_voice_is_in_two_parts_and_families_stay_together() -> None:
    parts = spoken_words.split_voices([*VOICES, "whisperf", "anikaRobot"])
    assert sorted(chain.from_iterable(parts.values())) == sorted(VOICES)
    assert all(parts.values())
    for family in ({"Mike", "mike2"}, {"klatt", "klatt2"}, {"f1", "f2"}):
        assert sum(bool(family & set(voices)) for voices in parts.values()) == 1


def test_utterances_have_as_many_of_each_class_and_repeat() -> None:
    first, again, other = (spoken_words.utterances(beep, ["a", "b"], 3, n) for n in (0, 0, 1))
    assert np.bincount(first.labels).tolist() == [6] * spoken_words.CLASSES
    assert first.features.shape == (6 * spoken_words.CLASSES, 1, 49, 10)
    assert np.array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)


def test_a_word_stands_in_noise_of_bounded_power() -> None:
    rng = np.random.default_rng(0)
    word = beep("yes", "", rng)
    sound = spoken_words.in_noise(word, rng)
    assert sound.shape == (SAMPLE_RATE,)
    start = int(np.argmax(np.correlate(sound, word, "valid")))
    rest = sound.copy()
    rest[start : start + len(word)] -= word
    decibels = 10 * np.log10(np.mean(word**2) / np.mean(rest**2))
    low, high = spoken_words.NOISE_DB
    assert low - 0.5 <= decibels <= high + 0.5


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    filters = mel_filters()
    assert filters.shape == (BANDS, len(frequencies))
    for hertz in (400.0, 1_000.0, 3_000.0):
        spectrum = (frequencies == hertz).astype(float)
        band = filters[int(np.argmax(filters @ spectrum))] > 0
        assert frequencies[band].min() <= hertz <= frequencies[band].max()


def test_cepstra_of_a_louder_sound_differ_in_the_first_coefficient_alone() -> None:
    sound = np.random.default_rng(0).standard_normal((1, SAMPLE_RATE)).astype(np.float32)
    change = cepstra(10 * sound) - cepstra(sound)
    assert np.allclose(change[..., 0], np.log(100) * np.sqrt(BANDS), atol=1e-2)
    assert np.allclose(change[..., 1:], 0, atol=1e-2)


def test_features_are_shifted_in_time_with_the_edge_repeated() -> None:
    features = torch.arange(49.0)[None, None, :, None].expand(64, 1, 49, 10)
    moved = keywords.shifted(features, torch.Generator().manual_seed(0))
    assert moved.shape == features.shape
    shifts = (moved[:, 0, 24, 0] - 24).tolist()
    assert set(shifts) == set(range(-keywords.SHIFT, keywords.SHIFT + 1))
    for image, shift in zip(moved, shifts, strict=True):
        expected = (torch.arange(49.0) + shift).clamp(0, 48)
        assert torch.equal(image[0], expected[:, None].expand(49, 10))


@pytest.mark.usefixtures("made_up")
def test_the_task_is_normalised_and_trained_once() -> None:
    first, again = (keywords.keywords(baseline_epochs=1, batch_size=8) for _ in range(2))
    inputs = first["train"].inputs
    assert torch.allclose(inputs.mean((0, 1, 2)), torch.zeros(10), atol=1e-4)
    assert torch.allclose(inputs.std((0, 1, 2)), torch.ones(10), atol=1e-4)
    weights = first["model"].state_dict()
    assert all(torch.equal(weights[key], w) for key, w in again["model"].state_dict().items())
    batches = [torch.cat([x for x, _ in first["train"](epoch)]) for epoch in (3, 3, 4)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_the_network_shares_out_its_weights_as_it_says() -> None:
    assert DsCnn(12, 8).eval()(torch.zeros(2, 1, 49, 10)).shape == (2, 12)


def test_another_synthesiser_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, data = speech_synthesis.PACKAGE.names
    (tmp_path / data).mkdir()
    (tmp_path / library).touch()
    (tmp_path / data / "phontab").write_text("other")
    digests = {f"{data}/phontab": "0" * 64}
    monkeypatch.setattr(
        speech_synthesis, "PACKAGE", replace(speech_synthesis.PACKAGE, sha256=digests)
    )
    with pytest.raises(ConfigError, match=r"phontab has sha256 .*, not 0000"):
        speech_synthesis.Synthesiser(tmp_path)

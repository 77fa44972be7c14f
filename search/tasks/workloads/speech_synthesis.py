"""Words spoken by eSpeak NG, a formant synthesiser, from the PyPI package espeakng-loader 0.2.4."""

import ctypes
import platform
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.errors import ConfigError
from search.tasks.package_files import Package

LIBRARIES = {"Windows": "espeak-ng.dll", "Darwin": "libespeak-ng.dylib"}
VOICES = "espeak-ng-data"
PACKAGE = Package(
    client="pip",
    requirement="espeakng-loader==0.2.4",
    root="espeakng_loader",
    names=(LIBRARIES.get(platform.system(), "libespeak-ng.so"), VOICES),
    sha256={
        f"{VOICES}/en_dict": "1053f74a34af38abb6fbd64b7838dacbc655a687c48ce1bb663d364a127b05de",
        f"{VOICES}/phondata": "a0b643b155cb6b12628d9e7865b57d9fca0d35844614f2594a5e009c80c80bb4",
        f"{VOICES}/phonindex": "384e5fa6f714ba5356c58008249b78699c31c1ad044b243068d263fb806b7d73",
        f"{VOICES}/phontab": "1b40690667e1e9aa1ba5e5234773c799e7e72ea751426e5150423d53c3f24fa2",
    },
)
SYNCHRONOUS, UTF8 = 2, 1
RATE, PITCH = 1, 3
"""Numbers of output, flag and parameters in the library's header `speak_lib.h`."""
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Synthesiser:
    """Speaks one word at a time. The library has one state, so a process has one synthesiser."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """Load the library.

        Args:
            folder: The package's folder, which holds `espeak-ng-data`; None to fetch it.

        Raises:
            ConfigError: The package cannot be had, or the library does not start.
        """
        self.folder = PACKAGE.folder(folder)
        self._library = ctypes.CDLL(str(self.folder / PACKAGE.names[0]))
        start = self._library.espeak_Initialize
        self.sample_rate = int(start(SYNCHRONOUS, 0, str(self.folder).encode(), 0))
        """Samples per second."""
        if self.sample_rate <= 0:
            raise ConfigError(f"eSpeak NG does not start with the data of {self.folder}")
        self._heard: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._hear)  # kept, since the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, word: str, voice: str, *, speed: int, pitch: int) -> NDArray[np.float32]:
        """Return a spoken word, samples `[N]` in [-1, 1].

        Args:
            word: What is said.
            voice: Language and variant, such as `en-us+m3`.
            speed: Words per minute, in [80, 450].
            pitch: In [0, 99].

        Raises:
            ConfigError: There is no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ConfigError(f"eSpeak NG has no voice {voice}")
        for parameter, value in ((RATE, speed), (PITCH, pitch)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._heard.clear()
        text = word.encode()
        size = ctypes.c_size_t(len(text) + 1)
        self._library.espeak_Synth(text, size, 0, 0, 0, UTF8, None, None)
        heard: NDArray[np.int16] = np.concatenate([np.zeros(0, np.int16), *self._heard])
        return (heard / np.float32(2**15)).astype(np.float32)

    def _hear(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: int | None) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

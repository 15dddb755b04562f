"""Let espeak-ng speak digits for data/speech: python tools/make_digits.py data/speech.

Ten digits in English (American), Mandarin and Cantonese by 16 of its voices, two takes
each, which differ in speed and pitch; the last four voices are for testing. It needs
espeak-ng (written with 1.51) and SciPy; readers of the book need neither, its output is
committed. Mandarin takes the voice "cmn-latn-pinyin"; in 1.51 the voice "cmn" adds an
English word to each digit (its dictionary yields "san1", and the 1 is read as "one").

The file holds the samples at 8 kHz, clip after clip, as bytes by the mu-law of G.711
without its inversions (`lepton_utils.speech.expand` undoes it); how many each clip has;
and a row of labels for each: digit, voice, language, take, numbers from 0.
"""

import subprocess
import sys
import tempfile
from math import gcd
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from lepton_utils.speech import SAMPLING_RATE, compress

SEED = 2009
ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven"]
ENGLISH += ["eight", "nine"]
WORDS = {
    "en-us": ENGLISH,
    "cmn-latn-pinyin": list("零一二三四五六七八九"),
    "yue": list("零一二三四五六七八九"),
}
TRAINING = [
    "m1",
    "m2",
    "m3",
    "m5",
    "m6",
    "m7",
    "f1",
    "f2",
    "f3",
    "f5",
    "Andrea",
    "steph",
]
TESTING = ["ed", "max", "Alicia", "f4"]
TAKES = 2
SPEEDS = 120, 200  # words a minute
PITCHES = 30, 70  # of a scale of espeak-ng that goes from 0 to 99
PEAK = 0.5  # of full scale: room for what a chapter mixes in
QUIET = 10 ** (-40 / 20)  # relative to the peak: the silence that is cut off
MARGIN = 0.02  # s of it that stay


def speak(language, voice, word, speed, pitch):
    """Let espeak-ng say a word: float array at 8 kHz, its peak at PEAK."""
    settings = ["-v", f"{language}+{voice}", "-s", str(speed), "-p", str(pitch)]
    phonemes = subprocess.run(
        ["espeak-ng", "-q", "-x", *settings, word], capture_output=True, check=True
    )
    if b"(en)" in phonemes.stdout:
        raise RuntimeError(f"{language} reads {word} with English words in it")
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-w", file.name, *settings, word], check=True)
        rate, samples = wavfile.read(file.name)
    step = gcd(rate, SAMPLING_RATE)
    wave = resample_poly(samples / 2**15, SAMPLING_RATE // step, rate // step)
    loud = np.flatnonzero(abs(wave) > QUIET * abs(wave).max())
    margin = int(MARGIN * SAMPLING_RATE)
    wave = wave[max(0, loud[0] - margin) : loud[-1] + margin + 1]
    return PEAK * wave / abs(wave).max()


def main(folder):
    """Write digits.npz into the folder."""
    rng = np.random.default_rng(SEED)
    waves, labels = [], []
    for number, voice in enumerate(TRAINING + TESTING):
        for place, (language, words) in enumerate(WORDS.items()):
            for digit, word in enumerate(words):
                for take in range(TAKES):
                    speed = rng.integers(*SPEEDS, endpoint=True)
                    pitch = rng.integers(*PITCHES, endpoint=True)
                    waves.append(speak(language, voice, word, speed, pitch))
                    labels.append((digit, number, place, take))
    np.savez_compressed(
        folder / "digits.npz",
        codes=np.concatenate([compress(wave) for wave in waves]),
        lengths=np.array([len(wave) for wave in waves], np.uint16),
        labels=np.array(labels, np.uint8),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

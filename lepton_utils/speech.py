"""Sound as arrays: files of it, the mu-law, log-mel spectra, and what is refused.

Waves are float arrays in [-1, 1] at 8,000 samples a second, the rate of the telephone.
Taught in chapters/language/09_speech; the table of the sets is in
`lepton_utils.catalog`.
"""

import io
import wave as wave_files
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from lepton_utils.converters import read_member

SAMPLING_RATE = 8000  # Hz
WINDOW = 200  # samples: 25 ms
HOP = 80  # samples: 10 ms
FFT_LENGTH = 256  # samples: a frame and zeros
NUM_BANDS = 40
LOWEST, HIGHEST = 60.0, 4000.0  # Hz: above the hum, up to half the sampling rate
FLOOR = 1e-4  # of a band's energy, so that silence has a logarithm
MU = 255
FULL = 2**15  # an int16 sample of this size is 1.0
FSDD_FILE = "fsdd/fsdd_recordings.zip"
FSDD_SPEAKERS = "george", "jackson", "lucas", "nicolas", "theo", "yweweler"


# ---------------------------------------------------------------- waves


def check_wave(wave, rate=SAMPLING_RATE):
    """Return a wave as float64 array, or say what is wrong with it.

    Args:
        wave: (samples,) floats in [-1, 1], one channel, 25 ms at least.
        rate: int, its samples per second: 8,000.

    Raises:
        ValueError: if the rate is another, there are several channels, the wave is
            empty or shorter than one window, not finite, beyond [-1, 1], silent (no
            sample beyond 0.001), or clipped (1 % of the samples or more at full
            scale, where what was louder is lost).
    """
    wave = np.asarray(wave)
    if rate != SAMPLING_RATE:
        raise ValueError(
            f"rate must be {SAMPLING_RATE} samples/s, got {rate}; resample the wave"
        )
    if wave.ndim != 1 or wave.dtype.kind != "f":
        raise ValueError(
            f"wave must be floats (samples,), one channel; got {wave.shape} "
            f"{wave.dtype}; average the channels of stereo"
        )
    if len(wave) < WINDOW:
        raise ValueError(f"wave must have {WINDOW} samples or more, got {len(wave)}")
    if not np.isfinite(wave).all():
        raise ValueError("wave must be finite, got NaN or infinity")
    wave, loudness = wave.astype(float), np.abs(wave)
    if loudness.max() > 1:
        raise ValueError(f"wave must lie in [-1, 1], got {loudness.max():.4g}")
    if loudness.max() <= 1e-3:
        raise ValueError(f"wave is silent: no sample beyond {loudness.max():.1g}")
    if (clipped := np.mean(loudness > 0.999)) >= 0.01:
        raise ValueError(f"wave is clipped: {clipped:.0%} of it at full scale")
    return wave


def read_wave(source):
    """Read a WAV file with one channel of 8 or 16 bits at 8,000 samples a second.

    Args:
        source: path, or bytes of the file.

    Returns:
        (samples,) float64 array in [-1, 1].

    Raises:
        ValueError: if it is no such file, is damaged, or `check_wave` refuses it.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        with wave_files.open(io.BytesIO(data)) as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            rate, raw = file.getframerate(), file.readframes(file.getnframes())
    except (wave_files.Error, EOFError) as error:
        raise ValueError(f"source must be a WAV file (PCM), got: {error}") from error
    if width not in (1, 2) or len(raw) % (width * channels):
        raise ValueError(
            f"source must have 8 or 16 bits a sample, whole frames; got {8 * width} "
            f"bits, {channels} channels, {len(raw)} bytes"
        )
    if width == 1:  # without a sign: 128 is silence
        samples = (np.frombuffer(raw, np.uint8) - 128.0) / 128
    else:
        samples = np.frombuffer(raw, "<i2") / FULL
    return check_wave(samples.reshape(-1, channels) if channels > 1 else samples, rate)


def write_wave(wave, rate=SAMPLING_RATE, bits=16):
    """Turn a wave in [-1, 1] into the bytes of a WAV file.

    Args:
        wave: (samples,) floats; what is beyond -1 and 1 is clipped.
        rate: int, samples per second.
        bits: 8 or 16, per sample.

    Raises:
        ValueError: if bits is another number.
    """
    if bits not in (8, 16):
        raise ValueError(f"bits must be 8 or 16, got {bits}")
    steps = np.rint(np.clip(wave, -1, 1) * (2 ** (bits - 1) - 1))
    samples = steps.astype("<i2") if bits == 16 else (steps + 128).astype(np.uint8)
    buffer = io.BytesIO()
    with wave_files.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def compress(wave):
    """Store samples as bytes by the mu-law, 0 to 127 below zero, 128 to 255 above.

    Args:
        wave: float array, any shape; what is beyond -1 and 1 is clipped.

    Returns:
        uint8 array of the same shape; `expand` inverts it up to rounding.

    Source: smith1957; G.711 of the ITU rounds the same curve to a table.
    """
    wave = np.clip(wave, -1, 1)
    steps = np.rint(127 * np.log1p(MU * np.abs(wave)) / np.log1p(MU))
    return np.where(wave < 0, 127 - steps, 128 + steps).astype(np.uint8)


def expand(codes):
    """Turn bytes of the mu-law, uint8 array, into samples, float64 in [-1, 1]."""
    codes = np.asarray(codes).astype(float)
    steps = np.where(codes < 128, 127 - codes, codes - 128)
    return np.sign(codes - 127.5) * np.expm1(steps / 127 * np.log1p(MU)) / MU


# ---------------------------------------------------------------- spectra


@lru_cache(maxsize=4)
def mel_filters(num_bands=NUM_BANDS, lowest=LOWEST, highest=HIGHEST):
    """Weights of triangles that stand equally far apart on the mel scale.

    Args:
        num_bands: int >= 1.
        lowest: float >= 0, where the first triangle begins, Hz.
        highest: float, where the last one ends, Hz; half the sampling rate at most.

    Returns:
        (129, num_bands) float64 array: frequency of the spectrum, band.

    Raises:
        ValueError: if an argument is out of its range, or a band holds no frequency.

    Source: davis1980 for the triangles; a curve fitted to the scale of stevens1937.
    """
    if not 0 <= lowest < highest <= SAMPLING_RATE / 2:
        raise ValueError(
            f"lowest and highest must satisfy 0 <= lowest < highest <= "
            f"{SAMPLING_RATE // 2} Hz, got {lowest} and {highest}"
        )
    if num_bands < 1:
        raise ValueError(f"num_bands must be at least 1, got {num_bands}")
    frequencies = np.arange(FFT_LENGTH // 2 + 1) * SAMPLING_RATE / FFT_LENGTH
    scale = 1127 * np.log1p(np.array([lowest, highest]) / 700)
    edges = np.linspace(*scale, num_bands + 2)
    mel = 1127 * np.log1p(frequencies / 700)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    if not weights.any(axis=0).all():
        raise ValueError(f"num_bands is {num_bands}: some bands hold no frequency")
    weights.flags.writeable = False  # it is shared by all who ask for it
    return weights


def log_mel(wave, rate=SAMPLING_RATE):
    """Turn a wave into logarithms of the energy in 40 bands, every 10 ms.

    Args:
        wave: (samples,) floats in [-1, 1], as `check_wave` wants it.
        rate: int, its samples per second: 8,000.

    Returns:
        (1 + (samples - 200) // 80, 40) float32 array.

    Raises:
        ValueError: what `check_wave` raises.
    """
    wave = check_wave(wave, rate)
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    energy = np.abs(np.fft.rfft(frames * hann, FFT_LENGTH)) ** 2
    return np.log(energy @ mel_filters() + FLOOR).astype(np.float32)


# ---------------------------------------------------------------- sets


def pad(waves, labels):
    """Put clips of different lengths into one array, zeros behind each.

    Args:
        waves: list of (samples,) int16 arrays.
        labels: (n, 4) ints: digit, voice, language, take.

    Returns:
        dict of waves (n, longest) int16 and labels (n, 5) int32, the length last.
    """
    lengths = np.array([len(wave) for wave in waves])
    padded = np.zeros((len(waves), lengths.max()), np.int16)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    return {"waves": padded, "labels": np.column_stack([labels, lengths]).astype("i4")}


def read_digits(path):
    """Read the embedded set, written by tools/make_digits.py."""
    with np.load(path, allow_pickle=False) as file:
        codes, lengths, labels = (file[key] for key in ("codes", "lengths", "labels"))
    samples = np.rint(expand(codes) * (FULL - 1)).astype(np.int16)
    return pad(np.split(samples, np.cumsum(lengths.astype(int))[:-1]), labels)


def read_fsdd(folder):
    """Read the local form: clips sorted by digit, speaker and number (the take)."""
    clips = []
    with zipfile.ZipFile(folder / FSDD_FILE) as archive:
        for name in archive.namelist():
            digit, speaker, number = Path(name).stem.split("_")
            labels = int(digit), FSDD_SPEAKERS.index(speaker), 0, int(number)
            samples = np.rint(read_wave(read_member(archive, name)) * FULL)
            clips.append((labels, samples.astype(np.int16)))
    clips.sort(key=lambda clip: clip[0])
    return pad([wave for _, wave in clips], [labels for labels, _ in clips])


def convert_fsdd(archive, folder):
    """Take recordings/*.wav out of the archive, as they are."""
    (folder / FSDD_FILE).parent.mkdir(parents=True)
    with (
        zipfile.ZipFile(archive) as source,
        zipfile.ZipFile(folder / FSDD_FILE, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in sorted(source.namelist()):
            if Path(name).parent.name == "recordings" and name.endswith(".wav"):
                info = zipfile.ZipInfo(f"recordings/{Path(name).name}")
                target.writestr(info, read_member(source, name))

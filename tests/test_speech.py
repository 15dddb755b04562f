"""Sound: what is refused, the mu-law, filters against TensorFlow's, sets as stored."""

import io
import wave as wave_files
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from lepton_utils import converters, datasets, speech

RNG = np.random.default_rng(0)
TONE = 0.5 * np.sin(2 * np.pi * 440 / speech.SAMPLING_RATE * np.arange(800))


def make_file(samples, channels=1, width=2, rate=8000):
    buffer = io.BytesIO()
    with wave_files.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples).tobytes())
    return buffer.getvalue()


# What is refused


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(0), "200 samples or more, got 0"),
        (TONE[:199], "200 samples or more, got 199"),
        (np.zeros(800), "silent"),
        (TONE / 1000, "silent"),
        (np.clip(20 * TONE, -1, 1), "clipped: 9"),
        (3 * TONE, r"must lie in \[-1, 1\], got 1.5"),
        (np.where(np.arange(800) == 7, np.nan, TONE), "finite"),
        (np.where(np.arange(800) == 7, np.inf, TONE), "finite"),
        (np.stack([TONE, TONE], axis=1), "one channel"),
        (np.int16(2**15 * TONE), "floats"),
    ],
)
def test_a_wave_without_speech_in_it_is_refused(wave, message):
    with pytest.raises(ValueError, match=message):
        speech.log_mel(wave)


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="rate must be 8000 samples/s, got 16000"):
        speech.log_mel(TONE, rate=16_000)
    with pytest.raises(ValueError, match="got 44100"):
        speech.read_wave(make_file(np.int16(9999 * TONE), rate=44_100))


def test_one_loud_sample_is_not_clipping():
    wave = np.where(np.arange(800) == 7, 1.0, TONE)
    assert speech.check_wave(wave).tolist() == wave.tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "WAV file"),
        (b"RIFF nothing of the kind", "WAV file"),
        (make_file(np.int16(9999 * TONE))[:30], "WAV file"),
        (make_file(np.int16(9999 * TONE), channels=2), "one channel"),
        (make_file(np.int32(2**30 * TONE), width=4), "32 bits"),
        (make_file(np.int16(9999 * TONE))[:-1], "whole frames"),
        (make_file(np.int16(0 * TONE)), "silent"),
    ],
)
def test_strange_files_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        speech.read_wave(data)


# Files, bytes, spectra


def test_files_come_back(tmp_path):
    path = tmp_path / "tone.wav"
    path.write_bytes(speech.write_wave(TONE))
    assert np.abs(speech.read_wave(path) - TONE).max() < 1e-4
    coarse = make_file(np.uint8(128 + 127 * TONE), width=1)
    for data in (coarse, speech.write_wave(TONE, bits=8)):
        assert np.abs(speech.read_wave(data) - TONE).max() < 0.02
    with pytest.raises(ValueError, match="8 or 16, got 24"):
        speech.write_wave(TONE, bits=24)


def test_every_byte_of_the_mu_law_comes_back():
    codes = np.arange(256, dtype=np.uint8)
    back = speech.compress(speech.expand(codes))
    assert back.tolist() == [*range(127), 128, *range(128, 256)]  # two codes for 0
    assert (np.diff(speech.expand(codes)) >= 0).all()


@given(arrays_of.arrays(float, 20, elements=st.floats(-1, 1)))
def test_the_mu_law_errs_in_proportion(wave):
    back = speech.expand(speech.compress(wave))
    assert (np.abs(back - wave) <= 0.023 * (np.abs(wave) + 1 / 255)).all()


def test_log_mel_agrees_with_tensorflow():
    tf = pytest.importorskip("tensorflow")
    wave = TONE + 0.1 * RNG.normal(size=800)
    magnitudes = abs(tf.signal.stft(wave, 200, 80, 256).numpy())
    filters = tf.signal.linear_to_mel_weight_matrix(
        40, 129, 8000, 60.0, 4000.0, dtype=tf.float64
    ).numpy()
    assert np.allclose(speech.mel_filters(), filters, atol=1e-9)
    expected = np.log(magnitudes**2 @ filters + speech.FLOOR)
    assert np.allclose(speech.log_mel(wave), expected, atol=1e-4)
    assert speech.log_mel(TONE[:200]).shape == (1, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 60, 4000), "at least 1"),
        ((40, 60, 8000), "lowest < highest <= 4000"),
        ((40, 60, 60), "lowest < highest"),
        ((40, -1, 4000), "0 <= lowest"),
        ((128, 60, 4000), "hold no frequency"),
    ],
)
def test_filters_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        speech.mel_filters(*arguments)


# Sets


def test_spoken_digits_are_split_by_voice():
    (x_train, y_train), (x_test, y_test) = datasets.load("spoken_digits")
    assert not set(y_train[:, 1]) & set(y_test[:, 1])
    for labels, voices in ((y_train, 12), (y_test, 4)):  # every word as often
        kinds, counts = np.unique(labels[:, [0, 2]], axis=0, return_counts=True)
        assert len(kinds) == 30 and set(counts) == {2 * voices}
    for wave, labels in zip([*x_train, *x_test], [*y_train, *y_test], strict=True):
        assert not wave[labels[4] :].any()
        assert 0.49 < np.abs(speech.check_wave(wave[: labels[4]] / 2**15)).max() < 0.51


def test_recordings_are_taken_out_of_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("1_theo_0", "0_theo_7", "0_lucas_11"):
            clip = np.int16(9999 * TONE[: 300 + len(name)])
            archive.writestr(f"top/recordings/{name}.wav", make_file(clip))
        archive.writestr("top/README.md", "about")
    speech.convert_fsdd(tmp_path / "a.zip", tmp_path)
    arrays = speech.read_fsdd(tmp_path)
    expected = [[0, 2, 0, 11, 310], [0, 4, 0, 7, 308], [1, 4, 0, 0, 308]]
    assert arrays["labels"].tolist() == expected
    assert arrays["waves"].tolist()[1] == [*np.int16(9999 * TONE[:308]), 0, 0]
    with zipfile.ZipFile(tmp_path / speech.FSDD_FILE, "a") as archive:
        archive.writestr("recordings/2_nobody_0.wav", make_file(clip))
    with pytest.raises(converters.DAMAGE, match="not in tuple"):
        speech.read_fsdd(tmp_path)


def test_fsdd_agrees_with_the_table():
    folder = datasets.find_folder("fsdd")
    if folder is None:
        pytest.skip("fsdd is not on this machine")
    entry = datasets.DATASETS["fsdd"]
    (x_train, _), (x_test, y_test) = datasets.load("fsdd")
    assert len(x_train) == 2700 and len(x_test) == 300 and y_test[:, 3].max() == 4
    datasets.verify("fsdd", entry, entry.read(folder))

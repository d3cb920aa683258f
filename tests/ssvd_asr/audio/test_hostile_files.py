"""Files that lie: each is refused with its reason or gives its true samples, within the limits."""

import gc
import io
import os
import random
import struct
import subprocess
import sys

import numpy as np
import pytest

from ssvd_asr.audio.read import AudioLimits, read_audio
from ssvd_asr.errors import AudioLimitError, AudioTooLongError, AudioUnreadableError
from tests.ssvd_asr.audio_samples import (
    encoded,
    encoded_by_ffmpeg,
    flac_claiming,
    flac_with_total,
    m4a_claiming,
    tone,
)


@pytest.mark.parametrize("body", [b"", bytes(5000), random.Random(0).randbytes(5000)])
def test_a_forged_flac_header_is_refused_before_anything_is_decoded(body):
    with pytest.raises(AudioLimitError, match=r"655350 Hz, the limit is 384000 Hz \(max_source_rate_hz\)"):
        read_audio(flac_claiming(655_350, 8, 2**36 - 1, body))


def test_a_forged_flac_header_costs_no_memory_even_where_the_limits_allow_its_rate():
    generous = AudioLimits(max_source_rate_hz=1_000_000, max_duration_s=1e6)
    with _peak_memory_below_mib(64), pytest.raises(AudioUnreadableError):
        read_audio(flac_claiming(655_350, 8, 2**36 - 1, bytes(5000)), generous)


def test_a_wrong_length_field_gives_the_true_samples():
    flac = encoded(tone(2.0, 16_000), 16_000, "FLAC")
    for total in (0, 2**36 - 1):  # "unknown", and a claim of 1,193 hours
        assert len(read_audio(flac_with_total(flac, total))) == 32_000
    wav = bytearray(encoded(tone(2.0, 16_000), 16_000))
    for length in (0xFFFFFFFF, 0x7FFFFFF0, 4 * 10**6):  # what a streaming writer leaves behind
        wav[40:44] = struct.pack("<I", length)
        assert len(read_audio(bytes(wav))) == 32_000


def test_too_many_channels_are_refused():
    with pytest.raises(AudioLimitError, match=r"9 channels, the limit is 8 \(max_channels\)"):
        read_audio(encoded(np.zeros((1000, 9), np.float32), 16_000))
    assert len(read_audio(encoded(np.zeros((1000, 8), np.float32), 16_000))) == 1000


def test_a_thousand_channels_are_decoded_in_small_blocks():
    one = tone(1.25, 16_000, level=0.5)
    wide = encoded(np.repeat(one[:, np.newaxis], 1000, axis=1), 16_000)
    with _peak_memory_below_mib(16):
        wave = read_audio(wide, AudioLimits(max_channels=1024))
    assert np.allclose(wave, one, atol=1e-4)


def test_a_rate_below_speech_is_refused():
    with pytest.raises(AudioUnreadableError, match=r"1000 Hz, .* 4000 Hz \(min_source_rate_hz\)"):
        read_audio(encoded(tone(1.0, 1_000, 100), 1_000))


def test_an_opus_bomb_stops_at_the_limit(monkeypatch):
    bomb = encoded(np.zeros(48_000 * 240, np.float32), 48_000, "OGG", "OPUS")
    assert len(bomb) < 100_000  # four minutes of silence
    decoded = _count_decoded_frames(monkeypatch)
    with pytest.raises(AudioTooLongError, match=r"longer than the limit of 10\.0 s \(max_duration_s\)"):
        read_audio(bomb, AudioLimits(max_duration_s=10.0))
    assert 48_000 * 10 < sum(decoded) < 48_000 * 14


def test_an_opus_bomb_in_webm_stops_at_the_limit():
    bomb = encoded_by_ffmpeg(np.zeros(48_000 * 240, np.float32), 48_000, "webm", "libopus")
    with _peak_memory_below_mib(16), pytest.raises(AudioTooLongError, match="max_duration_s"):
        read_audio(bomb, AudioLimits(max_duration_s=10.0))


def test_a_forged_m4a_table_cannot_take_the_memory_of_this_process():
    # 100 million entries: FFmpeg would fill 3.5 GiB from 2.5 kB.
    with _peak_memory_below_mib(16), pytest.raises(AudioUnreadableError):
        read_audio(m4a_claiming(100_000_000))


def test_ffmpegs_memory_and_time_have_limits_with_names():
    m4a = encoded_by_ffmpeg(tone(2.0, 16_000), 16_000, "ipod", "aac")
    with pytest.raises(AudioLimitError, match=r"30000000 bytes \(max_decoder_bytes\)"):
        read_audio(m4a, AudioLimits(max_decoder_bytes=30_000_000))  # less than the libraries
    # Twenty hours of silence, and the segment wanted is their end: much to decode, nothing to keep.
    day = 1_200 * encoded_by_ffmpeg(np.zeros(16_000 * 60, np.float32), 16_000, "adts", "aac")
    with pytest.raises(AudioLimitError, match=r"limit of 1 s \(max_decoder_cpu_s\)"):
        read_audio(day, AudioLimits(max_decoder_cpu_s=1), start_s=71_000.0)


def test_more_bytes_than_the_limit_are_not_read(tmp_path):
    limits = AudioLimits(max_bytes=10_000)
    data = encoded(tone(2.0, 16_000), 16_000)
    (tmp_path / "a.wav").write_bytes(data)
    for source in (data, tmp_path / "a.wav"):
        with pytest.raises(AudioLimitError, match=r"64044 bytes, the limit is 10000 \(max_bytes\)"):
            read_audio(source, limits)
    endless = _Endless()
    with pytest.raises(AudioLimitError, match=r"limit of 10000 bytes \(max_bytes\)"):
        read_audio(endless, limits)
    assert endless.given < 2 * 2**20


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU"])
def test_no_samples_is_said(format):
    with pytest.raises(AudioUnreadableError, match="holds no samples"):
        read_audio(encoded(np.zeros(0, np.float32), 16_000, format))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_one_sample_gives_a_sample(rate_hz):
    wave = read_audio(encoded(np.full(1, 0.25, np.float32), rate_hz, "WAV", "FLOAT"))
    assert len(wave) == max(1, 16_000 // rate_hz)
    assert np.isfinite(wave).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_not_finite_are_refused_with_their_place(value, channels):
    samples = np.zeros((32_000, channels), np.float32)
    samples[8_000, channels - 1] = value
    with pytest.raises(AudioUnreadableError, match=r"the sample at 0\.5000 s .* not finite"):
        read_audio(encoded(samples, 16_000, "WAV", "FLOAT"))


def test_float_samples_that_are_integers_are_refused():
    with pytest.raises(
        AudioUnreadableError, match=r"over 16 times full scale; float samples lie between -1 and 1"
    ):
        read_audio(encoded(tone(1.0, 16_000, level=3_000.0), 16_000, "WAV", "FLOAT"))
    loud = tone(1.0, 16_000, level=4.0)  # 12 dB over full scale, as float recorders write
    assert np.allclose(read_audio(encoded(loud, 16_000, "WAV", "FLOAT")), loud / 4, atol=1e-6)


def test_a_double_too_large_for_float32_is_refused():
    with pytest.raises(AudioUnreadableError, match="not finite"):
        read_audio(encoded(np.full(100, 1e300), 16_000, "WAV", "DOUBLE"))


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "OPUS"),
        ("OGG", "VORBIS"),
        ("MP3", None),
        ("CAF", "ALAC_16"),
    ],
)
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_anywhere_is_refused_or_gives_its_beginning(format, subtype, kept):
    noise = 0.1 * np.random.default_rng(3).standard_normal(16_000 * 3).astype(np.float32)
    data = encoded(noise, 16_000, format, subtype)
    whole = read_audio(data)
    try:
        part = read_audio(data[: int(kept * len(data))])
    except AudioUnreadableError:
        return
    assert len(part) <= len(whole)
    compared = max(0, len(part) - 4_000)  # a lossy codec's last packets may differ
    assert np.allclose(part[:compared], whole[:compared], atol=1e-3)


def test_a_flac_cut_mid_frame_says_where():
    flac = encoded(tone(3.0, 16_000), 16_000, "FLAC")
    with pytest.raises(AudioUnreadableError, match=r"damaged after \d+\.\d{3} s"):
        read_audio(flac[: len(flac) // 2])


@pytest.mark.parametrize("container", ["ipod", "webm", "adts"])
def test_what_ffmpeg_finds_cut_is_refused_or_shorter(container):
    codec = "libopus" if container == "webm" else "aac"
    data = encoded_by_ffmpeg(tone(2.0, 48_000), 48_000, container, codec)
    try:
        part = read_audio(data[: len(data) // 2])
    except AudioUnreadableError:
        return
    assert 12_000 < len(part) < 20_000


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".au", ".gsm", ".vox", ".raw", ".m4a", ".txt"])
def test_text_is_not_audio_whatever_its_name(tmp_path, suffix):
    # libsndfile reads headerless .au, .gsm and .vox by their names alone: noise out of text.
    path = tmp_path / f"text{suffix}"
    path.write_text("Once upon a time there was no audio in here.\n" * 200)
    with pytest.raises(AudioUnreadableError, match="text"):
        read_audio(path)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{path}\n",
        "ffconcat version 1.0\nfile {path}\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path, playlist):
    (tmp_path / "secret.wav").write_bytes(encoded(tone(1.0, 16_000), 16_000))
    with pytest.raises(AudioUnreadableError):
        read_audio(playlist.format(path=tmp_path / "secret.wav").encode())


def test_a_video_without_sound_is_refused():
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(32, 32, "yuv420p")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    with pytest.raises(AudioUnreadableError, match="no audio stream"):
        read_audio(file.getvalue())


def test_millions_of_tags_are_refused_at_once():
    with pytest.raises(AudioUnreadableError):
        read_audio((b"ID3\4" + bytes(6)) * 2**20)
    audio = encoded_by_ffmpeg(tone(1.0, 16_000), 16_000, "adts", "aac")
    with pytest.raises(AudioUnreadableError, match="more than 10000 tags"):
        read_audio(audio + (b"ID3\4" + bytes(6)) * 2**20)


def test_random_bytes_are_refused():
    generator = random.Random(5)
    for size in (0, 1, 3, 44, 500, 20_000):
        with pytest.raises(AudioUnreadableError):
            read_audio(generator.randbytes(size))


def test_flipped_bytes_never_raise_anything_else():
    generator = random.Random(6)
    for format, subtype in [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("AIFF", "PCM_16")]:
        data = encoded(tone(0.5, 16_000), 16_000, format, subtype)
        for _ in range(20):
            damaged = bytearray(data)
            for _ in range(generator.randint(1, 10)):
                damaged[generator.randrange(min(len(damaged), 200))] = generator.randrange(256)
            try:
                wave = read_audio(bytes(damaged), AudioLimits(max_duration_s=60.0))
            except (AudioUnreadableError, AudioLimitError):
                continue
            assert np.isfinite(wave).all()
            assert 1 <= len(wave) <= 60 * 16_000


def test_what_is_not_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", tmp_path, "/dev/zero"):
        with pytest.raises(AudioUnreadableError, match="not a regular file"):
            read_audio(path)
    with pytest.raises(AudioUnreadableError, match=r"missing\.wav: No such file"):
        read_audio(tmp_path / "missing.wav")


def _count_decoded_frames(monkeypatch):
    from ssvd_asr.audio.decoders import _SequentialSoundFile

    counts = []
    read = _SequentialSoundFile.read

    def counting(self, *arguments, **options):
        block = read(self, *arguments, **options)
        counts.append(len(block))
        return block

    monkeypatch.setattr(_SequentialSoundFile, "read", counting)
    return counts


class _Endless(io.RawIOBase):
    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        self.given += size
        return bytes(size)


class _peak_memory_below_mib:
    """This process's resident peak (Linux: VmHWM, reset on entry), children not counted."""

    def __init__(self, limit_mib: float) -> None:
        self._limit_mib = limit_mib

    def __enter__(self) -> None:
        gc.collect()  # what earlier tests left is not let go while this one measures
        with open("/proc/self/clear_refs", "w") as reset:
            reset.write("5")
        self._before_mib = _status_mib("VmRSS")

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            assert _status_mib("VmHWM") - self._before_mib < self._limit_mib


def _status_mib(field: str) -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


def test_the_memory_gauge_can_fail():
    with pytest.raises(AssertionError), _peak_memory_below_mib(16):
        np.ones(256 * 2**20, np.uint8)


def test_the_decoding_child_leaves_nothing_behind():
    code = (
        "import sys, os; from ssvd_asr.audio.read import read_audio\n"
        "from ssvd_asr.errors import AudioError\n"
        "from tests.ssvd_asr.audio_samples import encoded_by_ffmpeg, tone\n"
        "data = encoded_by_ffmpeg(tone(30.0, 16_000), 16_000, 'ipod', 'aac')\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "for i in range(3):\n"
        "    read_audio(data, duration_s=0.1)\n"  # the child is stopped early
        "    try: read_audio(b'nonsense')\n"
        "    except AudioError: pass\n"
        "assert len(os.listdir('/proc/self/fd')) == before\n"
        "try: os.waitpid(-1, os.WNOHANG); print('a child is left')\n"
        "except ChildProcessError: print('clean')\n"
    )
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (output.stdout.strip(), output.stderr) == ("clean", "")

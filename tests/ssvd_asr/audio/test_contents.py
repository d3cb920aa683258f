"""A file's content is read whole, whatever harmless lies behind it; nothing else may lie behind it."""

import io
import struct

import av
import numpy as np
import pytest

from ssvd_asr.audio.read import SAMPLE_RATE, read_audio, read_recording
from ssvd_asr.errors import AudioUnreadableError
from tests.ssvd_asr.audio_samples import encoded, encoded_by_ffmpeg, flac_with_total, tone

BY_SNDFILE = [
    ("FLAC", 16_000),
    ("AIFF", 16_000),
    ("CAF", 16_000),
    ("AU", 16_000),
    ("W64", 16_000),
    ("NIST", 16_000),
]
BY_FFMPEG = [
    ("tta", "tta", 44_100),
    ("wv", "wavpack", 44_100),
    ("ac3", "ac3", 48_000),
    ("eac3", "eac3", 48_000),
    ("latm", "aac", 44_100),
    ("matroska", "aac", 44_100),
    ("webm", "libopus", 48_000),
    ("rm", "real_144", 8_000),
    ("avi", "pcm_s16le", 16_000),
    ("flv", "aac", 44_100),
    ("asf", "wmav2", 44_100),
    ("mpeg", "mp2", 48_000),
    ("mpegts", "aac", 48_000),
    ("mxf_opatom", "pcm_s16le", 48_000),
    ("caf", "alac", 44_100),
]
APE_ITEM = struct.pack("<2I", 5, 0) + b"Title\0Hello"
APE_SIZE = struct.pack("<3I", 2_000, 32 + len(APE_ITEM), 1)
APE_HEADER, APE_FOOTER = (
    b"APETAGEX" + APE_SIZE + struct.pack("<I8x", flags) for flags in (0xA0000000, 0x80000000)
)
APE = APE_HEADER + APE_ITEM + APE_FOOTER
ID3V1 = b"TAG" + b"x" * 125
PADDINGS = [ID3V1, APE + ID3V1, bytes(4_000)]


def _noise(seconds: float, rate_hz: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(8).standard_normal(round(seconds * rate_hz)).astype(np.float32)


def _stereo(samples: np.ndarray, codec: str) -> np.ndarray:
    return np.stack([samples] * 2, 1) if codec == "wmav2" else samples


def _file(container: str, codec: str | None, rate_hz: int) -> bytes:
    samples = _noise(3.0, rate_hz)
    if codec is None:
        return encoded(samples, rate_hz, container, "PCM_16")
    encoder = {"b": "96000"} if codec == "wmav2" else {}
    return encoded_by_ffmpeg(_stereo(samples, codec), rate_hz, container, codec, encoder=encoder)


FORMATS = [(format, None, rate_hz) for format, rate_hz in BY_SNDFILE] + BY_FFMPEG


@pytest.mark.parametrize(("container", "codec", "rate_hz"), FORMATS)
def test_tags_and_zeros_behind_a_file_of_any_format_are_no_audio(container, codec, rate_hz):
    file = _file(container, codec, rate_hz)
    whole = read_audio(file)
    assert len(whole) / SAMPLE_RATE == pytest.approx(3.0, abs=0.2)
    for padding in PADDINGS:
        assert np.array_equal(read_audio(file + padding), whole)


@pytest.mark.parametrize(("container", "codec", "rate_hz"), FORMATS)
def test_another_file_behind_one_of_any_format_is_refused(container, codec, rate_hz):
    file = _file(container, codec, rate_hz)
    for other in (encoded(_noise(1.0, 16_000), 16_000, "MP3"), encoded(_noise(1.0, 16_000), 16_000)):
        with pytest.raises(AudioUnreadableError, match=r"another file|several files|cut off"):
            read_audio(file + other)


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_flac_of_unknown_length_may_have_tags_behind_it(padding):
    flac = flac_with_total(encoded(_noise(10.0, 16_000), 16_000, "FLAC"), 0)
    assert len(read_audio(flac + padding)) == 160_000
    for start in (flac[: len(flac) // 2], flac + encoded(_noise(1.0, 16_000), 16_000)):
        with pytest.raises(AudioUnreadableError, match="damaged"):
            read_audio(start + padding)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("caf", "pcm_s16be"),
        ("caf", "pcm_s16le"),
        ("w64", "pcm_s16le"),
        ("avi", "pcm_s16le"),
        ("avi", "libmp3lame"),
    ],
)
def test_a_file_from_a_pipe_states_no_sizes_and_is_read_to_its_end(container, codec):
    piped = encoded_by_ffmpeg(_noise(10.0, 44_100), 44_100, container, codec, seekable=False)
    assert len(read_audio(piped)) / SAMPLE_RATE == pytest.approx(10.0, abs=0.1)


def test_two_joined_files_from_a_pipe_are_refused():
    for container in ("caf", "w64"):
        piped = encoded_by_ffmpeg(_noise(2.0, 44_100), 44_100, container, "pcm_s16le", seekable=False)
        with pytest.raises(AudioUnreadableError, match="several files joined to one"):
            read_audio(piped + piped)


@pytest.mark.parametrize(("format", "order", "kind"), [("WAV", "<", b"LIST"), ("AIFF", ">", b"ANNO")])
def test_an_unpadded_chunk_of_odd_size_may_stand_before_the_samples(format, order, kind):
    file = encoded(tone(2.0, 16_000), 16_000, format, "PCM_16")
    whole, samples = read_audio(file), file.index(b"data" if format == "WAV" else b"SSND")
    odd = kind + struct.pack(order + "I", 17) + b"INFOIART\5\0\0\0abcd\0"
    mended = bytearray(file[:samples] + odd + odd + file[samples:])
    mended[4:8] = struct.pack(order + "I", len(mended) - 8)
    assert np.array_equal(read_audio(bytes(mended)), whole)


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libopus"), ("matroska", "aac")])
def test_matroska_files_of_different_codecs_joined_are_refused(container, codec):
    first = encoded_by_ffmpeg(_noise(2.0, 48_000), 48_000, "matroska", "flac")
    second = encoded_by_ffmpeg(_noise(2.0, 48_000), 48_000, container, codec)
    with pytest.raises(AudioUnreadableError, match="different codecs"):
        read_audio(first + second)


def test_a_decoder_starts_anew_with_the_second_of_two_joined_files():
    webm = encoded_by_ffmpeg(_noise(2.0, 48_000), 48_000, "webm", "libopus")
    recording = read_recording(webm + webm)
    assert len(recording.waves[0]) / SAMPLE_RATE == pytest.approx(4.0, abs=0.1)
    assert recording.warnings == ((),)
    assert np.abs(recording.waves[0]).max() < 1


@pytest.mark.parametrize("how", ["one bit", "zeroed"])
@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [
        ("tta", "tta", 44_100),
        ("wv", "wavpack", 44_100),
        ("ac3", "ac3", 48_000),
        ("eac3", "eac3", 48_000),
        ("matroska", "flac", 44_100),
        ("matroska", "tta", 44_100),
    ],
)
def test_checksums_in_frames_are_checked(container, codec, rate_hz, how):
    data = bytearray(encoded_by_ffmpeg(_noise(10.0, rate_hz), rate_hz, container, codec))
    start = len(data) // 2 + 7
    data[start : start + 10] = (
        bytes([data[start] ^ 0x10]) + data[start + 1 : start + 10] if how == "one bit" else bytes(10)
    )
    with pytest.raises(AudioUnreadableError, match="damaged"):
        read_audio(bytes(data))


def test_a_damaged_list_of_frames_is_refused():
    tta = bytearray(encoded_by_ffmpeg(_noise(3.0, 44_100), 44_100, "tta", "tta"))
    tta[24] ^= 1
    with pytest.raises(AudioUnreadableError, match="list of frames"):
        read_audio(bytes(tta))


def test_zeroed_packets_of_opus_in_a_caf_are_refused():
    caf = _opus_in_caf(_noise(14.5, 48_000))
    assert len(read_audio(caf)) / SAMPLE_RATE == pytest.approx(14.5, abs=0.1)
    start, stop = len(caf) // 2, len(caf) * 7 // 10
    with pytest.raises(AudioUnreadableError, match=r"its packets lack|damaged"):
        read_audio(caf[:start] + bytes(stop - start) + caf[stop:])


def _opus_in_caf(samples: np.ndarray) -> bytes:
    """Packets of 20 ms at 48 kHz."""
    with av.open(io.BytesIO(encoded_by_ffmpeg(samples, 48_000, "webm", "libopus"))) as webm:
        packets = [bytes(packet) for packet in webm.demux() if packet.size]
    sizes = b"".join(bytes([0x80 | len(packet) >> 7, len(packet) & 0x7F]) for packet in packets)
    counts = struct.pack(">2q2i", len(packets), 960 * len(packets), 0, 0)
    description = struct.pack(">d4s5I", 48_000.0, b"opus", 0, 0, 960, 1, 0)
    chunks = ((b"desc", description), (b"pakt", counts + sizes), (b"data", bytes(4) + b"".join(packets)))
    return b"caff\0\1\0\0" + b"".join(struct.pack(">4sq", kind, len(body)) + body for kind, body in chunks)


@pytest.mark.parametrize("counts", ["frames and bytes", "frames"])
@pytest.mark.parametrize("behind", [b"", ID3V1])
def test_an_mp3_with_only_its_last_frame_broken_is_read_and_told(counts, behind):
    mp3 = bytearray(encoded_by_ffmpeg(_noise(5.0, 44_100), 44_100, "mp3", "libmp3lame"))
    xing = mp3.index(b"Info")
    if counts == "frames":
        mp3[xing + 7], mp3[xing + 12 : xing + 16] = 1, bytes(4)
    recording = read_recording(bytes(mp3[:-100]) + behind)
    assert len(recording.waves[0]) / SAMPLE_RATE == pytest.approx(5.0, abs=0.1)
    assert ["The end of the file is missing or damaged" in each for each in recording.warnings[0]] == [True]
    with pytest.raises(AudioUnreadableError, match="cut off"):
        read_audio(bytes(mp3[:-4_000]) + behind)


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("mp2", "mp2"), ("ac3", "ac3")])
def test_a_broken_last_frame_that_nothing_calls_the_last_is_refused_with_advice(container, codec):
    muxer = {"write_xing": "0"} if container == "mp3" else {}
    stream = encoded_by_ffmpeg(_noise(5.0, 48_000), 48_000, container, codec, muxer=muxer)
    with pytest.raises(AudioUnreadableError, match=r"cut off.*: send the whole file or"):
        read_audio(stream[:-100])


@pytest.mark.parametrize("fork", [b"", b"\0\5\x16\7" + bytes(600), encoded(tone(1.0, 16_000), 16_000)])
def test_an_mp3_is_read_alike_whatever_lies_in_the_working_directory(fork, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mp3 = encoded(tone(2.0, 16_000), 16_000, "MP3")
    (tmp_path / "a.mp3").write_bytes(mp3)
    whole = read_audio(mp3)
    (tmp_path / ".AppleDouble").mkdir()
    for name in ("._", "._a.mp3", ".AppleDouble/a.mp3", ".AppleDouble/._"):
        (tmp_path / name).write_bytes(fork)
    monkeypatch.setattr("ssvd_asr.audio.decoders.open_ffmpeg", None)  # the other decoder's samples differ
    for source in (mp3, "a.mp3", tmp_path / "a.mp3"):
        assert np.array_equal(read_audio(source), whole)


def _wav_stating(channels: int, bytes_per_s: int, block_bytes: int, bits: int) -> bytes:
    """Two seconds of 16 bits in one channel, under a header that may say something else."""
    wav = bytearray(encoded(tone(2.0, 16_000), 16_000))
    assert wav[12:16] == b"fmt "
    wav[22:36] = struct.pack("<HIIHH", channels, 16_000, bytes_per_s, block_bytes, bits)
    return bytes(wav)


@pytest.mark.parametrize(("channels", "bits"), [(1, 24), (2, 16), (1, 8), (3, 8)])
def test_a_wav_whose_header_contradicts_itself_is_refused(channels, bits):
    """It was read as noise, or at a wrong speed: libsndfile believes the channels and bits."""
    with pytest.raises(AudioUnreadableError, match=f"{channels} samples of {bits} bits are not 2 bytes"):
        read_audio(_wav_stating(channels, 32_000, 2, bits))


@pytest.mark.parametrize(("bytes_per_s", "block_bytes"), [(32_000, 4), (0, 2), (32_000, 0), (5, 2)])
def test_a_wav_of_which_only_one_size_is_wrong_is_read(bytes_per_s, block_bytes):
    assert len(read_audio(_wav_stating(1, bytes_per_s, block_bytes, 16))) == 2 * SAMPLE_RATE


def test_a_wav_of_mp3_that_is_whole_is_not_called_damaged():
    whole = encoded_by_ffmpeg(tone(4.0, 16_000), 16_000, "wav", "libmp3lame")
    found = read_recording(whole)
    assert len(found.waves[0]) / SAMPLE_RATE == pytest.approx(4.0, abs=0.15)
    assert found.warnings == ((),)

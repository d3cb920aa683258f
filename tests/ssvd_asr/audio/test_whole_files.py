"""A file is decoded wholly or refused: joined files, files without a length, cut files, gaps."""

import re
import struct

import numpy as np
import pytest

from ssvd_asr.audio.read import SAMPLE_RATE, AudioLimits, read_audio
from ssvd_asr.errors import AudioTooLongError, AudioUnreadableError
from tests.ssvd_asr.audio_samples import encoded, encoded_by_ffmpeg, flac_with_total, tone, with_index_first

FIRST_HZ, SECOND_HZ = 440.0, 900.0
CUT = "cut off"
FRAGMENTS = {"movflags": "+frag_keyframe+empty_moov", "frag_duration": "500000"}


@pytest.mark.parametrize(
    ("format", "subtype", "rates_hz"),
    [
        ("OGG", "OPUS", (48_000, 48_000)),
        ("OGG", "OPUS", (48_000, 16_000)),
        ("OGG", "OPUS", (16_000, 48_000)),
        ("OGG", "VORBIS", (48_000, 48_000)),
        ("MP3", None, (44_100, 44_100)),
        ("MP3", None, (48_000, 16_000)),
    ],
)
def test_two_joined_files_are_read_to_the_end(format, subtype, rates_hz):
    parts = zip((2.0, 3.0), rates_hz, (FIRST_HZ, SECOND_HZ), strict=True)
    _assert_two_tones(
        read_audio(b"".join(encoded(tone(s, rate, hz), rate, format, subtype) for s, rate, hz in parts))
    )


@pytest.mark.parametrize("second", [tone(3.0, 16_000), np.stack([tone(3.0, 48_000)] * 2, 1)])
def test_a_joined_vorbis_file_that_changes_is_refused(second):
    first = encoded(tone(2.0, 48_000), 48_000, "OGG", "VORBIS")
    rate_hz = 16_000 if second.ndim == 1 else 48_000
    with pytest.raises(AudioUnreadableError, match="changes its rate or channels"):
        read_audio(first + encoded(second, rate_hz, "OGG", "VORBIS"))


@pytest.mark.parametrize("rates_hz", [(44_100, 44_100), (44_100, 16_000), (16_000, 44_100)])
@pytest.mark.parametrize(("container", "codec"), [("adts", "aac"), ("mp3", "libmp3lame")])
def test_two_joined_streams_of_packets_are_read_to_the_end(container, codec, rates_hz):
    parts = zip((2.0, 3.0), rates_hz, (FIRST_HZ, SECOND_HZ), strict=True)
    joined = b"".join(encoded_by_ffmpeg(tone(s, rate, hz), rate, container, codec) for s, rate, hz in parts)
    _assert_two_tones(read_audio(joined), slack_s=0.16)  # two times the encoder's padding


def test_joined_files_may_change_from_one_channel_to_two():
    first = encoded_by_ffmpeg(tone(2.0, 44_100, FIRST_HZ), 44_100, "adts", "aac")
    stereo = np.stack([tone(3.0, 44_100, SECOND_HZ)] * 2, 1)
    _assert_two_tones(read_audio(first + encoded_by_ffmpeg(stereo, 44_100, "adts", "aac")), slack_s=0.16)


def test_a_segment_of_joined_files_is_the_slice_of_the_whole():
    joined = 2 * encoded(tone(2.0, 16_000), 16_000, "OGG", "VORBIS")
    whole = read_audio(joined)
    assert np.array_equal(read_audio(joined, start_s=1.5, duration_s=1.0), whole[24_000:40_000])


def test_joined_files_of_which_no_decoder_reads_the_second_are_refused():
    wav, caf, au, flac = (
        encoded(tone(2.0, 16_000), 16_000, format) for format in ("WAV", "CAF", "AU", "FLAC")
    )
    m4a, fragments = (
        encoded_by_ffmpeg(tone(2.0, 16_000), 16_000, "mp4", "aac", muxer=muxer) for muxer in ({}, FRAGMENTS)
    )
    for file in (wav, caf, au, m4a, fragments):
        with pytest.raises(AudioUnreadableError, match="several files joined to one"):
            read_audio(file + file)
    with pytest.raises(AudioUnreadableError, match="damaged"):
        read_audio(flac + flac)


@pytest.mark.parametrize("xing", ["0", "1"])
def test_pictures_in_the_tags_of_an_mp3_are_no_audio(xing):
    # Noise looks like the beginnings of MP3 frames, as a picture does.
    picture = np.random.default_rng(9).bytes(60_000)
    syncsafe = bytes([0, len(picture) >> 14, len(picture) >> 7 & 0x7F, len(picture) & 0x7F])
    id3 = b"ID3\4\0\0" + syncsafe + picture
    size = struct.pack("<2I", 2_000, len(picture) + 32)
    header, footer = (b"APETAGEX" + size + struct.pack("<2I8x", 1, flag << 29) for flag in (5, 4))
    ape = header + picture + footer + b"TAG" + bytes(125)
    first, second = (
        encoded_by_ffmpeg(tone(s, 44_100, hz), 44_100, "mp3", "libmp3lame", muxer={"write_xing": xing})
        for s, hz in ((2.0, FIRST_HZ), (3.0, SECOND_HZ))
    )
    assert len(read_audio(id3 + first + ape)) / SAMPLE_RATE == pytest.approx(2.0, abs=0.1)
    _assert_two_tones(read_audio(id3 + first + ape + id3 + second + ape), slack_s=0.16)


@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("seekable", [True, False])
def test_an_mp3_of_variable_rate_without_its_length_is_read_to_the_end(loud_first, seekable):
    noise = 0.3 * np.random.default_rng(7).standard_normal(44_100 * 3).astype(np.float32)
    halves = [noise, tone(2.6, 44_100, SECOND_HZ, level=0.1)]
    samples = np.concatenate(halves if loud_first else halves[::-1])
    variable = {"global_quality": "500", "flags": "+qscale"}
    muxer = {"write_xing": "0"}
    mp3 = encoded_by_ffmpeg(
        samples, 44_100, "mp3", "libmp3lame", muxer=muxer, encoder=variable, seekable=seekable
    )
    wave = read_audio(mp3)
    assert len(wave) / SAMPLE_RATE == pytest.approx(5.6, abs=0.1)
    assert _pitch(wave[-32_000:-8_000] if loud_first else wave[8_000:32_000]) == pytest.approx(
        SECOND_HZ, abs=2
    )


def test_an_mp3_with_its_length_starts_no_child(monkeypatch):
    monkeypatch.setattr("ssvd_asr.audio.decoders.open_ffmpeg", None)
    for mp3 in (
        encoded(tone(2.0, 16_000), 16_000, "MP3"),
        encoded(tone(2.0, 16_000), 16_000, "MP3") + b"TAG" + bytes(125),
        encoded_by_ffmpeg(tone(2.0, 44_100), 44_100, "mp3", "libmp3lame"),
    ):
        assert len(read_audio(mp3)) / SAMPLE_RATE == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("outer", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("inner", [0, 0xFFFFFFFF])
def test_a_wav_whose_sizes_were_never_written_is_read_to_the_end(outer, inner):
    wav = bytearray(
        encoded(np.concatenate([tone(2.0, 16_000, FIRST_HZ), tone(3.0, 16_000, SECOND_HZ)]), 16_000)
    )
    wav[4:8], wav[40:44] = struct.pack("<I", outer), struct.pack("<I", inner)
    _assert_two_tones(read_audio(bytes(wav)))


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("W64", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "OPUS"),
        ("OGG", "VORBIS"),
        ("MP3", None),
    ],
)
def test_a_cut_file_is_refused(format, subtype, kept):
    data = encoded(_noise(4.0, 16_000), 16_000, format, subtype)
    with pytest.raises(AudioUnreadableError, match=CUT):
        read_audio(data[: int(kept * len(data))])


@pytest.mark.parametrize("kept", [0.5, 0.8, 0.9])
@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("ipod", "aac", {}),
        ("mp4", "aac", {"muxer": FRAGMENTS}),
        ("webm", "libopus", {}),
        ("adts", "aac", {}),
        ("asf", "wmav2", {"encoder": {"b": "96000"}}),
    ],
)
def test_a_cut_file_that_only_ffmpeg_reads_is_refused(container, codec, options, kept):
    noise = _noise(4.0, 48_000)
    samples = np.stack([noise, noise], 1) if container == "asf" else noise
    data = encoded_by_ffmpeg(samples, 48_000, container, codec, **options)
    assert len(read_audio(data)) / SAMPLE_RATE == pytest.approx(4.0, abs=0.1)
    with pytest.raises(AudioUnreadableError, match=CUT):
        read_audio(data[: int(kept * len(data))])


@pytest.mark.parametrize("kept", [0.5, 0.8, 0.9])
def test_a_cut_m4a_with_its_index_first_is_refused(kept):
    data = with_index_first(encoded_by_ffmpeg(_noise(4.0, 16_000), 16_000, "ipod", "aac"))
    assert len(read_audio(data)) / SAMPLE_RATE == pytest.approx(4.0, abs=0.1)
    with pytest.raises(AudioUnreadableError, match=CUT):
        read_audio(data[: int(kept * len(data))])


def test_a_flac_cut_between_two_frames_is_refused():
    # The encoder states the length; here it states a second more than follows.
    flac = encoded(tone(3.0, 16_000), 16_000, "FLAC")
    with pytest.raises(AudioUnreadableError, match=r"cut off or damaged: it holds 3\.000 s of the 4\.000 s"):
        read_audio(flac_with_total(flac, 64_000))


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_an_ogg_that_ends_with_a_whole_page_is_read(subtype):
    # A recorder that is stopped, or a stream that is joined late, leaves such files.
    ogg = encoded(_noise(8.0, 48_000), 48_000, "OGG", subtype)
    pages = [page.start() for page in re.finditer(b"OggS", ogg)]
    last_s = len(read_audio(ogg[: pages[-1]])) / SAMPLE_RATE
    assert 6.0 < last_s < 8.0
    assert len(read_audio(ogg[: pages[2]] + ogg[pages[5] :])) / SAMPLE_RATE > 2.0


def test_wav_chunks_after_the_samples_are_no_audio():
    wav = bytearray(encoded(tone(2.0, 16_000), 16_000)) + b"LIST" + struct.pack("<I", 4_000) + bytes(4_000)
    wav[4:8] = struct.pack("<I", len(wav) - 8)
    assert len(read_audio(bytes(wav))) == 32_000


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"), [("webm", "libopus", 48_000), ("ipod", "aac", 16_000)]
)
def test_a_gap_in_the_timestamps_becomes_silence(container, codec, rate_hz):
    samples = np.concatenate([tone(2.0, rate_hz, FIRST_HZ), tone(2.0, rate_hz, SECOND_HZ)])
    wave = read_audio(encoded_by_ffmpeg(samples, rate_hz, container, codec, gap=(2.0, 3.0)))
    assert len(wave) / SAMPLE_RATE == pytest.approx(7.0, abs=0.1)
    assert np.abs(wave[36_000:76_000]).max() < 0.01
    assert _pitch(wave[4_000:28_000]) == pytest.approx(FIRST_HZ, abs=2)
    assert _pitch(wave[84_000:108_000]) == pytest.approx(SECOND_HZ, abs=2)


def test_a_gap_of_years_stops_at_the_limit():
    webm = encoded_by_ffmpeg(tone(2.0, 48_000), 48_000, "webm", "libopus", gap=(1.0, 1e8))
    with pytest.raises(AudioTooLongError, match=r"limit of 10\.0 s \(max_duration_s\)"):
        read_audio(webm, AudioLimits(max_duration_s=10.0))


def _noise(seconds: float, rate_hz: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(8).standard_normal(round(seconds * rate_hz)).astype(np.float32)


def _assert_two_tones(wave: np.ndarray, slack_s: float = 0.13) -> None:
    """2 s of FIRST_HZ, then 3 s of SECOND_HZ; each part may have an MP3 encoder's padding."""
    assert -0.001 <= len(wave) / SAMPLE_RATE - 5.0 <= slack_s
    assert _pitch(wave[4_000:28_000]) == pytest.approx(FIRST_HZ, abs=2)
    assert _pitch(wave[40_000:76_000]) == pytest.approx(SECOND_HZ, abs=2)


def _pitch(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax()) * SAMPLE_RATE / len(wave)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mpegts", "aac"),
        ("mpegts", "ac3"),
        ("mpeg", "mp2"),
        ("ac3", "ac3"),
        ("avi", "libmp3lame"),
        ("mp2", "mp2"),
    ],
)
def test_joined_files_of_containers_for_joining_are_read_to_the_end(container, codec):
    parts = ((2.0, FIRST_HZ), (3.0, SECOND_HZ))
    joined = b"".join(encoded_by_ffmpeg(tone(s, 48_000, hz), 48_000, container, codec) for s, hz in parts)
    _assert_two_tones(read_audio(joined), slack_s=0.16)


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [("flv", "aac", 44_100), ("tta", "tta", 44_100), ("rm", "real_144", 8_000), ("wav", "g722", 16_000)],
)
def test_joined_files_of_which_ffmpeg_reads_only_the_first_are_refused(container, codec, rate_hz):
    file = encoded_by_ffmpeg(tone(2.0, rate_hz), rate_hz, container, codec)
    with pytest.raises(AudioUnreadableError, match="several files joined to one"):
        read_audio(file + file)


@pytest.mark.parametrize("share", [0.5, 0.7])
@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [
        ("flv", "aac", 44_100),
        ("avi", "libmp3lame", 44_100),
        ("avi", "pcm_s16le", 48_000),
        ("wv", "wavpack", 44_100),
        ("tta", "tta", 44_100),
        ("mxf_opatom", "pcm_s16le", 48_000),
        ("rm", "real_144", 8_000),
        ("wav", "g722", 16_000),
        ("wav", "g726", 8_000),
        ("wav", "ac3", 48_000),
    ],
)
def test_a_cut_file_of_ffmpegs_is_refused(container, codec, rate_hz, share):
    whole = encoded_by_ffmpeg(tone(10.0, rate_hz), rate_hz, container, codec)
    with pytest.raises(AudioUnreadableError, match=r"cut off"):
        read_audio(whole[: int(share * len(whole))])


def test_lost_seconds_of_a_transport_stream_are_silence():
    whole = encoded_by_ffmpeg(tone(4.0, 48_000), 48_000, "mpegts", "aac", gap=(2.0, 3.0))
    wave = read_audio(whole)
    assert len(wave) / SAMPLE_RATE == pytest.approx(7.0, abs=0.1)
    assert not wave[int(2.3 * SAMPLE_RATE) : int(4.8 * SAMPLE_RATE)].any()

"""Every byte of a file is understood: none that is missing, damaged or left over is passed over."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from ssvd_asr.audio.read import SAMPLE_RATE, read_audio, read_recording
from ssvd_asr.errors import AudioUnreadableError
from tests.ssvd_asr.audio_samples import encoded, encoded_by_ffmpeg, flac_with_total, tone

DAMAGED = "cut off|damaged"
WAV_HEADER_BYTES = 44
ID3 = b"ID3\4\0\0\0\0\0\x20" + bytes(32)
TAGS = [
    b"TAG" + b"x" * 125,
    ID3,
    b"APETAGEX" + struct.pack("<4I8x", 2_000, 32, 0, 1 << 31),
    bytes(20_000),
]


def _noise(seconds: float, rate_hz: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(8).standard_normal(round(seconds * rate_hz)).astype(np.float32)


def _seconds(data: bytes) -> float:
    return len(read_audio(data)) / SAMPLE_RATE


def _damaged(data: bytes, how: str) -> bytes:
    """The file with a fifth of its bytes lost, zeroed or overwritten, or cut; no frame or page ends there."""
    start, stop = len(data) * 2 // 5 + 7, len(data) * 3 // 5 + 13
    middle = {
        "lost": b"",
        "zeroed": bytes(stop - start),
        "overwritten": bytes(byte ^ 0x55 for byte in data[start:stop]),
    }
    return data[:start] + middle[how] + data[stop:]


@pytest.mark.parametrize("how", ["lost", "zeroed", "overwritten"])
@pytest.mark.parametrize(
    ("format", "subtype"), [("OGG", "OPUS"), ("OGG", "VORBIS"), ("FLAC", "PCM_16"), ("MP3", None)]
)
def test_a_file_with_damage_in_its_middle_is_refused(format, subtype, how):
    with pytest.raises(AudioUnreadableError, match=DAMAGED):
        read_audio(_damaged(encoded(_noise(10.0, 16_000), 16_000, format, subtype), how))


@pytest.mark.parametrize("how", ["lost", "zeroed", "overwritten"])
@pytest.mark.parametrize(
    ("container", "codec", "rate_hz", "options"),
    [
        ("webm", "libopus", 48_000, {}),
        ("webm", "libopus", 48_000, {"seekable": False}),
        ("ogg", "flac", 48_000, {}),
        ("mp2", "mp2", 48_000, {}),
        ("mp3", "libmp3lame", 44_100, {"muxer": {"write_xing": "0"}}),
        ("avi", "mp2", 44_100, {}),
        ("rm", "real_144", 8_000, {}),
        ("flv", "nellymoser", 22_050, {}),
        ("ac3", "ac3", 48_000, {}),
    ],
)
def test_a_file_of_ffmpegs_with_damage_in_its_middle_is_refused(container, codec, rate_hz, options, how):
    data = encoded_by_ffmpeg(_noise(10.0, rate_hz), rate_hz, container, codec, **options)
    assert _seconds(data) == pytest.approx(10.0, abs=0.1)
    with pytest.raises(AudioUnreadableError, match=DAMAGED):
        read_audio(_damaged(data, how))


@pytest.mark.parametrize("how", ["lost", "zeroed", "overwritten"])
@pytest.mark.parametrize("samples", [tone(10.0, 44_100), _noise(10.0, 44_100)])
def test_a_hole_in_a_wma_is_silence_that_is_told_or_the_file_is_refused(samples, how):
    stereo = np.stack([samples] * 2, 1)
    wma = encoded_by_ffmpeg(stereo, 44_100, "asf", "wmav2", encoder={"b": "96000"})
    try:
        wave, told = _read_one(_damaged(wma, how))
    except AudioUnreadableError:
        return
    assert len(wave) / SAMPLE_RATE == pytest.approx(10.0, abs=0.15)
    assert any("silence was put there" in each for each in told)


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp3", "libmp3lame", {"muxer": {"write_xing": "0"}}),
        ("mp2", "mp2", {}),
        ("mpegts", "mp2", {}),
        ("mpegts", "mp2", {"muxer": {"mpegts_m2ts_mode": "1"}}),
        ("webm", "libopus", {"seekable": False}),
    ],
)
def test_a_stream_that_is_cut_within_a_packet_is_refused(container, codec, options, kept):
    data = encoded_by_ffmpeg(_noise(10.0, 48_000), 48_000, container, codec, **options)
    with pytest.raises(AudioUnreadableError, match="cut off"):
        read_audio(data[: int(kept * len(data)) + 5])


@pytest.mark.parametrize("format", ["RF64", "NIST", "HTK", "WAVEX"])
def test_a_cut_file_of_a_lesser_format_is_refused(format):
    samples = _noise(4.0, 16_000)
    data = encoded(samples, 16_000, format, "PCM_16")
    assert _seconds(data) == 4.0
    with pytest.raises(AudioUnreadableError):
        read_audio(data[: len(data) // 2])


def test_two_joined_files_of_a_lesser_format_are_refused():
    for format in ("RF64", "NIST", "W64"):
        data = encoded(_noise(2.0, 16_000), 16_000, format, "PCM_16")
        with pytest.raises(AudioUnreadableError):
            read_audio(data + data)


@pytest.mark.parametrize("format", ["VOC", "IRCAM", "MAT4", "MAT5", "PVF", "AVR", "SVX", "PAF", "XI", "WVE"])
def test_a_format_that_looks_whole_when_cut_is_refused(format):
    subtype = {"XI": "DPCM_16", "WVE": "ALAW"}.get(format, "PCM_16")
    rate_hz = 8_000 if format == "WVE" else 16_000
    with pytest.raises(AudioUnreadableError, match="files are not read, as one that is cut off looks whole"):
        read_audio(encoded(_noise(1.0, rate_hz), rate_hz, format, subtype))


def test_samples_that_a_wav_holds_beyond_its_stated_size_are_not_passed_over():
    wav = encoded(_noise(4.0, 16_000), 16_000)
    header, samples = wav[: WAV_HEADER_BYTES - 8], wav[WAV_HEADER_BYTES:]
    half = struct.pack("<4sI", b"data", len(samples) // 2)
    for file in (
        header + half + samples,
        header + half + samples[: len(samples) // 2] + half + samples[len(samples) // 2 :],
        wav + ID3 + encoded(_noise(4.0, 16_000), 16_000, "MP3"),
        wav + encoded(_noise(4.0, 16_000), 16_000, "FLAC"),
    ):
        with pytest.raises(AudioUnreadableError, match="follow its samples"):
            read_audio(file)


@pytest.mark.parametrize("tag", TAGS)
def test_tags_and_padding_behind_a_file_are_no_audio(tag):
    tones = tone(2.0, 44_100)
    for file in (
        encoded(tones, 44_100),
        encoded(tones, 44_100) + b"LIST" + struct.pack("<I", 5) + b"INFOx\0",
        encoded(tones, 44_100, "MP3"),
        encoded_by_ffmpeg(tones, 44_100, "mp3", "libmp3lame", muxer={"write_xing": "0"}),
        encoded_by_ffmpeg(tones, 44_100, "ipod", "aac"),
    ):
        assert _seconds(file + tag) == pytest.approx(2.0, abs=0.1)


def test_a_chunk_of_odd_size_may_lack_its_padding():
    wav = encoded(tone(2.0, 16_000), 16_000)
    unpadded = b"LIST" + struct.pack("<I", 5) + b"INFOx" + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert _seconds(wav + unpadded) == 2.0


def test_another_file_behind_an_m4a_is_not_passed_over():
    m4a = encoded_by_ffmpeg(tone(2.0, 44_100), 44_100, "ipod", "aac")
    with pytest.raises(AudioUnreadableError, match="another file"):
        read_audio(m4a + encoded(tone(2.0, 44_100), 44_100, "MP3"))


def test_a_flac_that_is_longer_than_it_states_is_refused():
    flac = encoded(_noise(4.0, 16_000), 16_000, "FLAC")
    with pytest.raises(AudioUnreadableError, match=r"after the 2\.000 s that its header states"):
        read_audio(flac_with_total(flac, 32_000))


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_what_an_ogg_may_lack_is_told(subtype):
    ogg = encoded(_noise(20.0, 48_000), 48_000, "OGG", subtype)
    pages = [place for place in range(len(ogg)) if ogg.startswith(b"OggS", place)]
    assert read_recording(ogg).warnings == ((),)
    (stopped,) = read_recording(ogg[: pages[-1]]).warnings
    assert ["may be cut off" in each for each in stopped] == [True]
    (joined_late,) = read_recording(ogg[: pages[2]] + ogg[pages[5] :]).warnings
    assert ["begins within a running stream" in each for each in joined_late] == [True]
    with pytest.raises(AudioUnreadableError, match=DAMAGED):
        read_audio(ogg[: pages[5]] + ogg[pages[6] :])


@pytest.mark.parametrize("codec", ["pcm_s16le", "adpcm_ms", "adpcm_ima_wav", "mp2"])
def test_a_long_avi_is_not_taken_for_a_cut_one(codec):
    avi = encoded_by_ffmpeg(_noise(60.0, 16_000), 16_000, "avi", codec)
    assert _seconds(avi) == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize(
    ("container", "codec", "encoder"),
    [("asf", "wmav2", {"b": "96000"}), ("aiff", "pcm_s16be", {}), ("matroska", "aac", {})],
)
def test_a_file_from_a_pipe_is_read_to_its_end(container, codec, encoder):
    stereo = np.stack([_noise(20.0, 44_100)] * 2, 1)
    piped = encoded_by_ffmpeg(stereo, 44_100, container, codec, encoder=encoder, seekable=False)
    assert _seconds(piped) == pytest.approx(20.0, abs=0.15)


def test_two_joined_webm_files_from_a_browser_are_read_to_the_end():
    webm = encoded_by_ffmpeg(_noise(3.0, 48_000), 48_000, "webm", "libopus", seekable=False)
    assert _seconds(webm + webm) == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_audio_that_starts_after_the_pictures_keeps_its_time(container):
    wave, (told,) = _read_one(_film(tone(2.0, 16_000), 16_000, container, starts_s=3.0))
    assert len(wave) / SAMPLE_RATE == pytest.approx(5.0, abs=0.15)
    assert not wave[: round(2.8 * SAMPLE_RATE)].any()
    assert "silence was put there" in told


def test_many_small_gaps_count_together():
    # Each packet of 20 ms is 5 ms late after the one before.
    webm = encoded_by_ffmpeg(tone(4.0, 48_000), 48_000, "webm", "libopus", seekable=True)
    wave, (told,) = _read_one(_stretched(webm, 1.25))
    assert len(wave) / SAMPLE_RATE == pytest.approx(5.0, abs=0.15)
    assert "silence was put there" in told


def test_pauses_in_a_telephones_recording_are_silence_of_their_length():
    spoken = b"\x3c" + np.random.default_rng(3).bytes(31)
    noise_description = b"\x44" + bytes(5)
    amr = b"#!AMR\n" + 50 * spoken + noise_description + 99 * b"\x7c" + 50 * spoken
    wave, (told,) = _read_one(amr)
    assert len(wave) / SAMPLE_RATE == pytest.approx(4.0, abs=0.01)
    assert np.abs(wave[round(1.1 * SAMPLE_RATE) : round(2.9 * SAMPLE_RATE)]).max() < 0.01
    assert told == "The file marks 2.0 s as pauses: they were read as silence"
    for broken in (amr[:-1], amr[:400] + amr[411:], b"#!AMR\n" + 50 * spoken + bytes(13 * 20)):
        with pytest.raises(AudioUnreadableError, match=f"{DAMAGED}"):
            read_audio(broken)


def _read_one(data: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    recording = read_recording(data)
    return recording.waves[0], recording.warnings[0]


def _film(samples: np.ndarray, rate_hz: int, container: str, starts_s: float) -> bytes:
    """Pictures from 0 s on, and sound from starts_s on."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        pictures = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        sound = output.add_stream("aac", rate=rate_hz, layout="mono")
        packets = []
        for number in range(60):
            picture = av.VideoFrame(32, 32, "yuv420p")
            picture.pts = number
            packets += pictures.encode(picture)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            packet.pts = packet.dts = packet.pts + round(starts_s / packet.time_base)
            packets.append(packet)
        packets += pictures.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return file.getvalue()


def _stretched(data: bytes, factor: float) -> bytes:
    """The same packets, each `factor` times as late."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as whole, av.open(file, "w", format="webm") as output:
        stream = output.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux():
            if packet.dts is not None:
                packet.pts = packet.dts = round(packet.pts * factor)
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def test_no_format_of_libsndfiles_is_read_in_part_without_a_word():
    samples = _noise(3.0, 16_000)
    for format in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(format):
            if not soundfile.check_format(format, subtype) or format in (
                "RAW",
                "SD2",
            ):  # SD2 needs a second file
                continue
            try:
                whole = encoded(samples, 16_000, format, subtype)
                read_audio(whole)
            except (soundfile.LibsndfileError, AudioUnreadableError):
                continue  # not written, or not read
            with pytest.raises(AudioUnreadableError):
                read_audio(whole[: len(whole) * 3 // 5])

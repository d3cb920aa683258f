"""Formats and codecs that FFmpeg may read here, and what is known of each.

FFmpeg knows hundreds of formats; some open other files or addresses (playlists, concat scripts) or decode
pictures.  Only the containers and decoders named here are tried, and no protocol.
"""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aac", "amr", "asf", "wav", "flac", "caf", "mp3",
    "mpegts", "mpeg", "flv", "avi", "mxf", "rm", "ac3", "eac3", "wv", "tta", "loas", "w64",
)  # fmt: skip
STATE_DURATION = (  # if FFmpeg does not say that it guesses
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flv", "avi", "mxf", "rm", "wv", "tta", "mp3", "caf",
)  # fmt: skip
HAVE_GAPS = (  # their timestamps may jump over silence
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "flv", "asf",
)  # fmt: skip
STATE_PACKETS = ("caf",)  # the duration of each, and a jump over silence would be no gap
OF_SAMPLES = ("wav", "caf", "w64")  # their packets are of any size: the last one is short, not corrupt
CHECKED_BY_FRAMES = ("mp3",)  # by the parent: FFmpeg calls tags between joined files an error
INTERPOLATE_TIMES = ("mpegts", "mpeg")  # few of their packets have a time, and FFmpeg adds the others'
MAY_RESTART = "matroska,webm"  # in other containers FFmpeg starts the decoder anew itself
DECODERS = (
    "aac", "alac", "opus", "libopus", "vorbis", "flac", "mp3", "mp3float", "amrnb", "amrwb",
    "wmav1", "wmav2", "wmapro", "ac3", "eac3", "speex", "mp1", "mp1float", "mp2", "mp2float", "aac_latm",
    "wavpack", "tta", "nellymoser", "real_144", "g722", "g726", "adpcm_swf", "adpcm_yamaha",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be",
    "pcm_f64le", "pcm_f64be", "pcm_bluray", "pcm_dvd",
    "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt",
)  # fmt: skip
HAVE_CHECKSUMS = ("ac3", "eac3", "flac", "tta", "wavpack")  # FFmpeg checks them only if it is told to
# AMR frames of a description of noise, or of nothing, while nobody speaks.  FFmpeg refuses them.
PAUSES = {"amrnb": (8, 9, 10, 11, 15), "amrwb": (9, 14, 15)}  # kinds of frames
AMR_FRAME_SAMPLES = {"amrnb": 160, "amrwb": 320}

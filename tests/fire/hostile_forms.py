"""Requests whose form, fields or address are hostile, around a good file; and bytes that are no HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from tests.fire.hostile import MAX_UPLOAD_BYTES, Heard, Refused
from tests.speechlike import babble, wav_bytes

URL = "/v1/audio/transcriptions"
TYPE = "multipart/form-data; boundary=x"
CLIP_S = 1.0
HEARD = Heard(CLIP_S)


@dataclass(frozen=True)
class Sent:
    """A request as it goes out, and what has to be answered."""

    make: Callable[[], bytes]
    answer: Refused | Heard
    path: str = URL
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": TYPE})


def clip() -> bytes:
    """A second that sounds like speech."""
    return wav_bytes(babble(CLIP_S))


def part(disposition: str | bytes, content: bytes = b"") -> bytes:
    """One part of a form."""
    words = disposition.encode() if isinstance(disposition, str) else disposition
    return b"--x\r\nContent-Disposition: form-data; " + words + b"\r\n\r\n" + content + b"\r\n"


def the_file() -> bytes:
    """The part of the file."""
    return part('name="file"; filename="a.wav"', clip())


def form(*parts: bytes) -> bytes:
    """A whole form: the file, then parts."""
    return the_file() + b"".join(parts) + b"--x--\r\n"


def fields(answer: Refused | Heard, *pairs: tuple[str, str | bytes]) -> Sent:
    """A request with these fields beside its file."""
    parts = [
        part(f'name="{name}"', value.encode() if isinstance(value, str) else value) for name, value in pairs
    ]
    return Sent(lambda: form(*parts), answer)


def typed(answer: Refused | Heard, kind: str) -> Sent:
    """A whole form under this content type."""
    return Sent(form, answer, headers={"Content-Type": kind})


def got(path: str, answer: Refused, method: str = "GET") -> Sent:
    """A request without a body."""
    return Sent(bytes, answer, path, method, {})


INVALID, INVALID_FORM = Refused(400, "invalid_value"), Refused(400, "invalid_form")
NO_DOMAIN, NO_MODEL = Refused(404, "domain_not_found"), Refused(404, "model_not_found")
UNSUPPORTED = Refused(422, "unsupported_value")
NO_LANGUAGE = Refused(422, "unsupported_language")
KEYWORD = Refused(422, "unsupported_keyword")
BLEND = Refused(400, "invalid_blend")
NOT_FOUND = Refused(404, "not_found")
ENCODING = Refused(415, "unsupported_encoding")
TOO_LARGE = Refused(413, "upload_too_large")

FORMS: Mapping[str, Sent] = {
    # the body
    "no body": Sent(bytes, INVALID_FORM),
    "a body of JSON": typed(Refused(415, "not_multipart"), "application/json"),
    "a type without a boundary": typed(INVALID_FORM, "multipart/form-data"),
    "another boundary": typed(INVALID_FORM, "multipart/form-data; boundary=y"),
    "a boundary of 10 kB": typed(INVALID_FORM, "multipart/form-data; boundary=" + "y" * 10_000),
    "an unknown charset": typed(ENCODING, TYPE + "; charset=klingon"),
    "compressed": Sent(
        lambda: gzip.compress(form()), ENCODING, headers={"Content-Type": TYPE, "Content-Encoding": "gzip"}
    ),
    "cut off": Sent(lambda: form(part('name="domain"', b"child"))[:-20], INVALID_FORM),
    "no last boundary": Sent(the_file, INVALID_FORM),
    "only boundaries": Sent(lambda: b"--x\r\n" * 10_000 + b"--x--\r\n", INVALID_FORM),
    "a part without a name": Sent(lambda: form(part("", b"child")), INVALID_FORM),
    "a part without headers": Sent(lambda: form(b"--x\r\n\r\nchild\r\n"), INVALID_FORM),
    "a header of 100 kB": Sent(lambda: form(part('name="' + "a" * 100_000 + '"')), INVALID_FORM),
    "10000 fields": Sent(lambda: form(*[part(f'name="f{n}"', b"1") for n in range(10_000)]), INVALID_FORM),
    "1000 files": Sent(
        lambda: form(*[part(f'name="f{n}"; filename="f"', b"1") for n in range(1000)]), INVALID_FORM
    ),
    "a field of 1 MB": fields(INVALID_FORM, ("prompt", "a" * 2**20)),
    "a field that is not UTF-8": fields(INVALID_FORM, ("prompt", b"\xff\xfe\x00")),
    "over the limit": Sent(lambda: form(part('name="prompt"', bytes(MAX_UPLOAD_BYTES))), TOO_LARGE),
    "far over the limit": Sent(lambda: bytes(5 * MAX_UPLOAD_BYTES), TOO_LARGE),
    "no file": Sent(lambda: part('name="domain"', b"child") + b"--x--\r\n", INVALID),
    "the file twice": Sent(lambda: form(the_file()), INVALID),
    "the file as text": Sent(lambda: part('name="file"', clip()) + b"--x--\r\n", INVALID),
    "a field as a file": Sent(lambda: form(part('name="domain"; filename="d"', b"child")), INVALID),
    "a file name that is a path": Sent(
        lambda: part('name="file"; filename="../../../etc/passwd"', clip()) + b"--x--\r\n", HEARD
    ),
    # the fields
    "an unknown field": fields(INVALID, ("beam_size", "1000000")),
    "a field twice": fields(INVALID, ("domain", "child"), ("domain", "scottish")),
    "an attribute of Python": fields(INVALID, ("__class__", "x")),
    "a domain that is a path": fields(NO_DOMAIN, ("domain", "../../../etc/passwd")),
    "a domain with a null": fields(NO_DOMAIN, ("domain", "child\0")),
    "a domain of 60 kB": fields(NO_DOMAIN, ("domain", "a" * 60_000)),
    "a domain in other digits": fields(NO_DOMAIN, ("domain", "child@١")),
    "a version of 10^400": fields(NO_DOMAIN, ("domain", "child@" + "9" * 400)),
    "a blend of 10000 parts": fields(BLEND, ("domain", "+".join(["child*0.1"] * 5000))),
    "a blend of an infinite weight": fields(BLEND, ("domain", "child*1e999")),
    "a blend of no number": fields(BLEND, ("domain", "child*nan+scottish*1")),
    "a blend of a huge weight": fields(BLEND, ("domain", "child*1e300")),
    "1000 candidates": fields(NO_DOMAIN, ("domain", "auto:" + ",".join(map(str, range(1000))))),
    "a model of colons": fields(NO_MODEL, ("model", ":" * 1000)),
    "a model that is an address": fields(NO_MODEL, ("model", "http://127.0.0.1:1/x")),
    "a language of 10 kB": fields(NO_LANGUAGE, ("language", "e" * 10_000)),
    "a language with a null": fields(NO_LANGUAGE, ("language", "en\0")),
    "a language that is a token": fields(NO_LANGUAGE, ("language", "<asr>")),
    "a prompt over the limit": fields(Refused(422, "prompt_too_long"), ("prompt", "word " * 1000)),
    "301 keywords": fields(KEYWORD, *[("keywords[]", f"word{n}") for n in range(301)]),
    "a keyword of 10 kB": fields(KEYWORD, ("keywords[]", "a" * 10_000)),
    "1000 granularities": fields(INVALID_FORM, *[("timestamp_granularities[]", "word")] * 1000),
    "an unknown granularity": fields(UNSUPPORTED, ("timestamp_granularities[]", "phoneme")),
    "a temperature that is no number": fields(UNSUPPORTED, ("temperature", "nan")),
    "an infinite temperature": fields(UNSUPPORTED, ("temperature", "1e999")),
    "a channel below 0": fields(INVALID, ("channel", "-1")),
    "a channel of 10^30": fields(INVALID, ("channel", "9" * 30)),
    "a format that is a list": fields(UNSUPPORTED, ("response_format", '["json"]')),
    "a cut that is no number": fields(
        INVALID, ("chunking_strategy[type]", "server_vad"), ("chunking_strategy[silence_duration_ms]", "nan")
    ),
    "a cut without a type": fields(INVALID, ("chunking_strategy[threshold]", "0.5")),
    "a cut as nested JSON": fields(UNSUPPORTED, ("chunking_strategy", '{"type":' * 1000)),
    # the address and the headers
    "fields in the address": Sent(form, INVALID, path=f"{URL}?domain=child"),
    "an id that is too short": Sent(form, INVALID, headers={"Content-Type": TYPE, "X-SSVD-Request-ID": "a"}),
    "a domain in the address that is a path": got("/v1/domains/..%2f..%2fetc/samples", NOT_FOUND),
    "a sample that is a path": got("/v1/domains/child/samples/..%2f..%2f..%2fetc%2fpasswd", NOT_FOUND),
    "a model that is a path": got("/v1/models/../../etc/passwd", NOT_FOUND),
    "a model of 8 kB": got("/v1/models/" + "a" * 8000, NO_MODEL),
    "progress of another": got("/v1/progress/" + "a" * 64, Refused(404, "request_not_found")),
    "a route that is not there": got("/v1/admin", NOT_FOUND),
    "a method that is not there": got(URL, Refused(405, "method_not_allowed"), "DELETE"),
    "TRACE": got("/v1/models", Refused(405, "method_not_allowed"), "TRACE"),
}


def raw(headers: str, body: bytes = b"", line: str = f"POST {URL} HTTP/1.1") -> bytes:
    """A request written by hand."""
    return f"{line}\r\nHost: a\r\nConnection: close\r\n{headers}\r\n".encode("latin-1") + body


CHUNKED = f"Content-Type: {TYPE}\r\nTransfer-Encoding: chunked\r\n"
# Below the app: the status line's code, or None where the connection may just close.
RAW: Mapping[str, tuple[Callable[[], bytes], int | None]] = {
    "no HTTP": (partial(bytes, 1000), 400),
    "a TLS greeting": (lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
    "a line of 200 kB": (lambda: raw("", line="GET /" + "a" * 200_000 + " HTTP/1.1"), None),
    "a header of 200 kB": (lambda: raw(f"X: {'a' * 200_000}\r\n"), None),
    "a header without a colon": (lambda: raw("nothing\r\n"), 400),
    "a length below 0": (lambda: raw("Content-Length: -5\r\n"), 400),
    "a length that is no number": (lambda: raw("Content-Length: five\r\n"), 400),
    "two lengths": (lambda: raw("Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), 400),
    "a length and chunks": (lambda: raw(CHUNKED + "Content-Length: 5\r\n", b"0\r\n\r\n"), 400),
    "a chunk of no size": (lambda: raw(CHUNKED, b"zz\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk of 2^64 bytes": (lambda: raw(CHUNKED, b"FFFFFFFFFFFFFFFF\r\nhello\r\n"), None),
    "a length of 10^30": (lambda: raw(f"Content-Type: {TYPE}\r\nContent-Length: {10**30}\r\n", b"x"), None),
    "an id with a line break": (
        lambda: raw("X-Request-ID: a\rSet-Cookie: b\r\n", line="GET /v1/models HTTP/1.1"),
        None,
    ),
}

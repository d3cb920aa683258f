"""Bodies as clients send them: whole and understood, or refused with the reason; never half of one."""

from __future__ import annotations

import errno
import gzip
import os
import tempfile

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.server.api.test_transcriptions import URL, post, refusal
from tests.server.fakes import FakeRecogniser

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
DISPOSITION = b"Content-Disposition: form-data; "


def part(disposition: bytes, content: bytes) -> bytes:
    return b"--x\r\n" + DISPOSITION + disposition + b"\r\n\r\n" + content + b"\r\n"


def form(clip: bytes, *fields: bytes, filename: bytes = b'filename="a.wav"') -> bytes:
    """A whole form: the file, then parts."""
    return part(b'name="file"; ' + filename, clip) + b"".join(fields) + b"--x--\r\n"


CHILD = part(b'name="domain"', b"child")


def send(client: TestClient, body: bytes, **headers: str) -> httpx.Response:
    return client.post(URL, content=body, headers=FORM | headers)  # type: ignore[return-value]


@pytest.mark.parametrize("missing", range(4, 30, 3))
def test_a_form_that_is_cut_off_is_refused_and_not_answered_by_the_base(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, missing: int
) -> None:
    """The field that was cut off was dropped, and the base answered in place of the domain."""
    error = refusal(send(client, form(clip, CHILD)[:-missing]), 400)
    assert error["code"] == "invalid_form"
    assert "cut off" in error["message"]
    assert recogniser.pieces == []


def test_a_form_whose_file_is_cut_off_says_so(client: TestClient, clip: bytes) -> None:
    assert "cut off" in refusal(send(client, form(clip)[:-2000]), 400)["message"]


@pytest.mark.parametrize(
    "filename",
    [
        b"filename*=UTF-8''%D0%B4%D0%BE%D1%87%D0%BA%D0%B0.wav",
        'filename="дочка — 子.wav"'.encode(),
        b'filename="../../a%00.wav"',
        b'filename=""',
        b'filename="' + 4000 * b"a" + b'"',
    ],
)
def test_a_file_may_have_any_name(client: TestClient, clip: bytes, filename: bytes) -> None:
    response = send(client, form(clip, CHILD, filename=filename))
    assert response.json()["text"] == "child words of version 2"


def test_a_name_over_the_limit_is_refused_with_the_reason(client: TestClient, clip: bytes) -> None:
    error = refusal(send(client, form(clip, filename=b'filename="' + 5000 * b"a" + b'"')), 400)
    assert "header size" in error["message"]


@pytest.mark.parametrize("charset", ["rot13", "hex", "klingon", "utf-8\0"])
def test_a_charset_that_is_none_is_refused(client: TestClient, clip: bytes, charset: str) -> None:
    """Python's codecs that are no charsets failed with 500, and unknown ones were read as UTF-8."""
    unknown = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    error = refusal(send(client, form(clip, CHILD), **unknown), 415)
    assert error["code"] == "unsupported_encoding"
    assert "charset" in error["message"]


@pytest.mark.parametrize("content", [b"clip.wav", b"RIFF\xff\xfe", bytes(70_000)])
def test_a_file_that_is_sent_as_text_is_refused_as_such(client: TestClient, content: bytes) -> None:
    """As `curl -F file=<clip.wav` sends it. The refusal spoke of UTF-8, or of a limit on text."""
    error = refusal(send(client, part(b'name="file"', content) + b"--x--\r\n"), 400)
    assert error["param"] == "file"
    assert "with a filename" in error["message"]


def test_text_that_is_not_in_its_charset_is_refused(client: TestClient, clip: bytes) -> None:
    error = refusal(send(client, form(clip, part(b'name="prompt"', b"f\xfcnf"))), 400)
    assert "'prompt' is not utf-8" in error["message"]
    latin = {"Content-Type": "multipart/form-data; boundary=x; charset=iso-8859-1"}
    assert send(client, form(clip, part(b'name="prompt"', b"f\xfcnf")), **latin).status_code == 200


def test_a_compressed_body_is_refused_by_its_name(client: TestClient, clip: bytes) -> None:
    error = refusal(send(client, gzip.compress(form(clip)), **{"Content-Encoding": "gzip"}), 415)
    assert (error["code"], "gzip" in error["message"]) == ("unsupported_encoding", True)
    assert send(client, form(clip), **{"Content-Encoding": "identity"}).status_code == 200


def test_fields_in_the_address_are_refused_and_not_ignored(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes
) -> None:
    response = client.post(f"{URL}?domain=child", files={"file": ("clip.wav", clip)})
    assert refusal(response, 400)["param"] == "domain"  # type: ignore[arg-type]
    assert recogniser.pieces == []


def test_a_slash_after_the_route_is_no_redirect(client: TestClient, clip: bytes) -> None:
    response = client.post(f"{URL}/", files={"file": ("clip.wav", clip)}, follow_redirects=False)
    assert response.json()["text"] == "base words"


@pytest.mark.parametrize("field", ["domain", "model", "temperature", "response_format"])
def test_a_field_that_is_given_twice_is_refused_even_if_both_agree(
    client: TestClient, clip: bytes, field: str
) -> None:
    error = refusal(post(client, clip, **{field: ["0", "0"]}), 400)
    assert (error["param"], "twice" in error["message"]) == (field, True)


def test_a_part_of_a_field_beside_the_whole_is_not_called_given_twice(
    client: TestClient, clip: bytes
) -> None:
    both = {"chunking_strategy": "auto", "chunking_strategy[threshold]": "0.5"}
    assert "give one of both" in refusal(post(client, clip, **both), 400)["message"]


def test_a_refusal_does_not_repeat_all_that_was_sent(client: TestClient, clip: bytes) -> None:
    error = refusal(post(client, clip, language="e" * 10_000), 422)
    assert len(error["message"]) < 2100
    assert "characters left out" in error["message"]
    assert "as english" in error["message"]  # what is allowed is still told


@pytest.mark.parametrize("value", ["0", "0.0", "-0", " 0 ", "0e0"])
def test_a_temperature_of_nought_may_be_written_in_any_way(
    client: TestClient, clip: bytes, value: str
) -> None:
    assert post(client, clip, temperature=value).status_code == 200


def test_values_in_capitals_are_refused_by_name(client: TestClient, clip: bytes) -> None:
    assert "'TEXT'" in refusal(post(client, clip, response_format="TEXT"), 422)["message"]
    refusal(post(client, clip, domain="Child"), 404)


def test_a_disk_without_room_for_an_upload_is_told_and_is_no_fault(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", full)  # of more than 1 MB
    error = refusal(post(client, bytes(1_500_000)), 507)
    assert (error["code"], error["type"]) == ("no_space", "server_error")
    assert "No space left" in error["message"]
    assert "TMPDIR" in error["message"]
    assert not [record for record in caplog.records if record.exc_info]

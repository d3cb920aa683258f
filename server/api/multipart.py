"""Reading of a multipart body: whole, in the charset that it says, or refused."""

from __future__ import annotations

from contextlib import aclosing

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from server.errors import ApiError


class _WholeForm(MultiPartParser):
    """Starlette's parser, which alone drops a part that is cut off and guesses at text that is not UTF-8."""

    ended = False  # whether the last boundary was read

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self.ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("it is cut off, its last boundary is missing")
        return form

    def on_headers_finished(self) -> None:
        part = self._current_part
        disposition = part.content_disposition or b""
        if b"filename*=" in disposition and b"filename=" not in disposition:
            # Some clients send names that are not ASCII in this form only. The name is not used.
            part.content_disposition = disposition.replace(b"filename*=", b"filename=")
        super().on_headers_finished()
        if part.field_name == "file" and part.file is None:
            # As text it would be too large or not UTF-8, and a refusal of that would not say why.
            for file in self._files_to_close_on_error:
                file.close()
            raise ApiError(
                400, "file must be a file part with a filename, not text", code="invalid_value", param="file"
            )

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None:
            try:
                part.data.decode(self._charset)
            except UnicodeDecodeError as error:
                message = f"its field {part.field_name!r} is not {self._charset} text"
                raise MultiPartException(message) from error
        super().on_part_end()

    def on_end(self) -> None:
        self.ended = True


async def read_form(request: Request, *, max_files: int, max_fields: int, max_field_bytes: int) -> FormData:
    """Return a request's form. Close it after use: its files may lie on the disk.

    Raises ApiError 415 for a body that is compressed, in an unknown charset or no form, and 400 for a form
    that is malformed, cut off or over a limit; 507 where there is no room for it on the disk.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise ApiError(415, f"the body is {kind or 'untyped'}, not multipart/form-data", code="not_multipart")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise ApiError(415, f"the body is in {encoding}: send it uncompressed", code="unsupported_encoding")
    _check_charset(request.headers["content-type"])
    async with aclosing(request.stream()) as stream:
        parser = _WholeForm(
            request.headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_field_bytes
        )
        try:
            return await parser.parse()
        except MultiPartException as error:
            cause = error.__cause__  # python-multipart's, which starlette does not tell
            reason = str(cause if isinstance(cause, FormParserError) else error.message).rstrip(".")
            raise ApiError(400, f"the form cannot be read: {reason}", code="invalid_form") from error
        except OSError as error:  # of the file to which a large upload is written
            raise ApiError(
                507, f"the upload cannot be kept while it is read: {error.strerror} (TMPDIR of the server)",
                code="no_space", param="file",
            ) from error  # fmt: skip


def _check_charset(content_type: str) -> None:
    _, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    try:
        "a".encode(charset)
    except (LookupError, ValueError) as error:  # Python has none of this name, or one that is no text
        raise ApiError(
            415, f"the form's charset {charset!r} is not known: send UTF-8", code="unsupported_encoding"
        ) from error


def bad_field(name: str, what: str) -> ApiError:
    """Return the refusal of a form for one of its fields. `what` follows its name."""
    return ApiError(400, f"{name} {what}", code="invalid_value", param=name)

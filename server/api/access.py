"""Who may call which route. What is not in the table is refused, so a new route needs a line here.

A template is written as in its route, without a slash at its end. A path that fits several needs the most
that one of them needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from starlette.routing import compile_path
from starlette.types import Scope

# From the least to the most. `numbers` is `admin` unless SSVD_METRICS_PUBLIC, or the server asks for no keys:
# labels name domains, private ones too. `nobody` is refused to everyone.
Need = Literal["public", "transcribe", "numbers", "admin", "nobody"]
NEEDS: tuple[Need, ...] = get_args(Need)
WEBSOCKET = "WEBSOCKET"  # stands for a method

Table = Mapping[tuple[str, str], Need]

TABLE: dict[tuple[str, str], Need] = {
    ("POST", "/v1/audio/transcriptions"): "transcribe",
    ("POST", "/v1/audio/translations"): "transcribe",
    ("GET", "/v1/progress/{request_id}"): "transcribe",
    (WEBSOCKET, "/v1/realtime"): "transcribe",
    ("GET", "/v1/models"): "transcribe",
    ("GET", "/v1/models/{model:path}"): "transcribe",
    ("GET", "/v1/domains"): "transcribe",
    ("GET", "/v1/domains/{name}/samples"): "transcribe",
    ("GET", "/v1/domains/{name}/samples/{sample_id}"): "transcribe",
    ("GET", "/v1/domains/{name}"): "transcribe",
    ("GET", "/v1/domains/{name}/diff"): "transcribe",
    ("GET", "/v1/domains/{name}/versions/{version}"): "transcribe",
    ("GET", "/v1/domains/{name}/versions/{version}/file"): "admin",  # who transcribes need not have the file
    ("POST", "/v1/domains/{name}/versions"): "admin",
    ("POST", "/v1/domains/{name}/activate"): "admin",
    ("POST", "/v1/domains/{name}/rollback"): "admin",
    ("DELETE", "/v1/domains/{name}/versions"): "admin",
    ("DELETE", "/v1/domains/{name}/versions/{version}"): "admin",
    ("PUT", "/v1/domains/{name}/versions/{version}/pin"): "admin",
    ("DELETE", "/v1/domains/{name}/versions/{version}/pin"): "admin",
    ("PUT", "/v1/domain-aliases/{alias}"): "admin",
    ("DELETE", "/v1/domain-aliases/{alias}"): "admin",
    ("GET", "/healthz"): "public",  # supervisors have no keys
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "numbers",
    ("GET", "/openapi.json"): "public",  # the form of requests; no names
    ("GET", "/"): "public",
}

PAGE = "/ui"
# The page calls the server with the key that its visitor types, so its own routes need none.
_OF_THE_PAGE = (
    ("GET", ""),
    ("GET", "/assets/{path:path}"),
    ("GET", "/config"),
    ("GET", "/favicon.ico"),
    ("GET", "/gradio_api/app_id"),
    ("GET", "/gradio_api/file={path_or_url:path}"),
    ("GET", "/gradio_api/heartbeat/{session_hash}"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/queue/data"),
    ("GET", "/gradio_api/startup-events"),
    ("GET", "/gradio_api/theme.css"),
    ("GET", "/gradio_api/upload_progress"),
    ("GET", "/manifest.json"),
    ("GET", "/pwa_icon"),
    ("GET", "/pwa_icon/{size}"),
    ("GET", "/robots.txt"),
    ("GET", "/static/{path:path}"),
    ("GET", "/svelte/{path:path}"),
    ("GET", "/theme.css"),
    ("POST", "/gradio_api/cancel"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/reset"),
    ("POST", "/gradio_api/run/{api_name}"),
    ("POST", "/gradio_api/upload"),
)
# What gradio brings and the page does not use.
_NOT_OF_THE_PAGE = (
    ("GET", "/gradio_api/call/v2/{api_name}/{event_id}"),
    ("GET", "/gradio_api/call/{api_name}/{event_id}"),
    ("GET", "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}"),
    ("GET", "/gradio_api/deep_link"),
    ("GET", "/gradio_api/dev/reload"),
    ("GET", "/gradio_api/file/{path:path}"),
    ("GET", "/gradio_api/login_check"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/gradio_api/proxy={url_path:path}"),
    ("GET", "/gradio_api/queue/status"),
    ("GET", "/gradio_api/runs"),
    ("GET", "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file"),
    ("GET", "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8"),
    ("GET", "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}"),
    ("GET", "/gradio_api/token"),
    ("GET", "/gradio_api/user"),
    ("GET", "/gradio_api/vibe-code"),
    ("GET", "/logout"),
    ("GET", "/monitoring"),
    ("GET", "/monitoring/summary"),
    ("GET", "/monitoring/{key}"),
    ("GET", "/openapi.json"),
    ("POST", "/gradio_api/api/{api_name}"),
    ("POST", "/gradio_api/call/v2/{api_name}"),
    ("POST", "/gradio_api/call/{api_name}"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/stream/{event_id}"),
    ("POST", "/gradio_api/stream/{event_id}/close"),
    ("POST", "/gradio_api/undo-vibe-edit"),
    ("POST", "/gradio_api/vibe-code"),
    ("POST", "/gradio_api/vibe-edit"),
    ("POST", "/gradio_api/vibe-starter-queries"),
    ("POST", "/login"),
)
TABLE |= {(method, PAGE + path): "public" for method, path in _OF_THE_PAGE}
TABLE |= {(method, PAGE + path): "nobody" for method, path in _NOT_OF_THE_PAGE}


PUBLISHES = compile_path("/v1/domains/{name}/versions")[0]  # by POST


def path_of(scope: Scope) -> str:
    """Return the path of a request below the place where a proxy has put the server."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


class Access:
    """Looks requests up in a table."""

    def __init__(self, table: Table = TABLE) -> None:
        self._rules: list[tuple[re.Pattern[str], str, str, Need]] = [
            (compile_path(template)[0], template, method, need) for (method, template), need in table.items()
        ]

    def need(self, method: str, path: str) -> Need | None:
        """Return what a request needs, or None if the table has no such route. HEAD counts as GET."""
        asked = "GET" if method == "HEAD" else method
        found = [need for _, other, need in self._at(path) if other == asked]
        return max(found, key=NEEDS.index, default=None)

    def methods(self, path: str) -> list[str]:
        """Return the methods of a path, in order; none where the table has no such path."""
        found = self._at(path)
        return sorted({method for _, method, need in found if need != "nobody" and method != WEBSOCKET})

    def template(self, path: str) -> str | None:
        """Return the template of a path, for numbers by route."""
        return next((template for template, *_ in self._at(path)), None)

    def _at(self, path: str) -> list[tuple[str, str, Need]]:
        # With and without a slash at its end: the router redirects from one to the other.
        forms = {path, path.rstrip("/") or "/"}
        return [
            (template, method, need)
            for pattern, template, method, need in self._rules
            if any(pattern.match(form) for form in forms)
        ]

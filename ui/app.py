"""Demo page: a recording, a domain, and both transcripts side by side.

It knows a server only by its address, so it is the same mounted in that server or alone with `ssvd ui`.
"""

from __future__ import annotations

import logging
import re
import signal
from typing import Any

import gradio as gr

from ui import player, render
from ui.client import ServerClient
from ui.heartbeat import Heartbeats
from ui.page import WELCOME, Page
from ui.style import STYLE
from ui.visits import Visits

TITLE = "ssvd-asr"
OUTDATED = "The page could not send this recording. Please reload the page and choose the recording again."
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # no font is fetched
_FILE = re.compile(r"(/gradio_api/file(?:=|%3D))\S+")
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def mount(app: Any, *, path: str, server_url: str, max_file_size: int) -> None:
    """Mount the page under `path` of a FastAPI app. max_file_size is in bytes."""
    visits = Visits()
    gr.mount_gradio_app(
        app,
        build(ServerClient(server_url), visits),
        path=path,
        max_file_size=max_file_size,
        **_page_options(visits),
    )
    access_log = logging.getLogger("uvicorn.access")
    if not any(isinstance(each, _WithoutNames) for each in access_log.filters):
        access_log.addFilter(_WithoutNames())


def launch(client: ServerClient, host: str, port: int) -> None:
    """Serve the page alone until SIGTERM or Ctrl+C."""
    visits = Visits()

    def end(*_: object) -> None:
        visits.close()  # before anything that could hang or fail: an open page holds up the server's end
        raise KeyboardInterrupt

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    build(client, visits).launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        inbrowser=False,
        **_page_options(visits),
    )


def build(client: ServerClient, visits: Visits) -> gr.Blocks:
    """Build the page for one server. The server need not run until a browser opens the page.

    From then on gradio keeps the files of all pages of this process in the folder of `visits`.
    """
    visits.take_gradio()
    page = Page(client, visits)
    blocks: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.HTML(render.HEADER, padding=False, elem_classes="ssvd-flush")
        with gr.Row(elem_classes="ssvd-inputs"):
            with gr.Column(min_width=300):
                gr.HTML("<h2>1. A recording</h2>", padding=False, elem_classes="ssvd-flush")
                # Any value: gradio would refuse the choice of a page that is older than the process.
                any_value: dict[str, Any] = {"choices": [], "allow_custom_value": True}
                example = gr.Dropdown(label="Example recording", elem_id="ssvd-example", **any_value)
                audio = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="… or upload or record your own",
                    elem_id="ssvd-audio",
                    editable=False,
                    buttons=[],
                )
                other = gr.UploadButton(
                    "Open a .webm, .mp4 or another kind of file", size="sm", elem_id="ssvd-other"
                )
                playing = gr.HTML(padding=False, elem_id="ssvd-playing")  # the name of the visitor's file
                timeline = gr.HTML(padding=False, elem_id="ssvd-lanes", js_on_load=player.PLAY_FROM_WORD)
            with gr.Column(min_width=300):
                gr.HTML("<h2>2. Who is speaking?</h2>", padding=False, elem_classes="ssvd-flush")
                # In the browser's page only: a reload forgets it.
                key = gr.Textbox(label="Key", type="password", elem_id="ssvd-key", value="", visible=False)
                with gr.Row(elem_classes="ssvd-domain-row"):
                    domain = gr.Dropdown(label="Domain", elem_id="ssvd-domain", scale=1, **any_value)
                    refresh = gr.Button("Refresh", size="sm", elem_id="ssvd-refresh", scale=0, min_width=90)
                about = gr.HTML(padding=False, elem_id="ssvd-about")
                language = gr.Dropdown(label="Language", elem_id="ssvd-language", visible=False, **any_value)
                go = gr.Button("Transcribe", variant="primary", size="lg", elem_id="ssvd-go")
                stop = gr.Button("Cancel", size="sm", elem_id="ssvd-cancel", visible=False)
        outcome = gr.HTML(
            render.hint(WELCOME),
            padding=False,
            elem_id="ssvd-outcome",
            js_on_load=player.PLAY_FROM_WORD + player.ASK_FOR_FILE,
        )
        note = gr.HTML(padding=False, elem_id="ssvd-note")
        transcribed = gr.State()  # path of the recording that the outcome is about
        file = gr.JSON(visible="hidden")

        lists = [domain, example, about, note, language, key, outcome]
        results = [outcome, timeline, transcribed]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # A key takes the place of what was shown before, such as the request for one.
        entered = key.submit(page.clear, None, results, **private)
        for filling in (blocks.load, refresh.click, entered.then):
            filling(page.fill, [domain, example, key, language], lists, **private)
        domain.change(page.describe, [domain, key], about, **private)
        for asked_anew in (domain.input, language.input):
            asked_anew(page.clear, None, results, **private)
        example.input(page.fetch, [example, key], [audio, domain, *results], **private)
        audio.change(page.choose, audio, playing, **private)
        # The visitor's own recording is not an example, and its words are not known.
        other.upload(lambda path: path, other, audio, **private)
        for own in (audio.upload, audio.stop_recording, audio.clear, other.upload):
            own(lambda: None, None, example, **private)
            own(page.clear, None, results, **private)
        as_many: dict[str, Any] = {"concurrency_limit": None}  # the server says when it has too many
        # One after the other: a transcription that fails at once must not end before the buttons say it runs.
        started = go.click(lambda: _running(True), None, [go, stop], queue=False, **private)
        transcription = started.then(
            page.transcribe,
            [audio, domain, example, key, language],
            results,
            api_visibility="undocumented",
            show_progress="hidden",
            **as_many,
        )
        ended = transcription.then(lambda: _running(False), None, [go, stop], **private)
        ended.then(None, js=player.FOCUS_AGAIN)
        transcription.failure(lambda: render.problem(OUTDATED), None, outcome, **private)
        stop.click(page.cancel, None, None, queue=False, **private)
        asked = outcome.download(page.subtitles, [transcribed, key, language], file, **private, **as_many)
        asked.success(None, file, None, js=player.SAVE_FILE)
        asked.success(None, js=player.ASK_AGAIN)
        asked.failure(None, js=player.ASK_AGAIN)  # a .then of js alone does not run after a failure

        def leave(request: gr.Request) -> None:
            page.leave(request)
            _forget(blocks, request.session_hash or "")

        blocks.unload(leave)
    return blocks


def _running(running: bool) -> tuple[Any, Any]:
    """Return the states of the buttons that start and end a transcription."""
    return gr.update(interactive=not running), gr.update(visible=running)


def _forget(blocks: gr.Blocks, visit: str) -> None:
    """Drop what gradio keeps of a visit for an hour and more: the values that its components showed."""
    holder = blocks.state_holder
    with holder.lock:
        holder.session_data.pop(visit, None)
        holder.time_last_used.pop(visit, None)


class _WithoutNames(logging.Filter):
    """Cuts from lines of the access log the path of a visitor's file, which has the file's name."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _FILE.sub(r"\1…", each) if isinstance(each, str) else each for each in record.args
            )
        return True


def _page_options(visits: Visits) -> dict[str, Any]:
    theme = gr.themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=SYSTEM_MONO, radius_size="md"
    ).set(  # the theme's own teal on white is 2.5:1, too faint to read
        block_label_text_color="*primary_700",
        block_title_text_color="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )
    middleware = [(Heartbeats, (), {"visits": visits})]  # as starlette unpacks its own Middleware
    looks = {"theme": theme, "css": STYLE, "footer_links": [], "run_history": False, "ssr_mode": False}
    return {**looks, "app_kwargs": {"middleware": middleware}}

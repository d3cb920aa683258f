"""Demo page: a recording, a domain, and both transcripts side by side.

It knows a server only by its address, so it is the same mounted in that server or alone with `ssvd ui`.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ui import lanes, player, render
from ui.client import Catalogue, ServerClient, ServerProblem
from ui.clips import Clips
from ui.files import SUBTITLE_FORMATS
from ui.style import STYLE

TITLE = "ssvd-asr"
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # no font is fetched
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def mount(app: Any, *, path: str, server_url: str, max_file_size: int) -> None:
    """Mount the page under `path` of a FastAPI app. max_file_size is in bytes."""
    gr.mount_gradio_app(
        app, build(ServerClient(server_url)), path=path, max_file_size=max_file_size, **_page_options()
    )


def launch(client: ServerClient, host: str, port: int) -> None:
    """Serve the page alone until interrupted."""
    build(client).launch(
        server_name=host, server_port=port, share=False, quiet=True, inbrowser=False, **_page_options()
    )


def build(client: ServerClient) -> gr.Blocks:
    """Build the page for one server. The server need not run until a browser opens the page."""
    page = _Page(client)
    blocks: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.HTML(render.HEADER, padding=False, elem_classes="ssvd-flush")
        with gr.Row(elem_classes="ssvd-inputs"):
            with gr.Column(min_width=300):
                gr.HTML("<h2>1. A recording</h2>", padding=False, elem_classes="ssvd-flush")
                example = gr.Dropdown(label="Example recording", choices=[], elem_id="ssvd-example")
                audio = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="… or upload or record your own",
                    elem_id="ssvd-audio",
                    editable=False,
                    buttons=[],
                )
                timeline = gr.HTML(padding=False, elem_id="ssvd-lanes", js_on_load=player.PLAY_FROM_WORD)
            with gr.Column(min_width=300):
                gr.HTML("<h2>2. Who is speaking?</h2>", padding=False, elem_classes="ssvd-flush")
                with gr.Row(elem_classes="ssvd-domain-row"):
                    domain = gr.Dropdown(label="Domain", choices=[], elem_id="ssvd-domain", scale=1)
                    refresh = gr.Button("Refresh", size="sm", elem_id="ssvd-refresh", scale=0, min_width=90)
                about = gr.HTML(padding=False, elem_id="ssvd-about")
                go = gr.Button("Transcribe", variant="primary", size="lg", elem_id="ssvd-go")
        outcome = gr.HTML(
            render.hint(WELCOME),
            padding=False,
            elem_id="ssvd-outcome",
            js_on_load=player.PLAY_FROM_WORD + player.ASK_FOR_FILE,
        )
        note = gr.HTML(padding=False, elem_id="ssvd-note")
        transcribed = gr.State()  # path of the recording that the outcome is about
        file = gr.JSON(visible="hidden")

        lists = [domain, example, about, note, outcome]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        blocks.load(page.fill, [domain, example], lists, **private)
        refresh.click(page.fill, [domain, example], lists, **private)
        domain.input(page.describe, domain, about, **private)
        example.input(page.fetch, example, [audio, outcome, timeline], **private)
        # The visitor's own recording is not an example, and its words are not known.
        for own in (audio.upload, audio.stop_recording, audio.clear):
            own(lambda: (None, render.hint(WELCOME), ""), None, [example, outcome, timeline], **private)
        results = [outcome, timeline, transcribed]
        go.click(page.transcribe, [audio, domain, example], results, api_visibility="private")
        asked = outcome.download(page.subtitles, transcribed, file, **private)
        asked.success(None, file, None, js=player.SAVE_FILE)
        asked.success(None, js=player.ASK_AGAIN)
        asked.failure(None, js=player.ASK_AGAIN)  # a .then of js alone does not run after a failure
    return blocks


WELCOME = "Choose a recording and a domain, then press Transcribe."


class _Page:
    """Event handlers of the page. They keep the fetched clips, and nothing of a visitor."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        folder = tempfile.mkdtemp(prefix="ssvd-ui-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._clips = Clips(client, Path(folder))

    def fill(self, domain: str | None, example: str | None) -> tuple[Any, Any, str, str, Any]:
        """Fill the menus with the server's domains and clips. A choice that is still there is kept."""
        try:
            catalogue = self._client.catalogue()
            choices = self._clips.refresh(catalogue)
        except ServerProblem as problem:
            return gr.skip(), gr.skip(), "", "", render.problem(str(problem))
        names = [each.name for each in catalogue.domains]
        kept = domain if domain in names else (names[0] if names else None)
        return (
            gr.update(choices=names, value=kept, interactive=bool(names)),
            gr.update(choices=choices, value=example if example in dict(choices).values() else None),
            _about(catalogue, kept),
            render.about_base(catalogue),
            gr.skip(),
        )

    def describe(self, domain: str | None) -> str:
        """Return the line under the domain selector."""
        try:
            return _about(self._client.catalogue(), domain)
        except ServerProblem as problem:
            return render.problem(str(problem))

    def fetch(self, example: str | None) -> tuple[Any, str, str]:
        """Return a clip's file for the player, the message below, and no lanes."""
        if example is None:
            return gr.skip(), render.hint(WELCOME), ""
        try:
            return str(self._clips.fetch(example)), render.hint(WELCOME), ""
        except ServerProblem as problem:
            return None, render.problem(str(problem)), ""

    def transcribe(
        self, audio: str | None, domain: str | None, example: str | None
    ) -> tuple[str, str, str | None]:
        """Return both transcripts as HTML, their lanes, and the path of the recording.

        The HTML of a failure is its reason.
        """
        if audio is None:
            problem = "There is no recording yet: choose an example, record, or upload one."
            return render.problem(problem), "", None
        try:
            base = self._client.transcribe(Path(audio), None)
            adapted = None if domain is None else self._client.transcribe(Path(audio), domain)
        except ServerProblem as failure:
            return render.problem(str(failure)), "", None
        shown = render.result(base, adapted, self._clips.words(example), Path(audio).stem)
        return shown, lanes.lanes(base, *([adapted] if adapted else [])), audio

    def subtitles(self, transcribed: str | None, asked: gr.EventData) -> dict[str, str]:
        """Return the file that a visitor asked for, as {"name", "content"}. It is not written anywhere.

        Raises gr.Error, which the page shows.
        """
        if transcribed is None or asked.format not in SUBTITLE_FORMATS:
            raise gr.Error("There is no such file.", print_exception=False)
        try:
            content = self._client.subtitles(Path(transcribed), asked.domain, asked.format)
        except ServerProblem as problem:
            raise gr.Error(escape(str(problem)), print_exception=False) from problem
        return {"name": asked.name, "content": content}


def _about(catalogue: Catalogue, domain: str | None) -> str:
    if not catalogue.domains:
        return render.hint("This server has no domains for its base model yet.")
    return render.about_domain(next((each for each in catalogue.domains if each.name == domain), None))


def _page_options() -> dict[str, Any]:
    theme = gr.themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=SYSTEM_MONO, radius_size="md"
    ).set(  # the theme's own teal on white is 2.5:1, too faint to read
        block_label_text_color="*primary_700",
        block_title_text_color="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )
    return {"theme": theme, "css": STYLE, "footer_links": [], "run_history": False, "ssr_mode": False}

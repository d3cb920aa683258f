"""Event handlers of the page: what each action of a visitor does, and which files of the visit it keeps."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ui import lanes, render
from ui.client import ServerClient, Transcript
from ui.clips import Clips
from ui.files import SUBTITLE_FORMATS
from ui.menus import about, domain_menu, language_menu
from ui.refusals import NO_PLACE, ServerProblem
from ui.visits import Visits

WELCOME = "Choose a recording, and a domain if you know it, then press Transcribe."
CANCELLED = f"Cancelled. {WELCOME}"
PROGRESS_S = 0.5  # between two looks at how far a transcription is
PLACE_S = 1.0  # after an answer, until the server has given its place up, as its Retry-After says

Shown = tuple[str, str, str | None]  # outcome, lanes, path of the recording that they are about


@dataclass
class _Running:
    """A transcription that a visit waits for."""

    task: asyncio.Task[Any]
    example: str | None  # that it is of
    cancelled: bool = False  # by the visitor


class Page:
    """Event handlers for one server. They keep the fetched clips, and of a visitor one recording at most."""

    def __init__(self, client: ServerClient, visits: Visits) -> None:
        self._client = client
        self._visits = visits
        self._clips = Clips(visits.own)
        self._running: dict[str, _Running] = {}  # by visit
        self._fetched: dict[str, str] = {}  # by visit: the example chosen since its own recording

    def fill(
        self,
        domain: str | None,
        example: str | None,
        key: str | None = None,
        language: str | None = None,
    ) -> tuple[Any, Any, str, str, Any, Any, Any]:
        """Fill the menus with the domains, clips and languages that there are. What is chosen is kept.

        The field for a key appears where the server asks for one.
        """
        client = self._client.with_key(key)
        try:
            catalogue = client.catalogue()
            choices = self._clips.refresh(client, catalogue)
        except ServerProblem as problem:
            wanted = gr.update(visible=True) if problem.wants_key else gr.skip()
            return gr.skip(), gr.skip(), "", "", gr.skip(), wanted, _told(problem)
        menu = domain_menu(catalogue)
        kept = domain if domain in dict(menu).values() else (menu[0][1] if menu else None)
        return (
            gr.update(choices=menu, value=kept, interactive=bool(menu)),
            gr.update(choices=choices, value=example if example in dict(choices).values() else None),
            about(catalogue, kept),
            render.about_base(catalogue),
            language_menu(catalogue, language),
            gr.skip(),
            gr.skip(),
        )

    def describe(self, domain: str | None, key: str | None = None) -> str:
        """Return the line under the domain selector."""
        try:
            return about(self._client.with_key(key).catalogue(), domain)
        except ServerProblem as problem:
            return _told(problem)

    def cancel(self, request: gr.Request) -> None:
        """End the visit's transcription. Its requests to the server end with it."""
        running = self._running.get(_visit(request))
        if running is not None:
            running.cancelled = True
        self._stop(_visit(request))

    def clear(self, request: gr.Request) -> Shown:
        """Stop what runs and return an empty outcome: another choice was made than the one shown."""
        self._stop(_visit(request))
        return render.hint(WELCOME), "", None

    def fetch(
        self, example: str | None, request: gr.Request, key: str | None = None
    ) -> tuple[Any, Any, str, str, str | None]:
        """Return a clip's file for the player, its domain for the menu, and an empty outcome."""
        running = self._running.get(_visit(request))
        if running is not None and running.example == example is not None:
            empty: tuple[Any, Any, Any] = (gr.skip(), gr.skip(), gr.skip())  # it was asked for at once
        else:
            empty = self.clear(request)
        if example is None:
            return gr.skip(), gr.skip(), *empty
        self._fetched[_visit(request)] = example
        try:
            clip = self._clips.fetch(self._client.with_key(key), example)
            return str(clip), self._clips.domain(example), *empty
        except ServerProblem as problem:
            return None, gr.skip(), _told(problem), "", None

    def choose(self, audio: str | None, request: gr.Request) -> str:
        """Note the recording in the player, and return its name. The visit's last one is deleted."""
        self._visits.claim(_visit(request), audio)
        if audio is None or self._clips.holds(Path(audio)):
            return ""
        self._fetched.pop(_visit(request), None)
        return render.playing(Path(audio).name)

    def leave(self, request: gr.Request) -> None:
        """Stop and delete what a visit has left on the server. gradio calls this when its page is closed."""
        visit = _visit(request)
        self._stop(visit)
        self._visits.leave(visit)
        self._fetched.pop(visit, None)

    async def transcribe(
        self,
        audio: str | None,
        domain: str | None,
        example: str | None,
        request: gr.Request,
        key: str | None = None,
        language: str | None = None,
    ) -> AsyncIterator[Shown]:
        """Yield what is shown: in the end both transcripts, their lanes, and the recording's path.

        An example that is chosen counts before the player holds it. The HTML of a failure is its reason.
        """
        client = self._client.with_key(key)
        if example is not None and self._is_example(_visit(request), audio, example):
            try:
                audio = str(await asyncio.to_thread(self._clips.fetch, client, example))
            except ServerProblem as failure:
                yield _told(failure), "", None
                return
        else:
            example = None  # the player has the visitor's own recording
        if audio is None:
            problem = "There is no recording yet: choose an example, record, or upload one."
            yield render.problem(problem), "", None
            return
        visit = _visit(request)
        self._visits.claim(visit, audio)
        self._stop(visit)
        ids = [secrets.token_urlsafe(16) for _ in range(1 if domain is None else 2)]
        task = asyncio.ensure_future(self._both(client, Path(audio), domain, language, ids))
        running = self._running[visit] = _Running(task, example)
        try:
            async for told in self._progress(client, task, ids):
                yield told, "", None
            base, adapted = task.result()
            words = await asyncio.to_thread(self._clips.words, client, example)
            if self._running.get(visit) is not running:  # another choice was made meanwhile
                raise asyncio.CancelledError
        except ServerProblem as failure:
            yield _told(failure), "", None
        except asyncio.CancelledError:
            if not task.cancelled() and not task.done():
                raise
            yield render.hint(CANCELLED if running.cancelled else WELCOME), "", None
        else:
            name = Path(audio).stem if example is None else example.replace("/", "-")
            shown = render.result(base, adapted, words, name)
            yield shown, lanes.lanes(*render.sides(base, adapted)), audio
        finally:
            task.cancel()
            if self._running.get(visit) is running:
                del self._running[visit]

    def _is_example(self, visit: str, audio: str | None, example: str) -> bool:
        """Return whether an example was chosen after what the player holds. It may not be there yet."""
        if audio is None or self._clips.holds(Path(audio)):
            return True
        # A recording of their own is the newer one until `choose` has noted it.
        return self._visits.claims(visit, audio) and self._fetched.get(visit) == example

    async def _progress(
        self, client: ServerClient, task: asyncio.Task[Any], ids: Sequence[str]
    ) -> AsyncIterator[str]:
        """Yield how far the requests of a task are, as often as that changes, until it has ended."""
        yield render.progress(0, 0)
        before = (0, 0)
        while not (await asyncio.wait({task}, timeout=PROGRESS_S))[0]:
            pieces = await asyncio.gather(*map(client.pieces_done, ids))
            done, total = map(sum, zip(*pieces, strict=True))
            if (done, total) != before and all(each[1] for each in pieces):
                before = (done, total)
                yield render.progress(done, total)

    async def _both(
        self,
        client: ServerClient,
        audio: Path,
        domain: str | None,
        language: str | None,
        ids: Sequence[str],
    ) -> tuple[Transcript, Transcript | None]:
        """Transcribe with the base and, if there is one, with the domain or AUTO.

        Both at the same time, or one after the other where the visitor's key allows one request at a time.
        """
        if domain is None:
            return await client.transcribe(audio, None, ids[0], language), None
        free = asyncio.Event(), asyncio.Event()  # of each: it has ended, or has no place
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        _in_turn(partial(client.transcribe, audio, each, request_id, language), *events)
                    )
                    for each, request_id, events in zip((None, domain), ids, (free, free[::-1]), strict=True)
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return tasks[0].result(), tasks[1].result()

    def _stop(self, visit: str) -> None:
        running = self._running.pop(visit, None)
        if running is not None:
            running.task.get_loop().call_soon_threadsafe(running.task.cancel)

    async def subtitles(
        self,
        transcribed: str | None,
        asked: gr.EventData,
        key: str | None = None,
        language: str | None = None,
    ) -> dict[str, str]:
        """Return the file that a visitor asked for, as {"name", "content"}. It is not written anywhere.

        Raises gr.Error, which the page shows.
        """
        if transcribed is None or asked.format not in SUBTITLE_FORMATS:
            raise gr.Error("There is no such file.", print_exception=False)
        try:
            client = self._client.with_key(key)
            content = await client.subtitles(Path(transcribed), asked.domain, asked.format, language)
        except ServerProblem as problem:
            raise gr.Error(escape(str(problem)), print_exception=False) from problem
        return {"name": asked.name, "content": content}


async def _in_turn(
    transcribe: Callable[[], Awaitable[Transcript]], free: asyncio.Event, other: asyncio.Event
) -> Transcript:
    """Transcribe. If the key has no place for it, try once more when the other has ended.

    `free` is set when this one holds no place; `other` is that of the other.
    """
    try:
        return await transcribe()
    except ServerProblem as problem:
        if problem.code != NO_PLACE:
            raise
        free.set()
        await other.wait()
        await asyncio.sleep(PLACE_S)
        return await transcribe()
    finally:
        free.set()


def _told(problem: ServerProblem) -> str:
    return render.problem(str(problem), problem.reason)


def _visit(request: gr.Request) -> str:
    return request.session_hash or ""

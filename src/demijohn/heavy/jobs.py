"""Work that outlasts a request: `@app.job` answers 202 at once, and the client asks how far it is.

A job's record is in a store that all workers share, so any of them can answer for it. The function reports to the
store itself, wherever it runs; what it cannot report any more, that its process died, the worker that started it does.
"""

from __future__ import annotations

import inspect
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from werkzeug.exceptions import BadRequest, NotFound

from ..globals import current_app, request
from ..helpers import url_for
from ..reporting import Follower, followed
from ..reporting import progress as progress
from ..reporting import report as report
from ..shared.stores import Store, StoreUnavailable, open_store, store_url
from ..wrappers import Response
from .engines import engine
from .errors import CallCancelled, HeavyError
from .functions import Run

if TYPE_CHECKING:
    from ..app import Flask

log = logging.getLogger("demijohn.server.jobs")

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = frozenset({DONE, FAILED, CANCELLED})

# How long the record of a job is kept after it was last written: to be asked for its result.
_KEEP_S = 86400.0
# How often those who watch look for progress.
_WATCH_S = 0.2
# How long a job tries to write that it begins or has ended, while its store cannot be reached, and how often.
_PATIENCE_S = 60.0
_AGAIN_S = 0.5
# A watcher is told at least so often that the connection is alive, or finds out that the client has gone.
_PING_S = 15.0

_PREFIX = "job:"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a job.

    state: `"queued"`, `"running"`, `"done"`, `"failed"` or `"cancelled"`. done, total: how far it is, in steps of its
    own; total is None when it did not say. message: its last words. result: what it returned. error: why it failed.
    created, changed: seconds since the epoch.
    """

    id: str
    name: str
    state: str
    created: float
    changed: float
    done: float = 0
    total: float | None = None
    message: str = ""
    result: Any = None
    error: str | None = None


class JobStore:
    """The records of jobs in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, id: str) -> Record | None:
        """Return the record of a job, None when there is none."""
        content = self._store.get(_PREFIX + id)
        return None if content is None else Record(**json.loads(content))

    def put(self, record: Record) -> None:
        """Write a record. Raises TypeError for a result that is no JSON."""
        content = json.dumps(asdict(replace(record, changed=time.time())), allow_nan=False)
        self._store.set(_PREFIX + record.id, content.encode(), _KEEP_S)

    def put_patiently(self, record: Record) -> None:
        """Do what `put` does, and wait for a store that is gone: for a minute, then raise StoreUnavailable."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.put(record)
            except StoreUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                log.warning("That job %s is %s could not be written yet: %s", record.id, record.state, error)
            time.sleep(_AGAIN_S)

    def forget(self, id: str) -> None:
        """Drop the record of a job."""
        self._store.delete(_PREFIX + id)

    def all(self) -> list[Record]:
        """Return the records there are, the newest first."""
        found = (self.get(key.removeprefix(_PREFIX)) for key in self._store.keys(_PREFIX))
        return sorted((record for record in found if record is not None), key=lambda r: r.created, reverse=True)

    def ask_to_cancel(self, id: str) -> None:
        """Have a job end, wherever it runs."""
        self._store.set(f"cancel-{_PREFIX}{id}", b"1", _KEEP_S)

    def is_asked_to_cancel(self, id: str) -> bool:
        return self._store.get(f"cancel-{_PREFIX}{id}") is not None


# -- where the job runs ---------------------------------------------------------------------------------------


class _Running(Follower):
    """The job that runs here."""

    def __init__(self, store: JobStore, record: Record) -> None:
        super().__init__()
        self._store = store
        self._record = record

    @property
    def record(self) -> Record:
        """The record as it is by now."""
        return replace(self._record, done=self.done, total=self.total, message=self.message)

    def hear(self, done: float, total: float | None, message: str) -> None:
        try:
            self._store.put(self.record)
        except StoreUnavailable as error:  # the work is worth more than the report
            log.warning("How far job %s is could not be written: %s", self._record.id, error)
        if self.is_cancelled():
            raise CallCancelled(f"The job {self._record.id} was cancelled.")

    def is_cancelled(self) -> bool:
        return _is_cancelled(self._store, self._record.id)


class _Task:
    """What is sent to the executor: it runs the function and writes down what comes of it."""

    def __init__(self, url: str, record: Record, function: Callable[..., Any]) -> None:
        self._url = url
        self._record = record
        self._function = function
        self.__qualname__ = record.name
        self.__name__ = record.name

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        store = JobStore(open_store(self._url))
        if _is_cancelled(store, self._record.id):
            raise CallCancelled(f"The job {self._record.id} was cancelled before it began.")
        running = _Running(store, replace(self._record, state=RUNNING))
        store.put_patiently(running.record)
        try:
            result = followed(running, self._function, *args, **kwargs)
            ended = replace(running.record, state=DONE, result=result)
            try:
                store.put_patiently(ended)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"{self.__qualname__}() returned a {type(result).__qualname__} that is no JSON: {error}"
                ) from error
        except CallCancelled:
            store.put_patiently(replace(running.record, state=CANCELLED))
            raise
        except StoreUnavailable:
            raise  # there is nowhere to say so
        except Exception as error:
            store.put_patiently(replace(running.record, state=FAILED, error=f"{type(error).__name__}: {error}"))
            raise


# -- where the job is asked for -------------------------------------------------------------------------------


class Jobs:
    """The jobs of one application. Made by the first `app.job`, or before it, to choose the store.

    state: the URL of the store of their records; by default `demijohn serve --state`, or a file in the system's
    directory for temporary files.
    """

    def __init__(self, app: Flask, state: str | None = None, url_prefix: str = "/jobs") -> None:
        self._app_name = app.name
        self._state = state
        app.extensions["demijohn-jobs"] = self
        for rule, endpoint, view, methods in (
            ("/<id>", "job_status", self.answer_status, ["GET"]),
            ("/<id>", "job_cancel", self.answer_cancel, ["DELETE"]),
            ("/<id>/events", "job_events", self.answer_events, ["GET"]),
        ):
            app.add_url_rule(url_prefix + rule, endpoint, view, methods=methods)

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self._state or store_url(self._app_name)

    @property
    def store(self) -> JobStore:
        """The records."""
        return JobStore(open_store(self.url))

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Record:
        """Have the executor run a function as a job; return its record.

        Raises QueueFull and EngineUnavailable, StoreUnavailable, and TypeError for what cannot be sent.
        """
        executor = getattr(function, "executor", None)  # a heavy function has its own
        deadline_s = getattr(function, "deadline_s", None)
        now = time.time()
        name = getattr(function, "__name__", type(function).__name__)
        record = Record(secrets.token_urlsafe(16), name, QUEUED, now, now)
        runs_on = engine(executor)
        if urlsplit(self.url).scheme == "memory" and not runs_on.shares_memory:
            raise RuntimeError(
                f"The job {name} would run in another process, which cannot write to {self.url!r}. Keep the state of"
                " jobs in a file or in Redis (--state), or run them in threads (--executor threads)."
            )
        store = self.store
        store.put(record)
        try:
            future = runs_on.submit(
                _Task(self.url, record, Run(function)),
                args,
                kwargs,
                deadline_s=deadline_s,
                is_cancelled=lambda: _is_cancelled(store, record.id),
                outlives=True,
            )
        except BaseException:
            store.forget(record.id)
            raise
        future.add_done_callback(lambda ended: _note_end(store, record, ended))
        return record

    def status_of(self, id: str) -> Record:
        """Return a job's record. Raises NotFound."""
        return _found(self.store.get(id), id)

    async def follow(self, id: str) -> dict[str, Any]:
        """Report how a job goes on, to whoever calls this, until it has ended; return what is told of it then.

        Raises NotFound.
        """
        import asyncio  # for its cost

        told: Record | None = None
        told_at = 0.0
        while True:
            record = _found(await asyncio.to_thread(_maybe_record, self.store, id, told), id)
            if record != told or time.monotonic() - told_at >= _PING_S:
                told, told_at = record, time.monotonic()
                report(record.done, record.total, record.message or record.state)
            if record.state in ENDED:
                return public(record)
            await asyncio.sleep(_WATCH_S)

    def answer_status(self, id: str) -> Response:
        """The page of a job."""
        return _record_page(self.status_of(id))

    def answer_cancel(self, id: str) -> Response:
        """Cancel a job: 202, it ends soon. One that has ended stays as it is."""
        record = self.status_of(id)
        if record.state not in ENDED:
            self.store.ask_to_cancel(id)
            if record.state == QUEUED:
                record = replace(record, state=CANCELLED)
                self.store.put(record)
        return _record_page(record, 202)

    def answer_events(self, id: str) -> Response:
        """The progress of a job as server-sent events (HTML Living Standard, section 9.2)."""
        self.status_of(id)
        response = Response(_events(self.store, id), mimetype="text/event-stream")
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Accel-Buffering"] = "no"  # nginx would hold them back
        return response


def jobs_of(app: Flask) -> Jobs:
    """Return the jobs of an application, set up when they are not yet."""
    known = app.extensions.get("demijohn-jobs")
    return known if isinstance(known, Jobs) else Jobs(app)


def job_view(app: Flask, function: Callable[..., Any]) -> Callable[..., Response]:
    """Return the view that starts a job: arguments come from the URL, and as JSON object, form or query."""
    jobs = jobs_of(app)
    signature = inspect.signature(function, eval_str=True)

    def view(**from_url: Any) -> Response:
        try:
            bound = signature.bind(**{**_arguments(), **from_url})
            given = {name: _converted(value, signature.parameters[name]) for name, value in bound.arguments.items()}
        except (TypeError, msgspec.ValidationError) as error:
            raise BadRequest(f"The job cannot be started: {error}.") from None
        response = _record_page(jobs.start(function, **given), 202)
        response.headers["Location"] = json.loads(response.get_data())["url"]
        return response

    view.__name__ = getattr(function, "__name__", "job")
    view.__doc__ = function.__doc__
    return view


def job_method(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Return a function with the same parameters that starts a job and returns its record: a JSON-RPC method."""
    signature = inspect.signature(function, eval_str=True)

    def start(*args: Any, **kwargs: Any) -> dict[str, Any]:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        return _told(jobs_of(app).start(function, *args, **kwargs))

    # Not __wrapped__: what it returns is not what the function does.
    told: Any = start
    told.__name__, told.__qualname__, told.__doc__ = function.__name__, function.__qualname__, function.__doc__
    told.__module__ = function.__module__
    told.__signature__ = signature.replace(return_annotation=dict[str, Any])
    parameters = signature.parameters.values()
    told.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    told.__annotations__["return"] = dict[str, Any]
    return start


async def follow(id: str) -> dict[str, Any]:
    """Report how a job of the current application goes on, until it has ended; see `Jobs.follow`."""
    return await jobs_of(current_app._get_current_object()).follow(id)  # type: ignore[attr-defined]


def _converted(value: Any, parameter: inspect.Parameter) -> Any:
    """Turn an argument into what the parameter's annotation says; the query and forms have only text."""
    if parameter.annotation is parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
        return value
    try:
        return msgspec.convert(value, parameter.annotation, strict=False)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{parameter.name}: {error}") from None


def _arguments() -> dict[str, Any]:
    given: dict[str, Any] = {**request.args.to_dict(), **request.form.to_dict()}
    if request.is_json:
        content = request.get_json()
        if not isinstance(content, dict):
            raise BadRequest("The content must be a JSON object: the arguments by name.")
        given |= content
    return given


def public(record: Record) -> dict[str, Any]:
    """Return what a client is told of a job."""
    return {key: value for key, value in asdict(record).items() if value is not None}


def _record_page(record: Record, status: int = 200) -> Response:
    return Response(json.dumps(_told(record)), status, mimetype="application/json")


def _told(record: Record) -> dict[str, Any]:
    """Return a record with where to ask for it."""
    url, events = url_for("job_status", id=record.id), url_for("job_events", id=record.id)
    return {**public(record), "url": url, "events": events}


def _events(store: JobStore, id: str) -> Iterator[str]:
    """Tell how a job goes on until it has ended: an event named after its state, at each change."""
    told: Record | None = None
    pinged_at = time.monotonic()
    while True:
        record = _maybe_record(store, id, told)
        if record is None:
            return
        if record != told:
            told = record
            yield f"event: {record.state}\ndata: {json.dumps(public(record))}\n\n"
            if record.state in ENDED:
                return
        elif time.monotonic() - pinged_at >= _PING_S:
            pinged_at = time.monotonic()
            yield ": still there\n\n"
        time.sleep(_WATCH_S)


def _found(record: Record | None, id: str) -> Record:
    if record is None:
        raise NotFound(f"There is no job {id!r}; records are kept for a day.")
    return record


def _maybe_record(store: JobStore, id: str, known: Record | None) -> Record | None:
    """Return the record of a job; the one that is known while the store cannot be reached."""
    try:
        return store.get(id)
    except StoreUnavailable as error:
        log.warning("How job %s goes on cannot be told: %s", id, error)
        return known


def _is_cancelled(store: JobStore, id: str) -> bool:
    try:
        return store.is_asked_to_cancel(id)
    except StoreUnavailable as error:
        log.warning("Whether job %s was cancelled is not known: %s", id, error)
        return False


def _note_end(store: JobStore, started: Record, ended: Future[Any]) -> None:
    """Write down how a job ended that could not do so itself."""
    error: BaseException | None = CancelledError() if ended.cancelled() else ended.exception()
    if error is None:
        return
    try:
        record = store.get(started.id) or started
        if record.state in ENDED:
            return
        if isinstance(error, CallCancelled | CancelledError) and store.is_asked_to_cancel(started.id):
            store.put(replace(record, state=CANCELLED))
        else:
            told = str(error) if isinstance(error, HeavyError) else f"{type(error).__name__}: {error}"
            if isinstance(error, CancelledError):
                told = f"{started.name}() was not begun, as the server stops."
            log.error("The job %s (%s) failed: %s", started.id, started.name, told)
            store.put(replace(record, state=FAILED, error=told))
    except StoreUnavailable as unavailable:
        log.error("How job %s ended could not be written down: %s", started.id, unavailable)

"""Settings: how long everything may take, and how much of it there may be."""

from __future__ import annotations

from dataclasses import dataclass

from .kinds import BYTES, LIMIT, PATH_SECONDS, seconds, setting, whole
from .settings_workers import WorkerSettings


@dataclass(init=False, repr=False, eq=False, slots=True)
class LimitSettings(WorkerSettings):
    """How long everything may take, and how much of it there may be."""

    # -- clocks
    timeout_s: float = setting(
        30.0,
        "-t/--timeout",
        seconds(),
        "A worker that gives no sign of life for this long is replaced. A busy or waiting view does not count: only "
        "a process that is stopped, or C code that never releases the interpreter. 0 turns it off.",
        unit="s",
        gunicorn="timeout",
    )
    request_timeout_s: float | None = setting(
        None,
        "--request-timeout",
        seconds(),
        "How long a view may take to begin its answer. Then the client gets 504, and the log the stack of its thread, "
        "which another replaces. Unless given, it is as long as --timeout; 0 turns it off. What a view has begun to "
        "send may take as long as it needs.",
        unit="s",
    )
    request_timeouts: tuple[tuple[str, float], ...] = setting(
        (),
        "--request-timeout-for",
        PATH_SECONDS,
        "Another --request-timeout for paths that begin with this; may be given several times, and the longest path "
        "counts. A view of a demijohn application can have its own, with @time_limit(seconds) of demijohn.helpers.",
    )
    queue_timeout_s: float | None = setting(
        None,
        "--queue-timeout",
        seconds(),
        "How long a request may wait for a thread while views hold all of them. Then it is answered 503, with "
        "Retry-After, and its view is not called. Unless given, it is as long as --request-timeout; 0 turns it off. "
        "Make it shorter than what waits in front of the server gives up after.",
        unit="s",
    )
    graceful_timeout_s: float = setting(
        30.0,
        "--graceful-timeout",
        seconds(),
        "How long requests in flight may take to finish when a worker is asked to stop. Keep it under the time "
        "your container platform waits before it kills.",
        unit="s",
        gunicorn="graceful_timeout",
    )
    drain_delay_s: float = setting(
        0.0,
        "--drain-delay",
        seconds(),
        "How long to go on serving after SIGTERM, with --readyz-path already answering 503, so that load balancers can "
        "turn away first. --graceful-timeout begins after it; a second SIGTERM ends it.",
        unit="s",
    )
    keep_alive_s: float = setting(
        5.0,
        "--keep-alive",
        seconds(),
        "How long an idle connection stays open; 0 closes it after each answer. Behind a proxy or load balancer that "
        "reuses connections, make it longer than theirs (75 or more), or they meet closed connections.",
        unit="s",
        gunicorn="keepalive",
    )
    head_timeout_s: float = setting(
        10.0,
        "--head-timeout",
        seconds(0.001),
        "How long a client may take to send the head of a request.",
        unit="s",
    )
    body_timeout_s: float = setting(
        30.0,
        "--body-timeout",
        seconds(0.001),
        "How long a client may take to send the content of a request, with what --min-body-rate adds to it.",
        unit="s",
    )
    min_body_rate: int = setting(
        240,
        "--min-body-rate",
        whole(1),
        "How much content earns a client one second more than --body-timeout, or --answer-timeout. A faster upload or "
        "download may take as long as it needs.",
        unit="bytes",
    )
    answer_timeout_s: float = setting(
        60.0,
        "--answer-timeout",
        seconds(0.001),
        "How long a client may leave an answer unread before its connection is closed, at a time and in all, with what "
        "--min-body-rate adds to it.",
        unit="s",
    )

    # -- limits
    limit_request_line: int = setting(
        8190,
        "--limit-request-line",
        LIMIT,
        "Longest request line; a longer one is answered 414. 0: only --limit-request-head counts.",
        unit="bytes",
        gunicorn="limit_request_line",
    )
    limit_request_fields: int = setting(
        100,
        "--limit-request-fields",
        whole(1),
        "Most field lines in a request; more are answered 431.",
        gunicorn="limit_request_fields",
    )
    limit_request_field_size: int = setting(
        8190,
        "--limit-request-field_size",
        LIMIT,
        "Longest field line; a longer one is answered 431. 0: only --limit-request-head counts.",
        unit="bytes",
        gunicorn="limit_request_field_size",
    )
    limit_request_head: int = setting(
        65536,
        "--limit-request-head",
        BYTES,
        "Largest head of a request, all lines together; a larger one is answered 431.",
        unit="bytes",
    )
    limit_request_body: int | None = setting(
        None,
        "--limit-request-body",
        BYTES,
        "Largest content of a request; a larger one is answered 413. Without it the application alone decides, "
        "as with MAX_CONTENT_LENGTH.",
        unit="bytes",
    )
    body_buffer_bytes: int = setting(
        1024 * 1024,
        "--body-buffer",
        BYTES,
        "Content up to this size is kept in memory; more goes to a temporary file.",
        unit="bytes",
    )

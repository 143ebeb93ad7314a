"""Settings of gunicorn that are taken and have no effect here, and what happens instead.

A gunicorn setting that does have an effect is in `settings.py`, under gunicorn's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SAME_WORKERS = ("sync", "gthread")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A setting that is taken for gunicorn's sake.

    spellings: on the command line; empty for one that only a file can set.
    takes_value: whether the flag is followed by one.
    note: what happens instead, one sentence.
    harmless: the values that ask for what happens anyway, so nothing has to be said.
    """

    name: str
    spellings: tuple[str, ...]
    note: str
    takes_value: bool = True
    harmless: tuple[Any, ...] = ()

    def note_on(self, value: Any) -> str | None:
        """Return what to tell whoever gave `value`; None when it makes no difference."""
        if value is None or value == [] or value in self.harmless:
            return None
        return f"{self.name} has no effect: {self.note}"


def _accepted(name: str, flag: str, note: str, *harmless: Any) -> Accepted:
    return Accepted(name, tuple(flag.split("/")) if flag else (), note, harmless=harmless)


def _switch(name: str, flag: str, note: str) -> Accepted:
    return Accepted(name, tuple(flag.split("/")), note, takes_value=False, harmless=(False,))


_ONE_PARSER = "requests are parsed in one way, strictly."
_NO_DIRTY = "there is no second pool of processes; views may be slow, and long work belongs into a task queue."
_NO_CONTROL = "the control socket is no file: 'demijohn top' finds it by itself."
_NO_HTTP2 = "the server speaks HTTP/1.1; HTTP/2 belongs to the proxy in front of it."
_NO_PASTE = "an application that PasteDeploy makes is named as module:factory(...)."
_NO_UWSGI = "the server speaks HTTP, not the protocol of uWSGI; have the proxy speak HTTP."
_NO_CANCEL = "an ASGI application whose peer has gone is told so, and goes on to its end."
_STRICT = "such requests are refused, because proxies and applications disagree on what they mean."

ACCEPTED: dict[str, Accepted] = {
    each.name: each
    for each in (
        _accepted(
            "worker_class",
            "-k/--worker-class",
            "there is one kind of worker, which runs threads and keeps the slow from delaying the quick.",
            *_SAME_WORKERS,
        ),
        _accepted("reload_engine", "--reload-engine", "changed files are noticed without choosing how.", "auto"),
        _switch("spew", "--spew", "use a debugger or a profiler to trace an application."),
        _switch("enable_stdio_inheritance", "-R/--enable-stdio-inheritance", "output goes where it goes anyway."),
        _accepted("default_proc_name", "", "the processes keep their name unless there is proc_name."),
        _accepted("ssl_version", "--ssl-version", "the safe versions of TLS are spoken, 1.2 and later."),
        _switch("suppress_ragged_eofs", "--suppress-ragged-eofs", "a TLS connection that breaks off is just over."),
        _switch("do_handshake_on_connect", "--do-handshake-on-connect", "no thread waits for a TLS handshake."),
        _accepted("worker_tmp_dir", "--worker-tmp-dir", "signs of life are given in shared memory, not by a file."),
        _accepted("tmp_upload_dir", "", "temporary files go where TMPDIR says."),
        _accepted("paste", "--paste/--paster", _NO_PASTE),
        _accepted("raw_paste_global_conf", "--paste-global", _NO_PASTE),
        _accepted("protocol", "--protocol", _NO_UWSGI, "http"),
        _accepted("uwsgi_allow_ips", "--uwsgi-allow-from", _NO_UWSGI),
        _accepted("http_protocols", "--http-protocols", _NO_HTTP2, "h1", ["h1"]),
        _accepted("http2_cleartext", "--http2-cleartext", _NO_HTTP2, "off"),
        _accepted("http2_max_concurrent_streams", "--http2-max-concurrent-streams", _NO_HTTP2),
        _accepted("http2_initial_window_size", "--http2-initial-window-size", _NO_HTTP2),
        _accepted("http2_max_frame_size", "--http2-max-frame-size", _NO_HTTP2),
        _accepted("http2_max_header_list_size", "--http2-max-header-list-size", _NO_HTTP2),
        _accepted("http_parser", "--http-parser", _ONE_PARSER, "auto"),
        _switch("permit_obsolete_folding", "--permit-obsolete-folding", _STRICT),
        _switch("strip_header_spaces", "--strip-header-spaces", _STRICT),
        _switch("permit_unconventional_http_method", "--permit-unconventional-http-method", _STRICT),
        _switch("permit_unconventional_http_version", "--permit-unconventional-http-version", _STRICT),
        _switch("casefold_http_method", "--casefold-http-method", "a method is passed on as it was sent."),
        _accepted("asgi_disconnect_grace_period", "--asgi-disconnect-grace-period", _NO_CANCEL, 3),
        _accepted("control_socket", "--control-socket", _NO_CONTROL),
        _accepted("control_socket_mode", "--control-socket-mode", _NO_CONTROL),
        _accepted("dirty_apps", "--dirty-app", _NO_DIRTY),
        _accepted("dirty_workers", "--dirty-workers", _NO_DIRTY, 0),
        _accepted("dirty_timeout", "--dirty-timeout", _NO_DIRTY),
        _accepted("dirty_threads", "--dirty-threads", _NO_DIRTY),
        _accepted("dirty_graceful_timeout", "--dirty-graceful-timeout", _NO_DIRTY),
        _accepted("on_dirty_starting", "", _NO_DIRTY),
        _accepted("dirty_post_fork", "", _NO_DIRTY),
        _accepted("dirty_worker_init", "", _NO_DIRTY),
        _accepted("dirty_worker_exit", "", _NO_DIRTY),
    )
}

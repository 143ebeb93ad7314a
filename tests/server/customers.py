"""Those who ask a server again and again while its processes come and go, and keep account of what they lost."""

from __future__ import annotations

import http.client
import threading
from typing import Any

PATIENCE_S = 30.0


class Customer:
    """Somebody who asks again and again until told to stop or refused.

    keeps_alive: on one connection for as long as the server keeps it; else on a new one each time.
    """

    def __init__(self, server: Any, *, keeps_alive: bool = False) -> None:
        self.texts: list[str] = []
        self.failures: list[str] = []
        self._server = server
        self._connection: http.client.HTTPConnection | None = None
        self._ask = self._ask_again if keeps_alive else self._ask_anew
        self._stopped = threading.Event()
        self._served = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                status, text = self._ask()
            except (ConnectionRefusedError, FileNotFoundError):  # nobody listens; the socket has no name any more
                break
            except Exception as error:
                self.failures.append(repr(error))
                self._hang_up()
                continue
            with self._served:
                self.texts.append(text)
                if status != 200:
                    self.failures.append(f"{status} {text}")
                self._served.notify_all()
        self._hang_up()

    def _ask_anew(self) -> tuple[int, str]:
        answer = self._server.get("/")
        return answer.status, answer.text

    def _ask_again(self) -> tuple[int, str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("testserver")
            self._connection.sock = self._server.connect()
        self._connection.request("GET", "/")
        response = self._connection.getresponse()
        text = response.read().decode()
        if response.will_close:
            self._hang_up()
        return response.status, text

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wait_for(self, count: int) -> None:
        """Return when `count` more requests have been answered."""
        with self._served:
            wanted = len(self.texts) + count
            assert self._served.wait_for(lambda: len(self.texts) >= wanted, PATIENCE_S)

    def wait_for_text(self, text: str) -> None:
        """Return when a request has been answered with `text`."""
        with self._served:
            seen = len(self.texts)
            assert self._served.wait_for(lambda: text in self.texts[seen:], PATIENCE_S)

    def leave(self) -> None:
        self._stopped.set()
        self.wait_until_refused()

    def wait_until_refused(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def queue_of(server: Any, fresh: int = 2, kept_alive: int = 2) -> list[Customer]:
    """Return customers of both kinds, each of whom has been served already."""
    customers = [Customer(server) for _ in range(fresh)]
    customers += [Customer(server, keeps_alive=True) for _ in range(kept_alive)]
    for customer in customers:
        customer.wait_for(5)
    return customers


def all_leave(customers: list[Customer]) -> None:
    """Let them go, and hold them to having been served without a loss."""
    for customer in customers:
        customer.leave()
    assert [customer.failures for customer in customers] == [[] for _ in customers]

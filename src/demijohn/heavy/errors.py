"""What can go wrong with a call that runs elsewhere, with the status a view answers that lets it pass."""

from __future__ import annotations

from werkzeug.exceptions import GatewayTimeout, HTTPException, InternalServerError, ServiceUnavailable


class HeavyError(Exception):
    """A heavy call did not come to its own end. `sentence` says what happened, to what, and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.sentence,)


class _Answered(HeavyError, HTTPException):
    public = "The function could not be run."

    def __init__(self, sentence: str) -> None:
        HeavyError.__init__(self, sentence)
        # Clients get no internals; the sentence is for whoever reads the log or catches the error.
        self.description = self.public
        self.response = None

    __str__ = HeavyError.__str__


class QueueFull(_Answered, ServiceUnavailable):
    """More calls wait than the queue may hold (503)."""

    public = "The server has more to compute than it can take on now. Try again in a moment."

    def get_headers(self, *args: object, **kwargs: object) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), ("Retry-After", "1")]  # type: ignore[arg-type]


class DeadlineExceeded(_Answered, GatewayTimeout):
    """The call took longer than its deadline (504). The process that ran it was ended, where there is one to end."""

    public = "The computation took too long and was ended."


class ProcessDied(_Answered, InternalServerError):
    """The process died in the call, and the one in which it was tried again did too (500)."""

    public = "The computation ended its process and could not be finished."


class EngineUnavailable(_Answered, ServiceUnavailable):
    """What should run the call cannot be reached (503)."""

    public = "What computes for this server cannot be reached. Try again in a moment."


class CallCancelled(HeavyError):
    """The call was cancelled while it ran."""

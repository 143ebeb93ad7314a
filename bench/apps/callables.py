"""Hello by the interfaces between servers and applications: a plain WSGI callable, and Django's."""

from __future__ import annotations

import os
from typing import Any


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    content = b"Hello, World!"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
    return [content]


def django_application() -> Any:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def hello(request: HttpRequest) -> HttpResponse:
        return HttpResponse("Hello, World!")

    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="bench", LOGGING_CONFIG=None)
    django.setup()
    globals()["urlpatterns"] = [path("", hello)]
    return get_wsgi_application()


if os.environ.get("BENCH_SCENARIO") == "django":
    django = django_application()

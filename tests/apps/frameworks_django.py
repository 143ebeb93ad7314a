"""A project of Django in one file, by both of its interfaces."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    LOGGING_CONFIG=None,
)


def item(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"number": number, "name": request.GET.get("name"), "secure": request.is_secure()})


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    file: Any = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size})


def count(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{number}\n" for number in range(3))


async def waiting(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse("awaited")


urlpatterns = [
    path("items/<int:number>", item),
    path("upload", upload),
    path("count", count),
    path("waiting", waiting),
]

wsgi = get_wsgi_application()
asgi = get_asgi_application()

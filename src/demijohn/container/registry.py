"""A container registry: base images come from it, and built ones go to it (OCI distribution specification)."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from .base import Base, base_of_manifest, choose_manifest
from .image import Image, digest_of, full_name
from .layers import OCI, Blob, Cache
from .project import ProjectError

_MANIFESTS = (
    f"{OCI}manifest.v1+json, {OCI}index.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
_TIMEOUT_S = 30.0
_DOCKER_HUB = "registry-1.docker.io"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is in a registry: `localhost:5000/shop:1.0`, `python:3.13-slim`, `quay.io/a/b@sha256:...`."""

    host: str
    repository: str
    tag: str  # or a digest

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{'@' if ':' in self.tag else ':'}{self.tag}"


def parse_reference(text: str) -> Reference:
    """Return what a reference names. Raises ProjectError when it is none."""
    name, at, digest = text.partition("@")
    host, _, rest = full_name(name).partition("/")
    repository, colon, tag = rest.rpartition(":")
    if not colon:
        repository, tag = rest, "latest"
    valid = re.fullmatch(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*", repository) and re.fullmatch(r"\w[\w.-]{0,127}", tag)
    if not valid or (at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest)):
        raise ProjectError(f"{text!r} is not the name of an image, such as shop:1.0 or registry.example:5000/shop:1.0.")
    return Reference(_DOCKER_HUB if host == "docker.io" else host, repository, digest if at else tag)


class Registry:
    """One repository of a registry. Every method raises ProjectError when the registry refuses or cannot be reached."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        host = reference.host
        local = host.partition(":")[0] in ("localhost", "127.0.0.1") or host.startswith("[::1]")
        self._root = f"{'http' if local else 'https'}://{host}/v2/{reference.repository}/"
        self._authorization = ""
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if not local:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
        self._opener = urllib.request.build_opener(*handlers)

    # -- reading ------------------------------------------------------------------------------------

    def manifest(self) -> bytes:
        return self._request("GET", f"manifests/{self._reference.tag}", headers={"Accept": _MANIFESTS}).content

    def fetch(self, digest: str, cache: Cache) -> Blob:
        """Return a blob or a manifest by its digest, from the cache or else from the registry."""
        path = cache.file("blob-" + digest.replace(":", "-"))
        if path.exists():
            os.utime(path)
            return Blob(digest, path.stat().st_size, str(path))
        answer = self._request("GET", f"blobs/{digest}", may_fail=True)
        if answer.status == 404:
            answer = self._request("GET", f"manifests/{digest}", headers={"Accept": _MANIFESTS})
        elif answer.status >= 400:
            raise ProjectError(self._refusal(answer))
        if digest_of(answer.content) != digest:
            raise ProjectError(f"The registry {self._reference.host} sent something else than {digest}; try again.")
        with cache.temporary() as work:
            Path(work, "blob").write_bytes(answer.content)
            os.replace(Path(work, "blob"), path)
        return Blob(digest, len(answer.content), str(path))

    # -- writing ------------------------------------------------------------------------------------

    def push(self, image: Image) -> None:
        """Store an image: what is not there yet of its layers, and its manifest last."""
        for layer in image.layers:
            self._push_blob(layer.blob.digest, layer.blob)
        self._push_blob(image.image_id, image.config)
        self._request(
            "PUT", f"manifests/{self._reference.tag}", image.manifest, {"Content-Type": f"{OCI}manifest.v1+json"}
        )

    def _push_blob(self, digest: str, content: Blob | bytes) -> None:
        if self._request("HEAD", f"blobs/{digest}", may_fail=True).status == 200:
            return
        started = self._request("POST", "blobs/uploads/", b"")
        place = urljoin(self._root, started.headers.get("Location", ""))
        place += ("&" if "?" in place else "?") + urlencode({"digest": digest})
        data = content if isinstance(content, bytes) else content.read()
        self._request("PUT", place, data, {"Content-Type": "application/octet-stream"})

    # -- one exchange -------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: Mapping[str, str] = {},
        may_fail: bool = False,
    ) -> _Answer:
        url = urljoin(self._root, path)
        answer = self._send(method, url, content, headers)
        if answer.status == 401:
            self._authorization = self._authorize(answer.headers.get("WWW-Authenticate", ""))
            answer = self._send(method, url, content, headers)
        if answer.status in (301, 302, 303, 307, 308):  # to where blobs are stored, which must not see our password
            answer = self._send(method, urljoin(url, answer.headers["Location"]), content, headers, trusted=False)
        if answer.status >= 400 and not may_fail:
            raise ProjectError(self._refusal(answer))
        return answer

    def _send(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], trusted: bool = True
    ) -> _Answer:
        request = urllib.request.Request(url, content, {**headers, "User-Agent": "demijohn"}, method=method)
        if self._authorization and trusted and urlsplit(url).netloc == urlsplit(self._root).netloc:
            request.add_header("Authorization", self._authorization)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                return _Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, error.headers, error.read())
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            said = getattr(reason, "strerror", None) or reason
            raise ProjectError(f"The registry {self._reference.host} cannot be reached ({said}).") from None

    def _authorize(self, challenge: str) -> str:
        """Return what the registry asks to be sent as Authorization: a token, or the password itself."""
        basic = _stored_credentials(self._reference.host)
        fields = dict(_CHALLENGE.findall(challenge))
        if not challenge.lower().startswith("bearer"):
            return f"Basic {basic}" if basic else ""
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        request = urllib.request.Request(f"{fields.get('realm', '')}?{query}", headers={"User-Agent": "demijohn"})
        if basic:
            request.add_header("Authorization", f"Basic {basic}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                granted = json.loads(response.read())
            return f"Bearer {granted.get('token') or granted['access_token']}"
        except (OSError, ValueError, KeyError):
            return ""  # the next answer is the registry's refusal

    def _refusal(self, answer: _Answer) -> str:
        what = f"The registry {self._reference.host} refuses {self._reference.repository}:{self._reference.tag}"
        hints = {
            401: f"it wants to know who you are; docker login {self._reference.host}, or podman login",
            403: "you may not do that there; ask its owner, or choose another name",
            404: "there is no such image; correct its name",
        }
        return f"{what} ({answer.status}): {hints.get(answer.status) or _error_of(answer) or 'try again later'}."


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Any
    content: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


def _error_of(answer: _Answer) -> str:
    try:
        return str(json.loads(answer.content)["errors"][0]["message"]).rstrip(".")
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def _stored_credentials(host: str) -> str:
    """Return `user:password` in base64, as `docker login` or `podman login` stored it; empty without."""
    names = ["https://index.docker.io/v1/", "docker.io"] if host == _DOCKER_HUB else [host, f"https://{host}"]
    for path in _credential_files():
        try:
            stored = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        for name in names:
            if given := stored.get("auths", {}).get(name, {}).get("auth"):
                return str(given)
            helper = stored.get("credHelpers", {}).get(name) or stored.get("credsStore")
            if helper and (asked := _ask_helper(helper, name)):
                return asked
    return ""


def _credential_files() -> Iterable[Path]:
    yield Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    yield Path(os.environ.get("REGISTRY_AUTH_FILE", f"/run/user/{os.getuid()}/containers/auth.json"))


def _ask_helper(helper: str, name: str) -> str:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return ""
    done = subprocess.run([program, "get"], input=name.encode(), capture_output=True)
    try:
        answer = json.loads(done.stdout)
        return base64.b64encode(f"{answer['Username']}:{answer['Secret']}".encode()).decode()
    except (ValueError, KeyError):
        return ""  # it has none for that registry


def read_base_from_registry(name: str, platform: str, cache: Cache) -> Base:
    """Return an image of a registry, its layers fetched. Raises ProjectError when that cannot be."""
    reference = parse_reference(name)
    registry = Registry(reference)
    source = _Fetched(registry, cache)
    manifest = choose_manifest(json.loads(registry.manifest()), source, name, platform)
    return base_of_manifest(manifest, source, name, cache)


class _Fetched:
    def __init__(self, registry: Registry, cache: Cache) -> None:
        self._registry = registry
        self._cache = cache

    def blob(self, digest: str) -> Blob:
        return self._registry.fetch(digest, self._cache)

"""From `module:attribute` to an application; and what is said when there is none."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from demijohn.server.asgi import ASGIGateway
from demijohn.server.loading import LoadError, gateway_of, load
from demijohn.server.native import NativeGateway
from demijohn.server.wsgi import WSGIGateway

WSGI = "def {}(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{}']\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write `shop.py`, or another module, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str, name: str = "shop") -> None:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def message_of(target: str) -> str:
    with pytest.raises(LoadError) as caught:
        load(target)
    return str(caught.value)


def test_an_attribute_is_found(module: Callable[..., None]) -> None:
    module(WSGI.format("front", ""))
    assert load("shop:front").__name__ == "front"


@pytest.mark.parametrize("name", ["app", "application"])
def test_a_module_alone_means_its_app_or_application(module: Callable[..., None], name: str) -> None:
    module(WSGI.format(name, ""))
    assert load("shop").__name__ == name


def test_a_factory_is_called_with_the_literals_given(module: Callable[..., None]) -> None:
    module("def create(*arguments, **keywords):\n    return arguments, keywords\n")
    assert load("shop:create()") == ((), {})
    assert load('shop:create("x", 1, debug=[True, None])') == (("x", 1), {"debug": [True, None]})


def test_a_missing_module_is_named_with_the_modules_there_are(module: Callable[..., None], tmp_path: Path) -> None:
    module("", "shop")
    module("", "admin")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").touch()
    assert message_of("nope:app") == f"There is no module nope; {tmp_path} has the modules admin, package, shop."


def test_a_missing_module_of_a_package_is_named(module: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    assert message_of("package.web:app").startswith("There is no module package.web;")
    assert message_of("nope.web:app").startswith("There is no module nope (for nope.web);")


def test_the_name_of_a_file_is_taken_for_what_it_is(module: Callable[..., None]) -> None:
    module("")
    assert message_of("shop.py") == "shop.py names a file; write the name of the module, as in shop:app."
    assert message_of("./web/main.py:app").endswith("as in web.main:app.")


def test_a_missing_attribute_is_named_with_the_applications_there_are(module: Callable[..., None]) -> None:
    module(
        "from urllib.parse import urljoin\n"
        "class Application:\n"
        "    def __call__(self, environ, start_response):\n"
        "        return []\n"
        "site = Application()\n"
        "def helper(one):\n    return one\n" + WSGI.format("front", "") + WSGI.format("_hidden", "")
    )
    assert message_of("shop:nope") == "The module shop has no attribute nope; it has the WSGI callables site, front."
    assert message_of("shop") == (
        "The module shop has neither app nor application; it has the WSGI callables site, front."
    )


def test_when_there_is_no_application_at_all_that_is_said(module: Callable[..., None]) -> None:
    module("x = 1\n")
    assert message_of("shop:app") == "The module shop has no attribute app; it has no WSGI callables."


@pytest.mark.parametrize("target", ["shop:a.b", "shop:f(x)", "shop:f(**{})", "shop:", "shop:1", "shop:f()()"])
def test_what_is_neither_a_name_nor_a_call_with_literals_is_refused(module: Callable[..., None], target: str) -> None:
    module("")
    assert "is neither a name nor a call with literal arguments" in message_of(target)


def test_a_target_without_a_module_is_refused() -> None:
    assert message_of(":app") == "':app' names no module; write module:attribute, such as app:app."


def test_code_that_raises_is_shown_without_the_frames_that_led_to_it(module: Callable[..., None]) -> None:
    module("def prices():\n    return 1 / 0\n\nprices()\n")
    with pytest.raises(LoadError) as caught:
        load("shop:app")
    assert str(caught.value) == "Importing shop failed: ZeroDivisionError: division by zero"
    files = re.findall(r'File "(.*?)"', caught.value.code_traceback)
    assert [Path(file).name for file in files] == ["shop.py", "shop.py"]


def test_a_dependency_that_is_missing_is_the_codes_own_error(module: Callable[..., None]) -> None:
    module("import not_installed_anywhere\n")
    with pytest.raises(LoadError) as caught:
        load("shop:app")
    assert str(caught.value) == ("Importing shop failed: ModuleNotFoundError: No module named 'not_installed_anywhere'")
    assert "line 1" in caught.value.code_traceback


def test_a_syntax_error_is_shown_with_its_line(module: Callable[..., None]) -> None:
    module("def app(:\n")
    with pytest.raises(LoadError) as caught:
        load("shop:app")
    assert "SyntaxError" in str(caught.value)
    assert 'shop.py", line 1' in caught.value.code_traceback
    assert "loading.py" not in caught.value.code_traceback


def test_code_that_exits_is_no_exit_of_the_server(module: Callable[..., None]) -> None:
    module("import sys\nsys.exit('set DATABASE_URL first')\n")
    assert message_of("shop:app") == "Importing shop failed: SystemExit: set DATABASE_URL first"


def test_a_factory_that_raises_is_shown_from_its_own_frame(module: Callable[..., None]) -> None:
    module("def create():\n    raise KeyError('DATABASE_URL')\n")
    with pytest.raises(LoadError) as caught:
        load("shop:create()")
    assert str(caught.value) == "Calling shop:create() failed: KeyError: 'DATABASE_URL'"
    assert len(re.findall(r"shop\.py", caught.value.code_traceback)) == 1


def test_a_factory_has_to_return_something(module: Callable[..., None]) -> None:
    module("def create():\n    pass\n\nnumber = 3\n")
    assert message_of("shop:create()").startswith("shop:create() returned None;")
    assert message_of("shop:number()") == "shop:number() cannot be called: it is of type int (3)."


def test_the_interface_is_seen_by_the_application_unless_it_is_said(module: Callable[..., None]) -> None:
    module(
        "async def asgi(scope, receive, send):\n    pass\n\n"
        "class Instance:\n    async def __call__(self, scope, receive, send):\n        pass\n\n"
        "instance = Instance()\n\n"
        "def plain(scope, receive, send):\n    return instance(scope, receive, send)\n\n"
        "def wsgi(environ, start_response):\n    return []\n\n"
        "def hidden(*args):\n    return asgi(*args)\n"
    )
    kinds = {name: type(gateway_of(load(f"shop:{name}"), name)).__name__ for name in ("asgi", "instance", "plain")}
    assert kinds == dict.fromkeys(kinds, "ASGIGateway")
    assert isinstance(gateway_of(load("shop:wsgi"), "shop:wsgi"), WSGIGateway)
    assert isinstance(gateway_of(load("shop:hidden"), "shop:hidden"), WSGIGateway)
    assert isinstance(gateway_of(load("shop:hidden"), "shop:hidden", "asgi"), ASGIGateway)
    assert isinstance(gateway_of(load("shop:asgi"), "shop:asgi", "wsgi"), WSGIGateway)


def test_what_is_no_application_is_not_served(module: Callable[..., None]) -> None:
    module(
        "number = 3\n"
        "def create():\n    pass\n\n"
        "async def asgi(scope, receive, send):\n    pass\n\n"
        "def one(environ):\n    pass\n"
    )
    expected = {
        "shop:number": "shop:number is of type int (3), not a WSGI or ASGI application.",
        "shop:create": "shop:create takes no arguments, so it may be a factory: write shop:create() to serve what it "
        "returns.",
    }
    for target, sentence in expected.items():
        with pytest.raises(LoadError) as caught:
            gateway_of(load(target), target)
        assert str(caught.value) == sentence


def test_an_application_that_speaks_to_the_server_directly_gets_the_native_gateway() -> None:
    class Application:
        def native_match(self, head):
            return None

        def native_refuses(self, head):
            return False

        def native_handle(self, head):
            raise AssertionError("nothing matches")

        def __call__(self, environ, start_response):
            return []

    assert isinstance(gateway_of(Application(), "x:app"), NativeGateway)


def test_any_other_callable_gets_the_wsgi_gateway() -> None:
    def application(environ, start_response):
        return []

    assert isinstance(gateway_of(application, "x:app"), WSGIGateway)
    assert isinstance(gateway_of(lambda *arguments: [], "x:app"), WSGIGateway)

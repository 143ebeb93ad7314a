"""Modules that are in place before they are run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from demijohn import sparing

MODULE = """
import threading
runs = globals().get("runs", 0) + 1
sys_name = __name__
early = 1
def late(): return early
{more}
"""


@pytest.fixture
def late_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a module of this text, put it in place late, and return it."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, more: str = "") -> ModuleType:
        made.append(name)
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(MODULE.format(more=more))
        sparing.import_late(name)
        return sys.modules[name]

    yield make
    for name in made:
        sys.modules.pop(name, None)
        sys.modules.pop(name.partition(".")[0], None)


def has_run(module: ModuleType) -> bool:
    return "early" in vars(module)


def test_a_late_module_runs_once_when_something_of_it_is_asked_for(late_module: Any) -> None:
    module = late_module("late_plain")
    assert import_module("late_plain") is module
    assert not has_run(module)
    assert module.late() == 1
    assert (module.runs, module.sys_name) == (1, "late_plain")
    with pytest.raises(AttributeError, match="module 'late_plain' has no attribute 'nope'"):
        _ = module.nope
    assert module.runs == 1
    assert vars(module).keys().isdisjoint({"__getattr__", "__dir__"})


def test_a_late_module_gives_what_from_import_wants(late_module: Any) -> None:
    module = late_module("late_from")
    scope: dict[str, Any] = {}
    exec("from late_from import late", scope)
    assert scope["late"] is module.late


def test_a_late_module_lists_its_names(late_module: Any) -> None:
    assert {"early", "late", "runs"} <= set(dir(late_module("late_listed")))


def test_what_was_set_on_a_late_module_stays(late_module: Any) -> None:
    module = late_module("late_patched")
    module.early = 2
    assert module.late() == 2


def test_a_late_module_keeps_its_own_way_of_finding_names(late_module: Any) -> None:
    module = late_module("late_dynamic", more="def __getattr__(name): return name.upper()")
    assert module.anything == "ANYTHING"
    assert module.early == 1


def test_a_late_submodule_is_found_through_its_package(late_module: Any) -> None:
    module = late_module("late_package.inner")
    package = import_module("late_package")
    assert package.inner is module
    assert package.inner.early == 1


def test_a_late_module_that_fails_says_so_each_time(late_module: Any) -> None:
    module = late_module("late_failing", more="raise ImportError('something is missing')")
    for _ in range(2):
        with pytest.raises(ImportError, match="something is missing"):
            _ = module.absent


def test_a_late_module_is_never_seen_half_run(late_module: Any) -> None:
    # While the module runs, another thread asks for what it defines last.
    module = late_module(
        "late_threads",
        more="started.set(); asked.wait(); last = 'here'",
    )
    module.started, module.asked = threading.Event(), threading.Event()
    found: list[str] = []
    first = threading.Thread(target=lambda: module.last)
    second = threading.Thread(target=lambda: found.append(module.last))
    first.start()
    module.started.wait()
    second.start()
    module.asked.set()
    first.join()
    second.join()
    assert found == ["here"]
    assert module.runs == 1


def test_a_stand_in_answers_until_it_cannot_and_then_the_function_of_the_module_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    tmp_path.joinpath("stood_in_for.py").write_text("def double(x): return x * 2.0\nLIMIT = 7\n")

    def double(x: Any) -> Any:
        return 2 * x if type(x) is int else NotImplemented

    sparing.import_late("stood_in_for", {"double": double, "LIMIT": 7})
    module = sys.modules.pop("stood_in_for")
    taken = module.double
    assert (taken(2), module.LIMIT) == (4, 7)
    assert "__getattr__" in vars(module), "it has been run for what its stand-ins knew"
    assert taken(1.5) == 3.0
    assert "__getattr__" not in vars(module)
    assert module.double is not taken
    assert type(taken(2)) is float, "who had taken the stand-in is given the module's own answer from then on"


def test_what_replaces_a_stand_in_stays_and_may_call_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As whoever traces or counts calls does, before and after the module has run.
    monkeypatch.syspath_prepend(tmp_path)
    tmp_path.joinpath("wrapped_twice.py").write_text("def double(x): return x * 2.0\n")
    sparing.import_late("wrapped_twice", {"double": lambda x: 2 * x if type(x) is int else NotImplemented})
    module = sys.modules.pop("wrapped_twice")
    calls: list[Any] = []

    def counted(function: Any) -> Any:
        def call(x: Any) -> Any:
            calls.append(x)
            return function(x)

        return call

    taken = module.double
    module.double = counted(taken)
    assert (module.double(2), module.double(1.5), module.double(2.5)) == (4, 3.0, 5.0)
    assert calls == [2, 1.5, 2.5]
    module.double = counted(taken)
    assert module.double(0.5) == 1.0


def test_stand_ins_are_called_as_what_they_stand_for() -> None:
    program = """if True:
        from demijohn import sparing
        sparing.spare_server()
        import inspect
        def plain(a): ...
        scope = {"inspect": inspect, "plain": plain}
        assert not inspect.iscoroutinefunction(obj=plain)
        exec("assert inspect.cleandoc(doc=' a') == 'a'", {**scope, "__name__": None})
        exec("assert str(inspect.signature(obj=plain)) == '(a)'", scope)
    """
    subprocess.run([sys.executable, "-c", program], check=True)
    for call in ("str(inspect.signature(obj=plain)) == '(a)'", "inspect.cleandoc(doc=' a') == 'a'"):
        program = f"""if True:
            from demijohn import sparing
            sparing.spare_server()
            import inspect
            def plain(a): ...
            exec("assert {call}", {{"inspect": inspect, "plain": plain}})
        """
        subprocess.run([sys.executable, "-c", program], check=True)


def test_a_module_imported_before_is_left_alone() -> None:
    before = sys.modules["json"]
    sparing.import_late("json")
    assert sys.modules["json"] is before is json
    assert "__getattr__" not in vars(json)


def test_importing_flask_leaves_out_what_a_plain_application_does_not_need() -> None:
    program = "import sys, demijohn; demijohn.Flask; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    dear = {
        "asyncio",
        "click",
        "email._parseaddr",
        "http.client",
        "jinja2",
        "lzma",
        "orjson",
        "platform",
        "socket",
        "ssl",
    }
    assert dear.isdisjoint(loaded)
    assert set(sparing._LATE) <= set(loaded)


def test_serving_a_plain_application_runs_neither_inspect_nor_openssl() -> None:
    program = """if True:
        import sys
        from demijohn import sparing
        sparing.spare_server()
        from demijohn import cli_server
        from demijohn.server import launch
        from demijohn.server.loading import load_gateway
        import demijohn
        app = demijohn.Flask("plain")
        @app.get("/<int:n>")
        def view(n): return str(n)
        @app.get("/later")
        async def later(): return "later"
        sys.modules["plain"] = type(sys)("plain")
        sys.modules["plain"].app = app
        load_gateway("plain:app", "auto")
        assert not {"_hashlib", "dis", "asyncio"} & set(sys.modules)
        import hashlib, inspect
        def added(a, *, b=1) -> int: "  Doc."
        assert str(inspect.signature(added)) == "(a, *, b=1) -> int"
        assert inspect.cleandoc("  a\\n    b") == "a\\nb"
        assert inspect.iscoroutinefunction(later) and not inspect.iscoroutinefunction(view)
        from werkzeug.http import generate_etag
        assert generate_etag(b"x") == hashlib.sha1(b"x").hexdigest()
        assert type(hashlib.sha1).__name__ == "builtin_function_or_method"
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_data_class_of_an_application_is_told_with_its_signature() -> None:
    program = """if True:
        from demijohn import sparing
        sparing.spare_server()
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: int
        assert Point.__doc__ == "Point(x: int)", Point.__doc__
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_late_modules_do_their_work_when_asked() -> None:
    program = """if True:
        import demijohn, sys
        app = demijohn.Flask("late")
        app.secret_key = "k"
        @app.get("/<uuid:u>")
        def view(u):
            demijohn.session["u"] = u
            return {"u": u}
        client = app.test_client()
        url = "/00000000-0000-0000-0000-00000000000a"
        answer = client.get(url)
        assert answer.json == {"u": url[1:]}, answer.data
        with client.session_transaction() as session:
            assert str(session["u"]) == url[1:]
        with app.test_request_context():
            try:
                demijohn.url_for("viwe")
            except Exception as error:
                assert "Did you mean 'view'" in str(error)
            else:
                raise SystemExit("no BuildError")
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_arbiter_imports_nothing_dear_and_the_framework_not_at_all() -> None:
    program = """if True:
        import sys
        from demijohn import sparing
        sparing.spare_server()
        from demijohn import cli_server
        from demijohn.server import launch
        names = [name for name, module in list(sys.modules.items()) if "__getattr__" not in vars(module)]
        print(*names)
    """
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    dear = {"asyncio", "asyncio.events", "email.message", "hashlib", "http.client", "ssl", "subprocess"}
    dear |= {"jinja2", "werkzeug", "click", "demijohn.app", "encodings.idna", "shutil"}
    assert dear.isdisjoint(done.stdout.split())


def test_a_class_of_werkzeug_has_the_signature_that_it_has() -> None:
    program = """if True:
        import demijohn
        import inspect
        from werkzeug.middleware.dispatcher import DispatcherMiddleware
        assert list(inspect.signature(demijohn.Flask).parameters)[0] == "import_name"
        assert list(inspect.signature(DispatcherMiddleware(None)).parameters) == ["environ", "start_response"]
    """
    subprocess.run([sys.executable, "-c", program], check=True)

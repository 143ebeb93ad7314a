"""Each folder of examples/, run as its README and the tour in README.md say."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def serve(start: Callable[..., Any], free_port: int) -> Callable[..., tuple[Any, str]]:
    """Run `demijohn serve` in the folder of an example; return the process and its URL when it answers."""

    def start_server(folder: str, target: str, *options: str) -> tuple[Any, str]:
        arguments = ("serve", "-b", f"127.0.0.1:{free_port}", *options, target)
        server = start("-m", "demijohn", *arguments, cwd=EXAMPLES / folder)
        server.wait_for(f"127.0.0.1:{free_port}")
        return server, f"http://127.0.0.1:{free_port}"

    return start_server


def get(url: str) -> str:
    with urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
        return text


# -- 1. hello -------------------------------------------------------------------------------------


def test_hello_runs_as_a_script_on_port_5000(tmp_path: Path, start: Callable[..., Any], free_port: int) -> None:
    source = (EXAMPLES / "hello" / "hello.py").read_text()
    assert source.count("app.run(debug=True)") == 1
    # The same file on a port that is free here: 5000 is what app.run() takes when it is not told.
    (tmp_path / "hello.py").write_text(source.replace("debug=True", f"debug=True, port={free_port}"))
    server = start("hello.py", cwd=tmp_path)
    server.wait_for("Serving Flask app 'hello'")
    server.wait_for("Debug mode: on")
    server.wait_for("Debugger is active")
    assert get(f"http://127.0.0.1:{free_port}/") == "Hello, World!"


def test_hello_listens_at_port_5000_when_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("werkzeug.serving.run_simple", lambda *arguments, **options: asked.append(arguments))
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(EXAMPLES / "hello" / "hello.py")}
    exec((EXAMPLES / "hello" / "hello.py").read_text(), names)
    assert asked == [("127.0.0.1", 5000, names["app"])]


# -- 2. the production server ---------------------------------------------------------------------


def test_hello_is_served_by_two_workers_with_threads(serve: Callable[..., Any]) -> None:
    server, url = serve("hello", "hello:app", "-w", "2", "--threads", "16")
    assert get(url) == "Hello, World!"
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{url}/nope", timeout=30)
    refused.value.close()
    assert refused.value.code == 404
    assert server.stop() == 0


def test_connection_to_the_production_server_stays_open(serve: Callable[..., Any]) -> None:
    _, url = serve("hello", "hello:app")
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    for _ in range(3):
        connection.request("GET", "/")
        first_socket = connection.sock
        assert connection.getresponse().read() == b"Hello, World!"
        assert connection.sock is first_socket
    connection.close()


# -- 3. a blueprint in a file of its own ----------------------------------------------------------


def test_blueprint_of_the_other_file_answers(serve: Callable[..., Any]) -> None:
    _, url = serve("blueprint", "app:app")
    assert json.loads(get(f"{url}/pages/")) == {"pages": ["about", "contact"]}
    assert get(f"{url}/pages/about") == "We make bottles."
    with pytest.raises(HTTPError) as missing:
        urlopen(f"{url}/pages/nope", timeout=30)
    missing.value.close()
    assert missing.value.code == 404


# -- 4. JSON-RPC ----------------------------------------------------------------------------------


def call(url: str, content: bytes) -> tuple[int, Any]:
    request = Request(f"{url}/api", content, {"Content-Type": "application/json"})
    try:
        response = urlopen(request, timeout=30)
    except HTTPError as error:
        response = error
    with response:
        text = response.read()
        return response.status, json.loads(text) if text else None


def test_json_rpc_methods_are_called_one_by_one_and_in_batches(serve: Callable[..., Any]) -> None:
    _, url = serve("jsonrpc", "app:app")
    assert call(url, b'{"jsonrpc":"2.0","method":"App.index","params":{},"id":"1"}') == (
        200,
        {"jsonrpc": "2.0", "id": "1", "result": "Welcome to JSON-RPC"},
    )
    assert call(url, b'{"jsonrpc":"2.0","method":"App.add","params":[1, 2],"id":2}')[1]["result"] == 3
    notification = b'{"jsonrpc":"2.0","method":"App.hello"}'
    assert call(url, notification)[1] is None
    status, answers = call(url, b'[{"jsonrpc":"2.0","method":"App.hello","id":7},' + notification + b"]")
    assert status == 200
    assert answers == [{"jsonrpc": "2.0", "id": 7, "result": "Hello, World!"}]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", -32700),
        (b"{}", -32600),
        (b'{"jsonrpc":"2.0","method":"App.nope","id":1}', -32601),
        (b'{"jsonrpc":"2.0","method":"App.add","params":["a", "b"],"id":1}', -32602),
    ],
)
def test_json_rpc_errors_have_their_codes(serve: Callable[..., Any], content: bytes, code: int) -> None:
    _, url = serve("jsonrpc", "app:app")
    status, answer = call(url, content)
    assert answer["error"]["code"] == code
    assert 400 <= status < 600


def test_browsable_page_has_all_it_loads_on_its_own_server(serve: Callable[..., Any]) -> None:
    _, url = serve("jsonrpc", "app:app")
    page = get(f"{url}/api/browse")
    links = re.findall(r'(?:src|href|data-documents)="([^"#]+)"', page)
    assert len(links) >= 4
    contents = {link: get(url + link) for link in links}  # a link to elsewhere would be no path of this server
    assert any("App.index" in content for content in contents.values())


# -- 5. templates ---------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Callable[..., str]]:
    """Ask for a page as a browser does: with cookies, following redirects."""
    opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def ask(url: str, **form: str) -> str:
        with opener.open(url, urlencode(form).encode() if form else None, timeout=30) as response:
            text: str = response.read().decode()
            return text

    yield ask
    opener.close()


def test_templates_inherit_escape_filter_and_link(serve: Callable[..., Any], browser: Callable[..., str]) -> None:
    _, url = serve("templates", "app:app")
    page = browser(url)
    assert "<title>2 notes</title>" in page
    assert "<h1>NOTES!</h1>" in page
    assert "<li>Buy &lt;b&gt;corks&lt;/b&gt;</li>" in page
    assert 'class="flash"' not in page
    link = re.search(r'rel="stylesheet" href="([^"]+)"', page)
    assert link is not None
    assert ".flash" in browser(url + link[1])


def test_flashed_message_is_shown_once(serve: Callable[..., Any], browser: Callable[..., str]) -> None:
    _, url = serve("templates", "app:app")
    page = browser(f"{url}/notes", note="Fill <i>it</i>")
    assert '<p class="flash">Noted: Fill &lt;i&gt;it&lt;/i&gt;</p>' in page
    assert "<title>3 notes</title>" in page
    assert 'class="flash"' not in browser(url)


# -- 6. the container -----------------------------------------------------------------------------


def test_container_example_is_served_as_its_dockerfile_says(
    tmp_path: Path, demijohn: Callable[..., Any], start: Callable[..., Any], free_port: int
) -> None:
    shutil.copytree(EXAMPLES / "container", tmp_path, dirs_exist_ok=True)
    dockerfile = demijohn("image", "dockerfile", cwd=tmp_path).stdout
    command = json.loads(dockerfile.rpartition("\nCMD ")[2])
    assert command == ["demijohn", "serve", "app:app"]
    health = json.loads(dockerfile.rpartition("    CMD ")[2].partition("\n")[0])
    # The two commands of the image, in its environment, at a port that is free here.
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE))))
    variables |= {"PATH": os.environ["PATH"], "PORT": str(free_port), "HOST": "127.0.0.1"}
    here = f"http://127.0.0.1:{free_port}"
    server = start("-m", *command, cwd=tmp_path, **variables)
    server.wait_for(here)
    asked = demijohn(*health[1:], cwd=tmp_path, **variables)
    assert (asked.returncode, asked.stdout) == (0, f"{here}/livez answers 200\n")
    assert json.loads(get(f"{here}/")) == {"hello": "from a container", "user": os.getuid()}
    assert server.stop() == 0


# -- the README's first command -------------------------------------------------------------------


def test_run_script_serves_hello_and_shows_its_answer(tmp_path: Path, free_port: int) -> None:
    root = EXAMPLES.parent
    for name in ("run", "scripts", "examples", "pyproject.toml"):
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, tmp_path / name)
    # What is installed already is this environment: pip and the network are not what is tested here.
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    stamp = tmp_path / ".venv" / "installed-runtime"
    stamp.touch()
    environment = {**os.environ, "PORT": str(free_port)}
    process = subprocess.Popen(["./run"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        lines = iter(process.stdout.readline, "")
        assert any(line == "Hello, World!\n" for line in lines)
        assert get(f"http://127.0.0.1:{free_port}/") == "Hello, World!"
        second = subprocess.run(["./run"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert "Another server answers" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


# -- a model, published three ways ------------------------------------------------------------------


@pytest.fixture
def predict(serve: Callable[..., Any], tmp_path: Path) -> str:
    state = f"sqlite://{tmp_path}/state.sqlite3"
    url: str = serve("predict", "app:app", "--executor", "processes:2", "--state", state)[1]
    return url


def test_a_model_is_a_view_and_a_method_and_a_job(predict: str) -> None:
    by_view = json.loads(get(f"{predict}/predict/0.5"))["y"]
    content = b'{"jsonrpc":"2.0","method":"Model.predict","params":{"x":0.5},"id":1}'
    assert call(predict, content)[1]["result"] == by_view
    with urlopen(Request(f"{predict}/scan?start=0.5&steps=1", method="POST"), timeout=30) as response:
        job = json.load(response)
    events = get(predict + job["events"])
    assert json.loads(events.rstrip().rpartition("data: ")[2])["result"] == {"x": 0.5, "y": by_view}


@pytest.mark.skipif(not shutil.which("chromedriver"), reason="needs a browser: apt-get install chromium-driver")
def test_a_job_of_thirty_steps_shows_its_progress_in_a_browser(predict: str, tmp_path: Path) -> None:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(predict)
        # Each text that the page shows, in order.
        driver.execute_script(
            "window.told = []; new MutationObserver(() => told.push(document.getElementById('told').textContent))"
            ".observe(document.getElementById('told'), {childList: true})"
        )
        driver.find_element(By.CSS_SELECTOR, "#start button").click()
        text = driver.find_element(By.ID, "told")
        WebDriverWait(driver, 30).until(lambda _: text.text.startswith("done 30 of 30"))
        told = driver.execute_script("return told")
        assert told[-1].startswith('done 30 of 30: {"x":')
        assert any(re.fullmatch(r"running \d+ of 30", each) for each in told)
        assert driver.find_element(By.ID, "bar").get_property("value") == 30

        steps = driver.find_element(By.NAME, "steps")
        steps.clear()
        steps.send_keys("100000")
        driver.find_element(By.CSS_SELECTOR, "#start button").click()
        WebDriverWait(driver, 30).until(lambda _: text.text.startswith("running"))
        driver.find_element(By.ID, "cancel").click()
        WebDriverWait(driver, 30).until(lambda _: text.text.startswith("cancelled"))
    finally:
        driver.quit()

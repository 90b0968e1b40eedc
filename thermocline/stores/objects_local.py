"""A lake in a folder of this machine."""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from stat import S_ISDIR
from typing import BinaryIO, ClassVar

from thermocline.errors import LakeError, ObjectExistsError, TransientLakeError, UsageError
from thermocline.faults import Step, reached, step
from thermocline.model.paths import has_rows
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import COMPRESSED, WARM, Provider
from thermocline.ports import Rule
from thermocline.stores.footers import is_compressed
from thermocline.stores.retrying import TRANSIENT_ERRNOS

_TEMPORARY = ".tmp"
_COPY_BYTES = 1 << 20

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EACCES: "this user may not write or read there; change its owner or mode, or choose another lake",
    errno.EPERM: "this user may not write there, or the file system has no hard links; choose another lake",
    errno.EOPNOTSUPP: "the file system has no hard links; choose a lake on another one",
    errno.EROFS: "the file system is read-only; mount it writable, or choose another lake",
    errno.ENOTDIR: "a file stands where a folder must be; move it away, or choose another lake",
    errno.ENAMETOOLONG: "the path is too long for this file system; choose a lake with a shorter path",
}


@lru_cache(maxsize=8192)
def _parts(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or any(part.startswith(".") for part in parts):
        msg = f"{path!r} is no path of an object; it must be relative, without `..` or hidden parts"
        raise LakeError(msg)
    return parts


class LocalObjects:
    """Objects as files below a folder, durable on return and safe to use from many threads and processes.

    An object is copied into `.tmp/` of the lake, fsynced, and then linked to its name: a link fails where a name exists
    already, so of two writers exactly one wins. What a killed writer leaves in `.tmp/` is never listed and may be
    deleted whenever nothing is being written.

    The etag is the time of the last change in nanoseconds and the size, both hexadecimal, as `stat` gives them without
    reading the file.
    """

    filesystem = None

    def __init__(self, root: Path) -> None:
        """Name the folder; it is made when the first object is put."""
        self._root = Path(os.path.abspath(root))  # noqa: PTH100  # `resolve` would show people another path than theirs
        self._durable: set[Path] = set()

    def __repr__(self) -> str:
        """The class and the folder."""
        return f"LocalObjects({str(self._root)!r})"

    @property
    def url(self) -> str:
        """The folder as a `file://` URL."""
        return self._root.as_uri()

    @property
    def classes(self) -> "LocalClasses":
        """See `Objects.classes`."""
        return LocalClasses(self)

    @step(Step.PUT)
    def put(
        self,
        path: str,
        content: BinaryIO,
        *,
        storage_class: str = "",  # noqa: ARG002  # the class of an object here is how its bytes were made
        labels: Mapping[str, str] | None = None,  # noqa: ARG002  # and files no labels
    ) -> StoredObject:
        """See `Objects.put`."""
        target = self._file(path)

        def name(temporary: Path) -> None:
            reached("put:written")
            try:
                os.link(temporary, target)
                reached("put:named")
            except FileExistsError:
                # Its writer may have been killed before it made the name durable; whoever adopts the object needs that.
                _sync_folder(target.parent)
                msg = f"{target} exists already; an object is never overwritten"
                raise ObjectExistsError(msg) from None
            finally:
                temporary.unlink()

        return self._write(path, target, lambda stream: shutil.copyfileobj(content, stream, _COPY_BYTES), name)

    @step(Step.REPLACE)
    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`."""
        target = self._file(path)

        def name(temporary: Path) -> None:
            reached("replace:written")
            temporary.replace(target)

        return self._write(path, target, lambda stream: stream.write(content), name)

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`."""
        target = self._file(path)
        with _explained("read", target):
            try:
                return target.open("rb")
            except IsADirectoryError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target)) from None

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`."""
        target = self._file(path)
        with _explained("read", target):
            status = target.stat()
            if S_ISDIR(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
            return _described(path, status)

    def delete(self, path: str) -> None:
        """See `Objects.delete`."""
        target = self._file(path)
        with _explained("delete", target):
            target.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[str]:
        """See `Objects.list`."""
        folder, _, _ = prefix.rpartition("/")
        with _explained("list", self._root):
            yield from (path for path in self._below(folder, prefix) if path.startswith(prefix))

    def location(self, path: str) -> str:
        """The absolute path of the object."""
        return os.path.join(self._root, *_parts(path))  # noqa: PTH118  # a tenth of the time, of each object of a query

    def _file(self, path: str) -> Path:
        return self._root.joinpath(*_parts(path))

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """What `list` names, with size and times. One that is deleted meanwhile is left out."""
        for path in self.list(prefix):
            with suppress(FileNotFoundError):
                yield self.stat(path)

    def _below(self, folder: str, prefix: str) -> Iterator[str]:
        """The paths in a folder, also below it, of what may begin with the prefix."""
        try:
            entries = list(os.scandir(self._root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        named = sorted(
            (entry.name + "/" * entry.is_dir(), entry) for entry in entries if not entry.name.startswith(".")
        )
        for name, _ in named:
            path = f"{folder}/{name}" if folder else name
            if name.endswith("/"):
                if path.startswith(prefix) or prefix.startswith(path):
                    yield from self._below(path.removesuffix("/"), prefix)
            else:
                yield path

    def _write(
        self, path: str, target: Path, fill: Callable[[BinaryIO], object], name: Callable[[Path], object]
    ) -> StoredObject:
        with _explained("write", target):
            folder = self._root / _TEMPORARY
            self._make_durable(folder)
            self._make_durable(target.parent)
            temporary = folder / uuid.uuid4().hex
            try:
                with temporary.open("xb") as stream:
                    fill(stream)
                    stream.flush()
                    now = time.time_ns()  # the kernel's own stamp may be the same for writes a few milliseconds apart
                    os.utime(stream.fileno(), ns=(now, now))
                    os.fsync(stream.fileno())
                    described = _described(path, os.fstat(stream.fileno()))
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            name(temporary)
            _sync_folder(target.parent)
        return described

    def _make_durable(self, folder: Path) -> None:
        """Make a folder, and see to it that its name survives a power cut, whoever made it."""
        if folder in self._durable and folder.is_dir():
            return
        if folder != folder.parent and not (len(folder.parts) < len(self._root.parts) and folder.is_dir()):
            self._make_durable(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
            with suppress(PermissionError):  # a parent of the lake that may be passed through but not read
                _sync_folder(folder.parent)
        self._durable.add(folder)


@dataclass(frozen=True)
class LocalClasses:
    """`Classes` of a folder: whether an object was compressed more strongly when it was written, as its footer says.

    An object comes to another class by being written anew; see `tasks.recompress`.
    """

    objects: LocalObjects
    provider: ClassVar[Provider] = Provider.LOCAL

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """See `Classes.survey`. Of an object with rows, the end is read."""
        for stored in self.objects.survey(prefix):
            if not has_rows(stored.path):
                yield replace(stored, storage_class=WARM)
                continue
            with suppress(FileNotFoundError), self.objects.open(stored.path) as stream:
                yield replace(stored, storage_class=COMPRESSED if is_compressed(stream) else WARM)

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """See `Classes.transition`."""
        msg = f"{stored.path} becomes {storage_class} only by being written anew; use `thermocline tiers apply`"
        raise UsageError(msg)

    def restore(self, path: str, *, days: int, speed: str) -> None:  # noqa: ARG002  # nothing is archived
        """See `Classes.restore`."""
        msg = f"{path} lies on a local disk and can be read at once"
        raise UsageError(msg)

    def rules(self) -> Sequence[Rule]:
        """See `Classes.rules`. A folder has none."""
        return ()

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        """See `Classes.replace_rules`."""
        if rules or expected:
            msg = f"{self.objects.url} is a folder, which has no lifecycle rules; use `thermocline tiers apply`"
            raise UsageError(msg)


def _described(path: str, status: os.stat_result) -> StoredObject:
    at = datetime.fromtimestamp(status.st_mtime, UTC)
    return StoredObject(path, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}", modified_at=at)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(act: str, target: Path) -> Iterator[None]:
    """Turn what the system says into a LakeError with a remedy; a missing object stays a FileNotFoundError.

    Folders on a network or of a mounted bucket fail for a moment as remote stores do.
    """
    try:
        yield
    except OSError as error:
        if act == "read" and isinstance(error, FileNotFoundError):
            raise
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "look at the disk, then run it again")
        msg = f"can't {act} {target}: {reason}; {remedy}. Nothing that was stored before is lost"
        kind = TransientLakeError if error.errno in TRANSIENT_ERRNOS else LakeError
        raise kind(msg) from error

"""Iceberg's metadata as objects of the lake: one way of writing, one durability, one set of credentials."""

import io
from typing import TYPE_CHECKING, Any, Self

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream
from pyiceberg.typedef import EMPTY_DICT, Properties

from thermocline.errors import LakeError

if TYPE_CHECKING:
    from thermocline.ports import Objects

OBJECTS = "thermocline.objects"
"""The property under which the catalog hands its store of objects to each FileIO."""


class ObjectsFileIO(FileIO):
    """PyIceberg's file access over `Objects`. PyIceberg makes these itself, from the catalog's properties."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        """Find the store of objects among the properties."""
        super().__init__(properties)
        self._objects: Objects = properties[OBJECTS]
        self._root = self._objects.location("x").removesuffix("x")

    @classmethod
    def at(cls, root: str, objects: "Objects") -> Self:
        """Access to metadata that was written when the lake was at that root, wherever it is now."""
        io = cls({OBJECTS: objects})
        io._root = root
        return io

    def new_input(self, location: str) -> InputFile:
        """An object to read."""
        return _Input(location, self._objects, self._path(location))

    def new_output(self, location: str) -> OutputFile:
        """An object to write."""
        return _Output(location, self._objects, self._path(location))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete an object; one that is gone already is no error."""
        self._objects.delete(self._path(location if isinstance(location, str) else location.location))

    def _path(self, location: str) -> str:
        return location.removeprefix(self._root)


class _Input(InputFile):
    def __init__(self, location: str, objects: "Objects", path: str) -> None:
        super().__init__(location)
        self._objects, self._path = objects, path

    def __len__(self) -> int:
        return self._objects.stat(self._path).size_bytes

    def exists(self) -> bool:
        try:
            self._objects.stat(self._path)
        except FileNotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002  # the signature is PyIceberg's
        stream: Any = self._objects.open(self._path)
        return stream  # type: ignore[no-any-return]


class _Output(OutputFile):
    def __init__(self, location: str, objects: "Objects", path: str) -> None:
        super().__init__(location)
        self._objects, self._path = objects, path

    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return _Input(self.location, self._objects, self._path)

    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: ARG002  # each name holds a fresh UUID
        return _Stream(self._objects, self._path)


class _Stream(io.BytesIO):
    """Metadata is small: it is gathered in memory and becomes an object when it is closed."""

    def __init__(self, objects: "Objects", path: str) -> None:
        super().__init__()
        self._objects, self._path = objects, path

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._objects.replace(self._path, content)
            # A table whose newest metadata never arrived could not be read by anybody, so the commit must not name it.
            if (stored := _size(self._objects, self._path)) != len(content):
                msg = (
                    f"{self._objects.location(self._path)} was written with {len(content)} bytes and has {stored} in "
                    "the store; nothing was published. Look at the store, then run it again"
                )
                raise LakeError(msg)


def _size(objects: "Objects", path: str) -> int:
    try:
        return objects.stat(path).size_bytes
    except FileNotFoundError:
        return 0

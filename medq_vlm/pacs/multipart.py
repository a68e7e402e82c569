"""The parts of a multipart/related answer, written to files as they come."""

from __future__ import annotations

from email.message import Message
from pathlib import Path
from typing import IO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from medq_vlm.schema import MedQError


class PartWriter:
    """Each part of an answer to a numbered .dcm file in a folder; `limit` bytes and `most` files at most."""

    def __init__(self, content_type: str, folder: Path, limit: int, most: int) -> None:
        message = Message()
        message["content-type"] = content_type
        boundary = message.get_boundary()
        if message.get_content_maintype() != "multipart" or not boundary:
            raise MedQError("The server sent no DICOM files; it may not know WADO-RS.")
        self.folder, self.limit, self.most = folder, limit, most
        self.paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._bytes = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary.encode(),
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._finish,
                "on_end": self._end,
            },
        )

    def write(self, piece: bytes) -> None:
        """The next bytes of the answer. Raises MedQError, OSError."""
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            self._finish()
            raise MedQError("The server's answer is damaged; try again.") from error

    def close(self) -> list[Path]:
        """The files, when the answer is whole. Raises MedQError when it broke off or holds none."""
        self._finish()
        if not self._ended:
            raise MedQError("The server's answer broke off; try again.")
        if not self.paths:
            raise MedQError("The server sent no DICOM files of this series.")
        return self.paths

    def _begin(self) -> None:
        if len(self.paths) >= self.most:
            raise MedQError(f"The series has more than {self.most:,} files; it is too large to be pulled.")
        self.paths.append(self.folder / f"{len(self.paths) + 1:05d}.dcm")
        self._file = self.paths[-1].open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._bytes += end - start
        if self._bytes > self.limit:
            raise MedQError(f"The series is larger than {self.limit / 1024**3:.0f} GB; it is too large to be pulled.")
        assert self._file is not None
        self._file.write(data[start:end])

    def _finish(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end(self) -> None:
        self._ended = True

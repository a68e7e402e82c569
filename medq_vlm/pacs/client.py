"""The DICOMweb client: three requests, and sentences for what goes wrong.

What a server sends is as untrusted as a file: bytes go to disk up to a limit, unread, for the guarded reader to open.
No UID of a person's study and no header value ends in a sentence.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from medq_vlm.pacs.multipart import PartWriter
from medq_vlm.schema import MedQError

UID = re.compile(r"[0-9]+(\.[0-9]+)*")
TIMEOUT_S = 60.0  # for the next bytes, not for the whole
LARGEST_BYTES = 8 * 1024**3  # of one series
MOST_FILES = 20_000  # of one series
LONGEST_ANSWER = 64 * 1024**2  # bytes of JSON
PAGE = 500  # series asked for at once


@dataclass(frozen=True)
class Series:
    """One series of the archive, by what a query may tell of it."""

    study: str  # UIDs
    series: str
    modality: str  # DICOM's word: "CT", "SR", ...
    description: str
    images: int  # 0 where the server does not say


class Pacs:
    """A DICOMweb server. Raises MedQError, one sentence, for all that fails."""

    def __init__(self, url: str, login: tuple[str, str] | None = None, timeout_s: float = TIMEOUT_S) -> None:
        if "@" in urlsplit(url).netloc:  # it would stand in every message
            raise MedQError("The address of the server holds a login; give it with --auth instead.")
        if not url.startswith(("http://", "https://")):
            raise MedQError(f"'{url}' is no web address; a DICOMweb server has one, such as https://pacs/dicom-web.")
        self.url = url.rstrip("/")
        self._http = httpx.Client(auth=login, timeout=timeout_s, follow_redirects=False)

    def __enter__(self) -> Pacs:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def series(self, study: str | None = None, modality: str | None = None, since: str | None = None) -> list[Series]:
        """Series of a study or of all, newest study dates from `since` (YYYYMMDD) on."""
        query: dict[str, Any] = {"includefield": "00081190", "limit": PAGE}
        if study is not None:
            query["StudyInstanceUID"] = checked(study)
        if modality is not None:
            query["Modality"] = modality
        if since is not None:
            query["StudyDate"] = f"{since}-"
        fields = ("StudyInstanceUID", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances")
        params = [*query.items(), *(("includefield", name) for name in fields)]
        found: dict[tuple[str, str], Series] = {}
        while True:
            rows = self._json("/series", [*params, ("offset", len(found))])
            new = {(one.study, one.series): one for row in rows if (one := _series(row)) is not None}
            if not new.keys() - found.keys():
                return list(found.values())
            found |= new
            if len(rows) < PAGE:
                return list(found.values())

    def pull(self, series: Series, folder: Path) -> list[Path]:
        """The files of a series, byte by byte as the server sends them, in `folder`, which must be there."""
        path = f"/studies/{checked(series.study)}/series/{checked(series.series)}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        with self._answer("GET", path, headers={"Accept": accept}) as response:
            kind = response.headers.get("content-type", "")
            writer = PartWriter(kind, folder, LARGEST_BYTES, MOST_FILES)
            for piece in response.iter_bytes():
                writer.write(piece)
            return writer.close()

    def push(self, objects: Sequence[bytes]) -> None:
        """Store whole DICOM files as new objects; nothing that is there is changed."""
        edge = uuid.uuid4().hex
        body = b"".join(
            f"--{edge}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data + b"\r\n" for data in objects
        )
        kind = f'multipart/related; type="application/dicom"; boundary={edge}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        with self._answer("POST", "/studies", headers=headers, content=body + f"--{edge}--\r\n".encode()) as response:
            answer = _loads(response)
        refused = _values(answer if isinstance(answer, dict) else {}, "00081198")
        if refused:
            raise MedQError(f"The server refused {len(refused)} of {len(objects)} objects; its log says why.")

    def _json(self, path: str, params: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
        headers = {"Accept": "application/dicom+json"}
        with self._answer("GET", path, params=list(params), headers=headers) as response:
            rows = [] if response.status_code == httpx.codes.NO_CONTENT else _loads(response)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise MedQError(f"'{self.url}' does not answer as a DICOMweb server; check the address.")
        return rows

    @contextmanager
    def _answer(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """A streamed answer with success; otherwise one sentence."""
        try:
            with self._http.stream(method, self.url + path, **request) as response:
                if not response.is_success:
                    raise MedQError(f"'{self.url}' {_meaning(response.status_code)}.")
                yield response
        except httpx.TimeoutException as error:
            raise MedQError(f"'{self.url}' did not answer in time; try again or check the network.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MedQError(f"'{self.url}' cannot be reached; check the address and the network.") from error


def checked(uid: str) -> str:
    """A UID that may stand in an address. Raises MedQError."""
    if len(uid) > 64 or not UID.fullmatch(uid):
        raise MedQError("A UID holds digits and dots, 64 at most; this is none.")
    return uid


def _meaning(status: int) -> str:
    words = {
        401: "asks for a login; give --auth USER:PASSWORD",
        403: "refuses this login",
        404: "does not have what was asked for; check the address and the UIDs",
        409: "refused the objects; its log says why",
        413: "takes no object of this size",
    }
    return words.get(status, f"answers with status {status}")


def _loads(response: httpx.Response) -> Any:
    """The JSON of a bounded answer; None of what is none."""
    import json

    data = bytearray()
    for piece in response.iter_bytes():
        data += piece
        if len(data) > LONGEST_ANSWER:
            raise MedQError("The server's answer is longer than any list of series; ask for less, such as one study.")
    with suppress(ValueError):
        return json.loads(bytes(data))
    return None


def _values(row: dict[str, Any], tag: str) -> list[Any]:
    """The values of a tag in DICOM JSON; none of what is malformed."""
    element = row.get(tag)
    value = element.get("Value") if isinstance(element, dict) else None
    return value if isinstance(value, list) else []


def _series(row: dict[str, Any]) -> Series | None:
    """A row of an answer; None of one without UIDs that could be asked for."""

    def text(tag: str) -> str:
        return next((value for value in _values(row, tag) if isinstance(value, str)), "")

    study, series = text("0020000D"), text("0020000E")
    if not (UID.fullmatch(study) and UID.fullmatch(series)):
        return None
    count = next((value for value in _values(row, "00201209") if isinstance(value, int)), 0)
    return Series(study, series, text("00080060"), text("0008103E"), count)

"""DICOMweb against a real Orthanc, and against answers that no honest server gives."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pydicom
import pytest
from highdicom.sr import srread

from medq_vlm import cli
from medq_vlm.io.examples import CT_HEAD, MR_ABDOMEN, example
from medq_vlm.pacs import Pacs, Series
from medq_vlm.pacs.multipart import PartWriter
from medq_vlm.schema import MedQError

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LOGIN = "reader:secret"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DICOMweb address of an empty Orthanc on this computer, with a login."""
    if not (Path(ORTHANC).exists() and PLUGIN.exists()):
        pytest.skip("needs Debian's orthanc and orthanc-dicomweb")
    home, port = tmp_path_factory.mktemp("orthanc"), free_port()
    user, password = LOGIN.split(":")
    settings = {
        "StorageDirectory": str(home / "store"), "IndexDirectory": str(home / "store"), "HttpPort": port,
        "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": True,
        "RegisteredUsers": {user: password}, "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True},
    }  # fmt: skip
    (home / "orthanc.json").write_text(json.dumps(settings))
    settled = [ORTHANC, str(home / "orthanc.json")]
    server = subprocess.Popen(settled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                httpx.get(f"http://127.0.0.1:{port}/system", auth=(user, password)).raise_for_status()
                break
            except httpx.HTTPError:
                assert server.poll() is None, "Orthanc ended"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def filled(orthanc: str) -> str:
    """It holds a CT and an MR study."""
    files = [str(example(name)) for name in (CT_HEAD, MR_ABDOMEN)]
    assert cli.main(["pacs", "push", orthanc, *files, "--auth", LOGIN]) == 0
    return orthanc


def series_of(url: str) -> list[Series]:
    user, password = LOGIN.split(":")
    with Pacs(url, (user, password)) as server:
        return server.series()


def test_a_series_comes_back_byte_by_byte(filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = str(pydicom.dcmread(example(CT_HEAD)).StudyInstanceUID)
    out = tmp_path / "study"
    assert cli.main(["pacs", "pull", filled, "--study", study, "-o", str(out), "--auth", LOGIN]) == 0
    assert "CT, 1 file" in capsys.readouterr().out
    (file,) = out.rglob("*.dcm")
    assert pydicom.dcmread(file).PixelData == pydicom.dcmread(example(CT_HEAD)).PixelData
    assert cli.main(["pacs", "pull", filled, "--study", study, "-o", str(out), "--auth", LOGIN]) == 2
    assert cli.main(["pacs", "pull", filled, "--study", "1.2.3", "-o", str(tmp_path / "no"), "--auth", LOGIN]) == 2
    assert "knows no such series" in capsys.readouterr().err


def test_watch_stores_one_report_of_each_series_and_tells_no_identity(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["pacs", "watch", filled, "--auth", LOGIN, "--once", "--since", "19000101"]
    arguments += ["--state", str(tmp_path / "state.jsonl")]
    before = series_of(filled)
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.out.count("report stored") == len(before) == 2
    after = series_of(filled)
    made = [one for one in after if one not in before]
    assert [one.modality for one in made] == ["SR", "SR"]
    assert {one.study for one in made} == {one.study for one in before}
    told = shown.out + shown.err + (tmp_path / "state.jsonl").read_text()
    for name in (CT_HEAD, MR_ABDOMEN):
        header = pydicom.dcmread(example(name), stop_before_pixels=True)
        assert str(header.StudyInstanceUID) not in told and str(header.SeriesInstanceUID) not in told
        assert not header.get("PatientID") or str(header.PatientID) not in told
    assert cli.main(arguments) == 0 and not capsys.readouterr().out  # done: nothing is assessed twice
    assert series_of(filled) == after
    sr_study = next(one for one in made if one.study == str(pydicom.dcmread(example(CT_HEAD)).StudyInstanceUID))
    folder = tmp_path / "pulled"
    pull = ["pacs", "pull", filled, "--study", sr_study.study, "--series", sr_study.series, "-o", str(folder)]
    assert cli.main([*pull, "--auth", LOGIN]) == 0
    (file,) = folder.rglob("*.dcm")
    assert srread(file).SeriesDescription == "MedQ image quality"


def test_a_wrong_login_or_address_is_one_sentence(orthanc: str, capsys: pytest.CaptureFixture[str]) -> None:
    study = ["--study", "1.2", "-o", "nowhere"]
    for url, more, words in (
        (orthanc, ["--auth", "reader:wrong"], "asks for a login"),
        (orthanc.replace("dicom-web", "elsewhere"), ["--auth", LOGIN], "does not have what was asked for"),
        (f"http://127.0.0.1:{free_port()}/dicom-web", [], "cannot be reached"),
        ("pacs.example", [], "is no web address"),
        ("http://reader:secret@127.0.0.1/dicom-web", [], "give it with --auth"),
    ):
        assert cli.main(["pacs", "pull", url, *study, *more]) == 2
        told = capsys.readouterr().err
        assert words in told and told.count("\n") == 1 and "secret" not in told


def test_only_dicom_files_are_stored(filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.dcm").write_text("words" * 200)
    files = [str(tmp_path / "notes.dcm"), str(tmp_path / "nowhere.dcm"), str(example(CT_HEAD))]
    assert cli.main(["pacs", "push", filled, *files, "--auth", LOGIN]) == 3
    shown = capsys.readouterr()
    assert shown.out.count("stored") == 1 and "is no DICOM file" in shown.err and "cannot be read" in shown.err


def answering(body: bytes, kind: str) -> ThreadingHTTPServer:
    """A server on this computer that says one thing to all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"<html>", "does not answer as a DICOMweb server"), (b"{}", "does not answer as a DICOMweb server"),
     (b'[{"0020000D": {"Value": ["../../etc"]}, "0020000E": {"Value": ["1.2"]}}, {"0020000D": 7}]', "")],
)  # fmt: skip
def test_an_answer_to_a_query_is_checked(body: bytes, words: str) -> None:
    server = answering(body, "application/dicom+json")
    with Pacs(f"http://127.0.0.1:{server.server_port}") as pacs:
        if words:
            with pytest.raises(MedQError, match=words):
                pacs.series()
        else:
            assert pacs.series() == []
    server.shutdown()


def test_what_is_sent_as_files_is_bounded_and_whole(tmp_path: Path) -> None:
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    body = b"".join(b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + bytes(100) + b"\r\n" for _ in range(3))
    whole = body + b"--edge--\r\n"
    for name in "abcd":
        (tmp_path / name).mkdir()
    writer = PartWriter(kind, tmp_path / "a", 300, 3)
    for start in range(0, len(whole), 7):
        writer.write(whole[start : start + 7])
    assert [path.read_bytes() for path in writer.close()] == [bytes(100)] * 3
    for name, limit, most, words in (("b", 299, 3, "is larger than"), ("c", 300, 2, "more than 2 files")):
        with pytest.raises(MedQError, match=words):
            PartWriter(kind, tmp_path / name, limit, most).write(whole)
    broken = PartWriter(kind, tmp_path / "d", 300, 3)
    broken.write(body)
    with pytest.raises(MedQError, match="broke off"):
        broken.close()
    with pytest.raises(MedQError, match="sent no DICOM files"):
        PartWriter("text/html", tmp_path / "d", 300, 3)

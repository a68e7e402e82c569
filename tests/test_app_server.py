"""The served app over HTTP: its API, two users at once, and nothing of a patient left behind."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from gradio_client import Client, handle_file
from pydicom.datadict import DicomDictionary

from app.serve import SWEEP_S, UPLOAD_KEPT_S
from medq_vlm import report
from medq_vlm.io.examples import CT_SMALL, MR_ABDOMEN, example
from tests.app_server import Server, running
from tests.dicom_files import dicom

PATIENT, PLANTED_UID = "PLANTED^PATIENTNAME", "1.2.826.0.1.3680043.8.498.777777777777"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("app")) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def abandoned(server: Server) -> str:
    """Where an upload lies that no event ever reads: its user went away."""
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="scan.dcm"\r\n\r\nPLANTED\r\n--x--\r\n'
    code, body = status(f"{server.address}/gradio_api/upload", "POST", form,
                        **{"Content-Type": "multipart/form-data; boundary=x"})  # fmt: skip
    assert code == 200
    return str(json.loads(body)[0])


def client(server: Server) -> Client:
    return Client(server.address, verbose=False, analytics_enabled=False, download_files=False)


def status(address: str, method: str = "GET", data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(address, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def assess(one: Client, path: Path) -> dict[str, Any]:
    answer = one.predict([handle_file(str(path))], "", api_name="/assess")
    assert answer["problems"] == [] and len(answer["studies"]) == 1
    return answer["studies"][0]


def test_health_says_nothing_of_anyone(server: Server) -> None:
    code, body = status(f"{server.address}/health")
    assert code == 200
    assert set(json.loads(body)) == {"status", "version", "model", "device"}


def test_the_api_goes_from_file_to_report(server: Server) -> None:
    one = client(server)
    study = assess(one, example(CT_SMALL))
    report.validate(study["assessment"])
    assert study["name"] == CT_SMALL
    again = one.predict(study["id"], "Chest CT, 80 kVp", api_name="/assess_again")
    assert again["assessment"]["acquisition"] == "Chest CT, 80 kVp" and again["changed"].endswith(".")
    saved = one.predict(study["id"], {"findings": {"noise": "present"}, "verdict": "usable"}, api_name="/review")
    assert saved["verdict"] == "usable"
    told = one.predict(study["id"], "json", api_name="/report")
    assert json.loads(base64.b64decode(told["base64"]))["review"]["verdict"] == "usable"
    for form, mime in (("pdf", "application/pdf"), ("csv", "text/csv; charset=utf-8"), ("zip", "application/zip")):
        assert one.predict(study["id"], form, api_name="/report")["mime"] == mime
    assert "error" in one.predict(study["id"], "exe", api_name="/report")
    said = list(one.submit(study["id"], "Why is it poor?", api_name="/ask"))
    assert said and said[-1].strip() and "went wrong" not in said[-1]
    both = one.predict(study["id"], study["id"], api_name="/compare")
    assert both["summary"].startswith("Both are of one quality")
    assert one.predict(api_name="/forget") == {"studies": 0}
    assert "no study" in one.predict(study["id"], "pdf", api_name="/report")["error"]


def test_two_users_at_once_never_meet(server: Server) -> None:
    pair = [client(server), client(server)]
    files = [example(CT_SMALL), example(MR_ABDOMEN)]

    def work(user: int) -> list[dict[str, Any]]:
        study = assess(pair[user], files[user])
        return [study, *(pair[user].predict(study["id"], f"text {n}", api_name="/assess_again") for n in range(2))]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, (0, 1))
    assert {one["assessment"]["modality"]["value"] for one in first} == {"ct"}
    assert {one["assessment"]["modality"]["value"] for one in second} == {"mr"}
    stolen = pair[1].predict(first[0]["id"], "json", api_name="/report")
    assert "error" in stolen and "base64" not in stolen
    # a picture needs the browser's cookie beside its secret name
    code, _ = status(f"{server.address}/medq/study/{first[0]['id']}/slice/0", Cookie="medq_browser=someone")
    assert code == 404


def test_two_users_may_drop_the_same_file_at_once(server: Server) -> None:
    pair = [client(server), client(server)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            answers = list(pool.map(lambda one: assess(one, example(CT_SMALL)), pair))
            assert all(answer["name"] == CT_SMALL for answer in answers)


def test_bad_input_gets_a_sentence(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    answer = client(server).predict([handle_file(str(path))], "", api_name="/assess")
    assert answer["studies"] == [] and answer["problems"][0].startswith("notes.txt")
    assert "Traceback" not in json.dumps(answer)


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file=..%2f..%2fetc%2fpasswd", "/gradio_api/file=%5c%5chost%5cshare",
     "/file=/etc/passwd", "/static/..%2f..%2fetc/passwd", "/monitoring", "/gradio_api/runs", "/docs"],
)  # fmt: skip
def test_no_path_is_served(server: Server, path: str) -> None:
    assert status(server.address + path)[0] in (403, 404)


def test_an_upload_is_served_to_nobody(server: Server, abandoned: str) -> None:
    assert Path(abandoned).is_relative_to(server.folder)
    for cookie in ("", "medq_browser=someone"):
        for place in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
            assert status(f"{server.address}{place}{abandoned}", Cookie=cookie)[0] in (401, 403, 404)


def test_a_two_gigabyte_upload_is_refused(server: Server) -> None:
    import http.client

    host = server.address.removeprefix("http://")
    link = http.client.HTTPConnection(host, timeout=30)
    link.putrequest("POST", "/gradio_api/upload")
    link.putheader("Content-Type", "multipart/form-data; boundary=x")
    link.putheader("Content-Length", str(2 * 1024**3))
    link.endheaders()
    assert link.getresponse().status == 413


def private_events(server: Server) -> list[int]:
    config = json.loads(status(f"{server.address}/config")[1])
    return [one["id"] for one in config["dependencies"] if one["api_visibility"] == "private"]


def test_a_private_event_called_raw_is_harmless(server: Server) -> None:
    events = private_events(server)
    assert events
    for event in events:
        body = json.dumps({"data": ["/etc/passwd"], "fn_index": event, "session_hash": f"raw{event}"}).encode()
        code, answer = status(f"{server.address}/gradio_api/run/predict", "POST", body,
                              **{"Content-Type": "application/json"})  # fmt: skip
        assert b"root:" not in answer and b"Traceback" not in answer
        assert code < 600


def test_nothing_of_the_patient_is_left_behind(server: Server, tmp_path: Path, abandoned: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 2000, (64, 64)).astype("u2")
    named = pydicom.dcmread(io.BytesIO(dicom(pixels)))
    plant(named)
    path = tmp_path / "scan.dcm"
    named.save_as(path)
    one = client(server)
    study = assess(one, path)
    texts = [json.dumps(study), json.dumps(one.predict(study["id"], "html", api_name="/report"))]
    assert all("PLANTED" not in text and PLANTED_UID not in text for text in texts)
    # names that a user types or gives a file are shown to that user, and kept nowhere
    path = path.rename(tmp_path / f"{PATIENT}.dcm")
    study = assess(one, path)
    one.predict(study["id"], {"comment": f"seen by {PATIENT}"}, api_name="/review")
    one.predict(study["id"], f"CT of {PATIENT}", api_name="/assess_again")
    for form in ("pdf", "zip"):
        one.predict(study["id"], form, api_name="/report")
    for left in server.folder.rglob("*"):
        assert "PLANTED" not in left.name
        # Gradio leaves an empty file of every upload, which is swept away
        assert not left.is_file() or left.stat().st_size == 0 or str(left) == abandoned
    log = server.log.read_text()
    assert "PLANTED" not in log and PLANTED_UID not in log and "scan.dcm" not in log


def plant(dataset: pydicom.Dataset) -> None:
    """A name in every element of the dictionary that holds text, a person or a UID and says nothing of the pixels."""
    planted = 0
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if tag >> 16 in (0x0000, 0x0002, 0x0028, 0x7FE0) or retired or keyword in dataset or not keyword:
            continue
        if vr in ("PN", "LO", "SH", "ST", "LT", "UT", "UC"):
            dataset.add_new(tag, vr, PATIENT if vr == "PN" else "PLANTED TEXT")
            planted += 1
        elif vr == "UI" and keyword not in ("SOPClassUID", "TransferSyntaxUID"):
            dataset.add_new(tag, vr, PLANTED_UID)
            planted += 1
    block = dataset.private_block(0x0011, "PLANTED CREATOR", create=True)
    block.add_new(0x01, "LO", PATIENT)
    assert planted > 500


def test_an_abandoned_upload_is_swept_away(server: Server, abandoned: str) -> None:
    end = time.monotonic() + UPLOAD_KEPT_S + 4 * SWEEP_S
    while (left := [one for one in server.folder.rglob("*") if one.is_file()]) and time.monotonic() < end:
        time.sleep(1)
    assert left == [] and not Path(abandoned).exists()


def test_it_talks_to_this_computer_alone(server: Server) -> None:
    """Every connection of the process has a loopback address at the other end."""
    own = {re.sub(r"\D", "", str(link.readlink())) for link in Path(f"/proc/{server.pid}/fd").iterdir()
           if "socket:" in str(link.readlink())}  # fmt: skip
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in own:
                remote = fields[2].split(":")[0]
                assert remote in (
                    "0100007F",
                    "00000000",
                    "0" * 32,
                    "0000000000000000FFFF00000100007F",
                    "0" * 24 + "01000000",
                )

"""What the app remembers: studies of each page that is open, in memory alone, bounded, and forgotten when idle."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from app.intake import Unread
from app.review import Review
from medq_vlm.pipeline import EncodedImage
from medq_vlm.report.content import short_path
from medq_vlm.restoring import Restored
from medq_vlm.schema import Assessment, ImageSample, MedQError

GIB = 1024**3
KEPT_UNREAD = 4000  # files of one page that could not be read: as many as one upload may hold


@dataclass(frozen=True)
class Bounds:
    """How much the app keeps; the oldest goes first."""

    studies: int = 512  # of one page: a worklist of a day
    page_bytes: int = 2 * GIB  # pixels of one page's studies
    all_bytes: int = 6 * GIB  # pixels of all pages
    pages: int = 64  # open pages
    idle_s: float = 7200.0  # a page that asks for nothing this long is forgotten
    leave_s: float = 120.0  # ... and after this when it was closed: a lost connection comes back sooner


DEFAULT = Bounds()


@dataclass(frozen=True)
class Owner:
    """Who a study belongs to: one page of one browser. All three must match."""

    user: str  # login name, "" without login
    cookie: str  # random secret of the browser, "" for a client that keeps no cookies
    page: str  # Gradio's session hash, new for every page


@dataclass(frozen=True)
class Treated:
    """A restoration and the assessments around it."""

    restored: Restored
    before: Assessment  # that led it
    after: Assessment
    by_person: bool  # led by a person's words
    number: int  # counts the restorations of a study: pictures of an older one are not shown again


LONGEST_NAME = 80  # characters of a file's name on a page


@dataclass
class Study:
    """One image or series, what was said of it, and what a person said."""

    token: str  # unguessable: the name under which the page asks for its pixels
    owner: Owner
    name: str  # the name it was uploaded with
    sample: ImageSample
    result: Assessment | None = None
    encoded: EncodedImage | None = None  # what the scorer says of each slice: the chat asks it again and again
    modality: str | None = None  # what a person says it is, None: what the header says, or the image
    anatomy: str | None = None
    before: Assessment | None = None  # the result before the last "assess again"
    treated: Treated | None = None  # the last restoration
    restoring: threading.Lock = field(default_factory=threading.Lock)  # held while one is made
    review: Review = field(default_factory=Review)
    chat: list[tuple[str, str]] = field(default_factory=list)  # question, answer
    heat: OrderedDict[tuple[int, str], np.ndarray] = field(default_factory=OrderedDict)
    stop: threading.Event = field(default_factory=threading.Event)  # set: the assessment is to end
    stop_restoring: threading.Event = field(default_factory=threading.Event)  # set: the restoration is to end
    hush: threading.Event = field(default_factory=threading.Event)  # set: the answer is to end
    talking: threading.Lock = field(default_factory=threading.Lock)  # held while an answer is written
    asked: int = 0  # questions so far: an answer that a newer question ended shows nothing more
    state: str = "waiting"  # then assessing, done, stopped or failed
    problem: str = ""  # why it failed

    @property
    def label(self) -> str:
        """The name as a page has room for it."""
        return short_path(self.name, LONGEST_NAME)

    def fresh_stop(self) -> threading.Event:
        """The stop of a run that begins: a run that was told to end keeps its own, and may end late."""
        if self.stop.is_set():
            self.stop = threading.Event()
        return self.stop

    def fresh_stop_restoring(self) -> threading.Event:
        """`fresh_stop` of a restoration: one may run beside an assessment."""
        if self.stop_restoring.is_set():
            self.stop_restoring = threading.Event()
        return self.stop_restoring

    def wait_again(self) -> None:
        """Take its turn once more if it was stopped or failed before there was a result."""
        if self.result is None and self.state in ("stopped", "failed"):
            self.fresh_stop()
            self.state, self.problem = "waiting", ""

    def end(self) -> None:
        """End what runs with the model, but no answer."""
        self.stop.set()
        self.stop_restoring.set()

    @property
    def size_bytes(self) -> int:
        made = self.treated.restored.restoration if self.treated else None
        arrays = [self.sample.pixels, self.sample.valid, *self.heat.copy().values()]
        arrays += [made.sample.pixels, made.residual] if made and not made.unchanged else []
        for one in self.encoded.scored if self.encoded else ():
            arrays += [one.distribution, one.queries, one.embed, one.thumb]
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass
class Page:
    """The studies of one open page, oldest first."""

    studies: OrderedDict[str, Study] = field(default_factory=OrderedDict)
    unread: deque[Unread] = field(default_factory=lambda: deque(maxlen=KEPT_UNREAD))
    used: float = 0.0
    current: str | None = None  # token of the study that is shown
    forgotten: int = 0  # studies that went to make room
    note: str = ""  # what the last upload's owner must know; shown until the next one

    @property
    def size_bytes(self) -> int:
        return sum(study.size_bytes for study in self.studies.values())


class Store:
    """All pages. Every method is safe from any thread."""

    def __init__(self, bounds: Bounds = DEFAULT, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self.clock = clock
        self._pages: OrderedDict[Owner, Page] = OrderedDict()
        self._lock = threading.RLock()

    def add(self, owner: Owner, name: str, sample: ImageSample) -> Study:
        """Keep a sample. Raises MedQError when it alone is more than one page may hold."""
        study = Study(secrets.token_urlsafe(24), owner, name, sample)
        if study.size_bytes > self.bounds.page_bytes:
            raise MedQError(f"'{name}' is too large to keep in memory here; give a part of it.")
        with self._lock:
            self.sweep()
            self._touch(owner).studies[study.token] = study
            self._make_room(study)
        return study

    def treat(self, study: Study, treated: Treated) -> None:
        """Keep a restoration; older studies make room for it. Raises MedQError when there is not enough."""
        with self._lock:
            page = self._pages.get(study.owner)
            if page is None or study.token not in page.studies:  # closed or removed meanwhile
                return
            study.treated = treated
            self._touch(study.owner)
            if not self._make_room(study):
                study.treated = None
                raise MedQError("There is not enough memory to keep the restored image; restore a part of it.")

    def grown(self, study: Study) -> None:
        """What is kept of a study grew: older studies make room, and at last its own heat maps."""
        with self._lock:
            page = self._pages.get(study.owner)
            if page is not None and study.token in page.studies:
                self._touch(study.owner)
                if not self._make_room(study):
                    study.heat.clear()

    def _make_room(self, kept: Study) -> bool:
        """Forget older studies of the page, then the page used longest ago; False when `kept` alone is too much."""
        page = self._pages[kept.owner]
        while self._too_much(page):
            first = next(iter(self._pages))
            oldest = next((token for token in page.studies if token != kept.token), None)
            if not self._full(page) and first != kept.owner:
                self.drop(first)
            elif oldest is not None:
                self._forget(page, oldest)
                page.forgotten += 1
            else:
                return False
        return True

    def _full(self, page: Page) -> bool:
        return len(page.studies) > self.bounds.studies or page.size_bytes > self.bounds.page_bytes

    def _too_much(self, page: Page) -> bool:
        return self._full(page) or len(self._pages) > self.bounds.pages or self._all_bytes() > self.bounds.all_bytes

    def failed(self, owner: Owner, unread: Iterable[Unread]) -> None:
        """Remember files of a page that could not be read, each once."""
        with self._lock:
            known = set(self.unread(owner))
            if unread := [one for one in dict.fromkeys(unread) if one not in known]:
                self._touch(owner).unread.extend(unread)

    def unread(self, owner: Owner) -> list[Unread]:
        """Files of a page that could not be read, oldest first."""
        with self._lock:
            page = self._pages.get(owner)
            return list(page.unread) if page else []

    def adopt(self, owner: Owner, token: str) -> bool:
        """Give the studies of a page that was reloaded to the page it became; `token` is one of them.

        Only for the same browser and login. What was not assessed yet waits again: its event went with the old page.
        """
        with self._lock:
            old = next((one for one, page in self._pages.items() if token in page.studies and _same(one, owner)), None)
            if old is None or old == owner:
                return False
            page = self._pages.pop(old)
            for key, study in page.studies.items():
                if study.result is None:
                    study.end()
                    page.studies[key] = Study(study.token, owner, study.name, study.sample)
                study.owner = owner
            self._pages[owner] = page
            self._touch(owner)
        return True

    def get(self, owner: Owner, token: str | None) -> Study | None:
        """The page's own study, None when there is no such study or it belongs to someone else."""
        with self._lock:
            page = self._pages.get(owner)
            if page is None or token is None or token not in page.studies:
                return None
            return self._touch(owner).studies[token]

    def by_token(self, token: str, cookie: str, user: str = "") -> Study | None:
        """The study a picture request asks for: it names no page, so secret token, cookie and login must fit."""
        with self._lock:
            for owner, page in self._pages.items():
                if token in page.studies and _same(owner, Owner(user, cookie, "")):
                    self._touch(owner)
                    return page.studies[token]
        return None

    def studies(self, owner: Owner) -> list[Study]:
        """All studies of a page, oldest first."""
        with self._lock:
            page = self._pages.get(owner)
            return list(page.studies.values()) if page else []

    def forgotten(self, owner: Owner) -> int:
        """How many studies of a page went to make room for newer ones."""
        with self._lock:
            page = self._pages.get(owner)
            return page.forgotten if page else 0

    def note(self, owner: Owner, words: str | None = None) -> str:
        """What the page must go on telling; `words` replaces it."""
        with self._lock:
            page = self._pages.get(owner)
            if words is not None and (page or words):
                page = self._touch(owner)
                page.note = words
            return page.note if page else ""

    def select(self, owner: Owner, token: str | None) -> Study | None:
        """Make a study the one that is shown."""
        with self._lock:
            study = self.get(owner, token)
            if study is not None:
                self._pages[owner].current = token
            return study

    def selected(self, owner: Owner) -> Study | None:
        """The study that is shown, the newest when that one is gone."""
        with self._lock:
            page = self._pages.get(owner)
            if page is None or not page.studies:
                return None
            return page.studies.get(page.current or "") or next(reversed(page.studies.values()))

    def leave(self, owner: Owner) -> None:
        """The page was closed or lost: forget it soon unless it asks for something before."""
        with self._lock:
            page = self._pages.get(owner)
            if page is not None:
                page.used = self.clock() - self.bounds.idle_s + self.bounds.leave_s
                for study in page.studies.values():
                    study.end()

    def drop(self, owner: Owner) -> None:
        """Forget a page and everything in it; a running assessment of it is stopped."""
        with self._lock:
            page = self._pages.pop(owner, None)
            for token in list(page.studies) if page else []:
                assert page is not None
                self._forget(page, token)

    def sweep(self) -> None:
        """Forget the pages that were idle too long."""
        with self._lock:
            now = self.clock()
            for owner in [one for one, page in self._pages.items() if now - page.used > self.bounds.idle_s]:
                self.drop(owner)

    def __len__(self) -> int:
        return len(self._pages)

    def _touch(self, owner: Owner) -> Page:
        page = self._pages.setdefault(owner, Page())
        page.used = self.clock()
        self._pages.move_to_end(owner)
        return page

    def _forget(self, page: Page, token: str) -> None:
        study = page.studies.pop(token)
        study.end()
        study.hush.set()
        study.heat.clear()
        study.chat.clear()
        study.encoded = study.treated = None

    def _all_bytes(self) -> int:
        return sum(page.size_bytes for page in self._pages.values())


def _same(one: Owner, other: Owner) -> bool:
    """One browser and login, whatever the page."""
    return one.user == other.user and secrets.compare_digest(one.cookie.encode(), other.cookie.encode())

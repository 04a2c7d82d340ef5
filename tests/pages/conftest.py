"""People who are signed in, a site that serves as deployed, and a browser that tells what it complains about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from omarino.authentication import Principal
from omarino.models import User
from omarino.permissions import ROLES

FLAGS = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 20_000  # of what is expected, too: Playwright has five seconds, which a sign-in may take
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=900)

Pages = Callable[..., Client]


def make_person(
    owner: Principal,
    *,
    roles: frozenset[str] = ROLES,
    is_superuser: bool = False,
    password: str | None = None,  # to hash one takes half a second
) -> User:
    """A person of the owner's tenant, in the groups of these roles, let into the pages."""
    person = User.objects.create_user(
        owner.username,
        password=password,
        tenant_id=owner.tenant_id,
        is_staff=True,
        is_superuser=is_superuser,
    )
    person.groups.set(Group.objects.get_or_create(name=role)[0] for role in roles)
    return person


@pytest.fixture
def pages_of(db: None) -> Pages:
    """A client that is signed in to the pages."""

    def pages_of(owner: Principal, *, roles: frozenset[str] = ROLES, is_superuser: bool = False) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(make_person(owner, roles=roles, is_superuser=is_superuser))
        return client

    return pages_of


def chromium() -> str:
    remembered = Path(settings.BASE_DIR) / ".cache" / "chromium-path"
    for found in (
        os.environ.get("HUB_TEST_CHROMIUM"),
        remembered.read_text().strip() if remembered.exists() else None,
        shutil.which("chromium"),
    ):
        if found:
            return found
    pytest.fail("The tests of the pages need a Chromium: run `make browser`, or set HUB_TEST_CHROMIUM.")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, which Django takes for asynchronous code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def address(transactional_db: None) -> Iterator[str]:
    """The service in a thread, its static files served by the service itself, as deployed."""
    served_by_itself: Any = lambda application: application  # noqa: E731  takes the place of a handler class
    server = LiveServerThread("127.0.0.1", static_handler=served_by_itself)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    yield f"http://{server.host}:{server.port}"
    server.terminate()


@dataclass
class Visit:
    """One browser window, and everything that should not have happened in it."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    friends: tuple[str, ...] = ()  # other servers it may be sent to

    def go(self, path: str) -> None:
        self.page.goto(self.address + path)

    def enter(self, person: User) -> None:
        """As if signed in before."""
        client = Client()
        client.force_login(person)
        session = client.cookies[settings.SESSION_COOKIE_NAME]
        self.page.context.add_cookies([{"name": session.key, "value": session.value, "url": self.address}])

    def listen(self) -> None:
        self.page.on("console", lambda said: self._complain(said.type in ("error", "warning"), said.text))
        self.page.on("pageerror", lambda error: self._complain(True, str(error)))
        own = (self.address, "data:", "blob:", *self.friends)
        self.page.on(
            "request", lambda asked: self._complain(not asked.url.startswith(own), f"asks {asked.url}")
        )

    def _complain(self, is_one: bool, text: str) -> None:
        if is_one:
            self.complaints.append(f"{self.page.url}: {text}")

    def is_too_wide(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


Visits = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visits]:
    """Opens windows; at the end none of them may have complained: no error, no policy broken, nobody
    else's server asked."""
    visits: list[Visit] = []

    def visit(*, phone: bool = False, dark: bool = False) -> Visit:
        context = browser.new_context(
            viewport=PHONE if phone else DESK,
            is_mobile=phone,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(PATIENCE_MS)
        visits.append(Visit(context.new_page(), address))
        visits[-1].listen()
        return visits[-1]

    yield visit
    for window in visits:
        window.page.context.close()
    assert [complaint for window in visits for complaint in window.complaints] == []

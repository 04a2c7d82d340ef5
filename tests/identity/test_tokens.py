"""The API, asked with tokens that a real provider made."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from omarino.authentication import Principal, principal_of
from omarino.keys import KEYS, REFETCH_WAIT_S
from omarino.login import BEGUN_FOR_S, IdentityProvider, SignInRefused, admitted
from omarino.models import User
from omarino.tasks import forget_sessions
from tests.factories import make_forecast_row
from tests.identity.conftest import SECRET, Provider
from tests.omarino.conftest import Ask, ask, issuer, pass_in_valkey
from tests.omarino.issuer import AUDIENCE, RSA_KEYS, Issuer

__all__ = ["ask", "issuer"]  # fixtures


def password_grant(provider: Provider, username: str = "alice", password: str = "wonderland") -> Any:  # noqa: S107
    return provider.grant(
        grant_type="password",
        username=username,
        password=password,
        client_id=AUDIENCE,
        client_secret=SECRET,
    )


def test_a_program_asks_with_its_client_credentials(provider: Provider, ask: Ask, alice: Principal) -> None:
    make_forecast_row(alice)

    token = provider.token_of_a_program()

    assert principal_of(token) == Principal(
        "meter-gateway", "alpha", frozenset({"ai_user"}), "service-account-meter-gateway"
    )
    assert ask(token).json()["total"] == 1


def test_a_person_asks_with_a_token_of_the_password_grant(
    provider: Provider, ask: Ask, alice: Principal
) -> None:
    make_forecast_row(alice)

    mine = password_grant(provider).json()["access_token"]
    theirs = password_grant(provider, "charlie", "chocolate").json()["access_token"]

    assert (ask(mine).json()["total"], ask(theirs).json()["total"]) == (1, 0)
    assert ask(theirs, **{"X-Tenant-ID": "alpha"}).status_code == 403
    assert password_grant(provider, password="guessed").status_code == 400


def test_without_a_role_the_token_opens_nothing_and_without_a_tenant_it_is_none(
    provider: Provider, ask: Ask
) -> None:
    assert ask(password_grant(provider, "norman", "nothing").json()["access_token"]).status_code == 403
    assert ask(password_grant(provider, "hannah", "homeless").json()["access_token"]).status_code == 401


def test_an_expired_token_is_refused(provider: Provider, ask: Ask, settings: Any) -> None:
    provider.tell(token_s=1)
    settings.JWT_LEEWAY = 0
    token = password_grant(provider).json()["access_token"]
    time.sleep(2)

    answer = ask(token)

    assert (answer.status_code, "has expired" in answer.json()["detail"]) == (401, True)


def test_keys_are_rotated_while_we_run(provider: Provider, ask: Ask) -> None:
    old = provider.token_of_a_program()
    assert ask(old).status_code == 200

    provider.tell(keys=["second", "first"])
    new = provider.token_of_a_program()
    assert ask(new).status_code == 401  # asked a moment ago
    pass_in_valkey(seconds=REFETCH_WAIT_S + 1)
    KEYS.forget()
    assert [ask(token).status_code for token in (new, old)] == [200, 200]

    provider.tell(keys=["second"])
    pass_in_valkey(seconds=301)
    KEYS.forget()
    assert [ask(token).status_code for token in (new, old)] == [200, 401]


def test_another_algorithm_of_the_same_provider_is_refused(
    provider: Provider, ask: Ask, settings: Any
) -> None:
    token = provider.token_of_a_program()
    settings.JWT_ALGORITHM = "ES256"

    assert ask(token).status_code == 401


# ID tokens, as the sign-in checks them


def id_token(issuer: Issuer, **claims: Any) -> str:
    return issuer.token(**{"typ": "ID", "aud": AUDIENCE, "azp": AUDIENCE, "nonce": "n", **claims})


def test_an_id_token_opens_the_sign_in_and_not_the_api(issuer: Issuer, ask: Ask) -> None:
    assert IdentityProvider().verify_token(id_token(issuer), nonce="n")["sub"] == "3f0c"
    assert IdentityProvider().verify_token(id_token(issuer, typ=None), nonce="n")["sub"] == "3f0c"
    assert ask(id_token(issuer)).status_code == 401
    assert ask(id_token(issuer, typ=None)).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "grafana"},
        {"aud": None},
        {"aud": [AUDIENCE, "grafana"], "azp": None},
        {"aud": [AUDIENCE, "grafana"], "azp": "grafana"},
        {"azp": "grafana"},
        {"typ": "Bearer"},
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": ["n"]},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
        {"sub": None},
        {"key": RSA_KEYS[1]},
        {"headers": {"jku": "https://evil.example"}},
    ],
    ids=lambda claims: "another key" if "key" in claims else str(claims),  # the same in every process
)
def test_an_id_token_is_refused(claims: dict[str, Any], issuer: Issuer) -> None:
    with pytest.raises(AuthenticationFailed):
        IdentityProvider().verify_token(id_token(issuer, **claims), nonce="n")


def test_two_tokens_of_different_people_let_nobody_in(issuer: Issuer, db: None) -> None:
    with pytest.raises(AuthenticationFailed, match="different people"):
        IdentityProvider().get_or_create_user(issuer.token(), "", {"sub": "somebody-else"})
    assert not User.objects.exists()


# People


@pytest.mark.django_db(transaction=True)
def test_two_first_sign_ins_at_once_make_one_person(alice: Principal) -> None:
    found: list[int] = []

    def enter() -> None:
        found.append(admitted(alice).pk)
        connection.close()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [User.objects.get().pk] * 4
    assert User.objects.get().roles == alice.roles


def test_groups_that_are_no_roles_are_left_alone(alice: Principal, db: None) -> None:
    person = admitted(alice)
    person.groups.add(Group.objects.create(name="night shift"))

    admitted(Principal("alice", "alpha", frozenset({"ai_user"}), "alice"))

    assert set(person.groups.values_list("name", flat=True)) == {"ai_user", "night shift"}


def test_a_superuser_without_a_role_is_let_in(alice: Principal, db: None) -> None:
    User.objects.create_superuser("boss", subject="the-boss", tenant_id="alpha")

    assert admitted(Principal("the-boss", "alpha", frozenset(), "boss")).is_superuser
    with pytest.raises(SignInRefused):
        admitted(Principal("a-guest", "alpha", frozenset(), "boss"))


def test_names_that_are_too_long_or_taken_are_made_to_fit(db: None) -> None:
    for subject in ("one", "two"):
        admitted(Principal(subject, "alpha", frozenset({"ai_user"}), "n" * 255))

    names = sorted(User.objects.values_list("username", flat=True))
    assert (len(set(names)), {len(name) for name in names}) == (2, {150})


def test_a_sign_in_that_nobody_finishes_is_forgotten(provider: Provider, client: Client, db: None) -> None:
    for _ in range(3):
        assert Client().get("/admin/oidc/authenticate/").status_code == 302
    assert Session.objects.count() == 3
    left = [session.expire_date - timezone.now() for session in Session.objects.all()]
    assert max(left) <= timedelta(seconds=BEGUN_FOR_S)

    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    forget_sessions()

    assert not Session.objects.exists()

"""What `make soak` asks, held against the URLconf: a new route is named in the mix, or left out with a reason."""

from __future__ import annotations

import ast
import inspect
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import ModuleType

import pytest
from django.urls import Resolver404, resolve
from rest_framework.views import APIView

from benchmarks import clients, mix, mix_mlflow
from tests.tenancy.routes import Route, every_route

SOMETHING = str(
    uuid.UUID(int=1)
)  # stands for whatever the mix puts into an address: every converter takes it
VERBS = {"post": "POST"}  # of the client's own methods; `ask` is told
Known = Mapping[str, set[str]]


def addresses(told: ast.AST, known: Known) -> Iterator[str]:
    """All that an expression may come to, as far as it is an address: written out, or under the names it uses."""
    match told:
        case ast.Name(id=name):
            yield from known.get(name, ())
        case ast.Constant(value=str(text)) if text.startswith("/"):
            yield text
        case ast.JoinedStr():
            yield from written_out(told, known)
        case ast.Call(func=ast.Attribute(attr=what)) if what != "choice":
            return  # an answer
        case _:
            for part in ast.iter_child_nodes(told):
                yield from addresses(part, known)


def written_out(text: ast.JoinedStr, known: Known) -> Iterator[str]:
    openings = {""}
    for part in text.values:
        if isinstance(part, ast.Constant):
            openings = {opening + str(part.value) for opening in openings}
        elif isinstance(part, ast.FormattedValue):
            named = set(addresses(part.value, known)) or {SOMETHING}
            openings = {opening + name for opening in openings for name in named}
    yield from (opening for opening in openings if opening.startswith("/"))


def asked_by(function: ast.FunctionDef, constants: Known) -> Iterator[tuple[str, str]]:
    """(verb, address) of every request in its source."""
    known = defaultdict(set, {name: set(said) for name, said in constants.items()})
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign):
            (target,) = node.targets if isinstance(node, ast.Assign) else (node.target,)
            if isinstance(target, ast.Name):
                known[target.id] |= set(addresses(node.value, known))
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "ask":
                verbs = [each.value for each in ast.walk(node.args[1]) if isinstance(each, ast.Constant)]
                yield from ((str(verb), url) for verb in verbs for url in addresses(node.args[2], known))
            elif node.func.attr in VERBS and isinstance(node.func.value, ast.Name):
                yield from ((VERBS[node.func.attr], url) for url in addresses(node.args[1], known))


def requests_of(module: ModuleType) -> set[tuple[str, str]]:
    tree = ast.parse(inspect.getsource(module))
    named = {name: {value} for name, value in vars(module).items() if isinstance(value, str)}
    return {
        asked
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for asked in asked_by(node, named)
    }


ASKED = set.union(*(requests_of(module) for module in (clients, mix, mix_mlflow)))


def route_of(url: str) -> str:
    return str(resolve(url.partition("?")[0]).route)


def answers(route: Route) -> bool:
    """Views that are functions are walked with every verb, and answer one."""
    return route.verb == "get" or (isinstance(route.view, type) and issubclass(route.view, APIView))


NAMED = {(verb, route_of(url)) for verb, url in ASKED if not url.startswith("/admin/")}
ROUTES = [route for route in every_route() if answers(route)]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_each_route_is_in_the_mix_or_left_out_with_a_reason(route: Route) -> None:
    named = (route.verb.upper(), route.path) in NAMED
    reason = mix.LEFT_OUT.get(str(route))

    assert named or reason, f"name {route} in benchmarks/mix.py, or in its LEFT_OUT with a reason"
    assert not (named and reason), f"{route} is asked: it is no longer left out"


def test_what_is_left_out_is_there() -> None:
    assert set(mix.LEFT_OUT) <= {str(route) for route in ROUTES}


@pytest.mark.parametrize(("verb", "url"), sorted(ASKED))
def test_each_address_of_the_mix_leads_somewhere(verb: str, url: str) -> None:
    try:
        route_of(url)
    except Resolver404:
        pytest.fail(f"nothing is at {url}")

"""Instant queries: what is read as a number, what is not and why, and what a schedule's author cannot make the operator do.

The server here answers as each row says, because no real Prometheus hangs or redirects on demand; the real one is in tests/prometheus.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.cluster.certificates import Authority
from tests.unit.fake_api import Handler, hangs, lost, serving

from retrain_operator.cluster.allowed import parse_allowed
from retrain_operator.cluster.numbers import parse_number
from retrain_operator.cluster.prometheus import ANSWER_MAX_BYTES, QUERIES_PER_HOST, Prometheus, Unreadable


def samples(*values: str, kind: str = "vector") -> Handler:
    result: Any = [{"metric": {}, "value": [1772452800.0, value]} for value in values]
    return answering({"status": "success", "data": {"resultType": kind, "result": result}})


def answering(body: Any, code: int = 200, **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=code, headers=headers)

    return answer


def saying(text: str, code: int = 200, *, location: str = "", encoding: str = "") -> Handler:
    headers = {name: value for name, value in (("Location", location), ("Content-Encoding", encoding)) if value}

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=code, headers=headers)

    return answer


async def is_huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(2 * ANSWER_MAX_BYTES // 65_536):
            await response.write(b"[" * 65_536)
    return response


async def drips(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)
    return response


async def asked(handler: Handler, *, timeout_s: float = 5, path: str = "", **more: Any) -> float:
    async with serving(handler) as url, Prometheus([url.removeprefix("http://")]) as prometheus:
        return await prometheus.value(url + path, "max(drift)", timeout_s=timeout_s, **more)


@pytest.mark.parametrize(
    ("handler", "value"),
    [
        pytest.param(samples("0.31"), 0.31, id="a vector of one sample"),
        pytest.param(samples("-1.5e-3"), -0.0015, id="with an exponent"),
        pytest.param(answering({"status": "success", "data": {"resultType": "scalar", "result": [1, "4"]}}), 4.0, id="a scalar"),
    ],
)
async def test_a_number(handler: Handler, value: float) -> None:
    assert await asked(handler) == value


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        pytest.param(samples(), "gives 0 samples", id="no sample"),
        pytest.param(samples("1", "2"), "gives 2 samples: write one that gives exactly one", id="two samples"),
        pytest.param(samples("NaN"), "gives NaN, which is no finite number", id="NaN"),
        pytest.param(samples("+Inf"), "gives +Inf", id="infinite"),
        pytest.param(samples("1e999"), "gives 1e999", id="too large"),
        pytest.param(samples("1", kind="matrix"), "gives a matrix", id="a range"),
        pytest.param(
            answering({"status": "error", "errorType": "bad_data", "error": "parse error at char 4"}, 400),
            "answers 400: parse error at char 4",
            id="a query that is wrong",
        ),
        pytest.param(answering({"error": "x" * 5000}, 422), "answers 422: " + "x" * 200, id="a long error is cut"),
        pytest.param(saying("oops", 500), "answers 500", id="500"),
        pytest.param(saying("unavailable", 503), "answers 503", id="503"),
        pytest.param(saying("<html>"), "not as Prometheus does", id="a page"),
        pytest.param(saying("[" * 100_000), "not as Prometheus does", id="deep nesting"),
        pytest.param(answering([1]), "not as Prometheus does", id="JSON that is no object"),
        pytest.param(answering({"status": "success", "data": {"resultType": "vector", "result": [7]}}), "not as", id="a bare number"),
        pytest.param(answering({"status": "success", "data": None}), "gives a None", id="no data"),
        pytest.param(saying("x", encoding="gzip"), "not as Prometheus does", id="compressed although not asked for"),
        pytest.param(is_huge, f"more than {ANSWER_MAX_BYTES} bytes", id="a huge answer"),
        pytest.param(lost, ":", id="the connection breaks"),
    ],
)  # fmt: skip
async def test_no_number(handler: Handler, says: str) -> None:
    with pytest.raises(Unreadable) as problem:
        await asked(handler)
    assert says in str(problem.value)
    assert len(str(problem.value)) < 400


@pytest.mark.parametrize("handler", [pytest.param(hangs, id="hangs"), pytest.param(drips, id="drips")])
async def test_an_answer_has_a_deadline(handler: Handler) -> None:
    with pytest.raises(Unreadable, match=r"no answer from 127.0.0.1:\d+ in 0.2 s"):
        await asked(handler, timeout_s=0.2)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(code: int) -> None:
    seen: list[web.Request] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response()

    async with serving(elsewhere) as other:
        with pytest.raises(Unreadable, match=r"a redirect .* is not followed"):
            await asked(saying("", code, location=f"{other}/latest/meta-data"))
    assert seen == []


async def test_what_is_sent() -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await samples("1")(request)

    assert await asked(answer, path="/prefix/", token="s3cret") == 1.0
    [request] = seen
    assert (request.method, request.path) == ("GET", "/prefix/api/v1/query")
    assert dict(request.query) == {"query": "max(drift)", "timeout": "5s"}
    assert request.headers["Authorization"] == "Bearer s3cret"


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await asked(samples("1")) == 1.0


@pytest.mark.parametrize(
    "url",
    [
        "http://prometheus:9091",
        "http://prometheus",  # port 80
        "https://prometheus",
        "http://prometheus.:9090",
        "http://prometheus.evil:9090",
        "http://evil/prometheus:9090",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:6443",
        "http://[::1]:9090",
        "http://prometheus:9090@169.254.169.254",
        "http://user@prometheus:9090",
        "http://prometheus:9090?x=1",
        "http://prometheus:9090#@evil",
        "http://evil\\@prometheus:9090",
        "http://evil%2f@prometheus:9090",
        "http://prometheus%2eevil:9090",
        "ftp://prometheus:9090",
        "file:///etc/passwd",
        "//prometheus:9090",
        "http://prometheus:99999",
        "",
    ],
)
async def test_a_host_that_is_not_allowed_is_never_asked(url: str) -> None:
    async with Prometheus(["prometheus:9090"]) as prometheus:
        with pytest.raises(Unreadable, match=r"is not allowed|not of the form|is not one"):
            await prometheus.value(url, "up", timeout_s=1)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        pytest.param("prometheus:9090", "http://PROMETHEUS:9090/prefix", id="capitals"),
        pytest.param("prometheus:80", "http://prometheus", id="the scheme's port"),
        pytest.param("prometheus:443", "https://prometheus/", id="the scheme's port, TLS"),
        pytest.param("[fd00::1]:9090", "http://[FD00::1]:9090", id="IPv6"),
    ],
)
async def test_an_allowed_host(allowed: str, url: str) -> None:
    Prometheus(parse_allowed(allowed)).check(url)


def test_without_an_allow_list_nothing_is_asked() -> None:
    with pytest.raises(Unreadable, match="the operator's administrator lists it in --prometheus-allow"):
        Prometheus().check("http://prometheus:9090")


@pytest.mark.parametrize("text", ["prometheus", "http://prometheus:9090", "prometheus:9090/x", "*:9090", "a b:1", "prometheus:"])
def test_an_allow_list_names_hosts_with_their_ports(text: str) -> None:
    with pytest.raises(ValueError, match=r"write e\.g\. prometheus\.monitoring:9090"):
        parse_allowed(text)


def test_an_allow_list() -> None:
    assert parse_allowed(" Prometheus.monitoring:9090 ,10.0.0.1:80,") == ("prometheus.monitoring:9090", "10.0.0.1:80")


async def test_a_host_that_hangs_keeps_no_other_host_waiting() -> None:
    async with (
        serving(hangs) as slow,
        serving(samples("1")) as quick,
        Prometheus([slow.removeprefix("http://"), quick.removeprefix("http://")]) as prometheus,
    ):
        stuck = [asyncio.create_task(prometheus.value(slow, "up", timeout_s=30)) for _ in range(4 * QUERIES_PER_HOST)]
        assert await prometheus.value(quick, "up", timeout_s=5) == 1.0
        with pytest.raises(Unreadable, match="no answer"):  # behind those that hang: its wait counts too
            await prometheus.value(slow, "up", timeout_s=0.1)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving_tls(authority: Authority) -> AsyncIterator[str]:
    pair = authority.issue("server", "prometheus", hosts=["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", samples("1"))
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context, shutdown_timeout=0)
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()


async def test_tls_with_a_ca_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    async with serving_tls(authority) as url, Prometheus([url.removeprefix("https://")]) as prometheus:
        assert await prometheus.value(url, "up", timeout_s=5, ca=authority.certificate.read_text()) == 1.0
        for ca in (None, other.certificate.read_text()):
            with pytest.raises(Unreadable, match="certificate verify failed"):
                await prometheus.value(url, "up", timeout_s=5, ca=ca)
        with pytest.raises(Unreadable, match="caConfigMap holds no CA certificates in PEM"):
            await prometheus.value(url, "up", timeout_s=5, ca="no certificate")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.31", 0.31), (" 7\n", 7.0), ("-1e3", -1000.0), ("+.5", 0.5), ("5.", 5.0), ("1e400", None), ("nan", None), ("Infinity", None),
        ("1_000", None), ("0x1f", None), ("1,5", None), ("", None), ("٣", None), ("0.3 0.4", None), ("1" * 65, None),
    ],
)  # fmt: skip
def test_numbers_in_texts(text: str, number: float | None) -> None:
    assert parse_number(text) == number

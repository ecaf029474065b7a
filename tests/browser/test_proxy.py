"""The app behind a reverse proxy: another name, a path prefix, and a token in no log."""

import socket
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import pytest
from driving import PROXY_NAME
from proxying import proxy
from servers import app_server, body, status

pytestmark = pytest.mark.slow

PREFIX = "/team/viz/"
NOBODY = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """The app as it runs behind a proxy."""
    options = ("--base-url", PREFIX.rstrip("/"), "--allow-host", PROXY_NAME)
    with app_server(tmp_path_factory.mktemp("proxied"), *options) as server:
        yield server


def token_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["token"][0]


@pytest.mark.parametrize("keep_host", [True, False])
def test_an_explorer_works_through_a_proxy(proxied, page, keep_host):
    from driving import click_cell, wait_for_app, wait_status

    with proxy(urlsplit(proxied.address).netloc, keep_host=keep_host) as port:
        page.goto(f"http://{PROXY_NAME}:{port}{PREFIX}?token={token_of(proxied.address)}")
        wait_for_app(page, plots=1)
        wait_status(page, ".lafn-page .lafn-status", "Control: 5 other facts")
        click_cell(page, ".lafn-overlap", 0, 1, trace=1)  # the control: the answer is a sentence
        wait_status(page, ".lafn-page .lafn-status", "click in the left half")


def test_other_names_are_refused_with_a_sentence(proxied):
    assert urlsplit(proxied.address).path == PREFIX
    for path in (PREFIX, f"{PREFIX}voila/static/voila.js", "/"):
        answer = body(proxied.bare.replace(PREFIX, path), Host="evil.example:80")
        assert answer.status == 403
        assert "This page does not answer as evil.example." in answer.text
    assert status(proxied.bare, Host=f"{PROXY_NAME}:8443") == 302  # to the login
    login = body(f"{proxied.bare}login", Host=PROXY_NAME)
    assert login.status == 200
    assert f'action="{PREFIX}login' in login.text


def test_the_token_is_printed_once_and_stands_in_no_log_of_requests(proxied):
    token = token_of(proxied.address)
    status(f"{proxied.bare}api/kernels/none?token={token}")
    status(f"{proxied.bare}voila/files/secret?token={token}", Referer=proxied.address)
    status(f"{proxied.bare.replace(PREFIX, '/elsewhere')}?token={token}")
    assert proxied.log.read_text("utf-8").count(token) == 1


def test_a_log_that_others_can_read_names_a_private_file():
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        check_private_file(Path(folder))


def check_private_file(folder: Path) -> None:
    with app_server(folder, readable=True) as server:
        log = server.log.read_text("utf-8")
        assert "token=" not in log
        (line,) = [line for line in log.splitlines() if "only you can read" in line]
        path = Path(line.split(" is in ")[1].split(":")[0])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        address = path.read_text("utf-8").strip()
        assert status(address.split("?")[0]) == 302
        assert token_of(address) not in server.log.read_text("utf-8")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_an_address_of_ipv6_and_a_given_token(tmp_path, monkeypatch):
    monkeypatch.setenv("LAFN_VIZ_TOKEN", "a-token-of-my-own")
    with app_server(tmp_path, "--host", "::1", "--port", "0") as server:
        assert server.address.startswith("http://[::1]:")
        log = server.log.read_text("utf-8")
        assert "It asks for the token in LAFN_VIZ_TOKEN." in log
        assert "a-token-of-my-own" not in log
        assert status(server.address) == 302
        nobody = f"{server.address}api/kernels/{NOBODY}"
        for sent, expected in (("a-token-of-my-own", 404), ("a-token-of-others", 403)):
            # The address may hold the token of a proxy.
            assert status(f"{nobody}?token=of-a-proxy", Authorization=f"token {sent}") == expected
        assert status(server.address, Host="evil.example") == 403

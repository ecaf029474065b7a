"""Where the servers listen, which names they answer, and who may read what they print."""

import io
import os
import socket
import stat

import pytest
from hypothesis import given, strategies as st

from lafn_viz.app.addresses import (
    Address,
    bind,
    choose_address,
    is_this_computer,
    others_can_read,
    write_private,
)

PART = st.text("abcxyz019-", min_size=1, max_size=8).filter(lambda text: text.strip("-"))


@given(st.lists(PART, max_size=3), st.booleans(), st.booleans())
def test_a_prefix_begins_and_ends_with_one_slash(parts, before, after):
    given = "/" * before + "/".join(parts) + "/" * after
    path = choose_address("127.0.0.1", 0, 8866, given, ()).base_url
    assert path == "/" + "".join(f"{part}/" for part in parts)


@pytest.mark.parametrize("path", ["/a b/", "/a?b", "a#b", '/"><script>', "/ü/"])
def test_what_is_no_path_gets_one_sentence(path):
    with pytest.raises(ValueError, match="is no path of an address; give one such as /lafn-viz/"):
        choose_address("127.0.0.1", 0, 8866, path, ())


@pytest.mark.parametrize("name", ["https://viz.example", "viz.example:80", "a b", "", "*", "a/b"])
def test_what_is_no_name_gets_one_sentence(name):
    with pytest.raises(ValueError, match="is no name of a host; give the name alone"):
        choose_address("127.0.0.1", 0, 8866, "/", [name])


@pytest.mark.parametrize("port", [":80", ""])
@pytest.mark.parametrize(
    ("name", "local", "allowed", "network", "network_allowed"),
    [
        ("localhost", True, True, True, True),
        ("127.0.0.1", True, True, True, True),
        ("127.8.9.1", True, True, True, True),
        ("[::1]", True, True, True, True),
        ("viz.example", False, True, True, True),
        ("VIZ.example", False, True, True, True),
        ("10.0.0.5", False, True, True, True),
        ("viz.example.evil", False, False, True, False),
        ("localhost.evil", False, False, True, False),
        ("127.0.0.1.evil", False, False, True, False),
        ("", False, False, True, False),
        (socket.gethostname(), False, False, True, True),
    ],
)
def test_hosts_that_are_answered(name, port, local, allowed, network, network_allowed):
    names = ["Viz.Example", "10.0.0.5"]
    given = [
        choose_address(host, 0, 8866, "/", hosts).answers(name + port)
        for host in ("127.0.0.1", "0.0.0.0")
        for hosts in ((), names)
    ]
    assert given == [local, allowed, network, network_allowed]


def test_origins_are_those_of_the_names_given_alone():
    import re

    origins = Address("127.0.0.1", 1, "/", ("viz.example", "::2")).origins
    for origin in ("https://viz.example", "http://viz.example:8443", "http://[::2]:80"):
        assert re.match(origins, origin)
    for origin in ("https://viz.example.evil", "https://vizxexample", "https://evil/viz.example"):
        assert not re.match(origins, origin)


def test_addresses_as_they_are_printed():
    assert Address("::1", 80, "/a/").url == "http://[::1]:80/a/"
    assert Address("0.0.0.0", 80).url == f"http://{socket.gethostname()}:80/"
    assert [is_this_computer(host) for host in ("::1", "127.3.2.1", "::", "10.0.0.1", "x")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_port_0_is_a_free_one():
    port = choose_address("127.0.0.1", 0, 8866, "/", ()).port
    assert port > 0
    assert bind("127.0.0.1", port) == port


def test_a_file_tells_whether_others_can_read_it(tmp_path):
    # The folders of the tests keep others out: this one stands for a whole path.
    cases = {(0o600, 0o755): False, (0o644, 0o700): False, (0o640, 0o700): False}
    for i, ((mode, folder_mode), readable) in enumerate(cases.items()):
        folder = tmp_path / str(i)
        folder.mkdir()
        file = folder / "log"
        file.touch()
        file.chmod(mode)
        folder.chmod(folder_mode)
        with file.open("w") as stream:
            assert others_can_read(stream) == readable


def test_pipes_are_the_callers_and_sockets_are_logs():
    ends = os.pipe()
    with os.fdopen(ends[0]), os.fdopen(ends[1], "w") as pipe:
        assert not others_can_read(pipe)
    assert not others_can_read(io.StringIO())
    first, second = socket.socketpair()
    with first, second, first.makefile("w") as journal:
        assert others_can_read(journal)


def test_a_private_file_is_private_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        path = write_private(tmp_path / "address", "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "secret"

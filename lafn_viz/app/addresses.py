"""Where a server listens, by which names it answers, and who may read its token."""

import errno
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and by which names it answers.

    Attributes:
        host: the address to listen on.
        port: the port to listen on.
        base_url: the path of the first page; begins and ends with a slash.
        allowed_hosts: names under which a proxy or a browser may ask, in lower case.
    """

    host: str
    port: int
    base_url: str = "/"
    allowed_hosts: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address of the first page, without a token."""
        everywhere = self.host in ("0.0.0.0", "::", "")
        name = socket.gethostname() if everywhere else _in_url(self.host)
        return f"http://{name}:{self.port}{self.base_url}"

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach it."""
        return is_this_computer(self.host)

    @property
    def answers_any_host(self) -> bool:
        """Whether every name is answered: on a network, unless names are given."""
        return not self.is_local and not self.allowed_hosts

    @property
    def origins(self) -> str:
        """Pattern of the pages that may open a connection, where a proxy hides its own name."""
        names = "|".join(re.escape(_in_url(name)) for name in self.allowed_hosts)
        return rf"https?://({names})(:\d+)?$"

    def answers(self, host: str) -> bool:
        """Whether a request for this `Host` (a name, perhaps with a port) is answered.

        Other names are refused, since a web page can give this computer a name of its own (DNS
        rebinding).
        """
        name = (urlsplit(f"//{host}").hostname or "").lower()
        own = () if self.is_local else (self.host.lower(), socket.gethostname().lower())
        return (
            self.answers_any_host or is_this_computer(name) or name in (*own, *self.allowed_hosts)
        )


def choose_address(
    host: str, port: int | None, usual: int, base_url: str, allow_hosts: Sequence[str]
) -> Address:
    """Return an address that is free to listen on.

    Args:
        host: the address to listen on.
        port: the port; None takes `usual` or, if that is taken, any free one, and 0 any free one.
        usual: the port that is tried first if none is given.
        base_url: the path of the first page.
        allow_hosts: further names to answer.

    Raises:
        ValueError: for a host, port, path or name that cannot be used.
    """
    path = f"/{base_url.strip('/')}/".replace("//", "/")
    if not re.fullmatch(r"[\w/.~@%+,:=-]+", path, re.ASCII):
        raise ValueError(f"{base_url!r} is no path of an address; give one such as /lafn-viz/")
    names = tuple(_host_name(name) for name in allow_hosts)
    return Address(host, free_port(host, port, usual), path, names)


def _host_name(given: str) -> str:
    name = given.lower().strip("[]")
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", name, re.ASCII) and not _is_ip(name):
        raise ValueError(
            f"{given!r} is no name of a host; give the name alone, without https:// and port, "
            "such as viz.example.org"
        )
    return name


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_this_computer(host: str) -> bool:
    """Whether a host is this computer's own, which no other computer can reach."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def free_port(host: str, port: int | None, usual: int) -> int:
    """Return the port to listen on: `port` if given, else the usual one, else any free one.

    Raises:
        ValueError: if the port given is invalid or cannot be used, or if the host is no address of
            this computer.
    """
    if port is not None and not 0 <= port < 65536:
        raise ValueError(f"{port} is no port; give one from 1 to 65535, or 0 for a free one")
    for candidate in (usual, 0) if port is None else (port,):
        try:
            return bind(host, candidate)
        except socket.gaierror:
            break
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                break
            if port is None:
                continue
            why = "is taken" if error.errno == errno.EADDRINUSE else "may not be used"
            raise ValueError(
                f"port {port} {why} ({error.strerror}); "
                "give another with --port, or 0 for a free one"
            ) from None
    raise ValueError(
        f"{host!r} is no address of this computer; "
        f"give {LOCAL} for this computer alone, or 0.0.0.0 for all its networks"
    )


def bind(host: str, port: int) -> int:
    """Bind a port for a moment and return it; 0 gives a free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as held:
        if os.name == "posix":
            # As the servers do: a port that was released a moment ago counts as free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        return int(held.getsockname()[1])


def others_can_read(stream: Any) -> bool:
    """Whether what is printed to a text stream ends in a log that other users may read.

    A terminal and a program that reads a pipe belong to the person who started the command; a file
    tells by its permissions, and those of its folders. All else counts as a log.
    """
    try:
        number = stream.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, ValueError, AttributeError):
        return False  # captured by a program
    if os.isatty(number) or stat.S_ISFIFO(mode):
        return False
    if stat.S_ISREG(mode) and not mode & 0o044:
        return False
    try:
        folders = Path(os.readlink(f"/proc/self/fd/{number}")).parents
        return all(folder.stat().st_mode & 0o011 for folder in folders)
    except OSError:
        return True


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner may read, and return its path."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path

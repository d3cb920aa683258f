"""Who the caller is: by the keys as they are now, closed where it is not plain that it may be open."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server.configuration.access import Auth
from server.errors import ApiError
from server.keys.book import KeyBook
from server.keys.file import KEYS_VARIABLE, KeyFile
from server.keys.ring import KeyRing, is_loopback
from ssvd_asr.errors import SsvdError
from tests.server.keys.making import make_key, make_private, revoke

LOCAL, EVERYWHERE = "127.0.0.1", "0.0.0.0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def refused(call: Callable[[], object], status: int, code: str) -> str:
    with pytest.raises(ApiError) as refusal:
        call()
    assert (refusal.value.status, refusal.value.code) == (status, code)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("auth", "host", "starts"),
    [
        ("auto", LOCAL, True), ("auto", "::1", True), ("auto", "localhost", True), ("off", LOCAL, True),
        ("auto", EVERYWHERE, False), ("auto", "::", False), ("auto", "192.0.2.1", False),
        ("auto", "ward.example.org", False), ("on", LOCAL, False), ("off", EVERYWHERE, True),
    ],
)  # fmt: skip
def test_without_keys_only_this_machine_or_who_says_so_gets_a_server(
    path: Path, auth: Auth, host: str, starts: bool
) -> None:
    if starts:
        assert KeyRing(path, auth, host).caller(None).name is None
        return
    with pytest.raises(SsvdError, match=r"holds no key.*`SSVD_KEYS=\S+ ssvd keys add NAME`.*=off") as refusal:
        KeyRing(path, auth, host)
    assert len(str(refusal.value).splitlines()) == 1


def test_the_command_that_is_told_adds_a_key_to_the_file_that_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, str(path))
    with pytest.raises(SsvdError, match="`ssvd keys add NAME`"):
        KeyRing(path, "on", LOCAL)
    with pytest.raises(SsvdError, match=r"`SSVD_KEYS=./the keys/of\.json. ssvd keys add NAME`"):
        KeyRing(Path("/the keys/of.json"), "on", LOCAL)  # as a file of --config may name it


@pytest.mark.parametrize("host", ["", "127.0.0.1.example.org", "0", "localhost.example.org"])
def test_what_is_not_plainly_this_machine_counts_as_reachable(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", [LOCAL, EVERYWHERE])
def test_with_keys_everyone_needs_one(path: Path, host: str) -> None:
    secret = make_key(path, "a")
    ring = KeyRing(path, "auto", host)
    assert ring.caller(secret).name == "a"
    for wrong in (None, "", "ssvd-wrong", secret[:-1], secret + "x", secret.upper(), "ü", "\udcff"):
        refused(lambda wrong=wrong: ring.caller(wrong), 401, "invalid_api_key")  # type: ignore[misc]


def test_changes_hold_with_the_next_request(path: Path) -> None:
    ring = KeyRing(path, "auto", LOCAL)
    assert ring.caller(None).name is None
    first = make_key(path, "first")
    refused(lambda: ring.caller(None), 401, "invalid_api_key")
    caller = ring.caller(first)
    second = make_key(path, "second")
    assert ring.caller(second).name == "second"
    make_private(path, "child")
    assert not ring.again(caller).may_use("child")
    revoke(path, "first")
    refused(lambda: ring.caller(first), 401, "invalid_api_key")
    assert "first" in refused(lambda: ring.again(caller), 401, "invalid_api_key")
    assert ring.caller(second).name == "second"


def test_once_keys_are_asked_for_the_loss_of_the_file_lets_nobody_in(path: Path) -> None:
    secret = make_key(path, "a")
    ring = KeyRing(path, "auto", LOCAL)
    path.unlink()
    for each in (None, secret):
        refused(lambda each=each: ring.caller(each), 401, "invalid_api_key")  # type: ignore[misc]
    revoked = make_key(path, "a")
    revoke(path, "a")
    refused(lambda: ring.caller(revoked), 401, "invalid_api_key")


def test_a_damaged_file_lets_nobody_in_until_it_is_whole(path: Path) -> None:
    secret = make_key(path, "a")
    ring = KeyRing(path, "auto", LOCAL)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    for _ in range(2):
        said = refused(lambda: ring.caller(secret), 503, "keys_unreadable")
        assert str(path) not in said
    path.write_bytes(whole)
    assert ring.caller(secret).name == "a"
    path.write_bytes(b"{")
    with pytest.raises(SsvdError, match="SSVD_KEYS"):
        KeyRing(path, "off", LOCAL)


def test_a_link_is_followed_as_kubernetes_mounts_secrets(path: Path) -> None:
    """A folder of one state of the secret, a link to it that is changed at once, and a link for the file."""
    folder = path.parent / "secret"
    states = [folder / "..1", folder / "..2"]
    secrets = []
    for state in states:
        secrets.append(make_key(state / "keys.json", "a"))
    (folder / "..data").symlink_to("..1")
    (folder / "keys.json").symlink_to("..data/keys.json")
    ring = KeyRing(folder / "keys.json", "auto", LOCAL)
    assert ring.caller(secrets[0]).name == "a"
    (folder / "..new").symlink_to("..2")
    (folder / "..new").rename(folder / "..data")
    assert ring.caller(secrets[1]).name == "a"
    refused(lambda: ring.caller(secrets[0]), 401, "invalid_api_key")
    make_key(folder / "keys.json", "b")
    assert (folder / "keys.json").is_symlink()
    (folder / "..data").unlink()
    refused(lambda: ring.caller(secrets[1]), 503, "keys_unreadable")
    with pytest.raises(SsvdError, match="a link to"):
        KeyRing(folder / "keys.json", "auto", LOCAL)


def test_a_request_from_elsewhere_needs_a_key_whatever_the_settings_name(path: Path) -> None:
    """As under `uvicorn --host 0.0.0.0`, which the settings do not know of."""
    ring = KeyRing(path, "auto", LOCAL)
    assert ring.caller(None, "127.0.0.1").name is None
    refused(lambda: ring.caller(None, "192.0.2.7"), 401, "invalid_api_key")


def test_a_key_is_over_when_it_expires(path: Path) -> None:
    over = datetime.now(UTC) - timedelta(seconds=1)
    secret = make_key(path, "a", expires=over)
    later = make_key(path, "b", expires=over + timedelta(days=1))
    ring = KeyRing(path, "auto", LOCAL)
    assert "expired" in refused(lambda: ring.caller(secret), 401, "invalid_api_key")
    assert ring.caller(later).name == "b"


@pytest.mark.parametrize(
    ("members", "used"),
    [
        ({}, ()), ({"domains": ("child",)}, ("child",)), ({"domains": ("*",)}, ("child", "ward")),
        ({"scope": "admin"}, ("child", "ward")),
    ],
)  # fmt: skip
def test_a_private_domain_is_there_for_keys_that_name_it(
    path: Path, members: dict[str, Any], used: tuple[str, ...]
) -> None:
    make_private(path, "child", "ward")
    ring_key = make_key(path, "a", **members)
    caller = KeyRing(path, "auto", LOCAL).caller(ring_key)
    assert caller.may_use("public")
    assert tuple(name for name in ("child", "ward") if caller.may_use(name)) == used


def test_who_needs_no_key_is_no_admin_and_sees_no_private_domain(path: Path) -> None:
    make_private(path, "child")
    secret = make_key(path, "a", scope="admin")
    for sent in (None, secret, "wrong"):
        caller = KeyRing(path, "off", EVERYWHERE).caller(sent)
        assert (caller.name, caller.scope, caller.may_use("child")) == (None, "transcribe", False)


@pytest.mark.parametrize("auth", ["off", "auto", "on"])
def test_the_loss_of_the_file_opens_no_private_domain(path: Path, auth: Auth) -> None:
    make_key(path, "clinic")
    make_private(path, "ward")
    ring = KeyRing(path, auth, LOCAL)
    path.unlink()
    assert ring.private == ("ward",)
    if auth == "off":
        assert not ring.caller(None).may_use("ward")
    make_private(path, "other")  # a new file says anew what is private
    assert ring.private == ("other",)


@pytest.mark.parametrize("there", [True, False], ids=["goes", "comes"])
def test_a_file_that_goes_or_comes_after_the_first_look_opens_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    make_private(path, "ward")
    ring = KeyRing(path, "off", LOCAL)
    find, whole = KeyFile.find, path.read_bytes()
    path.unlink()
    if there:
        path.write_bytes(whole)
    looks = []

    def between(file: KeyFile) -> KeyBook | None:
        looks.append(file)
        if there:
            path.unlink()
        found = find(file)
        if not there:
            path.write_bytes(whole)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(KeyFile, "find", between)
        assert ring.private == ("ward",)
    assert len(looks) == 1
    assert ring.private == ("ward",)


def test_every_key_is_compared_in_constant_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [make_key(path, name) for name in "abc"]
    ring = KeyRing(path, "auto", LOCAL)
    compared: list[object] = []
    honest = hmac.compare_digest
    monkeypatch.setattr(
        "server.keys.book.hmac.compare_digest", lambda *both: compared.append(both) or honest(*both)
    )
    assert ring.caller(secrets[0]).name == "a"
    assert len(compared) == 3

"""Which cipher ssh is to use: the user's, else the one the processor is fast with."""

from __future__ import annotations

import pytest

from barman.host import ssh_cipher
from barman.host.ssh_cipher import cipher_options, parse_settings

FAST = "aes128-gcm@openssh.com"
USUAL = {"ciphers": f"chacha20-poly1305@openssh.com,aes128-ctr,{FAST}"}


@pytest.fixture
def aes(monkeypatch):
    monkeypatch.setattr(ssh_cipher, "_has_aes", lambda: True)


def test_settings_have_a_name_and_a_value_and_some_several():
    assert parse_settings("port 22\nidentityfile a b\nidentityfile c\nodd\n") == {
        "port": "22",
        "identityfile": "a b\nc",
    }


@pytest.mark.usefixtures("aes")
def test_the_fast_cipher_comes_first_and_the_others_stay():
    assert cipher_options(USUAL, USUAL) == ("-o", f"Ciphers={FAST},chacha20-poly1305@openssh.com,aes128-ctr")


@pytest.mark.usefixtures("aes")
@pytest.mark.parametrize(
    ("chosen", "default"),
    [
        ({"ciphers": "aes256-ctr"}, USUAL),
        ({}, USUAL),
        ({"ciphers": "aes128-ctr"}, {"ciphers": "aes128-ctr"}),
        ({"ciphers": f"{FAST},aes128-ctr"}, {"ciphers": f"{FAST},aes128-ctr"}),
    ],
    ids=["the user chose", "not told", "not known", "first already"],
)
def test_nothing_is_changed_where_there_is_nothing_to_gain(chosen, default):
    assert cipher_options(chosen, default) == ()


def test_without_aes_in_hardware_the_usual_one_is_faster(monkeypatch):
    monkeypatch.setattr(ssh_cipher, "_has_aes", lambda: False)
    assert cipher_options(USUAL, USUAL) == ()

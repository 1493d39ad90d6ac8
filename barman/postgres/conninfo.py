"""Connection strings of libpq, parsed, changed and written without ever showing a password. Pure.

Own parser, because the configuration is read by commands that must not load the driver. Source: PostgreSQL manual,
libpq, "Connection Strings" and "Parameter Key Words"; source code fe-connect.c (conninfo_parse, conninfo_uri_parse).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REDACTED = "*REDACTED*"

SECRET_KEYWORDS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})

KEYWORDS = SECRET_KEYWORDS | frozenset(
    {
        "application_name",
        "authtype",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "dbname",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "gsslib",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "oauth_client_id",
        "oauth_issuer",
        "oauth_scope",
        "options",
        "passfile",
        "port",
        "replication",
        "require_auth",
        "requirepeer",
        "requiressl",
        "service",
        "servicefile",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcertmode",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslkeylogfile",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
        "tty",
        "user",
    }
)

# A peer that vanished without a word is noticed after two minutes instead of two hours.
_TCP_LIMITS = {
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "120000",
}

_SPACE = " \t\n\v\f\r"
_URI_SCHEME = re.compile(r"postgres(?:ql)?://")
_NAME = re.compile(r"\s*([^=\s]*)\s*=\s*", re.ASCII)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_BARE = re.compile(r"(?:[^\s\\]|\\.?)*", re.DOTALL | re.ASCII)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_CREDENTIALS = re.compile(r"([^@/]*)@")
_ADDRESS = re.compile(
    r"(?P<hosts>{0}(?:,{0})*)(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?".format(
        r"(?:\[[^\]]+\]|(?!\[)[^:/?,]*)(?::[^/?,]*)?"
    ),
    re.DOTALL,
)
_PLAIN_VALUE = re.compile(r"[^\s'\\]+")
_SECRET_PAIR = re.compile(
    rf"({'|'.join(sorted(SECRET_KEYWORDS, reverse=True))})"
    rf"([ \t]*=(?![ \t]*{re.escape(REDACTED)}(?!\w))[ \t]*)"
    # A quote at its end belongs to the message that quotes the connection string.
    r"('(?:[^'\\]|\\.)*'?|(?:[^\s\\&]|\\.)*?(?=['\"][).,;:]*(?:\s|\Z)|[\s&]|\\?\Z))",
    re.IGNORECASE,
)
_SECRET_AUTHORITY = re.compile(r"(postgres(?:ql)?://[^\s/@:]*:)[^\s/]*@")


class Conninfo:
    """Connection parameters, immutable. str, repr and items() never show a secret; only reveal() does."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Mapping[str, str]) -> None:
        """parameters: libpq keywords and their values; ConfigError names those libpq does not know."""
        unknown = sorted(set(parameters) - KEYWORDS)
        if unknown:
            raise ConfigError(f"unknown connection parameter {unknown[0]!r}", hint="See libpq's parameter key words.")
        self._parameters = dict(sorted(parameters.items()))

    def __eq__(self, other: object) -> bool:
        """Equal if every parameter is, secrets included."""
        return isinstance(other, Conninfo) and self._parameters == other._parameters

    def __hash__(self) -> int:
        """Hash of the parameters."""
        return hash(tuple(self._parameters.items()))

    def __repr__(self) -> str:
        """Show the parameters with secrets masked."""
        return f"Conninfo({self.masked()!r})"

    def __str__(self) -> str:
        """Return masked()."""
        return self.masked()

    def __contains__(self, keyword: str) -> bool:
        """Whether the parameter is given."""
        return keyword in self._parameters

    def get(self, keyword: str) -> str | None:
        """Return the parameter's value, *REDACTED* for a secret one, None if it is not given."""
        return self._shown(keyword, self._parameters[keyword]) if keyword in self._parameters else None

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield keyword and value in keyword order, secrets as *REDACTED*."""
        return ((keyword, self._shown(keyword, value)) for keyword, value in self._parameters.items())

    def with_(self, **parameters: str | None) -> Conninfo:
        """Return a copy with these parameters set, or removed where the value is None."""
        merged = {**self._parameters, **{k: v for k, v in parameters.items() if v is not None}}
        return Conninfo({k: v for k, v in merged.items() if parameters.get(k, "") is not None})

    def with_defaults(self, **parameters: str) -> Conninfo:
        """Return a copy with these parameters set where this one leaves them open."""
        return Conninfo({**parameters, **self._parameters})

    def with_tcp_limits(self) -> Conninfo:
        """Return a copy that notices a dead network path within two minutes, unless this one says otherwise.

        Needs libpq 12 or later.
        """
        return self.with_defaults(**_TCP_LIMITS)

    def masked(self) -> str:
        """Return the string with every secret value replaced by *REDACTED*."""
        return _join(dict(self.items()))

    def to_dsn(self) -> str:
        """Return the string for a program's command line: sorted by keyword, quoted, without the password.

        The password travels in environment(), because everybody can read a command line. The other secrets have no
        environment variable in libpq and stay in the string.
        """
        return _join({k: v for k, v in self._parameters.items() if k != "password"})

    def environment(self) -> dict[str, str]:
        """Return the variables that a program given to_dsn() needs: PGPASSWORD if there is a password."""
        password = self._parameters.get("password")
        return {} if password is None else {"PGPASSWORD": password}

    def reveal(self) -> dict[str, str]:
        """Return all parameters with their secrets, for the driver and nobody else."""
        return dict(self._parameters)

    def scrub(self, text: str) -> str:
        """Return text, say a message of libpq, without this connection's secrets and anything that looks like one.

        A secret that equals a parameter everybody may see (password barman for user barman) is left standing.
        """
        public = {value for keyword, value in self._parameters.items() if keyword not in SECRET_KEYWORDS}
        text = mask_secrets(text)
        for keyword in SECRET_KEYWORDS & self._parameters.keys():
            value = self._parameters[keyword]
            if value and value not in public:
                text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", REDACTED, text)
        return text

    @staticmethod
    def _shown(keyword: str, value: str) -> str:
        return REDACTED if keyword in SECRET_KEYWORDS else value


def parse_conninfo(text: str) -> Conninfo:
    """Return the parameters of a libpq connection string, key=value pairs or a URI; of equal keywords the last counts.

    Raises ConfigError, whose message names a keyword or a position but never repeats a value.
    """
    scheme = _URI_SCHEME.match(text)
    return Conninfo(_parse_uri(text[scheme.end() :]) if scheme else _parse_pairs(text))


def streaming_conninfo(conninfo: Conninfo | str, application_name: str) -> Conninfo:
    """Return conninfo as needed for physical replication under this application name."""
    conninfo = parse_conninfo(conninfo) if isinstance(conninfo, str) else conninfo
    return conninfo.with_(
        dbname="replication", replication="true", options="-cdatestyle=iso", application_name=application_name
    )


def mask_secrets(text: str) -> str:
    """Return any text with password=… pairs and URI passwords in it replaced by *REDACTED*."""
    if "=" not in text and "://" not in text:
        return text
    text = _SECRET_AUTHORITY.sub(rf"\1{REDACTED}@", text)
    return _SECRET_PAIR.sub(rf"\1\2{REDACTED}", text)


def _parse_pairs(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while text[position:].strip(_SPACE):
        name = _NAME.match(text, position)
        if name is None:
            raise ConfigError(f'invalid connection string: no "=" after character {position}')
        quoted = text.startswith("'", name.end())
        value = (_QUOTED if quoted else _BARE).match(text, name.end())
        if value is None:
            raise ConfigError(f"invalid connection string: unterminated quote in the value of {name[1]!r}")
        parameters[name[1]] = _ESCAPE.sub(r"\1", value[1] if quoted else value[0])
        position = value.end()
    return parameters


def _parse_uri(rest: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    credentials = _CREDENTIALS.match(rest)
    if credentials is not None:
        user, _, password = credentials[1].partition(":")
        parameters.update({"user": _decode(user)} if user else {})
        parameters.update({"password": _decode(password)} if password else {})
        rest = rest[credentials.end() :]
    addresses, dbname, query = _split_address(rest)
    hosts, ports = zip(*map(_host_and_port, addresses.split(",")), strict=True)
    found = {"host": ",".join(hosts), "port": ",".join(ports), "dbname": dbname}
    parameters.update({keyword: _decode(value) for keyword, value in found.items() if value})
    for pair in query.removesuffix("&").split("&") if query else []:
        keyword, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise ConfigError(f"invalid connection URI: parameter {_decode(keyword)!r} is not of the form key=value")
        parameters.update([_uri_parameter(_decode(keyword), _decode(value))])
    return parameters


def _split_address(rest: str) -> tuple[str, str, str]:
    match = _ADDRESS.fullmatch(rest)
    if match is None:
        raise ConfigError("invalid connection URI: malformed IPv6 address")
    return match["hosts"], match["dbname"] or "", match["query"] or ""


def _uri_parameter(keyword: str, value: str) -> tuple[str, str]:
    # JDBC's spelling, which libpq accepts in URIs.
    return ("sslmode", "require") if (keyword, value) == ("ssl", "true") else (keyword, value)


def _host_and_port(address: str) -> tuple[str, str]:
    if address.startswith("["):
        host, _, port = address[1:].partition("]")
        return host, port[1:]
    host, _, port = address.partition(":")
    return host, port


def _decode(text: str) -> str:
    from urllib.parse import unquote_to_bytes

    text = text.strip(" ")
    if " " in text:
        raise ConfigError("invalid connection URI: a space inside must be written %20")
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        raise ConfigError("invalid connection URI: malformed percent-encoding")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ConfigError("invalid connection URI: percent-encoding is not UTF-8") from None


def _join(parameters: Mapping[str, str]) -> str:
    return " ".join(f"{keyword}={_quote(value)}" for keyword, value in parameters.items())


def _quote(value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return value
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"

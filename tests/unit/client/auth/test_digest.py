"""DigestAuth: the RFCs' vectors, a server that checks every proof, and state that stays where it is."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any

import pytest

from turbosock import limits
from turbosock.client.auth import AuthRequest, digest
from turbosock.client.auth.challenges import parse_challenges
from turbosock.client.auth.digest import DigestAuth
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.headers import HeaderList

ORIGIN = ("http", "host", 80)
USER, PASSWORD = "Mufasa", "Circle of Life"


def request(
    target: str = "/a?b",
    method: str = "GET",
    body: Any = b"",
    origin: tuple[str, str, int] = ORIGIN,
) -> AuthRequest:
    return AuthRequest(origin, method, target, body)


def challenge(*values: str) -> HeaderList:
    return HeaderList([("WWW-Authenticate", value) for value in values])


def offer(nonce: str = "n", **more: str) -> str:
    fields = {"realm": '"r"', "nonce": f'"{nonce}"', "qop": '"auth"', **more}
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items() if value)


def fields_of(value: str | None) -> dict[str, str]:
    assert value is not None
    (found,) = parse_challenges([value])
    assert found.scheme == "digest"
    return found.parameters


def answer(auth: DigestAuth, *offers: str, of: AuthRequest | None = None) -> str | None:
    return auth.answer(of if of is not None else request(), 401, challenge(*offers))


# Vectors


def fix_cnonce(monkeypatch: pytest.MonkeyPatch, cnonce: str) -> None:
    monkeypatch.setattr(digest, "token_urlsafe", lambda nbytes: cnonce)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_answers_as_rfc_7616_section_3_9_1(
    monkeypatch: pytest.MonkeyPatch, algorithm: str, response: str
) -> None:
    fix_cnonce(monkeypatch, "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    opaque = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    found = fields_of(
        answer(
            DigestAuth(USER, PASSWORD),
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{nonce}",'
            f' opaque="{opaque}"',
            of=request("/dir/index.html"),
        )
    )
    assert found == {
        "username": USER,
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": nonce,
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
        "response": response,
        "opaque": opaque,
    }


needs_sha_512_256 = pytest.mark.skipif(
    "sha512_256" not in hashlib.algorithms_available, reason="this interpreter's OpenSSL has no SHA-512/256"
)


@needs_sha_512_256
def test_digest_answers_as_rfc_7616_section_3_9_2_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    # The RFC prints SHA-512 cut to 256 bits, which is another function than the SHA-512/256 it asks for (errata 4897).
    fix_cnonce(monkeypatch, "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v")
    nonce = "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK"
    found = fields_of(
        answer(
            DigestAuth("J\xe4s\xf8n Doe", "Secret, or not?"),
            f'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="{nonce}",'
            ' opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true',
            of=request("/doe.json"),
        )
    )
    assert found["username"] == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    assert found["userhash"] == "true"
    assert found["response"] == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"


def test_digest_answers_as_rfc_2617_section_3_5(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_cnonce(monkeypatch, "0a4f113b")
    found = fields_of(
        answer(
            DigestAuth("Mufasa", "Circle Of Life"),
            'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",'
            ' opaque="5ccc069c403ebaf9f0171e9517f40e41"',
            of=request("/dir/index.html"),
        )
    )
    assert found["response"] == "6629fae49393a05397450978507c4ef1"
    # An algorithm that was not named is not named back.
    assert "algorithm" not in found


# A server that knows the password


class Server:
    """Recomputes proofs from the fields as sent, and takes each pair of nonce and count once."""

    def __init__(self, user: str = USER, password: str = PASSWORD) -> None:
        self.user, self.password = user.encode(), password.encode()
        self.used: set[tuple[str, str]] = set()
        self.session_keys: dict[str, str] = {}

    def accepts(self, value: str | None, of: AuthRequest) -> bool:
        found = fields_of(value)
        name = found.get("algorithm", "MD5").upper()
        hash_name = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[name.removesuffix("-SESS")]

        def h(data: bytes) -> bytes:
            return hashlib.new(hash_name, data).hexdigest().encode()

        fields = {key: text.encode("latin-1") for key, text in found.items()}
        a1 = h(b":".join([self.user, fields["realm"], self.password]))
        if name.endswith("-SESS"):
            # The key of a session is made from the first nonce that its cnonce came with.
            key = self.session_keys.setdefault(found["cnonce"], found["nonce"])
            a1 = h(b":".join([a1, key.encode("latin-1"), fields["cnonce"]]))
        a2 = f"{of.method}:{of.target}".encode()
        if found.get("qop") == "auth-int":
            a2 += b":" + h(bytes(of.body or b""))
        middle = [fields["nonce"]]
        if "qop" in found:
            middle += [fields["nc"], fields["cnonce"], fields["qop"]]
        pair = (found["nonce"], found.get("nc", str(len(self.used))))
        if pair in self.used or found["uri"] != of.target:
            return False
        self.used.add(pair)
        return found["response"].encode() == h(b":".join([a1, *middle, h(a2)]))


@pytest.mark.parametrize("session", ["", "-sess"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", pytest.param("SHA-512-256", marks=needs_sha_512_256)])
@pytest.mark.parametrize("qop", ["auth", "auth-int", "auth-int , auth"])
@pytest.mark.parametrize("body", [b"", bytearray(b"some"), memoryview(b"body")])
def test_digest_proof_is_accepted_and_goes_on(algorithm: str, session: str, qop: str, body: Any) -> None:
    server, auth = Server(), DigestAuth(USER, PASSWORD)
    one = request(method="POST", body=body)
    assert auth.authorize(one) is None
    assert server.accepts(answer(auth, offer(algorithm=algorithm + session, qop=f'"{qop}"'), of=one), one)
    auth.note(one, HeaderList([("Authentication-Info", 'nextnonce="next"')]))
    for count, target in ((1, "/a"), (2, "/b?c")):
        other = request(target, body=body)
        value = auth.authorize(other)
        assert server.accepts(value, other)
        assert (fields_of(value)["nonce"], fields_of(value)["nc"]) == ("next", f"{count:08x}")


def test_digest_without_qop_answers_as_rfc_2069() -> None:
    one = request()
    value = answer(DigestAuth(USER, PASSWORD), offer(qop=""), of=one)
    assert Server().accepts(value, one)
    assert not {"qop", "nc", "cnonce"} & fields_of(value).keys()


@pytest.mark.parametrize(
    "unfit",
    [
        offer(algorithm="SHA-256", qop=""),
        offer(algorithm="MD5-sess", qop=""),
        offer(algorithm="SHA-1"),
        offer(algorithm="-sess"),
        offer(algorithm='""'),
        offer(qop='"other"'),
        offer(qop='""'),
        offer(realm=""),
        offer(nonce=""),
        'Digest realm="r", qop="auth"',
        offer() + ", nonce=again",
        offer()[:-1],
        "Digest",
        'Basic realm="r"',
    ],
)
def test_digest_challenge_that_cannot_be_answered_is_given_up(unfit: str) -> None:
    auth = DigestAuth(USER, PASSWORD)
    assert answer(auth, unfit) is None
    assert auth.authorize(request()) is None


@needs_sha_512_256
def test_digest_of_several_challenges_answers_the_strongest() -> None:
    weak, strong, best = (offer(algorithm=name) for name in ("MD5", "SHA-256", "SHA-512-256"))
    auth = DigestAuth(USER, PASSWORD)
    assert fields_of(answer(auth, weak, best, strong))["algorithm"] == "SHA-512-256"
    assert (
        fields_of(answer(auth, f'Basic realm="x", {weak}, {strong}, {offer(algorithm="NEW")}'))["algorithm"]
        == "SHA-256"
    )
    # The server's order decides between equals.
    equals = [offer(algorithm=name, realm=f'"{realm}"') for name, realm in (("MD5-sess", "a"), ("MD5", "b"))]
    assert fields_of(answer(auth, *equals))["realm"] == "a"


def test_digest_auth_int_alone_needs_the_body() -> None:
    auth = DigestAuth(USER, PASSWORD)
    assert answer(auth, offer(qop='"auth-int"'), of=request(body=None)) is None
    assert answer(auth, offer(qop='"auth-int"')) is not None
    # What is remembered is not used for a request whose body is not known either.
    assert auth.authorize(request(body=None)) is None
    assert fields_of(answer(auth, offer(qop='"auth, auth-int"'), of=request(body=None)))["qop"] == "auth"


def test_digest_quoted_strings_come_back_as_they_were() -> None:
    realm, opaque = 'a "quoted\\" r\xe9alm', "o\\p"
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"') for text in (realm, opaque)]
    one = request('/"q"')
    value = answer(DigestAuth('us"er\\', PASSWORD), offer(realm=f'"{escaped[0]}"', opaque=f'"{escaped[1]}"'), of=one)
    found = fields_of(value)
    assert (found["realm"], found["opaque"], found["username"], found["uri"]) == (realm, opaque, 'us"er\\', '/"q"')
    assert Server('us"er\\').accepts(value, one)


def test_digest_user_beyond_ascii_is_written_as_the_server_can_read_it() -> None:
    auth, one = DigestAuth("J\xe4s\xf8n", PASSWORD), request()
    value = answer(auth, offer(charset="UTF-8"), of=one)
    assert value is not None and "username*=UTF-8''J%C3%A4s%C3%B8n," in value and "username=" not in value
    found = fields_of(answer(auth, offer("other"), of=request()))
    assert found["username"].encode("latin-1") == "J\xe4s\xf8n".encode()
    assert Server("J\xe4s\xf8n").accepts(value, one)


# Going on and giving up


def test_digest_wrong_password_is_given_up_and_forgotten() -> None:
    auth, one = DigestAuth(USER, "wrong"), request()
    assert answer(auth, offer("1"), of=one) is not None
    assert answer(auth, offer("2"), of=one) is None
    assert auth.authorize(request()) is None


def test_digest_stale_nonce_is_replaced_within_the_request() -> None:
    auth, server, one = DigestAuth(USER, PASSWORD), Server(), request()
    assert server.accepts(answer(auth, offer("1"), of=one), one)
    assert server.accepts(answer(auth, offer("2", stale="TRUE"), of=one), one)
    # The same nonce, stale or not, cannot come out differently.
    assert answer(auth, offer("2", stale="true"), of=one) is None


def test_digest_state_out_of_date_gets_one_more_attempt() -> None:
    auth, server = DigestAuth(USER, PASSWORD), Server()
    answer(auth, offer("1"))
    one = request()
    assert auth.authorize(one) is not None
    # The server was started anew: another nonce, and not a word of stale.
    assert server.accepts(answer(auth, offer("2", realm='"new"'), of=one), one)
    assert answer(auth, offer("3", realm='"new"'), of=one) is None


def test_digest_refused_with_the_same_nonce_is_given_up() -> None:
    auth = DigestAuth(USER, PASSWORD)
    answer(auth, offer("1"))
    one = request()
    auth.authorize(one)
    assert answer(auth, offer("1"), of=one) is None
    assert auth.authorize(request()) is None


def test_digest_next_nonce_of_an_overtaken_answer_is_not_taken() -> None:
    auth = DigestAuth(USER, PASSWORD)
    answer(auth, offer("1"))
    slow, fast = request(), request()
    auth.authorize(slow)
    auth.authorize(fast)
    auth.note(fast, HeaderList([("Authentication-Info", 'nextnonce="2"')]))
    auth.note(slow, HeaderList([("Authentication-Info", 'nextnonce="old"')]))
    assert fields_of(auth.authorize(request()))["nonce"] == "2"


@pytest.mark.parametrize(
    "info", ["", "nextnonce=", 'nextnonce=""', 'nextnonce="a', "qop=auth", "nextnonce=a, nextnonce=b"]
)
def test_digest_next_nonce_that_is_none_changes_nothing(info: str) -> None:
    auth, one = DigestAuth(USER, PASSWORD), request()
    auth.note(one, HeaderList([("Authentication-Info", 'nextnonce="x"')]))
    answer(auth, offer("1"), of=one)
    auth.note(one, HeaderList([("Authentication-Info", info)] if info else []))
    found = fields_of(auth.authorize(request()))
    assert (found["nonce"], found["nc"]) == ("1", "00000002")


# Origins, threads, forks


@pytest.mark.parametrize(
    "other", [("https", "host", 80), ("http", "other", 80), ("http", "host", 81), ("http", "host.", 80)]
)
def test_digest_state_stays_with_its_origin(other: tuple[str, str, int]) -> None:
    auth = DigestAuth(USER, PASSWORD)
    answer(auth, offer("1"))
    assert auth.authorize(request()) is not None
    assert auth.authorize(request(origin=other)) is None
    # A nonce that another origin repeats is counted there from the beginning.
    assert fields_of(answer(auth, offer("1"), of=request(origin=other)))["nc"] == "00000001"


def test_digest_remembers_so_many_origins_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ORIGINS", 3)
    auth = DigestAuth(USER, PASSWORD)
    origins = [("http", f"host{number}", 80) for number in range(4)]
    for origin in origins[:3]:
        answer(auth, offer(), of=request(origin=origin))
    auth.authorize(request(origin=origins[0]))
    answer(auth, offer(), of=request(origin=origins[3]))
    assert [auth.authorize(request(origin=origin)) is not None for origin in origins] == [True, False, True, True]


def test_digest_count_is_given_once_to_each_of_many_threads() -> None:
    auth, counts = DigestAuth(USER, PASSWORD), []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for number in range(50):
            # Some find the state, and some are challenged with the same nonce at once.
            one = request()
            value = auth.authorize(one) if number % 2 else None
            counts.append(fields_of(value if value is not None else answer(auth, offer("1"), of=one))["nc"])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [f"{count:08x}" for count in range(1, 401)]


def test_digest_nonce_used_up_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_MAX_COUNT", 2)
    auth = DigestAuth(USER, PASSWORD)
    answer(auth, offer("1"))
    assert fields_of(auth.authorize(request()))["nc"] == "00000002"
    assert auth.authorize(request()) is None


def test_digest_client_nonces_are_not_repeated() -> None:
    auth = DigestAuth(USER, PASSWORD)
    answer(auth, offer("1"))
    cnonces = {fields_of(auth.authorize(request()))["cnonce"] for _ in range(100)}
    assert len(cnonces) == 100
    assert min(map(len, cnonces)) >= 32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_digest_child_of_a_fork_starts_anew_whoever_held_the_lock() -> None:
    auth = DigestAuth(USER, PASSWORD)
    answer(auth, offer("1"))
    with auth._lock:
        child = os.fork()
        if child == 0:
            works = auth.authorize(request()) is None and answer(auth, offer("2")) is not None
            os._exit(0 if works else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert auth.authorize(request()) is not None


# What is refused and what is not shown


@pytest.mark.parametrize(
    ("user", "password"),
    [("us\ner", "secret"), ("user\0", "secret"), ("user", "secret\ud800"), (b"user", "secret"), ("user", 5)],
)
def test_digest_credentials_that_cannot_be_used_are_refused_unseen(user: Any, password: Any) -> None:
    with pytest.raises(InvalidOption, match="auth") as caught:
        DigestAuth(user, password)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_digest_password_stands_in_no_repr_and_no_field() -> None:
    auth, one = DigestAuth(USER, PASSWORD), request()
    value = answer(auth, offer("1"), of=one)
    assert PASSWORD not in repr(auth) + repr(one) + str(value)

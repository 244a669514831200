"""Whom a limit counts for: nobody can choose their key, and no key grows."""

from ipaddress import IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.resilience.keys import PathTemplate, bounded_key, client_address, ip_key, trusted_proxies

NEAR = trusted_proxies(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:5011", "192.0.2.7"),
        (" 192.0.2.7\t", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:c000:0207]:80", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
        ("[2001:DB8:1:2::]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("[fe80::1%25eth0]:80", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_counts_without_what_does_not_tell_clients_apart(address, key):
    assert ip_key(address) == key


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "_hidden", "192.0.2", "192.0.2.256", "1.2.3.4%eth0", "[2001:db8::1", "2001:db8::1]", "1.2.3.4:", "[]",
     "1.2.3.4:http", "1.2.3.4:123456", "example.org", "1.2.3.4 5", "0x7f.1", "01.2.3.4", "1" * 10_000, "::1%" + "a" * 99],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError, match="is not an IP address"):
        ip_key(text)


@given(st.ip_addresses(network="2000::/3"), st.integers(3, 128))
@settings(max_examples=100)
def test_all_addresses_of_one_network_have_one_key(address, bits):
    network = IPv6Network((int(address) >> 128 - bits << 128 - bits, bits))
    assert ip_key(str(address), v6_prefix=bits) == str(network)
    assert ip_key(str(network[-1]), v6_prefix=bits) == str(network)


@pytest.mark.parametrize("bits", [0, 129, True, 64.0, "64"])
def test_a_prefix_that_is_none_is_refused(bits):
    with pytest.raises(InputError, match="v6_prefix is a whole number of bits from 1 to 128"):
        ip_key("::1", v6_prefix=bits)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        # A stranger's header is not read.
        ("203.0.113.9", "6.6.6.6", NEAR, "203.0.113.9"),
        ("10.0.0.1", "", NEAR, "10.0.0.1"),
        # From the right: what the client wrote before the proxy's own entry does not count.
        ("10.0.0.1", "192.0.2.7", NEAR, "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", NEAR, "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 10.9.9.9, 192.0.2.7, 10.0.0.2", NEAR, "192.0.2.7"),
        ("10.0.0.1", "garbage, , 192.0.2.7", NEAR, "192.0.2.7"),
        ("::ffff:10.0.0.1", "::ffff:192.0.2.7", NEAR, "192.0.2.7"),
        ("fd00::1%eth0", "[2001:db8::7]:4711", NEAR, "2001:db8::7"),
        # All of them are ours: the one furthest away.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", NEAR, "10.0.0.3"),
        # What counts is no address.
        ("10.0.0.1", "192.0.2.7, unknown", NEAR, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7, ", NEAR, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7, unknown, 10.0.0.2", NEAR, "10.0.0.1"),
        # A number of proxies.
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", 1, "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", 2, "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7", 2, "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", 0, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7, unknown", 1, "10.0.0.1"),
        (None, "192.0.2.7", 1, "192.0.2.7"),
        (None, "192.0.2.7", NEAR, None),
        ("testclient", "192.0.2.7", NEAR, "testclient"),
    ],
)
def test_the_client_is_whom_the_trusted_saw(peer, forwarded, trusted, client):
    assert client_address(peer, forwarded, trusted=trusted) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
        ("proto=https; for=192.0.2.7 ;by=_x", "192.0.2.7"),
        ('for="192.0.2.7:4711"', "192.0.2.7"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for=6.6.6.6;host="a, for=6.6.6.7", for=192.0.2.7', "192.0.2.7"),
        (r'for=6.6.6.6;host="\", for=6.6.6.7", for=192.0.2.7', "192.0.2.7"),
        (r'for="192.0.2.\7"', "192.0.2.7"),
        ('for="[2001:db8::7]:_port"', "2001:db8::7"),
        # Malformed, or nobody: the peer.
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden", "10.0.0.1"),
        ("by=10.0.0.1", "10.0.0.1"),
        ("for=2001:db8::7", "10.0.0.1"),
        ('for="192.0.2.7', "10.0.0.1"),
        ("192.0.2.7", "10.0.0.1"),
        ("for=192.0.2.7 192.0.2.8", "10.0.0.1"),
        ("for=192.0.2.7\n", "10.0.0.1"),
        ("\n", "10.0.0.1"),
    ],
)
def test_forwarded_is_read_as_its_rfc_writes_it(forwarded, client):
    assert client_address("10.0.0.1", forwarded, trusted=1, header="forwarded") == client
    assert client_address("10.0.0.1", forwarded, trusted=NEAR, header="forwarded") == client


@given(st.text(max_size=60), st.sampled_from(["x-forwarded-for", "forwarded"]), st.sampled_from([0, 1, 3, NEAR]))
@settings(max_examples=100)
def test_no_header_makes_an_error_or_another_thing_than_an_address(forged, header, trusted):
    client = client_address("10.0.0.1", forged, trusted=trusted, header=header)
    assert client == str(ip_address(client))


@given(st.text(max_size=40).filter(lambda text: '"' not in text and "\\" not in text))
@settings(max_examples=100)
def test_what_the_client_writes_does_not_move_the_address_that_its_proxy_saw(forged):
    assert client_address("10.0.0.1", f"{forged}, 192.0.2.7", trusted=NEAR) == "192.0.2.7"
    assert client_address("10.0.0.1", f"{forged}, 192.0.2.7", trusted=1) == "192.0.2.7"


@pytest.mark.parametrize(
    "trusted", [-1, 33, True, 1.5, "10.0.0.0/8", ["10.0.0.0/33"], ["10.0.0.1/8"], ["proxy"], b"10.0.0.0/8", None]
)
def test_trusted_proxies_that_cannot_be_meant_are_refused(trusted):
    with pytest.raises(InputError, match=r"10\.0\.0\.0/8|the number of proxies"):
        trusted_proxies(trusted)


@pytest.mark.parametrize("text", ["", "u:42", "x" * 128, "é" * 64, "\ud800" * 42])
def test_a_key_of_128_bytes_is_kept(text):
    assert bounded_key(text) == text


@pytest.mark.parametrize("text", ["x" * 129, "é" * 65, "\ud800" * 43, "x" * 1_000_000])
def test_a_longer_key_becomes_a_digest(text):
    assert bounded_key(text).startswith("blake2b:")
    assert len(bounded_key(text)) == 40
    assert bounded_key(text) == bounded_key(text) != bounded_key(text + "x")


@pytest.mark.parametrize(
    ("template", "paths", "others"),
    [
        ("/", ["", "/"], ["//", "/a"]),
        ("/login", ["/login", "/login/"], ["/login2", "/Login", "/login/x", "/login//", "login", "/login\n"]),
        ("/login/", ["/login", "/login/"], ["/logins"]),
        ("/users/{id}", ["/users/42", "/users/42/", "/users/ä b\n"], ["/users", "/users/", "/users/4/2"]),
        ("/users/{id}/keys", ["/users/42/keys"], ["/users//keys", "/users/4/2/keys"]),
        ("/v{number}.json", ["/v1.json"], ["/v.json", "/v1xjson"]),
        ("/{rest:path}", ["", "/", "/a", "/a/b/", "//", "/a\n/b"], ["a"]),
        ("/files/{rest:path}", ["/files", "/files/", "/files/a/b"], ["/filesa"]),
        ("/files/{rest:path}/raw", ["/files/a/b/raw", "/files/a/raw/"], ["/files/raw", "/files/a/b"]),
        ("/a.b+c(d)", ["/a.b+c(d)"], ["/aXb+c(d)"]),
    ],
)
def test_a_template_fits_its_paths_and_no_others(template, paths, others):
    fits = PathTemplate(template).matches
    assert [path for path in paths if not fits(path)] == []
    assert [path for path in others if fits(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "users",
        "/{}",
        "/{id",
        "/id}",
        "/{id}/{id}",
        "/{a}{b}",
        "/{a}-{b}",
        "/{a:path}/{b:path}",
        "/{a:int}",
        "/{1}",
        "/<id>",
        "/:id",
        "/login/*",
        "/login?next=x",
        5,
    ],
)
def test_what_is_no_template_is_refused(text):
    with pytest.raises(InputError, match=r"path template"):
        PathTemplate(text)


def test_no_path_takes_long_to_match():
    """With a quadratic pattern this would not come to an end."""
    fits = PathTemplate("/a/{first}/x{second}y/{rest:path}/{last}/z").matches
    paths = ["/a/" + "x" * 500_000, "/a/b/x" + "y" * 500_000, "/a/b/xxy" + "/z" * 250_000, "/a/b/xxy/" + "/" * 500_000]
    assert [bool(fits(path)) for path in paths] == [False, False, True, False]

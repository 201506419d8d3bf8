"""Who may see a page and press its buttons: whoever holds the printed link, in a browser that is on that very page."""

import re
import socket
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from refusals import refuses
from watched import browser, visited

from cmrfed.config import UserError
from cmrfed.watching.pages import content_policy
from cmrfed.watching.web import Page, application, is_loopback, serve

PRESSED = []
"""The forms of the buttons that were pressed."""


def fail(_):
    raise UserError("it cannot be done")


def page(**changes):
    values = {
        "title": "a page",
        "shown": {"": lambda visit: f"shown; secret={visit.form_secret};", "more": lambda visit: visit.fields["name"]},
        "failed": lambda reason: f"failed: {reason}",
        "content_policy": content_policy(),
        "buttons": {"press": PRESSED.append, "fail": fail},
    }
    return Page(**(values | changes))


@pytest.fixture(scope="module")
def link():
    return visited(page())


@pytest.fixture
def client(link):
    PRESSED.clear()
    return browser(link)


def form(client):
    """What a browser sends when a button is pressed, and its headers."""
    secret = re.search(r"secret=(.*?);", client.get("").text)[1]
    parts = urlsplit(str(client.base_url))
    return {"secret": secret, "why": "so"}, {"origin": f"{parts.scheme}://{parts.netloc}"}


def get(url, **headers):
    return httpx.get(url, headers=headers, trust_env=False)


def test_the_link_opens_the_page_and_the_cookie_keeps_it_open(client):
    assert client.get("").text.startswith("shown")
    assert client.get("more", params={"name": "x"}).text == "x"


def test_without_the_link_nothing_is_shown_and_a_wrong_one_is_none(link):
    parts = urlsplit(link)
    bare, token = f"http://{parts.netloc}{parts.path}", parse_qs(parts.query)["token"][0]
    assert len(token) >= 43
    for url in (bare, f"{bare}?token=", f"{bare}?token={token[:-1]}", f"{bare}?token={token}x", f"{bare}more?name=x"):
        answer = get(url)
        assert answer.status_code == 403 and "shown" not in answer.text and "set-cookie" not in answer.headers
    assert get(f"http://{parts.netloc}/?token=wrong").status_code == 403
    assert get(bare, cookie=f"cmrfed={token}").status_code == 403, "the token is not the cookie"


def test_the_cookie_is_kept_from_scripts_other_sites_and_other_ports(link):
    cookie = get(link).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert f"path={urlsplit(link).path.lower()}" in cookie and len(urlsplit(link).path) > 10


def test_every_start_has_secrets_of_its_own(link):
    other = visited(page())
    assert urlsplit(other).path != urlsplit(link).path and urlsplit(other).query != urlsplit(link).query
    assert get(f"http://{urlsplit(other).netloc}{urlsplit(other).path}?{urlsplit(link).query}").status_code == 403


def test_a_button_does_what_it_says_and_leads_back(client):
    data, headers = form(client)
    answer = client.post("press", data=data, headers=headers, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, urlsplit(str(client.base_url)).path)
    assert [one["why"] for one in PRESSED] == ["so"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_button_on_another_page_does_nothing(client, headers):
    data, own = form(client)
    sent = own | headers if "sec-fetch-site" in headers else headers
    assert client.post("press", data=data, headers=sent).status_code == 403
    assert PRESSED == []


@pytest.mark.parametrize("secret", ["", "x", "session", "ä"])
def test_a_form_without_the_pages_secret_does_nothing(client, secret):
    data, headers = form(client)
    value = client.cookies["cmrfed"] if secret == "session" else secret
    assert client.post("press", data=data | {"secret": value}, headers=headers).status_code == 403
    assert PRESSED == []


def test_a_press_needs_the_cookie_too(client):
    data, headers = form(client)
    url = f"{client.base_url}press"
    assert httpx.post(url, data=data, headers=headers, trust_env=False).status_code == 403
    assert PRESSED == []


@pytest.mark.parametrize("body", [b"x" * 10_001, b"", b"{}", b"&" * 5000, b"\xff" * 100])
def test_what_is_no_form_of_ours_does_nothing(client, body):
    _, headers = form(client)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("press", content=body, headers=headers | kind).status_code == 403
    assert client.post("press", json={"secret": "x"}, headers=headers).status_code == 403
    assert PRESSED == []


def test_a_button_is_no_link(client):
    assert client.get("press").status_code == 405 and PRESSED == []


def test_what_cannot_be_done_is_said(client):
    data, headers = form(client)
    answer = client.post("fail", data=data, headers=headers)
    assert (answer.status_code, answer.text) == (409, "failed: it cannot be done")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.1", "[::"])
def test_a_name_that_somebody_pointed_here_is_refused(link, host):
    """DNS rebinding: the browser thinks it speaks to its own site."""
    assert get(link, host=host).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9000", "[::1]:8081"])
def test_this_machines_own_names_are_ours_also_through_a_tunnel(link, host):
    assert get(link, host=host).status_code == 303


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_else_is_a_request(client, method):
    assert client.request(method, "").status_code == 405


def test_no_other_origin_may_read_embed_or_load_anything(client, link):
    for answer in (client.get("", headers={"origin": "http://evil.example"}), get(link), client.get("nowhere")):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff" and "server" not in answer.headers


def test_a_page_without_buttons_takes_no_press_and_one_with_buttons_is_never_without_secrets():
    read_only = visited(page(buttons={}), secret=False)
    assert httpx.post(f"{read_only}press", trust_env=False).status_code in (403, 404)
    with pytest.raises(ValueError, match="secrets"):
        application(page(), "127.0.0.1", None)


def test_it_listens_where_it_is_told_and_nowhere_else(link):
    own, port = socket.gethostbyname(socket.gethostname()), urlsplit(link).port
    if is_loopback(own):
        pytest.skip("this machine has no other address by its own name")
    with pytest.raises(OSError):
        socket.create_connection((own, port), timeout=2).close()


def test_beyond_loopback_it_is_known_by_its_address_and_by_no_strange_name():
    told = visited(page(), address="0.0.0.0").replace("0.0.0.0", "127.0.0.1")
    assert get(told, host="192.0.2.7:8080").status_code == 303
    assert get(told, host="evil.example").status_code == 421
    assert get(told.partition("?")[0]).status_code == 403


def test_an_address_that_is_taken_or_none_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken, refuses("port, address", "cannot be listened at"):
        serve(page(), "127.0.0.1", taken.getsockname()[1], True, print)
    with refuses("port, address: no.such.name.invalid"):
        serve(page(), "no.such.name.invalid", 0, True, print)


@pytest.mark.parametrize(
    ("address", "near"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.1.2.3", False), ("fed.example.org", False)],
)  # fmt: skip
def test_loopback_is_what_nobody_reaches_from_elsewhere(address, near):
    assert is_loopback(address) is near

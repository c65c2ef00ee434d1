"""The labs below a path of a site, behind Debian's nginx with the file that we recommend."""

import gzip
import http.client
import json
import os
import re
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from conftest import HERE, free_port, running, tool
from visitor import ADDRESS, Visit, expect

pytestmark = pytest.mark.browser

SITE = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text("utf-8")
MAIN = """
daemon off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    """Call it with gdviz's port, and with what is to be another way in the file."""
    with ExitStack() as stack:

        def start(behind, **changes):
            folder, port = tmp_path_factory.mktemp("nginx"), free_port()
            site = SITE
            for old, new in {
                "listen 80;": f"listen {HERE}:{port};",
                "127.0.0.1:8866": f"{HERE}:{behind}",
                "/var/cache/nginx-gdviz": str(folder / "cache"),
                "server_name labs.example.edu;": "location = / { return 204; }",
                **changes,
            }.items():
                assert old in site
                site = site.replace(old, new)
            (folder / "site.conf").write_text(site, "utf-8")
            (folder / "main.conf").write_text(MAIN)
            command = [tool("nginx"), "-p", folder, "-c", "main.conf", "-e", "stderr"]
            if os.geteuid() == 0:  # its workers would change to a user who cannot read the folder
                command += ["-g", "user root;"]
            return stack.enter_context(running(command, port, folder / "log"))

        yield start


@pytest.fixture(scope="module")
def behind(gdviz_serve):
    """The address of gdviz itself."""
    return gdviz_serve("--base-url=/gdviz/", path="/gdviz/")


@pytest.fixture(scope="module")
def site(nginx, behind):
    """The address of the labs as the public knows it."""
    return nginx(urlsplit(behind).port) + "gdviz/"


def get(url, **headers):
    """Status, headers and text of an answer."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        answer = urlopen(Request(url, headers=headers))
    except HTTPError as error:
        answer = error
    with answer:
        body = answer.read()
    if answer.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return answer.status, answer.headers, body.decode()


def test_a_visitor_comes_from_the_gallery_and_moves_a_control(page, foreign, site):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(site.rstrip("/"))
    assert page.url == site
    link = page.get_by_role("link", name="The perceptron limit").evaluate("link => link.href")
    visit = Visit(page, link, address="")
    before = visit.pixels()
    visit.type("1, 20")
    visit.shows("γ = 20: ")
    assert visit.pixels() != before
    assert visit.complaints == []
    assert foreign == []
    ours = [url for url in asked if not url.startswith(("blob:", "data:"))]
    assert [url for url in ours if not url.startswith(site)] == [site.rstrip("/")]
    assert any(url.startswith(f"{site}api/kernels/") for url in ours)


@pytest.mark.parametrize("path", ["", ADDRESS, "voila/static/voila.js"])
def test_what_is_sent_is_compressed(site, path):
    status, headers, _ = get(site + path, Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")


def test_messages_are_compressed_too(site):
    _, _, html = get(site + ADDRESS)
    options = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', html)[1]
    kernel = json.loads(options)["kernelId"]
    connection = http.client.HTTPConnection(urlsplit(site).netloc)
    connection.request("GET", f"/gdviz/api/kernels/{kernel}/channels", headers={
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Origin": site.removesuffix("/gdviz/"),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "Z2R2aXogZ2R2aXogZ2R2aQ==",
        "Sec-WebSocket-Protocol": "v1.kernel.websocket.jupyter.org",
        "Sec-WebSocket-Extensions": "permessage-deflate",
    })  # fmt: skip
    answer = connection.getresponse()
    assert answer.status == 101
    assert answer.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
    connection.close()


def test_scripts_are_asked_of_gdviz_once(nginx, behind, site):
    """The second visitor has them from nginx, without anybody's cookies."""
    port = urlsplit(behind).port
    told = "proxy_cache gdviz; add_header X-From $upstream_cache_status;"
    here = nginx(port, **{"proxy_cache gdviz;": told})
    for script in ("static/voila.js", "labextensions/anywidget/package.json"):
        answers = [get(f"{here}gdviz/voila/{script}", Accept_Encoding="gzip") for _ in range(2)]
        assert [headers["X-From"] for _, headers, _ in answers] == ["MISS", "HIT"]
        assert not [headers["Set-Cookie"] for _, headers, _ in answers if headers["Set-Cookie"]]
        assert answers[0][2] == answers[1][2] == get(f"{site}voila/{script}")[2]


def test_a_prepared_link_is_one_for_the_public(nginx, behind, site):
    form = "link/perceptron_limit?experiment=race&task=Look"
    assert f'href="{site}voila/render/perceptron_limit.ipynb?' in get(site + form)[2]
    secure = nginx(
        urlsplit(behind).port, **{"X-Forwarded-Proto $scheme": "X-Forwarded-Proto https"}
    )
    html = get(f"{secure}gdviz/{form}", Host="labs.example.edu")[2]
    assert 'href="https://labs.example.edu/gdviz/voila/render/perceptron_limit.ipynb?' in html


def test_other_sites_of_the_host_never_see_our_cookies(site):
    cookies = get(site + ADDRESS)[1].get_all("Set-Cookie")
    assert any(cookie.startswith("_xsrf=") for cookie in cookies)
    assert all(re.search("path=/gdviz/(;|$)", cookie, re.IGNORECASE) for cookie in cookies)


def test_what_is_missing_leads_back_below_the_path(page, site):
    page.goto(f"{site}nowhere")
    page.get_by_role("link", name="All labs").click()
    expect(page).to_have_url(site)


def test_the_numbers_of_the_server_are_not_for_the_public(site, behind):
    assert get(f"{behind}metrics")[0] == 200
    assert get(f"{site}metrics")[0] == 404


def test_a_wrong_path_is_told_to_whoever_set_it(page, nginx, behind):
    """The usual mistake: a slash at the end, and nginx takes the path away."""
    right = "location /gdviz/ {\n        proxy_pass http://gdviz"
    site = nginx(urlsplit(behind).port, **{right: f"{right}/"})
    assert page.goto(f"{site}gdviz/").status == 404
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    expect(page.get_by_text("The labs are below /gdviz/")).to_be_visible()


def test_while_gdviz_is_away_the_page_says_so_and_asks_again(page, nginx):
    site = nginx(free_port())
    assert page.goto(f"{site}gdviz/{ADDRESS}").status == 503
    expect(page.get_by_role("heading", name="One moment")).to_be_visible()
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(1)

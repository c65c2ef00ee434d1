"""A lab on JupyterHub: every student has a server of their own, and a link brings the notebooks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from conftest import free_port, running, tool
from visitor import PATIENCE, Visit, expect

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "jupyterhub_config.py"
PAGE = "voila/render/course/notebooks/perceptron_limit.ipynb?steps=40"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A git repository with the notebooks, as a lecturer would publish it."""
    folder = tmp_path_factory.mktemp("git") / "course"
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    git = ["git", "-C", folder, "-c", "user.name=Lecturer", "-c", "user.email=lecturer@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Labs"]):
        subprocess.run([*git, *command], check=True)
    return folder.as_uri()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The address of a hub with our configuration, anybody for a user, and nobody's accounts."""
    home, port = tmp_path_factory.mktemp("hub"), free_port()
    proxy = [tool("configurable-http-proxy")]
    (home / "config.py").write_text(f"""
load_subconfig({str(CONFIG)!r})
c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {str(home / "{username}")!r}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {free_port()}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{free_port()}"
c.ConfigurableHTTPProxy.command = {proxy}
c.Spawner.args += ["--allow-root"]
""")
    command = [sys.executable, "-m", "jupyterhub", "--config", "config.py"]
    with running(command, port, home / "log", cwd=home, env=os.environ) as url:
        yield url


def log_in(page, hub, name):
    page.set_default_timeout(PATIENCE)
    page.goto(f"{hub}hub/login")
    page.get_by_label("Username").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{hub}**/user/{name}/**")  # their server is there


def test_two_students_follow_a_link_and_cannot_meet(hub, course, another):
    """The link is nbgitpuller's; it is the same for everybody."""
    link = "hub/user-redirect/git-pull?" + urlencode({"repo": course, "urlpath": PAGE})
    visits = {}
    for name in ("ada", "bob"):
        page = another()
        log_in(page, hub, name)
        visits[name] = Visit(page, hub, address=link)
        assert page.url == f"{hub}user/{name}/{PAGE}"
        visits[name].shows("for 40 steps")
    for visit, sizes in zip(visits.values(), ("20", "300"), strict=True):
        before = visit.pixels()
        visit.type(f"1, {sizes}")
        visit.shows(f"γ = {sizes}: ")
        assert visit.pixels() != before
        assert visit.complaints == []
    visits["ada"].shows("γ = 20: ")

    hers = f"{hub}user/ada/"
    stranger, nobody = visits["bob"].page.context, another().context
    for path in ("api/kernels", "api/contents"):
        assert visits["ada"].page.context.request.get(hers + path).status == 200
        assert stranger.request.get(hers + path).status == 403
        assert nobody.request.get(hers + path).status == 403
    page = stranger.new_page()
    assert page.goto(hers + PAGE).status == 403
    expect(page.get_by_role("heading", name="The perceptron limit")).to_have_count(0)
    page.close()


def test_whoever_is_not_logged_in_is_asked_to(hub, another):
    page = another()
    page.goto(f"{hub}user/ada/{PAGE}")
    expect(page.get_by_label("Username")).to_be_visible(timeout=PATIENCE)

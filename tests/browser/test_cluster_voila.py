"""A page whose runs are computed by a Dask cluster, in a real browser, when that cluster dies."""

import re
import sys

import pytest
from clusters import scheduler, worker
from visitor import PATIENCE, Visit, expect

pytestmark = pytest.mark.browser


def test_a_page_computes_on_a_cluster_and_goes_on_without_it(page, serving, tmp_path):
    with scheduler(tmp_path) as (process, address), worker(address):
        command = ("-m", "gdviz", "serve", "--no-browser", "--compute", address)
        visit = Visit(page, serving(sys.executable, *command))
        expect(visit.status).to_contain_text("on the cluster")
        process.kill()
        visit.preset("Zig-zag = perceptron").click()
        expect(visit.status).to_contain_text(
            "The cluster does not answer any more: this was computed without it.", timeout=PATIENCE
        )
        expect(visit.status).to_contain_text(re.compile("computed in .* on CPU"))
        visit.preset("Two points").click()
        expect(visit.find(".gd-notice")).to_contain_text("One step shoots", timeout=PATIENCE)
        page.wait_for_timeout(5000)  # until the client of the cluster has given up
        assert "distributed" not in page.inner_text("body")  # what Dask logs stays off the page
        assert address not in page.content()
        assert visit.complaints == []

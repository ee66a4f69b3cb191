"""The suite of the demo: it talks to both services, and one test leaks on purpose."""

import json
import os
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

BACKEND = "http://127.0.0.1:8000"
FRONTEND = "http://127.0.0.1:3000"
ROOT = Path(__file__).parent.parent

# Both services are on loopback, so a proxy from the environment must not be used.
http = build_opener(ProxyHandler({}))


def get(url: str) -> str:
    with http.open(url, timeout=10) as response:
        return response.read().decode()


def get_json(url: str):
    return json.loads(get(url))


def post_json(url: str, body: dict):
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with http.open(request, timeout=10) as response:
        return json.load(response)


def test_backend_is_healthy():
    assert get_json(f"{BACKEND}/health") == {"status": "ok"}


def test_unknown_item_is_not_found():
    with pytest.raises(HTTPError) as error:
        get(f"{BACKEND}/api/items/99")
    assert error.value.code == 404


def test_quote_multiplies_the_price():
    quote = post_json(f"{BACKEND}/api/quotes", {"item_id": 2, "quantity": 3})
    assert quote["total_cents"] == 3 * 620


def test_empty_order_is_refused():
    with pytest.raises(HTTPError) as error:
        post_json(f"{BACKEND}/api/quotes", {"item_id": 2, "quantity": 0})
    assert error.value.code == 422


def test_frontend_serves_the_page():
    assert 'src="/main.js"' in get(FRONTEND)
    assert 'fetch("/api/items")' in get(f"{FRONTEND}/main.js")


def test_frontend_passes_api_calls_on():
    items = get_json(f"{FRONTEND}/api/items")
    assert [item["name"] for item in items] == ["Assam", "Sencha", "Rooibos"]
    assert items == get_json(f"{BACKEND}/api/items")


def test_leaves_a_daemon_behind():
    """The leak: the test passes, and nothing in it ever stops the daemon."""
    command = ["python3", "tests/leaky_daemon.py"]
    if pidfile := os.environ.get("DEMO_LEAK_PIDFILE"):
        command.append(pidfile)
    started = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=10)
    os.kill(int(started.stdout), 0)  # raises if there is no such process

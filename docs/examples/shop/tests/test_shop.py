"""Two tests. The fixture of the second one forgets to stop what it starts."""

import json
import subprocess
import urllib.request

import pytest


@pytest.fixture
def mail_server():
    server = subprocess.Popen(["python3", "mail.py"], stdout=subprocess.PIPE)
    server.stdout.readline()  # it says that it listens
    yield server


def test_prices():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open("http://127.0.0.1:8000/prices", timeout=10) as answer:
        assert json.load(answer)["tea"] == 450


def test_order_sends_mail(mail_server):
    assert mail_server.poll() is None

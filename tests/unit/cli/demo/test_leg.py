"""What all legs of the demo share."""

from __future__ import annotations

from turbosock.cli.demo.leg import CONFIG
from turbosock.client.proxy_settings import ProxySettings


def test_demo_goes_through_no_proxy_of_the_environment() -> None:
    assert ProxySettings(CONFIG, {"all_proxy": "http://proxy.example"}).unused

"""Fixtures of the attacks: a farm of the test's own, as those in tests/python/farm/ have it."""

from __future__ import annotations

from farm_fixtures import artifacts, client, farm, graphs, place

__all__ = ["artifacts", "client", "farm", "graphs", "place"]

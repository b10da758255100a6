"""Fixtures of the farm's tests, those in tests/security/ apart."""

from __future__ import annotations

from farm_fixtures import artifacts, client, farm, graphs, place, real_farm

__all__ = ["artifacts", "client", "farm", "graphs", "place", "real_farm"]

"""Measurements of this machine: `python -m ml bench NAME`. Each gives its figures (JSON-ready) and a table in words."""

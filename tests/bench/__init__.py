"""Ratios against nginx, and the limits the program promises: ./dev bench

docs/performance.md says what is measured and how. Rows are made by serving, mirroring, resources
and pulls; stage puts up what they measure.
"""

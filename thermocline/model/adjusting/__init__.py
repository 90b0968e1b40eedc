"""Bars adjusted for splits and dividends: exact factors, and their products with raw prices."""

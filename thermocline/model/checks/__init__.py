"""Checks of bars against each other, their neighbours, and what is known of splits, dividends and instruments.

A row can be right by itself and still be wrong here: a price that only a split explains, a file that was delivered
twice under two names. Nothing is changed or held back by these checks; they find what a person should look at.
"""

"""Helpers that several packages of tests share.

===================  =================================================================
loopback             servers on 127.0.0.1 that answer byte by byte, closed ports
loop_time            time limits of the event loop that end without waiting
orders               sample orders, responses and invoices, and JSON strategies
postgresql           a PostgreSQL server and a PgBouncer, started for the tests
redis                a Redis server, started for the tests
aioresponses_compat  a shim that lets aioresponses work with newer aiohttp
===================  =================================================================
"""

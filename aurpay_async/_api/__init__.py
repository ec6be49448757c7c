"""Aurpay's HTTP API as data: records, requests and responses. Nothing here awaits."""

"""Job workers on procrastinate that open orders and fulfil payments."""

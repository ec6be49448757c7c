"""Ways for a request to become an answer; each wraps the next, all answer one call."""

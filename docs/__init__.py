"""The pages, the pictures in them, and what makes a site of both."""

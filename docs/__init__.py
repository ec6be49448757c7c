"""The pages, their pictures, and the configuration of the site."""

"""The versions of the schema: one file each, never changed after its release."""

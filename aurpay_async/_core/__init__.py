"""Values without I/O. Modules here import nothing else of the package but `errors`."""

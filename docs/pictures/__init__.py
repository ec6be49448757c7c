"""Create the pictures of the pages: ``python -m docs.pictures`` (`make pictures`).

Those of `_drawings` are SVG files that follow the colour scheme of their page. The
others are screenshots of the package, one in light and one in dark colours.
"""

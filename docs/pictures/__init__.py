"""The pictures of the pages, made anew: ``python -m docs.pictures`` (`make pictures`).

Two are drawn, and follow the light or dark of the page that they stand in. The others
are photographs of what the package shows: each is taken in light and in dark.
"""

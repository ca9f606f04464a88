"""Results as a static site: a page for each artefact, method and comparison, to be opened from the disk.

* `found`: the results below folders, and the files of each;
* `content`: what a page of a result says, with all that could not be read;
* `fronts`: the points that a browser draws; `compared`: what `moa compare` says of any two;
* `site`: the pages, written from templates.

Results may be somebody else's: what they hold is text to be shown, never markup, a script or a way out of their folder.
"""

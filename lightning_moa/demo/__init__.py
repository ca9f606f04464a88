"""A local page on trained policies: sliders for the preference, the answers beside the reference's and the corners'.

* `answers`: what one request is answered with, event by event;
* `line`: one request at a time, a few waiting, the others refused;
* `fronts`: the points that a method was measured at; `best`: the best response to a prompt of a known world;
* `server`: the page and its one service. What browsers send is text, and no file's name is taken from them.
"""

"""One self-contained HTML page of everything that was measured, and the README's table.

``run`` is the layout of a run's folder (its other half: whoever writes it), ``charts`` draws, ``page`` puts the HTML
together, ``readme`` generates the table. Nothing here measures anything.
"""

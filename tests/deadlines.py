"""How long tests wait for another process before they take it for hung."""

HUNG = 300  # seconds; on a machine that does much else, a start alone has taken a minute

"""Weight sharing: few distinct values, or short vectors of them, take the place of all weights of a layer."""

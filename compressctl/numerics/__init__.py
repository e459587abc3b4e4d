"""Pure numpy: choosing numbers, apart from editing graphs."""

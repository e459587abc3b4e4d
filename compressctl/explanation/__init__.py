"""Why a result costs and loses what it does, layer by layer, and what would mend it."""

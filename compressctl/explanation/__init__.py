"""Why a result costs and harms what it does, layer by layer, and what would mend it."""

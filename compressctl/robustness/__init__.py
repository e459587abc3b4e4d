"""How a model and its compressed form bear changed inputs: noise, blur, other brightness, adversarial changes."""

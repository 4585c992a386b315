"""The world-action model: tokenizers, trunk, experts and heads. It knows channels and shapes, never a machine's name."""

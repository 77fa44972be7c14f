"""Where trials run: each engine gives every trial a fresh process of its own."""

"""What the terminal shows of trials beside each other: a front, two trials, two studies."""

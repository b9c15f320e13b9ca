"""Numbers of activations: channel statistics, running statistics, differences, and the limits that they are checked against."""

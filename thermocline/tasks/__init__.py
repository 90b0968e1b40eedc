"""What can be done with rows, one use case a module, written against ports alone."""

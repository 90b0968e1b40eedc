"""What market data, partitions and vintages are: pure values and functions, no I/O and no clock."""

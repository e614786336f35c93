"""What the figures are held against: at least so many times the peer, or a limit of its own."""

# (figure, peer): how many times better ironvec has to be, as the median of the pairwise ratios.
AT_LEAST = {
    ("mixed", "sentence-transformers"): 2.0,
    ("mixed", "fastembed"): 8.0,
    ("mixed", "script"): 1.05,
    ("short", "sentence-transformers"): 1.9,
    ("short", "fastembed"): 3.0,
    ("short", "script"): 1.0,
    ("one p50", "sentence-transformers"): 3.5,
    ("one p50", "fastembed"): 1.2,
    ("one p50", "script"): 1.1,
    ("qwen3 query p50", "sentence-transformers"): 4.5,
    ("qwen3 32 queries", "sentence-transformers"): 3.5,
    ("qwen3 32 documents", "sentence-transformers"): 1.3,
    ("int8 mixed", "ironvec float32"): 1.3,
    ("int8 qwen3 query p50", "ironvec float32"): 1 / 0.35,
}
LOAD_S = 0.15
QWEN3_LOADS_S = (0.35, 0.35)  # in the first process that loads it, and in the second
INT8_COSINES = (0.9995, 0.999)  # mean and lowest
EXTRA_MB = 300.0  # beyond the result array, while 100,000 texts are encoded
DIFFERENCE = 1e-3  # between two peers' vectors in float32: above it they do not run the same model
REDUCED_COSINE = 0.99  # of a peer in a narrower type to ours, the least: below it neither
BULK_RATE = 0.95  # of encode's texts a second
BULK_MB, BULK_GROWTH_MB = 500.0, 20.0  # resident while a million lines go through, and its growth after a quarter
ARROW_RATE = 1.0  # of encode's texts a second, of the list

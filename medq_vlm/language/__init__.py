"""The language model's side: its file, its layers, its words, and who checks them."""

import logging
import sys

# where a processor has AVX512-BF16, bitsandbytes and transformers would let this package fetch native code from a hub
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # what it says of that

"""One thread per process in unit tests: their tensors are tiny, and oneDNN of torch 2.15 crashes on some of them.

The backward pass of a channels-last convolution with a handful of channels ends in a segmentation fault with two
threads and passes with one, or without oneDNN. The toy run starts processes of its own, with all threads.
"""

import torch

torch.set_num_threads(1)

"""A peer of the benchmark ``embedding``: a backend of sentence-transformers, in a Python of its own.

Run as ``python embedding_backend.py FOLDER BACKEND THREADS``; FOLDER has ``model`` and ``texts.json``. It writes
``BACKEND.npy``, answers one line of JSON, and one more for each line of input. It imports nothing of optical.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Encode, report, and take turns until the input ends."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[3])
    backend: Any = sys.argv[2]
    import numpy as np
    from sentence_transformers import SentenceTransformer

    options: dict = {"export": True}
    if backend == "openvino":
        options["ov_config"] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    else:
        import onnxruntime

        options["session_options"] = onnxruntime.SessionOptions()
        options["session_options"].intra_op_num_threads = threads
    model = SentenceTransformer(str(folder / "model"), backend=backend, device="cpu", model_kwargs=options)
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))

    def encode():
        return model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    np.save(folder / f"{backend}.npy", encode())
    _say({})
    for _ in sys.stdin:
        begun = time.process_time()
        encode()
        _say({"seconds": time.process_time() - begun})


def _say(value: dict) -> None:
    sys.stdout.write("\n" + json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

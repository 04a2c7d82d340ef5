"""STL's residual as a detector, in the peers' own environment.

.venv-bench/bin/python benchmarks/stl.py < questions.npz > answers.npz
"""

import io
import sys

import numpy as np
from statsmodels.tsa.seasonal import STL


def main() -> None:
    questions = np.load(io.BytesIO(sys.stdin.buffer.read()))
    answers = {}
    for name in questions.files:
        period, window = (int(part) for part in name.split("/")[1:])
        rest = STL(questions[name], period=period, robust=True).fit().resid
        rest = rest - np.median(rest)
        answers[name] = (np.abs(rest) / (1.4826 * np.median(np.abs(rest)) + 1e-9))[-window:]
    out = io.BytesIO()
    np.savez(out, **answers)
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
